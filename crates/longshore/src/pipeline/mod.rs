//! Takes planned loads through load, record and archive.
//!
//! This is the only place that knows their order. A stage gets what it needs as arguments and
//! returns what the next one needs; none calls another.

pub mod archive;
pub mod discover;
mod error;
pub mod fill;
pub mod load;
mod payload;
pub mod plan;
pub mod quarantine;
mod read;
pub mod record;
pub mod rejects;
pub mod retry;
pub mod summary;
pub mod target;
pub mod work;

use std::sync::Arc;

use jiff::Timestamp;
use longshore_warehouse::{Entry, FIRST_GENERATION, Generation, Known, ObjectId, Position, Warehouse};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tracing::Instrument;

pub use error::Error;
use load::Refusal;
use plan::{LoadPlan, Planned};
use target::Target;

use crate::bucket::{Bucket, Object, Prefixes};
use crate::config::Pipeline;
use crate::journal::Journal;
use crate::migrations::gate::Gate;
use crate::progress::Progress;

/// What all stages share. Clones share it too.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where files land.
    pub bucket: Arc<dyn Bucket>,
    /// Where reports and rejects go: the bucket, or a local directory if it may not be changed.
    pub papers: Arc<dyn Bucket>,
    /// The database with the target tables and the ledger.
    pub warehouse: Arc<dyn Warehouse>,
    /// The history.
    pub journal: Arc<Journal>,
    /// First parts of keys.
    pub prefixes: Prefixes,
    /// Whether objects stay where they are (`after = "keep"`).
    pub keep: bool,
    /// What to show of the work.
    pub progress: Progress,
    /// Lets loads begin, or wait for migrations.
    pub gate: Gate,
}

/// An object that landed: what it is known by, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// The object as it was first listed: its key, and its place in the order.
    pub object: Object,
    /// The object as it lies now; the same, unless it was quarantined or archived before.
    pub at: Object,
    /// Its identity.
    pub identity: ObjectId,
    /// Which load of it this is to be.
    pub generation: Generation,
    /// Where it lies.
    pub place: Place,
    /// Whether an operator asked to load it anew: `repeat` and `late` do not apply.
    pub again: bool,
}

impl Landed {
    /// An object that waits where it landed.
    pub fn pending(object: Object, identity: ObjectId) -> Self {
        Self { at: object.clone(), object, identity, generation: FIRST_GENERATION, place: Place::Pending, again: false }
    }

    /// Its place in the order of its table.
    pub fn position(&self) -> Position {
        Position { modified_at: self.object.modified_at, key: self.object.key.as_str().to_owned() }
    }

    /// Its key.
    pub fn key(&self) -> &str {
        self.object.key.as_str()
    }
}

/// Where an object lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Where it landed.
    Pending,
    /// In quarantine: an operator asked for a retry.
    Failed,
    /// In the archive: an operator asked to load it again.
    Processed,
}

/// A pipeline with its target, ready to load.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// Its target.
    pub target: &'a Target,
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Done {
    /// Entries that were committed.
    pub entries: Vec<Entry>,
    /// Keys of objects that were refused.
    pub refused: Vec<String>,
    /// Keys of objects that vanished or changed while they were read.
    pub gone: Vec<String>,
    /// Faults of the surroundings that lie in one object: it waits, and holds back no other.
    pub stuck: Vec<Error>,
    /// Objects that are to be loads of their own, in order.
    pub apart: Vec<Vec<Planned>>,
    /// Objects that have to be planned again, after those.
    pub again: Vec<Planned>,
}

/// Loads that follow each other. While one is in the hands of the warehouse, small objects of the next
/// are read, and those of the one before are archived.
pub struct Train<'a> {
    pipeline: &'a Arc<Pipeline>,
    target: &'a Arc<Target>,
    ctx: &'a Context,
    /// Reads the objects of the next plan; ends with this.
    ahead: JoinSet<Option<load::Ahead>>,
    /// What is in and has to be archived.
    behind: Option<load::Committed>,
}

impl<'a> Train<'a> {
    /// Before the first load.
    pub fn new(pipeline: &'a Arc<Pipeline>, target: &'a Arc<Target>, ctx: &'a Context) -> Self {
        Self { pipeline, target, ctx, ahead: JoinSet::new(), behind: None }
    }

    /// Begins to read the objects of a plan, on whatever thread is free.
    fn read_ahead(&mut self, plan: LoadPlan) {
        let (pipeline, target, ctx) = (Arc::clone(self.pipeline), Arc::clone(self.target), self.ctx.clone());
        let reading = async move {
            let job = Job { pipeline: &pipeline, target: &target };
            load::read_ahead(&plan, job, &ctx).await
        };
        self.ahead.spawn(reading.in_current_span());
    }

    /// Runs a load, of which `next` is the one that follows if all goes well. `known` is what the ledger
    /// said of its objects, if it was asked just now. Whatever happens, running it again is safe.
    ///
    /// # Errors
    /// A transient fault or one of the surroundings: the objects stay where they are.
    pub async fn run(&mut self, plan: LoadPlan, next: Option<&LoadPlan>, known: Option<Known>) -> Result<Done, Error> {
        // One that broke off is read anew.
        let ahead = self.ahead.join_next().await.and_then(Result::ok).flatten();
        let behind = self.behind.take();
        if let Some(next) = next {
            self.read_ahead(next.clone());
        }
        let job = Job { pipeline: self.pipeline, target: self.target };
        let (done, archived) = futures::join!(run(plan, ahead, known, job, self.ctx), put_away(behind, self.ctx));
        let (mut done, committed) = done?;
        self.behind = committed;
        done.stuck.extend(archived?);
        if !done.apart.is_empty() || !done.again.is_empty() {
            // What follows is planned anew.
            self.ahead.shutdown().await;
        }
        Ok(done)
    }

    /// Archives what the last load brought in. Returns why some of it could not be moved.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn end(mut self) -> Result<Vec<Error>, Error> {
        put_away(self.behind.take(), self.ctx).await
    }
}

async fn put_away(committed: Option<load::Committed>, ctx: &Context) -> Result<Vec<Error>, Error> {
    match committed {
        Some(committed) => archive::archive(&committed.landed, &committed.receipt.entries, ctx).await,
        None => Ok(Vec::new()),
    }
}

/// Loads and records; what was committed has to be archived.
async fn run(
    plan: LoadPlan,
    ahead: Option<load::Ahead>,
    known: Option<Known>,
    job: Job<'_>,
    ctx: &Context,
) -> Result<(Done, Option<load::Committed>), Error> {
    let started_at = Timestamp::now();
    let known = match known {
        Some(known) => known,
        None => work::look_up(&plan.objects, job, ctx).await?,
    };
    // What was planned is only a hint.
    if !plan::still_holds(&plan, &known, plan::Rules { pipeline: job.pipeline, keep: ctx.keep }) {
        return Ok((Done { again: plan.objects, ..Done::default() }, None));
    }
    let loaded = load::load(&plan, ahead, known, job, ctx).await?;
    for key in &loaded.gone {
        tracing::info!(
            object.key = key,
            "`{key}` changed or vanished while it was read: the next pass sees what is there"
        );
    }
    let mut done =
        Done { gone: loaded.gone, stuck: loaded.stuck, apart: loaded.apart, again: loaded.again, ..Done::default() };
    if let Some(committed) = &loaded.committed {
        record::record(committed, job, started_at, ctx)?;
        done.entries = committed.receipt.entries.clone();
    }
    for refusal in loaded.refused {
        done.refused.push(refusal.landed.key().to_owned());
        refuse(refusal, job, ctx).await?;
    }
    Ok((done, loaded.committed))
}

/// Finishes objects that the ledger has already: a crash or a lost answer came in between. Returns
/// why some could not be moved.
///
/// # Errors
/// As [`Train::run`].
pub async fn finish(landed: &[Arc<Landed>], entries: &[Entry], ctx: &Context) -> Result<Vec<Error>, Error> {
    record::record_again(landed, entries, ctx)?;
    archive::archive(landed, entries, ctx).await
}

/// Puts a refused object aside, with its report, and remembers it.
///
/// # Errors
/// As [`Train::run`].
pub async fn refuse(refusal: Refusal, job: Job<'_>, ctx: &Context) -> Result<(), Error> {
    let placed = quarantine::quarantine(&refusal, job, ctx).await?;
    // The entry comes last: once the object counts as failed, nobody writes its report any more.
    if ctx.keep && !load::enter_failed(&refusal, job, ctx).await? {
        return Ok(());
    }
    record::record_refusal(&refusal, &placed, job, ctx)
}
