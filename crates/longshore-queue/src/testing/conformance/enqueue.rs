//! What comes into a queue.

use std::time::Duration;

use jiff::Timestamp;

use super::bench::again;
use super::{Bench, Stage, object, one};
use crate::{End, NewTask, State, TaskObject};

/// An object that is in an open task is left out of another.
pub async fn an_object_is_in_one_open_task_of_its_table(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    stage.enqueue_one(one("t", "a", 1)).await;
    let both = NewTask { objects: vec![object("a", 1), object("b", 2)], ..one("t", "a", 1) };
    let enqueued = stage.queue.enqueue(vec![both], &[]).await.unwrap();
    assert_eq!((enqueued.tasks.len(), enqueued.objects), (1, 1));
    let task = stage.task(enqueued.tasks[0]).await;
    assert_eq!((task.first, task.object_count), (object("b", 2).position, 1));
    assert_eq!(stage.queue.objects(task.id).await.unwrap(), [object("b", 2)]);
    let rival = bench.handle();
    assert_eq!(rival.enqueue(vec![one("t", "b", 2)], &[]).await.unwrap().tasks, []);
}

/// An identity is taken for one table only.
pub async fn one_identity_may_be_open_in_two_tables(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    assert_eq!(stage.enqueue(vec![one("t", "a", 1), one("u", "a", 1)]).await.len(), 2);
}

/// A call may name an object twice.
pub async fn an_object_that_comes_twice_in_one_call_is_taken_once(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let twice = NewTask { objects: vec![object("a", 1), object("a", 1)], ..one("t", "a", 1) };
    let enqueued = stage.queue.enqueue(vec![twice, one("t", "a", 1)], &[]).await.unwrap();
    assert_eq!((enqueued.tasks.len(), enqueued.objects), (1, 1));
}

/// Nothing to do is no task.
pub async fn a_task_without_objects_is_left_out(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    assert_eq!(stage.enqueue(vec![NewTask { objects: Vec::new(), ..one("t", "a", 1) }]).await, []);
    assert_eq!(stage.queue.counts().await.unwrap().by_state, []);
}

/// Once a task is completed, its objects are free.
pub async fn the_objects_of_a_completed_task_may_come_again(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let first = stage.enqueue_one(one("t", "a", 1)).await;
    let lease = stage.lease_one().await;
    assert!(stage.finish(&lease, End::Completed).await);
    assert_eq!(stage.queue.objects(first).await.unwrap(), []);
    let second = stage.enqueue_one(one("t", "a", 1)).await;
    assert_ne!(first, second);
}

/// In the order of the question, by table, whatever the state of the task.
pub async fn are_open_tells_of_each_identity(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    stage.enqueue(vec![one("t", "a", 1), one("u", "b", 1)]).await;
    let identities = ["b", "a", "c"].map(|key| object(key, 1).identity);
    assert_eq!(stage.queue.are_open("t", &identities).await.unwrap(), [false, true, false]);
    stage.lease().await;
    assert_eq!(stage.queue.are_open("t", &identities).await.unwrap(), [false, true, false]);
    assert_eq!(stage.queue.are_open("nowhere", &[]).await.unwrap(), []);
}

/// Objects of tasks that have not begun can be part of others.
pub async fn withdrawn_tasks_make_room_for_new_ones(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let late = NewTask { delay: Some(Duration::from_secs(5)), ..one("t", "b", 2) };
    let mut old = stage.enqueue(vec![one("t", "a", 1), late]).await;
    let lease = stage.lease_one().await;
    stage.finish(&lease, again()).await;
    old.extend(stage.enqueue(vec![one("t", "c", 3)]).await);
    let objects = vec![object("a", 1), object("b", 2), object("c", 3), object("d", 4)];
    let joined = NewTask { objects: objects.clone(), ..one("t", "a", 1) };
    let enqueued = stage.queue.enqueue(vec![joined], &old).await.unwrap();
    assert_eq!((enqueued.tasks.len(), enqueued.objects), (1, 4));
    assert_eq!(stage.queue.objects(enqueued.tasks[0]).await.unwrap(), objects);
    for id in old {
        assert!(stage.queue.task(id).await.unwrap().is_none());
    }
}

/// What runs or is closed stays as it is.
pub async fn a_task_that_has_begun_is_not_withdrawn(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let running = stage.enqueue_one(one("t", "a", 1)).await;
    let lease = stage.lease_one().await;
    let cancelled = stage.enqueue_one(one("t", "b", 2)).await;
    stage.queue.cancel(crate::Which::Ids(&[cancelled])).await.unwrap();
    let again = vec![one("t", "a", 1), one("t", "b", 2)];
    assert_eq!(stage.queue.enqueue(again, &[running, cancelled]).await.unwrap().tasks, []);
    assert_eq!(stage.state(running).await, State::Running);
    assert_eq!(stage.state(cancelled).await, State::Cancelled);
    assert!(stage.finish(&lease, End::Completed).await);
}

/// A task says what it was given.
pub async fn what_was_queued_reads_back(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let now = stage.queue.now().await.unwrap();
    let new = NewTask {
        pipeline: "p".to_owned(),
        ordered: true,
        priority: -3,
        delay: Some(Duration::from_secs(5)),
        objects: vec![object("b", 1), object("a", 2)],
        ..one("t", "", 0)
    };
    let id = stage.enqueue_one(new.clone()).await;
    let task = stage.task(id).await;
    assert_eq!((task.table.as_str(), task.pipeline.as_str(), task.ordered, task.priority), ("t", "p", true, -3));
    assert_eq!((task.state, task.attempts, task.deaths, task.probe), (State::Scheduled, 0, 0, false));
    assert_eq!((task.queued_at, task.not_before), (now, now + Duration::from_secs(5)));
    assert_eq!((task.worker, task.started_at, task.error, task.ended_at), (None, None, None, None));
    assert_eq!((&task.first, &task.last), (&new.objects[0].position, &new.objects[1].position));
    assert_eq!(task.object_count, 2);
    assert_eq!(stage.queue.objects(id).await.unwrap(), new.objects);
}

/// What waits long does not look young because it is put together anew.
pub async fn a_task_made_anew_is_as_old_as_its_oldest_object(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let began = stage.queue.now().await.unwrap();
    let old = stage.enqueue_one(one("t", "a", 1)).await;
    stage.pass(Duration::from_secs(5));
    let joined = NewTask { objects: vec![object("a", 1), object("b", 2)], ..one("t", "a", 1) };
    let new = stage.queue.enqueue(vec![joined, one("t", "c", 3)], &[old]).await.unwrap().tasks;
    assert_eq!(stage.task(new[0]).await.queued_at, began);
    assert_eq!(stage.task(new[1]).await.queued_at, began + Duration::from_secs(5));
}

/// Names and numbers are whatever people and stores make of them.
pub async fn odd_names_and_extreme_numbers_read_back(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let names = ["", "a//b", "x'); DROP TABLE task; --", "\u{0}nul\u{0}", "\u{1f6a2} ölung", "new\nline", "%_\\"];
    for (name, bytes) in names.into_iter().zip([0, 1, u64::MAX].into_iter().cycle()) {
        let mut odd = TaskObject { identity: name.to_owned(), payload: name.repeat(3), bytes, ..object(name, 1) };
        odd.position.modified_at =
            if bytes == 0 { Timestamp::UNIX_EPOCH } else { "9999-12-30T00:00:00Z".parse().unwrap() };
        let new = NewTask {
            pipeline: name.to_owned(),
            priority: if bytes == 0 { i16::MIN } else { i16::MAX },
            delay: Some(Duration::MAX),
            objects: vec![odd],
            ..one(name, "", 0)
        };
        let task = stage.task(stage.enqueue_one(new.clone()).await).await;
        assert_eq!((&task.table, &task.pipeline, task.priority), (&new.table, &new.pipeline, new.priority));
        assert_eq!(stage.queue.objects(task.id).await.unwrap(), new.objects);
        assert_eq!(stage.queue.cancel(crate::Which::Keys(&[name.to_owned()])).await.unwrap(), (1, 0));
    }
}
