//! Loads the CSV files that land in a bucket into warehouse tables, once.
//!
//! The journey of an object, in order; [`pipeline`] is the only place that knows it:
//!
//! 1. **discover** ([`pipeline::discover`]): the listing of a [`bucket`] becomes objects, each
//!    matched with at most one pipeline of the [`config`].
//! 2. **plan** ([`pipeline::plan`]): objects, ledger entries and rules become loads. Pure.
//! 3. **load** ([`pipeline::load`]): an object is read once, as a stream; its typed rows and its
//!    ledger entry commit together in the warehouse.
//! 4. **record** ([`pipeline::record`]): what happened is copied into the [`journal`].
//! 5. **archive** ([`pipeline::archive`]): the object leaves `pending` for the key that the ledger
//!    gives; what cannot be loaded goes to [`pipeline::quarantine`] instead.
//!
//! A crash anywhere is repaired by running the same thing again. [`cli`] has a file for each
//! command.

pub mod bucket;
pub mod cli;
pub mod config;
pub mod journal;
mod login;
pub mod migrations;
mod nearest;
mod once;
pub mod pipeline;
mod progress;
pub mod project;
pub mod propose;
mod pulse;
pub mod scheduler;
pub mod stop;
mod systemd;
pub mod telemetry;
pub mod worker;

pub(crate) use nearest::nearest;
