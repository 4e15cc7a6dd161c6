//! Lends a bucket to the conformance list, and stands in for whoever else uses it.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use longshore::bucket::{
    Bucket, BucketError, Directory, DirectoryConfig, Metadata, Move, Moved, Object, ObjectKey, Page, S3, S3Config,
};
use tempfile::TempDir;

use crate::s3::{ACCESS_KEY, BUCKET, MemoryS3, REGION, SECRET_KEY, Settings};

/// A bucket with somebody else who writes into it.
pub(crate) trait Bench: Send + Sync {
    /// The bucket under test.
    fn bucket(&self) -> &dyn Bucket;
    /// Puts an object as another program would.
    fn write(&self, key: &str, body: &[u8]);
    /// Removes an object as another program would.
    fn remove(&self, key: &str);
    /// What lies under a key.
    fn body(&self, key: &str) -> Option<Vec<u8>>;
    /// Every key, ours and theirs.
    fn keys(&self) -> Vec<String>;
}

/// A directory without settling.
pub(crate) struct DirectoryBench {
    pub(crate) root: TempDir,
    pub(crate) bucket: Directory,
}

impl DirectoryBench {
    pub(crate) fn new() -> Self {
        Self::settling(Duration::ZERO)
    }

    pub(crate) fn settling(settle: Duration) -> Self {
        Self::at(tempfile::tempdir().unwrap(), settle)
    }

    /// In memory where this machine has a place for that: thousands of files take long on a disk.
    pub(crate) fn roomy() -> Self {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self::at(root, Duration::ZERO)
    }

    fn at(root: TempDir, settle: Duration) -> Self {
        let bucket = Directory::open(DirectoryConfig { path: root.path().to_owned(), id: None, settle }).unwrap();
        Self { root, bucket }
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.root.path().join(key)
    }
}

impl Bench for DirectoryBench {
    fn bucket(&self) -> &dyn Bucket {
        &self.bucket
    }

    fn write(&self, key: &str, body: &[u8]) {
        let path = self.path(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As careful programs do: never half a file under the final name.
        let beside = path.with_file_name(".beside");
        std::fs::write(&beside, body).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    fn remove(&self, key: &str) {
        std::fs::remove_file(self.path(key)).unwrap();
    }

    fn body(&self, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path(key)).ok()
    }

    fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        let mut folders = vec![self.root.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => keys.push(path.strip_prefix(self.root.path()).unwrap().display().to_string()),
                }
            }
        }
        keys.sort();
        keys
    }
}

/// A bucket of the store in memory.
pub(crate) struct S3Bench {
    pub(crate) store: MemoryS3,
    pub(crate) bucket: S3,
}

impl S3Bench {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let store = MemoryS3::with(settings);
        let bucket = connect(&store).await;
        Self { store, bucket }
    }

    pub(crate) async fn versioned() -> Self {
        Self::with(Settings { versioned: true, ..Settings::default() }).await
    }

    /// A store that knows no conditions but on GET.
    pub(crate) async fn plain() -> Self {
        let settings =
            Settings { ignores_conditional_deletes: true, refuses_conditional_copies: true, ..Settings::default() };
        Self::with(settings).await
    }

    /// The same bucket, as a process sees it that has just started.
    pub(crate) async fn restarted(&self) -> S3 {
        connect(&self.store).await
    }
}

/// How the store in memory is reached.
pub(crate) fn config(store: &MemoryS3) -> S3Config {
    S3Config {
        bucket: BUCKET.to_owned(),
        region: Some(REGION.to_owned()),
        endpoint: Some(store.endpoint()),
        ..S3Config::default()
    }
}

async fn connect(store: &MemoryS3) -> S3 {
    S3::connect_with_keys(config(store), ACCESS_KEY, SECRET_KEY).await.unwrap()
}

impl Bench for S3Bench {
    fn bucket(&self) -> &dyn Bucket {
        &self.bucket
    }

    fn write(&self, key: &str, body: &[u8]) {
        self.store.put(key, body.to_vec());
    }

    fn remove(&self, key: &str) {
        self.store.remove(key);
    }

    fn body(&self, key: &str) -> Option<Vec<u8>> {
        self.store.body(key).map(Vec::from)
    }

    fn keys(&self) -> Vec<String> {
        self.store.keys()
    }
}

/// All pages of a listing in one.
pub(crate) async fn list(bucket: &dyn Bucket, prefix: &str) -> Result<Page, BucketError> {
    let mut pages: Vec<Page> = bucket.list(prefix).try_collect().await?;
    let mut all = pages.pop().unwrap_or_default();
    for page in pages {
        all.objects.extend(page.objects);
        all.left_out.extend(page.left_out);
        all.settling.extend(page.settling);
    }
    all.objects.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(all)
}

/// The keys of a listing, in order.
pub(crate) async fn listed_keys(bucket: &dyn Bucket, prefix: &str) -> Vec<String> {
    list(bucket, prefix).await.unwrap().objects.iter().map(|object| object.key.to_string()).collect()
}

/// The object of a key, from a listing.
pub(crate) async fn listed(bucket: &dyn Bucket, key: &str) -> Object {
    let page = list(bucket, key).await.unwrap();
    page.objects.into_iter().find(|object| object.key.as_str() == key).expect("the listing does not show it")
}

/// All bytes of an object.
pub(crate) async fn read(bucket: &dyn Bucket, object: &Object) -> Result<Vec<u8>, BucketError> {
    let chunks: Vec<Bytes> = bucket.read(object).await?.try_collect().await?;
    Ok(chunks.concat())
}

/// Moves an object to `to`, or else to `otherwise`.
pub(crate) async fn relocate(bucket: &dyn Bucket, object: &Object, to: &str, otherwise: &str) -> Moved {
    try_to_relocate(bucket, object, to, otherwise).await.unwrap()
}

/// Moves an object, which may go wrong.
pub(crate) async fn try_to_relocate(
    bucket: &dyn Bucket,
    object: &Object,
    to: &str,
    otherwise: &str,
) -> Result<Moved, BucketError> {
    let (to, otherwise) = (ObjectKey::new(to), ObjectKey::new(otherwise));
    let metadata = Metadata::from([("longshore-pipeline".to_owned(), "orders".to_owned())]);
    let identity = object.identity(bucket.id());
    bucket.relocate(Move { object, identity, to: &to, otherwise: &otherwise, metadata: &metadata }).await
}

/// The answer that names a key.
pub(crate) fn to(key: &str) -> Moved {
    Moved::To(ObjectKey::new(key))
}
