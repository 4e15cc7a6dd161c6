//! Processes that people leave running: scheduler and workers, and what an operator does meanwhile.

use std::sync::Arc;

use serde_json::Value;

use crate::harness::{On, Project, numbered, until};
use crate::s3::{Fault, On as Request};

const T: &str = "SELECT * FROM t ORDER BY ALL";

/// A project whose bucket is looked at each second.
fn project(on: On, settings: &str) -> Project {
    scheduled(on, "every = \"1s\"", settings)
}

fn scheduled(on: On, schedule: &str, settings: &str) -> Project {
    let pipeline =
        format!("[schedule]\n{schedule}\n\n[[pipeline]]\nname = \"t\"\nmatch = \"*.csv\"\ntable = \"t\"\n{settings}\n");
    let project = Project::on(on, &pipeline);
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project
}

const APPEND: &str = "mode = \"append\"\ngroup = { objects = 1 }";
const UPSERT: &str = "mode = \"upsert\"\nkey = [\"id\"]\ngroup = { objects = 1 }";

fn status(project: &Project) -> Value {
    project.run(&["status", "--json"]).json()
}

/// Waits until a task is in a state.
#[track_caller]
fn until_a_task_is(project: &Project, state: &str) {
    let is = |status: &Value| status["tasks"].as_array().unwrap().iter().any(|number| number["state"] == state);
    until(|| is(&status(project)), || format!("a task that is {state}: {}", status(project)));
}

#[test]
fn a_file_that_is_renamed_into_place_is_loaded_at_once() {
    // It settles for longer than the test lasts, and is looked at only once an hour.
    let project = scheduled(On::Directory, "every = \"1h\"", APPEND);
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    project.write_config(&config.replace("settle = \"0s\"", "settle = \"1h\""));
    let running = project.start(&["run"], &[]);
    running.until_it_says("looking after 1 pipeline");
    project.drop("first.csv", numbered([1]));
    project.until_keys(&["processed/<today>/first.csv"]);
    running.stop();
    assert_eq!(project.rows(T), ["1|n1"]);
}

#[test]
fn a_bucket_is_looked_at_by_schedule_and_the_warehouse_is_let_go_between_loads() {
    let project = project(On::S3, APPEND);
    let running = project.start(&["run"], &[]);
    for id in [1, 2] {
        project.drop(&format!("{id}.csv"), numbered([id]));
        let archived = || project.keys().iter().filter(|key| key.starts_with("processed/")).count() as u64;
        until(|| archived() == id, || "the object is archived".to_owned());
        // Nobody else gets in while the file is held.
        let rows = || duckdb::Connection::open(project.path("warehouse.duckdb")).is_ok();
        until(rows, || "the warehouse is let go".to_owned());
    }
    running.stop();
    assert_eq!(project.rows(T), ["1|n1", "2|n2"]);
}

#[test]
fn a_scheduler_and_workers_are_processes_of_their_own() {
    let project = project(On::Directory, APPEND);
    let scheduler = project.start(&["scheduler"], &[]);
    project.drop("1.csv", numbered([1]));
    until_a_task_is(&project, "available");
    let workers = [project.start(&["worker"], &[]), project.start(&["worker", "--concurrency", "1"], &[])];
    project.drop("2.csv", numbered([2]));
    project.until_keys(&["processed/<today>/1.csv", "processed/<today>/2.csv"]);
    assert_eq!(status(&project)["workers"].as_array().unwrap().len(), 3);
    workers.into_iter().for_each(crate::harness::Process::stop);
    scheduler.stop();
    assert_eq!(status(&project)["workers"].as_array().unwrap().len(), 0);
    assert_eq!(project.rows(T), ["1|n1", "2|n2"]);
}

#[test]
fn a_pipeline_has_a_schedule_of_its_own() {
    let pipelines = "
[schedule]
every = \"1s\"
[[pipeline]]
name = \"soon\"\nmatch = \"soon-*.csv\"\ntable = \"t\"\nmode = \"append\"
[[pipeline]]
name = \"late\"\nmatch = \"late-*.csv\"\ntable = \"t\"\nmode = \"append\"
schedule = { cron = \"0 3 29 2 *\", timezone = \"Europe/Berlin\" }";
    let project = Project::on(On::S3, pipelines);
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project.drop("late-1.csv", numbered([1]));
    project.drop("soon-1.csv", numbered([2]));
    let running = project.start(&["run"], &[]);
    project.until_keys(&["pending/late-1.csv", "processed/<today>/soon-1.csv"]);
    let schedules = status(&project)["schedules"].clone();
    assert_eq!(schedules[0]["name"], "pipeline late", "{schedules}");
    assert!(schedules[0]["next_at"].as_str().unwrap().contains("-02-29T02:00:00"), "{schedules}");
    running.stop();
    // Who asks for a pass gets all.
    project.load();
    assert_eq!(project.rows(T), ["1|n1", "2|n2"]);
}

#[test]
fn the_first_signal_finishes_what_runs_and_begins_nothing_new() {
    for signal in ["-TERM", "-INT"] {
        let project = project(On::S3, APPEND);
        let held = Arc::new(tokio::sync::Notify::new());
        project.drop("1.csv", numbered([1]));
        project.drop("2.csv", numbered([2]));
        let request = Request::every("GetObject").key("pending/1.csv");
        project.store().inject(request, Fault::Hold(Arc::clone(&held)));
        let mut running = project.start(&["run"], &[]);
        until_a_task_is(&project, "running");
        running.signal(signal);
        running.until_it_says("stopping");
        assert!(running.is_running());
        project.store().heal();
        held.notify_waiters();
        held.notify_one();
        assert_eq!(running.ends(), Some(0), "{}", running.said());
        assert_eq!(project.keys(), ["pending/2.csv", "processed/<today>/1.csv"]);
        project.load();
        assert_eq!(project.rows(T), ["1|n1", "2|n2"]);
    }
}

#[test]
fn the_second_signal_rolls_back_and_gives_the_tasks_back() {
    for patience in ["60s", "1s"] {
        let project = project(On::S3, APPEND);
        let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
        project.write_config(&format!("{config}\n[worker]\nshutdown = \"{patience}\"\n"));
        project.drop("1.csv", numbered([1]));
        project.store().inject(Request::every("GetObject"), Fault::Stall(3));
        let mut running = project.start(&["run"], &[]);
        until_a_task_is(&project, "running");
        running.signal("-TERM");
        running.until_it_says("stopping");
        if patience == "60s" {
            running.signal("-TERM");
        }
        assert_eq!(running.ends(), Some(1), "{}", running.said());
        assert_eq!(project.keys(), ["pending/1.csv"]);
        let task = status(&project)["tasks"][0].clone();
        assert_eq!((&task["state"], &task["tasks"]), (&"available".into(), &1.into()), "{task}");
        project.store().heal();
        project.load();
        assert_eq!(project.rows(T), ["1|n1"]);
    }
}

#[test]
fn a_pipeline_that_an_operator_paused_waits_until_it_is_resumed() {
    let project = project(On::Directory, APPEND);
    let running = project.start(&["run"], &[]);
    running.until_it_says("looking after");
    project.run(&["pause", "t", "--why", "the table is rebuilt"]).exits(0);
    project.drop("1.csv", numbered([1]));
    until_a_task_is(&project, "available");
    project.run(&["status"]).exits(1).prints("the table is rebuilt").prints("longshore resume t");
    // Nor does a pass go past it.
    project.load_some().says("the table is rebuilt");
    assert_eq!(project.keys(), ["pending/1.csv"]);
    project.run(&["resume", "t"]).exits(0).prints("goes on");
    project.until_keys(&["processed/<today>/1.csv"]);
    project.run(&["resume", "t"]).exits(0).prints("was not paused");
    project.run(&["pause", "T"]).exits(2).says("did you mean `t`?");
    running.stop();
}

#[test]
fn a_task_that_is_cancelled_is_left_alone_until_it_is_retried() {
    let project = project(On::S3, APPEND);
    project.drop("1.csv", numbered([1]));
    project.store().inject(Request::every("GetObject"), Fault::Stall(3));
    let running = project.start(&["run"], &[]);
    until_a_task_is(&project, "running");
    project.run(&["cancel", "pending/1.csv"]).exits(0).prints("1 running task will be broken off");
    until_a_task_is(&project, "cancelled");
    project.store().heal();
    project.drop("2.csv", numbered([2]));
    project.until_keys(&["pending/1.csv", "processed/<today>/2.csv"]);
    project.run(&["status"]).exits(1).prints("is cancelled: `pending/1.csv`").prints("longshore retry");
    project.run(&["cancel", "4711"]).exits(2).says("there is no such task");
    project.run(&["retry", "pending/1.csv"]).exits(0);
    project.until_keys(&["processed/<today>/1.csv", "processed/<today>/2.csv"]);
    running.stop();
    assert_eq!(project.rows(T), ["1|n1", "2|n2"]);
}

#[test]
fn a_cancelled_task_whose_object_is_gone_is_forgotten() {
    let project = project(On::Directory, APPEND);
    project.run(&["pause", "t"]).exits(0);
    project.drop("1.csv", numbered([1]));
    project.load_some();
    project.run(&["cancel", "--all"]).exits(0).prints("1 queued task cancelled");
    project.run(&["resume", "t"]).exits(0);
    project.load();
    assert_eq!(project.keys(), ["pending/1.csv"]);
    project.remove("pending/1.csv");
    project.load();
    project.run(&["status"]).exits(0);
    assert_eq!(status(&project)["set_aside"].as_array().unwrap().len(), 0);
}

#[test]
fn a_pipeline_goes_on_by_itself_when_the_cause_is_gone() {
    // Less often than the warehouse is let go.
    let project = scheduled(On::S3, "every = \"3s\"", APPEND);
    project.sql("ALTER TABLE t RENAME TO away");
    project.drop("1.csv", numbered([1]));
    let running = project.start(&["run"], &[]);
    running.until_it_says("pipeline `t` waits");
    project.run(&["status"]).exits(1).prints("the table `t` does not exist").prints("hint: ");
    let rename = || {
        let connection = duckdb::Connection::open(project.path("warehouse.duckdb"));
        connection.is_ok_and(|connection| connection.execute_batch("ALTER TABLE away RENAME TO t").is_ok())
    };
    until(rename, || "the warehouse is let go".to_owned());
    running.until_it_says("pipeline `t` goes on");
    project.until_keys(&["processed/<today>/1.csv"]);
    assert_eq!(running.said().matches("pipeline `t` waits").count(), 1, "{}", running.said());
    running.stop();
    project.run(&["status"]).exits(0);
}

#[test]
fn a_transient_fault_holds_back_later_objects_only_where_order_matters() {
    for (mode, first) in [(UPSERT, "pending/1.csv"), (APPEND, "pending/2.csv")] {
        let project = project(On::S3, mode);
        project.drop("1.csv", "id,name\n1,first\n");
        project.drop("2.csv", "id,name\n1,second\n");
        let request = Request::every("GetObject").key("pending/1.csv").times(7);
        project.store().inject(request, Fault::Answer(500, "InternalError"));
        let ran = project.run(&["run", "--once", "--concurrency", "1"]).exits(0).says("trying again");
        let loaded: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("loaded")).collect();
        assert!(loaded[0].contains(first), "{loaded:?}");
        assert_eq!(loaded.len(), 2);
    }
}

#[test]
fn a_task_over_which_workers_die_is_given_up_and_others_go_on() {
    let project = project(On::Directory, APPEND);
    project.drop("1.csv", numbered([1]));
    for _ in 0..5 {
        let killed = project.run_with(&["run", "--once"], &[("LONGSHORE_CRASH_AT", "begin")]);
        assert_eq!(killed.code, None, "{killed:?}");
    }
    project.load_some().says("pending/1.csv").says("longshore retry");
    assert_eq!(project.keys(), ["pending/1.csv"]);
    project.run(&["status"]).exits(1).prints("is discarded: `pending/1.csv`");
    project.run(&["retry", "--all"]).exits(0);
    assert_eq!(project.rows(T), ["1|n1"]);
    project.run(&["status"]).exits(0);
}

#[test]
fn what_a_killed_worker_had_is_taken_up_at_once() {
    let project = project(On::S3, APPEND);
    project.drop("1.csv", numbered([1]));
    project.store().inject(Request::every("GetObject"), Fault::Stall(3));
    let mut killed = project.start(&["run"], &[]);
    until_a_task_is(&project, "running");
    let other = project.start(&["run"], &[]);
    killed.kill();
    project.store().heal();
    // Long before its lease would end.
    other.until_it_says("loaded `pending/1.csv`");
    project.until_keys(&["processed/<today>/1.csv"]);
    other.stop();
    assert_eq!(project.rows(T), ["1|n1"]);
}

#[test]
fn queued_tasks_can_be_dropped_and_come_back() {
    let project = project(On::Directory, APPEND);
    project.run(&["pause", "t"]).exits(0);
    project.drop("1.csv", numbered([1]));
    project.load_some();
    project.run(&["run", "--once", "--purge"]).exits(1).says("dropping 1 queued task");
    project.run(&["resume", "t"]).exits(0);
    project.load();
    assert_eq!(project.rows(T), ["1|n1"]);
}

#[test]
fn log_lines_can_be_json_with_ids() {
    let project = project(On::Directory, APPEND);
    project.drop("1.csv", numbered([1]));
    let ran = project.run(&["run", "--once", "--log-format", "json"]).exits(0);
    let lines: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let loaded = lines.iter().find(|line| line["load.id"].is_string()).unwrap();
    assert_eq!(loaded["level"], "INFO");
    assert_eq!(loaded["span"]["pipeline"], "t");
    assert!(loaded["span"]["task.id"].is_number(), "{loaded}");
    assert!(lines.iter().any(|line| line["object.key"] == "pending/1.csv"), "{lines:?}");
}

#[test]
fn an_operator_works_beside_a_process_that_runs() {
    let project = project(On::S3, APPEND);
    project.drop("1.csv", "id,name\nx,a\n");
    let running = project.start(&["run"], &[]);
    running.until_it_says("was not loaded");
    project.run(&["rejects", "pending/1.csv"]).exits(0).prints("x,a");
    project.run(&["retry", "--all"]).exits(1);
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    project.write_config(&format!("{config}max_rejects = 1\n"));
    running.stop();
    let running = project.start(&["run"], &[]);
    running.until_it_says("looking after");
    project.run(&["retry", "--all"]).exits(0).prints("1 object loaded");
    until(|| project.keys().iter().any(|key| key == "processed/<today>/1.csv"), || "it is archived".to_owned());
    let loads = project.run(&["loads", "--json"]).exits(0).json();
    assert_eq!(loads[0]["outcome"], "loaded");
    running.stop();
}

#[test]
fn tasks_of_other_rules_are_made_anew() {
    let project = project(On::Directory, APPEND);
    project.run(&["pause", "t"]).exits(0);
    project.drop("1.csv", "id,name\n1,first\n");
    project.drop("2.csv", "id,name\n1,second\n");
    project.load_some();
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    project.write_config(&config.replace("name = \"t\"", "name = \"other\"").replace(APPEND, UPSERT));
    project.load();
    assert_eq!(project.rows(T), ["1|second"]);
    assert_eq!(project.keys(), ["processed/<today>/1.csv", "processed/<today>/2.csv"]);
}

#[test]
fn what_waits_in_the_queue_may_be_replaced_or_removed() {
    let project = project(On::Directory, UPSERT);
    project.run(&["pause", "t"]).exits(0);
    project.drop("1.csv", "id,name\n1,first\n");
    project.drop("2.csv", "id,name\n2,gone\n");
    project.drop("4.csv", "id,name\n1,last\n");
    project.load_some();
    project.remove("pending/2.csv");
    // Another object of the same key, older than one that waits: it takes its place in the order.
    project.drop_at("1.csv", "id,name\n1,again\n3,three\n", "2026-01-02T00:01:30Z");
    project.run(&["resume", "t"]).exits(0);
    project.run(&["run", "--once"]);
    project.load();
    assert_eq!(project.rows(T), ["1|last", "3|three"]);
    assert_eq!(project.keys(), ["processed/<today>/1.csv", "processed/<today>/4.csv"]);
    assert_eq!(project.value("SELECT count(*) FROM longshore.ledger WHERE late"), "0");
    project.run(&["audit"]).exits(0);
}

#[test]
fn cancelling_one_object_sets_only_that_aside() {
    let project = project(On::Directory, "mode = \"append\"");
    project.run(&["pause", "t"]).exits(0);
    for id in 1..=3 {
        project.drop(&format!("{id}.csv"), numbered([id]));
    }
    project.load_some();
    project.run(&["cancel", "pending/2.csv"]).exits(0).prints("1 queued task cancelled");
    project.run(&["resume", "t"]).exits(0);
    project.load();
    assert_eq!(project.rows(T), ["1|n1", "3|n3"]);
    project.run(&["retry", "pending/2.csv"]).exits(0).prints("1 object loaded");
    assert_eq!(project.rows(T), ["1|n1", "2|n2", "3|n3"]);
}

#[test]
fn a_file_that_is_closed_and_written_on_is_loaded_whole() {
    let project = scheduled(On::Directory, "every = \"1h\"", APPEND);
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    project.write_config(&config.replace("settle = \"0s\"", "settle = \"4s\""));
    let running = project.start(&["run"], &[]);
    running.until_it_says("looking after");
    let path = project.path("bucket/pending/1.csv");
    for line in ["id,name", "1,n1", "2,n2", "3,n3"] {
        use std::io::Write as _;
        let mut file = std::fs::File::options().create(true).append(true).open(&path).unwrap();
        writeln!(file, "{line}").unwrap();
        drop(file);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    project.until_keys(&["processed/<today>/1.csv"]);
    running.stop();
    assert_eq!(project.rows(T), ["1|n1", "2|n2", "3|n3"]);
}

#[test]
fn an_older_object_that_arrives_later_goes_before_those_that_wait() {
    let project = scheduled(On::Directory, "every = \"1h\"", UPSERT);
    project.run(&["pause", "t"]).exits(0);
    let running = project.start(&["run"], &[]);
    running.until_it_says("looking after");
    project.drop_at("b.csv", "id,name\n1,second\n", "2026-01-02T00:02:00Z");
    until_a_task_is(&project, "available");
    project.drop_at("a.csv", "id,name\n1,first\n", "2026-01-02T00:01:00Z");
    project.drop_at("c.csv", "id,name\n2,third\n", "2026-01-02T00:03:00Z");
    let objects = || status(&project)["tasks"][0]["objects"].as_u64();
    until(|| objects() == Some(3), || format!("three objects: {}", status(&project)));
    project.run(&["resume", "t"]).exits(0);
    project.until_keys(&["processed/<today>/a.csv", "processed/<today>/b.csv", "processed/<today>/c.csv"]);
    running.stop();
    assert_eq!(project.rows(T), ["1|second", "2|third"]);
    assert_eq!(project.value("SELECT count(*) FROM longshore.ledger WHERE late"), "0");
}

#[test]
fn a_pass_that_is_told_to_end_says_that_something_is_left() {
    let project = project(On::S3, APPEND);
    project.drop("1.csv", numbered([1]));
    project.drop("2.csv", numbered([2]));
    project.store().inject(Request::every("GetObject"), Fault::Stall(3));
    for arguments in [&["run", "--once"][..], &["load", "pending/1.csv"]] {
        let mut pass = project.start(arguments, &[]);
        until_a_task_is(&project, "running");
        pass.signal("-TERM");
        pass.until_it_says("stopping");
        pass.signal("-TERM");
        assert_eq!(pass.ends(), Some(1), "{arguments:?}: {}", pass.said());
    }
    project.store().heal();
    project.load();
    assert_eq!(project.rows(T), ["1|n1", "2|n2"]);
}

#[test]
fn a_schedule_that_a_wrong_clock_put_off_is_due_again() {
    let project = project(On::S3, APPEND);
    let scheduler = project.start(&["scheduler"], &[]);
    until(|| status(&project)["schedules"][0]["last_at"].is_string(), || "a tick".to_owned());
    scheduler.stop();
    let journal = rusqlite::Connection::open(project.path(".longshore/journal.db")).unwrap();
    journal.execute("UPDATE schedule SET next_at = next_at + 86400000000, token = NULL, worker = NULL", []).unwrap();
    drop(journal);
    // Not alone, so that the start itself is no reason to look.
    let other = project.start(&["worker"], &[]);
    other.until_it_says("up to");
    let running = project.start(&["run"], &[]);
    project.drop("1.csv", numbered([1]));
    project.until_keys(&["processed/<today>/1.csv"]);
    running.stop();
    other.stop();
}
