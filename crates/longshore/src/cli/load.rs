//! `longshore load KEY…`: load these objects.

use clap::Args;

use super::run::{Session, Worker};
use super::{Failure, Global, Outcome, Result, output};
use crate::bucket::ObjectKey;
use crate::{once, pipeline::retry};

#[derive(Debug, Args)]
pub(super) struct Load {
    /// Keys of the objects: as they lie in `pending`, or with `--again` in the archive.
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    /// Load archived objects anew, whatever `repeat` and `late` say.
    #[arg(long)]
    again: bool,
}

impl Load {
    pub(super) async fn run(self, global: &Global) -> Result {
        let project = global.open_to_load().await?;
        let keys: Vec<ObjectKey> = self.keys.iter().map(ObjectKey::new).collect();
        let concurrency = Worker::default().concurrency(&project);
        if self.again {
            let objects = retry::archived(&project.config.pipelines, &keys, &project.ctx).await?;
            let session = Session::begin(project, "load").await?;
            let pool = session.pool(concurrency);
            let summary = session.work(async |_| once::these(&pool, objects, Vec::new()).await).await?;
            return output::summary(&summary, global.json);
        }
        for key in &keys {
            let prefix = &project.ctx.prefixes.pending;
            if !key.as_str().starts_with(prefix) {
                return Err(Failure::new(format!("`{key}` does not lie in `{prefix}`")).hint(
                    "give the whole key; `--again` loads an archived object anew, `longshore retry` one from quarantine",
                ));
            }
            if project.ctx.bucket.head(key).await?.is_none() {
                return Err(Failure::new(format!("there is no `{}`", project.ctx.bucket.display(key)))
                    .hint("`longshore plan` lists what waits"));
            }
        }
        let session = Session::begin(project, "load").await?;
        let pool = session.pool(concurrency);
        once::revive(&pool, Some(&self.keys)).await?;
        let summary = session.work(async |_| once::once(&pool, Some(&keys)).await).await?;
        let outcome = output::summary(&summary, global.json)?;
        // Who names an object wants it in.
        Ok(if summary.unmatched > 0 { Outcome::Incomplete } else { outcome })
    }
}
