//! What the ledger says about one object.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::{LoadId, QualifiedName};

/// The identity of an object: SHA-256 over the length-prefixed bucket id, key, ETag, size and
/// last-modified of a listing. Printed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId([u8; 32]);

impl ObjectId {
    /// Wraps a digest.
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The first eight hexadecimal digits, for names that people read.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct ObjectIdError;

impl FromStr for ObjectId {
    type Err = ObjectIdError;

    fn from_str(text: &str) -> Result<Self, ObjectIdError> {
        let bytes = text.as_bytes();
        let mut digest = [0; 32];
        if bytes.len() != 64 {
            return Err(ObjectIdError);
        }
        for (byte, pair) in digest.iter_mut().zip(bytes.chunks_exact(2)) {
            let digit = |b: u8| (b as char).to_digit(16).ok_or(ObjectIdError);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(digest))
    }
}

/// How often an object was loaded on purpose: the first load is 1, `load --again` and `retry`
/// of a kept object count up.
pub type Generation = u32;

/// What an entry records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// Its rows are in the table.
    Load,
    /// A newer object had already replaced the table: nothing of this one is in it.
    Superseded,
    /// The same pipeline had the same key with the same bytes before: nothing was loaded.
    Repeat,
    /// It was refused and stays where it is (`after = "keep"`): nothing was loaded.
    Failed,
}

impl EntryKind {
    /// The word that stands in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Superseded => "superseded",
            Self::Repeat => "repeat",
            Self::Failed => "failed",
        }
    }

    /// Reads the ledger's word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Load, Self::Superseded, Self::Repeat, Self::Failed].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Where an object stands in the order in which the objects of a table take effect.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Last-modified of the object when it was listed.
    pub modified_at: Timestamp,
    /// Its key in the bucket.
    pub key: String,
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Table, folded and qualified.
    pub table: QualifiedName,
    /// Identity of the object.
    pub identity: ObjectId,
    /// Which load of this object it was.
    pub generation: Generation,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Word of the mode ([`crate::Mode::as_str`]).
    pub mode: String,
    /// What the entry records.
    pub kind: EntryKind,
    /// The object from which this one was derived, if it was.
    pub parent: Option<ObjectId>,
    /// The load that wrote the entry.
    pub load_id: LoadId,
    /// Id of the bucket.
    pub bucket: String,
    /// Key of the object when it was listed.
    pub key: String,
    /// ETag of the object when it was listed.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
    /// Last-modified when it was listed.
    pub modified_at: Timestamp,
    /// BLAKE3 of the raw bytes as 64 hexadecimal digits; `None` where nothing was read.
    pub content_hash: Option<String>,
    /// Hash of the pipeline rules in force.
    pub rules_hash: String,
    /// Data records that the reader counted.
    pub rows_read: u64,
    /// Rows that the warehouse took.
    pub rows_loaded: u64,
    /// Rows that did not fit.
    pub rows_rejected: u64,
    /// Rows that lost to a row of the same load.
    pub rows_duplicate: u64,
    /// Rows that lost to a row already in the target.
    pub rows_superseded: u64,
    /// Whether the object was older than one already committed.
    pub late: bool,
    /// When the load was committed, by the loader's clock.
    pub loaded_at: Timestamp,
    /// Where the archive puts the object; `None` where it stays.
    pub archive_key: Option<String>,
}

impl Entry {
    /// The object's place in the order of the table.
    pub fn position(&self) -> Position {
        Position { modified_at: self.modified_at, key: self.key.clone() }
    }
}

/// Where a page of [`crate::Warehouse::page`] ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Position of the last entry of the page.
    pub position: Position,
    /// Its identity.
    pub identity: ObjectId,
    /// Its generation.
    pub generation: Generation,
}

impl From<&Entry> for Cursor {
    fn from(entry: &Entry) -> Self {
        Self { position: entry.position(), identity: entry.identity, generation: entry.generation }
    }
}

/// An object about which [`crate::Warehouse::lookup`] is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its identity.
    pub identity: ObjectId,
    /// Its pipeline.
    pub pipeline: String,
    /// Its key.
    pub key: String,
}

/// The content of an object that the same pipeline once loaded from the same key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KnownHash {
    /// Pipeline that loaded it.
    pub pipeline: String,
    /// Key that it had.
    pub key: String,
    /// BLAKE3 of its raw bytes, 64 hexadecimal digits.
    pub content_hash: String,
    /// Identity of the object that had it.
    pub identity: ObjectId,
}
