//! `longshore pause`, `resume`, `cancel`: what an operator does to pipelines and tasks.

use clap::Args;
use longshore_queue::{NewTask, Pause, PauseKind, Queue, State, TaskId, TaskObject, Which};

use super::{Failure, Global, Outcome, Result, output};
use crate::config::Config;
use crate::project;

#[derive(Debug, Args)]
pub(super) struct PausePipeline {
    /// Name of the pipeline.
    pipeline: String,
    /// Why, for whoever looks at the status.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Resume {
    /// Name of the pipeline.
    pipeline: String,
}

#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// Keys of objects, or numbers of tasks as `longshore status` gives them.
    #[arg(value_name = "KEY|TASK", required_unless_present_any = ["pipeline", "all"])]
    which: Vec<String>,
    /// All tasks of a pipeline.
    #[arg(long, value_name = "NAME", conflicts_with = "which")]
    pipeline: Option<String>,
    /// All tasks.
    #[arg(long, conflicts_with_all = ["which", "pipeline"])]
    all: bool,
}

impl PausePipeline {
    pub(super) async fn run(self, global: &Global) -> Result {
        let config = global.read()?;
        let pipeline = known(&config, &self.pipeline)?;
        let queue = project::open_queue(&config)?;
        let error =
            self.why.map_or_else(|| "paused by an operator".to_owned(), |why| format!("paused by an operator: {why}"));
        let pause = Pause {
            pipeline: pipeline.to_owned(),
            kind: PauseKind::Operator,
            since: jiff::Timestamp::now(),
            error,
            cure: Some(format!("`longshore resume {pipeline}` lets it go on")),
            task: None,
        };
        queue.pause(pause).await?;
        match global.json {
            true => output::json(&serde_json::json!({ "pipeline": pipeline, "paused": true }))?,
            false => outln!("pipeline `{pipeline}` is paused; loads that run are finished"),
        }
        Ok(Outcome::Done)
    }
}

impl Resume {
    pub(super) async fn run(self, global: &Global) -> Result {
        let config = global.read()?;
        let queue = project::open_queue(&config)?;
        let pauses = queue.pauses().await?;
        // A pipeline that was renamed or removed may still be paused.
        if !pauses.iter().any(|pause| pause.pipeline == self.pipeline) {
            known(&config, &self.pipeline)?;
        }
        let kinds = [PauseKind::Operator, PauseKind::Fault, PauseKind::Objects, PauseKind::Discarded];
        let was_paused = queue.resume(&self.pipeline, &kinds).await?;
        if global.json {
            output::json(&serde_json::json!({ "pipeline": self.pipeline, "was_paused": was_paused }))?;
            return Ok(Outcome::Done);
        }
        match was_paused {
            true => outln!("pipeline `{}` goes on", self.pipeline),
            false => outln!("pipeline `{}` was not paused", self.pipeline),
        }
        Ok(Outcome::Done)
    }
}

impl Cancel {
    pub(super) async fn run(self, global: &Global) -> Result {
        let config = global.read()?;
        let queue = project::open_queue(&config)?;
        let (ids, keys): (Vec<String>, Vec<String>) =
            self.which.into_iter().partition(|which| which.parse::<i64>().is_ok());
        let ids: Vec<TaskId> = ids.iter().filter_map(|id| id.parse().ok()).map(TaskId).collect();
        set_apart(&*queue, &keys).await?;
        let others = others_that_run(&*queue, &keys).await?;
        let (mut now, mut asked) = (0, 0);
        let mut which = Vec::new();
        match (&self.pipeline, self.all) {
            (Some(pipeline), _) => which.push(Which::Pipeline(known(&config, pipeline)?)),
            (None, true) => which.push(Which::All),
            (None, false) => {
                which.extend((!ids.is_empty()).then_some(Which::Ids(&ids)));
                which.extend((!keys.is_empty()).then_some(Which::Keys(&keys)));
            }
        }
        for which in which {
            let (one, other) = queue.cancel(which).await?;
            now += one;
            asked += other;
        }
        if now + asked == 0 {
            return Err(Failure::new("there is no such task").hint("`longshore status` lists those that there are"));
        }
        if global.json {
            output::json(&serde_json::json!({ "cancelled": now, "will_be_broken_off": asked }))?;
            return Ok(Outcome::Done);
        }
        if now > 0 {
            outln!("{} cancelled", output::counted(now, "queued task"));
        }
        if asked > 0 {
            let with = match others {
                0 => String::new(),
                others => format!(", with {} in it", output::counted(others, "other object")),
            };
            outln!(
                "{} will be broken off within seconds, unless it is done by then{with}",
                output::counted(asked, "running task")
            );
        }
        outln!("their objects stay in `{}` until `longshore retry`", config.bucket.prefixes.pending);
        Ok(Outcome::Done)
    }
}

/// Gives objects that wait in one task with others a task of their own, so that the others go on.
async fn set_apart(queue: &dyn Queue, keys: &[String]) -> Result<()> {
    for task in queue.tasks(&[State::Available, State::Scheduled, State::Retryable], usize::MAX).await? {
        let is_meant = |object: &TaskObject| keys.contains(&object.position.key);
        let (meant, others): (Vec<TaskObject>, Vec<TaskObject>) = task.objects.iter().cloned().partition(is_meant);
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

/// How many other objects are in running tasks with these.
async fn others_that_run(queue: &dyn Queue, keys: &[String]) -> Result<u64> {
    let is_meant = |object: &&TaskObject| keys.contains(&object.position.key);
    let running = queue.tasks(&[State::Running], usize::MAX).await?;
    let of_them = running.iter().filter(|task| task.objects.iter().any(|object| is_meant(&object)));
    Ok(of_them.flat_map(|task| &task.objects).filter(|object| !is_meant(object)).count() as u64)
}

fn known<'c>(config: &'c Config, name: &str) -> Result<&'c str> {
    let mut names = config.pipelines.iter().map(|pipeline| pipeline.name.as_str());
    names.clone().find(|known| *known == name).ok_or_else(|| {
        let failure = Failure::new(format!("there is no pipeline `{name}`"));
        match crate::nearest(name, names.by_ref()) {
            Some(nearest) => failure.hint(format!("did you mean `{nearest}`?")),
            None => failure.hint("`longshore check` lists them"),
        }
    })
}
