//! Where files land: S3, an S3-compatible store, or a local directory that behaves like one.
//!
//! A [`Bucket`] lists objects as they are, reads exactly the bytes that were listed, and moves an
//! object only if it still is what was read. Keys are exact: nothing normalises, decodes or
//! escapes them on the way.

mod directory;
mod error;
mod s3;
mod staging;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use longshore_warehouse::{Finding, ObjectId};
use sha2::{Digest, Sha256};

pub use directory::{Directory, DirectoryConfig};
use error::told;
pub use error::{BucketError, Kind};
pub use s3::{S3, S3Config};
pub use staging::StagingBucket;

/// The key of an object, exact.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Takes a key as it is.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One object of the bucket as it was when listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: ObjectKey,
    /// Its ETag without quotes; in a directory size, modification time in ns and inode.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
    /// Last-modified; cut to seconds on S3.
    pub modified_at: Timestamp,
}

impl Object {
    /// Its identity: SHA-256 over the fields, each behind its length as eight bytes, big-endian.
    /// Size and last-modified (microseconds since 1970) are eight bytes, big-endian.
    pub fn identity(&self, bucket_id: &str) -> ObjectId {
        let mut hash = Sha256::new();
        for field in [
            bucket_id.as_bytes(),
            self.key.as_str().as_bytes(),
            self.etag.as_bytes(),
            &self.size.to_be_bytes(),
            &self.modified_at.as_microsecond().to_be_bytes(),
        ] {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        ObjectId::new(hash.finalize().into())
    }
}

/// One page of a listing.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Objects, in the order of the listing.
    pub objects: Vec<Object>,
    /// What was left out and deserves a word: names that are not UTF-8, links out of the bucket.
    pub left_out: Vec<LeftOut>,
    /// Objects that are still being written, with the time at which they may have settled.
    pub settling: Vec<(ObjectKey, Timestamp)>,
}

/// Something in the bucket that cannot be an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name, as far as it can be printed.
    pub name: String,
    /// Why.
    pub why: &'static str,
}

/// The bytes of an object as they arrive.
pub type Body = BoxStream<'static, Result<Bytes, BucketError>>;

/// Metadata that travels with a moved object: where it came from.
pub type Metadata = BTreeMap<String, String>;

/// Metadata key: identity of the object that was moved.
pub const META_IDENTITY: &str = "longshore-identity";
/// Metadata key: its key before the move, percent-encoded (metadata is ASCII).
pub const META_KEY: &str = "longshore-key";
/// Metadata key: its last-modified before the move, RFC 3339.
pub const META_MODIFIED_AT: &str = "longshore-modified-at";

/// A move of one object, repeatable.
#[derive(Debug, Clone)]
pub struct Move<'a> {
    /// The object that was read, where it lies now.
    pub object: &'a Object,
    /// Its identity.
    pub identity: ObjectId,
    /// Where it shall lie.
    pub to: &'a ObjectKey,
    /// Where it shall lie if `to` belongs to another object.
    pub otherwise: &'a ObjectKey,
    /// What travels with it.
    pub metadata: &'a Metadata,
}

/// Objects that are moved at once: enough to hide the latency of S3.
const MOVES_AT_ONCE: usize = 16;

/// What became of a [`Move`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// It lies there now.
    To(ObjectKey),
    /// It is not at its old place any more, and not at the new one either: somebody took it.
    Gone,
    /// Another object has its key now; nothing was touched.
    Changed,
}

/// Where files land.
///
/// # Contract
///
/// - `list` yields every object under the prefix whose name allows it to be one.
/// - `read` yields the bytes of the object that was listed, or `Gone`/`Changed`; a broken
///   connection is resumed at its offset under the same condition.
/// - `relocate` never replaces an object that is not ours, never removes bytes that were not
///   listed, and may be repeated after a crash at any point.
#[async_trait]
pub trait Bucket: fmt::Debug + Send + Sync + 'static {
    /// Its id, part of every identity.
    fn id(&self) -> &str;

    /// How people write the place of a key: `s3://bucket/key`, or a path.
    fn display(&self, key: &ObjectKey) -> String;

    /// Lists the objects under a prefix, page by page.
    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Page, BucketError>>;

    /// The object that has this key now.
    async fn head(&self, key: &ObjectKey) -> Result<Option<Object>, BucketError>;

    /// Reads an object as it was listed.
    ///
    /// # Errors
    /// [`Kind::Gone`] or [`Kind::Changed`], at once or while the stream runs.
    async fn read(&self, object: &Object) -> Result<Body, BucketError>;

    /// Writes an object of our own (a report, rejects), replacing one of the same key.
    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<(), BucketError>;

    /// Writes an object of our own from a local file, which may be large.
    async fn put_file(&self, key: &ObjectKey, file: &std::path::Path) -> Result<(), BucketError>;

    /// Removes an object of our own; one that is not there is fine.
    async fn delete(&self, key: &ObjectKey) -> Result<(), BucketError>;

    /// Moves an object if it still is what was listed.
    async fn relocate(&self, movement: Move<'_>) -> Result<Moved, BucketError>;

    /// Moves several objects, in whatever order. What comes of each is told in theirs.
    async fn relocate_all(&self, moves: &[Move<'_>]) -> Vec<Result<Moved, BucketError>> {
        let moving: Vec<_> = moves.iter().map(|movement| self.relocate(movement.clone())).collect();
        stream::iter(moving).buffered(MOVES_AT_ONCE).collect().await
    }

    /// Objects that a crash left between two places (a directory's claims): their identity, key
    /// before the move, and the object as it lies now. Empty on S3.
    async fn claims(&self) -> Result<Vec<Claim>, BucketError>;

    /// Puts a claimed object back to its old key, unless that key is taken by now (then it stays
    /// claimed, and `Changed` is the answer).
    async fn unclaim(&self, claim: &Claim) -> Result<Moved, BucketError>;

    /// Finishes the move of a claimed object.
    async fn finish_claim(&self, claim: &Claim, to: &ObjectKey, otherwise: &ObjectKey) -> Result<Moved, BucketError>;

    /// Tries what Longshore needs (list, read, write, conditional delete, under these prefixes) and
    /// says, hop by hop, what works. Leaves nothing behind.
    async fn check(&self, prefixes: &Prefixes) -> Vec<Finding>;
}

/// An object between two places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Identity that it was claimed under.
    pub identity: ObjectId,
    /// Its key before it was claimed.
    pub key: ObjectKey,
    /// The object as it lies now: `key` is where it was, the rest is of the claimed file.
    pub object: Object,
}

/// The first parts of keys that have a meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefixes {
    /// Where objects land.
    pub pending: String,
    /// Where loaded objects go.
    pub processed: String,
    /// Where objects go that cannot be loaded.
    pub failed: String,
    /// Where rows go that do not fit.
    pub rejected: String,
}
