//! How a process is asked to end: the first signal stops it gently, the second breaks off its work.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How urgently the process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It goes on.
    None,
    /// It begins nothing new and finishes what runs.
    Gentle,
    /// It breaks off what runs.
    Now,
}

/// Tells whether the process is to end. Clones tell the same.
#[derive(Debug, Clone)]
pub struct Stop {
    urgency: watch::Receiver<Urgency>,
}

/// Asks the process to end.
#[derive(Debug)]
pub struct Stopper {
    urgency: watch::Sender<Urgency>,
}

/// A pair that belongs together.
pub fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(Urgency::None);
    (Stopper { urgency: sender }, Stop { urgency: receiver })
}

impl Stop {
    /// How urgent it is.
    pub fn urgency(&self) -> Urgency {
        *self.urgency.borrow()
    }

    /// Waits until it is at least as urgent as this. Where nobody can ask any more, for ever.
    pub async fn at_least(&self, urgency: Urgency) {
        let mut receiver = self.urgency.clone();
        if receiver.wait_for(|now| *now >= urgency).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Stopper {
    /// Asks for it; what was asked for before stays.
    pub fn ask(&self, urgency: Urgency) {
        self.urgency.send_if_modified(|now| {
            let is_more = urgency > *now;
            *now = urgency.max(*now);
            is_more
        });
    }

    /// Passes on SIGTERM and Ctrl-C, for ever: the first gently; the second, or `patience` after the
    /// first, at once.
    ///
    /// # Errors
    /// Signals cannot be listened to.
    pub async fn listen(&self, patience: Duration) -> std::io::Result<()> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        tracing::info!(
            "stopping: loads that run are finished, for {} s at most; once more breaks them off",
            patience.as_secs()
        );
        self.ask(Urgency::Gentle);
        if tokio::time::timeout(patience, next()).await.is_err() {
            tracing::warn!(
                "loads that still run are broken off after {} s: they are begun again later",
                patience.as_secs()
            );
        }
        self.ask(Urgency::Now);
        std::future::pending().await
    }
}
