//! The facts about Redshift that the stand-in models, each with a test that names it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod copy;
mod dialect;
mod isolation;
mod loads;
#[path = "../../../longshore/tests/s3/mod.rs"]
mod s3;
mod session;
mod standin;
mod switches;
mod tables;
