//! What the product promises, tried from outside.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "what fails here fails the test")]

mod bad_input;
mod bucket;
mod commands;
mod crash;
mod demo;
mod harness;
mod init;
mod migrate;
mod modes;
mod on_s3;
mod postgres;
mod recipe;
mod redshift;
mod rejects;
mod running;
#[path = "../s3/mod.rs"]
mod s3;
mod verbatim;
