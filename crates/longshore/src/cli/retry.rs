//! `longshore retry`: load objects once more: from quarantine, or of tasks that were cancelled or given
//! up.

use clap::Args;

use super::run::{Session, Worker};
use super::{Failure, Global, Result, output};
use crate::{once, pipeline::retry};

#[derive(Debug, Args)]
pub(super) struct Retry {
    /// Keys of the objects, as they landed or as they lie in `failed`.
    #[arg(value_name = "KEY", required_unless_present = "all")]
    keys: Vec<String>,
    /// All objects in quarantine, and all tasks that were cancelled or given up.
    #[arg(long, conflicts_with = "keys")]
    all: bool,
}

impl Retry {
    pub(super) async fn run(self, global: &Global) -> Result {
        let project = global.open_to_load().await?;
        let keys = (!self.all).then_some(self.keys.as_slice());
        let (objects, unknown) = retry::quarantined(&project.config.pipelines, keys, &project.ctx).await?;
        let concurrency = Worker::default().concurrency(&project);
        let session = Session::begin(project, "retry").await?;
        let pool = session.pool(concurrency);
        let tasks = once::revive(&pool, keys).await?;
        if let Some(key) = unknown.first().filter(|_| tasks.is_empty()) {
            session.project.queue.depart(&session.worker).await?;
            return Err(Failure::new(format!("`{key}` is not in quarantine"))
                .hint("`longshore rejects` names the objects that are"));
        }
        let summary = session.work(async |_| once::these(&pool, objects, tasks).await).await?;
        output::summary(&summary, global.json)
    }
}
