//! What a load will do to its table, decided before its first row.

use super::columns::{Carrier, Described};
use crate::layout::Layout;
use crate::{LoadSpec, Mode, RowBatch, WarehouseError};

/// A load as planned against the table that it found.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) table: Described,
    pub(super) layout: Layout,
    /// The loaded columns, in the order of the batches.
    pub(super) carriers: Vec<Carrier>,
    pub(super) mode: Mode,
    /// Whether rows go straight into the target.
    pub(super) is_straight: bool,
}

impl Plan {
    /// # Errors
    /// Where the table cannot be loaded in this way.
    pub(super) fn new(table: Described, spec: &LoadSpec) -> Result<Self, WarehouseError> {
        // DuckDB compares names without case.
        let layout = Layout::new(&table.table, spec, |a, b| a.to_lowercase() == b.to_lowercase())?;
        let carriers: Vec<Carrier> =
            layout.columns.iter().map(|at| Carrier::new(table.table.columns[*at].clone())).collect();
        let is_straight = spec.mode == Mode::Append
            && !carriers.is_empty()
            && table.checks.is_empty()
            && table.table.unique_keys.is_empty()
            && !carriers.iter().any(Carrier::is_checked_by_server);
        Ok(Self { table, layout, carriers, mode: spec.mode.clone(), is_straight })
    }

    /// Looks at a batch before it is queued, where faults can still be named row by row.
    pub(super) fn admit(&self, batch: &RowBatch, spec: &LoadSpec) -> Result<(), WarehouseError> {
        self.layout.admit(batch, spec, |index, ty| self.carriers[index].physical.takes(ty))
    }

    /// Whether every column that can be written is loaded.
    pub(super) fn covers_table(&self) -> bool {
        self.layout.covers(&self.table.table)
    }
}
