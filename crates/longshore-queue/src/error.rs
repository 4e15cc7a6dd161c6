//! Why a queue cannot be used.

use std::path::PathBuf;

/// Why a queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Its file, or one beside it, cannot be written.
    #[error("cannot write `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It was written by a newer version.
    #[error("the queue in `{path}` is of a newer longshore (layout {found}, this one knows {known})")]
    Newer {
        /// Path of the journal.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// SQLite refuses.
    #[error("the queue in `{path}` cannot be used")]
    Sqlite {
        /// Path of the journal.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A task was to make a move that the state machine does not allow: a bug.
    #[error("task {task} cannot become {to} while it is {from}")]
    Move {
        /// The task.
        task: i64,
        /// Its state.
        from: &'static str,
        /// The state that it was to have.
        to: &'static str,
    },
    /// The runtime shut down before the work began: nothing was changed.
    #[error("the queue in `{path}` was not asked: the program shuts down")]
    Stopped {
        /// Path of the journal.
        path: PathBuf,
    },
}
