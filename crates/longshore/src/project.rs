//! Opens what a configuration names: bucket, warehouse, journal, queue.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use longshore_queue::{Queue, QueueError, SqliteConfig, SqliteQueue, SystemClock};
use longshore_warehouse::Warehouse;
use longshore_warehouse::duckdb::{DuckDb, DuckDbConfig};
use longshore_warehouse::postgres::{PATIENCE, Postgres, PostgresConfig};
use longshore_warehouse::redshift::{HOLD, Redshift, RedshiftConfig};
use sha2::{Digest, Sha256};

use crate::bucket::{Bucket, BucketError, Directory, DirectoryConfig, S3, StagingBucket};
use crate::config::{After, BucketConfig, Config, Engine, Place, RedshiftSettings};
use crate::journal::{Journal, JournalError};
use crate::login::IamLogin;
use crate::migrations::gate::Gate;
use crate::pipeline::Context;
use crate::progress::Progress;

/// Everything that a process needs to work.
#[derive(Debug)]
pub struct Project {
    /// What is to be done.
    pub config: Config,
    /// What the stages of a pipeline share.
    pub ctx: Context,
    /// Tasks and leases, shared with other processes.
    pub queue: Arc<dyn Queue>,
}

/// Why a project cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The queue in the journal.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The folder for reports.
    #[error("cannot create `{path}`")]
    Folder {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
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
pub(crate) async fn open_warehouse(config: &Config) -> Result<Arc<dyn Warehouse>, BucketError> {
    let wait = config.warehouse.wait;
    let warehouse: Arc<dyn Warehouse> = match &config.warehouse.engine {
        Engine::DuckDb { path, memory_limit, threads } => Arc::new(DuckDb::new(DuckDbConfig {
            path: path.clone(),
            memory_limit: *memory_limit,
            threads: *threads,
            wait,
        })),
        Engine::Postgres(connect) => Arc::new(Postgres::new(PostgresConfig {
            connect: connect.as_ref().clone(),
            wait,
            patience: PATIENCE,
            project: name_of(&config.journal),
        })),
        Engine::Redshift(settings) => Arc::new(open_redshift(config, settings).await?),
    };
    debug_assert_eq!(warehouse.fences_late(), config.warehouse.engine.fences_late());
    Ok(warehouse)
}

/// Redshift with its staging bucket; nothing is connected before there is work.
pub(crate) async fn open_redshift(config: &Config, settings: &RedshiftSettings) -> Result<Redshift, BucketError> {
    let bucket = S3::connect(settings.staging.clone()).await?;
    Ok(Redshift::new(RedshiftConfig {
        connect: connect_redshift(settings).await,
        authorization: settings.authorization.clone(),
        region: settings.staging_region.clone(),
        staging: Arc::new(StagingBucket::new(bucket, &settings.staging.bucket)),
        prefix: settings.prefix.clone(),
        slices: settings.slices,
        wait: config.warehouse.wait,
        hold: HOLD,
        patience: PATIENCE,
        project: name_of(&config.journal),
    }))
}

/// Where and as whom to connect, with logins by IAM where they are asked for.
pub(crate) async fn connect_redshift(settings: &RedshiftSettings) -> longshore_postgres::Config {
    let connect = settings.connect.clone();
    match &settings.login {
        Some(login) => connect.credentials(Arc::new(IamLogin::new(login, settings.connect.database()).await)),
        None => connect,
    }
}

/// A short word for whoever shares this journal: who does not is another project.
fn name_of(journal: &Path) -> String {
    let path = journal.canonicalize().or_else(|_| std::path::absolute(journal)).unwrap_or_else(|_| journal.to_owned());
    let system = rustix::system::uname();
    let mut hash = Sha256::new();
    hash.update(system.nodename().to_bytes_with_nul());
    hash.update(path.as_os_str().as_encoded_bytes());
    hash.finalize()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Opens the queue.
pub(crate) fn open_queue(config: &Config) -> Result<Arc<dyn Queue>, QueueError> {
    let config = SqliteConfig { path: config.journal.clone(), clock: Arc::new(SystemClock) };
    Ok(Arc::new(SqliteQueue::open(config)?))
}

/// Opens everything to look at it: nothing is made that is not there.
pub(crate) async fn look(config: &Config) -> Result<Context, OpenError> {
    let bucket = open_bucket(&config.bucket).await?;
    Ok(Context {
        papers: Arc::clone(&bucket),
        bucket,
        warehouse: open_warehouse(config).await?,
        journal: Arc::new(Journal::look(&config.journal)?),
        prefixes: config.bucket.prefixes.clone(),
        keep: config.bucket.after == After::Keep,
        progress: Progress::new(false),
        gate: Gate::open(),
    })
}

impl Project {
    /// Opens everything to load.
    pub(crate) async fn open(config: Config, show_progress: bool) -> Result<Self, OpenError> {
        // First what is likely to be wrong on this machine, then what lies elsewhere.
        let journal = Arc::new(Journal::open(&config.journal)?);
        let queue = open_queue(&config)?;
        let bucket = open_bucket(&config.bucket).await?;
        let papers: Arc<dyn Bucket> = match config.bucket.after {
            After::Archive => Arc::clone(&bucket),
            After::Keep => {
                let path = config.bucket.reports.clone();
                std::fs::create_dir_all(&path).map_err(|source| OpenError::Folder { path: path.clone(), source })?;
                Arc::new(Directory::open(DirectoryConfig { path, id: None, settle: std::time::Duration::ZERO })?)
            }
        };
        let ctx = Context {
            bucket,
            papers,
            warehouse: open_warehouse(&config).await?,
            journal,
            prefixes: config.bucket.prefixes.clone(),
            keep: config.bucket.after == After::Keep,
            progress: Progress::new(show_progress),
            gate: Gate::of(&config).await,
        };
        Ok(Self { config, ctx, queue })
    }
}
