//! Locks on tables, held to the end of a transaction.
//!
//! They are kept here and not by the server behind: a lock has to be had before the snapshot, and who
//! may only insert could not take one there.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::refusal::Refusal;

/// How much of a table a transaction wants for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strength {
    /// SELECT: nobody is in its way but who has the table for himself.
    Read,
    /// INSERT and COPY of a database with SNAPSHOT isolation: together with others of its kind.
    Add,
    /// Any other change of rows: one writer.
    Write,
    /// LOCK, TRUNCATE, ALTER, DROP: the table for himself.
    All,
}

impl Strength {
    fn conflicts(self, other: Self) -> bool {
        match self.max(other) {
            Self::Read => false,
            Self::Add => false,
            Self::Write => self.min(other) >= Self::Add,
            Self::All => true,
        }
    }
}

/// Who holds which tables, and who waits.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<String, HashMap<u64, Strength>>,
    waiting: HashMap<u64, (String, Strength)>,
}

impl State {
    /// Sessions in the way of this one.
    fn in_the_way(&self, session: u64, table: &str, strength: Strength) -> Vec<u64> {
        let holders = self.held.get(table).into_iter().flatten();
        holders.filter(|(holder, held)| **holder != session && held.conflicts(strength)).map(|(who, _)| *who).collect()
    }

    /// Whether whoever is in the way waits for this session in the end.
    fn is_deadlock(&self, session: u64) -> bool {
        let (mut seen, mut next) = (Vec::new(), vec![session]);
        while let Some(waiter) = next.pop() {
            let Some((table, strength)) = self.waiting.get(&waiter) else { continue };
            for holder in self.in_the_way(waiter, table, *strength) {
                if holder == session {
                    return true;
                }
                if !seen.contains(&holder) {
                    seen.push(holder);
                    next.push(holder);
                }
            }
        }
        false
    }
}

impl Locks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a lock, and waits for it without a limit: who gives up drops the future and releases.
    ///
    /// # Errors
    /// Where everybody waits for everybody.
    pub(crate) async fn acquire(&self, session: u64, table: &str, strength: Strength) -> Result<(), Refusal> {
        let _waiting = Waiting { locks: self, session };
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.state();
                if state.in_the_way(session, table, strength).is_empty() {
                    state.waiting.remove(&session);
                    let held = state.held.entry(table.to_owned()).or_default().entry(session).or_insert(strength);
                    *held = strength.max(*held);
                    return Ok(());
                }
                state.waiting.insert(session, (table.to_owned(), strength));
                if state.is_deadlock(session) {
                    state.waiting.remove(&session);
                    return Err(Refusal::new("40P01", "deadlock detected"));
                }
            }
            changed.await;
        }
    }

    /// Gives back all that a session holds.
    pub(crate) fn release(&self, session: u64) {
        let mut state = self.state();
        state.held.retain(|_, holders| {
            holders.remove(&session);
            !holders.is_empty()
        });
        drop(state);
        self.changed.notify_waiters();
    }
}

/// Ends the wait of a session, however it ends.
struct Waiting<'a> {
    locks: &'a Locks,
    session: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.locks.state().waiting.remove(&self.session);
    }
}
