//! What a queue holds.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::State;

/// Number of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId(pub i64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What shows that a lease is held: drawn anew for each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Token(pub String);

/// Who a worker is: drawn when it arrives.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct WorkerId(pub String);

/// Place of an object or task in the order of its table: last-modified, then key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// Last-modified.
    pub modified_at: Timestamp,
    /// Key.
    pub key: String,
}

/// Work to be done on objects of one table, by the rules of one pipeline.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Table; one task of it runs at a time.
    pub table: String,
    /// Pipeline; its tasks wait while it is paused.
    pub pipeline: String,
    /// Whether older tasks of the table that are not done hold this one back.
    pub ordered: bool,
    /// The greater, the more urgent; 0 is usual.
    pub priority: i16,
    /// Not to be leased for so long.
    pub delay: Option<Duration>,
    /// Its objects, in the order of their positions; the position of the first is that of the task.
    pub objects: Vec<TaskObject>,
}

/// An object of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskObject {
    /// Its identity.
    pub identity: String,
    /// Its place in the order.
    pub position: Position,
    /// Size in bytes.
    pub bytes: u64,
    /// What the worker needs to know of it; no queue reads this.
    #[serde(skip)]
    pub payload: String,
}

/// What became of an enqueue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Enqueued {
    /// Tasks that were added, in the order in which they were given.
    pub tasks: Vec<TaskId>,
    /// Objects in them.
    pub objects: u64,
}

/// A task as it stands.
#[derive(Debug, Clone, Serialize)]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// Table.
    pub table: String,
    /// Pipeline.
    pub pipeline: String,
    /// Whether older tasks of the table hold it back.
    pub ordered: bool,
    /// The greater, the more urgent.
    pub priority: i16,
    /// Where it is on its way.
    pub state: State,
    /// Since when it is queued; if objects of it were in a task that was withdrawn for it: since when that was.
    pub queued_at: Timestamp,
    /// Not to be leased before; for a task that is retried, the time of its next attempt.
    pub not_before: Timestamp,
    /// How often it was leased.
    pub attempts: u32,
    /// How often its worker died.
    pub deaths: u32,
    /// Whether it may run although its pipeline is paused.
    pub probe: bool,
    /// Who has it, by name, and since when; of a task that runs.
    pub worker: Option<String>,
    /// When its attempt began, if it runs.
    pub started_at: Option<Timestamp>,
    /// How far its work has come, if it runs.
    pub progress: Progress,
    /// The load that is open for it, as its worker said when it renewed.
    pub load: Option<String>,
    /// Whether it is to be broken off.
    pub cancel_asked: bool,
    /// What went wrong at the last attempt.
    pub error: Option<String>,
    /// When it ended, if it has.
    pub ended_at: Option<Timestamp>,
    /// Position of its first object.
    pub first: Position,
    /// Position of its last object.
    pub last: Position,
    /// How many objects it has; of a task that is completed: had.
    pub object_count: u64,
}

/// How far work has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes there are.
    pub total_bytes: u64,
}

/// A task that a worker has.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The task.
    pub task: Task,
    /// Its objects, in order.
    pub objects: Vec<TaskObject>,
    /// What shows that it is held.
    pub token: Token,
}

/// A lease that is to last longer.
#[derive(Debug, Clone)]
pub struct Renewal {
    /// The task.
    pub id: TaskId,
    /// What shows that it is held.
    pub token: Token,
    /// How far the work has come.
    pub progress: Progress,
    /// The load that is open for it.
    pub load: Option<String>,
}

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// It is held, and may go on.
    Held,
    /// It is held, and is to be broken off: somebody cancels the task.
    CancelAsked,
    /// It is not held any more: whatever is done for it must stop.
    Lost,
}

/// How a lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The work is done.
    Completed,
    /// A fault that passes: to be tried again after this time.
    Retry {
        /// How long to wait.
        after: Duration,
        /// What went wrong.
        error: String,
    },
    /// Given back as it was: the worker shuts down. Does not count as an attempt.
    Returned,
    /// The surroundings do not allow it: given back, and its pipeline is paused (in the same transaction).
    Paused(Pause),
    /// Broken off by an operator.
    Cancelled,
}

/// Why a pipeline's tasks wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// Its name.
    pub pipeline: String,
    /// Who or what paused it.
    pub kind: PauseKind,
    /// Since when; set by the queue, and kept while the kind and the error stay.
    pub since: Timestamp,
    /// Why.
    pub error: String,
    /// What to do about it.
    pub cure: Option<String>,
    /// The task that brought it about, if it was discarded.
    pub task: Option<TaskId>,
}

/// Who or what paused a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PauseKind {
    /// A fault of the surroundings. It is probed, and ends when the probe is completed.
    Fault,
    /// An operator.
    Operator,
    /// A fault of the surroundings that lies in some objects: the others go on.
    Objects,
    /// A task was discarded. It ends when the task is retried or gone; nothing of the pipeline runs meanwhile.
    Discarded,
}

impl PauseKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fault, Self::Operator, Self::Objects, Self::Discarded];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Operator => "operator",
            Self::Objects => "objects",
            Self::Discarded => "discarded",
        }
    }

    /// The kind of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether a pipeline that is paused so may come to be paused so instead. An operator's word
    /// stands until an operator says otherwise, and a discarded task is not covered by a fault.
    pub const fn may_be_replaced_by(self, next: Self) -> bool {
        match self {
            Self::Fault | Self::Objects => true,
            Self::Discarded => matches!(next, Self::Discarded | Self::Operator),
            Self::Operator => matches!(next, Self::Operator),
        }
    }
}

/// What a sweep found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Tasks that are available again.
    pub returned: Vec<TaskId>,
    /// Tasks that were given up.
    pub discarded: Vec<TaskId>,
}

/// Which tasks an operator means.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// These.
    Ids(&'a [TaskId]),
    /// Those that have an object of one of these keys.
    Keys(&'a [String]),
    /// Those of this pipeline.
    Pipeline(&'a str),
    /// All.
    All,
}

/// A process that works on tasks or ticks.
#[derive(Debug, Clone, Serialize)]
pub struct Worker {
    /// Who it is.
    pub id: WorkerId,
    /// Its name: what it does, host, process id.
    pub name: String,
    /// Since when.
    pub since: Timestamp,
}

/// Numbers of tasks and objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Of each state that has any: state, tasks, objects in them.
    pub by_state: Vec<(State, u64, u64)>,
}

impl Counts {
    /// Tasks in a state.
    pub fn tasks(&self, state: State) -> u64 {
        self.by_state.iter().find(|(of, ..)| *of == state).map_or(0, |(_, tasks, _)| *tasks)
    }
}

/// A schedule that a worker is busy with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Its name.
    pub schedule: String,
    /// What shows that it is held.
    pub token: Token,
    /// When it was due: long ago, if ticks were missed.
    pub due: Timestamp,
}

/// A schedule as it stands.
#[derive(Debug, Clone, Serialize)]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// When it is due next.
    pub next_at: Timestamp,
    /// Since when somebody is busy with it.
    pub busy_since: Option<Timestamp>,
    /// When its last tick ended.
    pub last_at: Option<Timestamp>,
    /// What went wrong at its last tick.
    pub error: Option<String>,
}
