//! Helpers for tests of this boundary: the conformance suite, a bench for DuckDB, and a warehouse
//! that fails on demand.

pub mod conformance;
mod duckdb;
mod faulty;

pub use duckdb::DuckDbBench;
pub use faulty::{FaultyWarehouse, Held, Mishap, Step};
