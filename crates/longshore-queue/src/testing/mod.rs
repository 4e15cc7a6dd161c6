//! Helpers for tests of this boundary and of those who use it: the conformance suite, a model that
//! random operations are played against, and a clock that moves when it is told to.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

mod clock;
pub mod conformance;
pub mod model;

pub use clock::ManualClock;
