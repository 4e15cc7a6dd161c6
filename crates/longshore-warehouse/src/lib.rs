//! The boundary between Longshore and the databases it loads.
//!
//! A [`Warehouse`] makes the rows of one load visible at once, or not at all, and
//! writes into its **ledger**, in the same transaction, which objects those rows came
//! from. The ledger is the only truth about "is it loaded?". A driver lives in a
//! folder of its own ([`duckdb`], [`postgres`], [`redshift`]) and is finished when it passes the conformance suite
//! in `testing::conformance` (feature `testing`), unchanged.
//!
//! This crate knows nothing of CSV, buckets or pipelines: it is given typed rows as
//! Arrow batches and the identity of the objects they belong to.

mod broken;
mod crash;
pub mod duckdb;
mod entries;
mod entry;
mod error;
mod layout;
mod lines;
mod load;
mod name;
mod plain;
pub mod postgres;
pub mod redshift;
mod session;
mod sql;
mod table;
#[cfg(feature = "testing")]
pub mod testing;

pub use crash::{CRASH_AT, crash_point};
pub use entry::{Candidate, Cursor, Entry, EntryKind, Generation, KnownHash, ObjectId, Position};
pub use error::{Advice, Fault, Kind, WarehouseError};
pub use load::{
    Begun, Committed, FIRST_GENERATION, Known, Load, LoadId, LoadSpec, Mode, ObjectSpec, PAGE_ENTRIES, Receipt,
    RowBatch, Swept, Tally, Warehouse,
};
pub use name::{Ident, NameError, QualifiedName, TableName};
pub use table::{Bound, Column, ColumnType, Finding, LengthUnit, NewColumn, NewTable, Severity, Table};
