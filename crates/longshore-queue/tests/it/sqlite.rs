//! The SQLite driver passes the conformance suite, and keeps what it promises beyond it.

use std::path::Path;
use std::sync::Arc;

use longshore_queue::testing::ManualClock;
use longshore_queue::testing::conformance::{Bench, LEASE, block_on, one};
use longshore_queue::{Queue, QueueError, SqliteConfig, SqliteQueue, SystemClock};

/// A bench whose file goes with its folder.
pub(crate) struct Temporary {
    folder: tempfile::TempDir,
    clock: ManualClock,
}

pub(crate) fn bench() -> Temporary {
    Temporary { folder: tempfile::tempdir().expect("a temporary folder"), clock: ManualClock::default() }
}

impl Bench for Temporary {
    fn handle(&self) -> Arc<dyn Queue> {
        let path = self.folder.path().join("journal.db");
        Arc::new(SqliteQueue::open(SqliteConfig { path, clock: Arc::new(self.clock.clone()) }).expect("a queue"))
    }

    fn clock(&self) -> ManualClock {
        self.clock.clone()
    }
}

mod conformance {
    longshore_queue::queue_conformance_tests!(super::super::bench);
}

pub(crate) fn open(path: &Path) -> SqliteQueue {
    SqliteQueue::open(SqliteConfig { path: path.to_owned(), clock: Arc::new(SystemClock) }).expect("a queue")
}

#[test]
fn many_open_a_new_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/journal.db");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| open(&path));
        }
    });
}

#[test]
fn a_file_of_a_newer_layout_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    open(&path);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("UPDATE queue_meta SET version = 99", []).unwrap();
    let error = SqliteQueue::open(SqliteConfig { path, clock: Arc::new(SystemClock) }).unwrap_err();
    assert!(matches!(error, QueueError::Newer { found: 99, .. }), "{error}");
}

#[test]
fn the_version_of_the_history_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA user_version = 7; CREATE TABLE pause (pipeline TEXT) STRICT").unwrap();
    open(&path);
    open(&path);
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 7);
}

#[test]
fn a_file_that_is_no_database_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    std::fs::write(&path, "this is not a database, however long it may be: ".repeat(100)).unwrap();
    let error = SqliteQueue::open(SqliteConfig { path, clock: Arc::new(SystemClock) }).unwrap_err();
    assert!(error.to_string().contains("journal.db"), "{error}");
}

#[test]
fn what_the_engine_enforces_does_not_hang_on_the_code() {
    let bench = bench();
    block_on(async {
        let queue = bench.handle();
        let worker = queue.arrive("w", LEASE).await.unwrap();
        queue.enqueue(vec![one("t", "a", 1), one("t", "b", 2)], &[]).await.unwrap();
        queue.lease(&worker, 9, None).await.unwrap();
    });
    let connection = rusqlite::Connection::open(bench.folder.path().join("journal.db")).unwrap();
    for sql in [
        "UPDATE task SET state = 'running', token = 'x'",
        "UPDATE task SET state = 'running' WHERE state = 'available'",
        "UPDATE task SET state = 'other'",
        "UPDATE task_object SET identity = 'same'",
    ] {
        let error = connection.execute(sql, []).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ConstraintViolation), "{sql}: {error}");
    }
}

#[test]
fn words_that_do_not_belong_are_an_error() {
    let bench = bench();
    block_on(async {
        let queue = bench.handle();
        let connection = rusqlite::Connection::open(bench.folder.path().join("journal.db")).unwrap();
        connection.execute("INSERT INTO queue_pause VALUES ('p', 'strange', 0, '', NULL, NULL)", []).unwrap();
        assert!(matches!(queue.pauses().await, Err(QueueError::Sqlite { .. })));
    });
}

#[test]
fn a_worker_whose_lock_file_was_removed_comes_back() {
    let bench = bench();
    block_on(async {
        let (queue, rival) = (bench.handle(), bench.handle());
        let worker = queue.arrive("w", LEASE).await.unwrap();
        queue.enqueue(vec![one("t", "a", 1)], &[]).await.unwrap();
        std::fs::remove_dir_all(bench.folder.path().join("journal.workers")).unwrap();
        rival.sweep().await.unwrap();
        assert!(rival.workers().await.unwrap().is_empty());
        assert_eq!(queue.lease(&worker, 1, None).await.unwrap().len(), 1);
        assert_eq!(rival.workers().await.unwrap().len(), 1);
        assert_eq!(rival.sweep().await.unwrap().returned, []);
    });
}

#[test]
fn a_dropped_handle_is_a_dead_worker_at_once() {
    let bench = bench();
    block_on(async {
        let (queue, rival) = (bench.handle(), bench.handle());
        let id = queue.enqueue(vec![one("t", "a", 1)], &[]).await.unwrap().tasks[0];
        let worker = queue.arrive("w", LEASE).await.unwrap();
        queue.lease(&worker, 1, None).await.unwrap();
        drop(queue);
        assert!(rival.workers().await.unwrap().is_empty());
        assert_eq!(rival.sweep().await.unwrap().returned, [id]);
        let files = std::fs::read_dir(bench.folder.path().join("journal.workers")).unwrap();
        assert_eq!(files.count(), 0);
    });
}
