//! What lies in the store.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Keys with their versions, the oldest first, and uploads that are not complete.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) keys: BTreeMap<String, Vec<Version>>,
    pub(super) uploads: BTreeMap<String, Upload>,
    count: u64,
}

/// One version of a key, or a delete marker.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) id: Option<String>,
    pub(super) body: Option<Bytes>,
    pub(super) etag: String,
    pub(super) modified: SystemTime,
    pub(super) metadata: HashMap<String, String>,
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
}

/// An upload in parts.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) like: Version,
    pub(super) parts: BTreeMap<i32, Bytes>,
}

impl Version {
    pub(super) fn of(body: Bytes) -> Self {
        Self {
            id: None,
            etag: digest(&body),
            body: Some(body),
            modified: SystemTime::now(),
            metadata: HashMap::new(),
            content_type: None,
            content_encoding: None,
        }
    }
}

/// As long as an MD5, which is what an ETag looks like.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Contents {
    /// The object that has this key now.
    pub(super) fn current(&self, key: &str) -> Option<&Version> {
        self.keys.get(key)?.last().filter(|version| version.body.is_some())
    }

    /// The current version, or the one that is named.
    pub(super) fn version(&self, key: &str, id: Option<&str>) -> Option<&Version> {
        match id {
            None => self.current(key),
            Some(id) => self.keys.get(key)?.iter().find(|version| version.id.as_deref() == Some(id)),
        }
    }

    pub(super) fn put(&mut self, key: &str, mut version: Version, versioned: bool) -> Option<String> {
        self.count += 1;
        let versions = self.keys.entry(key.to_owned()).or_default();
        match versioned {
            true => version.id = Some(format!("version+{:08}/", self.count)),
            false => versions.clear(),
        }
        let id = version.id.clone();
        versions.push(version);
        id
    }

    /// Removes a key, or lays a delete marker on it.
    pub(super) fn remove(&mut self, key: &str, versioned: bool) {
        if versioned {
            let marker = Version { body: None, ..Version::of(Bytes::new()) };
            self.put(key, marker, true);
        } else {
            self.keys.remove(key);
        }
    }

    /// Removes one version for good.
    pub(super) fn remove_version(&mut self, key: &str, id: &str) {
        if let Some(versions) = self.keys.get_mut(key) {
            versions.retain(|version| version.id.as_deref() != Some(id));
            if versions.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    pub(super) fn begin_upload(&mut self, key: &str, like: Version) -> String {
        self.count += 1;
        let id = format!("upload-{:08}", self.count);
        self.uploads.insert(id.clone(), Upload { key: key.to_owned(), like, parts: BTreeMap::new() });
        id
    }
}
