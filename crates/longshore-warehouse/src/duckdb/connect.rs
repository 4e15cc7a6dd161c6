//! Holds the database file no longer than it is needed.
//!
//! While one process has a DuckDB file open, no other can even read it. So the file is opened when
//! there is work, closed after [`IDLE`] without any, and let go every [`HOLD`] under load, between
//! loads, for [`PAUSE`]: long enough for somebody else's `duckdb warehouse.duckdb` to get in.
//!
//! Two instances of one file in one process would not see each other's lock, so all [`DuckDb`]
//! values of a process share one [`Holder`] per file.
//!
//! [`DuckDb`]: super::DuckDb

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use duckdb::{Config, Connection};
use tokio::sync::OwnedMutexGuard;

use super::error::{self, During, one_line};
use super::{DuckDbConfig, rows};
use crate::{Kind, WarehouseError};

/// How long the file stays open without work: reopening costs some milliseconds, so that a burst of
/// small loads should not pay it each time.
pub(super) const IDLE: Duration = Duration::from_secs(1);
/// How long the file is held under load before it is let go: the design's 30 s.
const HOLD: Duration = Duration::from_secs(30);
/// How long it is let go for: a shell that retries gets in.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a new load waits for the running ones to end, so that the file can be let go.
const DRAIN: Duration = Duration::from_secs(1);
/// Between two tries to open a file that another process holds.
const RETRY: Duration = Duration::from_millis(50);

/// The file of one or several [`super::DuckDb`]s of this process.
#[derive(Debug)]
pub(super) struct Holder {
    path: PathBuf,
    /// Held while the file is opened or closed, so that this happens once at a time.
    opening: Mutex<Option<Box<Failure>>>,
    state: Mutex<State>,
    changed: Condvar,
    fences: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct State {
    database: Option<Connection>,
    /// Counts how often the file was opened.
    opened: u64,
    opened_at: Option<Instant>,
    release_at: Option<Instant>,
    idle_since: Option<Instant>,
    users: usize,
    broken: bool,
    ledger: bool,
}

/// The last try to open the file, for those who waited for it.
#[derive(Debug)]
struct Failure {
    at: Instant,
    kind: Kind,
    message: String,
    cure: Option<String>,
    server: Option<String>,
}

/// What a lease is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// A question that is soon answered.
    Short,
    /// A load: the moment at which the file may be let go first.
    Load,
}

static HOLDERS: LazyLock<Mutex<HashMap<PathBuf, Arc<Holder>>>> = LazyLock::new(Mutex::default);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The path by which a database file is known, whatever way it was written.
pub(super) fn canonical(path: &Path) -> Result<PathBuf, WarehouseError> {
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let (Some(name), folder) = (path.file_name(), path.parent().unwrap_or(Path::new(""))) else {
        return Err(WarehouseError::new(Kind::Unsupported, format!("`{}` does not name a file", path.display()))
            .cure("write `duckdb:` and the path of a file in `[warehouse] url`"));
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match folder.canonicalize() {
        Ok(folder) => Ok(folder.join(name)),
        Err(error) => {
            let kind = match error.kind() {
                std::io::ErrorKind::PermissionDenied => Kind::AccessDenied,
                _ => Kind::Missing,
            };
            Err(WarehouseError::new(
                kind,
                format!("the folder `{}` of the database file cannot be reached", folder.display()),
            )
            .cure(format!("create `{}`, or correct the path in `[warehouse] url`", folder.display()))
            .because(error))
        }
    }
}

impl Holder {
    /// The holder of a file.
    pub(super) fn of(path: &Path) -> Result<Arc<Self>, WarehouseError> {
        let path = canonical(path)?;
        let holder = || {
            Arc::new(Self {
                path: path.clone(),
                opening: Mutex::default(),
                state: Mutex::default(),
                changed: Condvar::new(),
                fences: Mutex::default(),
            })
        };
        Ok(lock(&HOLDERS).entry(path.clone()).or_insert_with(holder).clone())
    }

    /// A connection of its own to the database; opens the file if need be. Blocks: not for the
    /// async runtime.
    pub(super) fn lease(self: &Arc<Self>, config: &DuckDbConfig, work: Work) -> Result<Lease, WarehouseError> {
        let asked = Instant::now();
        let mut opening = lock(&self.opening);
        if let Some(failure) = opening.as_ref().filter(|failure| failure.at > asked) {
            return Err(failure.to_error());
        }
        self.let_go_if_due(config, work)?;
        let mut state = lock(&self.state);
        if state.database.is_none() {
            drop(state);
            match self.open(config, asked) {
                Ok(database) => {
                    *opening = None;
                    state = lock(&self.state);
                    let now = Instant::now();
                    let opened = state.opened + 1;
                    *state = State {
                        database: Some(database),
                        opened,
                        opened_at: Some(now),
                        release_at: Some(now + HOLD),
                        ..State::default()
                    };
                    self.watch(opened);
                }
                Err(failure) => return Err(opening.insert(failure).to_error()),
            }
        }
        let Some(database) = &state.database else {
            return Err(WarehouseError::new(Kind::Conflict, "the database file was closed meanwhile"));
        };
        let connection = database.try_clone().during(|| format!("connecting to `{}`", self.path.display()))?;
        state.users += 1;
        state.idle_since = None;
        Ok(Lease { connection: Some(connection), holder: self.clone() })
    }

    /// Closes the file if it was held for long, and leaves others a moment to take it.
    fn let_go_if_due(&self, config: &DuckDbConfig, work: Work) -> Result<(), WarehouseError> {
        let mut state = lock(&self.state);
        let now = Instant::now();
        let due = state.database.is_some() && state.release_at.is_some_and(|at| at <= now);
        if !due && !state.broken {
            return Ok(());
        }
        let patience = if state.broken {
            config.wait
        } else if work == Work::Load {
            DRAIN
        } else {
            Duration::ZERO
        };
        state = self.await_idle(state, patience);
        if state.users > 0 {
            // A long load is under way: try again after another while.
            state.release_at = Some(Instant::now() + HOLD);
            return match state.broken {
                false => Ok(()),
                true => Err(WarehouseError::new(
                    Kind::Conflict,
                    "DuckDB gave the database up; running loads have to end first",
                )),
            };
        }
        let database = state.database.take();
        state.broken = false;
        drop(state);
        drop(database);
        if due {
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn await_idle<'a>(&self, mut state: MutexGuard<'a, State>, patience: Duration) -> MutexGuard<'a, State> {
        let until = Instant::now() + patience;
        while state.users > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    fn open(&self, config: &DuckDbConfig, asked: Instant) -> Result<Connection, Box<Failure>> {
        loop {
            match self.try_open(config) {
                Ok(database) => return Ok(database),
                Err(error) => {
                    let text = error.to_string();
                    if error::kind(&text) != Kind::Busy || asked.elapsed() + RETRY > config.wait {
                        return Err(Box::new(self.failure(&text, config)));
                    }
                    thread::sleep(RETRY);
                }
            }
        }
    }

    fn try_open(&self, config: &DuckDbConfig) -> Result<Connection, duckdb::Error> {
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(".tmp");
        let mut settings = Config::default()
            .enable_autoload_extension(false)?
            .max_memory(&format!("{}B", config.memory_limit))?
            .with("preserve_insertion_order", "false")?
            .with("temp_directory", temporary.to_string_lossy())?;
        if let Some(threads) = config.threads {
            settings = settings.threads(i64::try_from(threads.max(1)).unwrap_or(1))?;
        }
        let database = Connection::open_with_flags(&self.path, settings)?;
        rows::register(&database)?;
        // Only the icu extension knows this setting; without it times are UTC anyway.
        if let Err(error) = database.execute_batch("SET GLOBAL TimeZone = 'UTC'") {
            tracing::trace!("no time zone to set: {error}");
        }
        Ok(database)
    }

    /// Why the file cannot be opened, and what to do about it.
    fn failure(&self, text: &str, config: &DuckDbConfig) -> Failure {
        let path = self.path.display();
        let kind = match error::kind(text) {
            // A file that cannot be read as a database, a folder in its place, a damaged block.
            Kind::Rows { .. } | Kind::Other if text.contains("database") || text.contains("directory") => {
                Kind::Unsupported
            }
            kind => kind,
        };
        let (message, cure) = match &kind {
            Kind::Busy => {
                let waited = config.wait.as_secs_f32();
                let who = holder_in(text).unwrap_or_else(|| "another process".to_owned());
                (
                    format!("the database file `{path}` is held by {who}; waited {waited:.0} s"),
                    format!(
                        "close that program (a `duckdb` shell, a notebook), or find it with `fuser '{path}'`; it is tried again"
                    ),
                )
            }
            Kind::AccessDenied => (
                format!("the database file `{path}` may not be written by this user"),
                format!("give this user the right to write `{path}` and its folder"),
            ),
            Kind::Full => {
                (format!("no space is left to open the database file `{path}`"), "make room on that disk".to_owned())
            }
            Kind::Unsupported if text.contains("version number") => (
                format!("the database file `{path}` was written by a newer DuckDB than this longshore reads"),
                "update longshore, or copy the data into a file of DuckDB 1.5 (`EXPORT DATABASE`)".to_owned(),
            ),
            Kind::Unsupported => (
                format!("`{path}` is not a DuckDB database"),
                "correct the path in `[warehouse] url`; a new file is created where there is none".to_owned(),
            ),
            Kind::Missing => (
                format!("the folder of the database file `{path}` does not exist"),
                "create it, or correct the path in `[warehouse] url`".to_owned(),
            ),
            _ => (
                format!("the database file `{path}` cannot be opened"),
                format!("try `duckdb '{path}'`; if it fails too, restore the file from a backup"),
            ),
        };
        Failure { at: Instant::now(), kind, message, cure: Some(cure), server: Some(one_line(text)) }
    }

    /// Closes the file once it was idle for long enough.
    fn watch(self: &Arc<Self>, opened: u64) {
        let holder = self.clone();
        let watching = thread::Builder::new().name("longshore-duckdb-idle".to_owned()).spawn(move || {
            loop {
                let state = lock(&holder.state);
                if state.opened != opened || state.database.is_none() {
                    return;
                }
                let idle = state.idle_since.map_or(Duration::ZERO, |since| since.elapsed());
                if idle >= IDLE {
                    drop(state);
                    holder.close_if(|state| state.idle_since.is_some_and(|since| since.elapsed() >= IDLE));
                    continue;
                }
                let pause = IDLE.saturating_sub(idle);
                drop(holder.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner));
            }
        });
        if watching.is_err() {
            tracing::warn!("no thread for closing `{}` when idle: it stays open", self.path.display());
        }
    }

    /// Closes the file at once if nobody uses it.
    pub(super) fn release(&self) {
        self.close_if(|_| true);
    }

    fn close_if(&self, ready: impl Fn(&State) -> bool) {
        let opening = lock(&self.opening);
        let mut state = lock(&self.state);
        if state.users > 0 || !ready(&state) {
            return;
        }
        let database = state.database.take();
        drop(state);
        // Closing writes the log into the file: under `opening`, so that nobody opens it meanwhile.
        drop(database);
        drop(opening);
        self.changed.notify_all();
    }

    /// Waits for the one fence of a table in this process.
    pub(super) async fn fence(&self, table: &str, wait: Duration) -> Result<OwnedMutexGuard<()>, WarehouseError> {
        let fence = lock(&self.fences).entry(table.to_owned()).or_default().clone();
        tokio::time::timeout(wait, fence.lock_owned()).await.map_err(|_| {
            WarehouseError::new(
                Kind::Busy,
                format!("another load of `{table}` is under way in this process; waited {:.0} s", wait.as_secs_f32()),
            )
            .cure("nothing: it is tried again when that load has ended")
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the ledger was seen since the file was opened; nobody else can have dropped it.
    pub(super) fn ledger_seen(&self) -> bool {
        lock(&self.state).ledger
    }

    pub(super) fn set_ledger_seen(&self) {
        lock(&self.state).ledger = true;
    }

    /// The file has to be opened anew once nobody uses it.
    pub(super) fn give_up(&self) {
        lock(&self.state).broken = true;
    }

    /// Whether there is a database file at all. Looks without opening it: closing a second
    /// descriptor of the file would drop this process's lock on it.
    pub(super) fn is_there(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// How long the file has been open, if it is.
    pub(super) fn open_for(&self) -> Option<Duration> {
        let state = lock(&self.state);
        state.database.as_ref().and(state.opened_at).map(|at| at.elapsed())
    }
}

impl Failure {
    fn to_error(&self) -> WarehouseError {
        let mut error = WarehouseError::new(self.kind.clone(), self.message.clone());
        if let Some(cure) = &self.cure {
            error = error.cure(cure.clone());
        }
        match &self.server {
            Some(server) => error.server(server.clone()),
            None => error,
        }
    }
}

/// The process that DuckDB names as holding the file.
fn holder_in(text: &str) -> Option<String> {
    let text = one_line(text);
    let (_, rest) = text.split_once("lock is held in ")?;
    let who = rest.split(". See also").next().unwrap_or(rest).trim_end_matches('.');
    let (program, rest) = who.split_once(" (PID ")?;
    Some(format!("`{program}` (process {rest}"))
}

/// A connection to the open file. The file stays open at least until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Option<Connection>,
    holder: Arc<Holder>,
}

impl Lease {
    /// The connection.
    pub(super) fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("a lease has its connection until it is dropped")
    }

    /// The file's holder.
    pub(super) fn holder(&self) -> &Arc<Holder> {
        &self.holder
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Before the count falls: the file closes only when the last connection has gone.
        drop(self.connection.take());
        let mut state = lock(&self.holder.state);
        state.users -= 1;
        if state.users == 0 {
            state.idle_since = Some(Instant::now());
        }
        drop(state);
        self.holder.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_holds_the_file_is_named() {
        let text = "IO Error: Could not set lock on file \"/w.duckdb\": Conflicting lock is held in /usr/bin/duckdb \
                    (PID 4711) by user root. See also https://duckdb.org/docs/stable/connect/concurrency";
        assert_eq!(holder_in(text).unwrap(), "`/usr/bin/duckdb` (process 4711) by user root");
    }

    fn config(path: &Path) -> DuckDbConfig {
        let wait = Duration::from_secs(5);
        DuckDbConfig { path: path.to_owned(), memory_limit: 1 << 28, threads: Some(1), wait }
    }

    fn opened(holder: &Holder) -> u64 {
        lock(&holder.state).opened
    }

    #[test]
    fn under_load_the_file_is_let_go_between_loads_once_it_was_held_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder.path().join("w.duckdb"));
        let holder = Holder::of(&config.path).unwrap();
        let first = holder.lease(&config, Work::Load).unwrap();
        let long_ago = || lock(&holder.state).release_at = Some(Instant::now());

        // While a load runs, a question does not wait for its end.
        long_ago();
        drop(holder.lease(&config, Work::Short).unwrap());
        assert_eq!(opened(&holder), 1);
        assert!(lock(&holder.state).release_at > Some(Instant::now()));

        drop(first);
        drop(holder.lease(&config, Work::Load).unwrap());
        assert_eq!(opened(&holder), 1, "not held for long");
        long_ago();
        drop(holder.lease(&config, Work::Load).unwrap());
        assert_eq!(opened(&holder), 2, "let go and opened again");
    }

    #[test]
    fn a_database_that_gave_up_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder.path().join("w.duckdb"));
        let holder = Holder::of(&config.path).unwrap();
        drop(holder.lease(&config, Work::Short).unwrap());
        holder.give_up();
        drop(holder.lease(&config, Work::Short).unwrap());
        assert_eq!(opened(&holder), 2);
        holder.release();
        assert!(holder.open_for().is_none());
    }

    #[test]
    fn one_file_has_one_holder_however_its_path_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let plain = Holder::of(&folder.path().join("w.duckdb")).unwrap();
        let winding = Holder::of(&folder.path().join(".").join("w.duckdb")).unwrap();
        assert!(Arc::ptr_eq(&plain, &winding));
    }
}
