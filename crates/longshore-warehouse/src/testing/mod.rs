//! Helpers for tests of this boundary: the conformance suite, benches for DuckDB and
//! PostgreSQL, and a warehouse
//! that fails on demand.

pub mod conformance;
mod duckdb;
mod faulty;
mod postgres;

pub use duckdb::DuckDbBench;
pub use faulty::{FaultyWarehouse, Held, Mishap, Step};
pub use postgres::PostgresBench;
