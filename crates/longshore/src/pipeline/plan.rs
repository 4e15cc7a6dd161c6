//! Decides what becomes of each object. Pure: objects, ledger entries and rules in, verdicts out.

use std::sync::Arc;

use longshore_warehouse::{Entry, EntryKind, Known, Mode, Position};

use super::Landed;
use crate::config::{OnLate, Pipeline};

/// What becomes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is loaded. `late`: it is older than one already committed.
    Load {
        /// Whether it is late.
        late: bool,
    },
    /// A newer object replaces the table: an entry, no rows.
    Supersede,
    /// The ledger has it: it only has to be archived.
    Archive(Box<Entry>),
    /// The ledger has it and it stays where it is.
    Done(Box<Entry>),
    /// It is late, and the pipeline says that late objects fail.
    LateFails(Position),
}

/// What a plan needs to know of the project besides the pipeline.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// Whether objects stay where they are (`after = "keep"`).
    pub keep: bool,
}

/// Objects of one pipeline that are to be loaded in one transaction, in order.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The objects; for `replace` the older ones, then the one that is applied.
    pub objects: Vec<Planned>,
}

/// An object of a plan.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The object.
    pub landed: Arc<Landed>,
    /// Whether it is older than one already committed.
    pub late: bool,
    /// Whether it gets an entry only.
    pub superseded: bool,
}

/// Judges objects of one pipeline, given in their order.
pub fn judge(objects: &[Arc<Landed>], known: &Known, rules: Rules<'_>) -> Vec<Verdict> {
    let newest_to_load = objects
        .iter()
        .rposition(|object| in_ledger(object, known).is_none() && !is_late(object, known, rules.pipeline));
    objects
        .iter()
        .enumerate()
        .map(|(at, object)| {
            if let Some(entry) = in_ledger(object, known) {
                let stays = rules.keep || entry.kind == EntryKind::Failed;
                let entry = Box::new(entry.clone());
                return if stays { Verdict::Done(entry) } else { Verdict::Archive(entry) };
            }
            let late = is_late(object, known, rules.pipeline);
            match (&rules.pipeline.mode, &known.latest) {
                (Mode::Replace, _) if late => Verdict::Supersede,
                (Mode::Replace, _) if newest_to_load.is_some_and(|newest| at < newest) => Verdict::Supersede,
                (_, Some(latest)) if late && rules.pipeline.late == OnLate::Fail => Verdict::LateFails(latest.clone()),
                _ => Verdict::Load { late },
            }
        })
        .collect()
}

/// Whether a plan is still what would be planned.
pub fn still_holds(plan: &LoadPlan, known: &Known, rules: Rules<'_>) -> bool {
    let landed: Vec<Arc<Landed>> = plan.objects.iter().map(|planned| Arc::clone(&planned.landed)).collect();
    judge(&landed, known, rules).into_iter().zip(&plan.objects).all(|(verdict, planned)| match verdict {
        Verdict::Load { late } => !planned.superseded && planned.late == late,
        Verdict::Supersede => planned.superseded,
        _ => false,
    })
}

/// The newest entry of this object, if the object was loaded as often as it is to be.
fn in_ledger<'k>(object: &Landed, known: &'k Known) -> Option<&'k Entry> {
    known
        .entries
        .iter()
        .filter(|entry| entry.identity == object.identity && entry.generation >= object.generation)
        .max_by_key(|entry| entry.generation)
}

/// Whether the object is older than one already committed, where that matters. An object that is
/// loaded anew on purpose is exempt.
fn is_late(object: &Landed, known: &Known, pipeline: &Pipeline) -> bool {
    pipeline.mode.is_ordered()
        && !object.again
        && known.latest.as_ref().is_some_and(|latest| object.position() < *latest)
}

/// Puts objects that are to be loaded into loads, in order, within the pipeline's limits.
pub fn group(objects: Vec<Planned>, pipeline: &Pipeline) -> Vec<LoadPlan> {
    let mut plans: Vec<LoadPlan> = Vec::new();
    let mut bytes = 0;
    let mut applied = false;
    for object in objects {
        let size = if object.superseded { 0 } else { object.landed.object.size };
        let fits = plans.last().is_some_and(|plan| match pipeline.mode {
            // However many: they are superseded in the transaction of the one that is applied.
            Mode::Replace => !applied,
            _ => plan.objects.len() < pipeline.group.objects && bytes + size <= pipeline.group.bytes,
        });
        if !fits {
            plans.push(LoadPlan { objects: Vec::new() });
            bytes = 0;
            applied = false;
        }
        bytes += size;
        applied |= !object.superseded;
        if let Some(plan) = plans.last_mut() {
            plan.objects.push(object);
        }
    }
    plans
}

#[cfg(test)]
mod tests;
