//! `longshore rejects`: the rows that did not fit.

use std::collections::HashSet;

use clap::Args;
use serde::Serialize;

use super::{Failure, Global, Outcome, Result, output};
use crate::journal::{Journal, ObjectRow, RejectRow};

#[derive(Debug, Args)]
pub(super) struct Rejects {
    /// Key of an object, as it landed or as it lies now; without it, the objects are listed.
    #[arg(value_name = "KEY")]
    key: Option<String>,
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u64,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    object: &'a ObjectRow,
    rejects: &'a [RejectRow],
    /// Whether there are more than these.
    more: bool,
}

impl Rejects {
    /// The rejects of one object.
    pub(super) fn of(key: &str) -> Self {
        Self { key: Some(key.to_owned()), limit: 20 }
    }

    pub(super) fn run(self, global: &Global) -> Result {
        let config = global.read()?;
        let journal = Journal::open(&config.journal)?;
        match &self.key {
            // One more than is shown tells whether there are more.
            None => list(&journal.objects_with_rejects(self.limit.saturating_add(1))?, self.limit, global),
            Some(key) => self.show(key, &journal, global),
        }
    }

    fn show(&self, key: &str, journal: &Journal, global: &Global) -> Result {
        let objects = journal.objects_of_key(key)?;
        let object = objects.iter().find(|object| object.rows_rejected > 0 || object.error.is_some());
        let Some(object) = object.or(objects.first()) else {
            return Err(Failure::new(format!("nothing is known of `{key}`"))
                .hint("`longshore rejects` lists the objects with rejects"));
        };
        let generation = object.generation;
        let mut rejects = journal.rejects(&object.identity, generation, self.limit.saturating_add(1))?;
        let is_cut = rejects.len() as u64 > self.limit;
        rejects.truncate(self.limit as usize);
        // One row may have several.
        let records: HashSet<u64> = rejects.iter().map(|reject| reject.record).collect();
        let unlisted = if is_cut { 0 } else { object.rows_rejected.saturating_sub(records.len() as u64) };
        if global.json {
            output::json(&Document { object, rejects: &rejects, more: is_cut || unlisted > 0 })?;
            return Ok(Outcome::Done);
        }
        outln!(
            "{} ({}): {} of {} rows rejected",
            object.key,
            object.state.as_str(),
            object.rows_rejected,
            object.rows_read
        );
        if let Some(error) = &object.error {
            outln!("error: {error}");
        }
        if let Some(cure) = &object.cure {
            outln!("hint: {cure}");
        }
        if object.lies_at != object.key {
            outln!("object: {}", object.lies_at);
        }
        if let Some(report) = object.report.as_ref().filter(|report| !report.is_empty()) {
            outln!("report: {report}");
        }
        for reject in &rejects {
            let column = reject.column.as_ref().map_or_else(String::new, |column| format!(", column `{column}`"));
            outln!(
                "\nline {} (record {}, byte {}){column}: {} [{}]",
                reject.line,
                reject.record,
                reject.byte,
                reject.message,
                reject.rule
            );
            outln!("    {}", shown(&reject.raw));
        }
        if is_cut {
            outln!("\nand more: `--limit N` shows them");
        }
        if unlisted > 0 {
            outln!("\nand {}: of an object 1,000 are listed", output::counted(unlisted, "more row"));
        }
        Ok(Outcome::Done)
    }
}

/// A record on one line, cut to what a terminal shows.
fn shown(raw: &str) -> String {
    const SHOWN: usize = 400;
    let text: String = raw
        .chars()
        .take(SHOWN)
        .flat_map(|c| {
            if c.is_control() { c.escape_default().to_string() } else { c.to_string() }.chars().collect::<Vec<_>>()
        })
        .collect();
    if raw.chars().nth(SHOWN).is_some() { format!("{text} …") } else { text }
}

fn list(objects: &[ObjectRow], limit: u64, global: &Global) -> Result {
    let has_more = objects.len() as u64 > limit;
    let objects = &objects[..objects.len().min(limit as usize)];
    if global.json {
        output::json(&objects)?;
        return Ok(Outcome::Done);
    }
    let rows = objects
        .iter()
        .map(|object| {
            vec![
                object.key.clone(),
                object.pipeline.clone(),
                object.state.as_str().to_owned(),
                object.rows_rejected.to_string(),
                object.error.clone().unwrap_or_else(|| object.report.clone().unwrap_or_default()),
            ]
        })
        .collect();
    output::table(&["object", "pipeline", "state", "rejected", "error or rejects"], rows, "no rejects");
    if has_more {
        outln!("\nand more: `--limit N` lists them");
    }
    Ok(Outcome::Done)
}
