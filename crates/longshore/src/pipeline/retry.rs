//! Finds objects that an operator asks to load once more: from quarantine, or from the archive.

use std::collections::HashSet;

use futures::TryStreamExt;
use longshore_warehouse::{Candidate, Cursor, Entry, EntryKind, FIRST_GENERATION};

use super::discover::matching;
use super::quarantine::{self, REPORT_SUFFIX, Report};
use super::{Context, Error, Landed, Place};
use crate::bucket::{Object, ObjectKey};
use crate::config::Pipeline;
use crate::journal::State;

/// Quarantined objects, each with its pipeline, with their original identity and place in the order:
/// all of them, or those of these keys (as they landed, or as they lie in `failed`). Keys that name
/// nothing there are returned too.
///
/// # Errors
/// The bucket cannot be listed.
pub async fn quarantined<'k>(
    pipelines: &[Pipeline],
    keys: Option<&'k [String]>,
    ctx: &Context,
) -> Result<(Vec<(usize, Landed)>, Vec<&'k str>), Error> {
    let found = if ctx.keep { kept(pipelines, ctx).await? } else { failed(pipelines, ctx).await? };
    let is_of = |landed: &Landed, key: &str| key == landed.key() || key == landed.at.key.as_str();
    let unknown = keys.unwrap_or_default().iter().map(String::as_str);
    let unknown = unknown.filter(|key| !found.iter().any(|(_, landed)| is_of(landed, key))).collect();
    let is_wanted = |landed: &Landed| keys.is_none_or(|keys| keys.iter().any(|key| is_of(landed, key)));
    Ok((found.into_iter().filter(|(_, landed)| is_wanted(landed)).collect(), unknown))
}

/// Archived objects, each with its pipeline, as their next generation: to be loaded anew whatever
/// `repeat` and `late` say.
///
/// # Errors
/// A key names nothing that was loaded.
pub async fn archived(
    pipelines: &[Pipeline],
    keys: &[ObjectKey],
    ctx: &Context,
) -> Result<Vec<(usize, Landed)>, Error> {
    let mut found = Vec::new();
    for key in keys {
        let Some(object) = ctx.bucket.head(key).await? else {
            return Err(Error::environment(format!("there is no `{}`", ctx.bucket.display(key)))
                .cure("give the key that the object has in the archive, such as `processed/2026/11/22/orders.csv`"));
        };
        let entries = entries_of(key.as_str(), pipelines, ctx).await?;
        let Some(entry) = entries.iter().max_by_key(|entry| entry.generation) else {
            return Err(Error::environment(format!("no pipeline has loaded `{key}`"))
                .cure("`load --again` takes keys of loaded objects; a new object goes into `pending`"));
        };
        let Some(at) = pipelines.iter().position(|pipeline| pipeline.name == entry.pipeline) else {
            return Err(Error::environment(format!(
                "`{key}` was loaded by pipeline `{}`, which is no more",
                entry.pipeline
            ))
            .cure("bring the pipeline back, or drop the object into `pending`"));
        };
        let original = Object {
            key: ObjectKey::new(&entry.key),
            etag: entry.etag.clone(),
            size: entry.size,
            modified_at: entry.modified_at,
        };
        let place = if ctx.keep { Place::Pending } else { Place::Processed };
        found.push((
            at,
            Landed {
                object: original,
                at: object,
                identity: entry.identity,
                generation: entry.generation + 1,
                place,
                again: true,
            },
        ));
    }
    Ok(found)
}

/// Objects in `failed`, by their reports. A report whose object is not there any more may be what a
/// retry left behind that was cut off after COMMIT: it counts as well, unless the journal knows that
/// the object failed, and so was removed by somebody.
async fn failed(pipelines: &[Pipeline], ctx: &Context) -> Result<Vec<(usize, Landed)>, Error> {
    let (mut found, mut objects, mut reports) = (Vec::new(), HashSet::new(), Vec::new());
    let mut pages = ctx.bucket.list(&ctx.prefixes.failed);
    while let Some(page) = pages.try_next().await? {
        for object in page.objects {
            match object.key.as_str().strip_suffix(REPORT_SUFFIX) {
                Some(key) => reports.push(key.to_owned()),
                None => {
                    objects.insert(object.key.as_str().to_owned());
                    found.extend(by_report(&object, pipelines, ctx).await?);
                }
            }
        }
    }
    for key in reports.into_iter().filter(|key| !objects.contains(key)) {
        let Some(report) = quarantine::read_report(&format!("{key}{REPORT_SUFFIX}"), ctx).await? else { continue };
        let at = Object { key: ObjectKey::new(key), ..report.object() };
        let Some((pipeline, landed)) = of_report(&report, at, pipelines) else { continue };
        let known = ctx.journal.object(landed.identity, landed.generation)?;
        if known.is_none_or(|known| known.state != State::Failed) {
            found.push((pipeline, landed));
        }
    }
    Ok(found)
}

/// An object that lies in quarantine, with its pipeline, by its report; `None` where that does not
/// lead anywhere, which is said.
///
/// # Errors
/// The report cannot be read.
pub async fn by_report(
    object: &Object,
    pipelines: &[Pipeline],
    ctx: &Context,
) -> Result<Option<(usize, Landed)>, Error> {
    let Some(report) = quarantine::read_report(&format!("{}{REPORT_SUFFIX}", object.key), ctx).await? else {
        tracing::warn!("`{}` has no report: to load it, move it back to `{}`", object.key, ctx.prefixes.pending);
        return Ok(None);
    };
    let found = of_report(&report, object.clone(), pipelines);
    if found.is_none() {
        tracing::warn!("`{}` failed in pipeline `{}`, which is no more", object.key, report.pipeline);
    }
    Ok(found)
}

fn of_report(report: &Report, at: Object, pipelines: &[Pipeline]) -> Option<(usize, Landed)> {
    let pipeline = pipelines.iter().position(|pipeline| pipeline.name == report.pipeline)?;
    let landed = Landed {
        object: report.object(),
        at,
        identity: report.identity.parse().ok()?,
        generation: report.generation,
        place: Place::Failed,
        again: false,
    };
    Some((pipeline, landed))
}

/// Objects that failed and stayed where they are, by the ledger.
async fn kept(pipelines: &[Pipeline], ctx: &Context) -> Result<Vec<(usize, Landed)>, Error> {
    let mut found = Vec::new();
    for (at, pipeline) in pipelines.iter().enumerate() {
        let mut latest = std::collections::HashMap::new();
        let mut after: Option<Cursor> = None;
        loop {
            let entries = ctx.warehouse.page(&pipeline.table, after.as_ref()).await?;
            let Some(last) = entries.last() else { break };
            after = Some(Cursor::from(last));
            for entry in entries.into_iter().filter(|entry| entry.pipeline == pipeline.name) {
                latest.insert(entry.identity, entry);
            }
        }
        for entry in latest.into_values().filter(|entry| entry.kind == EntryKind::Failed) {
            let Some(object) = ctx.bucket.head(&ObjectKey::new(&entry.key)).await? else {
                continue;
            };
            if object.identity(ctx.bucket.id()) == entry.identity {
                found
                    .push((at, Landed { generation: entry.generation + 1, ..Landed::pending(object, entry.identity) }));
            }
        }
    }
    Ok(found)
}

/// Ledger entries of the object that lies at this key: by the journal, else by the ledger whole.
async fn entries_of(key: &str, pipelines: &[Pipeline], ctx: &Context) -> Result<Vec<Entry>, Error> {
    for row in ctx.journal.objects_of_key(key)?.iter().filter(|row| row.lies_at == key) {
        let (Some(pipeline), Ok(identity)) =
            (pipelines.iter().find(|pipeline| pipeline.name == row.pipeline), row.identity.parse())
        else {
            continue;
        };
        let candidate = Candidate { identity, pipeline: row.pipeline.clone(), key: row.key.clone() };
        let known = ctx.warehouse.lookup(&pipeline.table, &[candidate]).await?;
        if !known.entries.is_empty() {
            return Ok(known.entries);
        }
    }
    let relative = key.strip_prefix(ctx.prefixes.pending.as_str()).unwrap_or(key);
    let likely = matching(pipelines, relative);
    let rest = (0..pipelines.len()).filter(|at| !likely.contains(at));
    for at in likely.iter().copied().chain(rest) {
        let mut after: Option<Cursor> = None;
        let mut found = Vec::new();
        loop {
            let entries = ctx.warehouse.page(&pipelines[at].table, after.as_ref()).await?;
            let Some(last) = entries.last() else { break };
            after = Some(Cursor::from(last));
            found.extend(entries.into_iter().filter(|entry| lies_at(entry, key)));
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

fn lies_at(entry: &Entry, key: &str) -> bool {
    entry.generation >= FIRST_GENERATION
        && match &entry.archive_key {
            Some(archived) => archived == key || super::archive::with_identity(archived, entry.identity) == key,
            None => entry.key == key,
        }
}
