//! `longshore status`: how things stand, from bucket, queue and journal; the warehouse is left alone.

use jiff::{SignedDuration, Timestamp};
use longshore_queue::{Pause, PauseKind, Schedule, State as TaskState, Task, Worker};
use serde::Serialize;

use super::{Global, Outcome, Result, output};
use crate::bucket::ObjectKey;
use crate::journal::{LoadRow, ObjectRow, State};
use crate::pipeline::{Context, discover};
use crate::project;
use crate::worker::TRIES;

/// Things of a kind that are listed.
const LISTED: u64 = 10;

#[derive(Debug, Serialize)]
struct Document {
    /// Whether objects stay where they are: then those that are in are among the pending ones.
    keeps_objects: bool,
    pending_objects: u64,
    pending_bytes: u64,
    oldest_pending_at: Option<Timestamp>,
    settling: usize,
    unmatched: u64,
    ambiguous: usize,
    #[serde(flatten)]
    queue: Queued,
    failed: Vec<ObjectRow>,
    last_loads: Vec<LoadRow>,
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
    let found = discover::discover(&config.pipelines, None, &context).await?;
    let (pending_objects, pending_bytes) = found.spool.size()?;
    let document = Document {
        keeps_objects: context.keep,
        pending_objects,
        pending_bytes,
        oldest_pending_at: found.spool.oldest()?,
        settling: found.settling.len(),
        unmatched: found.unmatched.count,
        ambiguous: found.ambiguous.len(),
        // Who only looks makes no journal.
        queue: if config.journal.exists() { queued(&*project::open_queue(&config)?).await? } else { Queued::default() },
        failed: failed(&context).await?,
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
        && document.ambiguous == 0;
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

/// Objects in quarantine that are still there: one that somebody removed is no worry any more.
async fn failed(context: &Context) -> Result<Vec<ObjectRow>> {
    let mut failed = Vec::new();
    for object in context.journal.objects_in(State::Failed, LISTED)? {
        if context.bucket.head(&ObjectKey::new(&object.lies_at)).await?.is_some() {
            failed.push(object);
        }
    }
    Ok(failed)
}

fn print(document: &Document) {
    outln!("{}", waiting(document));
    for (count, what) in [
        (document.settling as u64, "still being written"),
        (document.unmatched, "of no pipeline"),
        (document.ambiguous as u64, "of two pipelines"),
    ] {
        if count > 0 {
            outln!("{count} {what}");
        }
    }
    print_queue(&document.queue);
    if !document.failed.is_empty() {
        outln!("\nfailed:");
        for object in &document.failed {
            outln!("  {}: {}", object.lies_at, object.error.as_deref().unwrap_or_default());
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

fn waiting(document: &Document) -> String {
    let Some(at) = document.oldest_pending_at else { return "nothing waits".to_owned() };
    let age = age(at);
    let objects = output::counted(document.pending_objects, "object");
    let bytes = output::bytes(document.pending_bytes);
    match (document.keeps_objects, document.pending_objects) {
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
            outln!("hint: `longshore retry` takes it up again");
        }
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
