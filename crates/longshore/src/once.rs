//! Work that a person or a script waits for: look at the bucket, bring in what is there, end.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use longshore_queue::{NewTask, Queue, QueueError, State, Task, TaskId, TaskObject, Which};

use crate::bucket::ObjectKey;
use crate::config::{Engine, Pipeline};
use crate::journal::{ObjectRow, State as ObjectState};
use crate::pipeline::summary::Summary;
use crate::pipeline::{Error, Landed, discover};
use crate::project::Project;
use crate::scheduler::{Looked, Scope, look, sweep_warehouse, task_of};
use crate::stop::Urgency;
use crate::worker::{Pool, Until};

/// Priority of work that somebody waits for.
const URGENT: i16 = 10;
/// How often objects that settle are looked at again before they are left to the next pass.
const SETTLE_LOOKS: usize = 10;
/// The longest pause between two looks at them.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// States of tasks that have work in them.
const WITH_WORK: [State; 4] = [State::Available, State::Scheduled, State::Retryable, State::Running];
/// How often tasks that another process works on are asked for.
const POLL: Duration = Duration::from_millis(200);
/// How long another process is left to take up what was queued, before it is done here.
const PATIENCE: Duration = Duration::from_secs(3);

/// Brings in everything that waits, or only these keys; waits for objects that settle.
///
/// # Errors
/// The bucket cannot be listed, or the queue or the journal cannot be used.
pub(crate) async fn once(pool: &Pool, only: Option<&[ObjectKey]>) -> Result<Summary, Error> {
    let project = &pool.project;
    let mut summary = Summary::default();
    look_at_those_before(project, only.unwrap_or_default()).await?;
    for glance in 0.. {
        let priority = if only.is_some() { URGENT } else { 0 };
        let is_asked = glance == 0;
        // A look may take long, and may be dropped: what it queued is queued.
        let looked = tokio::select! {
            looked = look(project, Scope { only, is_asked, priority, ..Scope::default() }) => looked?,
            () = pool.stop.at_least(Urgency::Gentle) => {
                summary.unfinished.extend(only.unwrap_or_default().iter().map(|key| key.as_str().to_owned()));
                break;
            }
        };
        project.ctx.progress.expect(looked.objects, looked.bytes);
        // Each glance tries again what waited at the one before.
        summary.waiting.clear();
        let Looked { settling, ambiguous, unmatched, more, .. } = looked;
        let done = match only {
            Some(keys) => {
                let keys: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
                set_apart(&*project.queue, &keys, up_to_the_last).await?;
                let wanted = project.queue.having(&keys).await?;
                let ids = with_those_before(pool, &wanted).await?;
                let elsewhere = elsewhere(pool, &ids).await?;
                let mut done = pool.run(Until::These(&ids)).await?;
                let objects = elsewhere.then(|| look_up(pool, &keys)).transpose()?.unwrap_or_default();
                tell(&objects, &mut done);
                unfinished(pool, &ids, &mut done).await?;
                done
            }
            None => pool.run(Until::QueuedBy(project.queue.now().await?)).await?,
        };
        summary.merge(done);
        summary.ambiguous = ambiguous;
        summary.unmatched = unmatched;
        summary.settling = settling.iter().map(|(key, _)| key.as_str().to_owned()).collect();
        if pool.stop.urgency() > Urgency::None {
            if only.is_none() {
                summary.unfinished.clear();
                for task in project.queue.tasks(&WITH_WORK, usize::MAX).await? {
                    summary.unfinished.extend(keys_of(pool, task.id).await?);
                }
            }
            break;
        }
        let settled_at = settling.iter().map(|(_, at)| *at).max();
        match settled_at {
            _ if more => continue,
            Some(at) if glance < SETTLE_LOOKS => {
                let pause = at.duration_since(Timestamp::now()).max(jiff::SignedDuration::from_millis(10));
                let pause = Duration::try_from(pause).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = pool.stop.at_least(Urgency::Gentle) => break,
                }
            }
            _ => break,
        }
    }
    if summary.objects_loaded > 0 && only.is_none() && !matches!(project.config.warehouse.engine, Engine::DuckDb { .. })
    {
        // Nobody else does it where passes by cron are all there is. What fails now is tried by the next pass.
        if let Err(error) = sweep_warehouse(project).await {
            tracing::debug!("what dead loads left cannot be removed: {}", error.chain());
        }
    }
    Ok(summary)
}

/// Brings in these objects, each of the pipeline at its place in the configuration, and tasks that
/// exist already. Where another process works on the project it is left to that.
///
/// # Errors
/// The queue or the journal cannot be used.
pub(crate) async fn these(pool: &Pool, objects: Vec<(usize, Landed)>, tasks: Vec<TaskId>) -> Result<Summary, Error> {
    let project = &pool.project;
    let mut objects = objects;
    objects.sort_by_key(|(_, landed)| landed.position());
    let total: u64 = objects.iter().map(|(_, landed)| landed.at.size).sum();
    project.ctx.progress.expect(objects.len() as u64, total);
    let new = objects
        .iter()
        .map(|(at, landed)| {
            let pipeline: &Pipeline = &project.config.pipelines[*at];
            task_of(pipeline, std::slice::from_ref(landed), URGENT)
        })
        .collect();
    let began = Timestamp::now();
    let ours = project.queue.enqueue(new, &[]).await?.tasks;
    // An object may be in a task of somebody else: then that is waited for.
    let identities: HashSet<String> = objects.iter().map(|(_, landed)| landed.identity.to_string()).collect();
    let keys: Vec<String> = objects.iter().map(|(_, landed)| landed.key().to_owned()).collect();
    let tasks: HashSet<TaskId> = tasks.into_iter().chain(ours.iter().copied()).collect();
    let (mut wanted, mut wanted_objects) = (Vec::new(), Vec::new());
    let named = tasks.iter().copied().collect::<Vec<_>>();
    let having = project.queue.having(&keys).await?.into_iter().map(|task| task.id);
    for id in having.chain(named).collect::<BTreeSet<_>>() {
        let Some(task) = project.queue.task(id).await?.filter(|task| WITH_WORK.contains(&task.state)) else { continue };
        let of_task = project.queue.objects(id).await?;
        if tasks.contains(&id) || of_task.iter().any(|object| identities.contains(&object.identity)) {
            wanted.push(task);
            wanted_objects.extend(of_task);
        }
    }
    project.queue.probe().await?;
    let ids = with_those_before(pool, &wanted).await?;
    let elsewhere = elsewhere(pool, &ids).await?;
    let mut summary = pool.run(Until::These(&ids)).await?;
    if elsewhere {
        let mut rows = Vec::new();
        for landed in wanted_objects.iter().filter_map(Landed::from_task) {
            let row = project.ctx.journal.object(landed.identity, landed.generation)?;
            // What was known before is not what came of it.
            rows.extend(row.filter(|row| row.updated_at >= began));
        }
        tell(&rows, &mut summary);
    }
    unfinished(pool, &ids, &mut summary).await?;
    // Whoever waited was told that it is not done: it is not done behind their back later.
    project.queue.enqueue(Vec::new(), &ours).await?;
    Ok(summary)
}

/// Where order matters, what comes before an object is brought in before it: so it is queued first.
async fn look_at_those_before(project: &Project, keys: &[ObjectKey]) -> Result<(), Error> {
    let pipelines = &project.config.pipelines;
    let lanes = discover::lanes(pipelines);
    let of_key = |key: &ObjectKey| {
        let relative = key.as_str().strip_prefix(project.ctx.prefixes.pending.as_str()).unwrap_or_default();
        discover::matching(pipelines, relative)
    };
    let is_ordered = |lane| pipelines.iter().zip(&lanes).any(|(one, of)| *of == lane && one.mode.is_ordered());
    let ordered: HashSet<usize> =
        keys.iter().flat_map(of_key).map(|at| lanes[at]).filter(|lane| is_ordered(*lane)).collect();
    let in_order = pipelines.iter().zip(&lanes).filter(|(_, lane)| ordered.contains(lane));
    let names: Vec<String> = in_order.map(|(pipeline, _)| pipeline.name.clone()).collect();
    if !names.is_empty() {
        look(project, Scope { pipelines: Some(&names), ..Scope::default() }).await?;
    }
    Ok(())
}

/// Parts tasks that wait, so that some of their objects can go a way of their own. `part` gets the
/// objects of a task and says of each whether it was named; an empty half parts nothing.
///
/// # Errors
/// The queue cannot be used.
pub(crate) async fn set_apart(queue: &dyn Queue, keys: &[String], part: Parting) -> Result<(), QueueError> {
    for task in queue.having(keys).await?.into_iter().filter(|task| task.state.is_waiting()) {
        let objects = queue.objects(task.id).await?;
        let (meant, others) = part(&task, objects, &|object| keys.contains(&object.position.key));
        if meant.is_empty() || others.is_empty() {
            continue;
        }
        let new = |objects| NewTask {
            table: task.table.clone(),
            pipeline: task.pipeline.clone(),
            ordered: task.ordered,
            priority: task.priority,
            delay: None,
            objects,
        };
        queue.enqueue(vec![new(meant), new(others)], &[task.id]).await?;
    }
    Ok(())
}

/// How a task is parted in two.
type Parting = fn(&Task, Vec<TaskObject>, &dyn Fn(&TaskObject) -> bool) -> (Vec<TaskObject>, Vec<TaskObject>);

/// The named objects, and the rest.
pub(crate) fn by_name(
    _: &Task,
    objects: Vec<TaskObject>,
    is_named: &dyn Fn(&TaskObject) -> bool,
) -> (Vec<TaskObject>, Vec<TaskObject>) {
    objects.into_iter().partition(is_named)
}

/// The named objects with those before them, where order matters, and the rest.
fn up_to_the_last(
    task: &Task,
    mut objects: Vec<TaskObject>,
    is_named: &dyn Fn(&TaskObject) -> bool,
) -> (Vec<TaskObject>, Vec<TaskObject>) {
    if !task.ordered {
        return by_name(task, objects, is_named);
    }
    let cut = objects.iter().rposition(is_named).map_or(0, |last| last + 1);
    let rest = objects.split_off(cut);
    (objects, rest)
}

/// The wanted tasks that have work in them, with those that come before them because order matters.
async fn with_those_before(pool: &Pool, wanted: &[Task]) -> Result<Vec<TaskId>, Error> {
    let tasks = pool.project.queue.tasks(&WITH_WORK, usize::MAX).await?;
    let is_before = |one: &Task, other: &Task| other.ordered && one.table == other.table && one.first < other.first;
    // The probe of a paused pipeline goes before the others of it too.
    let is_probe = |one: &Task, other: &Task| one.probe && one.pipeline == other.pipeline;
    let comes_before = |task: &&Task| {
        wanted.iter().any(|other| is_before(task, other) || is_probe(task, other) || other.id == task.id)
    };
    Ok(tasks.iter().filter(comes_before).map(|task| task.id).collect())
}

/// Notes objects of tasks that are still not done, unless it is known why.
async fn unfinished(pool: &Pool, ids: &[TaskId], summary: &mut Summary) -> Result<(), Error> {
    for id in ids {
        let Some(task) = pool.project.queue.task(*id).await?.filter(|task| task.state != State::Completed) else {
            continue;
        };
        if !summary.waiting.iter().any(|waiting| waiting.pipeline == task.pipeline) {
            summary.unfinished.extend(keys_of(pool, *id).await?);
        }
    }
    Ok(())
}

async fn keys_of(pool: &Pool, task: TaskId) -> Result<Vec<String>, Error> {
    let objects = pool.project.queue.objects(task).await?;
    Ok(objects.into_iter().map(|object| object.position.key).collect())
}

/// What the journal says of the objects that had these keys last.
fn look_up(pool: &Pool, keys: &[String]) -> Result<Vec<ObjectRow>, Error> {
    let mut rows = Vec::new();
    for key in keys {
        rows.extend(pool.project.ctx.journal.objects_of_key(key)?.into_iter().max_by_key(|row| row.updated_at));
    }
    Ok(rows)
}

/// Leaves tasks to another process, if there is one that works on them. Returns whether all of them
/// were brought to their end there.
async fn elsewhere(pool: &Pool, ids: &[TaskId]) -> Result<bool, Error> {
    let queue = &pool.project.queue;
    let is_worker = |worker: &longshore_queue::Worker| {
        worker.id != pool.worker && (worker.name.starts_with("run ") || worker.name.starts_with("worker "))
    };
    let began = tokio::time::Instant::now();
    loop {
        let is_there = queue.workers().await?.iter().any(is_worker);
        let mut is_taken = false;
        let mut is_left = false;
        for id in ids {
            match queue.task(*id).await?.map(|task| task.state) {
                Some(State::Running) => is_taken = true,
                Some(state) if state.is_waiting() => is_left = true,
                _ => {}
            }
        }
        if !is_taken && !is_left {
            return Ok(is_there);
        }
        let is_patient = is_taken || began.elapsed() < PATIENCE;
        if !is_there || !is_patient || pool.stop.urgency() > Urgency::None {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Counts what another process did, by the journal, and says why an object failed.
fn tell(rows: &[ObjectRow], summary: &mut Summary) {
    for row in rows {
        match row.state {
            ObjectState::Loaded | ObjectState::Archived => {
                summary.objects_loaded += 1;
                summary.rows.rows_loaded += row.rows_loaded;
                summary.rows.rows_rejected += row.rows_rejected;
            }
            ObjectState::Failed => {
                let error = row.error.as_deref().unwrap_or("it failed");
                let hint = row.cure.as_ref().map_or_else(String::new, |cure| format!("\nhint: {cure}"));
                tracing::error!(object.key = row.key, "`{}` was not loaded: {error}{hint}", row.key);
                summary.failed.push(row.key.clone());
            }
            ObjectState::Superseded => summary.objects_archived += 1,
            ObjectState::Pending => {}
        }
    }
}

/// Tasks that were cancelled or given up are taken up again, and those that somebody waited for who
/// is gone: those of these keys, or all.
///
/// # Errors
/// The queue cannot be used.
pub(crate) async fn revive(pool: &Pool, keys: Option<&[String]>) -> Result<Vec<TaskId>, Error> {
    let queue = &pool.project.queue;
    let mut revived = queue.retry(keys.map_or(Which::All, Which::Keys)).await?;
    let tasks = match keys {
        Some(keys) => queue.having(keys).await?,
        None => queue.tasks(&WITH_WORK, usize::MAX).await?,
    };
    let is_meant = |task: &&Task| WITH_WORK.contains(&task.state) && (keys.is_some() || task.priority >= URGENT);
    revived.extend(tasks.iter().filter(is_meant).map(|task| task.id));
    Ok(revived)
}
