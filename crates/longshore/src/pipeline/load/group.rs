//! Several small objects share a load: each is read and judged before any reaches the warehouse. They
//! may be read while the load before theirs is still under way.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use longshore_csv::{Batch, BindingSource};
use longshore_warehouse::{EntryKind, Kind, Mode, RowBatch, WarehouseError, crash_point};

use super::{Attempt, Committed, Loaded, Opened, Part, Refusal, assemble};
use crate::pipeline::Error;
use crate::pipeline::plan::Planned;
use crate::pipeline::read::{Finished, Reader};
use crate::pipeline::rejects::Rejects;

/// Decoded bytes up to which an object of a group is held: its rows take some times as much.
const HELD_BYTES: u64 = 8 << 20;
/// Decoded bytes that the objects of a group hold together at most.
const GROUP_HELD_BYTES: u64 = 24 << 20;
/// Objects of a group that are read at once: enough to hide the latency of S3.
const READ_AHEAD: usize = 16;

/// An object that was read whole and is held.
struct Held {
    planned: Planned,
    finished: Finished,
    batches: Vec<Batch>,
}

/// What was read of the objects of a group, in their order, as far as was worth reading.
pub struct Ahead(Vec<Result<Outcome, Error>>);

/// What came of reading an object of a group.
enum Outcome {
    Held(Box<Held>),
    Refused(Box<Refusal>),
    TooLarge(Planned),
    Gone(String),
    Stuck(Error),
}

/// What came of bringing a group in.
enum Brought {
    Committed(Committed),
    AlreadyIn,
}

impl Attempt<'_> {
    /// Reads the objects of a group, up to what nobody can go on after.
    pub(super) async fn read(&self) -> Ahead {
        let in_memory = AtomicU64::new(0);
        let mut holds: Vec<BoxFuture<'_, _>> = Vec::with_capacity(self.plan.objects.len());
        for planned in &self.plan.objects {
            holds.push(self.hold(planned, &in_memory).boxed());
        }
        let mut reading = futures::stream::iter(holds).buffered(READ_AHEAD);
        let mut outcomes = Vec::with_capacity(self.plan.objects.len());
        while let Some(outcome) = reading.next().await {
            let is_last = match &outcome {
                Err(_) => true,
                Ok(Outcome::TooLarge(_)) => !matches!(self.job.pipeline.mode, Mode::Append),
                Ok(_) => false,
            };
            outcomes.push(outcome);
            if is_last {
                break;
            }
        }
        Ahead(outcomes)
    }

    /// Judges the objects of a group, then brings in together those that are good.
    pub(super) async fn group(&self, read: Ahead) -> Result<Loaded, Error> {
        let mut loaded = Loaded::default();
        let mut held: Vec<Held> = Vec::new();
        let mut taken = 0;
        for outcome in read.0 {
            taken += 1;
            match self.judge(outcome?) {
                Outcome::Refused(refusal) => loaded.refused.push(*refusal),
                Outcome::Gone(key) => loaded.gone.push(key),
                Outcome::Stuck(error) => loaded.stuck.push(error),
                Outcome::Held(one) if binds_alike(&held, &one) => held.push(*one),
                // It leaves the group. Where order matters, the group ends before it.
                Outcome::Held(one) => loaded.alone.push(one.planned),
                Outcome::TooLarge(planned) => loaded.alone.push(planned),
            }
            if !loaded.alone.is_empty() && !matches!(self.job.pipeline.mode, Mode::Append) {
                break;
            }
        }
        loaded.again.extend(self.plan.objects[taken..].iter().cloned());
        let mut replayed = 0;
        while !held.is_empty() {
            match self.bring_in(&mut held).await {
                Ok(Brought::Committed(committed)) => {
                    loaded.committed = Some(committed);
                    break;
                }
                Ok(Brought::AlreadyIn) => {
                    loaded.again.splice(0..0, held.drain(..).map(|held| held.planned));
                    break;
                }
                Err(error) => {
                    let Kind::Rows { object, .. } = error.kind() else {
                        return Err(error.into());
                    };
                    let at = object.map(|object| object as usize).filter(|at| *at < held.len());
                    replayed += 1;
                    match at {
                        Some(at) if replayed < 2 => {
                            let bad = held.remove(at);
                            let refused = self.server_fault(&bad.planned.landed, error, bad.finished)?;
                            loaded.refused.extend(refused.refused);
                        }
                        _ => {
                            loaded.alone.splice(0..0, held.drain(..).map(|held| held.planned));
                            break;
                        }
                    }
                }
            }
        }
        Ok(loaded)
    }

    /// Refuses an object that was read to its end, if it has to be.
    fn judge(&self, outcome: Outcome) -> Outcome {
        let Outcome::Held(held) = outcome else { return outcome };
        match self.refuses(&held.planned.landed, &held.finished) {
            Some(why) => Outcome::Refused(Box::new(Refusal::new(&held.planned.landed, why, held.finished))),
            None => Outcome::Held(held),
        }
    }

    /// Reads an object whole, unless it is too large to hold beside what is held.
    async fn hold(&self, planned: &Planned, in_memory: &AtomicU64) -> Result<Outcome, Error> {
        let landed = &planned.landed;
        if let Some(why) = self.misfit(landed)? {
            return Ok(Outcome::Refused(Box::new(Refusal::unread(landed, why))));
        }
        let opened = Reader::open(self.ctx.bucket.as_ref(), &landed.at, self.job.target).await;
        let mut reader = match opened {
            Ok(reader) => reader,
            Err(error) => {
                return self.outcome(self.unreadable(landed, error, 0, Rejects::default())?);
            }
        };
        let mut batches = Vec::new();
        let mut counted = 0;
        loop {
            match reader.next(&self.ctx.progress).await {
                Ok(Some(batch)) => {
                    if self.is_spoiled(reader.rejects()) {
                        batches.clear();
                    } else {
                        batches.push(batch);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    let finished = reader.finish();
                    return self.outcome(self.unreadable(landed, error, finished.summary.records, finished.rejects)?);
                }
            }
            let decoded = reader.decoded_bytes();
            let together = in_memory.fetch_add(decoded - counted, Ordering::Relaxed) + decoded - counted;
            counted = decoded;
            if decoded > HELD_BYTES || together > GROUP_HELD_BYTES {
                in_memory.fetch_sub(counted, Ordering::Relaxed);
                return Ok(Outcome::TooLarge(planned.clone()));
            }
        }
        Ok(Outcome::Held(Box::new(Held { planned: planned.clone(), finished: reader.finish(), batches })))
    }

    fn outcome(&self, loaded: Loaded) -> Result<Outcome, Error> {
        let gone = loaded.gone.into_iter().map(Outcome::Gone);
        let refused = loaded.refused.into_iter().map(|refusal| Outcome::Refused(Box::new(refusal)));
        let stuck = loaded.stuck.into_iter().map(Outcome::Stuck);
        gone.chain(refused)
            .chain(stuck)
            .next()
            .ok_or_else(|| Error::environment("an object was neither read nor refused"))
    }

    /// Brings held objects in. They stay held if the warehouse refuses.
    async fn bring_in(&self, held: &mut Vec<Held>) -> Result<Brought, WarehouseError> {
        let planned: Vec<Planned> = held.iter().map(|held| held.planned.clone()).collect();
        let columns = held
            .iter()
            .find_map(|held| held.finished.binding.as_ref().filter(|binding| binding.source != BindingSource::Empty))
            .map_or_else(|| self.all_columns(), |binding| self.job.target.loaded_columns(&binding.columns));
        let (mut load, load_id, loaded_at) = match self.begin(&self.specs(&planned), columns).await? {
            Opened::Open(load, load_id, loaded_at) => (load, load_id, loaded_at),
            Opened::AlreadyIn => return Ok(Brought::AlreadyIn),
        };
        crash_point("begin");
        for (object, held) in held.iter().enumerate() {
            if self.is_repeat(&held.planned.landed, &held.finished) || held.batches.is_empty() {
                continue;
            }
            let landed = &held.planned.landed;
            let filler = self
                .filler(landed, load_id, loaded_at)
                .map_err(|error| WarehouseError::new(Kind::Unsupported, self.unfillable(landed, error).to_string()))?;
            for batch in &held.batches {
                if batch.rows.num_rows() == 0 {
                    continue;
                }
                let rows = RowBatch { object: object as u32, lines: batch.lines.clone(), rows: filler.fill(batch) };
                if let Err(error) = load.write(rows).await {
                    // Nothing else can be done with the load: dropping it rolls back as well.
                    drop(load.rollback().await);
                    return Err(error);
                }
            }
        }
        crash_point("mid-stream");
        let kind = |held: &Held| {
            if self.is_repeat(&held.planned.landed, &held.finished) { EntryKind::Repeat } else { EntryKind::Load }
        };
        let kinds: Vec<EntryKind> = held.iter().map(kind).collect();
        let batches: Vec<Vec<Batch>> = held.iter_mut().map(|held| std::mem::take(&mut held.batches)).collect();
        let mut parts: Vec<Part> = held
            .drain(..)
            .zip(kinds)
            .map(|(held, kind)| Part { planned: held.planned, kind, finished: Some(held.finished) })
            .collect();
        match self.commit(load, load_id, &mut parts).await {
            Ok(Some((receipt, reports))) => Ok(Brought::Committed(assemble(receipt, reports, parts))),
            outcome => {
                held.extend(parts.into_iter().zip(batches).filter_map(|(part, batches)| {
                    Some(Held { planned: part.planned, finished: part.finished?, batches })
                }));
                outcome.map(|_| Brought::AlreadyIn)
            }
        }
    }
}

/// Whether an object binds the same columns as those that are held.
fn binds_alike(held: &[Held], one: &Held) -> bool {
    let columns = |held: &Held| {
        let binding = held.finished.binding.as_ref()?;
        (binding.source != BindingSource::Empty).then(|| binding.columns.clone())
    };
    match (held.iter().find_map(columns), columns(one)) {
        (Some(first), Some(columns)) => first == columns,
        _ => true,
    }
}
