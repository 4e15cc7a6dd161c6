//! What a killed process leaves, and what others make of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use longshore_queue::testing::conformance::{block_on, one};
use longshore_queue::{End, Queue, State, Swept};

use crate::sqlite::open;

/// Leases of the children: none runs out while a test lasts.
const LONG: Duration = Duration::from_secs(3600);

/// This test binary, run again to do something with the file in a process of its own.
struct Other {
    child: Child,
    input: Option<ChildStdin>,
    /// Kept open, or the child could not write its end.
    output: BufReader<ChildStdout>,
}

impl Other {
    /// Starts it and waits for its word that it has come to its point.
    fn start(what: &str, path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", &format!("processes::child_{what}"), "--ignored", "--nocapture"])
            .env("LONGSHORE_TEST_FILE", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        while !line.contains("REACHED") {
            line.clear();
            let read = output.read_line(&mut line).expect("a line");
            assert!(read > 0, "the child ended before it came to its point");
        }
        Self { child, input, output }
    }

    fn finish(mut self) {
        drop(self.input.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("the rest");
        assert!(self.child.wait().expect("its end").success());
    }

    fn kill(mut self) {
        self.child.kill().expect("a kill");
        self.child.wait().expect("its end");
    }
}

/// In the child: says so and waits until the parent lets go.
fn reached() {
    let mut output = std::io::stdout();
    writeln!(output, "REACHED").and_then(|()| output.flush()).expect("output");
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).expect("input");
}

fn file() -> PathBuf {
    PathBuf::from(std::env::var_os("LONGSHORE_TEST_FILE").expect("run by another test"))
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn child_hold() {
    block_on(async {
        let queue = open(&file());
        let worker = queue.arrive("a child", LONG).await.unwrap();
        let lease = queue.lease(&worker, 1, None).await.unwrap().pop().unwrap();
        let now = queue.now().await.unwrap();
        let tick = queue.begin_tick("s", "rule", now, &worker).await.unwrap();
        reached();
        let ended = queue.finish(vec![(lease.task.id, lease.token, End::Completed)]).await.unwrap();
        assert_eq!(ended, [true]);
        assert!(queue.end_tick(&tick.unwrap(), now + LONG, None).await.unwrap());
        queue.depart(&worker).await.unwrap();
    });
}

/// Works as fast as it can until it is killed.
#[test]
#[ignore = "run by other tests, in a process of its own"]
fn child_work() {
    block_on(async {
        let queue = open(&file());
        let worker = queue.arrive("a child", LONG).await.unwrap();
        let mut said = false;
        loop {
            for lease in queue.lease(&worker, 3, None).await.unwrap() {
                queue.finish(vec![(lease.task.id, lease.token, End::Completed)]).await.unwrap();
            }
            if !std::mem::replace(&mut said, true) {
                println!("\nREACHED");
            }
        }
    });
}

#[test]
fn a_killed_process_loses_its_leases_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    block_on(async {
        let queue = open(&path);
        let ids = queue.enqueue(vec![one("t", "a", 1), one("u", "b", 2)], &[]).await.unwrap().tasks;
        let first = Other::start("hold", &path);
        assert_eq!(queue.sweep().await.unwrap(), Swept::default());
        assert_eq!(queue.workers().await.unwrap().len(), 1);
        let own = queue.arrive("the parent", LONG).await.unwrap();
        let now = queue.now().await.unwrap();
        assert_eq!(queue.begin_tick("s", "rule", now, &own).await.unwrap(), None);

        first.kill();
        let left: Vec<_> = queue.workers().await.unwrap().into_iter().map(|worker| worker.id).collect();
        assert_eq!(left, std::slice::from_ref(&own));
        assert_eq!(queue.sweep().await.unwrap(), Swept { returned: vec![ids[0]], discarded: Vec::new() });
        assert_eq!(queue.task(ids[0]).await.unwrap().unwrap().deaths, 1);
        assert!(queue.begin_tick("s", "rule", now, &own).await.unwrap().is_some());
        assert_eq!(queue.lease(&own, 1, Some(&ids[..1])).await.unwrap().len(), 1);
    });
}

#[test]
fn a_living_process_keeps_its_leases() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    block_on(async {
        let queue = open(&path);
        let id = queue.enqueue(vec![one("t", "a", 1)], &[]).await.unwrap().tasks[0];
        let other = Other::start("hold", &path);
        for _ in 0..20 {
            assert_eq!(queue.sweep().await.unwrap(), Swept::default());
        }
        other.finish();
        assert_eq!(queue.task(id).await.unwrap().unwrap().state, State::Completed);
        assert!(queue.workers().await.unwrap().is_empty());
    });
}

/// Wherever the kill strikes, the file is whole, and no task is lost or done by two.
#[test]
fn kills_at_any_moment_lose_no_task() {
    const TASKS: u64 = 4_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    block_on(async {
        let queue = open(&path);
        let tasks = (0..4_000).map(|n| one(&format!("t{}", n % 40), &format!("{n}"), n)).collect();
        queue.enqueue(tasks, &[]).await.unwrap();
        let bystander = Other::start("work", &path);
        for _ in 0..6 {
            Other::start("work", &path).kill();
            queue.sweep().await.unwrap();
            let counts = queue.counts().await.unwrap();
            let all: u64 = counts.by_state.iter().map(|(_, tasks, _)| tasks).sum();
            assert_eq!(all, TASKS);
        }
        bystander.kill();
        queue.sweep().await.unwrap();
        assert_eq!(queue.counts().await.unwrap().tasks(State::Running), 0);
        assert!(queue.workers().await.unwrap().is_empty());
        assert!(queue.counts().await.unwrap().tasks(State::Completed) > 0);
    });
}
