//! Fits a pipeline to its table: which columns an object may give, which are filled, which are
//! keys.

use std::collections::BTreeMap;

use longshore_csv::{Bound, Column as CsvColumn, FieldRules, LengthUnit, Options, Type};
use longshore_warehouse::{self as warehouse, Column, ColumnType, Mode, Table};

use super::Error;
use super::fill::Filled;
use crate::config::Pipeline;
use crate::nearest;

/// A pipeline that fits its table.
#[derive(Debug, Clone)]
pub struct Target {
    /// The table.
    pub table: Table,
    /// How rows enter, with names as the table spells them.
    pub mode: Mode,
    /// How objects are read, with names as the table spells them.
    pub csv: Options,
    /// Columns that an object may give.
    pub columns: Vec<CsvColumn>,
    /// Columns that are filled from elsewhere.
    pub filled: Vec<Filled>,
}

impl Target {
    /// Fits a pipeline to its table.
    ///
    /// # Errors
    /// Everything in which they do not fit, at once: a fault of the configuration.
    pub fn fit(pipeline: &Pipeline, table: Table) -> Result<Self, Error> {
        let mut fit = Fit { table: &table, faults: Vec::new() };
        let mode = fit.mode(&pipeline.mode);
        let csv = fit.csv(pipeline);
        let column_rules = fit.column_rules(&pipeline.column_rules);
        let column =
            |column: &Column| csv_column(column, &mode, column_rules.get(&column.name).unwrap_or(&pipeline.rules));
        let mut filled = Vec::new();
        for (name, fill) in &pipeline.fill {
            if let Some(name) = fit.resolve("fill", name) {
                fit.loadable("fill", &name, pipeline.keep_identity);
                filled.extend(table.column(&name).map(|found| Filled { column: column(found), fill: fill.clone() }));
            }
        }
        let mut faults = fit.faults;
        let is_filled = |name: &str| filled.iter().any(|filled: &Filled| filled.column.name == name);
        let columns: Vec<CsvColumn> = table
            .columns
            .iter()
            .filter(|column| {
                !column.generated && (pipeline.keep_identity || !column.identity) && !is_filled(&column.name)
            })
            .map(column)
            .collect();
        if faults.is_empty() {
            faults = longshore_csv::check(&csv, &columns);
        }
        if !faults.is_empty() {
            return Err(Error::environment(format!(
                "pipeline `{}` does not fit {}: {}",
                pipeline.name,
                table.name,
                faults.join("; ")
            ))
            .cure("correct `longshore.toml`, or change the table"));
        }
        Ok(Self { mode, csv, columns, filled, table })
    }

    /// Names of the target columns that batches carry when an object gave these columns.
    pub fn loaded_columns(&self, given: &[usize]) -> Vec<String> {
        let given = given.iter().map(|at| self.columns[*at].name.clone());
        given.chain(self.filled.iter().map(|filled| filled.column.name.clone())).collect()
    }
}

struct Fit<'a> {
    table: &'a Table,
    faults: Vec<String>,
}

impl Fit<'_> {
    /// The table's column of this name: an exact match wins, else one without regard to case.
    fn resolve(&mut self, setting: &str, name: &str) -> Option<String> {
        if self.table.column(name).is_some() {
            return Some(name.to_owned());
        }
        let folded = name.to_lowercase();
        let mut same = self.table.columns.iter().filter(|column| column.name.to_lowercase() == folded);
        match (same.next(), same.next()) {
            (Some(column), None) => return Some(column.name.clone()),
            (Some(a), Some(b)) => {
                self.faults.push(format!("`{setting}` names `{name}`, which may be `{}` or `{}`", a.name, b.name));
            }
            (None, _) => {
                let names = self.table.columns.iter().map(|column| column.name.as_str());
                let hint = match nearest(name, names.clone()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => {
                        format!("its columns are {}", names.map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "))
                    }
                };
                self.faults.push(format!("`{setting}` names `{name}`, which is no column of it ({hint})"));
            }
        }
        None
    }

    fn loadable(&mut self, setting: &str, name: &str, keep_identity: bool) {
        let Some(column) = self.table.column(name) else {
            return;
        };
        if column.generated {
            self.faults.push(format!("`{setting}` names `{name}`, which the warehouse computes itself"));
        } else if column.identity && !keep_identity {
            self.faults.push(format!(
                "`{setting}` names `{name}`, which the warehouse numbers itself (`identity = \"keep\"` allows it)"
            ));
        }
    }

    fn mode(&mut self, mode: &Mode) -> Mode {
        let Mode::Upsert { key, order_by } = mode else {
            return mode.clone();
        };
        Mode::Upsert {
            key: key.iter().filter_map(|name| self.resolve("key", name)).collect(),
            order_by: order_by.as_ref().and_then(|name| self.resolve("order_by", name)),
        }
    }

    fn csv(&mut self, pipeline: &Pipeline) -> Options {
        let mut csv = pipeline.csv.clone();
        for name in &mut csv.columns.order {
            if let Some(found) = self.resolve("columns", name) {
                self.loadable("columns", &found, pipeline.keep_identity);
                *name = found;
            }
        }
        for name in csv.columns.renamed.values_mut().flatten() {
            if let Some(found) = self.resolve("columns", name) {
                self.loadable("columns", &found, pipeline.keep_identity);
                *name = found;
            }
        }
        csv
    }

    fn column_rules(&mut self, rules: &BTreeMap<String, FieldRules>) -> BTreeMap<String, FieldRules> {
        rules.iter().filter_map(|(name, rules)| Some((self.resolve("column", name)?, rules.clone()))).collect()
    }
}

fn csv_column(column: &Column, mode: &Mode, rules: &FieldRules) -> CsvColumn {
    // Without the column that orders, nobody can tell which row wins: an object has to give it.
    let (is_key, orders) = match mode {
        Mode::Upsert { key, order_by } => (key.contains(&column.name), order_by.as_ref() == Some(&column.name)),
        _ => (false, false),
    };
    CsvColumn {
        name: column.name.clone(),
        ty: csv_type(&column.ty),
        type_sql: column.type_sql.clone(),
        required: is_key || !column.nullable,
        optional: !is_key && !orders && (column.nullable || column.default.is_some() || column.identity),
        bound: column.bound.map(|bound| match bound {
            warehouse::Bound::Bytes(most) => Bound::Bytes(most),
            warehouse::Bound::Bits64 => Bound::Bits64,
            warehouse::Bound::Finite => Bound::Finite,
        }),
        rules: rules.clone(),
    }
}

fn csv_type(ty: &ColumnType) -> Type {
    let unit = |unit: &warehouse::LengthUnit| match unit {
        warehouse::LengthUnit::Characters => LengthUnit::Characters,
        warehouse::LengthUnit::Bytes => LengthUnit::Bytes,
    };
    match ty {
        ColumnType::Boolean => Type::Boolean,
        ColumnType::Int8 => Type::Int8,
        ColumnType::Int16 => Type::Int16,
        ColumnType::Int32 => Type::Int32,
        ColumnType::Int64 => Type::Int64,
        ColumnType::UInt8 => Type::UInt8,
        ColumnType::UInt16 => Type::UInt16,
        ColumnType::UInt32 => Type::UInt32,
        ColumnType::UInt64 => Type::UInt64,
        ColumnType::Decimal { precision, scale } => Type::Decimal { precision: *precision, scale: *scale },
        ColumnType::Float32 => Type::Float32,
        ColumnType::Float64 => Type::Float64,
        // Where it counts bytes (Redshift), a CHAR holds ASCII only.
        ColumnType::Char { length, unit: warehouse::LengthUnit::Bytes } => {
            Type::Text { length: Some((*length, LengthUnit::Ascii)), padded: true }
        }
        ColumnType::Char { length, unit: u } => Type::Text { length: Some((*length, unit(u))), padded: true },
        ColumnType::Varchar { length, unit: u } => Type::Text { length: Some((*length, unit(u))), padded: false },
        ColumnType::Text => Type::Text { length: None, padded: false },
        ColumnType::Date => Type::Date,
        ColumnType::Time => Type::Time,
        ColumnType::Timestamp => Type::Timestamp,
        ColumnType::TimestampTz => Type::TimestampTz,
        ColumnType::Uuid => Type::Uuid,
        ColumnType::Json => Type::Json,
        ColumnType::Bytes => Type::Bytes,
        ColumnType::Enum(labels) => Type::Enum(labels.clone()),
        _ => Type::Opaque,
    }
}
