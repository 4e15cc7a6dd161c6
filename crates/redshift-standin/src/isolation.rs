//! What transactions read and wrote, table by table: the cycles for which Redshift answers 1023, and
//! the tables that came or went after a snapshot, for which it answers 1018.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::refusal::Refusal;

/// How a database isolates its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Transactions that change the same row conflict; write skew passes.
    Snapshot,
    /// A cycle of dependencies over whole tables aborts one transaction.
    Serializable,
}

/// The transactions of a database.
#[derive(Debug)]
pub(crate) struct Transactions {
    isolation: Isolation,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    clock: u64,
    open: HashMap<u64, Transaction>,
    committed: Vec<Transaction>,
    /// When a table was last created or dropped.
    changed: HashMap<String, u64>,
}

#[derive(Debug, Default, Clone)]
struct Transaction {
    number: u64,
    snapshot: u64,
    committed: Option<u64>,
    reads: HashSet<String>,
    writes: HashSet<String>,
    changes: HashSet<String>,
}

impl Transaction {
    /// Whether this one does not see what `other` wrote.
    fn misses(&self, other: &Self) -> bool {
        other.committed.is_none_or(|committed| committed > self.snapshot)
    }

    /// Whether this one has to come before `other` in any order of one after the other.
    fn precedes(&self, other: &Self) -> bool {
        let missed = self.misses(other) && self.reads.intersection(&other.writes).next().is_some();
        let is_first = match (self.committed, other.committed) {
            (Some(own), Some(others)) => own < others,
            (own, _) => own.is_some(),
        };
        let written = is_first && self.writes.intersection(&other.writes).next().is_some();
        let seen = !other.misses(self) && self.writes.intersection(&other.reads).next().is_some();
        missed || written || (seen && self.committed.is_some())
    }
}

impl Transactions {
    pub(crate) fn new(isolation: Isolation) -> Self {
        Self { isolation, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a statement reads and writes. The first one of a transaction takes its snapshot.
    ///
    /// # Errors
    /// 1018 and 1023.
    pub(crate) fn touch(
        &self,
        session: u64,
        transaction: u64,
        reads: &[String],
        writes: &[String],
    ) -> Result<(), Refusal> {
        let mut guard = self.state();
        let state = &mut *guard;
        let clock = state.clock;
        let mine = state.open.entry(session).or_insert_with(|| Transaction {
            number: transaction,
            snapshot: clock,
            ..Transaction::default()
        });
        for table in reads.iter().chain(writes) {
            let is_strange = state.changed.get(table).is_some_and(|changed| *changed > mine.snapshot);
            if is_strange && !mine.changes.contains(table) {
                return Err(Refusal::new("XX000", "1018").detail("Relation does not exist."));
            }
        }
        mine.reads.extend(reads.iter().cloned());
        mine.writes.extend(writes.iter().cloned());
        if self.isolation == Isolation::Serializable
            && let Some(other) = state.cycle(session)
        {
            let table = reads.iter().chain(writes).next().map_or(0, |table| id_of(table));
            return Err(violation(table, transaction, other));
        }
        Ok(())
    }

    /// Notes that a transaction creates or drops a table.
    pub(crate) fn change(&self, session: u64, table: &str) {
        if let Some(mine) = self.state().open.get_mut(&session) {
            mine.changes.insert(table.to_owned());
        }
    }

    /// Ends a transaction.
    pub(crate) fn end(&self, session: u64, is_committed: bool) {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(mut mine) = state.open.remove(&session) else { return };
        if is_committed {
            state.clock += 1;
            for table in mine.changes.drain() {
                state.changed.insert(table, state.clock);
            }
            mine.committed = Some(state.clock);
            state.committed.push(mine);
        }
        let oldest = state.open.values().map(|open| open.snapshot).min().unwrap_or(state.clock);
        state.committed.retain(|old| old.committed.is_some_and(|committed| committed > oldest));
    }
}

impl State {
    /// The other transaction of a cycle through this session's.
    fn cycle(&self, session: u64) -> Option<u64> {
        let mine = self.open.get(&session)?;
        let others: Vec<&Transaction> =
            self.open.iter().filter(|(who, _)| **who != session).map(|(_, open)| open).chain(&self.committed).collect();
        let mut seen = vec![false; others.len()];
        let mut next: Vec<usize> = (0..others.len()).filter(|at| mine.precedes(others[*at])).collect();
        while let Some(at) = next.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            if others[at].precedes(mine) {
                return Some(others[at].number);
            }
            next.extend((0..others.len()).filter(|to| !seen[*to] && others[at].precedes(others[*to])));
        }
        None
    }
}

/// Redshift's error for a serialization failure.
pub(crate) fn violation(table: u64, one: u64, other: u64) -> Refusal {
    Refusal::new("XX000", "1023").detail(format!(
        "Serializable isolation violation on table - {table}, transactions forming the cycle are: {one}, {other} (pid:{})",
        std::process::id()
    ))
}

/// A number for a table in messages.
pub(crate) fn id_of(table: &str) -> u64 {
    table.bytes().fold(100_000, |id, byte| (id * 31 + u64::from(byte)) % 900_000) + 100_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(isolation: Isolation) -> Transactions {
        Transactions::new(isolation)
    }

    fn names(tables: &[&str]) -> Vec<String> {
        tables.iter().map(|table| (*table).to_owned()).collect()
    }

    #[test]
    fn a_read_then_insert_of_two_at_once_is_a_cycle_in_serializable_and_passes_in_snapshot() {
        for (isolation, is_refused) in [(Isolation::Serializable, true), (Isolation::Snapshot, false)] {
            let all = all(isolation);
            all.touch(1, 11, &names(&["ledger"]), &[]).unwrap();
            all.touch(2, 12, &names(&["ledger"]), &[]).unwrap();
            all.touch(1, 11, &[], &names(&["ledger"])).unwrap();
            all.end(1, true);
            let second = all.touch(2, 12, &[], &names(&["ledger"]));
            assert_eq!(second.is_err(), is_refused);
            if let Err(refusal) = second {
                assert_eq!((refusal.sqlstate.as_str(), refusal.message.as_str()), ("XX000", "1023"));
                assert!(refusal.detail.unwrap().starts_with("Serializable isolation violation on table - "));
            }
        }
    }

    #[test]
    fn one_after_the_other_is_no_cycle() {
        let all = all(Isolation::Serializable);
        for session in 1..4 {
            all.touch(session, session, &names(&["t", "ledger"]), &names(&["t", "ledger"])).unwrap();
            all.end(session, true);
        }
    }

    #[test]
    fn a_table_of_after_the_snapshot_is_1018() {
        let all = all(Isolation::Snapshot);
        all.touch(1, 1, &names(&["a"]), &[]).unwrap();
        all.touch(2, 2, &[], &names(&["b"])).unwrap();
        all.change(2, "b");
        all.touch(2, 2, &names(&["b"]), &[]).unwrap();
        all.end(2, true);
        assert_eq!(all.touch(1, 1, &names(&["b"]), &[]).unwrap_err().message, "1018");
        all.end(1, false);
        all.touch(1, 3, &names(&["b"]), &[]).unwrap();
    }
}
