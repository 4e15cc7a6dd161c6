//! Opens what a configuration names: bucket, warehouse, journal.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use longshore_warehouse::Warehouse;
use longshore_warehouse::duckdb::{DuckDb, DuckDbConfig};

use crate::bucket::{Bucket, BucketError, Directory, DirectoryConfig, S3};
use crate::config::{After, BucketConfig, Config, Place, WarehouseConfig};
use crate::journal::{Journal, JournalError};
use crate::pipeline::Context;
use crate::progress::Progress;

/// Why a project cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The lock beside the journal.
    #[error("cannot lock the project by `{path}`")]
    Lock {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process works on the project.
    #[error("another longshore is loading in this project (it holds `{path}`)")]
    Held {
        /// Path of the lock.
        path: PathBuf,
    },
}

/// Opens the bucket.
pub(crate) async fn open_bucket(config: &BucketConfig) -> Result<Arc<dyn Bucket>, BucketError> {
    Ok(match &config.place {
        Place::S3(s3) => Arc::new(S3::connect(s3.clone()).await?),
        Place::Directory(directory) => Arc::new(Directory::open(directory.clone())?),
    })
}

/// Opens the warehouse; nothing is held before there is work.
pub(crate) fn open_warehouse(config: &WarehouseConfig) -> Arc<dyn Warehouse> {
    Arc::new(DuckDb::new(DuckDbConfig {
        path: config.path.clone(),
        memory_limit: config.memory_limit,
        threads: config.threads,
        wait: config.wait,
    }))
}

/// Opens everything to look at it: nothing is made that is not there.
pub(crate) async fn look(config: &Config) -> Result<Context, OpenError> {
    let bucket = open_bucket(&config.bucket).await?;
    Ok(Context {
        papers: Arc::clone(&bucket),
        bucket,
        warehouse: open_warehouse(&config.warehouse),
        journal: Journal::look(&config.journal)?,
        prefixes: config.bucket.prefixes.clone(),
        keep: config.bucket.after == After::Keep,
        progress: Progress::new(false),
    })
}

/// Opens everything to load.
pub(crate) async fn open(config: &Config, show_progress: bool) -> Result<Context, OpenError> {
    let bucket = open_bucket(&config.bucket).await?;
    let papers: Arc<dyn Bucket> = match config.bucket.after {
        After::Archive => Arc::clone(&bucket),
        After::Keep => {
            let path = config.bucket.reports.clone();
            std::fs::create_dir_all(&path).map_err(|source| OpenError::Lock { path: path.clone(), source })?;
            Arc::new(Directory::open(DirectoryConfig { path, id: None, settle: std::time::Duration::ZERO })?)
        }
    };
    Ok(Context {
        bucket,
        papers,
        warehouse: open_warehouse(&config.warehouse),
        journal: Journal::open(&config.journal)?,
        prefixes: config.bucket.prefixes.clone(),
        keep: config.bucket.after == After::Keep,
        progress: Progress::new(show_progress),
    })
}

/// Keeps other processes from loading in the same project, until it is dropped.
#[derive(Debug)]
pub(crate) struct ProjectLock {
    _file: File,
}

/// Takes the project's lock, a file beside the journal; the kernel lets go of it when we end.
pub(crate) fn lock(config: &Config) -> Result<ProjectLock, OpenError> {
    let path = config.journal.with_extension("lock");
    let failed = |source| OpenError::Lock { path: path.clone(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(ProjectLock { _file: file }),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Held { path }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}
