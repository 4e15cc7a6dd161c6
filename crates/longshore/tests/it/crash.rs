//! The real binary is killed at every named point, run again, and compared with a run that was
//! left alone: rows, ledger, keys of the bucket, rejects, reports, leftovers.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::{On, Project, files, in_words, numbered};
use crate::s3::Settings;

/// How often a point may be passed in one run before a test stops counting.
const PASSES: u32 = 4;

const PIPELINES: &str = r#"
[[pipeline]]
name = "events"
match = "events-*.csv"
table = "events"
mode = "append"
max_rejects = 2

[[pipeline]]
name = "readings"
match = "readings/*.csv"
table = "readings"
mode = "append"
group = { objects = 1 }

[[pipeline]]
name = "customers"
match = "customers-*.csv"
table = "customers"
mode = "upsert"
key = ["id"]

[[pipeline]]
name = "prices"
match = "prices-*.csv"
table = "prices"
mode = "replace"
"#;

const TABLES: &str = "
CREATE TABLE events (id INTEGER, name VARCHAR);
CREATE TABLE readings (id INTEGER, name VARCHAR);
CREATE TABLE customers (id INTEGER, name VARCHAR);
CREATE TABLE prices (id INTEGER, name VARCHAR);";

/// A project with objects of every kind: all three modes, one that is streamed, one with rejects
/// below the most that are allowed, one with more.
fn project(on: On, bucket: &str) -> Project {
    let project = Project::on(on, PIPELINES);
    project.configure(bucket, PIPELINES);
    fill(&project);
    project
}

fn fill(project: &Project) {
    project.sql(TABLES);
    project.drop("events-1.csv", numbered(1..=5));
    project.drop("events-2.csv", "id,name\n6,six\nseven,x\n8,eight\n");
    project.drop("events-3.csv", "id,name\na,1\nb,2\nc,3\n9,nine\n");
    project.drop("events-4.csv", numbered(10..=12));
    project.drop("readings/1.csv", numbered(1..=20_000));
    project.drop("customers-1.csv", "id,name\n1,Ann\n2,Bob\n3,Cid\n");
    project.drop("customers-2.csv", "id,name\n3,Cyd\n4,Dan\n");
    project.drop("prices-1.csv", "id,name\n1,old\n");
    project.drop("prices-2.csv", "id,name\n1,new\n2,new\n");
}

/// Everything by which a run that was interrupted can differ from one that was not.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Measures {
    rows: BTreeMap<&'static str, Vec<String>>,
    ledger: Vec<String>,
    doubled_entries: String,
    rows_loaded: String,
    tables: Vec<String>,
    objects: BTreeMap<String, String>,
}

impl Measures {
    fn of(project: &Project) -> Self {
        let tables = ["events", "customers", "prices"];
        let all = |table: &str| project.rows(&format!("SELECT * FROM {table} ORDER BY ALL"));
        let mut rows: BTreeMap<_, _> = tables.iter().map(|table| (*table, all(table))).collect();
        rows.insert("readings", project.rows("SELECT count(*), sum(id), count(DISTINCT name) FROM readings"));
        let entries = project.ledger_table().unwrap();
        let doubled = format!(
            "SELECT count(*) - count(DISTINCT table_name || ' ' || \"identity\" || ' ' || generation) FROM {entries}"
        );
        // What a dead load staged for Redshift is swept when its lease is over.
        let keys = project.raw_keys().into_iter().filter(|key| !key.starts_with("staging/"));
        let objects = keys.map(|key| {
            let body = String::from_utf8_lossy(&project.body(&key).unwrap()).into_owned();
            (in_words(&key), short(steady(&body)))
        });
        let mut objects: BTreeMap<_, _> = objects.collect();
        for file in files(&project.path("reports")) {
            let text = std::fs::read_to_string(project.path("reports").join(&file)).unwrap();
            objects.insert(in_words(&format!("reports/{file}")), steady(&text));
        }
        Self {
            objects,
            rows,
            ledger: project.ledger(),
            doubled_entries: project.value(&doubled),
            rows_loaded: project.value(&format!("SELECT sum(rows_loaded) FROM {entries}")),
            tables: project.rows(
                "SELECT table_schema, table_name FROM information_schema.tables
                 WHERE table_schema NOT IN ('information_schema', 'pg_catalog') ORDER BY ALL",
            ),
        }
    }
}

impl Measures {
    /// The lines by which two differ.
    fn against(&self, expected: &Self) -> String {
        let (is, should) = (format!("{self:#?}"), format!("{expected:#?}"));
        let missing =
            should.lines().filter(|line| !is.lines().any(|other| other == *line)).map(|line| format!("- {line}\n"));
        let extra =
            is.lines().filter(|line| !should.lines().any(|other| other == *line)).map(|line| format!("+ {line}\n"));
        missing.chain(extra).collect()
    }
}

/// A long text by its length and hash.
fn short(text: String) -> String {
    match text.len() {
        0..10_000 => text,
        bytes => format!("{bytes} bytes, {}", blake3::hash(text.as_bytes())),
    }
}

/// A report without what differs from run to run.
fn steady(report: &str) -> String {
    // Rejects are no documents.
    let Ok(mut report) = serde_json::from_str::<serde_json::Value>(report) else {
        return in_words(report);
    };
    for name in ["etag", "reported_at", "load_id"] {
        report.as_object_mut().unwrap().remove(name);
    }
    in_words(&report.to_string())
}

/// What an operator does: which commands, and how a project is made ready for the last of them.
struct Story {
    bucket: &'static str,
    prepare: fn(&Project),
    command: &'static [&'static str],
}

const RUN: Story = Story { bucket: "", prepare: |_| {}, command: &["run", "--once"] };
const KEEP: Story = Story { bucket: "after = \"keep\"\nreports = \"reports\"", ..RUN };
const RETRY: Story = Story { bucket: "", prepare: allow_more, command: &["retry", "--all"] };
const KEPT_RETRY: Story =
    Story { bucket: "after = \"keep\"\nreports = \"reports\"", prepare: allow_more_kept, command: &["retry", "--all"] };

fn allow_more(project: &Project) {
    project.load_some();
    project.configure("", &PIPELINES.replace("max_rejects = 2", "max_rejects = 3"));
}

fn allow_more_kept(project: &Project) {
    project.load_some();
    project
        .configure("after = \"keep\"\nreports = \"reports\"", &PIPELINES.replace("max_rejects = 2", "max_rejects = 3"));
}

impl Story {
    fn start(&self, on: On) -> Project {
        let project = project(on, self.bucket);
        (self.prepare)(&project);
        project
    }

    /// How things are after a run that was left alone.
    fn undisturbed(&self, on: On) -> Measures {
        let project = self.start(on);
        let ran = project.run(self.command);
        assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
        Measures::of(&project)
    }

    /// Kills the command each time it passes the point, runs it again, and compares.
    fn survives(&self, point: &str, on: On, expected: &Measures) {
        for pass in 1..=PASSES {
            let project = self.start(on);
            let killed = project.run_with(self.command, &[("LONGSHORE_CRASH_AT", &format!("{point}:{pass}"))]);
            if killed.code.is_some() {
                assert!(pass > 1, "`{point}` is not on this path: {killed:?}");
                return;
            }
            if pass % 2 == 0 {
                // The journal is history, not truth: losing it changes nothing.
                std::fs::remove_dir_all(project.path(".longshore")).unwrap();
            }
            settle(&project, self.command);
            let is = Measures::of(&project);
            assert!(is == *expected, "killed at `{point}`, pass {pass}\n{}{}", is.against(expected), killed.stderr);
        }
    }
}

/// Runs what was interrupted once more, then looks that there is nothing left to do.
fn settle(project: &Project, command: &[&str]) {
    let again = project.run(command);
    assert!(matches!(again.code, Some(0 | 1)), "{again:?}");
    let rest = project.run(&["run", "--once"]).exits(0);
    assert_eq!(rest.stdout.trim(), "nothing to load", "{rest:?}");
    project.run(&["audit"]).exits(0);
}

macro_rules! survives {
    ($story:ident, $on:ident: $($point:ident $name:literal)*) => {
        static UNDISTURBED: LazyLock<Measures> = LazyLock::new(|| $story.undisturbed(On::$on));
        $(
            #[test]
            fn $point() {
                $story.survives($name, On::$on, &UNDISTURBED);
            }
        )*
    };
}

mod a_run_on_a_directory_is_repaired_after_a_kill {
    use super::*;
    survives! { RUN, Directory:
        after_the_listing "list"
        after_the_lease "lease"
        after_begin "begin"
        in_mid_stream "mid-stream"
        after_the_rejects "rejects-put"
        after_the_fence "fence"
        before_commit "before-commit"
        after_commit_was_sent "commit-sent"
        after_commit_was_answered "commit-answered"
        after_the_record "record"
        after_a_report "report-put"
        after_a_claim "copy"
        after_a_rename "delete"
        after_the_archive "ack"
    }
}

mod a_run_on_s3_is_repaired_after_a_kill {
    use super::*;
    survives! { RUN, S3:
        after_the_listing "list"
        after_the_lease "lease"
        after_begin "begin"
        in_mid_stream "mid-stream"
        after_the_rejects "rejects-put"
        after_the_fence "fence"
        before_commit "before-commit"
        after_commit_was_sent "commit-sent"
        after_commit_was_answered "commit-answered"
        after_the_record "record"
        after_a_report "report-put"
        after_a_copy "copy"
        after_a_delete "delete"
        after_the_archive "ack"
    }
}

mod a_run_into_postgresql_is_repaired_after_a_kill {
    use super::*;
    survives! { RUN, Postgres:
        after_the_lease "lease"
        after_begin "begin"
        in_mid_stream "mid-stream"
        after_the_rejects "rejects-put"
        after_the_fence "fence"
        before_commit "before-commit"
        after_commit_was_sent "commit-sent"
        after_commit_was_answered "commit-answered"
        after_the_record "record"
        after_a_rename "delete"
        after_the_archive "ack"
    }
}

mod a_run_into_redshift_is_repaired_after_a_kill {
    use super::*;
    survives! { RUN, Redshift:
        after_the_lease "lease"
        after_begin "begin"
        in_mid_stream "mid-stream"
        after_the_rejects "rejects-put"
        after_staging "staged"
        after_the_fence "fence"
        before_commit "before-commit"
        after_commit_was_sent "commit-sent"
        after_commit_was_answered "commit-answered"
        after_the_record "record"
        after_a_copy "copy"
        after_a_delete "delete"
        after_the_archive "ack"
    }
}

mod a_run_that_keeps_objects_is_repaired_after_a_kill {
    use super::*;
    survives! { KEEP, Directory:
        after_the_rejects "rejects-put"
        before_commit "before-commit"
        after_commit_was_sent "commit-sent"
        after_the_record "record"
    }
}

mod a_retry_on_a_directory_is_repaired_after_a_kill {
    use super::*;
    survives! { RETRY, Directory:
        after_begin "begin"
        after_the_rejects "rejects-put"
        before_commit "before-commit"
        after_commit_was_sent "commit-sent"
        after_the_record "record"
        after_a_claim "copy"
        after_a_rename "delete"
        after_the_archive "ack"
    }
}

mod a_retry_on_s3_is_repaired_after_a_kill {
    use super::*;
    survives! { RETRY, S3:
        after_the_rejects "rejects-put"
        before_commit "before-commit"
        after_commit_was_sent "commit-sent"
        after_the_record "record"
        after_a_copy "copy"
        after_a_delete "delete"
    }
}

mod a_retry_of_kept_objects_is_repaired_after_a_kill {
    use super::*;
    survives! { KEPT_RETRY, Directory:
        after_the_rejects "rejects-put"
        before_commit "before-commit"
        after_commit_was_sent "commit-sent"
        after_the_record "record"
    }
}

#[test]
fn a_versioned_bucket_has_one_copy_of_each_object_after_a_kill() {
    let versioned = || {
        let project = Project::on_s3(Settings { versioned: true, ..Settings::default() }, PIPELINES);
        fill(&project);
        project
    };
    let alone = versioned();
    alone.load_some();
    let expected = Measures::of(&alone);
    for point in ["commit-sent", "copy", "delete"] {
        let project = versioned();
        let killed = project.run_with(&["run", "--once"], &[("LONGSHORE_CRASH_AT", point)]);
        assert_eq!(killed.code, None, "{killed:?}");
        settle(&project, &["run", "--once"]);
        let is = Measures::of(&project);
        assert!(is == expected, "killed at `{point}`\n{}", is.against(&expected));
    }
}

/// Objects of three modes and four tables: enough for many tasks.
const MANY: u64 = 300;

fn many(on: On) -> Project {
    let pipelines = PIPELINES
        .replace("mode = \"append\"\nmax_rejects = 2", "mode = \"append\"\nmax_rejects = 2\ngroup = { objects = 10 }");
    let schedule = "[schedule]\nevery = \"1s\"";
    let pipelines = pipelines.replace("group = { objects = 1 }", "group = { objects = 20 }");
    let project = Project::on(on, &format!("{schedule}\n{pipelines}"));
    project.sql(TABLES);
    for nth in 0..MANY {
        let (name, body) = match nth % 10 {
            0..5 => (format!("events-{nth}.csv"), numbered(nth * 10..nth * 10 + 5)),
            5 => (format!("events-{nth}.csv"), format!("id,name\n{nth},good\nbad,bad\n")),
            6 => (format!("readings/{nth}.csv"), numbered(nth * 1_000..nth * 1_000 + 700)),
            7 => (format!("prices-{nth}.csv"), format!("id,name\n1,p{nth}\n2,p{nth}\n")),
            _ => (format!("customers-{nth}.csv"), format!("id,name\n{},c{nth}\n{},c{nth}\n", nth % 7, nth % 11)),
        };
        project.drop(&name, body);
    }
    project
}

/// What may differ between two ways to the same end: which objects of `replace` were superseded
/// unread depends on how many had landed when it was planned.
fn by_the_rows(mut measures: Measures) -> Measures {
    measures.ledger.retain(|entry| !entry.contains("prices-"));
    measures.rows_loaded = String::new();
    measures
}

static MANY_UNDISTURBED: LazyLock<Measures> = LazyLock::new(|| many_undisturbed(On::Directory));
static MANY_IN_POSTGRES: LazyLock<Measures> = LazyLock::new(|| many_undisturbed(On::Postgres));

fn many_undisturbed(on: On) -> Measures {
    let project = many(on);
    let ran = project.run(&["run", "--once"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    by_the_rows(Measures::of(&project))
}

/// Brings what is left in, and looks that no task is stuck.
fn settle_all(project: &Project) {
    // A task that was hit five times is given up, as it should be: that takes an operator.
    project.run(&["retry", "--all"]).exits(0);
    let ran = project.run(&["run", "--once"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let rest = project.run(&["run", "--once"]).exits(0);
    assert_eq!(rest.stdout.trim(), "nothing to load", "{rest:?}");
    project.run(&["audit"]).exits(0);
    let status = project.run(&["status", "--json"]).json();
    assert_eq!(status["tasks"].as_array().unwrap().len(), 0, "{status}");
}

fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Kills processes again and again while they work, each time another one; `LONGSHORE_KILLS` says
/// how often.
fn survives_kills_of(roles: &[&[&str]], on: On, expected: &Measures) {
    let seed = given("LONGSHORE_SEED").unwrap_or_else(now_as_seed);
    println!("LONGSHORE_SEED={seed}");
    let mut dice = Dice(seed);
    let mut kills = given("LONGSHORE_KILLS").unwrap_or(20);
    while kills > 0 {
        let project = many(on);
        let mut processes: Vec<_> = roles.iter().map(|role| project.start(role, &[])).collect();
        let mut quiet = 0;
        // A few kills a round, or all would fall into its beginning.
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(dice.below(600)));
            let victim = dice.below(processes.len() as u64) as usize;
            processes[victim].kill();
            kills = kills.saturating_sub(1);
            processes[victim] = project.start(roles[victim], &[]);
            quiet += u64::from(!project.raw_keys().iter().any(|key| key.starts_with("pending/")));
            if quiet > 1 || kills == 0 {
                break;
            }
        }
        processes.iter_mut().for_each(crate::harness::Process::kill);
        settle_all(&project);
        let is = by_the_rows(Measures::of(&project));
        assert!(is == *expected, "LONGSHORE_SEED={seed}\n{}", is.against(expected));
    }
}

#[test]
fn a_scheduler_and_three_workers_survive_kills_at_random_moments() {
    survives_kills_of(&[&["scheduler"], &["worker"], &["worker"], &["worker"]], On::Directory, &MANY_UNDISTURBED);
}

#[test]
fn a_scheduler_and_three_workers_on_postgresql_survive_kills_at_random_moments() {
    survives_kills_of(&[&["scheduler"], &["worker"], &["worker"], &["worker"]], On::Postgres, &MANY_IN_POSTGRES);
}

#[test]
fn two_processes_that_run_by_mistake_survive_kills_at_random_moments() {
    survives_kills_of(&[&["run"], &["run"]], On::Directory, &MANY_UNDISTURBED);
}

#[test]
fn a_disk_that_is_full_again_and_again_loses_and_doubles_nothing() {
    let project = many(On::Directory);
    for blocks in [40, 200, 600, 900, 1_400, 2_100, 3_000] {
        let mut command = std::process::Command::new("sh");
        project.prepare(&mut command);
        let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" --log-level error run --once");
        command.args(["-c", &limited, crate::harness::LONGSHORE]);
        command.status().unwrap();
    }
    settle_all(&project);
    let is = by_the_rows(Measures::of(&project));
    assert!(is == *MANY_UNDISTURBED, "{}", is.against(&MANY_UNDISTURBED));
}

/// Two processes that share a bucket and a warehouse, but no journal and so no lock.
#[test]
fn two_processes_at_the_same_objects_bring_every_row_in_once() {
    race(On::Directory);
}

#[test]
fn two_processes_at_the_same_objects_bring_every_row_into_postgresql_once() {
    race(On::Postgres);
}

fn race(on: On) {
    let expected = RUN.undisturbed(on);
    for _ in 0..3 {
        let project = project(on, "");
        let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
        std::fs::write(project.path("rival.toml"), format!("{config}\n[journal]\nurl = \"sqlite:rival.db\"\n"))
            .unwrap();
        let start =
            |config| project.command(&["--config", config, "--log-level", "error", "run", "--once"]).spawn().unwrap();
        let processes = [start("longshore.toml"), start("rival.toml")];
        for mut process in processes {
            assert!(matches!(process.wait().unwrap().code(), Some(0 | 1)));
        }
        settle(&project, &["run", "--once"]);
        let is = Measures::of(&project);
        assert!(is == expected, "{}", is.against(&expected));
    }
}

/// Numbers that look random; the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn now_as_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1
}

/// Kills at random moments; `LONGSHORE_KILLS` says how many, `LONGSHORE_SEED` repeats a run.
fn survives_random_kills(on: On) {
    let seed = given("LONGSHORE_SEED").unwrap_or_else(now_as_seed);
    println!("LONGSHORE_SEED={seed}");
    let mut dice = Dice(seed);
    let expected = RUN.undisturbed(on);
    let mut kills = given("LONGSHORE_KILLS").unwrap_or(6);
    while kills > 0 {
        let project = project(on, "");
        // One less than the deaths over which a task is given up.
        for _ in 0..kills.min(4) {
            let mut child = project.command(&["--log-level", "error", "run", "--once"]).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(dice.below(400)));
            if child.try_wait().unwrap().is_some() {
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills -= 1;
        }
        settle(&project, &["run", "--once"]);
        let is = Measures::of(&project);
        assert!(is == expected, "LONGSHORE_SEED={seed}\n{}", is.against(&expected));
    }
}

#[test]
fn every_row_is_in_once_after_kills_at_random_moments() {
    survives_random_kills(On::Directory);
}

#[test]
fn every_row_is_in_postgresql_once_after_kills_at_random_moments() {
    survives_random_kills(On::Postgres);
}

#[test]
fn every_row_is_in_redshift_once_after_kills_at_random_moments() {
    survives_random_kills(On::Redshift);
}

#[test]
fn every_row_is_in_once_after_kills_at_random_moments_on_s3() {
    survives_random_kills(On::S3);
}
