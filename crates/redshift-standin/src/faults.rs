//! Faults that a test asks for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::refusal::Refusal;

/// What befalls a statement.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is answered with this error: SQLSTATE, message, detail.
    Raise(&'static str, &'static str, &'static str),
    /// The connection is lost before it runs.
    CutBefore,
    /// The connection is lost after it ran, before the answer.
    CutAfter,
    /// It runs so much later.
    Delay(Duration),
}

impl Fault {
    /// A serialization failure, as Redshift reports it.
    pub const SERIALIZATION: Self = Self::Raise(
        "XX000",
        "1023",
        "Serializable isolation violation on table - 141349, transactions forming the cycle are: 4044550, 4044551 (pid:7005)",
    );

    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Raise(sqlstate, message, detail) => Some(Refusal::new(sqlstate, *message).detail(*detail)),
            _ => None,
        }
    }
}

/// The faults that are still to come.
#[derive(Debug, Default)]
pub struct Faults {
    waiting: Mutex<Vec<(String, u32, Fault)>>,
}

impl Faults {
    /// Has the fault befall the `nth` statement (1 is the next) that contains these words, whatever their case.
    pub fn at(&self, words: &str, nth: u32, fault: Fault) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push((words.to_lowercase(), nth, fault));
    }

    /// Whether all of them came.
    pub fn are_spent(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(crate) fn next(&self, sql: &str) -> Option<Fault> {
        let sql = sql.to_lowercase();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (words, nth, _) in waiting.iter_mut() {
            if sql.contains(words.as_str()) {
                *nth = nth.saturating_sub(1);
            }
        }
        let due = waiting.iter().position(|(words, nth, _)| *nth == 0 && sql.contains(words.as_str()))?;
        Some(waiting.remove(due).2)
    }
}
