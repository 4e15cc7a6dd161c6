//! Several small objects share a load: each is read and judged before any reaches the warehouse. They
//! may be read while the load before theirs is still under way.

use longshore_csv::{Batch, BindingSource};
use longshore_warehouse::{EntryKind, Kind, Mode, WarehouseError, crash_point};

use super::hold::{Held, Outcome, Reading, Room};
use super::{Attempt, Committed, Loaded, Opened, Part, assemble};
use crate::pipeline::Error;
use crate::pipeline::plan::Planned;

/// What was read of the objects of a group, in their order, as far as was worth reading.
pub struct Ahead(Vec<Result<Outcome, Error>>);

/// What came of bringing a group in.
enum Brought {
    Committed(Committed),
    AlreadyIn,
}

impl Attempt<'_> {
    /// Reads the objects of a group, up to what nobody can go on after.
    pub(super) async fn read(&self) -> Ahead {
        let room = Room::for_all();
        let mut reading = Reading::new(self, &self.plan.objects, &room);
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
                Outcome::Held(one) => loaded.apart.push(vec![one.planned]),
                Outcome::TooLarge(planned) => loaded.apart.push(vec![planned]),
            }
            if !loaded.apart.is_empty() && !matches!(self.job.pipeline.mode, Mode::Append) {
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
                    loaded.all_again(held.drain(..).map(|held| held.planned).collect());
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
                            loaded.apart.splice(0..0, held.drain(..).map(|held| vec![held.planned]));
                            break;
                        }
                    }
                }
            }
        }
        Ok(loaded)
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
                if let Err(error) = load.write(filler.fill(object as u32, batch)).await {
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
                    Some(Held { planned: part.planned, finished: part.finished?, batches, bytes: 0 })
                }));
                outcome.map(|_| Brought::AlreadyIn)
            }
        }
    }
}

/// Whether an object binds the same columns as those that are held.
fn binds_alike(held: &[Held], one: &Held) -> bool {
    match (held.iter().find_map(Held::columns), one.columns()) {
        (Some(first), Some(columns)) => first == columns,
        _ => true,
    }
}
