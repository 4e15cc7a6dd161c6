//! Many tasks and many workers.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{Bench, Stage, key_of, one};
use crate::testing::model;
use crate::{End, NewTask, Queue, State, TaskId};

/// As the first scan of a full bucket brings them.
pub async fn five_thousand_tasks_come_in_at_once(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let tasks: Vec<_> = (0..5_000).map(|n| one(&format!("t{}", n % 50), &format!("{n:04}"), 5_000 - n)).collect();
    assert_eq!(stage.enqueue(tasks.clone()).await.len(), 5_000);
    assert_eq!(stage.enqueue(tasks).await, []);
    assert_eq!(stage.queue.counts().await.unwrap().tasks(State::Available), 5_000);
    let leases = stage.lease().await;
    let keys: Vec<_> = leases.iter().map(key_of).collect();
    assert_eq!((keys.len(), keys[0], keys[49]), (50, "4999", "4950"));
    let ends = leases.iter().map(|lease| (lease.task.id, lease.token.clone(), End::Completed)).collect();
    assert_eq!(stage.queue.finish(ends).await.unwrap(), [true; 50]);
}

/// Neither one that is more urgent, nor one that runs, nor one that is paused.
pub async fn a_long_queue_of_one_table_starves_no_other(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let mut tasks = Vec::new();
    for (table, ordered) in [("running", false), ("in order", true), ("paused", false)] {
        let long = (0..2_000).map(|n| NewTask { ordered, priority: 9, ..one(table, &format!("{n}"), n) });
        tasks.extend(long);
    }
    tasks.push(one("other", "other", 1_000_000));
    stage.enqueue(tasks).await;
    stage.pause("paused", crate::PauseKind::Operator).await;
    assert_eq!(stage.queue.lease(&stage.worker, 2, None).await.unwrap().len(), 2);
    let lease = stage.lease_one().await;
    assert_eq!(key_of(&lease), "other");
}

/// And never two of one table at a time.
pub async fn many_workers_complete_each_task_once(bench: &dyn Bench) {
    const TASKS: usize = 500;
    let stage = Stage::new(bench).await;
    let tasks = (0..500).map(|n| one(&format!("t{}", n % 20), &format!("{n}"), n)).collect();
    assert_eq!(stage.enqueue(tasks).await.len(), TASKS);
    let (running, done) = (Arc::new(Mutex::new(HashMap::new())), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> =
        (0..8).map(|n| tokio::spawn(work(bench.handle(), n, Arc::clone(&running), Arc::clone(&done), TASKS))).collect();
    let mut completed = HashSet::new();
    for worker in workers {
        for id in worker.await.unwrap() {
            assert!(completed.insert(id), "{id} was completed twice");
        }
    }
    assert_eq!(completed.len(), TASKS);
    assert_eq!(stage.queue.counts().await.unwrap().by_state, [(State::Completed, 500, 500)]);
}

type Running = Arc<Mutex<HashMap<String, TaskId>>>;

async fn work(queue: Arc<dyn Queue>, n: usize, running: Running, done: Arc<AtomicUsize>, all: usize) -> Vec<TaskId> {
    let worker = queue.arrive(&format!("worker {n}"), super::LEASE).await.unwrap();
    let (mut completed, mut given_back) = (Vec::new(), HashSet::new());
    while done.load(Ordering::SeqCst) < all {
        let leases = queue.lease(&worker, 1 + n % 4, None).await.unwrap();
        if leases.is_empty() {
            queue.sweep().await.unwrap();
            tokio::task::yield_now().await;
        }
        for lease in &leases {
            let other = running.lock().unwrap().insert(lease.task.table.clone(), lease.task.id);
            assert_eq!(other, None, "two tasks of `{}` run", lease.task.table);
        }
        for lease in leases {
            running.lock().unwrap().remove(&lease.task.table);
            // Some are given back once, as by a worker that shuts down.
            let gives_back = lease.task.id.0 % 7 == 0 && given_back.insert(lease.task.id);
            let end = if gives_back { End::Returned } else { End::Completed };
            let ended = end == End::Completed;
            assert_eq!(queue.finish(vec![(lease.task.id, lease.token, end)]).await.unwrap(), [true]);
            if ended {
                completed.push(lease.task.id);
                done.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    queue.depart(&worker).await.unwrap();
    completed
}

/// As two scans at once do.
pub async fn many_enqueue_the_same_objects(bench: &dyn Bench) {
    let scans: Vec<_> = (0..8)
        .map(|_| {
            let queue = bench.handle();
            let tasks: Vec<_> = (0..50).map(|n| one("t", &format!("{n}"), n)).collect();
            tokio::spawn(async move { queue.enqueue(tasks, &[]).await.unwrap().tasks.len() })
        })
        .collect();
    let mut added = 0;
    for scan in scans {
        added += scan.await.unwrap();
    }
    assert_eq!(added, 50);
    assert_eq!(bench.handle().counts().await.unwrap().by_state, [(State::Available, 50, 50)]);
}

/// The same ones with each run; drivers play others besides, with [`model::play`].
pub async fn random_operations_keep_the_rules(bench: &dyn Bench) {
    let mut seed = 20_251_122_u64;
    let mut byte = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed.to_be_bytes()[0]
    };
    let steps: Vec<_> = (0..600).map(|_| model::Step::from_bytes([(); 6].map(|()| byte()))).collect();
    model::play(bench, &steps).await;
}
