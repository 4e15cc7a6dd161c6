//! Brings the rows of planned objects into the table: read, stage, commit.
//!
//! One object is streamed (`single`). Of several each is read whole (`hold`), so that a bad one is known
//! before any of it reaches the warehouse; what is too large for that, or binds other columns, leaves the
//! group and becomes a load of its own. Where others wait for an open load, all are read before it is begun
//! (`group`), else they join it one by one (`join`). Whether an object may be loaded at all is judged in
//! `refusal`.

mod group;
mod hold;
mod join;
mod refusal;
mod single;

use std::sync::Arc;

use jiff::Timestamp;
use longshore_csv::BindingSource;
use longshore_warehouse::{
    Begun, Committed as WarehouseCommitted, EntryKind, Kind, Known, Load, LoadId, LoadSpec, ObjectSpec, Receipt, Tally,
    WarehouseError, crash_point,
};

use super::fill::{FillError, Filler};
use super::plan::{LoadPlan, Planned};
use super::quarantine;
use super::read::{Finished, Reader};
use super::{Context, Error, Job, Landed, Place, archive};

pub use group::Ahead;
pub use refusal::{Refusal, Why, late};

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What was committed.
    pub committed: Option<Committed>,
    /// Objects that cannot be loaded as they are.
    pub refused: Vec<Refusal>,
    /// Keys of objects that vanished or changed.
    pub gone: Vec<String>,
    /// Why objects could not be read that hold back no other.
    pub stuck: Vec<Error>,
    /// Objects that are to be loads of their own, in order.
    pub apart: Vec<Vec<Planned>>,
    /// Objects to be planned again, after those.
    pub again: Vec<Planned>,
}

impl Loaded {
    /// Somebody else has some of these objects in: all that is not settled is planned again, in order.
    fn all_again(&mut self, objects: Vec<Planned>) {
        let later = self.apart.drain(..).flatten();
        self.again.splice(0..0, objects.into_iter().chain(later));
    }
}

/// A load that is in.
#[derive(Debug)]
pub struct Committed {
    /// What the warehouse reported.
    pub receipt: Receipt,
    /// The objects, in the order of the receipt's entries.
    pub landed: Vec<Arc<Landed>>,
    /// What was read of each; `None` where nothing was.
    pub finished: Vec<Option<Finished>>,
    /// Keys of the reports on rejects, for each object that has some.
    pub reports: Vec<Option<String>>,
}

/// Reads the objects of a plan before its turn comes; `None` where they are not held. What goes wrong is
/// kept until then.
pub async fn read_ahead(plan: &LoadPlan, job: Job<'_>, ctx: &Context) -> Option<Ahead> {
    let attempt = Attempt { plan, job, ctx, known: Known::default() };
    if is_group(plan) && !ctx.warehouse.fences_late() { Some(attempt.read().await) } else { None }
}

/// Whether several objects of a plan are to be read.
fn is_group(plan: &LoadPlan) -> bool {
    plan.objects.iter().filter(|object| !object.superseded).count() > 1
}

/// Brings the objects of a plan into the table, of which some may have been read ahead.
///
/// # Errors
/// A transient fault or one of the surroundings: nothing of the plan is in, unless the outcome of
/// COMMIT was lost, which the next look at the ledger settles.
pub async fn load(
    plan: &LoadPlan,
    ahead: Option<Ahead>,
    known: Known,
    job: Job<'_>,
    ctx: &Context,
) -> Result<Loaded, Error> {
    let attempt = Attempt { plan, job, ctx, known };
    if is_group(plan) && ctx.warehouse.fences_late() {
        attempt.join().await
    } else if is_group(plan) {
        let read = match ahead {
            Some(read) => read,
            None => attempt.read().await,
        };
        attempt.group(read).await
    } else {
        let mut loaded = attempt.single().await?;
        if loaded.committed.is_none() && loaded.again.is_empty() {
            // What it was to supersede may be the newest now.
            let older = plan.objects.iter().filter(|object| object.superseded);
            loaded.again = older.cloned().collect();
        }
        Ok(loaded)
    }
}

/// The statements that the load of a plan would send, for somebody to read. Of its objects the first one
/// that is loaded is opened, to see which columns it brings.
///
/// # Errors
/// The table cannot be loaded in this way, or the warehouse has no statements to show.
pub async fn statements(plan: &LoadPlan, known: Known, job: Job<'_>, ctx: &Context) -> Result<Vec<String>, Error> {
    let attempt = Attempt { plan, job, ctx, known };
    let columns = attempt.columns().await.unwrap_or_else(|| attempt.all_columns());
    let spec = attempt.spec(LoadId::draw(), now(), &attempt.specs(&plan.objects), columns);
    Ok(ctx.warehouse.statements(&spec).await?)
}

/// Writes into the ledger that an object failed and stays where it is. Returns `false` if the ledger
/// has the object in after all.
///
/// # Errors
/// The warehouse cannot be written.
pub async fn enter_failed(refusal: &Refusal, job: Job<'_>, ctx: &Context) -> Result<bool, Error> {
    let planned = Planned { landed: Arc::clone(&refusal.landed), late: false, superseded: false };
    let plan = LoadPlan { objects: vec![planned] };
    let known = super::work::look_up(&plan.objects, job, ctx).await?;
    let attempt = Attempt { plan: &plan, job, ctx, known };
    let Opened::Open(load, ..) = attempt.begin(&attempt.specs(&plan.objects), attempt.all_columns()).await? else {
        return Ok(false);
    };
    let tally =
        Tally { kind: EntryKind::Failed, content_hash: refusal.content_hash.clone(), rows_read: 0, rows_rejected: 0 };
    Ok(matches!(load.commit(&[tally]).await?, WarehouseCommitted::Loaded(_)))
}

struct Attempt<'a> {
    plan: &'a LoadPlan,
    job: Job<'a>,
    ctx: &'a Context,
    known: Known,
}

/// An object that takes part in a load, as far as it is known.
struct Part {
    planned: Planned,
    kind: EntryKind,
    finished: Option<Finished>,
}

/// A load that was begun, or was not.
enum Opened {
    Open(Box<dyn Load>, LoadId, Timestamp),
    AlreadyIn,
}

impl Attempt<'_> {
    async fn begin(&self, objects: &[ObjectSpec], columns: Vec<String>) -> Result<Opened, WarehouseError> {
        let load_id = LoadId::draw();
        self.ctx.progress.begin(load_id);
        let loaded_at = now();
        let spec = self.spec(load_id, loaded_at, objects, columns);
        Ok(match self.ctx.warehouse.begin(spec).await? {
            Begun::Open(load) => Opened::Open(load, load_id, loaded_at),
            Begun::AlreadyIn(_) => Opened::AlreadyIn,
        })
    }

    /// The columns that the object to be loaded brings; `None` where it cannot be read so far.
    async fn columns(&self) -> Option<Vec<String>> {
        let planned = self.plan.objects.iter().find(|planned| !planned.superseded)?;
        let object = &planned.landed.object;
        let mut reader = Reader::open(self.ctx, object, self.job.target).await.ok()?;
        reader.next(&self.ctx.progress).await.ok()?;
        Some(self.job.target.loaded_columns(&reader.binding()?.columns))
    }

    fn spec(&self, load_id: LoadId, loaded_at: Timestamp, objects: &[ObjectSpec], columns: Vec<String>) -> LoadSpec {
        let objects = objects.iter().map(|object| self.with_archive_key(object.clone(), loaded_at)).collect();
        LoadSpec {
            load_id,
            table: self.job.pipeline.table.clone(),
            pipeline: self.job.pipeline.name.clone(),
            mode: self.job.target.mode.clone(),
            objects,
            columns,
            rules_hash: self.job.pipeline.rules_hash.clone(),
            seen_latest: self.known.latest.clone(),
            loaded_at,
        }
    }

    /// An object of a load with this time, which says where the archive will put it.
    fn with_archive_key(&self, mut object: ObjectSpec, loaded_at: Timestamp) -> ObjectSpec {
        if object.archive_key.is_none() && !self.ctx.keep {
            object.archive_key = Some(archive::key_for(&self.ctx.prefixes, &object, loaded_at));
        }
        object
    }

    /// Puts the rejects away, then commits. `None`: somebody else has the objects in.
    async fn commit(
        &self,
        load: Box<dyn Load>,
        load_id: LoadId,
        parts: &mut [Part],
    ) -> Result<Option<(Receipt, Vec<Option<String>>)>, WarehouseError> {
        let mut reports = Vec::with_capacity(parts.len());
        for part in parts.iter_mut() {
            let report = match &mut part.finished {
                Some(finished) if part.kind == EntryKind::Load && finished.rejects.count > 0 => {
                    let put =
                        quarantine::put_rejects(&part.planned.landed, load_id, finished, self.job, self.ctx).await;
                    Some(put.map_err(|error| {
                        WarehouseError::new(
                            Kind::Other,
                            format!(
                                "cannot put the rejects of `{}` away: {}",
                                part.planned.landed.key(),
                                error.chain()
                            ),
                        )
                        .cure(error.hint().unwrap_or("make the bucket writable"))
                    })?)
                }
                _ => None,
            };
            reports.push(report);
        }
        crash_point("rejects-put");
        let tallies: Vec<Tally> = parts.iter().map(tally).collect();
        match load.commit(&tallies).await {
            Ok(WarehouseCommitted::Loaded(receipt)) => {
                crash_point("commit-answered");
                Ok(Some((receipt, reports)))
            }
            Ok(WarehouseCommitted::AlreadyIn(_)) => Ok(None),
            Err(error) => {
                if *error.kind() != Kind::OutcomeUnknown {
                    for report in reports.iter().flatten() {
                        quarantine::remove_rejects(report, self.ctx).await;
                    }
                }
                Err(error)
            }
        }
    }

    fn committed(&self, committed: Option<(Receipt, Vec<Option<String>>)>, parts: Vec<Part>) -> Loaded {
        match committed {
            None => self.again(),
            Some((receipt, reports)) => {
                Loaded { committed: Some(assemble(receipt, reports, parts)), ..Loaded::default() }
            }
        }
    }

    /// The ledger has something of this plan: it is planned again.
    fn again(&self) -> Loaded {
        Loaded { again: self.plan.objects.clone(), ..Loaded::default() }
    }

    fn specs(&self, planned: &[Planned]) -> Vec<ObjectSpec> {
        planned.iter().map(|planned| spec(planned, self.ctx)).collect()
    }

    fn columns_of(&self, parts: &[Part]) -> Vec<String> {
        parts
            .iter()
            .filter_map(|part| part.finished.as_ref()?.binding.as_ref())
            .find(|binding| binding.source != BindingSource::Empty)
            .map_or_else(|| self.all_columns(), |binding| self.job.target.loaded_columns(&binding.columns))
    }

    fn all_columns(&self) -> Vec<String> {
        self.job.target.loaded_columns(&(0..self.job.target.columns.len()).collect::<Vec<_>>())
    }

    fn filler(&self, landed: &Landed, load_id: LoadId, loaded_at: Timestamp) -> Result<Filler, FillError> {
        Filler::new(&self.job.target.filled, self.job.pipeline, landed, &self.ctx.prefixes.pending, load_id, loaded_at)
    }

    /// A column that cannot be filled through no fault of the object.
    fn unfillable(&self, landed: &Landed, error: FillError) -> Error {
        Error::environment(format!(
            "cannot fill column `{}` of {} for `{}`: {}",
            error.column,
            self.job.target.table.name,
            landed.key(),
            error.why
        ))
        .cure(format!("correct `fill` of pipeline `{}`", self.job.pipeline.name))
    }
}

/// The time to the microsecond: ledger and columns keep no more.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

fn part(planned: &Planned, kind: EntryKind) -> Part {
    Part { planned: planned.clone(), kind, finished: None }
}

fn assemble(receipt: Receipt, reports: Vec<Option<String>>, parts: Vec<Part>) -> Committed {
    let (landed, finished) = parts.into_iter().map(|part| (part.planned.landed, part.finished)).unzip();
    Committed { receipt, landed, finished, reports }
}

fn tally(part: &Part) -> Tally {
    let (read, rejected) = match (&part.finished, part.kind) {
        (Some(finished), EntryKind::Load) => (finished.summary.records, finished.rejects.count),
        _ => (0, 0),
    };
    Tally {
        kind: part.kind,
        content_hash: part.finished.as_ref().map(|finished| finished.content_hash.clone()),
        rows_read: read,
        rows_rejected: rejected,
    }
}

fn spec(planned: &Planned, ctx: &Context) -> ObjectSpec {
    let landed = &planned.landed;
    ObjectSpec {
        identity: landed.identity,
        generation: landed.generation,
        parent: None,
        bucket: ctx.bucket.id().to_owned(),
        key: landed.key().to_owned(),
        etag: landed.object.etag.clone(),
        size: landed.object.size,
        modified_at: landed.object.modified_at,
        late: planned.late,
        archive_key: (landed.place == Place::Processed).then(|| landed.at.key.as_str().to_owned()),
    }
}
