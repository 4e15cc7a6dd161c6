//! Renews the leases of a process while their work goes on, and tells whoever must stop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use longshore_queue::{Queue, Renewal, Renewed, TaskId, Token, WorkerId};
use tokio::sync::watch;

use super::LEASE;
use crate::pipeline::Error;
use crate::progress::Progress;

/// How often leases are renewed, their progress is kept, and it is asked whether to stop.
const EVERY: Duration = Duration::from_secs(2);

/// Why work on a task must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Somebody cancels it.
    Cancelled,
    /// The lease is not held any more.
    Lost,
}

/// The leases of this process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Keeper {
    leases: Arc<Mutex<HashMap<Held, Kept>>>,
}

/// A lease: a task that was lost may be leased again by the same process while it still works on it.
type Held = (TaskId, Token);

#[derive(Debug)]
struct Kept {
    progress: Progress,
    total_bytes: u64,
    verdict: watch::Sender<Option<Verdict>>,
}

/// Tells when work must stop.
#[derive(Debug)]
pub(super) struct Broken(watch::Receiver<Option<Verdict>>);

impl Broken {
    pub(super) async fn wait(mut self) -> Verdict {
        match self.0.wait_for(Option::is_some).await.map(|verdict| *verdict) {
            Ok(Some(verdict)) => verdict,
            // Nobody keeps the lease any more: the work has ended.
            _ => std::future::pending().await,
        }
    }
}

impl Keeper {
    fn leases(&self) -> MutexGuard<'_, HashMap<Held, Kept>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews a lease from now on.
    pub(super) fn keep(&self, id: TaskId, token: Token, progress: Progress, total_bytes: u64) -> Broken {
        let (verdict, receiver) = watch::channel(None);
        self.leases().insert((id, token), Kept { progress, total_bytes, verdict });
        Broken(receiver)
    }

    /// Renews a lease no more.
    pub(super) fn release(&self, id: TaskId, token: &Token) {
        self.leases().remove(&(id, token.clone()));
    }

    /// Renews all leases, for ever. `always`: also where there are none, since this process may be
    /// busy with a schedule.
    pub async fn run(self, queue: Arc<dyn Queue>, worker: WorkerId, is_busy: impl Fn() -> bool + Send) {
        let mut renewed_at = Instant::now();
        loop {
            tokio::time::sleep(EVERY).await;
            let renewals: Vec<Renewal> = self
                .leases()
                .iter()
                .map(|((id, token), kept)| Renewal {
                    id: *id,
                    token: token.clone(),
                    progress: longshore_queue::Progress { bytes: kept.progress.bytes(), total_bytes: kept.total_bytes },
                    load: kept.progress.load().map(|load| load.to_string()),
                })
                .collect();
            if renewals.is_empty() && !is_busy() {
                renewed_at = Instant::now();
                continue;
            }
            match queue.renew(&worker, &renewals).await {
                Ok(answers) => {
                    renewed_at = Instant::now();
                    for (renewal, answer) in renewals.iter().zip(answers) {
                        match answer {
                            Renewed::Held => {}
                            Renewed::CancelAsked => self.tell(renewal, Verdict::Cancelled),
                            Renewed::Lost => self.tell(renewal, Verdict::Lost),
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!("leases cannot be renewed: {}", Error::from(error).chain());
                    if renewed_at.elapsed() > LEASE {
                        renewals.iter().for_each(|renewal| self.tell(renewal, Verdict::Lost));
                    }
                }
            }
        }
    }

    fn tell(&self, renewal: &Renewal, verdict: Verdict) {
        if let Some(kept) = self.leases().get(&(renewal.id, renewal.token.clone())) {
            kept.verdict.send_replace(Some(verdict));
        }
    }
}
