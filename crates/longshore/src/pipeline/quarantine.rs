//! Puts objects aside that cannot be loaded, and rows that do not fit, each with its report.
//!
//! A report and a rejects file have keys made of identity and generation, so that a repeat after a
//! crash overwrites what the first attempt wrote.

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;
use longshore_csv::Reject;
use longshore_warehouse::{Generation, LoadId};
use serde::{Deserialize, Serialize};

use super::archive::{MAX_NAME_BYTES, dated, metadata, with_identity};
use super::load::{Refusal, Why};
use super::read::Finished;
use super::rejects::Rejects;
use super::{Context, Error, Job, Landed, Place};
use crate::bucket::{Move, Moved, Object, ObjectKey};

/// What follows an object's key in the key of its report.
pub const REPORT_SUFFIX: &str = ".report.json";

/// Where a refused object lies now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its key.
    pub key: String,
    /// The key of its report.
    pub report: String,
}

/// The report on a refused object, or on the rejects of a loaded one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Layout of this document: 1.
    pub version: u32,
    /// The object's key when it landed.
    pub key: String,
    /// Its identity.
    pub identity: String,
    /// Which load of it.
    pub generation: Generation,
    /// Its ETag when it landed.
    pub etag: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its last-modified when it landed: its place in the order.
    pub modified_at: Timestamp,
    /// Pipeline.
    pub pipeline: String,
    /// Table.
    pub table: String,
    /// When this was written.
    pub reported_at: Timestamp,
    /// The load that took the good rows, if one did.
    pub load_id: Option<String>,
    /// Why the object was refused; `None` where only some rows did not fit.
    pub error: Option<ReportError>,
    /// Data records that were read.
    pub rows_read: u64,
    /// Rows that did not fit.
    pub rows_rejected: u64,
    /// How many rows break each rule, by column.
    pub rules: Vec<RuleCount>,
    /// The first 1,000 rows that did not fit.
    pub rejects: Vec<ReportReject>,
}

/// Why an object was refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub cure: Option<String>,
    /// Line, where there is one.
    pub line: Option<u64>,
    /// Offset in the decompressed object, where there is one.
    pub byte: Option<u64>,
    /// Column, where there is one.
    pub column: Option<String>,
    /// The database's own words.
    pub server: Option<String>,
}

/// How many rows break a rule in a column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RuleCount {
    /// The column; empty for the whole record.
    pub column: String,
    /// The rule.
    pub rule: String,
    /// How many.
    pub rows: u64,
}

/// A row that did not fit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportReject {
    /// Physical line at which it begins.
    pub line: u64,
    /// Number of the data record.
    pub record: u64,
    /// Offset in the decompressed object.
    pub byte: u64,
    /// What is wrong with it.
    pub faults: Vec<ReportFault>,
    /// The record; bytes that are not UTF-8 as U+FFFD.
    pub raw: String,
}

/// One thing wrong with a row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportFault {
    /// The column.
    pub column: Option<String>,
    /// The rule.
    pub rule: String,
    /// The rule in words.
    pub message: String,
}

impl Report {
    fn new(landed: &Landed, job: Job<'_>, rejects: &Rejects, rows_read: u64) -> Self {
        Self {
            version: 1,
            key: landed.key().to_owned(),
            identity: landed.identity.to_string(),
            generation: landed.generation,
            etag: landed.object.etag.clone(),
            size: landed.object.size,
            modified_at: landed.object.modified_at,
            pipeline: job.pipeline.name.clone(),
            table: job.target.table.name.to_string(),
            reported_at: Timestamp::now(),
            load_id: None,
            error: None,
            rows_read,
            rows_rejected: rejects.count,
            rules: rejects
                .by_rule
                .iter()
                .map(|((column, rule), rows)| RuleCount {
                    column: column.clone(),
                    rule: (*rule).to_owned(),
                    rows: *rows,
                })
                .collect(),
            rejects: rejects.listed.iter().map(ReportReject::new).collect(),
        }
    }

    fn to_bytes(&self) -> Bytes {
        let mut text = serde_json::to_vec_pretty(self).expect("a report has no maps and no failing parts");
        text.push(b'\n');
        Bytes::from(text)
    }

    /// The object as it landed.
    pub fn object(&self) -> Object {
        Object {
            key: ObjectKey::new(&self.key),
            etag: self.etag.clone(),
            size: self.size,
            modified_at: self.modified_at,
        }
    }
}

impl ReportReject {
    fn new(reject: &Reject) -> Self {
        Self {
            line: reject.line,
            record: reject.record,
            byte: reject.byte,
            faults: reject
                .faults
                .iter()
                .map(|fault| ReportFault {
                    column: fault.column.clone(),
                    rule: fault.rule.as_str().to_owned(),
                    message: fault.message.clone(),
                })
                .collect(),
            raw: String::from_utf8_lossy(&reject.raw).into_owned(),
        }
    }
}

impl From<&Why> for ReportError {
    fn from(why: &Why) -> Self {
        Self {
            message: why.message.clone(),
            cure: why.cure.clone(),
            line: why.line,
            byte: why.byte,
            column: why.column.clone(),
            server: why.server_text.clone(),
        }
    }
}

/// Moves a refused object to `failed` with its report beside it. An object that stays where it is
/// (it is kept, in quarantine already, or archived) gets its report only.
///
/// # Errors
/// The bucket refuses or cannot be reached: the object stays, and the next pass tries again.
pub async fn quarantine(refusal: &Refusal, job: Job<'_>, ctx: &Context) -> Result<Placed, Error> {
    let landed = &refusal.landed;
    let mut report = Report::new(landed, job, &refusal.rejects, refusal.records);
    report.error = Some((&refusal.why).into());
    if ctx.keep || landed.place != Place::Pending {
        let stays = landed.at.key.as_str();
        let key = if landed.place == Place::Failed {
            format!("{stays}{REPORT_SUFFIX}")
        } else {
            rejects_key(landed, ctx, REPORT_SUFFIX)
        };
        ctx.papers.put(&ObjectKey::new(&key), report.to_bytes()).await?;
        return Ok(Placed { key: stays.to_owned(), report: key });
    }
    let to = free_key(landed, ctx).await?;
    let report_key = ObjectKey::new(format!("{to}{REPORT_SUFFIX}"));
    ctx.papers.put(&report_key, report.to_bytes()).await?;
    longshore_warehouse::crash_point("report-put");
    let otherwise = ObjectKey::new(with_identity(&to, landed.identity));
    let moved = ctx
        .bucket
        .relocate(Move {
            object: &landed.at,
            identity: landed.identity,
            to: &ObjectKey::new(&to),
            otherwise: &otherwise,
            metadata: &metadata(landed),
        })
        .await?;
    match moved {
        Moved::To(key) if key.as_str() == to => Ok(Placed { key: to, report: report_key.as_str().to_owned() }),
        Moved::To(key) => {
            // Somebody took the key between our look and the move: the report follows.
            let moved_report = format!("{key}{REPORT_SUFFIX}");
            ctx.papers.put(&ObjectKey::new(&moved_report), report.to_bytes()).await?;
            ctx.papers.delete(&report_key).await?;
            Ok(Placed { key: key.as_str().to_owned(), report: moved_report })
        }
        // Another object has the key, or none: this one is no more, and neither is its fault.
        Moved::Gone | Moved::Changed => {
            ctx.papers.delete(&report_key).await?;
            Ok(Placed { key: landed.at.key.as_str().to_owned(), report: String::new() })
        }
    }
}

/// The key in `failed` for an object: the plain one if it is free or was ours in an earlier
/// attempt, else the one with its identity.
async fn free_key(landed: &Landed, ctx: &Context) -> Result<String, Error> {
    let plain = dated(&ctx.prefixes.failed, &ctx.prefixes, landed.key(), landed.object.modified_at, landed.identity);
    let name = plain.rsplit('/').next().unwrap_or(&plain);
    let report_key = format!("{plain}{REPORT_SUFFIX}");
    // A name that looks like a report's would be taken for one.
    let mut is_free = name.len() <= MAX_NAME_BYTES && !name.ends_with(REPORT_SUFFIX);
    if is_free {
        let report = read_report(&report_key, ctx).await?;
        is_free = match report {
            Some(report) => report.identity == landed.identity.to_string(),
            None => {
                let heads = [&plain, &report_key].map(|key| ObjectKey::new(key.as_str()));
                ctx.bucket.head(&heads[0]).await?.is_none() && ctx.papers.head(&heads[1]).await?.is_none()
            }
        };
    }
    Ok(if is_free { plain } else { with_identity(&plain, landed.identity) })
}

/// Reads a report, if there is one.
///
/// # Errors
/// The bucket cannot be read.
pub async fn read_report(key: &str, ctx: &Context) -> Result<Option<Report>, Error> {
    let key = ObjectKey::new(key);
    let Some(object) = ctx.papers.head(&key).await? else {
        return Ok(None);
    };
    let chunks: Vec<Bytes> = ctx.papers.read(&object).await?.try_collect().await?;
    Ok(serde_json::from_slice(&chunks.concat()).ok())
}

/// Removes the report of an object that left quarantine, given by its key there.
///
/// # Errors
/// The bucket refuses or cannot be reached.
pub async fn remove_report(key: &ObjectKey, ctx: &Context) -> Result<(), Error> {
    let report = ObjectKey::new(format!("{key}{REPORT_SUFFIX}"));
    Ok(ctx.papers.delete(&report).await?)
}

/// Puts the rejects of an object whose good rows are loaded into `rejected`: a CSV that can be
/// corrected and dropped again, and a report, whose key is returned.
///
/// # Errors
/// The bucket refuses or cannot be reached: nothing may be committed.
pub async fn put_rejects(
    landed: &Landed,
    load_id: LoadId,
    finished: &mut Finished,
    job: Job<'_>,
    ctx: &Context,
) -> Result<String, Error> {
    let mut report = Report::new(landed, job, &finished.rejects, finished.summary.records);
    report.load_id = Some(load_id.to_string());
    let csv_key = rejects_key(landed, ctx, ".csv");
    if let Some(file) = finished.rejects.csv()? {
        ctx.papers.put_file(&ObjectKey::new(&csv_key), file).await?;
    }
    let report_key = format!("{csv_key}{REPORT_SUFFIX}");
    ctx.papers.put(&ObjectKey::new(&report_key), report.to_bytes()).await?;
    Ok(csv_key)
}

/// Removes rejects of a load that did not come about.
pub async fn remove_rejects(csv_key: &str, ctx: &Context) {
    for key in [csv_key.to_owned(), format!("{csv_key}{REPORT_SUFFIX}")] {
        if let Err(error) = ctx.papers.delete(&ObjectKey::new(key)).await {
            tracing::debug!(%error, "rejects of a load that failed stay: the next attempt overwrites them");
        }
    }
}

/// `rejected/` + the key without `pending` and extension + identity and generation.
fn rejects_key(landed: &Landed, ctx: &Context, extension: &str) -> String {
    let prefixes = &ctx.prefixes;
    let relative = landed.key().strip_prefix(prefixes.pending.as_str()).unwrap_or(landed.key());
    let name_start = relative.rfind('/').map_or(0, |at| at + 1);
    let stem_end = relative[name_start..].find('.').filter(|at| *at > 0).map_or(relative.len(), |at| name_start + at);
    let tail = format!(".{}.g{}{extension}", &landed.identity.to_string()[..16], landed.generation);
    let room = 1_024 - prefixes.rejected.len() - tail.len() - REPORT_SUFFIX.len();
    let room_in_name = name_start + MAX_NAME_BYTES - tail.len();
    let cut = (0..=stem_end.min(room).min(room_in_name)).rev().find(|at| relative.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{}{tail}", prefixes.rejected, &relative[..cut])
}
