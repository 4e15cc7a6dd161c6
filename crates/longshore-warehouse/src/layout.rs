//! Which columns of its table a load brings, decided before its first row, and the look at every
//! batch while faults can still be named row by row.

use std::collections::HashSet;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_schema::DataType;

use crate::{ColumnType, Kind, LoadSpec, Mode, RowBatch, Table, WarehouseError, sql};

/// The columns of a load, matched with those of its table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    /// Indexes into the table's columns, in the order of the batches.
    pub(crate) columns: Vec<usize>,
    /// Indexes into `columns` of the key; empty for append and replace.
    pub(crate) key: Vec<usize>,
    /// Index into `columns` of the column whose greater value wins.
    pub(crate) order_by: Option<usize>,
    /// Names of `columns`.
    names: Vec<String>,
    /// Indexes into `columns` of those in which no NULL is let through.
    not_null: Vec<usize>,
    /// Labels of ENUM columns.
    labels: Vec<(usize, HashSet<String>)>,
}

impl Layout {
    /// Matches columns by a comparison of names. A load that brings no columns brings no rows: it
    /// writes entries, and for replace may empty the table. So a header that could not be bound does
    /// not stand in the way of its entry.
    ///
    /// # Errors
    /// Where the table cannot be loaded in this way.
    pub(crate) fn new(table: &Table, spec: &LoadSpec, same: fn(&str, &str) -> bool) -> Result<Self, WarehouseError> {
        let name = &spec.table;
        let unsupported = |text: String| WarehouseError::new(Kind::Unsupported, text);
        let mut columns: Vec<usize> = Vec::with_capacity(spec.columns.len());
        for column in &spec.columns {
            let Some(at) = table.columns.iter().position(|found| same(&found.name, column)) else {
                let error = WarehouseError::new(Kind::Missing, format!("`{name}` has no column `{column}`"));
                let nearest = sql::nearest(column, table.columns.iter().map(|c| c.name.as_str()));
                return Err(match nearest {
                    Some(nearest) => {
                        error.cure(format!("add it, or map the field to `{nearest}` by the pipeline's `columns`"))
                    }
                    None => error,
                });
            };
            let found = &table.columns[at];
            if found.generated {
                return Err(unsupported(format!("`{name}`: the column `{}` is computed by the table", found.name))
                    .cure("leave it out of the pipeline's `columns`"));
            }
            if columns.contains(&at) {
                return Err(unsupported(format!("`{name}`: the column `{}` is named twice", found.name)));
            }
            columns.push(at);
        }
        if columns.is_empty() {
            return Ok(Self::default());
        }
        let names: Vec<String> = columns.iter().map(|at| table.columns[*at].name.clone()).collect();
        let loaded = |column: &str, what: &str| {
            names.iter().position(|name| same(name, column)).ok_or_else(|| {
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
                key.iter().map(|column| loaded(column, "key")).collect::<Result<Vec<_>, _>>()?,
                order_by.as_ref().map(|column| loaded(column, "order_by")).transpose()?,
            ),
            _ => (Vec::new(), None),
        };
        let absent = table.columns.iter().enumerate().find(|(at, column)| {
            let is_filled = column.nullable || column.default.is_some() || column.identity || column.generated;
            !is_filled && !columns.contains(at)
        });
        if let Some((_, column)) = absent {
            return Err(unsupported(format!(
                "`{name}`: the column `{}` takes no NULL, has no default and is not loaded",
                column.name
            ))
            .cure("load it, or give it a default"));
        }
        let takes_no_null = |index: &usize| !table.columns[columns[*index]].nullable || key.contains(index);
        let not_null = (0..columns.len()).filter(takes_no_null).collect();
        let labels = columns
            .iter()
            .enumerate()
            .filter_map(|(index, at)| match &table.columns[*at].ty {
                ColumnType::Enum(labels) => Some((index, labels.iter().cloned().collect())),
                _ => None,
            })
            .collect();
        Ok(Self { columns, key, order_by, names, not_null, labels })
    }

    /// Looks at a batch before it travels. `takes` says whether a column can be in this Arrow type.
    ///
    /// # Errors
    /// [`Kind::Rows`] for a NULL or a label that the table does not take; [`Kind::Conflict`] where a column is of another
    /// type than when the rows were read.
    pub(crate) fn admit(
        &self,
        batch: &RowBatch,
        spec: &LoadSpec,
        takes: impl Fn(usize, &DataType) -> bool,
    ) -> Result<(), WarehouseError> {
        let bug = |text: String| WarehouseError::new(Kind::Other, format!("{text}: this is a bug in longshore"));
        let rows = &batch.rows;
        if batch.object as usize >= spec.objects.len() || batch.lines.len() != rows.num_rows() {
            return Err(bug(format!("a batch for object {} with {} lines", batch.object, batch.lines.len())));
        }
        if batch.verbatim.as_ref().is_some_and(|texts| texts.len() != rows.num_rows()) {
            return Err(bug("as many texts of records as rows were expected".to_owned()));
        }
        if rows.num_columns() != self.columns.len() {
            return Err(bug(format!("a batch with {} columns instead of {}", rows.num_columns(), self.columns.len())));
        }
        if self.columns.is_empty() && rows.num_rows() > 0 {
            return Err(bug("rows without columns".to_owned()));
        }
        for (index, array) in rows.columns().iter().enumerate() {
            if !takes(index, array.data_type()) {
                return Err(WarehouseError::new(
                    Kind::Conflict,
                    format!(
                        "`{}`: the column `{}` got another type while rows were read for it: they are read again",
                        spec.table, self.names[index]
                    ),
                ));
            }
        }
        for &index in &self.not_null {
            let Some(nulls) = rows.column(index).nulls().filter(|nulls| nulls.null_count() > 0) else {
                continue;
            };
            let row = (0..nulls.len()).find(|row| nulls.is_null(*row)).unwrap_or_default();
            let why = if self.key.contains(&index) { "NULL in a key" } else { "NULL in a column that takes none" };
            return Err(self.refused(batch, spec, row, index, why));
        }
        for (index, labels) in &self.labels {
            let array = rows.column(*index).as_string_view();
            let stranger = array.iter().position(|label| label.is_some_and(|label| !labels.contains(label)));
            if let Some(row) = stranger {
                return Err(self.refused(batch, spec, row, *index, "not one of the type's labels"));
            }
        }
        Ok(())
    }

    /// The error for a value of a batch.
    pub(crate) fn refused(
        &self,
        batch: &RowBatch,
        spec: &LoadSpec,
        row: usize,
        index: usize,
        why: &str,
    ) -> WarehouseError {
        let (line, column) = (batch.lines.value(row), &self.names[index]);
        let kind = Kind::Rows { object: Some(batch.object), line: Some(line), column: Some(column.clone()) };
        let key = &spec.objects[batch.object as usize].key;
        WarehouseError::new(kind, format!("line {line} of `{key}`, column `{column}`: {why}"))
    }

    /// Whether every column of the table that can be written is loaded.
    pub(crate) fn covers(&self, table: &Table) -> bool {
        table.columns.iter().enumerate().all(|(at, column)| column.generated || self.columns.contains(&at))
    }
}
