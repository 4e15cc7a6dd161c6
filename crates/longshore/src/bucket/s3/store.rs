//! The bucket, its client, and the single requests that all else is made of.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::SharedCredentialsProvider;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType, ServerSideEncryption};
use jiff::{SignedDuration, Timestamp};

use super::fault::{Answer, DELETE, DELETE_VERSION, LOOK, LOOK_AT_VERSION};
use crate::bucket::{BucketError, Kind, Object, ObjectKey};

/// What the name of an object begins with that is only written to see what the store does.
pub(super) const PROBE: &str = ".longshore-check";

/// Largest object that is copied in one request; S3's own limit is 5 GB.
const PARTS_OVER: u64 = 5_000_000_000;

/// Size of a part: large enough that 5 TB take fewer than 10,000 of them, small enough that a
/// failed one costs little.
const PART_SIZE: u64 = 512 << 20;

/// Versions that are remembered between reading an object and removing it. Forgotten ones are
/// looked up again, so this only bounds the memory.
const VERSIONS: usize = 10_000;

/// Where the bucket is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) id: String,
    pub(super) display: String,
    /// AWS itself: it is known which conditions it honours.
    pub(super) aws: bool,
}

impl Place {
    pub(super) fn aws(bucket: &str) -> Self {
        Self { id: format!("s3://{bucket}"), display: format!("s3://{bucket}"), aws: true }
    }

    pub(super) fn elsewhere(authority: &str, bucket: &str) -> Self {
        Self { id: format!("s3://{authority}/{bucket}"), display: format!("s3://{bucket}"), aws: false }
    }
}

/// How long to wait before a request is tried again; each wait is longer than the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

impl Patience {
    /// With the client's five attempts some ten seconds, which a throttled prefix or a restarted
    /// store needs.
    pub(super) const FULL: Self = Self { first: Duration::from_millis(500), longest: Duration::from_secs(5) };
    /// For tests.
    pub(super) const NONE: Self = Self { first: Duration::from_millis(1), longest: Duration::from_millis(2) };
}

/// One bucket and what this process has learned about its store.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) client: Client,
    /// Where the client has its credentials from.
    pub(super) credentials: Option<SharedCredentialsProvider>,
    pub(super) bucket: String,
    pub(super) id: String,
    pub(super) place: Place,
    pub(super) patience: Patience,
    pub(super) parts_over: u64,
    pub(super) part_size: u64,
    /// Whether DELETE honours If-Match, once that was tried.
    pub(super) conditional_delete: Arc<OnceLock<bool>>,
    /// Whether the store refuses If-None-Match on copies.
    pub(super) plain_copies: Arc<AtomicBool>,
    versions: Arc<Mutex<Versions>>,
}

/// Versions of the objects that were read, the oldest forgotten first.
#[derive(Debug, Default)]
struct Versions {
    known: HashMap<Listed, String>,
    order: VecDeque<Listed>,
}

/// What tells one listed object from another.
type Listed = (ObjectKey, String, Timestamp);

fn listed(object: &Object) -> Listed {
    (object.key.clone(), object.etag.clone(), object.modified_at)
}

/// An object and what stands in its headers.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) object: Object,
    pub(super) version: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) cache_control: Option<String>,
    checksums: BTreeMap<&'static str, String>,
    /// Whether the ETag is the MD5 of the bytes.
    etag_is_hash: bool,
}

impl Store {
    pub(super) fn new(
        client: Client,
        credentials: Option<SharedCredentialsProvider>,
        bucket: String,
        id: Option<String>,
        place: Place,
        patience: Patience,
    ) -> Self {
        Self {
            client,
            credentials,
            bucket,
            id: id.unwrap_or_else(|| place.id.clone()),
            place,
            patience,
            parts_over: PARTS_OVER,
            part_size: PART_SIZE,
            conditional_delete: Arc::default(),
            plain_copies: Arc::default(),
            versions: Arc::default(),
        }
    }

    /// How people write the place of a key.
    pub(super) fn place(&self, key: &ObjectKey) -> String {
        format!("{}/{key}", self.place.display)
    }

    /// The headers of the object that has this key now, or of one version of it.
    pub(super) async fn head(&self, key: &ObjectKey, version: Option<&str>) -> Result<Option<Head>, BucketError> {
        let request = self.client.head_object().bucket(&self.bucket).key(key.as_str());
        let answer =
            request.checksum_mode(ChecksumMode::Enabled).set_version_id(version.map(str::to_owned)).send().await;
        match answer {
            Ok(head) => Ok(Some(Head::of(key, head))),
            Err(error) => match Answer::of(&error) {
                Answer { kind: Kind::Gone, .. } => Ok(None),
                answer if version.is_some() => Err(answer.told(self, LOOK_AT_VERSION, Some(key))),
                answer => Err(answer.told(self, LOOK, Some(key))),
            },
        }
    }

    /// Removes an object, or one version of it; one that is not there is fine.
    pub(super) async fn delete(&self, key: &ObjectKey, version: Option<&str>) -> Result<(), BucketError> {
        let request = self.client.delete_object().bucket(&self.bucket).key(key.as_str());
        match request.set_version_id(version.map(str::to_owned)).send().await {
            Ok(_) => Ok(()),
            Err(error) => match Answer::of(&error) {
                Answer { kind: Kind::Gone, .. } => Ok(()),
                answer if version.is_some() => Err(answer.told(self, DELETE_VERSION, Some(key))),
                answer => Err(answer.told(self, DELETE, Some(key))),
            },
        }
    }

    /// Remembers which version was read.
    pub(super) fn remember_version(&self, object: &Object, version: &str) {
        let name = listed(object);
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if versions.known.insert(name.clone(), version.to_owned()).is_none() {
            versions.order.push_back(name);
        }
        while versions.order.len() > VERSIONS {
            if let Some(oldest) = versions.order.pop_front() {
                versions.known.remove(&oldest);
            }
        }
    }

    /// Which version was read, as far as this process remembers.
    pub(super) fn version_read(&self, object: &Object) -> Option<String> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).known.get(&listed(object)).cloned()
    }
}

/// A key for an object that is only written to see what the store does.
pub(super) fn probe(prefix: &str) -> ObjectKey {
    ObjectKey::new(format!("{prefix}{PROBE}-{}", uuid::Uuid::now_v7()))
}

/// A version that a delete can name: `null` is what a bucket without versions overwrites.
pub(super) fn exact(version: Option<&str>) -> Option<&str> {
    version.filter(|version| !version.is_empty() && *version != "null")
}

/// An ETag as it stands in a header.
pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// An ETag as it stands in an object.
pub(super) fn unquoted(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

/// Last-modified, cut to seconds: stores differ below that.
pub(super) fn seconds(time: Option<&DateTime>) -> Timestamp {
    time.and_then(|time| Timestamp::from_second(time.secs()).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Head {
    fn of(key: &ObjectKey, head: HeadObjectOutput) -> Self {
        let object = Object {
            key: key.clone(),
            etag: unquoted(head.e_tag()),
            size: head.content_length().and_then(|size| size.try_into().ok()).unwrap_or(0),
            modified_at: seconds(head.last_modified()),
        };
        let sealed = matches!(
            head.server_side_encryption(),
            Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse)
        ) || head.sse_customer_algorithm().is_some();
        let is_md5 = object.etag.len() == 32 && object.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        Self {
            etag_is_hash: is_md5 && !sealed,
            checksums: checksums(&head),
            version: head.version_id,
            metadata: head.metadata.into_iter().flatten().collect(),
            content_type: head.content_type,
            content_encoding: head.content_encoding,
            content_language: head.content_language,
            content_disposition: head.content_disposition,
            cache_control: head.cache_control,
            object,
        }
    }

    /// Whether these are the headers of a listed object. Some stores round last-modified in
    /// headers and cut it in listings.
    pub(super) fn is_of(&self, object: &Object) -> bool {
        let apart = self.object.modified_at.duration_since(object.modified_at).abs();
        self.object.etag == object.etag && self.object.size == object.size && apart <= SignedDuration::from_secs(1)
    }

    /// Whether two objects hold the same bytes, as far as their headers can tell.
    pub(super) fn may_equal(&self, other: &Self) -> bool {
        let checksums =
            self.checksums.iter().all(|(name, sum)| other.checksums.get(name).is_none_or(|other| other == sum));
        let etags = !(self.etag_is_hash && other.etag_is_hash) || self.object.etag == other.object.etag;
        self.object.size == other.object.size && checksums && etags
    }
}

/// Checksums over the whole object; those over its parts differ with the parts.
fn checksums(head: &HeadObjectOutput) -> BTreeMap<&'static str, String> {
    if matches!(head.checksum_type(), Some(ChecksumType::Composite)) {
        return BTreeMap::new();
    }
    [
        ("crc32", head.checksum_crc32()),
        ("crc32c", head.checksum_crc32_c()),
        ("crc64nvme", head.checksum_crc64_nvme()),
        ("sha1", head.checksum_sha1()),
        ("sha256", head.checksum_sha256()),
    ]
    .into_iter()
    // Older stores do not say that a sum is one of parts, but its form does.
    .filter_map(|(name, sum)| Some((name, sum.filter(|sum| !sum.contains('-'))?.to_owned())))
    .collect()
}

#[cfg(test)]
impl Head {
    pub(super) fn for_tests(object: Object, metadata: BTreeMap<String, String>) -> Self {
        let head = Self::of(&object.key, HeadObjectOutput::builder().build());
        Self { object, metadata, ..head }
    }
}
