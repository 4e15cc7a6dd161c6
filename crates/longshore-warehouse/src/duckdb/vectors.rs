//! Copies Arrow arrays into DuckDB's vectors.
//!
//! The only room of this crate with unsafe code: DuckDB lends raw pointers to the vectors of a
//! chunk, and [`fill`] writes at most [`VECTOR_ROWS`] values into each. What a column's type in
//! DuckDB looks like in memory is said by [`Physical`], and it is the same value that names the
//! type to DuckDB when the table function is bound.

#![expect(unsafe_code, reason = "DuckDB's vectors are reached through raw pointers")]

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use duckdb::core::{DataChunkHandle, LogicalTypeHandle, LogicalTypeId};
use libduckdb_sys as ffi;

/// Values in a whole vector of DuckDB.
pub(super) const VECTOR_ROWS: usize = 2048;

/// The length up to which Arrow and DuckDB keep a text inside its view.
const INLINE_BYTES: u32 = 12;

/// How a column lies in DuckDB's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Physical {
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float32,
    Float64,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Decimal { precision: u8, scale: u8 },
    Uuid,
    Text,
    Bytes,
}

impl Physical {
    /// The type as DuckDB knows it.
    pub(super) fn logical(self) -> LogicalTypeHandle {
        let id = match self {
            Self::Boolean => LogicalTypeId::Boolean,
            Self::Int8 => LogicalTypeId::Tinyint,
            Self::Int16 => LogicalTypeId::Smallint,
            Self::Int32 => LogicalTypeId::Integer,
            Self::Int64 => LogicalTypeId::Bigint,
            Self::UInt8 => LogicalTypeId::UTinyint,
            Self::UInt16 => LogicalTypeId::USmallint,
            Self::UInt32 => LogicalTypeId::UInteger,
            Self::UInt64 => LogicalTypeId::UBigint,
            Self::Float32 => LogicalTypeId::Float,
            Self::Float64 => LogicalTypeId::Double,
            Self::Date => LogicalTypeId::Date,
            Self::Time => LogicalTypeId::Time,
            Self::Timestamp => LogicalTypeId::Timestamp,
            Self::TimestampTz => LogicalTypeId::TimestampTZ,
            Self::Uuid => LogicalTypeId::Uuid,
            Self::Text => LogicalTypeId::Varchar,
            Self::Bytes => LogicalTypeId::Blob,
            Self::Decimal { precision, scale } => {
                return LogicalTypeHandle::decimal(precision, scale);
            }
        };
        LogicalTypeHandle::from(id)
    }

    /// Whether an array of this Arrow type can fill the column.
    pub(super) fn takes(self, arrow: &DataType) -> bool {
        match (self, arrow) {
            (Self::Decimal { precision, scale }, DataType::Decimal128(p, s)) => {
                *p <= precision && i16::from(*s) == i16::from(scale)
            }
            (Self::Boolean, DataType::Boolean)
            | (Self::Int8, DataType::Int8)
            | (Self::Int16, DataType::Int16)
            | (Self::Int32, DataType::Int32)
            | (Self::Int64, DataType::Int64)
            | (Self::UInt8, DataType::UInt8)
            | (Self::UInt16, DataType::UInt16)
            | (Self::UInt32, DataType::UInt32)
            | (Self::UInt64, DataType::UInt64)
            | (Self::Float32, DataType::Float32)
            | (Self::Float64, DataType::Float64)
            | (Self::Date, DataType::Date32)
            | (Self::Time, DataType::Time64(TimeUnit::Microsecond))
            | (Self::Timestamp, DataType::Timestamp(TimeUnit::Microsecond, None))
            | (Self::TimestampTz, DataType::Timestamp(TimeUnit::Microsecond, Some(_)))
            | (Self::Uuid, DataType::FixedSizeBinary(16))
            | (Self::Text, DataType::Utf8View)
            | (Self::Bytes, DataType::BinaryView) => true,
            _ => false,
        }
    }
}

/// One column of a chunk: `length` values of `array` from `offset` on, or one value repeated.
pub(super) enum Source<'a> {
    /// Values of an array.
    Array(&'a ArrayRef, Physical),
    /// The same number in every row.
    Constant(u32),
}

/// Fills a chunk whose columns have the types of `columns` with `length` rows, from `offset` on.
///
/// # Errors
/// Where a decimal has more digits than its column.
///
/// # Panics
/// If an array is not of the type that its [`Physical`] takes or is too short, or the chunk has
/// other columns: the table function is bound with the same description, and batches are checked
/// before they are queued.
pub(super) fn fill(
    chunk: &mut DataChunkHandle,
    columns: &[Source<'_>],
    offset: usize,
    length: usize,
) -> Result<(), TooManyDigits> {
    assert!(length <= VECTOR_ROWS && chunk.num_columns() == columns.len(), "a chunk of another shape");
    for (index, column) in columns.iter().enumerate() {
        // SAFETY: the chunk is lent to us for the length of this call, and it has this column.
        let vector = unsafe { ffi::duckdb_data_chunk_get_vector(chunk.get_ptr(), index as u64) };
        match column {
            Source::Constant(value) => {
                // SAFETY: the vector is a UINTEGER vector of VECTOR_ROWS values that nobody else touches.
                let values = unsafe { values::<u32>(vector, length) };
                values.fill(*value);
            }
            Source::Array(array, physical) => {
                assert!(physical.takes(array.data_type()), "an array of another type");
                assert!(offset + length <= array.len(), "an array of another length");
                copy_validity(vector, array, offset, length);
                copy_values(vector, array, *physical, offset, length)?;
            }
        }
    }
    chunk.set_len(length);
    Ok(())
}

/// A decimal that its column cannot hold.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a decimal has more digits than its column")]
pub(super) struct TooManyDigits;

/// The values of a vector.
///
/// # Safety
/// The vector must be flat, of a type whose values are `T`s, and not be reached in another way
/// while the slice lives.
unsafe fn values<'a, T>(vector: ffi::duckdb_vector, length: usize) -> &'a mut [T] {
    // SAFETY: DuckDB allots room for VECTOR_ROWS values, aligned for the type; all bit patterns of
    // the `T`s used here (integers, floats, views) are values.
    unsafe { std::slice::from_raw_parts_mut(ffi::duckdb_vector_get_data(vector).cast::<T>(), length) }
}

/// Copies the bitmap of what is not NULL, word by word.
fn copy_validity(vector: ffi::duckdb_vector, array: &ArrayRef, offset: usize, length: usize) {
    let Some(nulls) = array.nulls() else { return };
    let nulls = nulls.slice(offset, length);
    if nulls.null_count() == 0 {
        return;
    }
    // SAFETY: after `ensure_validity_writable` the mask has VECTOR_ROWS bits; we write the words
    // that hold the first `length` of them.
    let mask = unsafe {
        ffi::duckdb_vector_ensure_validity_writable(vector);
        std::slice::from_raw_parts_mut(ffi::duckdb_vector_get_validity(vector), length.div_ceil(64))
    };
    let chunks = nulls.inner().bit_chunks();
    for (word, bits) in mask.iter_mut().zip(chunks.iter_padded()) {
        *word = bits;
    }
}

fn copy_values(
    vector: ffi::duckdb_vector,
    array: &ArrayRef,
    physical: Physical,
    offset: usize,
    length: usize,
) -> Result<(), TooManyDigits> {
    let target = Target { vector, offset, length };
    match physical {
        Physical::Boolean => target.booleans(array),
        Physical::Int8 => target.plain::<Int8Type>(array),
        Physical::Int16 => target.plain::<Int16Type>(array),
        Physical::Int32 => target.plain::<Int32Type>(array),
        Physical::Int64 => target.plain::<Int64Type>(array),
        Physical::UInt8 => target.plain::<UInt8Type>(array),
        Physical::UInt16 => target.plain::<UInt16Type>(array),
        Physical::UInt32 => target.plain::<UInt32Type>(array),
        Physical::UInt64 => target.plain::<UInt64Type>(array),
        Physical::Float32 => target.plain::<Float32Type>(array),
        Physical::Float64 => target.plain::<Float64Type>(array),
        Physical::Date => target.plain::<Date32Type>(array),
        Physical::Time => target.plain::<Time64MicrosecondType>(array),
        Physical::Timestamp | Physical::TimestampTz => target.plain::<TimestampMicrosecondType>(array),
        Physical::Decimal { precision, .. } => match precision {
            0..=4 => target.decimals(array, precision, |value| value as i16)?,
            5..=9 => target.decimals(array, precision, |value| value as i32)?,
            10..=18 => target.decimals(array, precision, |value| value as i64)?,
            _ => target.decimals(array, precision, |value| value)?,
        },
        Physical::Uuid => target.uuids(array),
        Physical::Text => {
            let array = array.as_string_view();
            target.views(array.views(), array.data_buffers(), array.nulls());
        }
        Physical::Bytes => {
            let array = array.as_binary_view();
            target.views(array.views(), array.data_buffers(), array.nulls());
        }
    }
    Ok(())
}

/// A vector that is being filled, and the rows that go into it.
struct Target {
    vector: ffi::duckdb_vector,
    offset: usize,
    length: usize,
}

impl Target {
    /// The vector's values.
    ///
    /// # Safety
    /// The vector's values must be `T`s.
    unsafe fn values<'a, T>(&self) -> &'a mut [T] {
        // SAFETY: a `Target` is made for one column of a lent chunk and used by one thread.
        unsafe { values(self.vector, self.length) }
    }

    fn plain<A: ArrowPrimitiveType>(&self, array: &ArrayRef) {
        let source = &array.as_primitive::<A>().values()[self.offset..self.offset + self.length];
        // SAFETY: `copy_values` pairs each `Physical` with the Arrow type of the same layout.
        unsafe { self.values::<A::Native>() }.copy_from_slice(source);
    }

    /// Decimals lie in the smallest integer that holds their precision. What lies under a NULL is
    /// not looked at by anybody, so it is neither checked nor kept.
    fn decimals<T>(&self, array: &ArrayRef, precision: u8, narrow: impl Fn(i128) -> T) -> Result<(), TooManyDigits> {
        let source = &array.as_primitive::<Decimal128Type>().values()[self.offset..self.offset + self.length];
        let limit = 10_u128.pow(u32::from(precision));
        let mut over = false;
        // SAFETY: `copy_values` picks the integer that DuckDB uses for this precision.
        for (slot, value) in unsafe { self.values::<T>() }.iter_mut().zip(source) {
            over |= value.unsigned_abs() >= limit;
            *slot = narrow(*value);
        }
        let of_a_value = |row: usize| source[row].unsigned_abs() >= limit && array.is_valid(self.offset + row);
        if over && (0..self.length).any(of_a_value) { Err(TooManyDigits) } else { Ok(()) }
    }

    fn booleans(&self, array: &ArrayRef) {
        let source = array.as_boolean().values().slice(self.offset, self.length);
        // SAFETY: a BOOLEAN vector has one byte per value, 0 or 1.
        for (slot, value) in unsafe { self.values::<u8>() }.iter_mut().zip(source.iter()) {
            *slot = u8::from(value);
        }
    }

    /// A UUID is a signed 128-bit integer whose first bit is flipped, so that it sorts as its text.
    fn uuids(&self, array: &ArrayRef) {
        let source = array.as_fixed_size_binary();
        // SAFETY: a UUID vector has 16 bytes per value.
        for (row, slot) in unsafe { self.values::<u128>() }.iter_mut().enumerate() {
            let bytes = <[u8; 16]>::try_from(source.value(self.offset + row)).unwrap_or_default();
            *slot = u128::from_be_bytes(bytes) ^ (1 << 127);
        }
    }

    /// A view of Arrow and a string of DuckDB are laid out alike up to 12 bytes: length, then the
    /// bytes, padded with zeros. Longer ones DuckDB copies into its own heap.
    fn views(&self, views: &[u128], buffers: &[arrow_buffer::Buffer], nulls: Option<&arrow_buffer::NullBuffer>) {
        let views = &views[self.offset..self.offset + self.length];
        for (row, view) in views.iter().enumerate() {
            let length = *view as u32;
            if nulls.is_some_and(|nulls| nulls.is_null(self.offset + row)) {
                continue;
            }
            if length <= INLINE_BYTES {
                // SAFETY: a VARCHAR or BLOB vector has 16 bytes per value, and `row` is in it.
                unsafe { ffi::duckdb_vector_get_data(self.vector).cast::<u128>().add(row).write(*view) };
                continue;
            }
            let start = (*view >> 96) as u32 as usize;
            let bytes = &buffers[(*view >> 64) as u32 as usize][start..start + length as usize];
            // SAFETY: the bytes are in bounds; a `Utf8View` array holds UTF-8 only, and a BLOB may
            // hold anything.
            unsafe {
                ffi::duckdb_unsafe_vector_assign_string_element_len(
                    self.vector,
                    row as u64,
                    bytes.as_ptr().cast(),
                    u64::from(length),
                );
            }
        }
    }
}
