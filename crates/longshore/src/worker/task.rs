//! One task, from its lease to its end.

use std::panic::AssertUnwindSafe;
use std::sync::PoisonError;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use longshore_queue::{End, Lease, Pause, PauseKind};
use longshore_warehouse::{Fault, LoadId};
use tracing::Instrument;

use super::keeper::Verdict;
use super::{Pool, Shared, TRIES};
use crate::config::Pipeline;
use crate::journal::{LoadRow, Outcome, Totals};
use crate::pipeline::summary::{Summary, Waiting};
use crate::pipeline::{Context, Error, Landed, work};
use crate::stop::Urgency;

/// Pause before the second attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause where somebody else has the warehouse's file or a table for the moment.
const BUSY_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How the work on a task ended.
enum Ended {
    Worked(Result<Vec<Error>, Error>),
    /// The process is to end at once.
    Stopped,
    Broken(Verdict),
}

pub(super) async fn attend(pool: &Pool, lease: Lease, learned: &Shared) -> Summary {
    let span = tracing::info_span!("task", task.id = lease.task.id.0, pipeline = lease.task.pipeline);
    attend_in(pool, lease, learned).instrument(span).await
}

async fn attend_in(pool: &Pool, lease: Lease, learned: &Shared) -> Summary {
    let (task, token) = (&lease.task, lease.token.clone());
    let mut summary = Summary::default();
    let config = &pool.project.config;
    let Some(pipeline) = config.pipelines.iter().find(|pipeline| pipeline.name == task.pipeline) else {
        tracing::info!("pipeline `{}` is no more: its objects are left to those that are", task.pipeline);
        finish(pool, &lease, End::Completed, learned).await;
        return summary;
    };
    let ctx = Context { progress: pool.project.ctx.progress.for_task(), ..pool.project.ctx.clone() };
    let objects = lease.objects.iter().filter_map(Landed::from_task).collect();
    let total_bytes = task.progress.total_bytes;
    let broken = pool.keeper.keep(task.id, token, ctx.progress.clone(), total_bytes);
    let ended = tokio::select! {
        worked = AssertUnwindSafe(work::work(pipeline, objects, &ctx, &mut summary)).catch_unwind() => {
            Ended::Worked(worked.unwrap_or_else(|_| Err(broke_off(&lease))))
        }
        () = pool.stop.at_least(Urgency::Now) => Ended::Stopped,
        verdict = broken.wait() => Ended::Broken(verdict),
    };
    let end = match ended {
        Ended::Worked(Ok(stuck)) => completed(pool, &lease, pipeline, stuck, learned).await,
        Ended::Worked(Err(error)) => failed(pool, &lease, pipeline, error, learned).await,
        Ended::Stopped => Some(End::Returned),
        Ended::Broken(Verdict::Cancelled) => {
            tracing::warn!("broken off on request; `longshore retry --all` takes up what it left");
            Some(End::Cancelled)
        }
        Ended::Broken(Verdict::Lost) => {
            tracing::warn!("the lease of task {} was lost: whoever has it now goes on", task.id);
            None
        }
    };
    if let Some(end) = end {
        finish(pool, &lease, end, learned).await;
    }
    pool.keeper.release(task.id, &lease.token);
    summary
}

/// The work panicked: a bug. Its task is tried again, after growing pauses.
fn broke_off(lease: &Lease) -> Error {
    let (key, others) = (&lease.task.first.key, lease.task.object_count.saturating_sub(1));
    Error::transient(format!("the load of `{key}` (and {others} more) broke off by a fault of longshore itself"))
        .cure("report it with what was printed; nothing is lost, and no row is in twice")
}

async fn completed(
    pool: &Pool,
    lease: &Lease,
    pipeline: &Pipeline,
    mut stuck: Vec<Error>,
    learned: &Shared,
) -> Option<End> {
    let queue = &pool.project.queue;
    if let Ok(true) = queue.resume(&pipeline.name, &[PauseKind::Fault]).await {
        tracing::info!("pipeline `{}` goes on", pipeline.name);
    }
    learned.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&pipeline.name);
    if stuck.is_empty() {
        return Some(End::Completed);
    }
    let first = stuck.swap_remove(0).and_more(stuck.len());
    let waiting = waiting(pipeline, &first);
    let known = {
        let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.stuck.insert(pipeline.name.clone(), waiting.clone())
    };
    if known.is_none_or(|known| known.error != waiting.error) {
        waiting.say();
        record(pool, lease, pipeline, &first);
    }
    let pause = pause(pipeline, PauseKind::Objects, &first);
    if let Err(error) = queue.pause(pause).await {
        tracing::warn!("{}", Error::from(error).chain());
    }
    Some(End::Completed)
}

async fn failed(pool: &Pool, lease: &Lease, pipeline: &Pipeline, error: Error, learned: &Shared) -> Option<End> {
    let waiting = waiting(pipeline, &error);
    // A probe that fails leaves its pipeline paused, for what it found.
    if error.fault == Fault::Transient && !is_paused(pool, pipeline).await {
        let (tries, is_waited_for) = {
            let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
            let tries = learned.tries.entry(lease.task.id).or_default();
            *tries += 1;
            (*tries, learned.is_waited_for)
        };
        // Who waits for the end does not wait for what others tried before.
        let attempts = if is_waited_for { tries } else { lease.task.attempts };
        let after = backoff(attempts, if error.is_busy { BUSY_PAUSE } else { LONGEST_PAUSE });
        if tries == TRIES {
            waiting.say();
            record(pool, lease, pipeline, &error);
            let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
            learned.waiting.insert(pipeline.name.clone(), waiting);
        } else if tries < TRIES {
            tracing::warn!("{}; trying again in {} ms", error.chain(), after.as_millis());
        } else {
            // It was said; `status` goes on saying it.
            tracing::debug!("{}; trying again in {} ms", error.chain(), after.as_millis());
        }
        return Some(End::Retry { after, error: error.chain() });
    }
    let is_new = {
        let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
        let known = learned.waiting.insert(pipeline.name.clone(), waiting.clone());
        known.is_none_or(|known| known.error != waiting.error)
    };
    if is_new {
        waiting.say();
        record(pool, lease, pipeline, &error);
    }
    Some(End::Paused(pause(pipeline, PauseKind::Fault, &error)))
}

/// Whether a fault of the surroundings holds this pipeline up.
async fn is_paused(pool: &Pool, pipeline: &Pipeline) -> bool {
    let is_it = |pause: &Pause| pause.pipeline == pipeline.name && pause.kind == PauseKind::Fault;
    pool.project.queue.pauses().await.is_ok_and(|pauses| pauses.iter().any(is_it))
}

fn waiting(pipeline: &Pipeline, error: &Error) -> Waiting {
    Waiting { pipeline: pipeline.name.clone(), error: error.chain(), cure: error.hint().map(str::to_owned) }
}

fn pause(pipeline: &Pipeline, kind: PauseKind, error: &Error) -> Pause {
    Pause {
        pipeline: pipeline.name.clone(),
        kind,
        since: Timestamp::now(),
        error: error.chain(),
        cure: error.hint().map(str::to_owned),
        task: None,
    }
}

/// Keeps in the history that a load could not be done.
fn record(pool: &Pool, lease: &Lease, pipeline: &Pipeline, error: &Error) {
    let now = Timestamp::now();
    let row = LoadRow {
        load_id: LoadId::draw().to_string(),
        pipeline: pipeline.name.clone(),
        table: lease.task.table.clone(),
        mode: pipeline.mode.as_str().to_owned(),
        started_at: lease.task.started_at.unwrap_or(now),
        finished_at: now,
        outcome: Outcome::Waiting,
        objects: 0,
        bytes: 0,
        rows: Totals::default(),
        error: Some(error.chain()),
        cure: error.hint().map(str::to_owned),
    };
    if let Err(error) = pool.project.ctx.journal.record_load(&row, &[]) {
        tracing::warn!("{}", Error::from(error).chain());
    }
}

/// Ends a lease. While the queue cannot be written the lease is kept, unless somebody waits: then
/// the pool ends with the error, and whoever comes next finds the task of a process that is gone.
async fn finish(pool: &Pool, lease: &Lease, end: End, learned: &Shared) {
    for attempt in 1.. {
        let ends = vec![(lease.task.id, lease.token.clone(), end.clone())];
        match pool.project.queue.finish(ends).await {
            Ok(held) if held == [true] => return,
            Ok(_) => {
                tracing::warn!("the lease of task {} was lost before its end", lease.task.id);
                return;
            }
            Err(error) => {
                let error = Error::from(error);
                let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
                let is_stopping = pool.stop.urgency() > Urgency::None;
                if attempt >= TRIES && (learned.is_waited_for || is_stopping) {
                    learned.broken.get_or_insert(error);
                    return;
                }
                if attempt == 1 {
                    tracing::error!("{}; trying again", error.chain());
                }
            }
        }
        tokio::time::sleep(FIRST_PAUSE).await;
    }
}

/// Twice as long after each attempt, and a random part of it less, so that workers do not come back
/// together.
fn backoff(attempts: u32, longest: Duration) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(longest);
    let random = u64::from(uuid::Uuid::new_v4().as_fields().0) % 500;
    pause.mul_f64(1.0 - random as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        for attempts in [1, 2, 5, 9, 10, 100, u32::MAX] {
            let full = FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
            let pause = backoff(attempts, LONGEST_PAUSE);
            assert!(pause <= full && pause >= full / 2, "{attempts}: {pause:?}");
        }
        assert!(backoff(1, LONGEST_PAUSE) <= Duration::from_millis(200));
        assert!(backoff(u32::MAX, LONGEST_PAUSE) >= Duration::from_secs(30));
        assert!(backoff(u32::MAX, BUSY_PAUSE) <= BUSY_PAUSE);
    }
}
