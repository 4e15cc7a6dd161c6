//! The integration tests of the migrate crate, on real servers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bench;
mod callbacks;
mod commands;
mod failures;
mod flyway;
mod redshift;
