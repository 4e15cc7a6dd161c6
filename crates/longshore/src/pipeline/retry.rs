//! Finds objects that an operator asks to load once more: from quarantine, or from the archive.

use std::collections::HashSet;

use futures::TryStreamExt;
use longshore_warehouse::{Candidate, Cursor, Entry, EntryKind, FIRST_GENERATION};

use super::discover::matching;
use super::pass::{Lanes, Next, Summary, settle_claims};
use super::quarantine::{self, REPORT_SUFFIX};
use super::target::Target;
use super::{Context, Error, Job, Landed, Place};
use crate::bucket::{Object, ObjectKey};
use crate::config::Pipeline;

/// Loads quarantined objects once more, with their original identity and place in the order: all
/// of them, or those of these keys (as they landed, or as they lie in `failed`).
///
/// # Errors
/// The bucket cannot be listed, or a key names nothing in quarantine.
pub async fn retry(pipelines: &[Pipeline], keys: Option<&[String]>, ctx: &Context) -> Result<Summary, Error> {
    settle_claims(pipelines, ctx).await?;
    let Quarantine { found, done } =
        if ctx.keep { kept(pipelines, ctx).await? } else { quarantined(pipelines, ctx).await? };
    let is_wanted = |landed: &Landed| {
        keys.is_none_or(|keys| keys.iter().any(|key| key == landed.key() || key == landed.at.key.as_str()))
    };
    let wanted: Vec<(usize, Landed)> = found.into_iter().filter(|(_, landed)| is_wanted(landed)).collect();
    for key in keys.unwrap_or_default() {
        let is_found = wanted.iter().any(|(_, landed)| key == landed.key() || key == landed.at.key.as_str());
        if !is_found && !done.contains(key) {
            return Err(Error::environment(format!("`{key}` is not in quarantine"))
                .cure("`longshore rejects` names the objects that are"));
        }
    }
    load_all(pipelines, wanted, ctx).await
}

/// What lies in quarantine.
#[derive(Default)]
struct Quarantine {
    /// Objects that failed, each with its pipeline.
    found: Vec<(usize, Landed)>,
    /// Keys of objects that an earlier retry has brought in: only their reports were left.
    done: Vec<String>,
}

/// Loads archived objects anew, each as the next generation, whatever `repeat` and `late` say.
///
/// # Errors
/// A key names nothing that was loaded.
pub async fn again(pipelines: &[Pipeline], keys: &[ObjectKey], ctx: &Context) -> Result<Summary, Error> {
    settle_claims(pipelines, ctx).await?;
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
    load_all(pipelines, found, ctx).await
}

async fn load_all(pipelines: &[Pipeline], mut objects: Vec<(usize, Landed)>, ctx: &Context) -> Result<Summary, Error> {
    objects.sort_by_key(|(_, landed)| landed.position());
    let lanes = Lanes::new(pipelines, ctx);
    let mut summary = Summary::default();
    let bytes = objects.iter().map(|(_, landed)| landed.at.size).sum();
    ctx.progress.start(objects.len() as u64, bytes);
    let mut waiting = HashSet::new();
    for (at, landed) in objects {
        // What is held back holds back what comes after it.
        if waiting.contains(&at) {
            continue;
        }
        let pipeline = &pipelines[at];
        let described = ctx.warehouse.describe(&pipeline.table).await;
        let next = match described.map_err(Error::from).and_then(|table| Target::fit(pipeline, table)) {
            Ok(target) => {
                let job = Job { pipeline, target: &target };
                lanes.objects(job, vec![landed], &mut summary).await?
            }
            Err(error) => {
                lanes.wait(pipeline, None, error, &mut summary)?;
                Next::Wait
            }
        };
        if next == Next::Wait {
            waiting.insert(at);
        }
    }
    ctx.progress.finish();
    Ok(summary)
}

/// Objects in `failed`, by their reports.
async fn quarantined(pipelines: &[Pipeline], ctx: &Context) -> Result<Quarantine, Error> {
    let mut quarantine = Quarantine::default();
    let (mut objects, mut reports) = (HashSet::new(), Vec::new());
    let mut pages = ctx.bucket.list(&ctx.prefixes.failed);
    while let Some(page) = pages.try_next().await? {
        for object in page.objects {
            if let Some(key) = object.key.as_str().strip_suffix(REPORT_SUFFIX) {
                reports.push(key.to_owned());
                continue;
            }
            objects.insert(object.key.as_str().to_owned());
            let report = quarantine::read_report(&format!("{}{REPORT_SUFFIX}", object.key), ctx).await?;
            let Some(report) = report else {
                tracing::warn!(
                    "`{}` has no report: to load it, move it back to `{}`",
                    object.key,
                    ctx.prefixes.pending
                );
                continue;
            };
            let (Some(at), Ok(identity)) =
                (pipelines.iter().position(|pipeline| pipeline.name == report.pipeline), report.identity.parse())
            else {
                tracing::warn!("`{}` failed in pipeline `{}`, which is no more", object.key, report.pipeline);
                continue;
            };
            quarantine.found.push((
                at,
                Landed {
                    object: report.object(),
                    at: object,
                    identity,
                    generation: report.generation,
                    place: Place::Failed,
                    again: false,
                },
            ));
        }
    }
    for key in reports.into_iter().filter(|key| !objects.contains(key)) {
        if let Some(landed_as) = remove_leftover(&key, pipelines, ctx).await? {
            quarantine.done.extend([key, landed_as]);
        }
    }
    Ok(quarantine)
}

/// Removes the report of an object that a retry has brought in, if a crash left it behind. Returns
/// the key that the object had when it landed.
async fn remove_leftover(key: &str, pipelines: &[Pipeline], ctx: &Context) -> Result<Option<String>, Error> {
    let Some(report) = quarantine::read_report(&format!("{key}{REPORT_SUFFIX}"), ctx).await? else {
        return Ok(None);
    };
    let pipeline = pipelines.iter().find(|pipeline| pipeline.name == report.pipeline);
    let (Some(pipeline), Ok(identity)) = (pipeline, report.identity.parse()) else {
        return Ok(None);
    };
    let candidate = Candidate { identity, pipeline: report.pipeline, key: report.key.clone() };
    let known = ctx.warehouse.lookup(&pipeline.table, &[candidate]).await?;
    let is_in = |entry: &Entry| {
        entry.identity == identity && entry.generation == report.generation && entry.kind != EntryKind::Failed
    };
    if !known.entries.iter().any(is_in) {
        return Ok(None);
    }
    quarantine::remove_report(&ObjectKey::new(key), ctx).await?;
    Ok(Some(report.key))
}

/// Objects that failed and stayed where they are, by the ledger.
async fn kept(pipelines: &[Pipeline], ctx: &Context) -> Result<Quarantine, Error> {
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
    Ok(Quarantine { found, done: Vec::new() })
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
