//! `longshore loads`: the history.

use clap::Args;

use super::{Global, Outcome, Result, output};
use crate::journal::Journal;

#[derive(Debug, Args)]
pub(super) struct Loads {
    /// Of this pipeline only.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u64,
}

impl Loads {
    pub(super) fn run(self, global: &Global) -> Result {
        let config = global.read()?;
        // One more than is shown tells whether there are more.
        let mut loads =
            Journal::open(&config.journal)?.loads(self.pipeline.as_deref(), self.limit.saturating_add(1))?;
        let has_more = loads.len() as u64 > self.limit;
        loads.truncate(self.limit as usize);
        if global.json {
            output::json(&loads)?;
            return Ok(Outcome::Done);
        }
        let rows = loads
            .iter()
            .map(|load| {
                vec![
                    output::time(load.finished_at),
                    load.pipeline.clone(),
                    load.table.clone(),
                    load.outcome.as_str().to_owned(),
                    load.objects.to_string(),
                    output::bytes(load.bytes),
                    load.rows.rows_loaded.to_string(),
                    load.rows.rows_rejected.to_string(),
                    load.error.clone().map_or_else(
                        || load.load_id.clone(),
                        |error| error.lines().next().unwrap_or_default().to_owned(),
                    ),
                ]
            })
            .collect();
        let header =
            ["finished", "pipeline", "table", "outcome", "objects", "size", "loaded", "rejected", "load or error"];
        output::table(&header, rows, "no loads yet");
        if has_more {
            outln!("\nand more: `--limit N` lists them");
        }
        Ok(Outcome::Done)
    }
}
