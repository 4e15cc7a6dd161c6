//! Looks at the bucket when it is time, and queues what landed.
//!
//! Each schedule has one row in the queue, and whoever takes it makes the tick: of any number of
//! processes one. A tick that was missed is made once, late. A local directory is watched as well,
//! so that a file is loaded as soon as it is written; looking at it by schedule stays the truth.

mod look;
mod rule;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use longshore_queue::{State, WorkerId};
use longshore_warehouse::Swept;
use tokio::sync::{Notify, mpsc};

pub use look::{Looked, Scope, forget_other_rules, look, task_of};
pub use rule::{Schedule, When};
use watch::{Arrival, Watch};

use crate::bucket::ObjectKey;
use crate::config::{Config, Place};
use crate::pipeline::Error;
use crate::project::Project;
use crate::pulse::Pulse;
use crate::stop::{Stop, Urgency};
use crate::worker::{KEPT, LEASE};

/// Name of the schedule of all pipelines that have none of their own.
const PROJECT: &str = "project";
/// How often dead workers are looked for, and due schedules that others keep.
const SWEEP: Duration = Duration::from_secs(5);
/// Age at which a load that no running task has is dead: whoever has it was told long ago that it lost
/// its lease.
const ZOMBIE: Duration = Duration::from_secs(2 * LEASE.as_secs());
/// How long arrivals are collected before they are looked at together.
const COLLECT: Duration = Duration::from_millis(20);
/// Pause before the next look where one could not queue everything.
const MORE: Duration = Duration::from_secs(30);
/// Pause before a directory that cannot be watched yet is tried again.
const WATCH_AGAIN: Duration = Duration::from_secs(10);

/// Ends what dead loads still do in the warehouse, and removes what they left there. A load counts
/// as dead if it began two leases ago and no running task has it.
pub(crate) async fn sweep_warehouse(project: &Project) -> Result<(), Error> {
    let before = Timestamp::now() - jiff::SignedDuration::try_from(zombie()).unwrap_or_default();
    let running = project.queue.tasks(&[State::Running], usize::MAX).await?;
    let live = running.iter().filter_map(|task| task.load.as_deref()?.parse().ok()).collect();
    let swept = project.ctx.warehouse.sweep(&live, before).await?;
    if swept != Swept::default() {
        tracing::info!(
            "removed what dead loads left in the warehouse: {} staged, {} connections",
            swept.staging,
            swept.backends
        );
    }
    Ok(())
}

/// [`ZOMBIE`], or in a debug build what a test says.
fn zombie() -> Duration {
    let said = if cfg!(debug_assertions) { std::env::var("LONGSHORE_ZOMBIE_SECONDS").ok() } else { None };
    said.and_then(|text| text.parse().ok()).map_or(ZOMBIE, Duration::from_secs)
}

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
    /// Shows that schedules are kept.
    pub pulse: Pulse,
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
        let mut faults = Faults::default();
        // Whatever was begun before this process and is not kept alive has no worker by then.
        let mut sweep_at = Some(Instant::now() + zombie());
        loop {
            self.pulse.beat();
            watching.start();
            let mut is_wrong = false;
            for (name, (schedule, pipelines)) in &schedules {
                // A look may take long, and may be dropped: what it queued is queued.
                let ticked = tokio::select! {
                    ticked = self.pulse.during(self.tick(name, schedule, pipelines, all_now)) => ticked,
                    () = self.stop.at_least(Urgency::Gentle) => return Ok(()),
                };
                is_wrong = is_wrong || ticked.is_err();
                faults.note(name, ticked);
            }
            all_now = false;
            let swept = self.sweep().await;
            if swept.as_ref().is_ok_and(|anybody_died| *anybody_died) {
                sweep_at = Some(Instant::now() + zombie());
            }
            is_wrong = is_wrong || swept.is_err();
            faults.note("sweep", swept.map(|_| true));
            if sweep_at.is_some_and(|at| at <= Instant::now()) {
                sweep_at = None;
                let swept = self.pulse.during(sweep_warehouse(&self.project)).await;
                if swept.is_err() {
                    sweep_at = Some(Instant::now() + zombie());
                }
                faults.note("sweep of the warehouse", swept.map(|()| true));
            }
            let pause = if is_wrong { SWEEP } else { self.until_next().await };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                came = watching.arrivals() => match came {
                    Came::Keys(keys) => tokio::select! {
                        later = self.pulse.during(self.arrived(keys, watching.settle, &schedules)) => {
                            watching.later(later);
                        }
                        () = self.stop.at_least(Urgency::Gentle) => return Ok(()),
                    },
                    Came::Everything => all_now = true,
                },
                () = self.stop.at_least(Urgency::Gentle) => return Ok(()),
            }
        }
    }

    /// Makes the tick of a schedule, if it is due and nobody else makes it. Returns whether it looked.
    async fn tick(&self, name: &str, schedule: &Schedule, pipelines: &[String], now: bool) -> Result<bool, Error> {
        let queue = &self.project.queue;
        let at = queue.now().await?;
        self.forget_if_far(name, schedule, at).await?;
        let first = match schedule.when {
            When::Every(_) => at,
            When::Cron { .. } => schedule.next_with_jitter(at),
        };
        let Some(tick) = queue.begin_tick(name, &schedule.rule(), first, &self.worker).await? else {
            // What a pattern says holds whatever else happens.
            if !now || !matches!(schedule.when, When::Every(_)) {
                return Ok(false);
            }
            return self.look_for(pipelines).await.map(|_| true);
        };
        self.is_busy.store(true, Ordering::Relaxed);
        let looked = self.look_for(pipelines).await;
        self.is_busy.store(false, Ordering::Relaxed);
        let now = queue.now().await?;
        // Ticks that were missed are made up for by one.
        let next = Some(schedule.next_with_jitter(tick.due)).filter(|next| *next > now);
        let mut next = next.unwrap_or_else(|| schedule.next_with_jitter(now));
        if looked.as_ref().is_ok_and(|looked| looked.more && !looked.tasks.is_empty()) {
            next = next.min(now + MORE);
        }
        let error = looked.as_ref().err().map(Error::chain);
        queue.end_tick(&tick, next, error.as_deref()).await?;
        queue.prune(now - KEPT).await?;
        tracing::debug!("schedule `{name}` was due at {}, is due next at {next}", tick.due);
        looked.map(|_| true)
    }

    /// Forgets when a schedule is due that is due later than its rule can say: the clock was ahead.
    async fn forget_if_far(&self, name: &str, schedule: &Schedule, now: Timestamp) -> Result<(), Error> {
        let Some(next) = schedule.next_after(now) else { return Ok(()) };
        let farthest = next + schedule.jitter + MORE;
        let known = self.project.queue.schedules().await?;
        if known.iter().any(|known| known.name == name && known.next_at > farthest) {
            let others: Vec<String> = known.into_iter().map(|known| known.name).filter(|other| other != name).collect();
            self.project.queue.keep_schedules(&others).await?;
        }
        Ok(())
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

    /// Looks at files that just arrived, but for those of pipelines whose schedule is a pattern.
    /// Returns those that are not whole yet, with how long to wait.
    async fn arrived(
        &self,
        keys: BTreeMap<String, bool>,
        settle: Duration,
        schedules: &BTreeMap<String, (Schedule, Vec<String>)>,
    ) -> Vec<(String, Duration)> {
        let (mut whole, mut later) = (Vec::new(), Vec::new());
        for (key, is_whole) in keys {
            let name = ObjectKey::new(key.clone());
            if is_whole {
                whole.push(name);
            } else if let Ok(Some(object)) = self.project.ctx.bucket.head(&name).await {
                let age = Duration::try_from(Timestamp::now().duration_since(object.modified_at)).unwrap_or_default();
                match settle.checked_sub(age).filter(|rest| !rest.is_zero()) {
                    Some(rest) => later.push((key, rest)),
                    None => whole.push(name),
                }
            }
        }
        let pipelines: Vec<String> = schedules
            .values()
            .filter(|(schedule, _)| matches!(schedule.when, When::Every(_)))
            .flat_map(|(_, names)| names.iter().cloned())
            .collect();
        if whole.is_empty() || pipelines.is_empty() {
            return later;
        }
        let scope = Scope { arrived: Some(&whole), pipelines: Some(&pipelines), ..Scope::default() };
        match look(&self.project, scope).await {
            Ok(_) => self.bell.notify_one(),
            // The next tick finds them.
            Err(error) => tracing::debug!("what arrived cannot be looked at: {}", error.chain()),
        }
        later
    }

    /// Frees what dead workers held, and forgets what was done long ago. Returns whether any died.
    async fn sweep(&self) -> Result<bool, Error> {
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
        Ok(!swept.returned.is_empty() || !swept.discarded.is_empty())
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

/// Faults of looks: each is said once, and so is its end. Nothing is lost: the next look finds
/// everything.
#[derive(Default)]
struct Faults {
    said: BTreeMap<String, String>,
}

impl Faults {
    /// Notes how a look ended; `false`: there was none.
    fn note(&mut self, name: &str, ended: Result<bool, Error>) {
        match ended {
            Ok(false) => {}
            Ok(true) => {
                if self.said.remove(name).is_some() {
                    tracing::info!("`{name}` works again");
                }
            }
            Err(error) => {
                let text = error.chain();
                let hint = error.hint().map_or_else(String::new, |cure| format!("\nhint: {cure}"));
                if self.said.get(name) != Some(&text) {
                    tracing::error!("`{name}`: {text}; trying again{hint}");
                    self.said.insert(name.to_owned(), text);
                }
            }
        }
    }
}

/// What a watched directory tells.
enum Came {
    /// Files that arrived, each with whether it is whole for sure.
    Keys(BTreeMap<String, bool>),
    /// More than can be told.
    Everything,
}

/// A directory that is watched, if the bucket is one.
struct Watching {
    root: Option<(std::path::PathBuf, String)>,
    /// How long a file must be unchanged that was closed: it may be opened again. One that is renamed
    /// into place is whole.
    settle: Duration,
    watch: Option<(Watch, mpsc::Receiver<Arrival>)>,
    tried_at: Option<Instant>,
    /// Files that came, with when to look at them and whether they are whole for sure.
    ready: BTreeMap<String, (Instant, bool)>,
}

impl Watching {
    fn new(project: &Project) -> Self {
        let (root, settle) = match &project.config.bucket.place {
            Place::Directory(directory) => {
                let pending = project.config.bucket.prefixes.pending.clone();
                (Some((directory.path.clone(), pending)), directory.settle)
            }
            Place::S3(_) => (None, Duration::ZERO),
        };
        Self { root, settle, watch: None, tried_at: None, ready: BTreeMap::new() }
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
        self.tried_at = Some(Instant::now());
    }

    /// Files to look at again after a while.
    fn later(&mut self, keys: Vec<(String, Duration)>) {
        let now = Instant::now();
        for (key, rest) in keys {
            self.ready.entry(key).or_insert((now + rest, false));
        }
    }

    /// What came, collected for a moment. May be dropped and called again: nothing is forgotten.
    async fn arrivals(&mut self) -> Came {
        loop {
            let Some((_, receiver)) = &mut self.watch else { return std::future::pending().await };
            let due = self.ready.values().map(|(at, _)| *at).min();
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until((due + COLLECT).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = wait => {
                    let now = Instant::now();
                    let keys = self.ready.extract_if(.., |_, (at, _)| *at <= now);
                    return Came::Keys(keys.map(|(key, (_, is_whole))| (key, is_whole)).collect());
                }
                arrival = receiver.recv() => match arrival {
                    Some(Arrival::Renamed(key)) => {
                        self.ready.insert(key, (Instant::now(), true));
                    }
                    Some(Arrival::Closed(key)) => {
                        self.ready.insert(key, (Instant::now() + self.settle, false));
                    }
                    Some(Arrival::Rescan) => return Came::Everything,
                    None => {
                        // It ended; it is begun again with the next round.
                        self.watch = None;
                        return Came::Everything;
                    }
                },
            }
        }
    }
}
