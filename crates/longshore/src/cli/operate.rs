//! `longshore pause`, `resume`, `cancel`: what an operator does to pipelines and tasks.

use clap::Args;
use longshore_queue::{Pause, PauseKind, Queue, State, TaskId, Which};

use super::{Failure, Global, Outcome, Result, output};
use crate::config::Config;
use crate::{once, project};

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
        // A task that was given up may have been behind an operator's word.
        let left = queue.pauses().await?.into_iter().find(|pause| pause.pipeline == self.pipeline);
        let outcome = if left.is_some() { Outcome::Incomplete } else { Outcome::Done };
        if global.json {
            let document = serde_json::json!({ "pipeline": self.pipeline, "was_paused": was_paused, "still": left });
            output::json(&document)?;
            return Ok(outcome);
        }
        match (was_paused, left) {
            (_, Some(left)) => {
                outln!("pipeline `{}` still waits: {}", self.pipeline, left.error);
                if let Some(cure) = left.cure {
                    outln!("hint: {cure}; or `longshore resume {}` once more to go on without it", self.pipeline);
                }
            }
            (true, None) => outln!("pipeline `{}` goes on", self.pipeline),
            (false, None) => outln!("pipeline `{}` was not paused", self.pipeline),
        }
        Ok(outcome)
    }
}

impl Cancel {
    pub(super) async fn run(self, global: &Global) -> Result {
        let config = global.read()?;
        let queue = project::open_queue(&config)?;
        let (ids, keys): (Vec<String>, Vec<String>) =
            self.which.into_iter().partition(|which| which.parse::<i64>().is_ok());
        let ids: Vec<TaskId> = ids.iter().filter_map(|id| id.parse().ok()).map(TaskId).collect();
        // The others of their tasks go on.
        once::set_apart(&*queue, &keys, once::by_name).await?;
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
        outln!(
            "their objects stay in `{}` until `longshore retry --all`, or with a key",
            config.bucket.prefixes.pending
        );
        Ok(Outcome::Done)
    }
}

/// How many other objects are in running tasks with these.
async fn others_that_run(queue: &dyn Queue, keys: &[String]) -> Result<u64> {
    let mut others = 0;
    for task in queue.having(keys).await?.into_iter().filter(|task| task.state == State::Running) {
        let objects = queue.objects(task.id).await?;
        others += objects.iter().filter(|object| !keys.contains(&object.position.key)).count() as u64;
    }
    Ok(others)
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
