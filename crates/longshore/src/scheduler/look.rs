//! One look at the bucket: what landed becomes tasks.
//!
//! A look asks the bucket and the queue, and leaves the warehouse alone: what it queues is a hint,
//! and the worker that takes a task looks at the ledger first. Only where objects stay in the
//! bucket for good does it ask the ledger too, or every look would queue all of them.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use longshore_queue::{NewTask, PauseKind, State, Task, TaskId};
use longshore_warehouse::{Candidate, Position};

use crate::bucket::ObjectKey;
use crate::config::Pipeline;
use crate::pipeline::discover::{self, Discovered, Spool};
use crate::pipeline::plan::{Rules, Verdict, judge};
use crate::pipeline::{Error, Landed, Place, retry, work};
use crate::project::Project;

/// Objects that are read from the spool at once.
const STRETCH: usize = 1_000;
/// Tasks that are queued at once.
const BATCH: usize = 50;
/// Objects of one table that are in the queue at most, the oldest first: later looks go on.
const AT_MOST: usize = 50_000;
/// Loads of small objects that one task holds at most, where the objects of one are read while those of the
/// one before are loaded.
const LOADS: usize = 8;
/// Objects that one task of `replace` holds at most; all but the newest are superseded by it.
const REPLACE_AT_MOST: usize = 10_000;
/// States of tasks that nobody works on yet.
const WAITING: [State; 3] = [State::Available, State::Scheduled, State::Retryable];
/// Tasks of paused pipelines, and cancelled and discarded ones, whose objects are looked for.
const LOOKED_AFTER: usize = 1_000;

/// What to look at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// Only these keys.
    pub only: Option<&'a [ObjectKey]>,
    /// These keys just arrived, and are whole: they do not settle.
    pub arrived: Option<&'a [ObjectKey]>,
    /// Only pipelines of these names.
    pub pipelines: Option<&'a [String]>,
    /// Whether a person waits for the outcome: then what cannot be loaded is said each time.
    pub is_asked: bool,
    /// Priority of the tasks.
    pub priority: i16,
}

/// What a look found and did.
#[derive(Debug, Default)]
pub struct Looked {
    /// Tasks that were queued.
    pub tasks: Vec<TaskId>,
    /// Objects in them.
    pub objects: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Whether there is more than one look queues.
    pub more: bool,
    /// Objects that are still being written, with the time at which they may be whole.
    pub settling: Vec<(ObjectKey, Timestamp)>,
    /// Objects of two or more pipelines.
    pub ambiguous: Vec<String>,
    /// Number of objects of no pipeline.
    pub unmatched: u64,
}

/// Looks at the bucket and queues what is not queued yet.
///
/// # Errors
/// The bucket cannot be listed, or the queue or the journal cannot be written.
pub async fn look(project: &Project, scope: Scope<'_>) -> Result<Looked, Error> {
    let pipelines = &project.config.pipelines;
    let found = match scope.arrived {
        Some(keys) => discover::arrived(pipelines, keys, &project.ctx).await?,
        None => discover::discover(pipelines, scope.only, &project.ctx).await?,
    };
    longshore_warehouse::crash_point("list");
    let mut looked = Looked::default();
    say(&found, scope, project)?;
    let Discovered { spool, unmatched, ambiguous, settling, .. } = found;
    looked.settling = settling;
    looked.ambiguous = ambiguous.iter().map(|(key, _)| key.as_str().to_owned()).collect();
    looked.unmatched = unmatched.count;
    if scope.only.is_none() && scope.arrived.is_none() {
        find_claims(&spool, project).await?;
        tidy(&spool, scope, project).await?;
    }
    let mut lanes: HashMap<usize, Vec<usize>> = HashMap::new();
    for (lane, pipeline) in spool.lanes()? {
        lanes.entry(lane).or_default().push(pipeline);
    }
    let mut order: Vec<usize> = lanes.keys().copied().collect();
    order.sort_unstable();
    // An object that cannot be moved comes back to its place, and so arrives again and again: it is
    // left to the schedule.
    let stuck: Vec<String> = match scope.arrived {
        Some(_) => {
            let pauses = project.queue.pauses().await?.into_iter();
            pauses.filter(|pause| pause.kind == PauseKind::Objects).map(|pause| pause.pipeline).collect()
        }
        None => Vec::new(),
    };
    for lane in order {
        let is_stuck = lanes[&lane].iter().any(|at| stuck.contains(&pipelines[*at].name));
        if !is_stuck {
            Lane::new(lane, &spool, scope, project).queue(&mut looked).await?;
        }
    }
    if scope.arrived.is_none() {
        project.queue.probe().await?;
    }
    Ok(looked)
}

/// Takes tasks out of the queue that were made by other rules than those of the configuration now:
/// the next look makes them anew.
///
/// # Errors
/// The queue cannot be used.
pub async fn forget_other_rules(project: &Project) -> Result<(), Error> {
    let is_current = |task: &Task| {
        let mut of_name = project.config.pipelines.iter().filter(|pipeline| pipeline.name == task.pipeline);
        of_name.any(|pipeline| discover::table_of(pipeline) == task.table && pipeline.mode.is_ordered() == task.ordered)
    };
    let tasks = project.queue.tasks(&WAITING, usize::MAX).await?;
    let old: Vec<TaskId> = tasks.iter().filter(|task| !is_current(task)).map(|task| task.id).collect();
    if !old.is_empty() {
        project.queue.enqueue(Vec::new(), &old).await?;
    }
    Ok(())
}

/// Says what was found besides objects of one pipeline.
fn say(found: &Discovered, scope: Scope<'_>, project: &Project) -> Result<(), Error> {
    let (now, journal) = (Timestamp::now(), &project.ctx.journal);
    for (key, names) in &found.ambiguous {
        if journal.notice("ambiguous", key.as_str(), now)? || scope.is_asked {
            tracing::error!(
                object.key = key.as_str(),
                "`{key}` belongs to the pipelines {}: it stays where it is\nhint: narrow `match` of one of them",
                names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
            );
        }
    }
    for left_out in &found.left_out {
        if journal.notice("left-out", &left_out.name, now)? {
            tracing::warn!("`{}` is left where it is: {}", left_out.name, left_out.why);
        }
    }
    for key in &found.unmatched.first {
        if journal.notice("unmatched", key, now)? {
            tracing::warn!(object.key = key, "`{key}` matches no pipeline: it stays where it is");
        }
    }
    Ok(())
}

/// Adds objects that a crash left between two places, and that no task has: whoever gets one in a
/// task settles it first. One of no pipeline goes back at once.
async fn find_claims(spool: &Spool, project: &Project) -> Result<(), Error> {
    let (ctx, pipelines) = (&project.ctx, &project.config.pipelines);
    for claim in ctx.bucket.claims().await? {
        let found = match claim.key.as_str().strip_prefix(ctx.prefixes.pending.as_str()) {
            Some(relative) => match discover::matching(pipelines, relative)[..] {
                [at] => Some((at, Landed::pending(claim.object.clone(), claim.identity))),
                _ => None,
            },
            None => retry::by_report(&claim.object, pipelines, ctx).await?,
        };
        match found {
            Some((at, landed)) => spool.add_landed(discover::lanes(pipelines)[at], at, &landed)?,
            None => work::put_back(&claim, ctx).await?,
        }
    }
    Ok(())
}

/// Ends pauses of pipelines of which nothing is left, and forgets tasks that were set aside and whose
/// objects are gone.
async fn tidy(spool: &Spool, scope: Scope<'_>, project: &Project) -> Result<(), Error> {
    let (queue, pipelines) = (&project.queue, &project.config.pipelines);
    let lanes = spool.lanes()?;
    for pause in queue.pauses().await? {
        // Of a pipeline that is paused nobody takes the tasks and sees that there is nothing to do.
        let mut is_there = lanes.iter().any(|(_, at)| pipelines[*at].name == pause.pipeline);
        let mut empty = Vec::new();
        let waiting = queue.tasks(&WAITING, LOOKED_AFTER).await?;
        for task in waiting.iter().filter(|task| task.pipeline == pause.pipeline) {
            match holds(spool, task, project).await? {
                true => is_there = true,
                false => empty.push(task.id),
            }
        }
        if !empty.is_empty() {
            queue.enqueue(Vec::new(), &empty).await?;
        }
        let is_meant = scope.pipelines.is_none_or(|names| names.contains(&pause.pipeline));
        if !is_there {
            queue.resume(&pause.pipeline, &[PauseKind::Fault, PauseKind::Objects]).await?;
        } else if is_meant {
            // Objects that could not be read or moved are tried once more.
            queue.resume(&pause.pipeline, &[PauseKind::Objects]).await?;
        }
    }
    let mut gone = Vec::new();
    for task in queue.tasks(&[State::Cancelled, State::Discarded], LOOKED_AFTER).await? {
        if !holds(spool, &task, project).await? {
            gone.push(task.id);
        }
    }
    if !gone.is_empty() {
        queue.forget(&gone).await?;
    }
    Ok(())
}

/// Whether any object of a task is still where it was.
async fn holds(spool: &Spool, task: &Task, project: &Project) -> Result<bool, Error> {
    let pipelines = &project.config.pipelines;
    let Some(at) = pipelines.iter().position(|pipeline| pipeline.name == task.pipeline) else { return Ok(false) };
    let lane = discover::lanes(pipelines)[at];
    for landed in project.queue.objects(task.id).await?.iter().filter_map(Landed::from_task) {
        let is_there = match landed.place {
            Place::Pending => spool.holds(lane, &landed)?,
            Place::Failed | Place::Processed => project.ctx.bucket.head(&landed.at.key).await?.is_some(),
        };
        if is_there {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The objects of one table, on their way into the queue.
struct Lane<'a> {
    lane: usize,
    spool: &'a Spool,
    scope: Scope<'a>,
    project: &'a Project,
    table: String,
    /// Whether the order of all its objects matters, whatever their pipelines.
    is_ordered: bool,
    /// Objects that are to share a task, with their bytes, by pipeline.
    groups: HashMap<usize, (Vec<Landed>, u64)>,
    tasks: Vec<NewTask>,
    withdraw: Vec<TaskId>,
}

impl<'a> Lane<'a> {
    fn new(lane: usize, spool: &'a Spool, scope: Scope<'a>, project: &'a Project) -> Self {
        let pipelines = &project.config.pipelines;
        let lanes = discover::lanes(pipelines);
        let mut of_lane = pipelines.iter().zip(&lanes).filter(|(_, of)| **of == lane).map(|(pipeline, _)| pipeline);
        let is_ordered = of_lane.clone().any(|pipeline| pipeline.mode.is_ordered());
        let table = of_lane.next().map(discover::table_of).unwrap_or_default();
        Self {
            lane,
            spool,
            scope,
            project,
            table,
            is_ordered,
            groups: HashMap::new(),
            tasks: Vec::new(),
            withdraw: Vec::new(),
        }
    }

    async fn queue(mut self, looked: &mut Looked) -> Result<(), Error> {
        // Only a look at everything may undo what others queued: it finds all of it again.
        let is_whole = self.scope.only.is_none();
        let withdrawn = if self.is_ordered && is_whole { self.overlapping().await? } else { HashSet::new() };
        let (mut after, mut count, mut more) = (None, 0, false);
        let at_most = at_most();
        loop {
            let stretch = self.spool.next(self.lane, after.as_ref(), STRETCH.min(at_most))?;
            let Some((_, last)) = stretch.last() else { break };
            after = Some(last.position());
            let (fresh, open) = self.fresh(stretch, &withdrawn).await?;
            count += open;
            for (at, landed) in fresh {
                if count >= at_most {
                    more = true;
                    break;
                }
                count += 1;
                self.add(at, landed);
            }
            if self.tasks.len() >= BATCH {
                self.flush(looked).await?;
            }
            if count >= at_most {
                // What comes after may all be queued, too: the next look finds out.
                more = more || !self.spool.next(self.lane, after.as_ref(), 1)?.is_empty();
                break;
            }
        }
        looked.more = looked.more || more;
        let mut open: Vec<usize> = self.groups.keys().copied().collect();
        open.sort_unstable();
        for at in open {
            self.close(at);
        }
        self.flush(looked).await
    }

    /// Objects that are to be queued: of a pipeline that is meant, in no task, and not done for good; and
    /// how many others are in tasks. Where order matters the pipelines of a table are meant together.
    async fn fresh(
        &self,
        stretch: Vec<(usize, Landed)>,
        withdrawn: &HashSet<String>,
    ) -> Result<(Vec<(usize, Landed)>, usize), Error> {
        let identities: Vec<String> = stretch.iter().map(|(_, landed)| landed.identity.to_string()).collect();
        let are_open = self.project.queue.are_open(&self.table, &identities).await?;
        let mut fresh = Vec::with_capacity(stretch.len());
        let mut open = 0;
        for (((at, landed), identity), is_open) in stretch.into_iter().zip(identities).zip(are_open) {
            let name = &self.project.config.pipelines[at].name;
            let is_meant = self.is_ordered || self.scope.pipelines.is_none_or(|names| names.contains(name));
            if is_open && !withdrawn.contains(&identity) {
                open += 1;
            } else if is_meant {
                fresh.push((at, landed));
            }
        }
        let fresh = if self.project.ctx.keep { self.without_done(fresh).await? } else { fresh };
        Ok((fresh, open))
    }

    /// Leaves out objects that stay in the bucket and are in the ledger.
    async fn without_done(&self, objects: Vec<(usize, Landed)>) -> Result<Vec<(usize, Landed)>, Error> {
        let mut rest = Vec::new();
        let mut by_pipeline: HashMap<usize, Vec<std::sync::Arc<Landed>>> = HashMap::new();
        for (at, landed) in objects {
            by_pipeline.entry(at).or_default().push(std::sync::Arc::new(landed));
        }
        for (at, objects) in by_pipeline {
            let pipeline: &Pipeline = &self.project.config.pipelines[at];
            let candidates: Vec<Candidate> = objects
                .iter()
                .map(|landed| Candidate {
                    identity: landed.identity,
                    pipeline: pipeline.name.clone(),
                    key: landed.key().to_owned(),
                })
                .collect();
            // What cannot be asked now is queued: the worker asks again, and says why it cannot.
            let known = self.project.ctx.warehouse.lookup(&pipeline.table, &candidates).await.unwrap_or_default();
            let verdicts = judge(&objects, &known, Rules { pipeline, keep: true });
            rest.extend(objects.into_iter().zip(verdicts).filter_map(|(landed, verdict)| {
                (!matches!(verdict, Verdict::Done(_))).then(|| (at, std::sync::Arc::unwrap_or_clone(landed)))
            }));
        }
        rest.sort_by_key(|(_, landed)| landed.position());
        Ok(rest)
    }

    /// Where order matters, what landed may belong between objects that wait in the queue: tasks that
    /// have not begun and reach beyond the oldest new object are made anew with it. Returns the
    /// identities in them.
    async fn overlapping(&mut self) -> Result<HashSet<String>, Error> {
        let waiting: Vec<Task> = self.project.queue.waiting(&self.table).await?;
        if waiting.is_empty() {
            return Ok(HashSet::new());
        }
        let Some(oldest) = self.oldest_fresh().await? else { return Ok(HashSet::new()) };
        let mut withdrawn = HashSet::new();
        // A task over which a worker died is left as it is: it counts how often.
        for task in waiting.iter().filter(|task| task.priority == 0 && task.deaths == 0) {
            let last = &task.last;
            if (last.modified_at, last.key.as_str()) > (oldest.modified_at, oldest.key.as_str()) {
                self.withdraw.push(task.id);
                let objects = self.project.queue.objects(task.id).await?;
                withdrawn.extend(objects.into_iter().map(|object| object.identity));
            }
        }
        Ok(withdrawn)
    }

    async fn oldest_fresh(&self) -> Result<Option<Position>, Error> {
        let mut after = None;
        loop {
            let stretch = self.spool.next(self.lane, after.as_ref(), STRETCH)?;
            let Some((_, last)) = stretch.last() else { return Ok(None) };
            after = Some(last.position());
            if let Some((_, first)) = self.fresh(stretch, &HashSet::new()).await?.0.first() {
                return Ok(Some(first.position()));
            }
        }
    }

    /// Puts an object into its group; a group that is full becomes a task.
    fn add(&mut self, at: usize, landed: Landed) {
        if self.is_ordered {
            // The order goes across pipelines.
            for other in self.groups.keys().copied().filter(|other| *other != at).collect::<Vec<_>>() {
                self.close(other);
            }
        }
        let pipeline = &self.project.config.pipelines[at];
        let (group, bytes) = self.groups.entry(at).or_default();
        let is_full = match pipeline.mode {
            longshore_warehouse::Mode::Replace => group.len() >= REPLACE_AT_MOST,
            _ => {
                // Whoever wants objects by themselves gets them so; and where a load takes objects while they are
                // read, nothing is read ahead of it.
                let is_single = pipeline.group.objects == 1 || self.project.ctx.warehouse.fences_late();
                let loads = if is_single { 1 } else { LOADS };
                let most = pipeline.group.bytes.saturating_mul(loads as u64);
                group.len() >= pipeline.group.objects.saturating_mul(loads) || *bytes + landed.object.size > most
            }
        };
        if is_full && !group.is_empty() {
            self.close(at);
        }
        let (group, bytes) = self.groups.entry(at).or_default();
        *bytes += landed.object.size;
        group.push(landed);
    }

    fn close(&mut self, at: usize) {
        let Some((objects, _)) = self.groups.remove(&at).filter(|(objects, _)| !objects.is_empty()) else { return };
        self.tasks.push(task_of(&self.project.config.pipelines[at], &objects, self.scope.priority));
    }

    async fn flush(&mut self, looked: &mut Looked) -> Result<(), Error> {
        let tasks = std::mem::take(&mut self.tasks);
        if tasks.is_empty() {
            return Ok(());
        }
        looked.bytes += tasks.iter().flat_map(|task| &task.objects).map(|object| object.bytes).sum::<u64>();
        let enqueued = self.project.queue.enqueue(tasks, &std::mem::take(&mut self.withdraw)).await?;
        looked.objects += enqueued.objects;
        looked.tasks.extend(enqueued.tasks);
        Ok(())
    }
}

/// [`AT_MOST`], or in a debug build what a test says.
fn at_most() -> usize {
    let said = if cfg!(debug_assertions) { std::env::var("LONGSHORE_QUEUE_AT_MOST").ok() } else { None };
    said.and_then(|text| text.parse().ok()).unwrap_or(AT_MOST)
}

/// A task for objects of one pipeline, given in their order.
pub fn task_of(pipeline: &Pipeline, objects: &[Landed], priority: i16) -> NewTask {
    NewTask {
        table: discover::table_of(pipeline),
        pipeline: pipeline.name.clone(),
        ordered: pipeline.mode.is_ordered(),
        priority,
        delay: None,
        objects: objects.iter().map(Landed::to_task).collect(),
    }
}
