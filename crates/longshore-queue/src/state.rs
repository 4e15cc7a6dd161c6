//! The states of a task, by River's names, and the moves between them.

use serde::Serialize;

/// Where a task is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may be leased.
    Available,
    /// It may be leased from a time on.
    Scheduled,
    /// A worker has it.
    Running,
    /// It met a fault that passes, and waits for its next attempt.
    Retryable,
    /// It is done.
    Completed,
    /// An operator broke it off.
    Cancelled,
    /// It was given up: its workers died over it.
    Discarded,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Available,
        Self::Scheduled,
        Self::Running,
        Self::Retryable,
        Self::Completed,
        Self::Cancelled,
        Self::Discarded,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Retryable => "retryable",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }

    /// The state of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether a task may make this move. Any other is a bug; to stay is no move.
    pub const fn may_become(self, next: Self) -> bool {
        use State::{Available, Cancelled, Completed, Discarded, Retryable, Running, Scheduled};
        match self {
            // Its time has come, or it is a probe.
            Scheduled | Retryable => matches!(next, Available | Running | Cancelled),
            Available => matches!(next, Running | Cancelled),
            // Given back, to be tried later, done, broken off, given up.
            Running => matches!(next, Available | Retryable | Completed | Cancelled | Discarded),
            // An operator asked for a retry.
            Cancelled | Discarded => matches!(next, Available),
            Completed => false,
        }
    }

    /// Whether its objects are its own: no other task of the table may have them. A task that was
    /// cancelled or discarded keeps them until somebody retries it or they are gone, so that no
    /// scan brings them back.
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Completed)
    }

    /// Whether it waits for a worker or a time.
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Available | Self::Scheduled | Self::Retryable)
    }
}
