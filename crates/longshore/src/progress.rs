//! What a person at a terminal sees of the work.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar on a terminal, nothing elsewhere.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar on standard error, if that is a terminal.
    pub fn new(is_wanted: bool) -> Self {
        let target = if is_wanted { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::with_draw_target(Some(0), target).with_style(style) }
    }

    /// There is so much to do.
    pub fn start(&self, objects: u64, bytes: u64) {
        self.bar.set_length(bytes);
        self.bar.set_position(0);
        self.bar.set_message(format!("{objects} objects"));
        if objects > 0 {
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    /// So many bytes were read.
    pub fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// It is done.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Writes something without tearing the bar.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}
