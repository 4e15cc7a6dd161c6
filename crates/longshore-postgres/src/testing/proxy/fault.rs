//! What goes wrong, and when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// A test that waits this long for a fault waits for one that does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What goes wrong, once, at the next moment of its kind on any connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Both ways are cut, and no byte of the client's message reaches the server.
    CutBefore(Moment),
    /// The client's message reaches the server, the server does all that it asks for and answers, and
    /// then both ways are cut: no byte of the answer reaches the client.
    CutAfter(Moment),
    /// Both ways are cut when exactly so many bytes more have come through from this side.
    CutAfterBytes(Side, u64),
    /// From the client's message on nothing goes through in either direction, while both ways stay
    /// open, until [`Pending::release`].
    Stall(Moment),
    /// The client's message reaches the server, the server answers, but what comes to the client
    /// instead are bytes without meaning; then both ways are cut.
    Garbage(Moment),
}

/// A message of the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// The one by which a connection begins.
    Connect,
    /// The one that has SQL run in which this text occurs, letter by letter. Whether it is a simple
    /// query or a prepared statement makes no difference; of the latter it is the execution.
    Run(String),
    /// One with data for a `COPY … FROM STDIN`.
    CopyData,
    /// The one that ends the data.
    CopyDone,
}

impl Moment {
    /// The moment at which SQL with this text is run.
    pub fn run(text: &str) -> Self {
        Self::Run(text.to_owned())
    }
}

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who connects to the proxy.
    Client,
    /// To whom the proxy connects.
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    Waiting,
    Happened,
    Released,
}

/// A fault whose moment comes or has come.
#[derive(Debug)]
pub struct Pending {
    fault: Fault,
    stage: watch::Sender<Stage>,
    /// Bytes that still go through before a [`Fault::CutAfterBytes`].
    left: AtomicU64,
}

impl Pending {
    pub(super) fn new(fault: Fault) -> Self {
        let left = match fault {
            Fault::CutAfterBytes(_, bytes) => bytes,
            _ => 0,
        };
        Self { fault, stage: watch::Sender::new(Stage::Waiting), left: AtomicU64::new(left) }
    }

    /// Returns whether it has happened.
    pub fn has_happened(&self) -> bool {
        *self.stage.borrow() >= Stage::Happened
    }

    /// Waits until it has happened.
    ///
    /// # Panics
    ///
    /// If it does not happen within a minute.
    pub async fn happened(&self) {
        if tokio::time::timeout(PATIENCE, self.reach(Stage::Happened)).await.is_err() {
            panic!("{:?} does not happen", self.fault);
        }
    }

    /// Lets a stalled connection go on.
    pub fn release(&self) {
        self.stage.send_replace(Stage::Released);
    }

    pub(super) fn fault(&self) -> &Fault {
        &self.fault
    }

    pub(super) fn happens(&self) {
        self.stage.send_if_modified(|stage| {
            let first = *stage == Stage::Waiting;
            if first {
                *stage = Stage::Happened;
            }
            first
        });
    }

    pub(super) async fn released(&self) {
        self.reach(Stage::Released).await;
    }

    async fn reach(&self, wanted: Stage) {
        self.stage.subscribe().wait_for(|stage| *stage >= wanted).await.expect("the sender is here");
    }

    /// Takes so many bytes off those that still go through. Returns how many of them may, and whether
    /// the connection is cut then.
    pub(super) fn let_through(&self, bytes: usize) -> (usize, bool) {
        let wanted = bytes as u64;
        let before =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(wanted)));
        let before = before.expect("it is always updated");
        if before <= wanted { (usize::try_from(before).unwrap_or(bytes), true) } else { (bytes, false) }
    }
}
