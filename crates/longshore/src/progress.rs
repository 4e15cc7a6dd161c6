//! How far the work has come: a bar for a person at a terminal, numbers for whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use longshore_warehouse::LoadId;

/// The bar of this process.
static SHOWN: OnceLock<ProgressBar> = OnceLock::new();

/// A progress bar on a terminal, nothing elsewhere; and the bytes that were read.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
    bytes: Arc<AtomicU64>,
    load: Arc<Mutex<Option<LoadId>>>,
}

impl Progress {
    /// A bar on standard error, if that is a terminal.
    pub fn new(is_wanted: bool) -> Self {
        let target = if is_wanted { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(0), target).with_style(style);
        if is_wanted {
            SHOWN.get_or_init(|| bar.clone());
        }
        Self { bar, bytes: Arc::default(), load: Arc::default() }
    }

    /// The same bar, with a count of its own.
    #[must_use]
    pub fn for_task(&self) -> Self {
        Self { bar: self.bar.clone(), bytes: Arc::default(), load: Arc::default() }
    }

    /// There is so much more to do.
    pub fn expect(&self, objects: u64, bytes: u64) {
        if objects > 0 {
            self.bar.set_length(self.bar.length().unwrap_or(0) + bytes);
            self.bar.set_message(format!("{objects} objects"));
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    /// So many bytes were read.
    pub fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that were read.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// This load is being done.
    pub fn begin(&self, load: LoadId) {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner) = Some(load);
    }

    /// The load that was begun last.
    pub fn load(&self) -> Option<LoadId> {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is done.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Writes something without tearing the bar that is shown, if there is one.
pub(crate) fn beside<T>(write: impl FnOnce() -> T) -> T {
    match SHOWN.get() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
