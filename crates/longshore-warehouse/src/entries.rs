//! The entries of a load: from what the reader counted, and what the warehouse counted.

use jiff::Timestamp;

use crate::{Entry, EntryKind, Kind, LoadSpec, QualifiedName, Tally, WarehouseError};

/// The entries to write, before the warehouse has counted. `written` are the rows that it was given
/// of each object.
///
/// # Errors
/// [`Kind::CountMismatch`] where reader and driver disagree.
pub(crate) fn entries(
    spec: &LoadSpec,
    table: &QualifiedName,
    written: &[u64],
    tallies: &[Tally],
) -> Result<Vec<Entry>, WarehouseError> {
    if tallies.len() != spec.objects.len() {
        return Err(WarehouseError::new(
            Kind::Other,
            format!("{} tallies for {} objects: this is a bug in longshore", tallies.len(), spec.objects.len()),
        ));
    }
    let entry = |(index, tally): (usize, &Tally)| {
        let object = &spec.objects[index];
        let written = written[index];
        let expected =
            if tally.kind == EntryKind::Load { tally.rows_read.checked_sub(tally.rows_rejected) } else { Some(0) };
        if expected != Some(written) {
            return Err(WarehouseError::new(
                Kind::CountMismatch,
                format!(
                    "`{}`: the reader counted {} records and {} rejects, and {written} rows were given to `{}`",
                    object.key, tally.rows_read, tally.rows_rejected, spec.table
                ),
            )
            .cure("report this as a bug in longshore"));
        }
        Ok(Entry {
            table: table.clone(),
            identity: object.identity,
            generation: object.generation,
            pipeline: spec.pipeline.clone(),
            mode: spec.mode.as_str().to_owned(),
            kind: tally.kind,
            parent: object.parent,
            load_id: spec.load_id,
            bucket: object.bucket.clone(),
            key: object.key.clone(),
            etag: object.etag.clone(),
            size: object.size,
            modified_at: microseconds(object.modified_at),
            content_hash: tally.content_hash.clone(),
            rules_hash: spec.rules_hash.clone(),
            rows_read: tally.rows_read,
            rows_loaded: written,
            rows_rejected: tally.rows_rejected,
            rows_duplicate: 0,
            rows_superseded: 0,
            late: object.late,
            loaded_at: microseconds(spec.loaded_at),
            archive_key: object.archive_key.clone(),
        })
    };
    tallies.iter().enumerate().map(entry).collect()
}

/// Takes what lost from what was written, and compares the rest with what the warehouse took.
///
/// # Errors
/// [`Kind::CountMismatch`].
pub(crate) fn settle(
    entries: &mut [Entry],
    duplicate: &[u64],
    superseded: &[u64],
    loaded: u64,
) -> Result<(), WarehouseError> {
    let mut expected = 0;
    for (index, entry) in entries.iter_mut().enumerate() {
        entry.rows_duplicate = duplicate[index];
        entry.rows_superseded = superseded[index];
        let lost = entry.rows_duplicate + entry.rows_superseded;
        entry.rows_loaded =
            entry.rows_loaded.checked_sub(lost).ok_or_else(|| mismatch(&entry.table, entry.rows_loaded, lost))?;
        expected += entry.rows_loaded;
    }
    match entries.first() {
        Some(entry) if loaded != expected => Err(mismatch(&entry.table, expected, loaded)),
        _ => Ok(()),
    }
}

/// The error for counts that disagree.
pub(crate) fn mismatch(table: &QualifiedName, given: u64, took: u64) -> WarehouseError {
    WarehouseError::new(
        Kind::CountMismatch,
        format!("`{table}` was given {given} rows and took {took}; nothing was loaded"),
    )
}

/// The ledger keeps microseconds.
fn microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}
