//! The boundary, method by method: what each needs is brought to the thread that does it.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::operator::{self, Picked};
use super::schedule::{self, Wanted};
use super::time::{length, micros};
use super::{SqliteQueue, enqueue, lease, pause, read, sweep, worker};
use crate::{
    Counts, End, Enqueued, Lease, NewTask, Pause, PauseKind, Queue, QueueError, Renewal, Renewed, Schedule, State,
    Swept, Task, TaskId, TaskObject, Tick, Token, Which, Worker, WorkerId,
};

#[async_trait]
impl Queue for SqliteQueue {
    async fn now(&self) -> Result<Timestamp, QueueError> {
        Ok(self.inner.clock.now())
    }

    async fn arrive(&self, name: &str, lease: Duration) -> Result<WorkerId, QueueError> {
        let name = name.to_owned();
        self.write(move |tx, inner| worker::arrive(tx, &inner.locks, &name, length(lease), inner.now())).await
    }

    async fn depart(&self, worker: &WorkerId) -> Result<(), QueueError> {
        let worker = worker.0.clone();
        self.spawn(move |inner| {
            inner.transact(|tx, inner| worker::depart(tx, &worker, inner.now()))?;
            worker::departed(&inner.locks, &worker);
            Ok(())
        })
        .await
    }

    async fn workers(&self) -> Result<Vec<Worker>, QueueError> {
        self.read(|connection, inner| worker::workers(connection, &inner.locks)).await
    }

    async fn enqueue(&self, tasks: Vec<NewTask>, withdraw: &[TaskId]) -> Result<Enqueued, QueueError> {
        let withdraw = withdraw.to_vec();
        self.write(move |tx, inner| enqueue::enqueue(tx, &tasks, &withdraw, inner.now())).await
    }

    async fn are_open(&self, table: &str, identities: &[String]) -> Result<Vec<bool>, QueueError> {
        let (table, identities) = (table.to_owned(), identities.to_vec());
        self.read(move |connection, _| enqueue::are_open(connection, &table, &identities)).await
    }

    async fn lease(&self, worker: &WorkerId, limit: usize, only: Option<&[TaskId]>) -> Result<Vec<Lease>, QueueError> {
        let (worker, only) = (worker.0.clone(), only.map(<[TaskId]>::to_vec));
        self.spawn(move |inner| {
            // Workers that find nothing do not hold up those that write.
            if !inner.look(|connection, inner| lease::is_any(connection, only.as_deref(), inner.now()))? {
                return Ok(Vec::new());
            }
            inner.transact(|tx, inner| {
                let now = inner.now();
                match worker::lease_length(tx, &inner.locks, &worker, now)? {
                    Some(lasts) => lease::lease(tx, (&worker, lasts), limit, only.as_deref(), now),
                    None => Ok(Vec::new()),
                }
            })
        })
        .await
    }

    async fn renew(&self, worker: &WorkerId, leases: &[Renewal]) -> Result<Vec<Renewed>, QueueError> {
        let (worker, leases) = (worker.0.clone(), leases.to_vec());
        self.write(move |tx, inner| {
            let now = inner.now();
            let Some(lasts) = worker::lease_length(tx, &inner.locks, &worker, now)? else {
                return Ok(vec![Renewed::Lost; leases.len()]);
            };
            schedule::renew(tx, (&worker, lasts), now)?;
            lease::renew(tx, lasts, &leases, now)
        })
        .await
    }

    async fn finish(&self, ends: Vec<(TaskId, Token, End)>) -> Result<Vec<bool>, QueueError> {
        self.write(move |tx, inner| lease::finish(tx, &ends, inner.now())).await
    }

    async fn sweep(&self) -> Result<Swept, QueueError> {
        self.spawn(move |inner| {
            // Who is dead stays so: it need not be asked under the lock of the file.
            let (dead, expired) = inner.look(|connection, inner| {
                Ok((worker::dead(connection, &inner.locks)?, sweep::is_any(connection, inner.now())?))
            })?;
            if dead.is_empty() && !expired {
                return Ok(Swept::default());
            }
            let swept = inner.transact(|tx, inner| sweep::sweep(tx, &dead, inner.now()))?;
            worker::bury(&inner.locks, &dead);
            Ok(swept)
        })
        .await
    }

    async fn cancel(&self, which: Which<'_>) -> Result<(u64, u64), QueueError> {
        let which = Picked::from(which);
        self.write(move |tx, inner| operator::cancel(tx, &which, inner.now())).await
    }

    async fn retry(&self, which: Which<'_>) -> Result<Vec<TaskId>, QueueError> {
        let which = Picked::from(which);
        self.write(move |tx, inner| operator::retry(tx, &which, inner.now())).await
    }

    async fn purge(&self, really: bool) -> Result<u64, QueueError> {
        self.write(move |tx, _| operator::purge(tx, really)).await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, QueueError> {
        self.write(move |tx, inner| {
            worker::tidy(tx, &inner.locks)?;
            operator::prune(tx, micros(before))
        })
        .await
    }

    async fn forget(&self, tasks: &[TaskId]) -> Result<(), QueueError> {
        let tasks = tasks.to_vec();
        self.write(move |tx, _| operator::forget(tx, &tasks)).await
    }

    async fn pause(&self, pause: Pause) -> Result<(), QueueError> {
        self.write(move |tx, inner| pause::pause(tx, &pause, inner.now())).await
    }

    async fn resume(&self, pipeline: &str, kinds: &[PauseKind]) -> Result<bool, QueueError> {
        let (pipeline, kinds) = (pipeline.to_owned(), kinds.to_vec());
        self.write(move |tx, inner| pause::resume(tx, &pipeline, &kinds, inner.now())).await
    }

    async fn pauses(&self) -> Result<Vec<Pause>, QueueError> {
        self.read(|connection, _| pause::pauses(connection)).await
    }

    async fn probe(&self) -> Result<Vec<TaskId>, QueueError> {
        self.write(|tx, inner| pause::probe(tx, inner.now())).await
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>, QueueError> {
        self.read(move |connection, _| read::task(connection, id)).await
    }

    async fn objects(&self, id: TaskId) -> Result<Vec<TaskObject>, QueueError> {
        self.read(move |connection, _| read::objects(connection, id)).await
    }

    async fn tasks(&self, states: &[State], limit: usize) -> Result<Vec<Task>, QueueError> {
        let states = states.to_vec();
        self.read(move |connection, _| read::tasks(connection, &states, limit)).await
    }

    async fn having(&self, keys: &[String]) -> Result<Vec<Task>, QueueError> {
        let keys = keys.to_vec();
        self.read(move |connection, _| read::having(connection, &keys)).await
    }

    async fn has_work_since(&self, queued_at: Timestamp) -> Result<bool, QueueError> {
        self.read(move |connection, _| read::has_work_since(connection, micros(queued_at))).await
    }

    async fn waiting(&self, table: &str) -> Result<Vec<Task>, QueueError> {
        let table = table.to_owned();
        self.read(move |connection, _| read::waiting(connection, &table)).await
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        self.read(|connection, _| read::counts(connection)).await
    }

    async fn begin_tick(
        &self,
        schedule: &str,
        rule: &str,
        first: Timestamp,
        worker: &WorkerId,
    ) -> Result<Option<Tick>, QueueError> {
        let wanted = Wanted { schedule: schedule.to_owned(), rule: rule.to_owned(), first: micros(first) };
        let worker = worker.0.clone();
        self.write(move |tx, inner| {
            let now = inner.now();
            match worker::lease_length(tx, &inner.locks, &worker, now)? {
                Some(lasts) => schedule::begin(tx, &wanted, (&worker, lasts), now),
                None => Ok(None),
            }
        })
        .await
    }

    async fn end_tick(&self, tick: &Tick, next: Timestamp, error: Option<&str>) -> Result<bool, QueueError> {
        let (tick, error) = (tick.clone(), error.map(ToOwned::to_owned));
        self.write(move |tx, inner| schedule::end(tx, &tick, micros(next), error.as_deref(), inner.now())).await
    }

    async fn schedules(&self) -> Result<Vec<Schedule>, QueueError> {
        self.read(|connection, _| schedule::schedules(connection)).await
    }

    async fn keep_schedules(&self, names: &[String]) -> Result<(), QueueError> {
        let names = names.to_vec();
        self.write(move |tx, _| schedule::keep(tx, &names)).await
    }
}
