//! Who works, and who has died.
//!
//! Every worker holds a lock on a file of its own, which the system lets go when its process ends,
//! however it ends. So a dead worker is known at once, on this machine, and not only when its leases
//! run out.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::moves::{Held, Released};
use super::time::instant;
use super::{Fault, Result, schedule};
use crate::{State, Worker, WorkerId};

/// Age at which a lock file that no worker owns is litter: whoever made it had time enough to arrive.
const LITTER: Duration = Duration::from_secs(3600);

/// The lock files, and those that this queue holds.
#[derive(Debug)]
pub(super) struct Locks {
    folder: PathBuf,
    own: Mutex<HashMap<String, Own>>,
}

/// A worker that arrived by this queue.
#[derive(Debug)]
struct Own {
    name: String,
    lease: i64,
    /// Locked as long as it is open.
    _file: File,
}

impl Locks {
    pub(super) fn new(journal: &Path) -> Self {
        // Whoever reaches the file by another path has to find the same locks.
        let journal = journal.canonicalize().unwrap_or_else(|_| journal.to_owned());
        Self { folder: journal.with_extension("workers"), own: Mutex::new(HashMap::new()) }
    }

    fn own(&self) -> MutexGuard<'_, HashMap<String, Own>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, worker: &str) -> PathBuf {
        self.folder.join(worker)
    }

    fn take(&self, worker: &str) -> Result<File> {
        let path = self.path(worker);
        let take = || {
            std::fs::create_dir_all(&self.folder)?;
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            file.try_lock().map_err(io::Error::from)?;
            Ok(file)
        };
        take().map_err(|source| Fault::File { path: path.clone(), source })
    }

    fn remove(&self, worker: &str) {
        let path = self.path(worker);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove the lock file of a worker that is gone");
        }
    }

    /// Whether a worker lives. Where that cannot be known it does: its leases run out anyway.
    fn is_alive(&self, worker: &str) -> bool {
        // A lock of one's own is not asked for: not every file system says no to its holder.
        if self.own().contains_key(worker) {
            return true;
        }
        match File::open(self.path(worker)) {
            // Shared, so that two who look at once do not take each other for the worker.
            Ok(file) => !matches!(file.try_lock_shared(), Ok(())),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Removes lock files that no worker owns.
    fn sweep_litter(&self, known: &[Worker]) {
        let Ok(files) = std::fs::read_dir(&self.folder) else { return };
        for file in files.flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let made = file.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::now());
            let old = made.elapsed().is_ok_and(|age| age > LITTER);
            if old && !known.iter().any(|worker| worker.id.0 == name) && !self.is_alive(&name) {
                self.remove(&name);
            }
        }
    }
}

fn insert(connection: &Connection, id: &str, name: &str, lease: i64, now: i64) -> Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO worker (id, name, since, lease) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, name, now, lease])?;
    Ok(())
}

/// Makes a worker known. Its lock comes first: a row without one is a dead worker's.
pub(super) fn arrive(tx: &Transaction<'_>, locks: &Locks, name: &str, lease: i64, now: i64) -> Result<WorkerId> {
    let id = super::draw();
    let file = locks.take(&id)?;
    insert(tx, &id, name, lease, now).inspect_err(|_| locks.remove(&id))?;
    locks.own().insert(id.clone(), Own { name: name.to_owned(), lease, _file: file });
    Ok(WorkerId(id))
}

/// How long leases of a worker last; nothing of one that is not there. A worker of this queue that was
/// taken for dead (somebody removed its lock file) is made known again.
pub(super) fn lease_length(tx: &Transaction<'_>, locks: &Locks, worker: &str, now: i64) -> Result<Option<i64>> {
    let mut statement = tx.prepare_cached("SELECT lease FROM worker WHERE id = ?1")?;
    let found: Option<i64> = statement.query_row([worker], |row| row.get(0)).optional()?;
    let mut own = locks.own();
    let (None, Some(gone)) = (found, own.get_mut(worker)) else { return Ok(found) };
    tracing::warn!(worker.name = gone.name, "worker `{}` was taken for dead and is back", gone.name);
    if !locks.path(worker).exists() {
        gone._file = locks.take(worker)?;
    }
    insert(tx, worker, &gone.name, gone.lease, now)?;
    Ok(Some(gone.lease))
}

/// Takes a worker off the list, and ends what it holds.
pub(super) fn depart(tx: &Transaction<'_>, worker: &str, now: i64) -> Result<()> {
    for held in Held::by_worker(tx, worker)? {
        held.release(tx, &Released::to(State::Available), now)?;
    }
    remove(tx, worker)
}

/// Lets go of its lock, once the transaction that removed its row is in.
pub(super) fn departed(locks: &Locks, worker: &str) {
    // A worker of another process keeps its lock, and its file until then.
    if locks.own().remove(worker).is_some() {
        locks.remove(worker);
    }
}

/// Removes the row of a worker that is gone, and frees its schedules.
pub(super) fn remove(tx: &Transaction<'_>, worker: &str) -> Result<()> {
    schedule::free(tx, worker)?;
    tx.prepare_cached("DELETE FROM worker WHERE id = ?1")?.execute([worker])?;
    Ok(())
}

fn all(connection: &Connection) -> Result<Vec<Worker>> {
    let mut statement = connection.prepare_cached("SELECT id, name, since FROM worker ORDER BY since, id")?;
    let rows = statement.query_map([], |row| {
        Ok(Worker { id: WorkerId(row.get(0)?), name: row.get(1)?, since: instant(row.get(2)?) })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Workers that are alive.
pub(super) fn workers(connection: &Connection, locks: &Locks) -> Result<Vec<Worker>> {
    Ok(all(connection)?.into_iter().filter(|worker| locks.is_alive(&worker.id.0)).collect())
}

/// Workers that are not.
pub(super) fn dead(connection: &Connection, locks: &Locks) -> Result<Vec<String>> {
    let ids = all(connection)?.into_iter().map(|worker| worker.id.0);
    Ok(ids.filter(|id| !locks.is_alive(id)).collect())
}

/// Removes what dead workers left in the folder.
pub(super) fn bury(locks: &Locks, dead: &[String]) {
    for worker in dead {
        locks.remove(worker);
    }
}

/// Removes lock files whose maker never arrived.
pub(super) fn tidy(connection: &Connection, locks: &Locks) -> Result<()> {
    locks.sweep_litter(&all(connection)?);
    Ok(())
}
