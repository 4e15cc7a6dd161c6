//! Servers end with the process that started them, however that ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use longshore_postgres::testing::{Options, Server};

use crate::connecting::connect;

/// This test binary, run again to start a server in a process of its own.
struct Other {
    child: Child,
    folder: PathBuf,
    url: String,
    /// Kept open, or the child could not write its end.
    _output: BufReader<std::process::ChildStdout>,
}

impl Other {
    fn start(how: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "harness::child", "--ignored", "--nocapture"])
            .env("LONGSHORE_TEST_END", how)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut said = |key: &str| {
            loop {
                let mut line = String::new();
                assert_ne!(output.read_line(&mut line).expect("a line"), 0, "the child says `{key}`");
                if let Some((_, value)) = line.split_once(key) {
                    break value.trim().to_owned();
                }
            }
        };
        let (folder, url) = (PathBuf::from(said("folder=")), said("url="));
        Self { child, folder, url, _output: output }
    }
}

/// Not a test: what the other process does.
#[test]
#[ignore = "run by other tests"]
fn child() {
    let how = std::env::var("LONGSHORE_TEST_END").expect("run by other tests");
    let server = Server::shared();
    println!("folder={}", server.folder().parent().expect("that of the process").display());
    println!("url={}", server.admin_url());
    if how == "panic" {
        panic!("as a test that fails");
    }
    // Until the parent lets it end, or kills it.
    std::io::stdin().read_line(&mut String::new()).expect("the end of the input");
}

/// Waits until something holds that another process brings about.
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a server runs in a folder.
fn runs(folder: &Path) -> bool {
    !processes(folder, "postgres\0-D").is_empty()
}

/// Processes whose command has this in it, and a folder.
fn processes(folder: &Path, command: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let folder = folder.display().to_string();
    all.filter(|process| {
        let found = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let found = String::from_utf8_lossy(&found);
        found.contains(command) && found.contains(&folder)
    })
    .map(|process| process.file_name().to_string_lossy().into_owned())
    .collect()
}

#[tokio::test]
async fn a_server_ends_with_its_process_and_leaves_no_folder() {
    for how in ["end", "panic", "kill"] {
        let mut other = Other::start(how);
        if how != "panic" {
            connect(&other.url).await.close().await;
            assert!(runs(&other.folder));
        }
        match how {
            "kill" => other.child.kill().expect("killed"),
            _ => drop(other.child.stdin.take()),
        }
        other.child.wait().expect("it ends");
        wait_until(how, || !other.folder.exists() && !runs(&other.folder));
    }
}

#[test]
fn what_a_process_left_behind_is_cleared_away_by_the_next() {
    let mut dead = Other::start("kill");
    // First the shell that would tidy up, which no server notices.
    let keeper = processes(&dead.folder, "keeper\0").pop().expect("the shell runs");
    assert!(Command::new("sh").args(["-c", &format!("kill -9 {keeper}")]).status().expect("killed").success());
    wait_until("the shell is gone", || processes(&dead.folder, "keeper\0").is_empty());
    assert!(runs(&dead.folder));
    dead.child.kill().expect("killed");
    dead.child.wait().expect("it ends");

    let mut next = Other::start("end");
    assert!(!dead.folder.exists() && !runs(&dead.folder));
    drop(next.child.stdin.take());
    next.child.wait().expect("it ends");
}

#[test]
fn servers_of_two_processes_do_not_meet() {
    let mut other = Other::start("end");
    let mine = Server::shared();
    assert_ne!(mine.admin_url(), other.url);
    drop(other.child.stdin.take());
    other.child.wait().expect("it ends");
    assert_eq!(mine.sql("SELECT 'still here'").as_deref(), Some("still here"));
}

#[test]
fn a_server_takes_its_settings() {
    let server = Server::start(Options::default().set("work_mem", "7MB"));
    assert_eq!(server.sql("SHOW work_mem").as_deref(), Some("7MB"));
    let database = server.database();
    database.sql("CREATE TABLE t (n int)");
    assert_eq!(database.sql("SELECT count(*) FROM t").as_deref(), Some("0"));
    let folder = server.folder();
    drop(database);
    drop(server);
    assert!(!folder.exists());
}
