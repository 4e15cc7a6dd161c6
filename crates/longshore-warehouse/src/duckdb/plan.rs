//! What a load will do to its table, decided before its first row.

use std::collections::HashSet;

use arrow_array::Array;
use arrow_array::cast::AsArray;

use super::columns::{Carrier, Described};
use super::sql;
use crate::{ColumnType, Kind, LoadSpec, Mode, RowBatch, WarehouseError};

/// A load as planned against the table that it found.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) table: Described,
    /// The loaded columns, in the order of the batches.
    pub(super) carriers: Vec<Carrier>,
    /// Indexes into `carriers` of the key; empty for append and replace.
    pub(super) key: Vec<usize>,
    /// Index into `carriers` of the column whose greater value wins.
    pub(super) order_by: Option<usize>,
    pub(super) mode: Mode,
    /// Whether rows go straight into the target.
    pub(super) is_straight: bool,
    /// Columns in which no NULL is let through.
    not_null: Vec<usize>,
    /// Labels of ENUM columns.
    labels: Vec<(usize, HashSet<String>)>,
}

impl Plan {
    /// # Errors
    /// Where the table cannot be loaded in this way.
    pub(super) fn new(table: Described, spec: &LoadSpec) -> Result<Self, WarehouseError> {
        let name = &spec.table;
        let unsupported = |text: String| WarehouseError::new(Kind::Unsupported, text);
        let mut carriers: Vec<Carrier> = Vec::with_capacity(spec.columns.len());
        for column in &spec.columns {
            let Some(found) = table.table.columns.iter().find(|c| c.name.to_lowercase() == column.to_lowercase())
            else {
                let error = WarehouseError::new(Kind::Missing, format!("`{name}` has no column `{column}`"));
                let nearest = sql::nearest(column, table.table.columns.iter().map(|c| c.name.as_str()));
                return Err(match nearest {
                    Some(nearest) => {
                        error.cure(format!("add it, or map the field to `{nearest}` by the pipeline's `columns`"))
                    }
                    None => error,
                });
            };
            if found.generated {
                return Err(unsupported(format!("`{name}`: the column `{}` is computed by the table", found.name))
                    .cure("leave it out of the pipeline's `columns`"));
            }
            if carriers.iter().any(|carrier| carrier.column.name == found.name) {
                return Err(unsupported(format!("`{name}`: the column `{}` is named twice", found.name)));
            }
            carriers.push(Carrier::new(found.clone()));
        }
        if carriers.is_empty() {
            return Ok(Self::of_ledger_only(table, spec));
        }
        let index = |column: &str| {
            carriers.iter().position(|carrier| carrier.column.name.to_lowercase() == column.to_lowercase())
        };
        let loaded = |column: &str, what: &str| {
            index(column).ok_or_else(|| {
                unsupported(format!("`{name}`: the {what} column `{column}` is not among the columns that are loaded"))
                    .cure(format!("load `{column}`, or name another {what} in the pipeline"))
            })
        };
        let (key, order_by) = match &spec.mode {
            Mode::Upsert { key, .. } if key.is_empty() => {
                return Err(unsupported(format!("`{name}`: upsert needs a key"))
                    .cure("name its columns in the pipeline's `key`"));
            }
            Mode::Upsert { key, order_by } => (
                key.iter().map(|column| loaded(column, "key")).collect::<Result<_, _>>()?,
                order_by.as_ref().map(|column| loaded(column, "order_by")).transpose()?,
            ),
            _ => (Vec::new(), None),
        };
        let absent = table.table.columns.iter().find(|column| {
            !column.nullable && column.default.is_none() && !column.generated && index(&column.name).is_none()
        });
        if let Some(column) = absent {
            return Err(unsupported(format!(
                "`{name}`: the column `{}` takes no NULL, has no default and is not loaded",
                column.name
            ))
            .cure("load it, or give it a default"));
        }
        let not_null =
            (0..carriers.len()).filter(|index| !carriers[*index].column.nullable || key.contains(index)).collect();
        let labels = carriers
            .iter()
            .enumerate()
            .filter_map(|(index, carrier)| match &carrier.column.ty {
                ColumnType::Enum(labels) => Some((index, labels.iter().cloned().collect())),
                _ => None,
            })
            .collect();
        let is_straight = spec.mode == Mode::Append
            && table.checks.is_empty()
            && table.table.unique_keys.is_empty()
            && !carriers.iter().any(Carrier::is_checked_by_server);
        Ok(Self { table, carriers, key, order_by, mode: spec.mode.clone(), is_straight, not_null, labels })
    }

    /// A load that brings no columns brings no rows: it writes entries, and for replace may empty
    /// the table. So a header that could not be bound does not stand in the way of its entry.
    fn of_ledger_only(table: Described, spec: &LoadSpec) -> Self {
        Self {
            table,
            carriers: Vec::new(),
            key: Vec::new(),
            order_by: None,
            mode: spec.mode.clone(),
            is_straight: false,
            not_null: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// Looks at a batch before it is queued, where faults can still be named row by row.
    pub(super) fn admit(&self, batch: &RowBatch, spec: &LoadSpec) -> Result<(), WarehouseError> {
        let bug = |text: String| WarehouseError::new(Kind::Other, format!("{text}: this is a bug in longshore"));
        let rows = &batch.rows;
        if batch.object as usize >= spec.objects.len() || batch.lines.len() != rows.num_rows() {
            return Err(bug(format!("a batch for object {} with {} lines", batch.object, batch.lines.len())));
        }
        if rows.num_columns() != self.carriers.len() {
            return Err(bug(format!("a batch with {} columns instead of {}", rows.num_columns(), self.carriers.len())));
        }
        for (array, carrier) in rows.columns().iter().zip(&self.carriers) {
            if !carrier.physical.takes(array.data_type()) {
                return Err(bug(format!("column `{}` in a batch is {}", carrier.column.name, array.data_type())));
            }
        }
        let fault = |row: usize, column: usize, why: &str| {
            let column = &self.carriers[column].column.name;
            let line = batch.lines.value(row);
            let kind = Kind::Rows { object: Some(batch.object), line: Some(line), column: Some(column.clone()) };
            let key = &spec.objects[batch.object as usize].key;
            Err(WarehouseError::new(kind, format!("line {line} of `{key}`, column `{column}`: {why}")))
        };
        for &index in &self.not_null {
            let Some(nulls) = rows.column(index).nulls().filter(|nulls| nulls.null_count() > 0) else {
                continue;
            };
            let row = (0..nulls.len()).find(|row| nulls.is_null(*row)).unwrap_or_default();
            let why = if self.key.contains(&index) { "NULL in a key" } else { "NULL in a column that takes none" };
            return fault(row, index, why);
        }
        for (index, labels) in &self.labels {
            let array = rows.column(*index).as_string_view();
            let stranger = array.iter().position(|label| label.is_some_and(|label| !labels.contains(label)));
            if let Some(row) = stranger {
                return fault(row, *index, "not one of the type's labels");
            }
        }
        Ok(())
    }

    /// Whether every column that can be written is loaded.
    pub(super) fn covers_table(&self) -> bool {
        self.table
            .table
            .columns
            .iter()
            .all(|column| column.generated || self.carriers.iter().any(|carrier| carrier.column.name == column.name))
    }
}
