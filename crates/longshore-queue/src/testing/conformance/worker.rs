//! Workers that come, go and die.

use std::time::Duration;

use super::bench::again;
use super::{Bench, LEASE, Stage, object, one};
use crate::{End, MAX_DEATHS, NewTask, PauseKind, Renewed, State, Swept, Which};

/// By all handles.
pub async fn a_worker_is_listed_until_it_departs(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let rival = bench.handle();
    let id = rival.arrive("another", LEASE).await.unwrap();
    for queue in [&stage.queue, &rival] {
        let mut names: Vec<_> = queue.workers().await.unwrap().into_iter().map(|worker| worker.name).collect();
        names.sort();
        assert_eq!(names, ["a worker", "another"]);
    }
    rival.depart(&id).await.unwrap();
    let left = stage.queue.workers().await.unwrap();
    assert_eq!(left.iter().map(|worker| &worker.id).collect::<Vec<_>>(), [&stage.worker]);
    assert_eq!(left[0].since, stage.queue.now().await.unwrap());
}

/// What it holds is free at once.
pub async fn a_departing_worker_leaves_its_tasks_without_a_death(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    let lease = stage.lease_one().await;
    stage.queue.depart(&stage.worker).await.unwrap();
    let task = stage.task(id).await;
    assert_eq!((task.state, task.deaths), (State::Available, 0));
    assert!(!stage.finish(&lease, End::Completed).await);
    assert_eq!(stage.renew(&lease).await, Renewed::Lost);
    assert_eq!(Stage::new(bench).await.leasable().await, ["a"]);
}

/// Whoever has gone takes nothing along.
pub async fn a_worker_that_departed_is_given_nothing(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    stage.enqueue_one(one("t", "a", 1)).await;
    stage.queue.depart(&stage.worker).await.unwrap();
    stage.queue.depart(&stage.worker).await.unwrap();
    assert!(stage.lease().await.is_empty());
    let first = stage.queue.now().await.unwrap();
    assert_eq!(stage.queue.begin_tick("s", "rule", first, &stage.worker).await.unwrap(), None);
}

/// As long as the work lasts.
pub async fn a_renewed_lease_is_kept(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let rival = Stage::new(bench).await;
    stage.enqueue_one(one("t", "a", 1)).await;
    let lease = stage.lease_one().await;
    for _ in 0..5 {
        stage.pass(LEASE - Duration::from_secs(1));
        assert_eq!(stage.renew(&lease).await, Renewed::Held);
        assert_eq!(rival.queue.sweep().await.unwrap(), Swept::default());
    }
    assert!(stage.finish(&lease, End::Completed).await);
}

/// A worker that does not renew counts as dead for this task.
pub async fn a_lease_that_ran_out_goes_away(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let rival = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    stage.lease_one().await;
    stage.pass(LEASE + Duration::from_micros(1));
    assert_eq!(rival.queue.sweep().await.unwrap(), Swept { returned: vec![id], discarded: Vec::new() });
    let task = rival.task(id).await;
    assert_eq!((task.state, task.deaths, task.attempts), (State::Available, 1, 1));
    assert!(task.error.is_some());
    assert_eq!(rival.queue.sweep().await.unwrap(), Swept::default());
    assert_eq!(rival.leasable().await, ["a"]);
}

/// Whatever its holder says, also after another has the task.
pub async fn the_token_of_a_lost_lease_is_refused(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let rival = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    let lost = stage.lease_one().await;
    stage.pass_leases().await;
    for held in [false, true] {
        let lease = if held { Some(rival.lease_one().await) } else { None };
        assert_eq!(stage.renew(&lost).await, Renewed::Lost);
        let pause = super::bench::pause("t", PauseKind::Fault, "a fault");
        for end in [End::Completed, again(), End::Returned, End::Paused(pause), End::Cancelled] {
            assert!(!stage.finish(&lost, end).await);
        }
        let state = if held { State::Running } else { State::Available };
        assert_eq!(stage.state(id).await, state);
        assert_eq!(stage.pause_kinds().await, []);
        if let Some(lease) = lease {
            assert!(rival.finish(&lease, End::Completed).await);
        }
    }
}

/// As a process that ends takes them.
pub async fn a_handle_that_goes_takes_its_workers_with_it(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let rival = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    rival.lease_one().await;
    drop(rival);
    assert_eq!(stage.pass_leases().await.returned, [id]);
    assert_eq!(stage.queue.workers().await.unwrap().len(), 1);
    assert_eq!(stage.task(id).await.deaths, 1);
}

/// One's own and those of others.
pub async fn a_sweep_leaves_living_workers_alone(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let rival = Stage::new(bench).await;
    stage.enqueue(vec![one("t", "a", 1), one("u", "b", 1)]).await;
    let own = stage.queue.lease(&stage.worker, 1, None).await.unwrap().pop().unwrap();
    let other = rival.lease_one().await;
    assert_eq!(stage.queue.sweep().await.unwrap(), Swept::default());
    assert_eq!(rival.queue.sweep().await.unwrap(), Swept::default());
    assert_eq!(stage.queue.workers().await.unwrap().len(), 2);
    assert!(stage.finish(&own, End::Completed).await);
    assert!(rival.finish(&other, End::Completed).await);
}

/// A task that kills its workers is given up, and nothing of its pipeline runs meanwhile.
pub async fn the_fifth_death_discards_and_pauses(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    stage.enqueue_one(one("t", "b", 2)).await;
    for deaths in 1..MAX_DEATHS {
        assert_eq!(stage.lease_one().await.task.id, id);
        assert_eq!(stage.pass_leases().await, Swept { returned: vec![id], discarded: Vec::new() });
        assert_eq!(stage.task(id).await.deaths, deaths);
    }
    stage.lease_one().await;
    assert_eq!(stage.pass_leases().await, Swept { returned: Vec::new(), discarded: vec![id] });
    let task = stage.task(id).await;
    assert_eq!((task.state, task.deaths), (State::Discarded, MAX_DEATHS));
    assert_eq!(task.ended_at, Some(stage.queue.now().await.unwrap()));
    let pause = stage.queue.pauses().await.unwrap().pop().unwrap();
    assert_eq!((pause.pipeline.as_str(), pause.kind, pause.task), ("t", PauseKind::Discarded, Some(id)));
    assert!(stage.leasable().await.is_empty());
    assert!(stage.queue.probe().await.unwrap().is_empty());
    assert_eq!(stage.enqueue(vec![one("t", "a", 1)]).await, []);
}

/// So that whoever reads the message knows where to look.
pub async fn a_discarded_task_is_named_by_its_oldest_object(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let names = ["pending/x.csv", "b", "c", "d"];
    for (n, others) in [(1, ""), (2, " (and 1 more object)"), (4, " (and 3 more objects)")] {
        let pipeline = format!("p{n}");
        let objects = names[..n].iter().map(|name| object(name, 1)).collect();
        let id = stage.enqueue_one(NewTask { objects, pipeline, ..one(&format!("t{n}"), "", 0) }).await;
        stage.discard(id).await;
        let error = format!("a worker died 5 times over `pending/x.csv`{others}");
        assert_eq!(stage.task(id).await.error.as_ref(), Some(&error));
        let pauses = stage.queue.pauses().await.unwrap();
        let pause = pauses.iter().find(|pause| pause.task == Some(id)).unwrap();
        assert_eq!(pause.error, error);
        assert!(pause.cure.as_ref().unwrap().contains("longshore retry"));
    }
}

/// With all its attempts before it.
pub async fn retry_brings_a_discarded_task_back_and_ends_its_pause(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    stage.discard(id).await;
    assert_eq!(stage.queue.retry(Which::Keys(&["a".to_owned()])).await.unwrap(), [id]);
    assert_eq!(stage.pause_kinds().await, []);
    let task = stage.task(id).await;
    assert_eq!((task.state, task.attempts, task.deaths, task.ended_at), (State::Available, 0, 0, None));
    stage.discard(id).await;
}

/// Its objects are gone, so nothing is left to wait for.
pub async fn forgetting_a_discarded_task_ends_its_pause(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let ids = stage.enqueue(vec![one("t", "a", 1), one("u", "b", 1)]).await;
    stage.discard(ids[0]).await;
    stage.discard(ids[1]).await;
    stage.queue.forget(&ids[..1]).await.unwrap();
    assert!(stage.queue.task(ids[0]).await.unwrap().is_none());
    let pauses = stage.queue.pauses().await.unwrap();
    assert_eq!(pauses.iter().map(|pause| pause.task).collect::<Vec<_>>(), [Some(ids[1])]);
    assert_eq!(stage.enqueue(vec![one("t", "a", 1)]).await.len(), 1);
}
