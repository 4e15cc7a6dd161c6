//! Moves objects that are in the ledger out of `pending`, to the key that the ledger gives.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use longshore_warehouse::{Entry, Fault, ObjectId, ObjectSpec};

use super::quarantine::REPORT_SUFFIX;
use super::{Context, Error, Landed, Place};
use crate::bucket::{META_IDENTITY, META_KEY, META_MODIFIED_AT, Metadata, Move, Moved, ObjectKey, Prefixes};

/// Bytes of the longest key that S3 takes.
const MAX_KEY_BYTES: usize = 1_024;
/// Bytes of the longest last part of a key that we make: what a directory takes for a file's name,
/// less what a report adds to it.
pub const MAX_NAME_BYTES: usize = 255 - REPORT_SUFFIX.len();

/// The key under which an object is archived.
pub fn key_for(prefixes: &Prefixes, object: &ObjectSpec, loaded_at: Timestamp) -> String {
    dated(&prefixes.processed, prefixes, &object.key, loaded_at, object.identity)
}

/// `prefix` + date + the key without `pending`; cut, with digits of the identity, where it would
/// be too long.
pub fn dated(prefix: &str, prefixes: &Prefixes, key: &str, at: Timestamp, identity: ObjectId) -> String {
    let relative = key.strip_prefix(prefixes.pending.as_str()).unwrap_or(key);
    let date = at.to_zoned(TimeZone::UTC).strftime("%Y/%m/%d").to_string();
    let dated = format!("{prefix}{date}/{relative}");
    if dated.len() <= MAX_KEY_BYTES { dated } else { with_identity(&dated, identity) }
}

/// The same key with digits of the identity before the last extension, cut to what S3 and file
/// systems take.
pub fn with_identity(key: &str, identity: ObjectId) -> String {
    let name_start = key.rfind('/').map_or(0, |at| at + 1);
    let dot = key[name_start..].rfind('.').filter(|at| *at > 0).map(|at| name_start + at);
    let (stem, extension) = key.split_at(dot.unwrap_or(key.len()));
    let digits = format!("-{}", identity.short());
    // An extension that is half the key is none worth keeping.
    let extension = if extension.len() > 64 { "" } else { extension };
    let room = MAX_KEY_BYTES.min(name_start + MAX_NAME_BYTES) - digits.len() - extension.len();
    let cut = (0..=stem.len().min(room)).rev().find(|at| stem.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{digits}{extension}", &stem[..cut])
}

/// What travels with a moved object.
pub fn metadata(landed: &Landed) -> Metadata {
    Metadata::from([
        (META_IDENTITY.to_owned(), landed.identity.to_string()),
        (META_KEY.to_owned(), landed.key().to_owned()),
        (META_MODIFIED_AT.to_owned(), landed.object.modified_at.to_string()),
    ])
}

/// Moves objects to the keys of their entries. What is gone already was moved before, or taken by
/// somebody; what changed is a new object, and the next scan finds it. Returns why some could not be
/// moved: their rows are in, so they hold back no other, and the next pass tries again.
///
/// # Errors
/// The bucket cannot be reached, or the journal cannot be written.
pub async fn archive(landed: &[Arc<Landed>], entries: &[Entry], ctx: &Context) -> Result<Vec<Error>, Error> {
    if ctx.keep {
        return Ok(Vec::new());
    }
    let objects = landed.iter().zip(entries).filter(|(landed, _)| landed.place != Place::Processed);
    let places: Vec<(ObjectKey, ObjectKey, Metadata)> = objects
        .clone()
        .map(|(landed, entry)| {
            let to = place_of(entry, ctx);
            let otherwise = ObjectKey::new(with_identity(&to, entry.identity));
            (ObjectKey::new(to), otherwise, metadata(landed))
        })
        .collect();
    let moves: Vec<Move<'_>> = objects
        .clone()
        .zip(&places)
        .map(|((landed, _), (to, otherwise, metadata))| Move {
            object: &landed.at,
            identity: landed.identity,
            to,
            otherwise,
            metadata,
        })
        .collect();
    let moved = ctx.bucket.relocate_all(&moves).await;
    let (mut archived, mut stuck) = (Vec::new(), Vec::new());
    for ((landed, entry), moved) in objects.zip(moved) {
        let moved = match moved {
            Ok(moved) if landed.place == Place::Failed => {
                super::quarantine::remove_report(&landed.at.key, ctx).await.map(|()| moved)
            }
            moved => moved.map_err(Error::from),
        };
        match moved {
            Err(error) => stuck.push(error.about(&format!("`{}` is in, but cannot be archived", landed.key()))),
            Ok(Moved::To(key)) => archived.push((entry.identity, entry.generation, key.as_str().to_owned())),
            Ok(Moved::Gone) => tracing::debug!(object.key = landed.key(), "an object was gone before it was archived"),
            Ok(Moved::Changed) => tracing::warn!(
                object.key = landed.key(),
                "`{}` was overwritten after it was loaded: the new object is loaded by the next pass",
                landed.key()
            ),
        }
    }
    ctx.journal.record_archived(&archived, Timestamp::now())?;
    longshore_warehouse::crash_point("ack");
    match stuck.iter().position(|error| error.fault == Fault::Transient) {
        Some(at) => Err(stuck.swap_remove(at)),
        None => Ok(stuck),
    }
}

/// The key that an entry gives its object in the archive.
pub fn place_of(entry: &Entry, ctx: &Context) -> String {
    match &entry.archive_key {
        Some(key) => key.clone(),
        // The entry was written while objects stayed where they are.
        None => dated(&ctx.prefixes.processed, &ctx.prefixes, &entry.key, entry.loaded_at, entry.identity),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes() -> Prefixes {
        Prefixes {
            pending: "pending/".to_owned(),
            processed: "processed/".to_owned(),
            failed: "failed/".to_owned(),
            rejected: "rejected/".to_owned(),
        }
    }

    const IDENTITY: ObjectId = ObjectId::new([0xab; 32]);

    #[test]
    fn only_pending_at_the_start_of_a_key_is_replaced() {
        let at: Timestamp = "2026-11-22T23:59:59-01:00".parse().unwrap();
        let key = dated("processed/", &prefixes(), "pending/pending_orders.csv", at, IDENTITY);
        assert_eq!(key, "processed/2026/11/23/pending_orders.csv");
        let key = dated("processed/", &prefixes(), "pending/a/pending/b.csv", at, IDENTITY);
        assert_eq!(key, "processed/2026/11/23/a/pending/b.csv");
    }

    #[test]
    fn digits_stand_before_the_last_extension() {
        for (key, expected) in [
            ("p/a.csv", "p/a-abababab.csv"),
            ("p/a.csv.gz", "p/a.csv-abababab.gz"),
            ("p.d/a", "p.d/a-abababab"),
            ("p/.csv", "p/.csv-abababab"),
        ] {
            assert_eq!(with_identity(key, IDENTITY), expected);
        }
    }

    #[test]
    fn a_name_leaves_room_for_that_of_its_report() {
        let key = with_identity(&format!("failed/{}.csv", "x".repeat(251)), IDENTITY);
        assert_eq!(key.len(), "failed/".len() + MAX_NAME_BYTES);
    }

    #[test]
    fn a_key_that_would_be_too_long_is_cut_between_characters() {
        let key = dated(
            "processed/",
            &prefixes(),
            &format!("pending/{}.csv", "ü".repeat(505)),
            Timestamp::UNIX_EPOCH,
            IDENTITY,
        );
        assert!(key.len() <= MAX_KEY_BYTES, "{}", key.len());
        assert!(key.ends_with("-abababab.csv"));
    }
}
