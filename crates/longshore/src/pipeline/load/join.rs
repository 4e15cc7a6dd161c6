//! Several small objects join an open load one by one: each is held until it was judged, and no longer.
//!
//! So the load may be as large as you like. Its price: where the server refuses rows, the others are read again.

use jiff::Timestamp;
use longshore_csv::BindingSource;
use longshore_warehouse::{EntryKind, Kind, Load, LoadId, Mode, WarehouseError, crash_point};

use super::hold::{Held, Outcome, Reading, Room};
use super::{Attempt, Committed, Loaded, Opened, Part, assemble, spec};
use crate::pipeline::Error;
use crate::pipeline::plan::Planned;
use crate::pipeline::rejects::Rejects;

/// Objects with rejects that one load has at most: each keeps a file open.
const REJECTING: usize = 100;
/// Rejects that are listed for one load at most.
const LISTED: usize = 10_000;

/// A load that objects join.
#[derive(Default)]
struct Joined {
    /// Begun with the first object that says which columns it brings.
    open: Option<Open>,
    columns: Option<Vec<usize>>,
    parts: Vec<Part>,
    /// Objects that left the group.
    apart: Vec<Vec<Planned>>,
    /// Objects that have rejects, and the rejects that are listed of them.
    rejecting: usize,
    listed: usize,
}

struct Open {
    load: Box<dyn Load>,
    load_id: LoadId,
    loaded_at: Timestamp,
}

/// How it ended.
enum Passed {
    /// What is good is in, if there was anything.
    In(Option<Committed>),
    /// Somebody else has some of the objects in.
    AlreadyIn,
    /// The warehouse refuses rows.
    Refused(WarehouseError),
}

impl Attempt<'_> {
    /// Brings the objects of a group in together, but for those that cannot be.
    pub(super) async fn join(&self) -> Result<Loaded, Error> {
        let mut loaded = Loaded::default();
        let mut objects = self.plan.objects.clone();
        for is_first in [true, false] {
            let mut joined = Joined::default();
            let mut taken = 0;
            let passed = self.pass(&objects, &mut taken, &mut joined, &mut loaded).await;
            if let Some(open) = joined.open.take() {
                give_up(open).await;
            }
            let passed = passed?;
            let rest = objects.split_off(taken);
            // Loads that follow, in order: before those that were left when the objects were read the first time.
            let mut next = std::mem::take(&mut joined.apart);
            let mut is_replayed = false;
            match passed {
                Passed::In(committed) => {
                    loaded.committed = committed;
                    next.push(rest);
                }
                Passed::AlreadyIn => {
                    next.push(rest);
                    let later = next.drain(..).chain(loaded.apart.drain(..)).flatten();
                    loaded.again = joined.planned().chain(later).collect();
                }
                Passed::Refused(error) => {
                    let is_named = self.refused(error, &mut joined.parts, &mut loaded)?;
                    objects = joined.planned().collect();
                    if next.is_empty() || !self.is_in_order() {
                        objects.extend(rest);
                    } else {
                        next.push(rest);
                    }
                    is_replayed = is_first && is_named;
                    if !is_replayed {
                        // Whose rows they are, or how many more there are, is found by halving.
                        let half = objects.len().div_ceil(2).max(1);
                        next.splice(0..0, objects.chunks(half).map(<[Planned]>::to_vec));
                    }
                }
            }
            next.retain(|objects| !objects.is_empty());
            loaded.apart.splice(0..0, next);
            if !is_replayed {
                break;
            }
        }
        Ok(loaded)
    }

    fn is_in_order(&self) -> bool {
        !matches!(self.job.pipeline.mode, Mode::Append)
    }

    /// Takes the object out of a load whose rows the warehouse refused; whether it says which that is.
    fn refused(&self, error: WarehouseError, parts: &mut Vec<Part>, loaded: &mut Loaded) -> Result<bool, Error> {
        let at = match error.kind() {
            Kind::Rows { object, .. } => object.map(|object| object as usize).filter(|at| *at < parts.len()),
            _ => None,
        };
        let Some(at) = at else { return Ok(false) };
        let Part { planned, finished: Some(finished), .. } = parts.remove(at) else { return Ok(false) };
        loaded.refused.extend(self.server_fault(&planned.landed, error, finished)?.refused);
        Ok(true)
    }

    /// Reads the objects, judges them, and brings in those that are good; `taken` of them, the others are left.
    async fn pass(
        &self,
        objects: &[Planned],
        taken: &mut usize,
        joined: &mut Joined,
        loaded: &mut Loaded,
    ) -> Result<Passed, Error> {
        let room = Room::for_next();
        let mut reading = Reading::new(self, objects, &room);
        while let Some(outcome) = reading.next().await {
            let outcome = outcome?;
            *taken += 1;
            let bytes = outcome.bytes();
            match self.judge(outcome) {
                Outcome::Refused(refusal) => {
                    joined.count(&refusal.rejects);
                    loaded.refused.push(*refusal);
                }
                Outcome::Gone(key) => loaded.gone.push(key),
                Outcome::Stuck(error) => loaded.stuck.push(error),
                Outcome::TooLarge(planned) => joined.apart.push(vec![planned]),
                // It leaves the group. Where order matters, the group ends before it.
                Outcome::Held(one) if !joined.binds_alike(&one) => joined.apart.push(vec![one.planned]),
                Outcome::Held(one) => match self.take(*one, joined).await {
                    Ok(true) => {}
                    Ok(false) => return Ok(Passed::AlreadyIn),
                    Err(error) => return refused(error),
                },
            }
            room.go_on(bytes);
            if joined.is_full() || (self.is_in_order() && !joined.apart.is_empty()) {
                break;
            }
        }
        if joined.parts.is_empty() {
            return Ok(Passed::In(None));
        }
        if joined.open.is_none() && !self.open(joined).await? {
            return Ok(Passed::AlreadyIn);
        }
        crash_point("mid-stream");
        let Some(Open { load, load_id, .. }) = joined.open.take() else { return Ok(Passed::In(None)) };
        match self.commit(load, load_id, &mut joined.parts).await {
            Ok(Some((receipt, reports))) => {
                Ok(Passed::In(Some(assemble(receipt, reports, std::mem::take(&mut joined.parts)))))
            }
            Ok(None) => Ok(Passed::AlreadyIn),
            Err(error) => refused(error),
        }
    }

    /// Begins the load with the objects that are there; `false` where somebody has one of them in.
    async fn open(&self, joined: &mut Joined) -> Result<bool, WarehouseError> {
        let columns = match &joined.columns {
            Some(columns) => self.job.target.loaded_columns(columns),
            None => self.all_columns(),
        };
        let objects: Vec<_> = joined.parts.iter().map(|part| spec(&part.planned, self.ctx)).collect();
        let Opened::Open(load, load_id, loaded_at) = self.begin(&objects, columns).await? else { return Ok(false) };
        crash_point("begin");
        joined.open = Some(Open { load, load_id, loaded_at });
        Ok(true)
    }

    /// Takes an object into the load and writes its rows; `false` where somebody has one of the objects in.
    async fn take(&self, held: Held, joined: &mut Joined) -> Result<bool, WarehouseError> {
        let Held { planned, mut finished, batches, .. } = held;
        let landed = planned.landed.clone();
        let is_repeat = self.is_repeat(&landed, &finished);
        joined.count(&finished.rejects);
        let object = joined.parts.len() as u32;
        let join = spec(&planned, self.ctx);
        // Of thousands of objects only what is asked for later is kept.
        let columns = finished.binding.take().filter(|binding| binding.source != BindingSource::Empty);
        let kind = if is_repeat { EntryKind::Repeat } else { EntryKind::Load };
        joined.parts.push(Part { planned, kind, finished: Some(finished) });
        if let Some(binding) = columns {
            joined.columns.get_or_insert(binding.columns);
        }
        match &mut joined.open {
            Some(open) => open.load.join(self.with_archive_key(join, open.loaded_at))?,
            None if joined.columns.is_none() => return Ok(true),
            None => {
                if !self.open(joined).await? {
                    return Ok(false);
                }
            }
        }
        let Some(open) = &mut joined.open else { return Ok(true) };
        if is_repeat {
            return Ok(true);
        }
        let filler = self
            .filler(&landed, open.load_id, open.loaded_at)
            .map_err(|error| WarehouseError::new(Kind::Unsupported, self.unfillable(&landed, error).to_string()))?;
        for batch in batches.into_iter().filter(|batch| batch.rows.num_rows() > 0) {
            open.load.write(filler.fill(object, &batch)).await?;
        }
        Ok(true)
    }
}

impl Joined {
    /// Whether an object binds the same columns as those that joined.
    fn binds_alike(&self, one: &Held) -> bool {
        match (&self.columns, one.columns()) {
            (Some(first), Some(columns)) => first == columns,
            _ => true,
        }
    }

    fn count(&mut self, rejects: &Rejects) {
        self.rejecting += usize::from(rejects.count > 0);
        self.listed += rejects.listed.len();
    }

    /// The objects that joined, which leave.
    fn planned(&mut self) -> impl Iterator<Item = Planned> {
        std::mem::take(&mut self.parts).into_iter().map(|part| part.planned)
    }

    /// Whether no more should join.
    fn is_full(&self) -> bool {
        self.rejecting >= REJECTING || self.listed >= LISTED
    }
}

/// What an error of the warehouse means for the load.
fn refused(error: WarehouseError) -> Result<Passed, Error> {
    if matches!(error.kind(), Kind::Rows { .. }) { Ok(Passed::Refused(error)) } else { Err(error.into()) }
}

/// Rolls back what was begun. A rollback that fails leaves nothing either.
async fn give_up(open: Open) {
    if let Err(error) = open.load.rollback().await {
        tracing::debug!(%error, "a rollback failed; the warehouse rolls back by itself");
    }
}
