//! Whether an object may be loaded, and why not.

use std::sync::Arc;

use longshore_csv::{Binding, BindingSource, FieldFault, Header, ObjectFault, Reject, Rule, Type};
use longshore_warehouse::{Fault, Kind, LoadId, Mode, Position, WarehouseError};

use super::{Attempt, Loaded, now};
use crate::bucket;
use crate::config::{MaxRejects, OnRepeat};
use crate::pipeline::read::{Finished, ReadError};
use crate::pipeline::rejects::Rejects;
use crate::pipeline::{Error, Job, Landed};

/// An object that cannot be loaded as it is.
#[derive(Debug)]
pub struct Refusal {
    /// The object.
    pub landed: Arc<Landed>,
    /// Why.
    pub why: Why,
    /// Data records that were read.
    pub records: u64,
    /// Rows that did not fit.
    pub rejects: Rejects,
    /// BLAKE3 of the raw bytes, if they were read to the end.
    pub content_hash: Option<String>,
}

/// Why an object is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Why {
    /// What is wrong: one line without cell values.
    pub message: String,
    /// What to do about it.
    pub cure: Option<String>,
    /// Line, where there is one.
    pub line: Option<u64>,
    /// Offset in the decompressed object, where there is one.
    pub byte: Option<u64>,
    /// Column, where there is one.
    pub column: Option<String>,
    /// The database's own words; may hold cell values.
    pub server_text: Option<String>,
}

impl Refusal {
    /// The refusal of an object of which nothing was read.
    pub(super) fn unread(landed: &Arc<Landed>, why: Why) -> Self {
        Self { landed: Arc::clone(landed), why, records: 0, rejects: Rejects::default(), content_hash: None }
    }

    /// The refusal of an object that was read to its end.
    pub(super) fn new(landed: &Arc<Landed>, why: Why, finished: Finished) -> Self {
        Self {
            landed: Arc::clone(landed),
            why,
            records: finished.summary.records,
            rejects: finished.rejects,
            content_hash: Some(finished.content_hash),
        }
    }
}

impl From<ObjectFault> for Why {
    fn from(fault: ObjectFault) -> Self {
        Self {
            message: fault.to_string(),
            cure: fault.cure,
            line: fault.line,
            byte: fault.byte,
            column: fault.column,
            server_text: None,
        }
    }
}

/// The refusal of an object that is late where that is not allowed.
pub fn late(landed: &Arc<Landed>, latest: &Position, job: Job<'_>) -> Refusal {
    let why = Why {
        message: format!(
            "is older than `{}` ({}), which is in {} already",
            latest.key, latest.modified_at, job.target.table.name
        ),
        cure: Some("load it with `late = \"load\"`, or give the pipeline an `order_by` column".to_owned()),
        ..Why::default()
    };
    Refusal::unread(landed, why)
}

impl Attempt<'_> {
    /// Whether the object has failed whatever comes.
    pub(super) fn is_spoiled(&self, rejects: &Rejects) -> bool {
        matches!(self.job.pipeline.max_rejects, MaxRejects::Count(most) if rejects.count > most)
    }

    /// Whether an object was bound, and none of its columns is one that is loaded.
    pub(super) fn brings_nothing(&self, binding: Option<&Binding>) -> bool {
        binding.is_some_and(|binding| {
            binding.source != BindingSource::Empty && self.job.target.loaded_columns(&binding.columns).is_empty()
        })
    }

    /// Why an object is refused whose key cannot fill the columns that are filled by it, if it is.
    pub(super) fn misfit(&self, landed: &Landed) -> Result<Option<Why>, Error> {
        match self.filler(landed, LoadId::draw(), now()) {
            Ok(_) => Ok(None),
            Err(error) if error.lies_in_key => Ok(Some(Why {
                message: format!("its key cannot fill column `{}`: {}", error.column, error.why),
                cure: Some(
                    "rename the object and drop it again, or correct `regex` and `fill` of its pipeline".to_owned(),
                ),
                column: Some(error.column),
                ..Why::default()
            })),
            Err(error) => Err(self.unfillable(landed, error)),
        }
    }

    /// Why an object that was read to its end is refused, if it is.
    pub(super) fn refuses(&self, landed: &Landed, finished: &Finished) -> Option<Why> {
        let (rejects, records) = (finished.rejects.count, finished.summary.records);
        if self.job.pipeline.max_rejects.is_exceeded(rejects, records) {
            return Some(too_many(&finished.rejects, records, self.job));
        }
        if records > rejects && self.brings_nothing(finished.binding.as_ref()) {
            return Some(Why {
                message: format!("has rows, and none of its columns is loaded into {}", self.job.target.table.name),
                cure: Some(
                    "correct its header and drop it again, or let the pipeline's `columns` load one of its columns and run `longshore retry KEY`"
                        .to_owned(),
                ),
                ..Why::default()
            });
        }
        let is_replace = matches!(self.job.pipeline.mode, Mode::Replace);
        if is_replace && records == rejects && !self.job.pipeline.allow_empty {
            return Some(Why {
                message: "has no rows, and `replace` would empty the table".to_owned(),
                cure: Some(format!(
                    "if that is meant, set `allow_empty = true` on pipeline `{}` and run `longshore retry KEY`",
                    self.job.pipeline.name
                )),
                ..Why::default()
            });
        }
        if self.job.pipeline.repeat == OnRepeat::Fail && self.has_same_bytes(landed, finished) {
            return Some(Why {
                message: "has the same key and the same bytes as an object that was loaded before".to_owned(),
                cure: Some(
                    "drop it if it is a repeat; to load it anyway set `repeat = \"load\"` and run `longshore retry KEY`"
                        .to_owned(),
                ),
                ..Why::default()
            });
        }
        None
    }

    pub(super) fn is_repeat(&self, landed: &Landed, finished: &Finished) -> bool {
        self.job.pipeline.repeat == OnRepeat::Skip && self.has_same_bytes(landed, finished)
    }

    pub(super) fn has_same_bytes(&self, landed: &Landed, finished: &Finished) -> bool {
        !landed.again
            && self.known.hashes.iter().any(|known| {
                known.content_hash == finished.content_hash
                    && known.pipeline == self.job.pipeline.name
                    && known.key == landed.key()
                    && known.identity != landed.identity
            })
    }

    /// What an object means for the plan that could not be read to its end.
    pub(super) fn unreadable(
        &self,
        landed: &Arc<Landed>,
        error: ReadError,
        records: u64,
        rejects: Rejects,
    ) -> Result<Loaded, Error> {
        match error {
            ReadError::Bucket(error) if matches!(error.kind(), bucket::Kind::Gone | bucket::Kind::Changed) => {
                Ok(Loaded { gone: vec![landed.key().to_owned()], ..Loaded::default() })
            }
            // The listing shows it, so the bucket is fine: it is this object that may not be read.
            ReadError::Bucket(error)
                if error.kind() == bucket::Kind::AccessDenied && !self.job.pipeline.mode.is_ordered() =>
            {
                Ok(Loaded { stuck: vec![error.into()], ..Loaded::default() })
            }
            ReadError::Bucket(error) => Err(error.into()),
            ReadError::Rejects(error) => Err(error.into()),
            ReadError::Object(fault) => {
                let refusal =
                    Refusal { landed: Arc::clone(landed), why: fault.into(), records, rejects, content_hash: None };
                Ok(Loaded { refused: vec![refusal], ..Loaded::default() })
            }
        }
    }

    /// What an error of the warehouse means for the only object of a load.
    pub(super) fn server_fault(
        &self,
        landed: &Arc<Landed>,
        error: WarehouseError,
        finished: Finished,
    ) -> Result<Loaded, Error> {
        if error.kind().advice().fault != Fault::Object {
            return Err(error.into());
        }
        let (line, column) = match error.kind() {
            Kind::Rows { line, column, .. } => (*line, column.clone()),
            _ => (None, None),
        };
        let why = Why {
            message: error.to_string(),
            cure: Some(
                error
                    .own_cure()
                    .unwrap_or("correct the rows and run `longshore retry KEY`, or drop a corrected object")
                    .to_owned(),
            ),
            line,
            column,
            server_text: error.server_text().map(str::to_owned),
            ..Why::default()
        };
        Ok(Loaded { refused: vec![Refusal::new(landed, why, finished)], ..Loaded::default() })
    }
}

/// The setting by which values like this one are read, if there is one.
fn setting_for(fault: &FieldFault, job: Job<'_>) -> Option<&'static str> {
    let column = fault.column.as_ref();
    let ty =
        column.and_then(|name| job.target.columns.iter().find(|column| column.name == *name)).map(|column| &column.ty);
    Some(match (fault.rule, ty) {
        (Rule::Type, Some(Type::Date)) => "`csv = { date_formats = [\"%d.%m.%Y\"] }` to their format",
        (Rule::Type, Some(Type::Timestamp | Type::TimestampTz)) => {
            "`csv = { timestamp_formats = [\"%d.%m.%Y %H:%M\"] }` to their format"
        }
        (Rule::Encoding, _) => "`csv = { encoding = \"windows-1252\" }` to what it is written in",
        (Rule::Offset, _) => "`csv = { timestamp_offset = \"utc\" }`",
        (Rule::FieldCount, _) => "`csv = { delimiter = \";\" }` to what stands between its fields",
        _ => return None,
    })
}

/// Whether the first record, read as data, is nothing but names of columns.
fn is_header(reject: &Reject, job: Job<'_>) -> bool {
    let text = String::from_utf8_lossy(&reject.raw);
    let mut names = text.split(char::from(job.target.csv.delimiter)).map(|name| name.trim().trim_matches('"'));
    reject.record == 1
        && job.target.csv.header == Header::No
        && names.all(|name| job.target.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name)))
}

/// The message for an object with too many rejects: the first of them, and how many there are.
fn too_many(rejects: &Rejects, records: u64, job: Job<'_>) -> Why {
    let first = rejects.listed.first();
    let fault = first.and_then(|reject| reject.faults.first());
    let mut message = format!(
        "{} of {records} rows {} not fit {}",
        rejects.count,
        if rejects.count == 1 { "does" } else { "do" },
        job.target.table.name
    );
    if let (Some(reject), Some(fault)) = (first, fault) {
        let column = fault.column.as_ref().map_or_else(String::new, |column| format!(", column `{column}`"));
        message = format!(
            "{message}: line {} (record {}, byte {}){column}: {}",
            reject.line, reject.record, reject.byte, fault.message
        );
    }
    let cure = if first.is_some_and(|first| is_header(first, job)) {
        let settings = if job.target.csv.columns.order.is_empty() { "" } else { " and `columns`" };
        format!(
            "its first record names the columns: remove `header = false`{settings} on pipeline `{}` and run `longshore retry KEY`",
            job.pipeline.name
        )
    } else {
        let setting = fault.and_then(|fault| setting_for(fault, job)).map_or_else(String::new, |setting| {
            format!("; if the whole object is like that, set {setting} and run `longshore retry KEY`")
        });
        format!(
            "correct the rows and drop the object again, or allow them with `max_rejects` on pipeline `{}` and run `longshore retry KEY`{setting}",
            job.pipeline.name
        )
    };
    Why {
        message,
        cure: Some(cure),
        line: first.map(|reject| reject.line),
        byte: first.map(|reject| reject.byte),
        column: fault.and_then(|fault| fault.column.clone()),
        server_text: None,
    }
}
