//! Columns that are filled from elsewhere than the object's fields: constants, captures of the
//! key, and what Longshore knows of the row.
//!
//! Their texts become values by the same rules as fields do: each is read as a CSV of one field
//! and repeated.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringViewArray, UInt32Array, UInt64Array};
use arrow_schema::{Field, Schema};
use bytes::Bytes;
use jiff::Timestamp;
use longshore_csv::{Batch, Column, Columns, CsvDecoder, Decoder, Header, Options, Type};
use longshore_warehouse::{LoadId, RowBatch};

use super::Landed;
use crate::config::{Fill, Metadata, Pipeline};

/// A filled column and where its values come from.
#[derive(Debug, Clone)]
pub struct Filled {
    /// The target column.
    pub column: Column,
    /// Where its values come from.
    pub fill: Fill,
}

/// The values of filled columns for one object in one load.
pub struct Filler {
    values: Vec<(Arc<Field>, Value)>,
}

enum Value {
    /// One row, repeated.
    Same(ArrayRef),
    /// The line at which the row begins.
    Line(Type),
}

impl Filler {
    /// Prepares the values.
    ///
    /// # Errors
    /// A text does not fit its column: which, and why.
    pub fn new(
        filled: &[Filled],
        pipeline: &Pipeline,
        landed: &Landed,
        pending: &str,
        load_id: LoadId,
        loaded_at: Timestamp,
    ) -> Result<Self, FillError> {
        let key = landed.object.key.as_str();
        let values = filled.iter().map(|filled| {
            let name = &filled.column.name;
            let value = match &filled.fill {
                Fill::Constant(text) => one(&filled.column, text, name)?,
                Fill::Capture(group) => {
                    let relative = key.strip_prefix(pending).unwrap_or(key);
                    let text = pipeline.matcher.capture(relative, group).unwrap_or_default();
                    one(&filled.column, text, name).map_err(FillError::of_key)?
                }
                Fill::Metadata(Metadata::Object) => one(&filled.column, key, name).map_err(FillError::of_key)?,
                Fill::Metadata(Metadata::LoadId) => one(&filled.column, &load_id.to_string(), name)?,
                Fill::Metadata(Metadata::LoadedAt) => {
                    let text = match filled.column.ty {
                        Type::Timestamp => loaded_at.to_string().trim_end_matches('Z').to_owned(),
                        _ => loaded_at.to_string(),
                    };
                    one(&filled.column, &text, name)?
                }
                Fill::Metadata(Metadata::Line) => match filled.column.ty {
                    Type::Int64 | Type::UInt64 | Type::Text { length: None, .. } => {
                        Value::Line(filled.column.ty.clone())
                    }
                    _ => {
                        return Err(FillError {
                            column: name.clone(),
                            why: "a line number needs a column of type bigint or text".to_owned(),
                            lies_in_key: false,
                        });
                    }
                },
            };
            let data_type = match &value {
                Value::Same(array) => array.data_type().clone(),
                Value::Line(ty) => lines_as(&UInt64Array::from(Vec::<u64>::new()), ty).data_type().clone(),
            };
            Ok((Arc::new(Field::new(name, data_type, true)), value))
        });
        Ok(Self { values: values.collect::<Result<_, FillError>>()? })
    }

    /// The rows of a batch for a load of which this is the `object`th, the filled columns behind its own.
    pub fn fill(&self, object: u32, batch: &Batch) -> RowBatch {
        let (rows, verbatim) = if self.values.is_empty() {
            (batch.rows.clone(), batch.verbatim.clone())
        } else {
            // A record is no line of more columns than it has.
            (self.filled(batch), None)
        };
        RowBatch { object, lines: batch.lines.clone(), rows, verbatim }
    }

    fn filled(&self, batch: &Batch) -> RecordBatch {
        let rows = batch.rows.num_rows();
        let mut fields: Vec<Arc<Field>> = batch.rows.schema().fields().iter().cloned().collect();
        let mut arrays = batch.rows.columns().to_vec();
        for (field, value) in &self.values {
            fields.push(Arc::clone(field));
            arrays.push(match value {
                Value::Same(array) => repeat(array, rows),
                Value::Line(ty) => lines_as(&batch.lines, ty),
            });
        }
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .expect("every filled column is as long as the batch")
    }
}

/// A text that does not fit the column that it is to fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FillError {
    /// The column.
    pub column: String,
    /// Why.
    pub why: String,
    /// Whether the text came from the object's key.
    pub lies_in_key: bool,
}

impl FillError {
    fn of_key(self) -> Self {
        Self { lies_in_key: true, ..self }
    }
}

/// Turns one text into a column of one row.
fn one(column: &Column, text: &str, name: &str) -> Result<Value, FillError> {
    let error = |why: String| FillError { column: name.to_owned(), why, lies_in_key: false };
    let options = Options { header: Header::No, columns: Columns::default(), ..Options::default() };
    let mut decoder = CsvDecoder::new(options, vec![column.clone()]).map_err(|fault| error(fault.message))?;
    let quoted = format!("\"{}\"\n", text.replace('"', "\"\""));
    decoder.push(Bytes::from(quoted)).and_then(|()| decoder.finish()).map_err(|fault| error(fault.message))?;
    let batch = decoder.take().ok_or_else(|| error("it holds no value".to_owned()))?;
    match batch.rejects.first().and_then(|reject| reject.faults.first()) {
        Some(fault) => Err(error(fault.message.clone())),
        None => Ok(Value::Same(Arc::clone(batch.rows.column(0)))),
    }
}

fn repeat(array: &ArrayRef, rows: usize) -> ArrayRef {
    let zeros = UInt32Array::from(vec![0; rows]);
    arrow_select::take::take(array, &zeros, None).expect("index 0 is within an array of one row")
}

fn lines_as(lines: &UInt64Array, ty: &Type) -> ArrayRef {
    match ty {
        Type::UInt64 => Arc::new(lines.clone()),
        Type::Text { .. } => Arc::new(StringViewArray::from_iter_values(lines.values().iter().map(u64::to_string))),
        _ => Arc::new(Int64Array::from_iter_values(lines.values().iter().map(|line| *line as i64))),
    }
}

#[cfg(test)]
mod tests;
