//! One pass: everything that waits is brought in, table by table, in order.
//!
//! What cannot be brought in now is said once and holds back nothing else: an object that lies in
//! its bytes goes to quarantine, a fault of the surroundings lets its pipeline wait, a transient
//! fault is tried again and then left to the next pass.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::Timestamp;
use longshore_warehouse::{Candidate, EntryKind, Fault, Known, LoadId, QualifiedName};
use serde::Serialize;

use super::discover::{self, Discovered, Spool};
use super::plan::{self, LoadPlan, Planned, Rules, Verdict};
use super::target::Target;
use super::{Context, Error, Job, Landed, archive, load, quarantine};
use crate::bucket::{Moved, ObjectKey};
use crate::config::Pipeline;
use crate::journal::{LoadRow, Outcome, Totals};
use crate::propose;

/// Objects that are judged at once: one question to the ledger.
const STRETCH: usize = 1_000;
/// Tries of a load that meets a transient fault, within one pass.
const TRIES: usize = 5;
/// Pause before the second try; each further one is longer, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often objects that settle are looked at again before they are left to the next pass.
const SETTLE_LOOKS: usize = 10;

/// What a pass did.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Transactions committed.
    pub loads: u64,
    /// Objects brought in.
    pub objects_loaded: u64,
    /// Objects archived without rows: superseded, repeats, and those that a crash left in `pending`.
    pub objects_archived: u64,
    /// Rows, as in the ledger.
    #[serde(flatten)]
    pub rows: Totals,
    /// Objects that were refused.
    pub failed: Vec<String>,
    /// Pipelines that wait, and why.
    pub waiting: Vec<Waiting>,
    /// Objects of two or more pipelines.
    pub ambiguous: Vec<String>,
    /// Objects that vanished or changed while they were read.
    pub changed: Vec<String>,
    /// Objects that are still being written.
    pub settling: Vec<String>,
    /// Number of objects that belong to no pipeline.
    pub unmatched: u64,
}

/// A pipeline that waits.
#[derive(Debug, Clone, Serialize)]
pub struct Waiting {
    /// Its name.
    pub pipeline: String,
    /// Why.
    pub error: String,
    /// What to do about it.
    pub cure: Option<String>,
}

impl Summary {
    /// Whether everything that waited is in.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
            && self.waiting.is_empty()
            && self.ambiguous.is_empty()
            && self.changed.is_empty()
            && self.settling.is_empty()
    }

    fn add(&mut self, done: &super::Done) {
        self.loads += u64::from(!done.entries.is_empty());
        for entry in &done.entries {
            self.rows.add(entry);
            if entry.kind == EntryKind::Load { self.objects_loaded += 1 } else { self.objects_archived += 1 }
        }
        self.failed.extend(done.refused.iter().cloned());
        self.changed.extend(done.gone.iter().cloned());
    }
}

/// Brings in everything that waits, or only these keys; waits for objects that settle.
///
/// # Errors
/// The bucket cannot be listed, or the journal cannot be written.
pub async fn pass(pipelines: &[Pipeline], only: Option<&[ObjectKey]>, ctx: &Context) -> Result<Summary, Error> {
    settle_claims(pipelines, ctx).await?;
    let mut summary = Summary::default();
    for look in 0.. {
        let discovered = discover(pipelines, only, ctx).await?;
        longshore_warehouse::crash_point("list");
        say(&discovered, look == 0, &mut summary, ctx)?;
        if only.is_none() {
            forget_pauses(&discovered.spool, pipelines, ctx)?;
        }
        // Each look tries again what waited at the one before.
        summary.waiting.clear();
        let mut lanes = Lanes::new(pipelines, ctx);
        lanes.work(&discovered.spool, &mut summary).await?;
        summary.settling = discovered.settling.iter().map(|(key, _)| key.as_str().to_owned()).collect();
        let Some(settled_at) = discovered.settling.iter().map(|(_, at)| *at).max() else {
            break;
        };
        if look == SETTLE_LOOKS {
            break;
        }
        let pause = settled_at.duration_since(Timestamp::now()).max(jiff::SignedDuration::from_millis(10));
        tokio::time::sleep(Duration::try_from(pause).unwrap_or(FIRST_PAUSE).min(LONGEST_PAUSE)).await;
    }
    Ok(summary)
}

/// Lists the bucket for these pipelines.
///
/// # Errors
/// The bucket cannot be listed.
pub async fn discover(pipelines: &[Pipeline], only: Option<&[ObjectKey]>, ctx: &Context) -> Result<Discovered, Error> {
    let mut names: HashMap<String, usize> = HashMap::new();
    let lanes: Vec<usize> = pipelines
        .iter()
        .map(|pipeline| {
            let next = names.len();
            *names.entry(pipeline.table.to_string().to_lowercase()).or_insert(next)
        })
        .collect();
    discover::discover(ctx.bucket.as_ref(), &ctx.prefixes.pending, pipelines, &lanes, only).await
}

/// Says what was found besides objects of one pipeline.
fn say(found: &Discovered, first_look: bool, summary: &mut Summary, ctx: &Context) -> Result<(), Error> {
    let now = Timestamp::now();
    if first_look {
        for (key, names) in &found.ambiguous {
            tracing::error!(
                object.key = key.as_str(),
                "`{key}` belongs to the pipelines {}: it stays where it is\nhint: narrow `match` of one of them",
                names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
            );
        }
        for left_out in &found.left_out {
            if ctx.journal.notice("left-out", &left_out.name, now)? {
                tracing::warn!("`{}` is left where it is: {}", left_out.name, left_out.why);
            }
        }
        for key in &found.unmatched.first {
            if ctx.journal.notice("unmatched", key, now)? {
                tracing::warn!(object.key = key, "`{key}` matches no pipeline: it stays where it is");
            }
        }
    }
    summary.ambiguous = found.ambiguous.iter().map(|(key, _)| key.as_str().to_owned()).collect();
    summary.unmatched = found.unmatched.count;
    Ok(())
}

/// A pipeline of which nothing is left to load waits no more.
fn forget_pauses(spool: &Spool, pipelines: &[Pipeline], ctx: &Context) -> Result<(), Error> {
    let lanes = spool.lanes()?;
    let has_objects = |name: &str| lanes.iter().any(|(_, pipeline)| pipelines[*pipeline].name == name);
    for pause in ctx.journal.pauses()? {
        if !has_objects(&pause.pipeline) {
            ctx.journal.resume(&pause.pipeline)?;
        }
    }
    Ok(())
}

/// Settles what a crash left between two places: an object that is in the ledger goes on to its
/// archive key, any other goes back.
pub(super) async fn settle_claims(pipelines: &[Pipeline], ctx: &Context) -> Result<(), Error> {
    for claim in ctx.bucket.claims().await? {
        let mut entry = None;
        for pipeline in pipelines {
            let candidate = Candidate {
                identity: claim.identity,
                pipeline: pipeline.name.clone(),
                key: claim.key.as_str().to_owned(),
            };
            // A table that is not there has no entries.
            if let Ok(known) = ctx.warehouse.lookup(&pipeline.table, &[candidate]).await {
                entry = known
                    .entries
                    .into_iter()
                    .filter(|entry| entry.kind != EntryKind::Failed)
                    .max_by_key(|entry| entry.generation);
            }
            if entry.is_some() {
                break;
            }
        }
        let moved = match &entry {
            Some(entry) => {
                let to = entry.archive_key.clone().unwrap_or_else(|| {
                    archive::dated(&ctx.prefixes.processed, &ctx.prefixes, &entry.key, entry.loaded_at, entry.identity)
                });
                let otherwise = ObjectKey::new(archive::with_identity(&to, claim.identity));
                ctx.bucket.finish_claim(&claim, &ObjectKey::new(to), &otherwise).await?
            }
            None => ctx.bucket.unclaim(&claim).await?,
        };
        match (moved, entry) {
            (Moved::To(key), Some(entry)) => {
                if claim.key.as_str().starts_with(&ctx.prefixes.failed) {
                    quarantine::remove_report(&claim.key, ctx).await?;
                }
                ctx.journal.record_archived(
                    &[(entry.identity, entry.generation, key.as_str().to_owned())],
                    Timestamp::now(),
                )?;
                tracing::info!(object.key = claim.key.as_str(), "finished the archiving of `{}`", claim.key);
            }
            (Moved::Changed, _) => tracing::warn!(
                object.key = claim.key.as_str(),
                "`{}` has a new object in its place: the old one stays claimed until the new one is gone",
                claim.key
            ),
            _ => {}
        }
    }
    Ok(())
}

/// What the ledger knows of these objects.
///
/// # Errors
/// The warehouse cannot be asked.
pub async fn look_up(objects: &[Planned], job: Job<'_>, ctx: &Context) -> Result<Known, Error> {
    let candidates: Vec<Candidate> = objects
        .iter()
        .map(|planned| Candidate {
            identity: planned.landed.identity,
            pipeline: job.pipeline.name.clone(),
            key: planned.landed.key().to_owned(),
        })
        .collect();
    Ok(ctx.warehouse.lookup(&job.pipeline.table, &candidates).await?)
}

/// The tables of a pass, each with the pipelines that load it.
pub struct Lanes<'a> {
    pipelines: &'a [Pipeline],
    targets: HashMap<usize, Option<Target>>,
    ctx: &'a Context,
}

/// Whether a lane goes on after a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It goes on.
    GoOn,
    /// This pipeline waits.
    Wait,
}

impl<'a> Lanes<'a> {
    /// Lanes for these pipelines.
    pub fn new(pipelines: &'a [Pipeline], ctx: &'a Context) -> Self {
        Self { pipelines, targets: HashMap::new(), ctx }
    }

    /// Works through everything that was found.
    async fn work(&mut self, spool: &Spool, summary: &mut Summary) -> Result<(), Error> {
        let (objects, bytes) = spool.size()?;
        self.ctx.progress.start(objects, bytes);
        let mut tables: HashMap<QualifiedName, usize> = HashMap::new();
        for (lane, pipeline) in spool.lanes()? {
            // Two names of one table are one lane.
            if let Some(target) = self.target(pipeline, spool, lane, summary).await? {
                let first = *tables.entry(target.table.name.clone()).or_insert(lane);
                if first != lane {
                    spool.merge(lane, first)?;
                }
            }
        }
        let mut lanes: Vec<usize> = spool.lanes()?.into_iter().map(|(lane, _)| lane).collect();
        lanes.dedup();
        for lane in lanes {
            self.lane(lane, spool, summary).await?;
        }
        self.ctx.progress.finish();
        Ok(())
    }

    /// Works through one table, in order.
    async fn lane(&mut self, lane: usize, spool: &Spool, summary: &mut Summary) -> Result<(), Error> {
        let mut after = None;
        let mut waiting: Vec<usize> = Vec::new();
        loop {
            let stretch = spool.next(lane, after.as_ref(), STRETCH)?;
            let Some((_, last)) = stretch.last() else {
                return Ok(());
            };
            after = Some(last.position());
            for (pipeline, objects) in runs(stretch, self.pipelines) {
                // Where order matters, what is held back holds back all that comes after it.
                let is_ordered = self.pipelines[pipeline].mode.is_ordered();
                if waiting.contains(&pipeline) || (is_ordered && !waiting.is_empty()) {
                    continue;
                }
                let Some(target) = self.target(pipeline, spool, lane, summary).await? else {
                    waiting.push(pipeline);
                    continue;
                };
                let job = Job { pipeline: &self.pipelines[pipeline], target: &target };
                if self.objects(job, objects, summary).await? == Next::Wait {
                    waiting.push(pipeline);
                }
            }
        }
    }

    /// The target of a pipeline; `None` if it cannot be had: then the pipeline waits.
    async fn target(
        &mut self,
        at: usize,
        spool: &Spool,
        lane: usize,
        summary: &mut Summary,
    ) -> Result<Option<Target>, Error> {
        if let Some(target) = self.targets.get(&at) {
            return Ok(target.clone());
        }
        let pipeline = &self.pipelines[at];
        let target = match self.ctx.warehouse.describe(&pipeline.table).await {
            Ok(table) => Target::fit(pipeline, table),
            Err(error) => {
                let is_missing = *error.kind() == longshore_warehouse::Kind::Missing;
                let mut error = Error::from(error);
                if is_missing
                    && let Some((_, oldest)) = spool.next(lane, None, STRETCH)?.into_iter().find(|(p, _)| *p == at)
                {
                    let proposal = propose::for_object(&oldest.at, pipeline, self.ctx).await;
                    error = propose::into_cure(error, proposal, self.ctx);
                }
                Err(error)
            }
        };
        let target = match target {
            Ok(target) => Some(target),
            Err(error) => {
                self.wait(pipeline, None, error, summary)?;
                None
            }
        };
        self.targets.insert(at, target.clone());
        Ok(target)
    }

    /// Judges objects of one pipeline and does what the verdicts say.
    pub(super) async fn objects(
        &self,
        job: Job<'_>,
        objects: Vec<Landed>,
        summary: &mut Summary,
    ) -> Result<Next, Error> {
        let objects = objects
            .into_iter()
            .map(|landed| Planned { landed: Arc::new(landed), late: false, superseded: false })
            .collect();
        match self.bring_in(job, objects, summary).await {
            Ok(mut stuck) => {
                if !stuck.is_empty() {
                    let first = stuck.swap_remove(0).and_more(stuck.len());
                    self.wait(job.pipeline, Some(&job), first, summary)?;
                } else if !summary.waiting.iter().any(|waiting| waiting.pipeline == job.pipeline.name)
                    && self.ctx.journal.resume(&job.pipeline.name)?
                {
                    tracing::info!("pipeline `{}` goes on", job.pipeline.name);
                }
                Ok(Next::GoOn)
            }
            Err(error) => {
                self.wait(job.pipeline, Some(&job), error, summary)?;
                Ok(Next::Wait)
            }
        }
    }

    /// Brings in objects of one pipeline; what has to be planned again is. Returns the faults that
    /// hold back no other object.
    async fn bring_in(&self, job: Job<'_>, objects: Vec<Planned>, summary: &mut Summary) -> Result<Vec<Error>, Error> {
        let mut stuck = Vec::new();
        let mut queue: VecDeque<(Vec<Planned>, bool)> = VecDeque::from([(objects, false)]);
        // Each round brings at least one object to its end, unless another process is at the same
        // objects; then a few rounds are enough to see what it did.
        let mut rounds = 4 * queue[0].0.len() + 8;
        while let Some((objects, alone)) = queue.pop_front() {
            if objects.is_empty() {
                continue;
            }
            let known = with_retries(|| look_up(&objects, job, self.ctx)).await?;
            let plans = self.carry_out(job, objects, &known, alone, &mut stuck, summary).await?;
            let mut plans = VecDeque::from(plans);
            while let Some(plan) = plans.pop_front() {
                rounds = rounds.checked_sub(1).ok_or_else(|| {
                    Error::environment(format!(
                        "another process keeps loading the objects of pipeline `{}`",
                        job.pipeline.name
                    ))
                    .cure("let one longshore work on this bucket, or wait for the next pass")
                })?;
                let mut done = with_retries(|| super::run(plan.clone(), job, self.ctx)).await?;
                summary.add(&done);
                stuck.append(&mut done.stuck);
                if !done.alone.is_empty() || !done.again.is_empty() {
                    let rest = plans.drain(..).flat_map(|plan: LoadPlan| plan.objects);
                    let mut next: Vec<(Vec<Planned>, bool)> =
                        done.alone.into_iter().map(|one| (vec![one], true)).collect();
                    next.push((done.again.into_iter().chain(rest).collect(), alone));
                    for objects in next.into_iter().rev() {
                        queue.push_front(objects);
                    }
                }
            }
        }
        Ok(stuck)
    }

    /// Does what needs no load, and returns the loads.
    async fn carry_out(
        &self,
        job: Job<'_>,
        objects: Vec<Planned>,
        known: &Known,
        alone: bool,
        stuck: &mut Vec<Error>,
        summary: &mut Summary,
    ) -> Result<Vec<LoadPlan>, Error> {
        let landed: Vec<Arc<Landed>> = objects.iter().map(|planned| Arc::clone(&planned.landed)).collect();
        let rules = Rules { pipeline: job.pipeline, keep: self.ctx.keep };
        let (mut to_archive, mut entries, mut to_load) = (Vec::new(), Vec::new(), Vec::new());
        for (landed, verdict) in landed.iter().zip(plan::judge(&landed, known, rules)) {
            let planned = |late, superseded| Planned { landed: Arc::clone(landed), late, superseded };
            match verdict {
                Verdict::Load { late } => to_load.push(planned(late, false)),
                Verdict::Supersede => to_load.push(planned(false, true)),
                Verdict::Done(_) => {}
                Verdict::Archive(entry) => {
                    to_archive.push(Arc::clone(landed));
                    entries.push(*entry);
                }
                Verdict::LateFails(latest) => {
                    let refusal = load::late(landed, &latest, job);
                    summary.failed.push(landed.key().to_owned());
                    super::refuse(refusal, job, self.ctx).await?;
                }
            }
        }
        if !to_archive.is_empty() {
            let unmoved = with_retries(|| super::finish(&to_archive, &entries, self.ctx)).await?;
            summary.objects_archived += (to_archive.len() - unmoved.len()) as u64;
            stuck.extend(unmoved);
        }
        Ok(if alone {
            let single = |planned| LoadPlan { objects: vec![planned] };
            to_load.into_iter().map(single).collect()
        } else {
            plan::group(to_load, job.pipeline)
        })
    }

    /// Lets a pipeline wait, and says why.
    pub(super) fn wait(
        &self,
        pipeline: &Pipeline,
        job: Option<&Job<'_>>,
        error: Error,
        summary: &mut Summary,
    ) -> Result<(), Error> {
        let now = Timestamp::now();
        let text = error.chain();
        if error.fault == Fault::Environment {
            self.ctx.journal.pause(&pipeline.name, &text, error.hint(), now)?;
        }
        self.ctx.journal.record_load(&LoadRow {
            load_id: LoadId::draw().to_string(),
            pipeline: pipeline.name.clone(),
            table: job.map_or_else(|| pipeline.table.to_string(), |job| job.target.table.name.to_string()),
            mode: pipeline.mode.as_str().to_owned(),
            started_at: now,
            finished_at: now,
            outcome: Outcome::Waiting,
            objects: 0,
            bytes: 0,
            rows: Totals::default(),
            error: Some(text.clone()),
            cure: error.hint().map(str::to_owned),
        })?;
        let hint = error.hint().map_or_else(String::new, |cure| format!("\nhint: {cure}"));
        tracing::error!("pipeline `{}` waits: {text}{hint}", pipeline.name);
        summary.waiting.push(Waiting {
            pipeline: pipeline.name.clone(),
            error: text,
            cure: error.hint().map(str::to_owned),
        });
        Ok(())
    }
}

/// Runs of objects of one pipeline, in order. Where no pipeline of the table minds the order, each
/// has one run.
fn runs(stretch: Vec<(usize, Landed)>, pipelines: &[Pipeline]) -> Vec<(usize, Vec<Landed>)> {
    let mut stretch = stretch;
    if stretch.iter().all(|(at, _)| matches!(pipelines[*at].mode, longshore_warehouse::Mode::Append)) {
        stretch.sort_by_key(|(at, _)| *at);
    }
    let mut runs: Vec<(usize, Vec<Landed>)> = Vec::new();
    for (at, landed) in stretch {
        match runs.last_mut() {
            Some((pipeline, objects)) if *pipeline == at => objects.push(landed),
            _ => runs.push((at, vec![landed])),
        }
    }
    runs
}

/// Tries again what meets a transient fault.
async fn with_retries<T, F: Future<Output = Result<T, Error>>>(mut attempt: impl FnMut() -> F) -> Result<T, Error> {
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(TRIES - 1)
        .with_jitter()
        .build();
    loop {
        match attempt().await {
            Err(error) if error.fault == Fault::Transient => match pauses.next() {
                Some(pause) => {
                    tracing::warn!("{}; trying again in {} ms", error.chain(), pause.as_millis());
                    tokio::time::sleep(pause).await;
                }
                None => return Err(error),
            },
            outcome => return outcome,
        }
    }
}
