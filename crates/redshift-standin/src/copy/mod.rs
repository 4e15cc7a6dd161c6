//! COPY FROM S3: its grammar, and the reader that turns the bytes of a file into values by Redshift's rules.
//!
//! `parse` reads the statement, `read` reads one file. Which objects are read, with whose rights, and what
//! happens to the rows is the caller's. Nothing here is shared with the loader's own CSV reader, so that a
//! fault of the one shows in the other.

mod authorization;
mod clashes;
mod column;
mod grammar;
mod options;
mod reader;
mod records;
mod source;
mod statement;
mod values;

#[cfg(test)]
mod testing;

pub(crate) use authorization::Authorization;
pub(crate) use column::{Column, Type};
#[cfg(test)]
pub(crate) use options::{CompUpdate, Compression, Encoding, Options};
pub use reader::Switches;
pub(crate) use reader::{LoadError, read};
pub(crate) use statement::{Refusal, Statement, parse};
