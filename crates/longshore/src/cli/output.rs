//! Prints tables and JSON documents.

use std::io::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::{Failure, Outcome, Result};
use crate::pipeline::summary::Summary;

/// Prints a line. Where the reader has gone (`| head`), there is nobody left to print for.
pub(super) fn line(text: std::fmt::Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{text}") {
        std::process::exit(if error.kind() == std::io::ErrorKind::BrokenPipe { 0 } else { 2 });
    }
}

/// Prints one JSON document.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::new)?;
    outln!("{text}");
    Ok(())
}

/// Prints a table with a header; nothing but `empty` where there are no rows.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, empty: &str) {
    if rows.is_empty() {
        outln!("{empty}");
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    outln!("{}", table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
}

/// Prints what a pass did, and says how it ended.
pub(super) fn summary(summary: &Summary, is_json: bool) -> Result {
    if is_json {
        json(summary)?;
    } else {
        outln!("{}", in_words(summary));
    }
    Ok(if summary.is_complete() { Outcome::Done } else { Outcome::Incomplete })
}

fn in_words(summary: &Summary) -> String {
    let mut parts = Vec::new();
    let mut part = |count: u64, one: &str, many: &str| {
        if count > 0 {
            parts.push(counted_as(count, one, many));
        }
    };
    part(summary.objects_loaded, "object loaded", "objects loaded");
    part(summary.rows.rows_loaded, "row", "rows");
    part(summary.rows.rows_rejected, "row rejected", "rows rejected");
    part(summary.objects_archived, "object archived without rows", "objects archived without rows");
    part(summary.failed.len() as u64, "object failed", "objects failed");
    part(summary.changed.len() as u64, "object changed while it was read", "objects changed while they were read");
    part(summary.settling.len() as u64, "object still being written", "objects still being written");
    part(summary.unfinished.len() as u64, "object not finished", "objects not finished");
    part(summary.ambiguous.len() as u64, "object of two pipelines", "objects of two pipelines");
    part(summary.waiting.len() as u64, "pipeline waits", "pipelines wait");
    part(summary.unmatched, "object of no pipeline", "objects of no pipeline");
    if parts.is_empty() { "nothing to load".to_owned() } else { parts.join(", ") }
}

/// A number of things.
pub(super) fn counted(count: u64, thing: &str) -> String {
    counted_as(count, thing, &format!("{thing}s"))
}

/// A number of things with a plural of their own.
pub(super) fn counted_as(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Bytes as people read them.
pub(super) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// A time as people read it: UTC, seconds.
pub(super) fn time(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
