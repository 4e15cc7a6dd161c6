//! `longshore status`: how things stand, from bucket and journal; the warehouse is left alone.

use jiff::Timestamp;
use serde::Serialize;

use super::{Global, Outcome, Result, output};
use crate::bucket::ObjectKey;
use crate::journal::{LoadRow, ObjectRow, PauseRow, State};
use crate::pipeline::{Context, pass};

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
    paused: Vec<PauseRow>,
    failed: Vec<ObjectRow>,
    last_loads: Vec<LoadRow>,
}

pub(super) async fn run(global: &Global) -> Result {
    let (config, context) = global.open().await?;
    let found = pass::discover(&config.pipelines, None, &context).await?;
    let (pending_objects, pending_bytes) = found.spool.size()?;
    let document = Document {
        keeps_objects: context.keep,
        pending_objects,
        pending_bytes,
        oldest_pending_at: found.spool.oldest()?,
        settling: found.settling.len(),
        unmatched: found.unmatched.count,
        ambiguous: found.ambiguous.len(),
        paused: context.journal.pauses()?,
        failed: failed(&context).await?,
        last_loads: context.journal.loads(None, LISTED)?,
    };
    if global.json {
        output::json(&document)?;
    } else {
        print(&document);
    }
    let is_fine = document.paused.is_empty() && document.failed.is_empty() && document.ambiguous == 0;
    Ok(if is_fine { Outcome::Done } else { Outcome::Incomplete })
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
    let waiting = match document.oldest_pending_at {
        None => "nothing waits".to_owned(),
        Some(at) => {
            let age = Timestamp::now().duration_since(at);
            let age = jiff::SignedDuration::from_secs(age.as_secs());
            let objects = output::counted(document.pending_objects, "object");
            let bytes = output::bytes(document.pending_bytes);
            match (document.keeps_objects, document.pending_objects) {
                (true, _) => format!("the bucket keeps {objects} ({bytes})"),
                (false, 1) => format!("{objects} ({bytes}) waits, for {age:#}"),
                (false, _) => format!("{objects} ({bytes}) wait, the oldest for {age:#}"),
            }
        }
    };
    outln!("{waiting}");
    for (count, what) in [
        (document.settling as u64, "still being written"),
        (document.unmatched, "of no pipeline"),
        (document.ambiguous as u64, "of two pipelines"),
    ] {
        if count > 0 {
            outln!("{count} {what}");
        }
    }
    for pause in &document.paused {
        outln!("\npipeline `{}` waits since {}: {}", pause.pipeline, output::time(pause.since), pause.error);
        if let Some(cure) = &pause.cure {
            outln!("hint: {cure}");
        }
    }
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
