//! Takes tasks from the queue and works on them, several at a time, one of each table.
//!
//! A task that ends says how: done; to be tried again after a while, where the fault passes; or
//! given back with its pipeline paused, where only somebody can remove the cause. A fault that lies
//! in an object is no fault of its task: the object is in quarantine, and the task is done.

mod keeper;
mod task;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use longshore_queue::{Lease, PauseKind, State, Task, TaskId, WorkerId};
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub use keeper::Keeper;

use crate::pipeline::Error;
use crate::pipeline::summary::{Summary, Waiting};
use crate::project::Project;
use crate::pulse::Pulse;
use crate::stop::{Stop, Urgency};

/// Life of a lease that is not renewed.
pub const LEASE: Duration = Duration::from_secs(60);
/// How long tasks that are done are kept.
pub const KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
/// How often the queue is asked for what others queued.
const POLL: Duration = Duration::from_secs(1);
/// The same while tasks of others are waited for.
const POLL_OTHERS: Duration = Duration::from_millis(200);
/// Attempts at a task that meets transient faults before a run that a person waits for gives up.
pub(crate) const TRIES: u32 = 5;
/// Tasks that are looked through for what is still to be waited for.
const LOOKED_THROUGH: usize = 10_000;

/// A number of slots that work on tasks.
#[derive(Debug, Clone)]
pub struct Pool {
    /// The project.
    pub project: Arc<Project>,
    /// Who holds the leases.
    pub worker: WorkerId,
    /// Tasks at a time.
    pub concurrency: usize,
    /// Rung when something was queued in this process.
    pub bell: Arc<Notify>,
    /// Whether to end.
    pub stop: Stop,
    /// Renews the leases.
    pub keeper: Keeper,
    /// Shows that tasks are taken.
    pub pulse: Pulse,
}

/// What this process has learned of pipelines, shared by its slots.
#[derive(Debug, Default)]
struct Learned {
    /// Why pipelines wait, by name: as it was said.
    waiting: HashMap<String, Waiting>,
    /// Faults that lie in single objects.
    stuck: HashMap<String, Waiting>,
    /// Whether a person or a script waits for the end.
    is_waited_for: bool,
    /// Why leases cannot be ended.
    broken: Option<Error>,
    /// Attempts by this process.
    tries: HashMap<TaskId, u32>,
    /// Attempts that tasks had when this process first waited for them.
    had: HashMap<TaskId, u32>,
}

type Shared = Arc<Mutex<Learned>>;

/// What a pool is to bring to an end.
#[derive(Debug, Clone, Copy)]
pub enum Until<'a> {
    /// Nothing: it works until it is stopped.
    Stopped,
    /// These tasks, as far as that is possible now.
    These(&'a [TaskId]),
    /// All tasks that are queued since then or longer, as far as that is possible now.
    QueuedBy(Timestamp),
}

impl Pool {
    /// Works until the end that is given. Returns what was done.
    ///
    /// # Errors
    /// The queue cannot be used; a pool that works until it is stopped tries again instead.
    pub async fn run(&self, until: Until<'_>) -> Result<Summary, Error> {
        let is_waited_for = !matches!(until, Until::Stopped);
        let learned = Shared::new(Mutex::new(Learned { is_waited_for, ..Learned::default() }));
        let mut running: JoinSet<Summary> = JoinSet::new();
        let mut summary = Summary::default();
        let outcome = self.rounds(until, &learned, &mut running, &mut summary).await;
        while let Some(ended) = running.join_next().await {
            take(ended, &mut summary)?;
        }
        outcome?;
        let (waiting, stuck) = {
            let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut learned.waiting), std::mem::take(&mut learned.stuck))
        };
        let mut reasons: Vec<Waiting> = stuck.into_values().chain(waiting.into_values()).collect();
        reasons.sort_by(|one, other| one.pipeline.cmp(&other.pipeline));
        reasons.into_iter().for_each(|reason| summary.waits(reason));
        Ok(summary)
    }

    async fn rounds(
        &self,
        until: Until<'_>,
        learned: &Shared,
        running: &mut JoinSet<Summary>,
        summary: &mut Summary,
    ) -> Result<(), Error> {
        let only = match until {
            Until::These(only) => Some(only),
            Until::Stopped | Until::QueuedBy(_) => None,
        };
        let mut is_over = false;
        let mut said: Option<String> = None;
        loop {
            self.pulse.beat();
            let broken = learned.lock().unwrap_or_else(PoisonError::into_inner).broken.take();
            if let Some(error) = broken {
                return Err(error);
            }
            let is_stopping = self.stop.urgency() > Urgency::None;
            let mut pause = POLL;
            let free = self.concurrency.saturating_sub(running.len());
            if let Until::QueuedBy(at) = until {
                // What was queued later is left to whoever queued it.
                is_over = is_over || !self.project.queue.has_work_since(at).await?;
            }
            if !is_stopping && !is_over && free > 0 {
                match self.project.queue.lease(&self.worker, free, only).await {
                    Ok(leases) => {
                        said = None;
                        if !leases.is_empty() {
                            longshore_warehouse::crash_point("lease");
                        }
                        for lease in leases {
                            running.spawn(self.clone().attend(lease, Arc::clone(learned)));
                        }
                    }
                    Err(error) if matches!(until, Until::Stopped) => {
                        let text = Error::from(error).chain();
                        if said.as_ref() != Some(&text) {
                            tracing::error!("{text}; trying again");
                            said = Some(text);
                        }
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if running.is_empty() {
                if is_stopping {
                    return Ok(());
                }
                if is_over {
                    return self.note_pauses(&[], true, learned).await;
                }
                if !matches!(until, Until::Stopped) {
                    match self.rest(only, learned).await? {
                        Some(wait) => pause = wait,
                        None => return Ok(()),
                    }
                }
            }
            tokio::select! {
                ended = running.join_next(), if !running.is_empty() => {
                    if let Some(ended) = ended {
                        take(ended, summary)?;
                    }
                }
                () = self.bell.notified() => {}
                () = tokio::time::sleep(pause) => {}
                () = self.stop.at_least(Urgency::Gentle), if !is_stopping => {}
            }
        }
    }

    /// Works on one task, and ends its lease.
    async fn attend(self, lease: Lease, learned: Shared) -> Summary {
        task::attend(&self, lease, &learned).await
    }

    /// How long to wait for tasks that may still be brought to their end; `None` where none is
    /// left. Why others cannot is noted.
    async fn rest(&self, only: Option<&[TaskId]>, learned: &Shared) -> Result<Option<Duration>, Error> {
        let queue = &self.project.queue;
        let states = [State::Running, State::Available, State::Scheduled, State::Retryable];
        let mut tasks = queue.tasks(&states, LOOKED_THROUGH).await?;
        tasks.retain(|task| only.is_none_or(|only| only.contains(&task.id)));
        let mut wait: Option<Duration> = None;
        let now = queue.now().await?;
        for task in &tasks {
            // Attempts that another process makes meanwhile count too.
            let tries = {
                let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
                let had = *learned.had.entry(task.id).or_insert(task.attempts);
                learned.tries.get(&task.id).copied().unwrap_or(0).max(task.attempts.saturating_sub(had))
            };
            let until_then = match task.state {
                State::Running => POLL_OTHERS,
                State::Scheduled | State::Retryable if tries < TRIES => {
                    Duration::try_from(task.not_before.duration_since(now)).unwrap_or_default()
                        + Duration::from_millis(5)
                }
                _ => continue,
            };
            wait = Some(wait.map_or(until_then, |wait| wait.min(until_then)));
        }
        if wait.is_some() {
            // A worker that died is noticed by whoever waits for it.
            queue.sweep().await?;
            return Ok(wait);
        }
        self.note_pauses(&tasks, only.is_none(), learned).await?;
        Ok(None)
    }

    /// Notes why these tasks wait; if `all` are meant, also what was given up.
    async fn note_pauses(&self, tasks: &[Task], all: bool, learned: &Shared) -> Result<(), Error> {
        for pause in self.project.queue.pauses().await? {
            let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
            let has_tasks =
                tasks.iter().any(|task| task.pipeline == pause.pipeline) || (pause.kind == PauseKind::Discarded && all);
            if has_tasks && pause.kind != PauseKind::Objects && !learned.waiting.contains_key(&pause.pipeline) {
                let waiting = Waiting { pipeline: pause.pipeline.clone(), error: pause.error, cure: pause.cure };
                waiting.say();
                learned.waiting.insert(pause.pipeline, waiting);
            }
        }
        Ok(())
    }
}

fn take(ended: Result<Summary, tokio::task::JoinError>, summary: &mut Summary) -> Result<(), Error> {
    match ended {
        Ok(one) => summary.merge(one),
        // The work itself is caught where it is done; what ends it cannot panic but by a bug there.
        Err(error) => {
            return Err(Error::environment(format!("a task broke off by a fault of longshore itself: {error}"))
                .cure("report it; nothing is lost, and no row is in twice"));
        }
    }
    Ok(())
}

impl Waiting {
    /// Says it.
    fn say(&self) {
        let hint = self.cure.as_ref().map_or_else(String::new, |cure| format!("\nhint: {cure}"));
        tracing::error!("pipeline `{}` waits: {}{hint}", self.pipeline, self.error);
    }
}

/// Names a process for whoever looks at the queue.
pub fn name(role: &str) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{role} {host}:{} {}", std::process::id(), Timestamp::now().strftime("%H:%M:%S"))
}
