//! Copies what happened into the journal, and says it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use longshore_warehouse::{Entry, EntryKind, LoadId, Mode};

use super::load::{Committed, Refusal};
use super::quarantine::Placed;
use super::{Context, Error, Job, Landed};
use crate::journal::{LoadRow, ObjectRow, Outcome, State, Totals};

/// Remembers a committed load.
///
/// # Errors
/// The journal cannot be written: the rows are in all the same.
pub fn record(committed: &Committed, job: Job<'_>, started_at: Timestamp, ctx: &Context) -> Result<(), Error> {
    let finished_at = Timestamp::now();
    let mut rows = Totals::default();
    let mut objects = Vec::new();
    for ((entry, landed), report) in committed.receipt.entries.iter().zip(&committed.landed).zip(&committed.reports) {
        rows.add(entry);
        objects.push(ObjectRow::from_entry(entry, landed.at.key.as_str(), report.clone(), finished_at));
    }
    let is_loaded = committed.receipt.entries.iter().any(|entry| entry.kind == EntryKind::Load);
    let load = LoadRow {
        load_id: committed.receipt.load_id.to_string(),
        pipeline: job.pipeline.name.clone(),
        table: job.target.table.name.to_string(),
        mode: job.pipeline.mode.as_str().to_owned(),
        started_at,
        finished_at,
        outcome: if is_loaded { Outcome::Loaded } else { Outcome::Skipped },
        objects: committed.landed.len() as u64,
        bytes: committed.landed.iter().map(|landed| landed.object.size).sum(),
        rows,
        error: None,
        cure: None,
    };
    ctx.journal.record_load(&load, &objects)?;
    for ((landed, finished), report) in committed.landed.iter().zip(&committed.finished).zip(&committed.reports) {
        if let (Some(finished), Some(_)) = (finished, report) {
            ctx.journal.record_rejects(landed.identity, landed.generation, &finished.rejects.listed)?;
        }
    }
    longshore_warehouse::crash_point("record");
    say(committed, job, rows, finished_at.duration_since(started_at), ctx);
    Ok(())
}

/// Remembers objects that were found in the ledger: the history of their load was lost or cut off.
///
/// # Errors
/// The journal cannot be written.
pub fn record_again(landed: &[Arc<Landed>], entries: &[Entry], ctx: &Context) -> Result<(), Error> {
    let at = Timestamp::now();
    let mut missing: BTreeMap<LoadId, (Vec<&Entry>, Vec<ObjectRow>)> = BTreeMap::new();
    for (landed, entry) in landed.iter().zip(entries) {
        let known = ctx.journal.object(entry.identity, entry.generation)?;
        if known.is_none_or(|known| matches!(known.state, State::Pending | State::Failed)) {
            let (entries, objects) = missing.entry(entry.load_id).or_default();
            entries.push(entry);
            objects.push(ObjectRow::from_entry(entry, landed.at.key.as_str(), None, at));
        }
        tracing::info!(object.key = landed.key(), "`{}` is in already: it only has to be archived", landed.key());
    }
    for (load_id, (entries, objects)) in missing {
        let Some(first) = entries.first() else { continue };
        let mut rows = Totals::default();
        entries.iter().for_each(|entry| rows.add(entry));
        let is_loaded = entries.iter().any(|entry| entry.kind == EntryKind::Load);
        let load = LoadRow {
            load_id: load_id.to_string(),
            pipeline: first.pipeline.clone(),
            table: first.table.to_string(),
            mode: first.mode.clone(),
            // When it began only its worker knew.
            started_at: first.loaded_at,
            finished_at: first.loaded_at,
            outcome: if is_loaded { Outcome::Loaded } else { Outcome::Skipped },
            objects: objects.len() as u64,
            bytes: entries.iter().map(|entry| entry.size).sum(),
            rows,
            error: None,
            cure: None,
        };
        ctx.journal.record_found(&load, &objects)?;
    }
    Ok(())
}

fn counted(rows: u64) -> String {
    format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
}

/// Says what was loaded: one line for a load, one for each object about which there is more to say.
fn say(committed: &Committed, job: Job<'_>, rows: Totals, took: jiff::SignedDuration, ctx: &Context) {
    let entries = &committed.receipt.entries;
    let table = &job.target.table.name;
    let loaded: Vec<_> = entries.iter().filter(|entry| entry.kind == EntryKind::Load).collect();
    let seconds = took.as_secs_f64();
    let what = match loaded[..] {
        [] => None,
        [entry] => Some(format!("`{}`", entry.key)),
        ref several => Some(format!("{} objects", several.len())),
    };
    if let Some(what) = what {
        let mut line = format!("loaded {what} into `{table}`: {}", counted(rows.rows_loaded));
        for (count, word) in
            [(rows.rows_rejected, "rejected"), (rows.rows_duplicate, "duplicate"), (rows.rows_superseded, "superseded")]
        {
            if count > 0 {
                line = format!("{line}, {count} {word}");
            }
        }
        let rounded: u64 = committed.finished.iter().flatten().map(|finished| finished.summary.rounded).sum();
        if rounded > 0 {
            line = format!("{line}, digits after the point lost: {rounded}");
        }
        let key = if let [entry] = loaded[..] { Some(entry.key.as_str()) } else { None };
        let id = committed.receipt.load_id;
        tracing::info!(load.id = %id, load.rows = rows.rows_loaded, object.key = key, "{line} ({seconds:.2} s)");
        for entry in loaded.iter().filter(|_| key.is_none()) {
            let rows = entry.rows_loaded;
            tracing::debug!(load.id = %id, load.rows = rows, object.key = entry.key, "loaded `{}` among them", entry.key);
        }
    }
    for ((entry, finished), report) in entries.iter().zip(&committed.finished).zip(&committed.reports) {
        match entry.kind {
            EntryKind::Superseded => {
                tracing::info!(object.key = entry.key, "superseded `{}`: a newer object is the table", entry.key)
            }
            EntryKind::Repeat => tracing::info!(
                object.key = entry.key,
                "skipped `{}`: the same key with the same bytes was loaded before",
                entry.key
            ),
            _ => {}
        }
        if entry.late {
            tracing::info!(object.key = entry.key, "`{}` came late: a newer object was loaded before it", entry.key);
        }
        if let (Some(finished), Some(report)) = (finished, report) {
            tracing::warn!(
                object.key = entry.key,
                "{} of `{}` did not fit: see `{}`{}",
                counted(finished.rejects.count),
                entry.key,
                ctx.papers.display(&crate::bucket::ObjectKey::new(report)),
                match job.pipeline.mode {
                    // A file of the rejects alone would be the whole table.
                    Mode::Replace => "; correct them in the whole object and drop that",
                    _ => "",
                }
            );
        }
    }
}

/// Remembers an object that was refused.
///
/// # Errors
/// The journal cannot be written: the object lies in quarantine all the same.
pub fn record_refusal(refusal: &Refusal, placed: &Placed, job: Job<'_>, ctx: &Context) -> Result<(), Error> {
    let at = Timestamp::now();
    let landed = &refusal.landed;
    let load = LoadRow {
        load_id: LoadId::draw().to_string(),
        pipeline: job.pipeline.name.clone(),
        table: job.target.table.name.to_string(),
        mode: job.pipeline.mode.as_str().to_owned(),
        started_at: at,
        finished_at: at,
        outcome: Outcome::Failed,
        objects: 1,
        bytes: landed.object.size,
        rows: Totals { rows_read: refusal.records, rows_rejected: refusal.rejects.count, ..Totals::default() },
        error: Some(format!("`{}`: {}", landed.key(), refusal.why.message)),
        cure: refusal.why.cure.clone(),
    };
    let object = ObjectRow {
        identity: landed.identity.to_string(),
        generation: landed.generation,
        pipeline: job.pipeline.name.clone(),
        table: job.target.table.name.to_string(),
        key: landed.key().to_owned(),
        lies_at: placed.key.clone(),
        state: State::Failed,
        load_id: None,
        size: landed.object.size,
        modified_at: landed.object.modified_at,
        rows_read: refusal.records,
        rows_loaded: 0,
        rows_rejected: refusal.rejects.count,
        error: Some(refusal.why.message.clone()),
        cure: refusal.why.cure.clone(),
        report: Some(placed.report.clone()),
        updated_at: at,
    };
    ctx.journal.record_load(&load, &[object])?;
    ctx.journal.record_rejects(landed.identity, landed.generation, &refusal.rejects.listed)?;
    let mut line =
        format!("`{}` was not loaded into `{}`: {}", landed.key(), job.target.table.name, refusal.why.message);
    if placed.key != landed.at.key.as_str() {
        line = format!("{line}; it lies in `{}`", ctx.bucket.display(&crate::bucket::ObjectKey::new(&placed.key)));
    }
    if let Some(cure) = &refusal.why.cure {
        line = format!("{line}\nhint: {cure}");
    }
    tracing::error!(object.key = landed.key(), "{line}");
    Ok(())
}
