//! The bucket: what holds for every kind, and what only for one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bench;
mod conformance;
mod directory;
mod s3;
mod s3_faults;
