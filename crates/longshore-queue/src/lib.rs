//! Tasks and leases: which worker does what, once at a time, in order.
//!
//! A [`Queue`] holds tasks. A task is work on some objects of one table; what the work is, only its
//! payload says, which no queue reads. A worker leases a task, renews the lease while it works,
//! and says how it ended. A worker that dies loses its leases, and others take its tasks.
//!
//! What is queued is a hint: whoever works on a task looks first at what is still to be done. So a
//! queue may be lost, and a task may come twice, without any harm but wasted work. What a queue
//! does promise:
//!
//! - one task of a table runs at a time;
//! - an object is in one open task of its table;
//! - only the holder of a lease changes a running task;
//! - an *ordered* task does not overtake an older one of its table.

mod clock;
mod error;
mod sqlite;
mod state;
mod task;
#[cfg(feature = "testing")]
pub mod testing;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

pub use clock::{Clock, SystemClock};
pub use error::QueueError;
pub use sqlite::{SqliteConfig, SqliteQueue};
pub use state::State;
pub use task::{
    Counts, End, Enqueued, Lease, NewTask, Pause, PauseKind, Position, Progress, Renewal, Renewed, Schedule, Swept,
    Task, TaskId, TaskObject, Tick, Token, Which, Worker, WorkerId,
};

/// Deaths of workers after which a task is given up: it may be what kills them.
pub const MAX_DEATHS: u32 = 5;

/// Tasks, leases, paused pipelines and schedules, shared by any number of workers.
///
/// # Contract
///
/// Every method is one transaction: it happens whole or not at all, also if the process dies or the
/// call is dropped. All times are those of the queue's own clock. A write that belongs to a lease
/// carries its token; one whose lease is not held any more changes nothing and says so. A worker that
/// has departed is given nothing.
#[async_trait]
pub trait Queue: fmt::Debug + Send + Sync + 'static {
    /// The time by which leases and schedules go.
    async fn now(&self) -> Result<Timestamp, QueueError>;

    /// Makes a worker known, until [`Queue::depart`] or its death. Its leases last for `lease` unless
    /// they are renewed.
    async fn arrive(&self, name: &str, lease: Duration) -> Result<WorkerId, QueueError>;

    /// Takes a worker off the list. Leases that it still holds end as by its death, but without
    /// counting as one; schedules that it is busy with are free again.
    async fn depart(&self, worker: &WorkerId) -> Result<(), QueueError>;

    /// Workers that are alive.
    async fn workers(&self) -> Result<Vec<Worker>, QueueError>;

    /// Adds tasks. An object that is in an open task of its table already is left out, and so is a
    /// task of which no object is left. Tasks of `withdraw` that have not begun yet (`available`,
    /// `scheduled` or `retryable`) are removed first, so that their objects can be part of new ones;
    /// those that are in any other state by now stay as they are. A task with an object of one that
    /// was removed counts as queued since that was.
    async fn enqueue(&self, tasks: Vec<NewTask>, withdraw: &[TaskId]) -> Result<Enqueued, QueueError>;

    /// Which of these identities are in an open task of this table.
    async fn are_open(&self, table: &str, identities: &[String]) -> Result<Vec<bool>, QueueError>;

    /// Leases up to `limit` tasks, at most one for each table, the most urgent first: by priority
    /// (greater first), then position, then id. Tasks that are due (`scheduled` or `retryable` whose
    /// time has come) count as available. Left out are tasks
    /// - of a table of which one runs,
    /// - of a pipeline that is paused (but for [`PauseKind::Objects`]), unless the task is a probe and
    ///   the pipeline is paused by [`PauseKind::Fault`],
    /// - that are `ordered`, while an older task of the table (by position, then id) waits, due or not,
    ///   paused or not; one that was cancelled or discarded does not hold others back,
    /// - not of `only`, if that is given.
    ///
    /// A task that was a probe is one no more when its lease ends.
    async fn lease(&self, worker: &WorkerId, limit: usize, only: Option<&[TaskId]>) -> Result<Vec<Lease>, QueueError>;

    /// Prolongs leases, and keeps how far their work has come. Tells of each whether it is still
    /// held, and whether it is to be broken off. Also shows that the worker lives.
    async fn renew(&self, worker: &WorkerId, leases: &[Renewal]) -> Result<Vec<Renewed>, QueueError>;

    /// Ends leases. Returns for each whether it was still held; if not, nothing was changed. A task
    /// that somebody cancels and that is not completed becomes `cancelled`, however its lease ends. A
    /// task that is completed ends a pause of its pipeline by a fault.
    async fn finish(&self, ends: Vec<(TaskId, Token, End)>) -> Result<Vec<bool>, QueueError>;

    /// Ends the leases of workers that are dead, and of those that have not renewed them in time: the
    /// task is `available` again (its `deaths` one more) or, at the [`MAX_DEATHS`]th, `discarded`, and
    /// then its pipeline is paused ([`PauseKind::Discarded`]) with a message that names its oldest
    /// object. Schedules that a dead worker was busy with are free again. Forgets workers that are dead.
    async fn sweep(&self) -> Result<Swept, QueueError>;

    /// Cancels tasks: those that do not run at once, those that do when their worker renews.
    /// Returns how many of each.
    async fn cancel(&self, which: Which<'_>) -> Result<(u64, u64), QueueError>;

    /// Makes discarded and cancelled tasks available again, with no attempts and deaths. Pauses that
    /// a discarded task brought about end. Returns the tasks.
    async fn retry(&self, which: Which<'_>) -> Result<Vec<TaskId>, QueueError>;

    /// Counts the tasks that do not run and are not closed (`available`, `scheduled`, `retryable`),
    /// and removes them if `really`.
    async fn purge(&self, really: bool) -> Result<u64, QueueError>;

    /// Removes completed tasks that ended before. Returns how many. Those that were cancelled or
    /// discarded stay, so that no scan brings their objects back: [`Queue::forget`] removes them.
    async fn prune(&self, before: Timestamp) -> Result<u64, QueueError>;

    /// Removes these tasks if they are cancelled or discarded: their objects are gone. A pause that
    /// one brought about ends.
    async fn forget(&self, tasks: &[TaskId]) -> Result<(), QueueError>;

    /// Pauses a pipeline, or replaces why it is paused. What an operator paused, or a discarded task,
    /// is not replaced by a fault, and what an operator paused by nothing but an operator's word.
    async fn pause(&self, pause: Pause) -> Result<(), QueueError>;

    /// Ends a pause of one of these kinds. Returns whether there was one. Where that was an operator's
    /// and a task of the pipeline is discarded, it is paused by that again.
    async fn resume(&self, pipeline: &str, kinds: &[PauseKind]) -> Result<bool, QueueError>;

    /// Paused pipelines, by name.
    async fn pauses(&self) -> Result<Vec<Pause>, QueueError>;

    /// Lets the most urgent waiting task (by priority, position, id) of each pipeline that is paused by
    /// a fault run once, now: also if it is not due yet. One that an older task holds back is chosen
    /// only if all are, and none while a probe of the pipeline runs. Returns them.
    async fn probe(&self) -> Result<Vec<TaskId>, QueueError>;

    /// A task.
    async fn task(&self, id: TaskId) -> Result<Option<Task>, QueueError>;

    /// The objects of a task, in order; none of one that is completed.
    async fn objects(&self, id: TaskId) -> Result<Vec<TaskObject>, QueueError>;

    /// Tasks in these states, the most urgent first, up to a number.
    async fn tasks(&self, states: &[State], limit: usize) -> Result<Vec<Task>, QueueError>;

    /// Open tasks that have an object of one of these keys, by id.
    async fn having(&self, keys: &[String]) -> Result<Vec<Task>, QueueError>;

    /// Whether any task that is queued since then or longer waits or runs (`available`, `scheduled`,
    /// `retryable`, `running`).
    async fn has_work_since(&self, queued_at: Timestamp) -> Result<bool, QueueError>;

    /// Tasks of a table that have not begun (`available`, `scheduled`, `retryable`), the oldest first.
    async fn waiting(&self, table: &str) -> Result<Vec<Task>, QueueError>;

    /// Numbers of tasks and of the objects in them (of a completed task: that were in it), by state.
    async fn counts(&self) -> Result<Counts, QueueError>;

    /// Takes a schedule, if it is due and nobody else is busy with it. A schedule that nobody has heard of is
    /// due at `first`; one whose rule (any text) is not the one that is known is due at `first` again,
    /// whatever a tick that began by the old rule says at its end. A worker that is busy keeps the
    /// schedule as it keeps a lease: [`Queue::renew`] prolongs it.
    async fn begin_tick(
        &self,
        schedule: &str,
        rule: &str,
        first: Timestamp,
        worker: &WorkerId,
    ) -> Result<Option<Tick>, QueueError>;

    /// Ends a tick and says when the next one is due. Returns whether the schedule was still held.
    async fn end_tick(&self, tick: &Tick, next: Timestamp, error: Option<&str>) -> Result<bool, QueueError>;

    /// All schedules, by name.
    async fn schedules(&self) -> Result<Vec<Schedule>, QueueError>;

    /// Forgets schedules of other names.
    async fn keep_schedules(&self, names: &[String]) -> Result<(), QueueError>;
}
