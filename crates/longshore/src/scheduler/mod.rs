//! Looks at the bucket when it is time, and queues what landed.
//!
//! Each schedule has one row in the queue, and whoever takes it makes the tick: of any number of
//! processes one. A tick that was missed is made once, late. A local directory is watched as well,
//! so that a file is loaded as soon as it is written; looking at it by schedule stays the truth.

mod look;
mod rule;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use longshore_queue::WorkerId;
use tokio::sync::{Notify, mpsc};

pub use look::{Looked, Scope, forget_other_rules, look, task_of};
pub use rule::{Schedule, When};
use watch::{Arrival, Watch};

use crate::bucket::ObjectKey;
use crate::config::{Config, Place};
use crate::pipeline::Error;
use crate::project::Project;
use crate::stop::{Stop, Urgency};

/// Name of the schedule of all pipelines that have none of their own.
const PROJECT: &str = "project";
/// How often dead workers are looked for, and due schedules that others keep.
const SWEEP: Duration = Duration::from_secs(5);
/// How long arrivals are collected before they are looked at together.
const COLLECT: Duration = Duration::from_millis(20);
/// Pause before the next look where one could not queue everything.
const MORE: Duration = Duration::from_secs(30);
/// How long tasks that are done are kept.
const KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
/// Pause before a directory that cannot be watched yet is tried again.
const WATCH_AGAIN: Duration = Duration::from_secs(10);

/// Makes the ticks of all schedules.
#[derive(Debug)]
pub struct Scheduler {
    /// The project.
    pub project: Arc<Project>,
    /// Who holds schedules.
    pub worker: WorkerId,
    /// Rung when something was queued.
    pub bell: Arc<Notify>,
    /// Whether to end.
    pub stop: Stop,
    /// Whether a tick is being made.
    pub is_busy: Arc<AtomicBool>,
}

/// The schedules of a configuration, each with the names of its pipelines.
pub fn schedules(config: &Config) -> BTreeMap<String, (Schedule, Vec<String>)> {
    let mut schedules: BTreeMap<String, (Schedule, Vec<String>)> = BTreeMap::new();
    for pipeline in &config.pipelines {
        let (name, schedule) = match &pipeline.schedule {
            Some(own) => (format!("pipeline {}", pipeline.name), own),
            None => (PROJECT.to_owned(), &config.schedule),
        };
        let entry = schedules.entry(name).or_insert_with(|| (schedule.clone(), Vec::new()));
        entry.1.push(pipeline.name.clone());
    }
    schedules
}

impl Scheduler {
    /// Ticks until it is stopped.
    ///
    /// # Errors
    /// The queue cannot be used at the start.
    pub async fn run(self) -> Result<(), Error> {
        let schedules = schedules(&self.project.config);
        let names: Vec<String> = schedules.keys().cloned().collect();
        self.project.queue.keep_schedules(&names).await?;
        // Where nobody else is at work, whatever landed since is looked at now and not at the next tick.
        let mut all_now = self.project.queue.workers().await?.len() <= 1;
        let mut watching = Watching::new(&self.project);
        let mut said: BTreeMap<String, String> = BTreeMap::new();
        loop {
            watching.start();
            let mut more = false;
            for (name, (schedule, pipelines)) in &schedules {
                match self.tick(name, schedule, pipelines, all_now).await {
                    Ok(is_more) => {
                        more = more || is_more;
                        if said.remove(name).is_some() {
                            tracing::info!("schedule `{name}` looks at the bucket again");
                        }
                    }
                    Err(error) => {
                        let text = error.chain();
                        if said.insert(name.clone(), text.clone()) != Some(text) {
                            say(name, &error);
                        }
                    }
                }
            }
            all_now = false;
            let pause = if more { MORE } else { self.until_next().await };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                keys = watching.arrivals() => match keys {
                    Some(keys) => self.arrived(keys).await,
                    None => all_now = true,
                },
                () = self.stop.at_least(Urgency::Gentle) => return Ok(()),
            }
            if let Err(error) = self.sweep().await {
                tracing::error!("{}; trying again", error.chain());
            }
        }
    }

    /// Makes the tick of a schedule, if it is due and nobody else makes it. Returns whether there is
    /// more than one look can queue.
    async fn tick(&self, name: &str, schedule: &Schedule, pipelines: &[String], now: bool) -> Result<bool, Error> {
        let queue = &self.project.queue;
        let at = queue.now().await?;
        let first = match schedule.when {
            When::Every(_) => at,
            When::Cron { .. } => schedule.next_with_jitter(at),
        };
        // The rule is told anew where a look at once is wanted: then the schedule is due.
        let Some(tick) = queue.begin_tick(name, &schedule.rule(), first, &self.worker).await? else {
            if !now || !matches!(schedule.when, When::Every(_)) {
                return Ok(false);
            }
            return self.look_for(pipelines).await.map(|looked| looked.more);
        };
        self.is_busy.store(true, Ordering::Relaxed);
        let looked = self.look_for(pipelines).await;
        self.is_busy.store(false, Ordering::Relaxed);
        let now = queue.now().await?;
        // Ticks that were missed are made up for by one.
        let next = Some(schedule.next_with_jitter(tick.due)).filter(|next| *next > now);
        let next = next.unwrap_or_else(|| schedule.next_with_jitter(now));
        let error = looked.as_ref().err().map(Error::chain);
        queue.end_tick(&tick, next, error.as_deref()).await?;
        tracing::debug!("schedule `{name}` was due at {}, is due next at {next}", tick.due);
        Ok(looked?.more)
    }

    async fn look_for(&self, pipelines: &[String]) -> Result<Looked, Error> {
        let looked = look(&self.project, Scope { pipelines: Some(pipelines), ..Scope::default() }).await?;
        if !looked.tasks.is_empty() {
            tracing::debug!("queued {} objects in {} tasks", looked.objects, looked.tasks.len());
        }
        self.bell.notify_waiters();
        self.bell.notify_one();
        Ok(looked)
    }

    /// Looks at objects that just arrived.
    async fn arrived(&self, keys: BTreeSet<String>) {
        let keys: Vec<ObjectKey> = keys.into_iter().map(ObjectKey::new).collect();
        let scope = Scope { only: Some(&keys), arrived: true, ..Scope::default() };
        match look(&self.project, scope).await {
            Ok(_) => self.bell.notify_one(),
            // The next tick finds them.
            Err(error) => tracing::debug!("what arrived cannot be looked at: {}", error.chain()),
        }
    }

    /// Frees what dead workers held, and forgets what was done long ago.
    async fn sweep(&self) -> Result<(), Error> {
        let queue = &self.project.queue;
        let swept = queue.sweep().await?;
        for id in &swept.returned {
            tracing::warn!("the worker of task {id} is gone: it is begun again");
        }
        for id in &swept.discarded {
            tracing::error!(
                "workers died again and again over task {id}: it is given up\nhint: `longshore status` names its objects"
            );
        }
        if !swept.returned.is_empty() {
            self.bell.notify_one();
        }
        queue.prune(queue.now().await? - KEPT).await?;
        Ok(())
    }

    /// How long until the next schedule is due.
    async fn until_next(&self) -> Duration {
        let due = async {
            let schedules = self.project.queue.schedules().await?;
            // One that somebody is busy with is looked after with the next sweep.
            let free = schedules.into_iter().filter(|schedule| schedule.busy_since.is_none());
            let next = free.map(|schedule| schedule.next_at).min();
            let now = self.project.queue.now().await?;
            Ok::<_, Error>(next.map(|next| Duration::try_from(next.duration_since(now)).unwrap_or_default()))
        };
        match due.await {
            Ok(Some(due)) => due.clamp(Duration::from_millis(20), SWEEP),
            _ => SWEEP,
        }
    }
}

/// A fault of a look: nothing is lost, the next tick looks again.
fn say(name: &str, error: &Error) {
    let hint = error.hint().map_or_else(String::new, |cure| format!("\nhint: {cure}"));
    tracing::error!("schedule `{name}`: {}; trying again{hint}", error.chain());
}

/// A directory that is watched, if the bucket is one.
struct Watching {
    root: Option<(std::path::PathBuf, String)>,
    watch: Option<(Watch, mpsc::Receiver<Arrival>)>,
    tried_at: Option<std::time::Instant>,
}

impl Watching {
    fn new(project: &Project) -> Self {
        let root = match &project.config.bucket.place {
            Place::Directory(directory) => {
                Some((directory.path.clone(), project.config.bucket.prefixes.pending.clone()))
            }
            Place::S3(_) => None,
        };
        Self { root, watch: None, tried_at: None }
    }

    /// Begins to watch, if that has not begun yet.
    fn start(&mut self) {
        let Some((root, pending)) = self.root.as_ref().filter(|_| self.watch.is_none()) else { return };
        if self.tried_at.is_some_and(|at| at.elapsed() < WATCH_AGAIN) {
            return;
        }
        match Watch::start(root, pending) {
            Ok(watch) => self.watch = Some(watch),
            Err(why) if self.tried_at.is_none() => {
                tracing::info!("`{}` is not watched, only looked at by schedule: {why}", root.display());
            }
            Err(_) => {}
        }
        self.tried_at = Some(std::time::Instant::now());
    }

    /// Keys that arrived, collected for a moment; `None` where everything is to be looked at.
    async fn arrivals(&mut self) -> Option<BTreeSet<String>> {
        let Some((_, receiver)) = &mut self.watch else { return std::future::pending().await };
        let mut keys = BTreeSet::new();
        let mut next = receiver.recv().await;
        loop {
            match next {
                Some(Arrival::Key(key)) => keys.insert(key),
                Some(Arrival::Rescan) => return None,
                None => {
                    // It ended; it is begun again with the next round.
                    self.watch = None;
                    return None;
                }
            };
            match tokio::time::timeout(COLLECT, receiver.recv()).await {
                Ok(arrival) => next = arrival,
                Err(_) => return Some(keys),
            }
        }
    }
}
