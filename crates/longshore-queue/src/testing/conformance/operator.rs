//! What operators do, and what they see.

use std::time::Duration;

use super::bench::again;
use super::{Bench, Stage, key_of, object, one};
use crate::{End, NewTask, Renewed, State, TaskId, Which};

/// In whatever way it waits.
pub async fn a_waiting_task_is_cancelled_at_once(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    stage.enqueue_one(one("t", "a", 1)).await;
    let lease = stage.lease_one().await;
    stage.finish(&lease, again()).await;
    let late = NewTask { delay: Some(Duration::from_secs(9)), ..one("u", "b", 2) };
    stage.enqueue(vec![late, one("v", "c", 3)]).await;
    assert_eq!(stage.queue.cancel(Which::All).await.unwrap(), (3, 0));
    assert_eq!(stage.queue.counts().await.unwrap().by_state, [(State::Cancelled, 3, 3)]);
    assert_eq!(stage.queue.cancel(Which::All).await.unwrap(), (0, 0));
    stage.pass(Duration::from_secs(3600));
    assert!(stage.lease().await.is_empty());
}

/// It is told when it renews.
pub async fn a_running_task_is_cancelled_when_its_worker_hears_of_it(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    let lease = stage.lease_one().await;
    assert_eq!(bench.handle().cancel(Which::Ids(&[id])).await.unwrap(), (0, 1));
    let task = stage.task(id).await;
    assert_eq!((task.state, task.cancel_asked), (State::Running, true));
    assert_eq!(stage.renew(&lease).await, Renewed::CancelAsked);
    assert!(stage.finish(&lease, End::Cancelled).await);
    let task = stage.task(id).await;
    assert_eq!((task.state, task.cancel_asked, task.worker), (State::Cancelled, false, None));
    assert_eq!(task.ended_at, Some(stage.queue.now().await.unwrap()));
}

/// A worker that gives its task back before it hears of it does not bring it back to life.
pub async fn cancelling_outlasts_the_end_of_the_lease(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    for (n, end) in [again(), End::Returned].into_iter().enumerate() {
        let id = stage.enqueue_one(one("t", &format!("{n}"), 1)).await;
        let lease = stage.lease_one().await;
        stage.queue.cancel(Which::All).await.unwrap();
        assert!(stage.finish(&lease, end).await);
        assert_eq!(stage.state(id).await, State::Cancelled);
    }
}

/// Nor does its death, nor its departure.
pub async fn cancelling_outlasts_the_death_of_the_worker(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let first = stage.enqueue_one(one("t", "a", 1)).await;
    stage.lease_one().await;
    stage.queue.cancel(Which::All).await.unwrap();
    assert_eq!(stage.pass_leases().await, crate::Swept::default());
    assert_eq!(stage.state(first).await, State::Cancelled);
    let second = stage.enqueue_one(one("t", "b", 1)).await;
    stage.lease_one().await;
    stage.queue.cancel(Which::All).await.unwrap();
    stage.queue.depart(&stage.worker).await.unwrap();
    assert_eq!(stage.state(second).await, State::Cancelled);
}

/// What is done is done.
pub async fn a_task_that_is_completed_first_is_not_cancelled(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    let lease = stage.lease_one().await;
    stage.queue.cancel(Which::Ids(&[id])).await.unwrap();
    assert!(stage.finish(&lease, End::Completed).await);
    assert_eq!(stage.state(id).await, State::Completed);
    assert_eq!(stage.queue.cancel(Which::Ids(&[id, TaskId(-1)])).await.unwrap(), (0, 0));
}

/// The next scan leaves it where it is.
pub async fn the_objects_of_a_cancelled_task_do_not_come_again(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    stage.queue.cancel(Which::All).await.unwrap();
    assert_eq!(stage.enqueue(vec![one("t", "a", 1)]).await, []);
    assert_eq!(stage.queue.are_open("t", &[object("a", 1).identity]).await.unwrap(), [true]);
    stage.queue.prune(stage.queue.now().await.unwrap() + Duration::from_secs(9)).await.unwrap();
    assert_eq!(stage.queue.objects(id).await.unwrap(), [object("a", 1)]);
}

/// As if they had just come, and nothing but those.
pub async fn retry_brings_cancelled_tasks_back_as_new(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    let lease = stage.lease_one().await;
    stage.finish(&lease, again()).await;
    assert_eq!(stage.queue.retry(Which::All).await.unwrap(), []);
    stage.queue.cancel(Which::All).await.unwrap();
    assert_eq!(stage.queue.retry(Which::All).await.unwrap(), [id]);
    let task = stage.task(id).await;
    assert_eq!((task.state, task.attempts, task.error, task.ended_at), (State::Available, 0, None, None));
    assert_eq!(stage.leasable().await, ["a"]);
}

/// However an operator names them.
pub async fn which_picks_by_id_key_pipeline_or_all(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let two = NewTask { objects: vec![object("c", 1), object("d", 2)], ..one("u", "", 0) };
    let ids = stage.enqueue(vec![one("t", "a", 1), one("t", "b", 2), two]).await;
    let keys = ["d", "c", "nowhere"].map(ToOwned::to_owned);
    for (which, count) in
        [(Which::Ids(&ids[..1]), 1), (Which::Keys(&keys), 1), (Which::Pipeline("t"), 2), (Which::All, 3)]
    {
        assert_eq!(stage.queue.cancel(which).await.unwrap(), (count, 0), "{which:?}");
        assert_eq!(stage.queue.retry(which).await.unwrap().len() as u64, count, "{which:?}");
    }
    assert_eq!(stage.queue.cancel(Which::Pipeline("u'")).await.unwrap(), (0, 0));
}

/// What waits or runs stays.
pub async fn forget_removes_only_what_is_cancelled_or_discarded(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let ids = stage.enqueue(vec![one("t", "a", 1), one("t", "b", 2), one("u", "c", 3)]).await;
    stage.queue.lease(&stage.worker, 1, None).await.unwrap();
    stage.queue.cancel(Which::Ids(&ids[2..])).await.unwrap();
    stage.queue.forget(&ids).await.unwrap();
    assert_eq!(stage.state(ids[0]).await, State::Running);
    assert_eq!(stage.state(ids[1]).await, State::Available);
    assert!(stage.queue.task(ids[2]).await.unwrap().is_none());
    assert_eq!(stage.enqueue(vec![one("u", "c", 3)]).await.len(), 1);
}

/// For a fresh start, after a look.
pub async fn purge_counts_and_then_removes_what_waits(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let late = NewTask { delay: Some(Duration::from_secs(9)), ..one("u", "c", 3) };
    let ids = stage.enqueue(vec![one("t", "a", 1), one("t", "b", 2), late, one("v", "d", 4)]).await;
    let running = stage.queue.lease(&stage.worker, 1, None).await.unwrap().pop().unwrap();
    stage.queue.cancel(Which::Ids(&ids[3..])).await.unwrap();
    assert_eq!(stage.queue.purge(false).await.unwrap(), 2);
    assert_eq!(stage.state(ids[1]).await, State::Available);
    assert_eq!(stage.queue.purge(true).await.unwrap(), 2);
    assert_eq!(stage.queue.purge(true).await.unwrap(), 0);
    assert_eq!(stage.queue.counts().await.unwrap().by_state, [(State::Running, 1, 1), (State::Cancelled, 1, 1)]);
    assert!(stage.finish(&running, End::Completed).await);
    assert_eq!(stage.enqueue(vec![one("t", "b", 2)]).await.len(), 1);
}

/// What is closed otherwise waits for an operator.
pub async fn prune_removes_old_completed_tasks_only(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let old = stage.enqueue_one(one("t", "a", 1)).await;
    let lease = stage.lease_one().await;
    stage.finish(&lease, End::Completed).await;
    let cancelled = stage.enqueue_one(one("t", "b", 1)).await;
    stage.queue.cancel(Which::All).await.unwrap();
    stage.pass(Duration::from_secs(10));
    let before = stage.queue.now().await.unwrap();
    let new = stage.enqueue_one(one("t", "c", 1)).await;
    let lease = stage.lease_one().await;
    stage.finish(&lease, End::Completed).await;
    let waiting = stage.enqueue_one(one("t", "d", 1)).await;
    assert_eq!(stage.queue.prune(before).await.unwrap(), 1);
    assert!(stage.queue.task(old).await.unwrap().is_none());
    for (id, state) in [(cancelled, State::Cancelled), (new, State::Completed), (waiting, State::Available)] {
        assert_eq!(stage.state(id).await, state);
    }
}

/// In the order of the states.
pub async fn counts_tell_tasks_and_objects_by_state(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let three = NewTask { objects: vec![object("a", 1), object("b", 2), object("c", 3)], ..one("t", "", 0) };
    stage.enqueue(vec![three, one("u", "d", 1), one("v", "e", 9)]).await;
    let leases = stage.queue.lease(&stage.worker, 2, None).await.unwrap();
    stage.finish(&leases[0], End::Completed).await;
    let counts = stage.queue.counts().await.unwrap();
    let state = leases[0].objects.len() as u64;
    assert_eq!(
        counts.by_state,
        [(State::Available, 1, 1), (State::Running, 1, 4 - state), (State::Completed, 1, state)]
    );
    assert_eq!((counts.tasks(State::Running), counts.tasks(State::Discarded)), (1, 0));
}

/// Of some states, as many as fit on a screen.
pub async fn tasks_are_listed_by_urgency_up_to_a_limit(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let late = NewTask { delay: Some(Duration::from_secs(9)), ..one("t", "b", 2) };
    let urgent = NewTask { priority: 5, ..one("t", "d", 4) };
    stage.enqueue(vec![one("t", "c", 3), late, urgent, one("u", "a", 1)]).await;
    let list = async |states: &[State], limit| {
        let tasks = stage.queue.tasks(states, limit).await.unwrap();
        tasks.into_iter().map(|task| task.first.key).collect::<Vec<_>>()
    };
    assert_eq!(list(&State::ALL, usize::MAX).await, ["d", "a", "b", "c"]);
    assert_eq!(list(&[State::Scheduled, State::Available], 3).await, ["d", "a", "b"]);
    assert_eq!(list(&[State::Scheduled, State::Scheduled], 3).await, ["b"]);
    assert_eq!(list(&[], 3).await, [""; 0]);
    assert_eq!(list(&State::ALL, 0).await, [""; 0]);
}

/// Whatever their state, as long as they are open.
pub async fn tasks_are_found_by_the_keys_of_their_objects(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let two = NewTask { objects: vec![object("a", 1), object("b", 2)], ..one("t", "", 0) };
    let ids = stage.enqueue(vec![two, one("u", "b", 2), one("v", "c", 3)]).await;
    let having = async |keys: &[&str]| {
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        let tasks = stage.queue.having(&keys).await.unwrap();
        tasks.into_iter().map(|task| task.id).collect::<Vec<_>>()
    };
    assert_eq!(having(&["b", "a", "nowhere"]).await, [ids[0], ids[1]]);
    assert_eq!(having(&[]).await, []);
    let leases = stage.lease().await;
    stage.queue.cancel(Which::Ids(&[ids[0]])).await.unwrap();
    assert_eq!(having(&["b"]).await, [ids[0], ids[1]]);
    for lease in &leases {
        stage.finish(lease, End::Completed).await;
    }
    assert_eq!(having(&["a", "b", "c"]).await, []);
}

/// So that whoever waits for what was there does not wait for what came later.
pub async fn work_is_told_by_its_age(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let since = async |queued_at| stage.queue.has_work_since(queued_at).await.unwrap();
    let first = stage.queue.now().await.unwrap();
    assert!(!since(first).await);
    stage.enqueue_one(one("t", "a", 1)).await;
    stage.pass(Duration::from_secs(1));
    let second = stage.queue.now().await.unwrap();
    stage.enqueue_one(one("u", "b", 1)).await;
    assert!(since(first).await);
    let lease = stage.queue.lease(&stage.worker, 1, None).await.unwrap().remove(0);
    assert_eq!(key_of(&lease), "a");
    assert!(since(first).await);
    stage.finish(&lease, again()).await;
    assert!(since(first).await);
    stage.queue.cancel(Which::Ids(&[lease.task.id])).await.unwrap();
    assert!(!since(first).await);
    assert!(since(second).await);
}

/// Of one table, whatever their priority.
pub async fn waiting_tasks_are_listed_by_age(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let urgent = NewTask { priority: 5, ..one("t", "c", 3) };
    let late = NewTask { delay: Some(Duration::from_secs(9)), ..one("t", "b", 2) };
    stage.enqueue(vec![urgent, late, one("u", "x", 1), one("t", "a", 1)]).await;
    let keys = async || {
        let tasks = stage.queue.waiting("t").await.unwrap();
        tasks.into_iter().map(|task| task.first.key).collect::<Vec<_>>()
    };
    assert_eq!(keys().await, ["a", "b", "c"]);
    stage.queue.lease(&stage.worker, 1, None).await.unwrap();
    assert_eq!(keys().await, ["a", "b"]);
}
