//! What a driver lends to the suite, and how cases speak of tasks.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::testing::ManualClock;
use crate::{
    End, Lease, NewTask, Pause, PauseKind, Position, Queue, Renewal, Renewed, State, Task, TaskId, TaskObject, Token,
    WorkerId,
};

/// How long leases last in the cases.
pub const LEASE: Duration = Duration::from_secs(60);

/// Lends an empty queue to one case.
pub trait Bench: Send + Sync {
    /// A handle on the queue, as a process has it: another one with each call. The workers that
    /// arrived by it die when it is dropped.
    fn handle(&self) -> Arc<dyn Queue>;

    /// The clock of all handles.
    fn clock(&self) -> ManualClock;
}

/// Runs a case on a runtime of its own.
#[doc(hidden)]
pub fn block_on<F: Future>(case: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime for a test")
        .block_on(case)
}

/// An object whose identity is its key, so many seconds old as time began.
pub fn object(key: &str, second: i64) -> TaskObject {
    let modified_at = Timestamp::from_second(second).expect("a time");
    TaskObject {
        identity: format!("identity of {key}"),
        position: Position { modified_at, key: key.to_owned() },
        bytes: 7,
        payload: format!("payload of {key}"),
    }
}

/// An unordered task of one object, by a pipeline of the table's name.
pub fn one(table: &str, key: &str, second: i64) -> NewTask {
    NewTask {
        table: table.to_owned(),
        pipeline: table.to_owned(),
        ordered: false,
        priority: 0,
        delay: None,
        objects: vec![object(key, second)],
    }
}

/// The key of a task's first object.
pub fn key_of(lease: &Lease) -> &str {
    &lease.task.first.key
}

/// A queue with one worker.
#[derive(Debug)]
pub struct Stage {
    /// The handle.
    pub queue: Arc<dyn Queue>,
    /// The worker.
    pub worker: WorkerId,
    clock: ManualClock,
}

impl Stage {
    /// A new handle of the bench, with a worker of its own.
    pub async fn new(bench: &dyn Bench) -> Self {
        let queue = bench.handle();
        let worker = queue.arrive("a worker", LEASE).await.expect("to arrive");
        Self { queue, worker, clock: bench.clock() }
    }

    /// Enqueues; returns the ids.
    pub async fn enqueue(&self, tasks: Vec<NewTask>) -> Vec<TaskId> {
        self.queue.enqueue(tasks, &[]).await.expect("to enqueue").tasks
    }

    /// Enqueues one task.
    pub async fn enqueue_one(&self, task: NewTask) -> TaskId {
        self.enqueue(vec![task]).await.pop().expect("a new task")
    }

    /// Leases all that may be leased.
    pub async fn lease(&self) -> Vec<Lease> {
        self.queue.lease(&self.worker, usize::MAX, None).await.expect("to lease")
    }

    /// Keys of all that may be leased, in the order of the leases, which are given back.
    pub async fn leasable(&self) -> Vec<String> {
        let leases = self.lease().await;
        let keys = leases.iter().map(|lease| key_of(lease).to_owned()).collect();
        for lease in &leases {
            assert!(self.finish(lease, End::Returned).await);
        }
        keys
    }

    /// Leases the one task that may be leased.
    pub async fn lease_one(&self) -> Lease {
        let mut leases = self.lease().await;
        assert_eq!(leases.len(), 1, "{leases:?}");
        leases.pop().expect("one")
    }

    /// Ends a lease.
    pub async fn finish(&self, lease: &Lease, end: End) -> bool {
        self.finish_by(lease.task.id, &lease.token, end).await
    }

    /// Ends the lease of a token.
    pub async fn finish_by(&self, id: TaskId, token: &Token, end: End) -> bool {
        self.queue.finish(vec![(id, token.clone(), end)]).await.expect("to finish")[0]
    }

    /// Renews a lease.
    pub async fn renew(&self, lease: &Lease) -> Renewed {
        let (id, token) = (lease.task.id, lease.token.clone());
        let renewal = Renewal { id, token, progress: crate::Progress::default(), load: None };
        self.queue.renew(&self.worker, &[renewal]).await.expect("to renew")[0]
    }

    /// A task as it stands.
    pub async fn task(&self, id: TaskId) -> Task {
        self.queue.task(id).await.expect("to look").expect("a task")
    }

    /// Its state.
    pub async fn state(&self, id: TaskId) -> State {
        self.task(id).await.state
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Lets so much time pass that no lease is left, and sweeps.
    pub async fn pass_leases(&self) -> crate::Swept {
        self.pass(LEASE + Duration::from_secs(1));
        self.queue.sweep().await.expect("to sweep")
    }

    /// Leases a task and lets the lease run out, until it is discarded.
    pub async fn discard(&self, id: TaskId) {
        for _ in 0..crate::MAX_DEATHS {
            let leases = self.queue.lease(&self.worker, 1, Some(&[id])).await.expect("to lease");
            assert_eq!(leases.len(), 1);
            self.pass_leases().await;
        }
        assert_eq!(self.state(id).await, State::Discarded);
    }

    /// Pauses a pipeline.
    pub async fn pause(&self, pipeline: &str, kind: PauseKind) {
        self.queue.pause(pause(pipeline, kind, "a fault")).await.expect("to pause");
    }

    /// Kinds of the pauses.
    pub async fn pause_kinds(&self) -> Vec<PauseKind> {
        self.queue.pauses().await.expect("to look").into_iter().map(|pause| pause.kind).collect()
    }
}

/// A pause.
pub fn pause(pipeline: &str, kind: PauseKind, error: &str) -> Pause {
    Pause {
        pipeline: pipeline.to_owned(),
        kind,
        since: Timestamp::UNIX_EPOCH,
        error: error.to_owned(),
        cure: Some("a cure".to_owned()),
        task: None,
    }
}

/// An end that asks for another attempt after a minute.
pub(super) fn again() -> End {
    End::Retry { after: Duration::from_secs(60), error: "the network is down".to_owned() }
}
