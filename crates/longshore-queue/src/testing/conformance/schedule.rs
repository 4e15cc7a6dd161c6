//! Ticks.

use std::time::Duration;

use jiff::Timestamp;

use super::{Bench, LEASE, Stage};
use crate::Tick;

const MINUTE: Duration = Duration::from_secs(60);

async fn begin_by(stage: &Stage, rule: &str, first: Timestamp) -> Option<Tick> {
    stage.queue.begin_tick("s", rule, first, &stage.worker).await.unwrap()
}

async fn begin(stage: &Stage) -> Option<Tick> {
    begin_by(stage, "every minute", now(stage).await).await
}

async fn end(stage: &Stage, tick: &Tick, next: Timestamp) -> bool {
    stage.queue.end_tick(tick, next, None).await.unwrap()
}

async fn now(stage: &Stage) -> Timestamp {
    stage.queue.now().await.unwrap()
}

/// Any number of processes tick once.
pub async fn two_workers_make_one_tick(bench: &dyn Bench) {
    let (stage, rival) = (Stage::new(bench).await, Stage::new(bench).await);
    for _ in 0..3 {
        let tick = begin(&stage).await.unwrap();
        assert_eq!(tick.due, now(&stage).await);
        assert_eq!(begin(&rival).await, None);
        assert!(end(&stage, &tick, tick.due + MINUTE).await);
        assert_eq!(begin(&rival).await, None);
        stage.pass(MINUTE);
    }
    assert!(begin(&rival).await.is_some());
}

/// Not before.
pub async fn a_schedule_is_due_at_its_first_time(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let first = now(&stage).await + MINUTE;
    assert_eq!(begin_by(&stage, "r", first).await, None);
    assert_eq!(stage.queue.schedules().await.unwrap()[0].next_at, first);
    stage.pass(MINUTE - Duration::from_micros(1));
    assert_eq!(begin_by(&stage, "r", first + MINUTE).await, None);
    stage.pass(Duration::from_micros(1));
    assert_eq!(begin_by(&stage, "r", first + MINUTE).await.unwrap().due, first);
}

/// Not once for each that was missed.
pub async fn a_missed_tick_comes_once_and_late(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let tick = begin(&stage).await.unwrap();
    let due = tick.due + MINUTE;
    end(&stage, &tick, due).await;
    stage.pass(MINUTE * 100);
    let late = begin(&stage).await.unwrap();
    assert_eq!(late.due, due);
    assert!(end(&stage, &late, now(&stage).await + MINUTE).await);
    assert_eq!(begin(&stage).await, None);
}

/// Ticks do not overlap.
pub async fn a_busy_schedule_does_not_tick(bench: &dyn Bench) {
    let (stage, rival) = (Stage::new(bench).await, Stage::new(bench).await);
    let began = now(&stage).await;
    let tick = begin(&stage).await.unwrap();
    stage.pass(LEASE / 2);
    assert_eq!(begin(&rival).await, None);
    assert_eq!(stage.queue.schedules().await.unwrap()[0].busy_since, Some(began));
    assert!(end(&stage, &tick, began).await);
    assert!(begin(&rival).await.is_some());
}

/// It makes one tick at a time: what it holds is one that it could not end.
pub async fn a_worker_that_could_not_end_its_tick_takes_the_schedule_again(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let tick = begin(&stage).await.unwrap();
    let again = begin(&stage).await.unwrap();
    assert!(!end(&stage, &tick, tick.due + MINUTE).await);
    assert!(end(&stage, &again, again.due + MINUTE).await);
}

/// As a lease is.
pub async fn a_renewed_tick_is_kept(bench: &dyn Bench) {
    let (stage, rival) = (Stage::new(bench).await, Stage::new(bench).await);
    let tick = begin(&stage).await.unwrap();
    for _ in 0..3 {
        stage.pass(LEASE - Duration::from_secs(1));
        assert_eq!(stage.queue.renew(&stage.worker, &[]).await.unwrap(), []);
        rival.queue.sweep().await.unwrap();
        assert_eq!(begin(&rival).await, None);
    }
    assert!(end(&stage, &tick, tick.due + MINUTE).await);
}

/// And its holder hears of it.
pub async fn a_tick_that_was_not_renewed_is_lost(bench: &dyn Bench) {
    let (stage, rival) = (Stage::new(bench).await, Stage::new(bench).await);
    let lost = begin(&stage).await.unwrap();
    stage.pass(LEASE + Duration::from_micros(1));
    let tick = begin(&rival).await.unwrap();
    assert_eq!(tick.due, lost.due);
    assert!(!end(&stage, &lost, lost.due + MINUTE * 9).await);
    let next = tick.due + MINUTE * 2;
    assert!(end(&rival, &tick, next).await);
    assert!(!end(&rival, &tick, next + MINUTE).await);
    assert_eq!(stage.queue.schedules().await.unwrap()[0].next_at, next);
}

/// The tick that it began comes again.
pub async fn a_dead_worker_frees_its_schedules(bench: &dyn Bench) {
    let (stage, rival) = (Stage::new(bench).await, Stage::new(bench).await);
    let lost = begin(&rival).await.unwrap();
    drop(rival);
    stage.pass_leases().await;
    assert_eq!(stage.queue.schedules().await.unwrap()[0].busy_since, None);
    assert_eq!(begin(&stage).await.unwrap().due, lost.due);
}

/// At once.
pub async fn a_departing_worker_frees_its_schedules(bench: &dyn Bench) {
    let (stage, rival) = (Stage::new(bench).await, Stage::new(bench).await);
    let lost = begin(&rival).await.unwrap();
    rival.queue.depart(&rival.worker).await.unwrap();
    assert!(!end(&rival, &lost, lost.due).await);
    assert_eq!(begin(&stage).await.unwrap().due, lost.due);
}

/// Whoever shortens an interval does not wait for the long one to end.
pub async fn a_changed_rule_starts_anew(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let tick = begin_by(&stage, "yearly", now(&stage).await).await.unwrap();
    end(&stage, &tick, tick.due + MINUTE * 500_000).await;
    assert_eq!(begin_by(&stage, "yearly", tick.due).await, None);
    let first = tick.due + MINUTE;
    assert_eq!(begin_by(&stage, "hourly", first).await, None);
    stage.pass(MINUTE);
    assert_eq!(begin_by(&stage, "hourly", first + MINUTE).await.unwrap().due, first);
}

/// Its end does not bring the old rule back.
pub async fn a_rule_that_changes_during_a_tick_decides_the_next(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let tick = begin_by(&stage, "yearly", now(&stage).await).await.unwrap();
    let first = tick.due + MINUTE;
    assert_eq!(begin_by(&stage, "hourly", first).await, None);
    assert!(end(&stage, &tick, tick.due + MINUTE * 500_000).await);
    assert_eq!(stage.queue.schedules().await.unwrap()[0].next_at, first);
}

/// For whoever watches.
pub async fn schedules_tell_how_the_last_tick_went(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    let tick = begin(&stage).await.unwrap();
    stage.queue.end_tick(&tick, tick.due, Some("the bucket is away")).await.unwrap();
    let schedule = stage.queue.schedules().await.unwrap().pop().unwrap();
    assert_eq!((schedule.name.as_str(), schedule.busy_since, schedule.last_at), ("s", None, Some(tick.due)));
    assert_eq!(schedule.error.as_deref(), Some("the bucket is away"));
    let tick = begin(&stage).await.unwrap();
    assert!(end(&stage, &tick, tick.due + MINUTE).await);
    assert_eq!(stage.queue.schedules().await.unwrap()[0].error, None);
}

/// Those that are in no configuration any more.
pub async fn other_schedules_are_forgotten(bench: &dyn Bench) {
    let stage = Stage::new(bench).await;
    for name in ["a", "b", "c"] {
        stage.queue.begin_tick(name, "rule", Timestamp::UNIX_EPOCH, &stage.worker).await.unwrap();
    }
    stage.queue.keep_schedules(&["c".to_owned(), "a".to_owned(), "z".to_owned()]).await.unwrap();
    let names = async || stage.queue.schedules().await.unwrap().into_iter().map(|s| s.name).collect::<Vec<_>>();
    assert_eq!(names().await, ["a", "c"]);
    stage.queue.keep_schedules(&[]).await.unwrap();
    assert_eq!(names().await, [""; 0]);
}
