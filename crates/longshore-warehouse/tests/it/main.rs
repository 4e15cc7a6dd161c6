//! The integration tests of the warehouse crate.

mod duckdb;
mod faulty;
mod postgres;
mod processes;
mod stress;
