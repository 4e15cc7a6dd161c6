//! A clock for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::Clock;

/// A clock that stands until it is told to move. Clones show the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at an instant, to the microsecond.
    pub fn new(at: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(at.as_microsecond())))
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        let last = Timestamp::MAX.as_microsecond();
        // The closure always answers, so this cannot fail.
        let _before =
            self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |at| Some(at.saturating_add(by).min(last)));
    }
}

impl Default for ManualClock {
    /// A day in November 2025.
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(1_763_800_000_000_000)))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }
}
