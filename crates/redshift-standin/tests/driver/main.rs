//! The Redshift driver through the stand-in.
//!
//! `STANDIN_MODE` chooses one of the four modes: `serverless` and `serializable` are looked for in it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bench;
mod cluster;
mod faults;
mod groups;
#[path = "../../../longshore/tests/s3/mod.rs"]
mod s3;

use bench::Lent;

mod conformance {
    longshore_warehouse::conformance_tests!(crate::Lent::new);
}
