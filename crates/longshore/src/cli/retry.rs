//! `longshore retry`: load objects from quarantine once more.

use clap::Args;

use super::{Global, Result, output};
use crate::pipeline::retry;

#[derive(Debug, Args)]
pub(super) struct Retry {
    /// Keys of the objects, as they landed or as they lie in `failed`.
    #[arg(value_name = "KEY", required_unless_present = "all")]
    keys: Vec<String>,
    /// All objects in quarantine.
    #[arg(long, conflicts_with = "keys")]
    all: bool,
}

impl Retry {
    pub(super) async fn run(self, global: &Global) -> Result {
        let (config, context, _lock) = global.open_to_load().await?;
        let keys = (!self.all).then_some(self.keys.as_slice());
        let summary = retry::retry(&config.pipelines, keys, &context).await?;
        output::summary(&summary, global.json)
    }
}
