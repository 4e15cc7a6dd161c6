//! `longshore load KEY…`: load these objects.

use clap::Args;

use super::{Failure, Global, Outcome, Result, output};
use crate::bucket::ObjectKey;
use crate::pipeline::{pass, retry};

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
        let (config, context, _lock) = global.open_to_load().await?;
        let keys: Vec<ObjectKey> = self.keys.iter().map(ObjectKey::new).collect();
        if self.again {
            let summary = retry::again(&config.pipelines, &keys, &context).await?;
            return output::summary(&summary, global.json);
        }
        for key in &keys {
            if !key.as_str().starts_with(&context.prefixes.pending) {
                return Err(Failure::new(format!("`{key}` does not lie in `{}`", context.prefixes.pending))
                    .hint("give the whole key; `--again` loads an archived object anew, `longshore retry` one from quarantine"));
            }
            if context.bucket.head(key).await?.is_none() {
                return Err(Failure::new(format!("there is no `{}`", context.bucket.display(key)))
                    .hint("`longshore plan` lists what waits"));
            }
        }
        let summary = pass::pass(&config.pipelines, Some(&keys), &context).await?;
        let outcome = output::summary(&summary, global.json)?;
        // Who names an object wants it in.
        Ok(if summary.unmatched > 0 { Outcome::Incomplete } else { outcome })
    }
}
