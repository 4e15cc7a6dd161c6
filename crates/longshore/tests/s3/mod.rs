//! An S3 store in memory, on a loopback port, for tests in this process and for the real binary.
//!
//! Keys are exact and listings come in pages. Conditions are honoured on GET, PUT, DELETE, copies
//! and uploads in parts; versions are kept when asked for. A script of [`Fault`]s makes it answer
//! errors, break off, reset connections, wait, or do something in between. It runs on a thread of
//! its own, so that tests without a runtime can use it.

#![allow(dead_code, reason = "no test binary uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod fault;
mod operations;
mod store;
mod wire;

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::oneshot;

use fault::Script;
pub(crate) use fault::{Fault, On, Request};
use store::{Contents, Version};

/// The bucket that is there.
pub(crate) const BUCKET: &str = "landing";
/// The region that it says it is in.
pub(crate) const REGION: &str = "us-east-2";
/// The only access key that it knows.
pub(crate) const ACCESS_KEY: &str = "LONGSHORETEST";
/// Its secret.
pub(crate) const SECRET_KEY: &str = "not-a-secret-but-compared";

/// A running store; it ends when this is dropped.
pub(crate) struct MemoryS3 {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the connections share.
pub(crate) struct Shared {
    contents: Mutex<Contents>,
    script: Script,
    settings: Settings,
}

/// How this store differs from AWS.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Whether it keeps versions.
    pub(crate) versioned: bool,
    /// Whether it ignores If-Match on DELETE.
    pub(crate) ignores_conditional_deletes: bool,
    /// Whether it answers `NotImplemented` to If-None-Match on copies.
    pub(crate) refuses_conditional_copies: bool,
    /// Whether it ignores Range on GET.
    pub(crate) ignores_ranges: bool,
    /// Objects of one page of a listing.
    pub(crate) page: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            versioned: false,
            ignores_conditional_deletes: false,
            refuses_conditional_copies: false,
            ignores_ranges: false,
            page: 1_000,
        }
    }
}

impl MemoryS3 {
    /// A store like AWS, without versions.
    pub(crate) fn start() -> Self {
        Self::with(Settings::default())
    }

    /// A store with settings.
    pub(crate) fn with(settings: Settings) -> Self {
        let shared = Arc::new(Shared { contents: Mutex::default(), script: Script::default(), settings });
        let (address_sender, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || wire::serve(served, address_sender, stopped));
        let address = address.recv().expect("the store could not bind to a loopback port");
        Self { shared, address, stop: Some(stop), thread: Some(thread) }
    }

    /// Its URL.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a process needs in its environment to be let in, and to look nowhere else.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ]
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.shared.contents.lock().unwrap()
    }

    /// Puts an object as another program would.
    pub(crate) fn put(&self, key: &str, body: impl Into<Bytes>) {
        self.put_at(key, body, SystemTime::now());
    }

    /// Puts an object with a last-modified.
    pub(crate) fn put_at(&self, key: &str, body: impl Into<Bytes>, modified: SystemTime) {
        let version = Version { modified, ..Version::of(body.into()) };
        self.contents().put(key, version, self.shared.settings.versioned);
    }

    /// The bytes that lie under a key.
    pub(crate) fn body(&self, key: &str) -> Option<Bytes> {
        self.contents().current(key).and_then(|version| version.body.clone())
    }

    /// The metadata that lies with a key.
    pub(crate) fn metadata(&self, key: &str) -> std::collections::HashMap<String, String> {
        self.contents().current(key).map(|version| version.metadata.clone()).unwrap_or_default()
    }

    /// Content type, content encoding and ETag of what lies under a key.
    pub(crate) fn headers(&self, key: &str) -> Option<(Option<String>, Option<String>, String)> {
        let contents = self.contents();
        let version = contents.current(key)?;
        Some((version.content_type.clone(), version.content_encoding.clone(), version.etag.clone()))
    }

    /// Gives an object metadata and headers, as another program would when it puts it.
    pub(crate) fn describe(&self, key: &str, content_type: &str, content_encoding: &str, metadata: &[(&str, &str)]) {
        let mut contents = self.contents();
        let version = contents.keys.get_mut(key).and_then(|versions| versions.last_mut()).expect("no such key");
        version.content_type = Some(content_type.to_owned());
        version.content_encoding = Some(content_encoding.to_owned());
        version.metadata = metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    }

    /// Every key that a listing shows.
    pub(crate) fn keys(&self) -> Vec<String> {
        let contents = self.contents();
        contents.keys.keys().filter(|key| contents.current(key).is_some()).cloned().collect()
    }

    /// Every key of which anything is left, delete markers included.
    pub(crate) fn all_keys(&self) -> Vec<String> {
        self.contents().keys.keys().cloned().collect()
    }

    /// Removes a key as another program would.
    pub(crate) fn remove(&self, key: &str) {
        let versioned = self.shared.settings.versioned;
        self.contents().remove(key, versioned);
    }

    /// The bodies of all versions of a key, the oldest first; a delete marker has none.
    pub(crate) fn versions(&self, key: &str) -> Vec<Option<Bytes>> {
        let contents = self.contents();
        contents.keys.get(key).into_iter().flatten().map(|version| version.body.clone()).collect()
    }

    /// Uploads in parts that are neither completed nor aborted.
    pub(crate) fn open_uploads(&self) -> usize {
        self.contents().uploads.len()
    }

    /// From now on, does something else where a request matches.
    pub(crate) fn inject(&self, on: On, fault: Fault) {
        self.shared.script.add(on, fault);
    }

    /// From now on, lets so many requests of any kind pass, and then lets this happen to all.
    pub(crate) fn inject_all_after(&self, requests: usize, fault: Fault) {
        self.inject(On::any().after(requests), fault);
    }

    /// Forgets the faults that were injected.
    pub(crate) fn heal(&self) {
        self.shared.script.clear();
    }

    /// How many requests of an operation came, those that failed included.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.requests().iter().filter(|request| request.operation == operation).count()
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.script.requests()
    }

    /// The range of every GET so far.
    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.shared.script.ranges.lock().unwrap().clone()
    }

    /// Waits until a request of this kind has come. Bounded: a test that waits in vain fails.
    pub(crate) async fn seen(&self, operation: &str, times: usize) {
        let waiting = async {
            while self.count(operation) < times {
                self.shared.script.changed.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("the request never came");
    }

    /// A handle for faults that change what lies in the store.
    pub(crate) fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }
}

/// The contents of a store, for what happens in the middle of a request.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Shared>);

impl Handle {
    /// Puts an object as another program would.
    pub(crate) fn put(&self, key: &str, body: impl Into<Bytes>) {
        let version = Version::of(body.into());
        self.0.contents.lock().unwrap().put(key, version, self.0.settings.versioned);
    }

    /// Turns the bytes of an object into others, as a broken store may.
    pub(crate) fn spoil(&self, key: &str) {
        let mut contents = self.0.contents.lock().unwrap();
        let version = contents.keys.get_mut(key).and_then(|versions| versions.last_mut()).expect("no such key");
        let spoiled = Version::of("spoiled".into());
        (version.body, version.etag) = (spoiled.body, spoiled.etag);
    }

    /// Removes a key as another program would.
    pub(crate) fn remove(&self, key: &str) {
        self.0.contents.lock().unwrap().remove(key, self.0.settings.versioned);
    }
}

impl Drop for MemoryS3 {
    fn drop(&mut self) {
        self.shared.script.stopped.store(true, Relaxed);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
