//! The integration tests of the warehouse crate.

mod duckdb;
mod faulty;
mod processes;
mod stress;
