//! Reads the arguments, runs the command, prints the error, picks the exit code.

use std::process::ExitCode;

use clap::Parser;
use longshore::cli::{Cli, Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.run() {
        Ok(outcome) => outcome.into(),
        Err(failure) => {
            Failure::print(&failure);
            ExitCode::from(2)
        }
    }
}
