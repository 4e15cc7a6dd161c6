//! What a client that wants its statement broken off leaves for the session.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether the statement that runs is to be broken off.
#[derive(Debug, Default)]
pub(crate) struct Cancel {
    is_asked: AtomicBool,
    asked: Notify,
}

impl Cancel {
    /// Asks for it.
    pub(crate) fn ask(&self) {
        self.is_asked.store(true, Ordering::SeqCst);
        self.asked.notify_waiters();
    }

    /// A request before a statement is none for it.
    pub(crate) fn forget(&self) {
        self.is_asked.store(false, Ordering::SeqCst);
    }

    /// Returns when it is asked for.
    pub(crate) async fn asked(&self) {
        loop {
            let asked = self.asked.notified();
            tokio::pin!(asked);
            asked.as_mut().enable();
            if self.is_asked.load(Ordering::SeqCst) {
                return;
            }
            asked.await;
        }
    }
}
