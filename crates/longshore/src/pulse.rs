//! Whether the loops of this process still go round, for whoever restarts it if they do not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a loop that waits for something long shows that it is alive.
const EVERY: Duration = Duration::from_secs(1);

/// The pulse of one loop. Clones share it.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<Mutex<Instant>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Pulse {
    /// The loop goes round.
    pub fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits for something long, which is no standstill.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            self.beat();
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Whether the last beat is not longer ago.
    pub fn is_felt(&self, within: Duration) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed() <= within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_stands_still_has_no_pulse() {
        let pulse = Pulse::default();
        pulse.beat();
        assert!(pulse.is_felt(Duration::from_secs(3600)));
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!pulse.is_felt(Duration::from_millis(1)));
        let work = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            7
        };
        assert_eq!(pulse.during(work).await, 7);
    }
}
