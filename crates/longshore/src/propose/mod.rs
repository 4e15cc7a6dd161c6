//! Proposes tables, and the settings to read their files by, from the files themselves.
//!
//! Two roads lead here: `longshore init` looks at many files and proposes a whole project
//! ([`feeds`]); a pipeline whose table is missing gets the CREATE TABLE for its oldest object
//! ([`for_object`]). Both read every byte of the files as a stream, so that what is proposed holds
//! for the last row too: types are as narrow as the whole file allows, codes with leading zeros
//! stay text, and nothing is NOT NULL but keys.

pub mod feeds;
mod look;
mod names;
mod survey;
pub mod write;

use longshore_csv::{Header, Type};
use longshore_warehouse::{ColumnType, Kind, LengthUnit, Mode, NewColumn, NewTable};

use crate::bucket::Object;
use crate::config::{Fill, Metadata, Pipeline};
use crate::pipeline::{Context, Error};
use look::Look;
use survey::{Survey, Wanted};

/// The table that would take this object by the rules of its pipeline; `None` if the object cannot
/// be read.
pub async fn for_object(object: &Object, pipeline: &Pipeline, ctx: &Context) -> Option<NewTable> {
    let bucket = ctx.bucket.as_ref();
    let look = Look::by_settings(bucket, object, &pipeline.csv).await.ok()?;
    let columns = columns_of(&look, pipeline);
    let wanted: Vec<Wanted> = columns
        .iter()
        .map(|name| Wanted {
            rules: vec![
                name.as_ref().and_then(|name| find(&pipeline.column_rules, name)).unwrap_or(&pipeline.rules).clone(),
            ],
            may_be_key: false,
        })
        .collect();
    let mut survey = Survey::new(wanted);
    let order: Vec<usize> = (0..columns.len()).collect();
    survey.read(bucket, object, &look, &order).await.ok()?;
    let proposals = survey.finish();
    let is_key = |name: &str| match &pipeline.mode {
        Mode::Upsert { key, .. } => key.iter().any(|key| key.eq_ignore_ascii_case(name)),
        _ => false,
    };
    let given =
        columns.into_iter().zip(proposals).filter_map(|(name, column)| Some((name?, column_type(&column.proposal.ty))));
    let filled = pipeline.fill.iter().map(|(name, fill)| (name.clone(), filled_type(fill)));
    let mut columns: Vec<NewColumn> = Vec::new();
    for (name, ty) in given.chain(filled) {
        // A filled column that the object has too is filled.
        columns.retain(|column| !column.name.eq_ignore_ascii_case(&name));
        columns.push(NewColumn { nullable: !is_key(&name), name, ty });
    }
    Some(NewTable { name: pipeline.table.clone(), columns })
}

/// Puts the proposal into the cure of the error that the table is missing.
pub fn into_cure(error: Error, proposal: Option<NewTable>, ctx: &Context) -> Error {
    match proposal {
        Some(table) => {
            // The warehouse may know of a table that was meant.
            let own = error.hint().filter(|hint| Some(*hint) != Kind::Missing.advice().hint);
            let own = own.map_or_else(String::new, |hint| format!("{hint}; or "));
            let create = ctx.warehouse.create_table_sql(&table);
            error.cure(format!(
                "{own}create the table, by hand or by `longshore init --apply`; for the oldest object that waits it would be:\n{create}"
            ))
        }
        None => error,
    }
}

/// The target column of each field; `None` for those that are passed over.
fn columns_of(look: &Look, pipeline: &Pipeline) -> Vec<Option<String>> {
    let settings = &pipeline.csv.columns;
    if look.options.header == Header::No {
        let named = settings.order.iter().cloned();
        let numbered = (settings.order.len()..look.width()).map(names::numbered);
        return named.chain(numbered).map(Some).collect();
    }
    names::columns(&look.names)
        .into_iter()
        .zip(&look.names)
        .map(|(column, name)| match find(&settings.renamed, name) {
            Some(target) => target.clone(),
            None => Some(column),
        })
        .collect()
}

/// Looks a name up as it is, then without regard to case.
fn find<'m, T>(map: &'m std::collections::BTreeMap<String, T>, name: &str) -> Option<&'m T> {
    let folded = name.to_lowercase();
    map.get(name)
        .or_else(|| map.iter().find(|(known, _)| known.trim().to_lowercase() == folded).map(|(_, value)| value))
}

const fn filled_type(fill: &Fill) -> ColumnType {
    match fill {
        Fill::Constant(_) | Fill::Capture(_) | Fill::Metadata(Metadata::Object) => ColumnType::Text,
        Fill::Metadata(Metadata::Line) => ColumnType::Int64,
        Fill::Metadata(Metadata::LoadId) => ColumnType::Uuid,
        Fill::Metadata(Metadata::LoadedAt) => ColumnType::TimestampTz,
    }
}

/// The warehouse's type for what a column was found to be.
fn column_type(ty: &Type) -> ColumnType {
    match ty {
        Type::Boolean => ColumnType::Boolean,
        Type::Int8 | Type::Int16 | Type::UInt8 => ColumnType::Int16,
        Type::Int32 | Type::UInt16 => ColumnType::Int32,
        Type::Int64 | Type::UInt32 => ColumnType::Int64,
        Type::UInt64 => ColumnType::Decimal { precision: 20, scale: 0 },
        Type::Decimal { precision, scale } => ColumnType::Decimal { precision: *precision, scale: *scale },
        Type::Float32 | Type::Float64 => ColumnType::Float64,
        Type::Date => ColumnType::Date,
        Type::Time => ColumnType::Time,
        Type::Timestamp => ColumnType::Timestamp,
        Type::TimestampTz => ColumnType::TimestampTz,
        Type::Uuid => ColumnType::Uuid,
        Type::Text { length: Some((length, unit)), .. } => ColumnType::Varchar {
            length: *length,
            unit: match unit {
                longshore_csv::LengthUnit::Characters => LengthUnit::Characters,
                longshore_csv::LengthUnit::Bytes | longshore_csv::LengthUnit::Ascii => LengthUnit::Bytes,
            },
        },
        _ => ColumnType::Text,
    }
}
