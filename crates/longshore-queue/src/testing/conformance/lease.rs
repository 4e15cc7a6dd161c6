//! Which task is next.

use std::time::Duration;

use super::bench::again;
use super::{Bench, Stage, key_of, one};
use crate::{End, NewTask, Progress, Renewal, Renewed, State, Which};

const MINUTE: Duration = Duration::from_secs(60);

fn ordered(table: &str, key: &str, second: i64) -> NewTask {
    NewTask { ordered: true, ..one(table, key, second) }
}

/// By priority, then position.
pub async fn the_most_urgent_comes_first(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let urgent = NewTask { priority: 1, ..one("v", "urgent", 9) };
    let lazy = NewTask { priority: -1, ..one("w", "lazy", 0) };
    stage.enqueue(vec![one("t", "second", 2), lazy, one("u", "first", 1), urgent]).await;
    assert_eq!(stage.leasable().await, ["urgent", "first", "second", "lazy"]);
    let two = stage.queue.lease(&stage.worker, 2, None).await.unwrap();
    assert_eq!(two.iter().map(key_of).collect::<Vec<_>>(), ["urgent", "first"]);
}

/// Objects of one second go by key; two tasks of one position by age.
pub async fn ties_of_position_go_by_key_then_id(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    stage.enqueue(vec![one("t", "b", 1), one("u", "a", 1), one("v", "b", 1)]).await;
    let tables: Vec<_> = stage.lease().await.into_iter().map(|lease| lease.task.table).collect();
    assert_eq!(tables, ["u", "t", "v"]);
}

/// Also where another process asks.
pub async fn one_task_of_a_table_runs_at_a_time(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let rival = Stage::new(bench).await;
    stage.enqueue(vec![one("t", "a", 1), one("t", "b", 2), one("u", "c", 3)]).await;
    let first = stage.queue.lease(&stage.worker, 1, None).await.unwrap().pop().unwrap();
    assert_eq!(key_of(&first), "a");
    assert_eq!(rival.leasable().await, ["c"]);
    assert!(stage.finish(&first, End::Completed).await);
    assert_eq!(rival.leasable().await, ["b", "c"]);
}

/// Order holds while an older task waits for its next attempt.
pub async fn an_ordered_task_waits_behind_an_older_one_that_is_retried(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    stage.enqueue(vec![ordered("t", "a", 1), ordered("t", "b", 2), ordered("u", "c", 3)]).await;
    let leases = stage.lease().await;
    assert_eq!(key_of(&leases[0]), "a");
    stage.finish(&leases[0], again()).await;
    stage.finish(&leases[1], End::Returned).await;
    assert_eq!(stage.leasable().await, ["c"]);
    stage.pass(MINUTE);
    assert_eq!(stage.leasable().await, ["a", "c"]);
}

/// Without order, others go on meanwhile.
pub async fn an_unordered_task_goes_past_an_older_one_that_is_retried(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    stage.enqueue(vec![ordered("t", "a", 1), one("t", "b", 2)]).await;
    let lease = stage.lease_one().await;
    stage.finish(&lease, again()).await;
    assert_eq!(stage.leasable().await, ["b"]);
}

/// Priority decides between tables, not against order; an older task without order holds back too.
pub async fn an_ordered_task_waits_whatever_its_priority(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let urgent = NewTask { priority: 9, ..ordered("t", "b", 2) };
    let late = NewTask { delay: Some(MINUTE), ..one("t", "a", 1) };
    stage.enqueue(vec![urgent, late]).await;
    assert_eq!(stage.leasable().await, [""; 0]);
    stage.pass(MINUTE);
    let lease = stage.lease_one().await;
    assert_eq!(key_of(&lease), "a");
    stage.finish(&lease, End::Completed).await;
    assert_eq!(stage.leasable().await, ["b"]);
}

/// What was cancelled, discarded or completed is passed over.
pub async fn closed_tasks_hold_nobody_back(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let other = |key, second| NewTask { pipeline: "other".to_owned(), ..ordered("t", key, second) };
    let ids = stage.enqueue(vec![other("a", 1), other("b", 2), ordered("t", "c", 3)]).await;
    stage.discard(ids[0]).await;
    stage.queue.cancel(Which::Ids(&ids[1..2])).await.unwrap();
    assert_eq!(stage.leasable().await, ["c"]);
}

/// A task may be told to wait.
pub async fn a_delayed_task_becomes_due(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(NewTask { delay: Some(MINUTE), ..one("t", "a", 1) }).await;
    assert_eq!(stage.state(id).await, State::Scheduled);
    stage.pass(MINUTE - Duration::from_micros(1));
    assert_eq!(stage.leasable().await, [""; 0]);
    stage.pass(Duration::from_micros(1));
    assert_eq!(stage.leasable().await, ["a"]);
}

/// A fault that passes is remembered until the next attempt ends.
pub async fn a_retryable_task_becomes_due_and_keeps_its_error(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    let lease = stage.lease_one().await;
    assert!(stage.finish(&lease, again()).await);
    let task = stage.task(id).await;
    assert_eq!((task.state, task.error.as_deref()), (State::Retryable, Some("the network is down")));
    assert_eq!(task.not_before, stage.queue.now().await.unwrap() + MINUTE);
    stage.pass(MINUTE);
    let lease = stage.lease_one().await;
    assert_eq!((lease.task.error.as_deref(), lease.task.attempts), (Some("the network is down"), 2));
    stage.finish(&lease, End::Completed).await;
    assert_eq!(stage.task(id).await.error, None);
}

/// A worker may be told what to take.
pub async fn only_the_tasks_asked_for_are_leased(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let ids = stage.enqueue(vec![one("t", "a", 1), one("t", "b", 2), one("u", "c", 3), one("v", "d", 4)]).await;
    let none = stage.queue.lease(&stage.worker, 9, Some(&[])).await.unwrap();
    assert!(none.is_empty());
    let leases = stage.queue.lease(&stage.worker, 9, Some(&[ids[3], ids[1], ids[1]])).await.unwrap();
    assert_eq!(leases.iter().map(key_of).collect::<Vec<_>>(), ["b", "d"]);
}

/// Asking for a task by its id changes no rule.
pub async fn only_keeps_to_the_rules(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let ids = stage.enqueue(vec![ordered("t", "a", 1), ordered("t", "b", 2), one("u", "c", 3), one("u", "d", 4)]).await;
    let late = stage.enqueue_one(NewTask { delay: Some(MINUTE), ..one("v", "e", 5) }).await;
    assert!(stage.queue.lease(&stage.worker, 9, Some(&[ids[1], late])).await.unwrap().is_empty());
    let both = stage.queue.lease(&stage.worker, 9, Some(&ids[2..])).await.unwrap();
    assert_eq!(both.iter().map(key_of).collect::<Vec<_>>(), ["c"]);
    assert!(stage.queue.lease(&stage.worker, 9, Some(&ids[2..])).await.unwrap().is_empty());
}

/// Nothing asked, nothing given.
pub async fn a_limit_of_none_leases_nothing(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    assert!(stage.queue.lease(&stage.worker, 0, None).await.unwrap().is_empty());
    assert_eq!(stage.state(id).await, State::Available);
}

/// What is done stays done.
pub async fn a_finished_task_is_done_and_its_token_void(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    let lease = stage.lease_one().await;
    assert!(stage.finish(&lease, End::Completed).await);
    let task = stage.task(id).await;
    assert_eq!((task.state, task.ended_at), (State::Completed, Some(stage.queue.now().await.unwrap())));
    assert!(!stage.finish(&lease, again()).await);
    assert_eq!(stage.renew(&lease).await, Renewed::Lost);
    assert_eq!(stage.state(id).await, State::Completed);
    let end = vec![(crate::TaskId(i64::MAX), lease.token.clone(), End::Completed)];
    assert_eq!(stage.queue.finish(end).await.unwrap(), [false]);
}

/// A worker that shuts down gives its tasks back as they were.
pub async fn a_returned_task_has_lost_no_attempt(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    let lease = stage.lease_one().await;
    assert!(stage.finish(&lease, End::Returned).await);
    let task = stage.task(id).await;
    assert_eq!((task.state, task.attempts, task.deaths), (State::Available, 0, 0));
    assert_eq!(stage.leasable().await, ["a"]);
}

/// Not when it ends: a worker may die.
pub async fn an_attempt_counts_when_it_begins(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    assert_eq!(stage.lease_one().await.task.attempts, 1);
    stage.pass_leases().await;
    assert_eq!(stage.task(id).await.attempts, 1);
    assert_eq!(stage.lease_one().await.task.attempts, 2);
}

/// For whoever watches.
pub async fn tasks_show_who_has_them_and_how_far_they_are(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    let began = stage.queue.now().await.unwrap();
    let lease = stage.lease_one().await;
    assert_eq!(lease.task.state, State::Running);
    stage.pass(Duration::from_secs(1));
    let progress = Progress { bytes: 3, total_bytes: u64::MAX };
    let renewal = Renewal { id, token: lease.token.clone(), progress, load: Some("a load".to_owned()) };
    assert_eq!(stage.queue.renew(&stage.worker, &[renewal]).await.unwrap(), [Renewed::Held]);
    let task = bench.handle().task(id).await.unwrap().unwrap();
    assert_eq!((task.worker.as_deref(), task.started_at, task.progress), (Some("a worker"), Some(began), progress));
    stage.finish(&lease, again()).await;
    let task = stage.task(id).await;
    assert_eq!((task.worker, task.started_at, task.progress), (None, None, Progress::default()));
}
