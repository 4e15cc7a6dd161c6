//! `longshore run`: keep tables current. `run --once`: load what waits, then end. `worker` and
//! `scheduler` are the halves of `run`, each as a process of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use longshore_queue::WorkerId;
use tokio::sync::Notify;

use super::{Failure, Global, Outcome, Result, output};
use crate::pipeline::Error;
use crate::project::Project;
use crate::pulse::Pulse;
use crate::scheduler::{Scheduler, forget_other_rules};
use crate::stop::{Stop, Urgency, stop};
use crate::worker::{KEPT, Keeper, LEASE, Pool, Until, name};
use crate::{once, systemd};

/// How long a loop may take to come round before it counts as standing still.
const STANDSTILL: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Load what waits, then end.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    worker: Worker,
}

#[derive(Debug, Args, Default)]
pub(super) struct Worker {
    /// Loads at a time, each of another table [default: `[worker] concurrency`, else the number of cores, at least 4].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: Option<u16>,
    /// Drop queued tasks first, after saying how many. Their objects stay, and are queued again by the
    /// next look at the bucket.
    #[arg(long)]
    purge: bool,
}

impl Worker {
    pub(super) fn concurrency(&self, project: &Project) -> usize {
        self.concurrency.map_or(project.config.worker.concurrency, usize::from)
    }

    async fn purge(&self, project: &Project) -> Result<()> {
        if self.purge {
            let waiting = project.queue.purge(false).await?;
            tracing::warn!("dropping {}", output::counted(waiting, "queued task"));
            project.queue.purge(true).await?;
        }
        Ok(())
    }

    /// `longshore worker`.
    pub(super) async fn run(self, global: &Global) -> Result {
        stay(global, Some(self), false, "worker").await
    }
}

/// `longshore scheduler`.
pub(super) async fn scheduler(global: &Global) -> Result {
    stay(global, None, true, "scheduler").await
}

impl Run {
    /// One pass, then the end.
    pub(super) fn once() -> Self {
        Self { once: true, worker: Worker::default() }
    }

    pub(super) async fn run(self, global: &Global) -> Result {
        if !self.once {
            return stay(global, Some(self.worker), true, "run").await;
        }
        let project = global.open_to_load().await?;
        self.worker.purge(&project).await?;
        let concurrency = self.worker.concurrency(&project);
        let summary = Session::begin(project, "once").await?.work(async |session| {
            let pool = session.pool(concurrency);
            once::once(&pool, None).await
        });
        output::summary(&summary.await?, global.json)
    }
}

/// A process that takes part in the work on a project.
pub(super) struct Session {
    pub(super) project: Arc<Project>,
    pub(super) worker: WorkerId,
    pub(super) bell: Arc<Notify>,
    pub(super) stop: Stop,
    stopper: crate::stop::Stopper,
    keeper: Keeper,
    is_busy: Arc<AtomicBool>,
    working: Pulse,
    looking: Pulse,
}

impl Session {
    pub(super) async fn begin(project: Project, role: &str) -> Result<Self> {
        let worker = project.queue.arrive(&name(role), LEASE).await?;
        // What a process held that is dead by now is free at once.
        let swept = project.queue.sweep().await?;
        if !swept.returned.is_empty() {
            tracing::info!(
                "{} of a process that is gone: begun again",
                output::counted(swept.returned.len() as u64, "task")
            );
        }
        forget_other_rules(&project).await?;
        project.queue.prune(project.queue.now().await? - KEPT).await?;
        let (stopper, stop) = stop();
        Ok(Self {
            project: Arc::new(project),
            worker,
            bell: Arc::default(),
            stop,
            stopper,
            keeper: Keeper::default(),
            is_busy: Arc::default(),
            working: Pulse::default(),
            looking: Pulse::default(),
        })
    }

    pub(super) fn pool(&self, concurrency: usize) -> Pool {
        Pool {
            project: Arc::clone(&self.project),
            worker: self.worker.clone(),
            concurrency,
            bell: Arc::clone(&self.bell),
            stop: self.stop.clone(),
            keeper: self.keeper.clone(),
            pulse: self.working.clone(),
        }
    }

    fn scheduler(&self) -> Scheduler {
        Scheduler {
            project: Arc::clone(&self.project),
            worker: self.worker.clone(),
            bell: Arc::clone(&self.bell),
            stop: self.stop.clone(),
            is_busy: Arc::clone(&self.is_busy),
            pulse: self.looking.clone(),
        }
    }

    /// Does something while leases are renewed and signals are heard; then takes leave.
    pub(super) async fn work<T>(self, work: impl AsyncFnOnce(&Self) -> std::result::Result<T, Error>) -> Result<T> {
        let (queue, busy) = (Arc::clone(&self.project.queue), Arc::clone(&self.is_busy));
        let renewing =
            self.keeper.clone().run(Arc::clone(&queue), self.worker.clone(), move || busy.load(Ordering::Relaxed));
        let renewing = tokio::spawn(renewing);
        let done = tokio::select! {
            done = work(&self) => done.map_err(Failure::from),
            heard = self.stopper.listen(self.project.config.worker.shutdown) => match heard {
                Err(error) => Err(Failure::from(error)),
                Ok(()) => std::future::pending().await,
            },
        };
        renewing.abort();
        self.project.ctx.progress.finish();
        let left = queue.depart(&self.worker).await;
        let done = done?;
        left?;
        Ok(done)
    }
}

/// Works until it is told to end.
async fn stay(global: &Global, worker: Option<Worker>, schedules: bool, role: &str) -> Result {
    if global.json {
        return Err(Failure::new("there is no result to print as JSON before it ends")
            .hint("`--log-format json` prints events; `longshore status --json` says how things stand"));
    }
    let project = global.open_to_load().await?;
    let concurrency = worker.as_ref().map(|worker| worker.concurrency(&project));
    if let Some(worker) = &worker {
        worker.purge(&project).await?;
    }
    let pipelines = project.config.pipelines.len() as u64;
    let session = Session::begin(project, role).await?;
    let pulses = [concurrency.map(|_| session.working.clone()), schedules.then(|| session.looking.clone())];
    let watchdog = tokio::spawn(watchdog(pulses.into_iter().flatten().collect()));
    let doing = in_words(concurrency, schedules, pipelines);
    tracing::info!("{doing}; Ctrl-C stops");
    systemd::ready();
    systemd::status(&doing);
    let ended = session
        .work(async |session| {
            let pool = async {
                match concurrency {
                    Some(concurrency) => session.pool(concurrency).run(Until::Stopped).await.map(drop),
                    None => Ok(()),
                }
            };
            let scheduler = async {
                match schedules {
                    true => session.scheduler().run().await,
                    false => Ok(()),
                }
            };
            let stopping = async {
                session.stop.at_least(Urgency::Gentle).await;
                systemd::stopping();
                Ok(())
            };
            futures::future::try_join3(pool, scheduler, stopping).await?;
            Ok(session.stop.urgency())
        })
        .await;
    watchdog.abort();
    // Broken off, so something may not be in that was begun.
    Ok(if ended? == Urgency::Now { Outcome::Incomplete } else { Outcome::Done })
}

fn in_words(concurrency: Option<usize>, schedules: bool, pipelines: u64) -> String {
    let loads = concurrency.map(|most| format!("up to {} at a time", output::counted(most as u64, "load")));
    let looks = schedules.then(|| format!("looking after {}", output::counted(pipelines, "pipeline")));
    let parts: Vec<String> = looks.into_iter().chain(loads).collect();
    parts.join(", ")
}

/// Shows the service manager that the process lives, as long as its loops go round.
async fn watchdog(pulses: Vec<Pulse>) {
    if let Some(every) = systemd::watchdog_interval() {
        loop {
            // A loop goes round within seconds: one that misses this much stands still.
            if pulses.iter().all(|pulse| pulse.is_felt(STANDSTILL.max(every))) {
                systemd::watchdog();
            }
            tokio::time::sleep(every).await;
        }
    }
}
