//! What became of the objects that were worked on.

use longshore_warehouse::EntryKind;
use serde::Serialize;

use super::Done;
use crate::journal::Totals;

/// What was done.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Transactions committed.
    pub loads: u64,
    /// Objects brought in.
    pub objects_loaded: u64,
    /// Objects archived without rows: superseded, repeats, and those that a crash left in `pending`.
    pub objects_archived: u64,
    /// Rows, as in the ledger.
    #[serde(flatten)]
    pub rows: Totals,
    /// Objects that were refused.
    pub failed: Vec<String>,
    /// Pipelines that wait, and why.
    pub waiting: Vec<Waiting>,
    /// Objects of two or more pipelines.
    pub ambiguous: Vec<String>,
    /// Objects that vanished or changed while they were read.
    pub changed: Vec<String>,
    /// Objects that are still being written.
    pub settling: Vec<String>,
    /// Objects that are not brought to their end, because the process was told to end, or somebody
    /// cancelled or took them.
    pub unfinished: Vec<String>,
    /// Number of objects that belong to no pipeline.
    pub unmatched: u64,
}

/// A pipeline that waits.
#[derive(Debug, Clone, Serialize)]
pub struct Waiting {
    /// Its name.
    pub pipeline: String,
    /// Why.
    pub error: String,
    /// What to do about it.
    pub cure: Option<String>,
}

impl Summary {
    /// Whether everything that waited is in.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
            && self.waiting.is_empty()
            && self.ambiguous.is_empty()
            && self.changed.is_empty()
            && self.settling.is_empty()
            && self.unfinished.is_empty()
    }

    /// Counts what became of a plan.
    pub(super) fn add(&mut self, done: &Done) {
        self.loads += u64::from(!done.entries.is_empty());
        for entry in &done.entries {
            self.rows.add(entry);
            if entry.kind == EntryKind::Load { self.objects_loaded += 1 } else { self.objects_archived += 1 }
        }
        self.failed.extend(done.refused.iter().cloned());
        self.changed.extend(done.gone.iter().cloned());
    }

    /// Adds what another worker did. A pipeline waits once, for its latest reason.
    pub fn merge(&mut self, other: Self) {
        self.loads += other.loads;
        self.objects_loaded += other.objects_loaded;
        self.objects_archived += other.objects_archived;
        self.rows.merge(other.rows);
        self.failed.extend(other.failed);
        for waiting in other.waiting {
            self.waits(waiting);
        }
        self.ambiguous.extend(other.ambiguous);
        self.changed.extend(other.changed);
        self.settling.extend(other.settling);
        self.unmatched += other.unmatched;
        self.unfinished.extend(other.unfinished);
    }

    /// Notes that a pipeline waits.
    pub fn waits(&mut self, waiting: Waiting) {
        self.waiting.retain(|known| known.pipeline != waiting.pipeline);
        self.waiting.push(waiting);
    }
}
