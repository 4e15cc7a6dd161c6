//! `cargo fuzz run csv`: any settings, any bytes.

#![no_main]

#[path = "../harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::any_bytes(data));
