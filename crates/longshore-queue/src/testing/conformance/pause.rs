//! Pipelines that wait for a cure, and their probes.

use std::time::Duration;

use super::bench::{again, pause};
use super::{Bench, Stage, key_of, one};
use crate::{End, NewTask, PauseKind, State, Which};

fn of(pipeline: &str, task: NewTask) -> NewTask {
    NewTask { pipeline: pipeline.to_owned(), ..task }
}

fn ordered(task: NewTask) -> NewTask {
    NewTask { ordered: true, ..task }
}

/// Of other pipelines, also into the same table, it does.
pub async fn a_paused_pipeline_gives_no_tasks(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    stage.enqueue(vec![of("p", one("t", "a", 1)), of("q", one("t", "b", 2)), of("p", one("u", "c", 3))]).await;
    for kind in [PauseKind::Fault, PauseKind::Discarded, PauseKind::Operator] {
        stage.pause("p", kind).await;
        assert_eq!(stage.pause_kinds().await, [kind]);
        assert_eq!(stage.leasable().await, ["b"]);
    }
    assert!(stage.queue.resume("p", &PauseKind::ALL).await.unwrap());
    assert_eq!(stage.leasable().await, ["a", "c"]);
}

/// The pause only tells of them.
pub async fn a_pause_over_some_objects_lets_the_others_go_on(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    stage.enqueue_one(one("t", "a", 1)).await;
    stage.pause("t", PauseKind::Objects).await;
    assert_eq!(stage.leasable().await, ["a"]);
    assert_eq!(stage.pause_kinds().await, [PauseKind::Objects]);
}

/// In one transaction.
pub async fn a_task_that_ends_with_a_pause_waits_in_it(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    let lease = stage.lease_one().await;
    let why = pause("t", PauseKind::Fault, "no such table");
    assert!(stage.finish(&lease, End::Paused(why.clone())).await);
    let task = stage.task(id).await;
    assert_eq!((task.state, task.error.as_deref(), task.attempts), (State::Available, Some("no such table"), 1));
    let now = stage.queue.now().await.unwrap();
    assert_eq!(stage.queue.pauses().await.unwrap(), [crate::Pause { since: now, ..why }]);
    assert!(stage.lease().await.is_empty());
}

/// Whoever looks sees how long it lasts.
pub async fn since_is_kept_while_kind_and_error_stay(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let began = stage.queue.now().await.unwrap();
    let since = async || stage.queue.pauses().await.unwrap()[0].since;
    stage.queue.pause(pause("p", PauseKind::Fault, "one")).await.unwrap();
    stage.pass(Duration::from_secs(1));
    let changed = crate::Pause { cure: None, ..pause("p", PauseKind::Fault, "one") };
    stage.queue.pause(changed).await.unwrap();
    assert_eq!(since().await, began);
    assert_eq!(stage.queue.pauses().await.unwrap()[0].cure, None);
    stage.queue.pause(pause("p", PauseKind::Fault, "two")).await.unwrap();
    assert_eq!(since().await, began + Duration::from_secs(1));
    stage.pass(Duration::from_secs(1));
    stage.queue.pause(pause("p", PauseKind::Objects, "two")).await.unwrap();
    assert_eq!(since().await, began + Duration::from_secs(2));
}

/// It would end by itself, and theirs would with it.
pub async fn a_fault_replaces_neither_operator_nor_discarded(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    stage.pause("p", PauseKind::Operator).await;
    stage.pause("q", PauseKind::Discarded).await;
    for pipeline in ["p", "q"] {
        stage.pause(pipeline, PauseKind::Fault).await;
        stage.pause(pipeline, PauseKind::Objects).await;
    }
    assert_eq!(stage.pause_kinds().await, [PauseKind::Operator, PauseKind::Discarded]);
}

/// A task that is retried must not let a pipeline go on that an operator stopped.
pub async fn only_an_operator_replaces_an_operator(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    for _ in 1..crate::MAX_DEATHS {
        stage.lease_one().await;
        stage.pass_leases().await;
    }
    stage.lease_one().await;
    stage.pause("t", PauseKind::Operator).await;
    assert_eq!(stage.pass_leases().await.discarded, [id]);
    stage.queue.retry(Which::All).await.unwrap();
    assert_eq!(stage.pause_kinds().await, [PauseKind::Operator]);
    stage.queue.pause(pause("t", PauseKind::Operator, "still")).await.unwrap();
    assert_eq!(stage.queue.pauses().await.unwrap()[0].error, "still");
}

/// A task that kills its workers is not let loose by somebody who paused for another reason.
pub async fn the_end_of_an_operators_pause_uncovers_a_discarded_task(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    stage.discard(id).await;
    let uncovered = stage.queue.pauses().await.unwrap();
    stage.pause("t", PauseKind::Operator).await;
    assert!(stage.queue.resume("t", &PauseKind::ALL).await.unwrap());
    let pauses = stage.queue.pauses().await.unwrap();
    assert_eq!((pauses[0].kind, pauses[0].task), (PauseKind::Discarded, Some(id)));
    assert_eq!((&pauses[0].error, &pauses[0].cure), (&uncovered[0].error, &uncovered[0].cure));
    assert!(stage.queue.resume("t", &PauseKind::ALL).await.unwrap());
    assert_eq!(stage.pause_kinds().await, []);
}

/// And says whether there was one.
pub async fn resume_ends_only_the_kinds_that_are_named(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    stage.pause("p", PauseKind::Operator).await;
    let others = [PauseKind::Fault, PauseKind::Objects, PauseKind::Discarded];
    assert!(!stage.queue.resume("p", &others).await.unwrap());
    assert!(!stage.queue.resume("q", &PauseKind::ALL).await.unwrap());
    assert!(!stage.queue.resume("p", &[]).await.unwrap());
    assert!(stage.queue.resume("p", &[PauseKind::Fault, PauseKind::Operator]).await.unwrap());
    assert_eq!(stage.pause_kinds().await, []);
}

/// One task of each pipeline tries it, and no other.
pub async fn the_probe_is_the_most_urgent_and_runs_once(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let urgent = NewTask { priority: 1, ..of("p", one("u", "b", 2)) };
    let ids = stage.enqueue(vec![of("p", one("t", "a", 1)), urgent, of("q", one("v", "c", 3))]).await;
    stage.pause("p", PauseKind::Fault).await;
    stage.pause("q", PauseKind::Fault).await;
    stage.pause("empty", PauseKind::Fault).await;
    assert_eq!(stage.queue.probe().await.unwrap(), [ids[1], ids[2]]);
    assert_eq!(stage.queue.probe().await.unwrap(), [ids[1], ids[2]]);
    assert!(stage.task(ids[1]).await.probe);
    let leases = stage.lease().await;
    assert_eq!(leases.iter().map(key_of).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(stage.queue.probe().await.unwrap(), []);
    for lease in &leases {
        assert!(stage.finish(lease, again()).await);
        assert!(!stage.task(lease.task.id).await.probe);
    }
    stage.pass(Duration::from_secs(3600));
    assert!(stage.lease().await.is_empty());
}

/// The surroundings are well again.
pub async fn a_completed_probe_ends_the_pause(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    stage.enqueue(vec![one("t", "a", 1), one("t", "b", 2)]).await;
    stage.pause("t", PauseKind::Fault).await;
    stage.queue.probe().await.unwrap();
    let probe = stage.lease_one().await;
    assert!(probe.task.probe);
    stage.finish(&probe, End::Completed).await;
    assert_eq!(stage.pause_kinds().await, []);
    assert_eq!(stage.leasable().await, ["b"]);
}

/// Until the next one.
pub async fn a_failed_probe_leaves_the_pause(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    stage.pause("t", PauseKind::Fault).await;
    for end in [End::Paused(pause("t", PauseKind::Fault, "a fault")), again(), End::Returned] {
        assert_eq!(stage.queue.probe().await.unwrap(), [id]);
        let probe = stage.lease_one().await;
        stage.finish(&probe, end).await;
        assert_eq!(stage.pause_kinds().await, [PauseKind::Fault]);
        assert!(stage.lease().await.is_empty());
    }
}

/// One that ran already shows it as well as a probe does; other kinds it does not end.
pub async fn any_completed_task_ends_a_fault(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    for (kind, left) in [
        (PauseKind::Fault, None),
        (PauseKind::Objects, Some(PauseKind::Objects)),
        (PauseKind::Operator, Some(PauseKind::Operator)),
    ] {
        stage.enqueue_one(one("t", "a", 1)).await;
        let lease = stage.lease_one().await;
        stage.pause("t", kind).await;
        stage.finish(&lease, End::Completed).await;
        assert_eq!(stage.pause_kinds().await, left.into_iter().collect::<Vec<_>>());
    }
}

/// A probe does not wait for its next attempt.
pub async fn a_probe_runs_before_it_is_due(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(NewTask { delay: Some(Duration::from_secs(3600)), ..one("t", "a", 1) }).await;
    assert_eq!(stage.queue.probe().await.unwrap(), []);
    stage.pause("t", PauseKind::Fault).await;
    assert_eq!(stage.queue.probe().await.unwrap(), [id]);
    assert_eq!(stage.lease_one().await.task.id, id);
}

/// An urgent one that an older one of its own pipeline holds back is no good probe.
pub async fn a_probe_stays_in_order(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let urgent = NewTask { priority: 1, ..ordered(one("t", "b", 2)) };
    let ids = stage.enqueue(vec![urgent, ordered(one("t", "a", 1))]).await;
    stage.pause("t", PauseKind::Fault).await;
    assert_eq!(stage.queue.probe().await.unwrap(), [ids[1]]);
    assert_eq!(key_of(&stage.lease_one().await), "a");
}

/// Order counts more than the wish to know.
pub async fn a_probe_held_back_by_another_pipeline_waits(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let older = NewTask { delay: Some(Duration::from_secs(60)), ..of("q", one("t", "a", 1)) };
    let ids = stage.enqueue(vec![older, ordered(of("p", one("t", "b", 2)))]).await;
    stage.pause("p", PauseKind::Fault).await;
    assert_eq!(stage.queue.probe().await.unwrap(), [ids[1]]);
    assert!(stage.lease().await.is_empty());
    stage.pass(Duration::from_secs(60));
    let lease = stage.lease_one().await;
    assert_eq!(key_of(&lease), "a");
    stage.finish(&lease, End::Completed).await;
    assert_eq!(key_of(&stage.lease_one().await), "b");
}

/// What an operator stopped is not tried, and a discarded task is not either.
pub async fn a_probe_is_for_faults_only(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    stage.enqueue(vec![one("t", "a", 1), one("u", "b", 1), one("v", "c", 1)]).await;
    stage.pause("t", PauseKind::Operator).await;
    stage.pause("u", PauseKind::Discarded).await;
    stage.pause("v", PauseKind::Fault).await;
    stage.queue.cancel(Which::Pipeline("v")).await.unwrap();
    assert_eq!(stage.queue.probe().await.unwrap(), []);
}

/// Chosen for one pause, it is not let through in the next.
pub async fn a_probe_does_not_outlast_its_pause(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let id = stage.enqueue_one(one("t", "a", 1)).await;
    for (kind, resumed) in [(PauseKind::Fault, true), (PauseKind::Operator, false)] {
        stage.pause("t", PauseKind::Fault).await;
        assert_eq!(stage.queue.probe().await.unwrap(), [id]);
        if resumed {
            assert!(stage.queue.resume("t", &[kind]).await.unwrap());
        } else {
            stage.pause("t", kind).await;
        }
        assert!(!stage.task(id).await.probe);
    }
    assert!(stage.lease().await.is_empty());
}
