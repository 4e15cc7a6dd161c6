//! `longshore run --once`: load what waits in the bucket.

use clap::Args;

use super::{Global, Result, output};
use crate::pipeline::pass;

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Make one pass, then end.
    #[arg(long, required = true)]
    once: bool,
}

impl Run {
    /// One pass, then the end.
    pub(super) const ONCE: Self = Self { once: true };

    pub(super) async fn run(self, global: &Global) -> Result {
        debug_assert!(self.once, "clap asks for it");
        let (config, context, _lock) = global.open_to_load().await?;
        let summary = pass::pass(&config.pipelines, None, &context).await?;
        output::summary(&summary, global.json)
    }
}
