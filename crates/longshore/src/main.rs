//! Reads the arguments, runs the command, prints the error, picks the exit code.

use std::process::ExitCode;

use clap::Parser;
use longshore::cli::{Cli, Failure};

fn main() -> ExitCode {
    keep_freed_memory();
    let cli = Cli::parse();
    match cli.run() {
        Ok(outcome) => outcome.into(),
        Err(failure) => {
            Failure::print(&failure);
            ExitCode::from(2)
        }
    }
}

/// Has buffers of some MiB come from memory that was freed before. Usually each is mapped anew, cleared by the kernel and
/// unmapped again. Few arenas, as each keeps some.
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "the C library has no safe way to be told")]
    // SAFETY: no other thread runs yet; a value that is not taken changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}
