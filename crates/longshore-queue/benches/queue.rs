//! How many tasks a second go through the SQLite driver, every step on the disk.
//!
//! `cargo bench -p longshore-queue [-- folder]`. The file lies in the folder (the one for temporary
//! files if none is given), which ought to be on a disk of the kind that the journal lies on.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints its figures, and stops if it cannot")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longshore_queue::testing::conformance::one;
use longshore_queue::{End, Lease, NewTask, Queue, SqliteConfig, SqliteQueue, SystemClock, WorkerId};

const LEASE: Duration = Duration::from_secs(600);

fn tasks(round: i64, count: i64, tables: i64) -> Vec<NewTask> {
    (0..count).map(|n| one(&format!("t{}", n % tables), &format!("pending/{round}/{n}.csv"), n)).collect()
}

async fn finish(queue: &SqliteQueue, leases: Vec<Lease>) {
    let ends = leases.into_iter().map(|lease| (lease.task.id, lease.token, End::Completed)).collect();
    assert!(queue.finish(ends).await.unwrap().into_iter().all(|held| held));
}

fn report(what: &str, tasks: i64, took: Duration) {
    let tasks = f64::from(i32::try_from(tasks).unwrap());
    println!("{what:<58} {:>9.0} tasks/s", tasks / took.as_secs_f64());
}

/// Enqueues, leases and completes, so many at a time, of as many tables.
async fn go_through(queue: &SqliteQueue, worker: &WorkerId, rounds: i64, batch: i64) -> Duration {
    let began = Instant::now();
    for round in 0..rounds {
        queue.enqueue(tasks(round, batch, batch), &[]).await.unwrap();
        let leases = queue.lease(worker, usize::MAX, None).await.unwrap();
        assert_eq!(leases.len(), usize::try_from(batch).unwrap());
        finish(queue, leases).await;
    }
    began.elapsed()
}

/// Takes tasks one by one while many wait behind them.
async fn take_from_a_long_queue(queue: &SqliteQueue, worker: &WorkerId, takes: i64) -> Duration {
    let began = Instant::now();
    for _ in 0..takes {
        finish(queue, queue.lease(worker, 1, None).await.unwrap()).await;
    }
    began.elapsed()
}

async fn run(folder: PathBuf) {
    let open = |name: &str| {
        let path = folder.join(name);
        SqliteQueue::open(SqliteConfig { path, clock: Arc::new(SystemClock) }).unwrap()
    };
    for (batch, rounds) in [(1, 300), (50, 40), (500, 20)] {
        let queue = open(&format!("batch-{batch}.db"));
        let worker = queue.arrive("bench", LEASE).await.unwrap();
        let took = go_through(&queue, &worker, rounds, batch).await;
        report(&format!("enqueue + lease + complete, {batch} at a time"), rounds * batch, took);
    }
    let queue = open("long.db");
    let worker = queue.arrive("bench", LEASE).await.unwrap();
    let began = Instant::now();
    queue.enqueue(tasks(0, 100_000, 100), &[]).await.unwrap();
    report("enqueue, 100,000 at a time into 100 tables", 100_000, began.elapsed());
    let took = take_from_a_long_queue(&queue, &worker, 300).await;
    report("lease + complete one by one, 100,000 waiting, 100 tables", 300, took);
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).map(PathBuf::from);
    let temporary = tempfile::tempdir_in(folder.unwrap_or_else(std::env::temp_dir)).unwrap();
    runtime.block_on(run(temporary.path().to_owned()));
}
