//! The configuration: one TOML file, read whole, with every fault at once.

mod migrate;
mod pipeline;
mod reader;
mod schedule;
mod warehouse;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

pub use migrate::MigrateConfig;
pub use pipeline::{Fill, GroupLimits, Matcher, MaxRejects, Metadata, OnLate, OnRepeat, Pipeline};
pub use reader::ConfigFault;
use reader::{Section, Source};
pub use warehouse::{Engine, RedshiftSettings, WarehouseConfig};

use crate::bucket::{DirectoryConfig, Prefixes, S3Config};
use crate::scheduler::Schedule;

/// Name of the file where none is given.
pub const FILE_NAME: &str = "longshore.toml";
/// Default of `[bucket] settle`: a copy over a slow network pauses for less than this.
pub const SETTLE: Duration = Duration::from_secs(2);
/// Default of `[warehouse] memory_limit`, for DuckDB besides our own memory.
pub const MEMORY_LIMIT: u64 = 1 << 30;
/// Default of `[warehouse] wait`: an analyst's query is over by then, or a person has to know.
pub const WAIT: Duration = Duration::from_secs(30);

/// Default of `[schedule] every` for a directory, which costs nothing to look at.
pub const EVERY_DIRECTORY: Duration = Duration::from_secs(30);
/// The same for S3, where each page of a listing costs money.
pub const EVERY_S3: Duration = Duration::from_secs(300);
/// Loads at a time on a machine of few cores.
const LEAST_SLOTS: usize = 4;
/// Default of `[worker] shutdown`: less than what service managers wait before they kill.
pub const SHUTDOWN: Duration = Duration::from_secs(60);

/// Gives the values of variables of the environment.
pub type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the file: relative paths start here.
    pub folder: PathBuf,
    /// Where files land.
    pub bucket: BucketConfig,
    /// The database with the target tables.
    pub warehouse: WarehouseConfig,
    /// The journal's file.
    pub journal: PathBuf,
    /// When the bucket is looked at, where a pipeline says nothing else.
    pub schedule: Schedule,
    /// How tasks are worked on.
    pub worker: WorkerConfig,
    /// Key patterns and their tables, in the order of the file.
    pub pipelines: Vec<Pipeline>,
    /// How the tables are migrated, if the file says anything of it.
    pub migrate: Option<MigrateConfig>,
}

/// How tasks are worked on.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Tasks at a time.
    pub concurrency: usize,
    /// How long running loads may go on after the first signal to end.
    pub shutdown: Duration,
}

/// Where files land.
#[derive(Debug, Clone)]
pub struct BucketConfig {
    /// S3 or a directory.
    pub place: Place,
    /// First parts of keys.
    pub prefixes: Prefixes,
    /// What happens to objects that are done.
    pub after: After,
    /// Local directory for reports and rejects where the bucket may not be changed.
    pub reports: PathBuf,
}

/// S3 or a directory.
#[derive(Debug, Clone)]
pub enum Place {
    /// A bucket of S3 or of a compatible store.
    S3(S3Config),
    /// A local directory.
    Directory(DirectoryConfig),
}

/// What happens to objects that are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// They are moved out of `pending`.
    Archive,
    /// They stay: the ledger alone remembers.
    Keep,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file has faults.
    Faults {
        /// Its path.
        path: PathBuf,
        /// All of them, by line.
        faults: Vec<ConfigFault>,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
                write!(f, "there is no `{}`", path.display())
            }
            Self::Unreadable { path, .. } => write!(f, "cannot read `{}`", path.display()),
            Self::Faults { path, faults } => {
                let count = faults.len();
                write!(f, "`{}` has {count} {}", path.display(), if count == 1 { "fault" } else { "faults" })?;
                faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } if source.kind() != std::io::ErrorKind::NotFound => Some(source),
            _ => None,
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or has faults: all of them are in the error.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let path = std::path::absolute(path).map_err(unreadable)?;
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        Self::parse(&text, &folder, &|name| std::env::var(name).ok())
            .map_err(|faults| ConfigError::Faults { path: path.clone(), faults })
    }

    /// Parses the text of a file that lies in `folder`; `env` gives the values of `${NAME}`.
    ///
    /// # Errors
    /// All faults, by line.
    pub fn parse(text: &str, folder: &Path, env: &Env<'_>) -> Result<Self, Vec<ConfigFault>> {
        let source = Source::new(text, env);
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            for error in errors {
                let line = error.span().map(|span| source.line(span.start));
                source.fault(line, "", error.message().to_owned(), None);
            }
            return Err(source.into_faults());
        }
        let root = Section::root(&source, &table);
        let config = Self::from_section(&root, folder, env);
        root.finish();
        match (source.into_faults(), config) {
            (faults, Some(config)) if faults.is_empty() => Ok(config),
            (faults, _) => Err(faults),
        }
    }

    fn from_section(root: &Section<'_>, folder: &Path, env: &Env<'_>) -> Option<Self> {
        let bucket = read_bucket(root.section("bucket"), folder);
        let warehouse = warehouse::read(root.section("warehouse"), folder, bucket.as_ref(), env);
        let journal = read_journal(root.section("journal"), folder);
        let is_directory = matches!(&bucket, Some(BucketConfig { place: Place::Directory(_), .. }));
        let default = Schedule::every(if is_directory { EVERY_DIRECTORY } else { EVERY_S3 });
        let schedule = schedule::read(root.section("schedule")).map(|own| own.unwrap_or(default));
        let worker = read_worker(root.section("worker"));
        let engine = warehouse.as_ref().map(|warehouse| &warehouse.engine);
        let pipelines = pipeline::read_all(root.sections("pipeline"), engine);
        let migrate = migrate::read(root.section("migrate"));
        Some(Self {
            folder: folder.to_owned(),
            bucket: bucket?,
            warehouse: warehouse?,
            journal: journal?,
            schedule: schedule?,
            worker: worker?,
            pipelines: pipelines?,
            migrate,
        })
    }
}

fn read_bucket(section: Section<'_>, folder: &Path) -> Option<BucketConfig> {
    let prefix = |name, default: &str| {
        let text = section.text(name).unwrap_or_else(|| default.to_owned());
        if text.is_empty() || text.ends_with('/') { text } else { text + "/" }
    };
    let prefixes = Prefixes {
        pending: prefix("pending", "pending/"),
        processed: prefix("processed", "processed/"),
        failed: prefix("failed", "failed/"),
        rejected: prefix("rejected", "rejected/"),
    };
    check_prefixes(&section, &prefixes);
    let id = section.text("id");
    let after = section.choice("after", &[("archive", After::Archive), ("keep", After::Keep)]);
    let reports = section.text("reports").unwrap_or_else(|| ".longshore/reports".to_owned());
    let s3 = S3Config {
        id: id.clone(),
        region: section.text("region"),
        endpoint: section.text("endpoint"),
        path_style: section.boolean("path_style"),
        profile: section.text("profile"),
        role_arn: section.text("role_arn"),
        external_id: section.text("external_id"),
        ..S3Config::default()
    };
    let settle = section.duration("settle");
    let url = section.text("url");
    if url.is_none() && section.get("url").is_none() {
        section.fault(
            "url",
            "is missing",
            Some("give a directory (`\"./bucket\"`) or a bucket (`\"s3://name\"`)".to_owned()),
        );
    }
    let place = url.and_then(|url| match url.strip_prefix("s3://") {
        Some(name) => read_s3(&section, name, s3),
        None => read_directory(
            &section,
            &url,
            folder,
            DirectoryConfig { path: PathBuf::new(), id, settle: settle.unwrap_or(SETTLE) },
        ),
    });
    section.finish();
    Some(BucketConfig {
        place: place?,
        prefixes,
        after: after.unwrap_or(After::Archive),
        reports: folder.join(reports),
    })
}

fn read_s3(section: &Section<'_>, name: &str, config: S3Config) -> Option<Place> {
    let name = name.trim_end_matches('/');
    if name.is_empty() || name.contains('/') {
        section.fault_of(
            "url",
            "a bucket's url is `s3://name`, without a key",
            Some("put the rest into `pending = \"…/\"`".to_owned()),
        );
        return None;
    }
    if section.get("settle").is_some() {
        section.fault_of(
            "settle",
            "has no meaning for S3, where an object appears when it is whole",
            Some("remove it".to_owned()),
        );
    }
    Some(Place::S3(S3Config { bucket: name.to_owned(), ..config }))
}

fn read_directory(section: &Section<'_>, url: &str, folder: &Path, config: DirectoryConfig) -> Option<Place> {
    if let Some((scheme, _)) = url.split_once("://").filter(|(scheme, _)| *scheme != "file") {
        section.fault_of(
            "url",
            format!("`{scheme}://` is no bucket that is known here"),
            Some("give `s3://name` or a directory".to_owned()),
        );
        return None;
    }
    for name in ["region", "endpoint", "path_style", "profile", "role_arn", "external_id"] {
        if section.get(name).is_some() {
            section.fault_of(name, "has no meaning for a directory", Some("remove it".to_owned()));
        }
    }
    let path = folder.join(url.strip_prefix("file://").unwrap_or(url));
    Some(Place::Directory(DirectoryConfig { path, ..config }))
}

/// Refuses prefixes that would make Longshore load what it wrote, or lose what it moved.
fn check_prefixes(section: &Section<'_>, prefixes: &Prefixes) {
    let Prefixes { pending, processed, failed, rejected } = prefixes;
    if pending.is_empty() {
        section.fault_of(
            "pending",
            "must not be empty: archived objects would be found again",
            Some("give objects a prefix of their own, `pending = \"pending/\"`".to_owned()),
        );
        return;
    }
    let ours: [(&'static str, &String); 3] = [("processed", processed), ("failed", failed), ("rejected", rejected)];
    for (name, prefix) in ours {
        if prefix.starts_with(pending.as_str()) {
            section.fault_of(
                name,
                format!("`{prefix}` lies under `pending` (`{pending}`): its objects would be found again"),
                Some("move it beside `pending`".to_owned()),
            );
        } else if prefix.is_empty() || pending.starts_with(prefix.as_str()) {
            section.fault_of(
                name,
                format!("`{prefix}` holds `pending` (`{pending}`)"),
                Some("move it beside `pending`".to_owned()),
            );
        }
    }
    for (at, (name, prefix)) in ours.iter().enumerate() {
        if let Some((other, _)) =
            ours[..at].iter().find(|(_, o)| o.starts_with(prefix.as_str()) || prefix.starts_with(o.as_str()))
        {
            section.fault_of(
                name,
                format!("`{prefix}` overlaps `{other}`"),
                Some("give each a prefix of its own".to_owned()),
            );
        }
    }
}

fn read_journal(section: Section<'_>, folder: &Path) -> Option<PathBuf> {
    let url = section.text("url").unwrap_or_else(|| "sqlite:.longshore/journal.db".to_owned());
    let path = match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Some(folder.join(path.trim_start_matches("//"))),
        _ => {
            section.fault_of("url", "is no journal that this version can keep", Some("write `sqlite:FILE`".to_owned()));
            None
        }
    };
    section.finish();
    path
}

fn read_worker(section: Section<'_>) -> Option<WorkerConfig> {
    let concurrency = section.count("concurrency").map(|count| count as usize);
    if concurrency == Some(0) {
        section.fault_of("concurrency", "must be at least 1", None);
    }
    let shutdown = section.duration("shutdown").unwrap_or(SHUTDOWN);
    section.finish();
    Some(WorkerConfig { concurrency: concurrency.unwrap_or_else(slots), shutdown })
}

/// Loads at a time: one for each core, and some more where there are few, since a load often waits for the warehouse.
fn slots() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).max(LEAST_SLOTS)
}

#[cfg(test)]
mod tests;
