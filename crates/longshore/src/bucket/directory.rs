//! A local directory that behaves like a bucket.
//!
//! A key is the path below the root, with `/`. What cannot do here what it does on S3: metadata of
//! a move is not kept (a file has none; the report beside a failed object says the same), two
//! objects are told apart by size, modification time and inode instead of by metadata, and a
//! listing has no order. A writer that still has a file open when it is moved goes on writing
//! into the moved file; `settle` is there to wait for it.
//!
//! Never objects, and never touched: names that begin with a dot (Longshore's own `.longshore/`
//! too), `*.tmp`, `*.part`, and everything that is not a regular file. Symbolic links are left
//! out wherever they point: moving a link moves no bytes, and a relative one would point
//! elsewhere from its new place. Only the folder behind a prefix (`processed/`) may be a link.

mod check;
mod disk;
mod fresh;
mod moving;
mod reading;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::Either;
use futures::stream::{self, BoxStream, StreamExt};
use longshore_warehouse::{Finding, ObjectId};

use super::{Body, Bucket, BucketError, Claim, Kind, Move, Moved, Object, ObjectKey, Page, Prefixes};
use disk::Disk;

/// Objects that a thread moves in one go: a local disk moves one in less time than a thread takes to be woken.
const MOVES: usize = 16;

/// Threads that move objects at once: enough for a directory on another machine.
const MOVERS: usize = 4;

/// Which directory, and when its files count as written.
#[derive(Debug, Clone)]
pub struct DirectoryConfig {
    /// The directory.
    pub path: PathBuf,
    /// `[bucket] id`, in place of the canonical path.
    pub id: Option<String>,
    /// How long a file must be unchanged before it counts as written.
    pub settle: Duration,
}

/// A directory as a bucket.
#[derive(Debug, Clone)]
pub struct Directory {
    id: String,
    disk: Arc<Disk>,
}

impl Directory {
    /// Opens a directory that is there.
    ///
    /// # Errors
    /// [`Kind::NoBucket`] without it, [`Kind::AccessDenied`] where it may not be entered.
    pub fn open(config: DirectoryConfig) -> Result<Self, BucketError> {
        let root = config.path.canonicalize().map_err(|error| no_directory(&config.path, error))?;
        if !root.is_dir() {
            return Err(BucketError::new(Kind::NoBucket, format!("`{}` is not a directory", root.display()))
                .cure("name a directory in `[bucket] url`"));
        }
        let id = match (config.id, root.to_str()) {
            (Some(id), _) => id,
            (None, Some(path)) => path.to_owned(),
            (None, None) => {
                let message = format!("the path `{}` is not UTF-8 and cannot name the bucket", root.display());
                return Err(BucketError::new(Kind::NoBucket, message).cure("set `[bucket] id`"));
            }
        };
        Ok(Self { id, disk: Arc::new(Disk::new(root, config.settle)) })
    }

    /// Runs what blocks on a thread where it may.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, BucketError> + Send + 'static,
    ) -> Result<T, BucketError> {
        let disk = Arc::clone(&self.disk);
        match tokio::task::spawn_blocking(move || work(&disk)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(BucketError::new(Kind::Unreachable, "this process is shutting down").because(error)),
        }
    }
}

fn no_directory(path: &Path, error: std::io::Error) -> BucketError {
    let kind = match error.kind() {
        std::io::ErrorKind::PermissionDenied => Kind::AccessDenied,
        _ => Kind::NoBucket,
    };
    let cure = match kind {
        Kind::AccessDenied => format!("let this user enter `{}`", path.display()),
        _ => format!("create it (`mkdir -p {}`), or correct `[bucket] url` in `longshore.toml`", path.display()),
    };
    BucketError::new(kind, format!("cannot open the directory `{}`", path.display())).cure(cure).because(error)
}

#[async_trait]
impl Bucket for Directory {
    fn id(&self) -> &str {
        &self.id
    }

    fn display(&self, key: &ObjectKey) -> String {
        self.disk.root().join(key.as_str()).display().to_string()
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Page, BucketError>> {
        walk::pages(Arc::clone(&self.disk), prefix.to_owned())
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<Object>, BucketError> {
        let key = key.clone();
        self.on_disk(move |disk| disk.object(&key)).await
    }

    async fn read(&self, object: &Object) -> Result<Body, BucketError> {
        let object = object.clone();
        let opened = self.on_disk(move |disk| {
            let reading = reading::Reading::open(disk, object)?;
            Ok(if reading.is_small() { Either::Left(reading.whole()?) } else { Either::Right(reading) })
        });
        Ok(match opened.await? {
            Either::Left(bytes) => stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed(),
            Either::Right(large) => large.stream(),
        })
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<(), BucketError> {
        let key = key.clone();
        self.on_disk(move |disk| disk.put(&key, &mut body.as_ref())).await
    }

    async fn put_file(&self, key: &ObjectKey, file: &Path) -> Result<(), BucketError> {
        let (key, file) = (key.clone(), file.to_owned());
        self.on_disk(move |disk| {
            let mut from = std::fs::File::open(&file).map_err(|error| disk.fault("read", &file, error))?;
            disk.put(&key, &mut from)
        })
        .await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), BucketError> {
        let key = key.clone();
        self.on_disk(move |disk| disk.remove(&disk.path(&key)?)).await
    }

    async fn relocate(&self, movement: Move<'_>) -> Result<Moved, BucketError> {
        let (object, identity) = (movement.object.clone(), movement.identity);
        let (to, otherwise) = (movement.to.clone(), movement.otherwise.clone());
        self.on_disk(move |disk| moving::relocate(disk, &object, &identity, &to, &otherwise)).await
    }

    async fn relocate_all(&self, moves: &[Move<'_>]) -> Vec<Result<Moved, BucketError>> {
        let some_of_them = |moves: &[Move<'_>]| {
            let owned = |one: &Move<'_>| (one.object.clone(), one.identity, one.to.clone(), one.otherwise.clone());
            let moves: Vec<_> = moves.iter().map(owned).collect();
            async move {
                let count = moves.len();
                let relocate = move |disk: &Disk| {
                    let relocate = |(object, identity, to, otherwise): &(Object, ObjectId, ObjectKey, ObjectKey)| {
                        moving::relocate(disk, object, identity, to, otherwise)
                    };
                    Ok(moves.iter().map(relocate).collect::<Vec<_>>())
                };
                self.on_disk(relocate).await.unwrap_or_else(|error| {
                    let same = || BucketError::new(error.kind(), error.to_string());
                    (0..count).map(|_| Err(same())).collect()
                })
            }
        };
        let moving: Vec<_> = moves.chunks(MOVES).map(some_of_them).collect();
        stream::iter(moving).buffered(MOVERS).flat_map(stream::iter).collect().await
    }

    async fn claims(&self) -> Result<Vec<Claim>, BucketError> {
        self.on_disk(moving::claims).await
    }

    async fn unclaim(&self, claim: &Claim) -> Result<Moved, BucketError> {
        let claim = claim.clone();
        self.on_disk(move |disk| moving::unclaim(disk, &claim)).await
    }

    async fn finish_claim(&self, claim: &Claim, to: &ObjectKey, otherwise: &ObjectKey) -> Result<Moved, BucketError> {
        let (claim, to, otherwise) = (claim.clone(), to.clone(), otherwise.clone());
        self.on_disk(move |disk| moving::finish(disk, &claim, &to, &otherwise)).await
    }

    async fn check(&self, prefixes: &Prefixes) -> Vec<Finding> {
        let prefixes = prefixes.clone();
        let checked = self.on_disk(move |disk| Ok(check::check(disk, &prefixes))).await;
        checked.unwrap_or_else(|error| vec![check::fault(&error)])
    }
}
