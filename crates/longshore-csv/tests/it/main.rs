//! The decoder as its callers see it.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod binding;
mod bytes_in;
mod compression;
mod guessing;
mod harness;
mod properties;
mod rows;
mod values;
