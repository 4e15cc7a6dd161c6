//! The integration tests of the queue crate.

mod processes;
mod properties;
mod sqlite;
