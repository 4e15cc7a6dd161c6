//! `longshore status`: how things stand, from bucket, queue and journal; the warehouse is left alone.

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use longshore_queue::{Pause, PauseKind, Schedule, State as TaskState, Task, Worker};
use serde::Serialize;

use super::{Global, Outcome, Result, output};
use crate::bucket::ObjectKey;
use crate::config::Config;
use crate::journal::{LoadRow, ObjectRow, State};
use crate::pipeline::{Context, Error, discover};
use crate::project;
use crate::worker::TRIES;

/// Things of a kind that are listed.
const LISTED: u64 = 10;

/// Failed objects that are looked for in the bucket.
const LOOKED_FOR: u64 = 1_000;
const LOOKS_AT_ONCE: usize = 32;

#[derive(Debug, Serialize)]
struct Document {
    /// Whether objects stay where they are: then those that are in are among the pending ones.
    keeps_objects: bool,
    #[serde(flatten)]
    pending: Pending,
    /// Why nothing can be said of what is in the bucket, and what to do about it.
    bucket_error: Option<String>,
    bucket_hint: Option<String>,
    #[serde(flatten)]
    queue: Queued,
    failed: Vec<ObjectRow>,
    /// Failed objects beyond those that are listed: so many at least.
    more_failed: u64,
    last_loads: Vec<LoadRow>,
}

/// What the bucket says, where it can be reached.
#[derive(Debug, Default, Serialize)]
struct Pending {
    pending_objects: Option<u64>,
    pending_bytes: Option<u64>,
    oldest_pending_at: Option<Timestamp>,
    settling: Option<usize>,
    unmatched: Option<u64>,
    ambiguous: Option<usize>,
}

/// What the queue says.
#[derive(Debug, Default, Serialize)]
struct Queued {
    /// Processes that are at work.
    workers: Vec<Worker>,
    /// Tasks and objects by state.
    tasks: Vec<Number>,
    running: Vec<Task>,
    retryable: Vec<Task>,
    set_aside: Vec<Task>,
    paused: Vec<Pause>,
    schedules: Vec<Schedule>,
}

#[derive(Debug, Serialize)]
struct Number {
    state: TaskState,
    tasks: u64,
    objects: u64,
}

pub(super) async fn run(global: &Global) -> Result {
    let (config, context) = global.open().await?;
    // Where the bucket cannot be reached, what queue and journal know is wanted most.
    let (pending, bucket_error) = match pending(&config, &context).await {
        Ok(pending) => (pending, None),
        Err(error) => (Pending::default(), Some(error)),
    };
    let (failed, more_failed) = failed(&context, bucket_error.is_none()).await?;
    let document = Document {
        keeps_objects: context.keep,
        pending,
        bucket_error: bucket_error.as_ref().map(Error::chain),
        bucket_hint: bucket_error.as_ref().and_then(Error::hint).map(str::to_owned),
        // Who only looks makes no journal.
        queue: if config.journal.exists() { queued(&*project::open_queue(&config)?).await? } else { Queued::default() },
        failed,
        more_failed,
        last_loads: context.journal.loads(None, LISTED)?,
    };
    if global.json {
        output::json(&document)?;
    } else {
        print(&document);
    }
    let is_fine = document.queue.paused.is_empty()
        && document.queue.set_aside.is_empty()
        // What was tried so often needs somebody's eyes.
        && document.queue.retryable.iter().all(|task| task.attempts < TRIES)
        && document.failed.is_empty()
        && document.pending.ambiguous == Some(0);
    Ok(if is_fine { Outcome::Done } else { Outcome::Incomplete })
}

async fn queued(queue: &dyn longshore_queue::Queue) -> Result<Queued> {
    let listed = LISTED as usize;
    let counts = queue.counts().await?.by_state.into_iter();
    Ok(Queued {
        workers: queue.workers().await?,
        tasks: counts
            .filter(|(state, ..)| *state != TaskState::Completed)
            .map(|(state, tasks, objects)| Number { state, tasks, objects })
            .collect(),
        running: queue.tasks(&[TaskState::Running], listed).await?,
        retryable: queue.tasks(&[TaskState::Retryable], listed).await?,
        set_aside: queue.tasks(&[TaskState::Cancelled, TaskState::Discarded], listed).await?,
        paused: queue.pauses().await?,
        schedules: queue.schedules().await?,
    })
}

async fn pending(config: &Config, context: &Context) -> std::result::Result<Pending, Error> {
    let found = discover::discover(&config.pipelines, None, context).await?;
    let (pending_objects, pending_bytes) = found.spool.size()?;
    Ok(Pending {
        pending_objects: Some(pending_objects),
        pending_bytes: Some(pending_bytes),
        oldest_pending_at: found.spool.oldest()?,
        settling: Some(found.settling.len()),
        unmatched: Some(found.unmatched.count),
        ambiguous: Some(found.ambiguous.len()),
    })
}

/// Objects in quarantine that are still there, and how many more there are: one that somebody removed is no worry any
/// more.
async fn failed(context: &Context, is_reached: bool) -> Result<(Vec<ObjectRow>, u64)> {
    let objects = context.journal.objects_in(State::Failed, LOOKED_FOR)?;
    let is_there = |object: ObjectRow| async move {
        // Where nothing can be said of it, it is one.
        let is_gone = is_reached && matches!(context.bucket.head(&ObjectKey::new(&object.lies_at)).await, Ok(None));
        (!is_gone).then_some(object)
    };
    let looking = stream::iter(objects.into_iter().map(is_there)).buffered(LOOKS_AT_ONCE);
    let mut failed: Vec<ObjectRow> = looking.filter_map(|object| async { object }).collect().await;
    let more = (failed.len() as u64).saturating_sub(LISTED);
    failed.truncate(LISTED as usize);
    Ok((failed, more))
}

fn print(document: &Document) {
    match &document.bucket_error {
        None => print_pending(&document.pending, document.keeps_objects),
        Some(error) => {
            outln!("what waits is not known: {error}");
            if let Some(hint) = &document.bucket_hint {
                outln!("hint: {hint}");
            }
        }
    }
    print_queue(&document.queue);
    if !document.failed.is_empty() {
        outln!("\nfailed:");
        for object in &document.failed {
            outln!("  {}: {}", object.lies_at, object.error.as_deref().unwrap_or_default());
        }
        if document.more_failed > 0 {
            let least = if document.more_failed + LISTED >= LOOKED_FOR { "at least " } else { "" };
            outln!("  and {least}{} more: `longshore rejects --limit 1000` lists them", document.more_failed);
        }
    }
    if !document.last_loads.is_empty() {
        outln!("\nlast loads:");
        for load in &document.last_loads {
            let what = match &load.error {
                Some(error) => error.lines().next().unwrap_or_default().to_owned(),
                None => format!(
                    "{}, {}",
                    output::counted(load.objects, "object"),
                    output::counted(load.rows.rows_loaded, "row")
                ),
            };
            outln!("  {}  {}  {}  {what}", output::time(load.finished_at), load.pipeline, load.outcome.as_str());
        }
    }
}

fn print_pending(pending: &Pending, keeps_objects: bool) {
    outln!("{}", waiting(pending, keeps_objects));
    for (count, what) in [
        (pending.settling.map(|count| count as u64), "still being written"),
        (pending.unmatched, "of no pipeline"),
        (pending.ambiguous.map(|count| count as u64), "of two pipelines"),
    ] {
        if let Some(count) = count.filter(|count| *count > 0) {
            outln!("{count} {what}");
        }
    }
}

fn waiting(pending: &Pending, keeps_objects: bool) -> String {
    let Some(at) = pending.oldest_pending_at else { return "nothing waits".to_owned() };
    let age = age(at);
    let count = pending.pending_objects.unwrap_or_default();
    let objects = output::counted(count, "object");
    let bytes = output::bytes(pending.pending_bytes.unwrap_or_default());
    match (keeps_objects, count) {
        (true, _) => format!("the bucket keeps {objects} ({bytes})"),
        (false, 1) => format!("{objects} ({bytes}) waits, for {age:#}"),
        (false, _) => format!("{objects} ({bytes}) wait, the oldest for {age:#}"),
    }
}

/// Time since, in whole seconds.
fn age(at: Timestamp) -> SignedDuration {
    SignedDuration::from_secs(Timestamp::now().duration_since(at).as_secs())
}

fn print_queue(queue: &Queued) {
    match &queue.workers[..] {
        [] => outln!("no process is at work: `longshore run` keeps the tables current"),
        workers => {
            for worker in workers {
                outln!("at work: {}, for {:#}", worker.name, age(worker.since));
            }
        }
    }
    for schedule in &queue.schedules {
        let due = match schedule.busy_since {
            Some(since) => format!("looks at the bucket since {:#}", age(since)),
            None => format!("looks at the bucket next at {}", output::time(schedule.next_at)),
        };
        outln!("schedule `{}`: {due}", schedule.name);
        if let Some(error) = &schedule.error {
            outln!("  its last look failed: {error}");
        }
    }
    let depth: Vec<String> = queue
        .tasks
        .iter()
        .map(|number| {
            format!("{} {} ({})", number.tasks, number.state.as_str(), output::counted(number.objects, "object"))
        })
        .collect();
    if !depth.is_empty() {
        outln!("tasks: {}", depth.join(", "));
    }
    for task in &queue.running {
        let (done, all) = (output::bytes(task.progress.bytes), output::bytes(task.progress.total_bytes));
        let since = task.started_at.map_or_else(String::new, |at| format!(", for {:#}", age(at)));
        outln!("\ntask {} runs: {} into `{}`, {done} of {all}{since}", task.id, objects(task), task.table);
    }
    for task in &queue.retryable {
        let error = task.error.as_deref().unwrap_or_default();
        let at = output::time(task.not_before);
        let tried = output::counted(task.attempts.into(), "attempt");
        outln!("\ntask {} is tried again at {at}, after {tried}: {}: {error}", task.id, objects(task));
    }
    for task in &queue.set_aside {
        outln!("\ntask {} is {}: {}", task.id, task.state.as_str(), objects(task));
        if task.state == TaskState::Cancelled {
            outln!("hint: `longshore retry {}` takes it up again", task.first.key);
        }
    }
    let listed = queue.running.len() + queue.retryable.len() + queue.set_aside.len();
    let told = queue.tasks.iter().filter(|number| number.state != TaskState::Available);
    let more = told.map(|number| number.tasks).sum::<u64>().saturating_sub(listed as u64);
    if more > 0 {
        outln!("\nand {}", output::counted(more, "more task"));
    }
    for pause in &queue.paused {
        let what = if pause.kind == PauseKind::Objects { "could not load all" } else { "waits" };
        outln!("\npipeline `{}` {what} since {}: {}", pause.pipeline, output::time(pause.since), pause.error);
        if let Some(cure) = &pause.cure {
            outln!("hint: {cure}");
        }
    }
}

/// The objects of a task in a few words.
fn objects(task: &Task) -> String {
    match task.object_count.saturating_sub(1) {
        0 => format!("`{}`", task.first.key),
        more => format!("`{}` and {more} more", task.first.key),
    }
}
