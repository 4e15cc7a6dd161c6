//! Random operations, and a small model that says what each must have led to.
//!
//! After each step the whole queue is read, and
//! - at most one task of a table runs,
//! - an identity is in one open task of a table,
//! - no task has made a move that the state machine does not know,
//! - what was leased is what the rule, written down here a second time and plainly, says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use super::conformance::{Bench, LEASE, Stage, object};
use crate::{
    Clock, End, Lease, NewTask, Pause, PauseKind, Position, Progress, Renewal, Renewed, State, Task, TaskId, Token,
    Which,
};

/// One operation. Numbers stand for one of few tables, pipelines, objects, tasks and leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step([u8; 6]);

impl Step {
    /// Any bytes are a step.
    pub const fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }
}

/// Plays steps.
///
/// # Panics
/// A rule is broken; the step is named.
pub async fn play(bench: &dyn Bench, steps: &[Step]) {
    let mut play = Play {
        stages: vec![Stage::new(bench).await, Stage::new(bench).await],
        before: BTreeMap::new(),
        leases: Vec::new(),
        held: HashMap::new(),
    };
    for (n, step) in steps.iter().enumerate() {
        let name = play.step(bench, step.0).await;
        play.check(&format!("step {n} ({name}, {:?})", step.0)).await;
    }
}

struct Play {
    stages: Vec<Stage>,
    before: BTreeMap<TaskId, Task>,
    /// All there ever were.
    leases: Vec<(TaskId, Token)>,
    held: HashMap<TaskId, Token>,
}

fn position(task: &Task) -> (&Position, TaskId) {
    (&task.first, task.id)
}

impl Play {
    async fn step(&mut self, bench: &dyn Bench, [kind, a, b, c, d, e]: [u8; 6]) -> &'static str {
        match kind % 20 {
            0..=4 => self.enqueue([a, b, c, d, e]).await,
            5..=8 => self.lease([a, b, c, d]).await,
            9..=12 => self.finish([a, b, c]).await,
            13 => self.renew(a).await,
            14 => {
                self.stages[0].pass(Duration::from_secs(u64::from(a)));
                "pass"
            }
            15 => self.sweep(bench, [a, b]).await,
            16 => self.operate([a, b]).await,
            17 => self.pause([a, b]).await,
            18 => {
                let pipeline = format!("p{}", a % 3);
                self.stages[0].queue.resume(&pipeline, &PauseKind::ALL).await.unwrap();
                "resume"
            }
            _ => {
                self.stages[1].queue.probe().await.unwrap();
                "probe"
            }
        }
    }

    fn pick(&self, n: u8) -> TaskId {
        let ids: Vec<_> = self.before.keys().collect();
        ids.get(usize::from(n) % ids.len().max(1)).map_or(TaskId(i64::from(n)), |id| **id)
    }

    async fn enqueue(&mut self, [a, b, c, d, e]: [u8; 5]) -> &'static str {
        let table = format!("t{}", a % 3);
        let mut keys: Vec<_> = (0..1 + (a / 64)).map(|n| (b.wrapping_add(n.wrapping_mul(d))) % 24).collect();
        keys.sort_unstable();
        let task = NewTask {
            table: table.clone(),
            pipeline: format!("p{}", c % 3),
            ordered: c & 8 != 0,
            priority: i16::from(c / 64) - 1,
            delay: (d % 4 == 0).then(|| Duration::from_secs(u64::from(d))),
            objects: keys.iter().map(|key| object(&format!("{key:02}"), i64::from(key / 4))).collect(),
        };
        let withdraw = if e % 4 == 0 { vec![self.pick(e / 4)] } else { Vec::new() };
        let mut taken: HashSet<String> = HashSet::new();
        for task in self.before.values().filter(|task| task.table == table) {
            if !(withdraw.contains(&task.id) && task.state.is_waiting()) {
                let objects = self.stages[0].queue.objects(task.id).await.unwrap();
                taken.extend(objects.into_iter().map(|object| object.identity));
            }
        }
        let new = task.objects.iter().filter(|object| taken.insert(object.identity.clone())).count() as u64;
        let enqueued = self.stages[usize::from(e % 2)].queue.enqueue(vec![task], &withdraw).await.unwrap();
        assert_eq!((enqueued.tasks.len(), enqueued.objects), (usize::from(new > 0), new));
        "enqueue"
    }

    async fn lease(&mut self, [a, b, c, d]: [u8; 4]) -> &'static str {
        let stage = &self.stages[usize::from(a % 2)];
        let limit = usize::from(b % 4);
        let only = (c % 4 == 0).then(|| vec![self.pick(c / 4), self.pick(d)]);
        let pauses = stage.queue.pauses().await.unwrap();
        let expected = self.leasable(&pauses, stage.queue.now().await.unwrap(), limit, only.as_deref());
        let leases = stage.queue.lease(&stage.worker, limit, only.as_deref()).await.unwrap();
        assert_eq!(leases.iter().map(|lease| lease.task.id).collect::<Vec<_>>(), expected);
        for Lease { task, token, .. } in leases {
            self.leases.push((task.id, token.clone()));
            self.held.insert(task.id, token);
        }
        "lease"
    }

    /// The rule of [`crate::Queue::lease`].
    fn leasable(&self, pauses: &[Pause], now: Timestamp, limit: usize, only: Option<&[TaskId]>) -> Vec<TaskId> {
        let all = || self.before.values();
        let may = |task: &&Task| {
            let waits = |older: &Task| {
                older.table == task.table && older.state.is_waiting() && position(older) < position(task)
            };
            let paused = pauses.iter().find(|pause| pause.pipeline == task.pipeline).map(|pause| pause.kind);
            let open = match paused {
                None | Some(PauseKind::Objects) => true,
                Some(PauseKind::Fault) => task.probe,
                Some(PauseKind::Operator | PauseKind::Discarded) => false,
            };
            open && task.state.is_waiting()
                && (task.state == State::Available || task.not_before <= now)
                && !all().any(|other| other.table == task.table && other.state == State::Running)
                && !(task.ordered && all().any(waits))
                && only.is_none_or(|only| only.contains(&task.id))
        };
        let mut urgent: Vec<&Task> = all().filter(may).collect();
        urgent.sort_by_key(|task| (Reverse(task.priority), position(task)));
        let mut tables = HashSet::new();
        urgent.retain(|task| tables.insert(&task.table));
        urgent.iter().take(limit).map(|task| task.id).collect()
    }

    async fn finish(&mut self, [a, b, c]: [u8; 3]) -> &'static str {
        // Mostly one that is held, at times one that may be lost.
        let held: Vec<_> = self.leases.iter().filter(|(id, token)| self.held.get(id) == Some(token)).collect();
        let from = if a < 200 { held } else { self.leases.iter().collect() };
        let Some((id, token)) = from.get(usize::from(a) % from.len().max(1)).copied().cloned() else {
            return "finish nothing";
        };
        let pause = super::conformance::pause(&format!("p{}", c % 3), PauseKind::ALL[usize::from(c / 3) % 3], "e");
        let (end, name) = match b % 8 {
            0..=2 => (End::Completed, "complete"),
            3 | 4 => (End::Retry { after: Duration::from_secs(u64::from(c)), error: "e".to_owned() }, "retry later"),
            5 => (End::Returned, "return"),
            6 => (End::Paused(pause), "pause by task"),
            _ => (End::Cancelled, "break off"),
        };
        let is_held = self.held.get(&id) == Some(&token);
        let ended = self.stages[usize::from(c % 2)].queue.finish(vec![(id, token, end)]).await.unwrap();
        assert_eq!(ended, [is_held], "whether {id} was held");
        if is_held {
            self.held.remove(&id);
        }
        name
    }

    async fn renew(&mut self, a: u8) -> &'static str {
        let Some((id, token)) = self.leases.get(usize::from(a) % self.leases.len().max(1)).cloned() else {
            return "renew nothing";
        };
        let is_held = self.held.get(&id) == Some(&token);
        let stage = &self.stages[0];
        let renewal = Renewal { id, token, progress: Progress::default(), load: None };
        let renewed = stage.queue.renew(&stage.worker, &[renewal]).await.unwrap()[0];
        assert_eq!(renewed != Renewed::Lost, is_held, "whether {id} is held");
        "renew"
    }

    async fn sweep(&mut self, bench: &dyn Bench, [a, b]: [u8; 2]) -> &'static str {
        let dies = a % 4 == 0;
        if dies {
            let rival = Stage::new(bench).await;
            self.stages[1] = rival;
            self.stages[0].pass(LEASE + Duration::from_secs(1));
        }
        let swept = self.stages[usize::from(b % 2)].queue.sweep().await.unwrap();
        let now = bench.clock().now();
        for id in swept.returned.iter().chain(&swept.discarded) {
            assert!(self.held.contains_key(id), "{id} ran until {now}");
        }
        if dies { "die and sweep" } else { "sweep" }
    }

    async fn operate(&mut self, [a, b]: [u8; 2]) -> &'static str {
        let queue = &self.stages[usize::from(a % 2)].queue;
        let (ids, pipeline) = ([self.pick(b)], format!("p{}", b % 3));
        let which = if a & 2 == 0 { Which::Ids(&ids) } else { Which::Pipeline(&pipeline) };
        match a / 4 % 16 {
            0..=5 => {
                queue.cancel(which).await.unwrap();
                "cancel"
            }
            6..=11 => {
                queue.retry(which).await.unwrap();
                "retry"
            }
            12..=14 => {
                queue.forget(&ids).await.unwrap();
                "forget"
            }
            _ => {
                queue.purge(b % 2 == 0).await.unwrap();
                "purge"
            }
        }
    }

    async fn pause(&mut self, [a, b]: [u8; 2]) -> &'static str {
        let pause = super::conformance::pause(&format!("p{}", a % 3), PauseKind::ALL[usize::from(b % 3)], "e");
        self.stages[0].queue.pause(pause).await.unwrap();
        "pause"
    }

    /// Reads all tasks and compares them with those before.
    async fn check(&mut self, step: &str) {
        let tasks = self.stages[0].queue.tasks(&State::ALL, usize::MAX).await.unwrap();
        let (mut running, mut open) = (HashSet::new(), HashSet::new());
        for task in &tasks {
            if task.state == State::Running {
                assert!(running.insert(&task.table), "{step}: two tasks of `{}` run", task.table);
            } else {
                self.held.remove(&task.id);
                assert!(!task.cancel_asked && task.started_at.is_none(), "{step}: {task:?} does not run");
            }
            let objects = self.stages[0].queue.objects(task.id).await.unwrap();
            assert_eq!(objects.is_empty(), !task.state.is_open(), "{step}: objects of {task:?}");
            assert!(task.first <= task.last && task.object_count > 0, "{step}: {task:?}");
            if let (Some(first), Some(last)) = (objects.first(), objects.last()) {
                assert_eq!((&first.position, &last.position), (&task.first, &task.last), "{step}");
                assert_eq!(objects.len() as u64, task.object_count, "{step}");
            }
            for object in objects {
                let identity = object.identity.clone();
                assert!(open.insert((&task.table, object.identity)), "{step}: `{identity}` is open twice");
            }
            assert_eq!(task.ended_at.is_none(), task.state.is_waiting() || task.state == State::Running, "{step}");
            let from = self.before.get(&task.id).map_or(task.state, |before| before.state);
            let ended = from == State::Running && task.state != State::Running;
            assert!(!(ended && task.probe), "{step}: {} is still a probe", task.id);
            assert!(
                from == task.state || from.may_become(task.state),
                "{step}: {} went from {} to {}",
                task.id,
                from.as_str(),
                task.state.as_str()
            );
        }
        self.before = tasks.into_iter().map(|task| (task.id, task)).collect();
        for id in self.held.keys() {
            assert!(self.before.contains_key(id), "{step}: {id} ran, and is gone");
        }
    }
}
