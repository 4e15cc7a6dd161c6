//! What the commands print, and how they end.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::harness::{On, Project, in_words, numbered};

const PIPELINE: &str =
    "[[pipeline]]\nname = \"orders\"\nmatch = \"orders-*.csv\"\ntable = \"orders\"\nmode = \"append\"\n";

fn project() -> Project {
    let project = Project::new(PIPELINE);
    project.sql("CREATE TABLE orders (id INTEGER, name VARCHAR)");
    project
}

/// A text with words in place of times and of what else differs from run to run.
fn steady(project: &Project, text: &str) -> String {
    static WORDS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "<time>"), (r"for \d[^\n]*", "for <long>")]
            .into_iter()
            .map(|(pattern, word)| (Regex::new(pattern).unwrap(), word))
            .collect()
    });
    let text = in_words(text).replace(&*project.path("").to_string_lossy(), "<project>/");
    WORDS.iter().fold(text, |text, (pattern, word)| pattern.replace_all(&text, *word).into_owned())
}

/// A project with something of every kind: loaded, rejected, failed, unmatched, pending.
fn busy() -> Project {
    let project = project();
    project.configure("", &format!("{PIPELINE}max_rejects = 1\n"));
    project.drop("orders-1.csv", numbered([1, 2]));
    project.drop("orders-2.csv", "id,name\n3,c\nx,d\n");
    project.drop("orders-3.csv", "id,name\nx,c\nx,d\n");
    project.drop("readme.txt", "hello");
    project.load_some();
    project.drop("orders-4.csv", numbered([4]));
    project
}

#[test]
fn plan_gives_a_verdict_on_every_object() {
    let project = project();
    project.drop("orders-1.csv", numbered([1]));
    let killed = project.run_with(&["run", "--once"], &[("LONGSHORE_CRASH_AT", "commit-answered")]);
    assert_eq!(killed.code, None);
    project.drop("orders-2.csv", numbered([2]));
    project.drop("readme.txt", "hello");
    project.configure(
        "",
        &format!("{PIPELINE}\n{}", PIPELINE.replace("\"orders\"", "\"twice\"").replace("orders-*", "orders-t*")),
    );
    project.drop("orders-two.csv", numbered([2]));
    let ran = project.run(&["plan"]).exits(1);
    insta::assert_snapshot!(steady(&project, &ran.stdout), @r###"
    VERDICT       OBJECT                  SIZE  PIPELINE  WHY
    archive-only  pending/orders-1.csv    13 B  orders    in since <time>
    load          pending/orders-2.csv    13 B  orders
    ambiguous     pending/orders-two.csv                  pipelines orders and twice
    unmatched     pending/readme.txt
    "###);
}

#[test]
fn plan_tells_what_is_late_superseded_and_repeated() {
    let project = Project::new(
        "[[pipeline]]\nname = \"u\"\nmatch = \"u*.csv\"\ntable = \"u\"\nmode = \"upsert\"\nkey = [\"id\"]
[[pipeline]]\nname = \"r\"\nmatch = \"r*.csv\"\ntable = \"r\"\nmode = \"replace\"",
    );
    project.sql("CREATE TABLE u (id INTEGER, name VARCHAR); CREATE TABLE r (id INTEGER, name VARCHAR)");
    project.drop_at("u-new.csv", numbered([1]), "2026-02-02T00:00:00Z");
    project.load();
    project.drop_at("u-old.csv", numbered([1]), "2026-02-01T00:00:00Z");
    project.drop_at("u-new.csv", numbered([1]), "2026-02-03T00:00:00Z");
    project.drop_at("r-1.csv", numbered([1]), "2026-02-01T00:00:00Z");
    project.drop_at("r-2.csv", numbered([1]), "2026-02-02T00:00:00Z");
    let ran = project.run(&["plan"]).exits(0);
    insta::assert_snapshot!(steady(&project, &ran.stdout), @r###"
    VERDICT     OBJECT             SIZE  PIPELINE  WHY
    late        pending/u-old.csv  13 B  u         older than what is in: it is loaded and marked
    load        pending/u-new.csv  13 B  u         the key was loaded before: a repeat if its bytes are the same
    superseded  pending/r-1.csv    13 B  r         a newer object is the table
    load        pending/r-2.csv    13 B  r
    "###);
}

#[test]
fn plan_touches_nothing() {
    let project = Project::new(PIPELINE);
    project.drop("orders-1.csv", numbered([1]));
    let before = project.snapshot();
    project.run(&["plan"]).exits(1).prints("wait");
    assert_eq!(keys(&project.snapshot()), keys(&before));
    project.sql("CREATE TABLE orders (id INTEGER, name VARCHAR)");
    project.drop("readme.txt", "hello");
    let before = project.snapshot();
    project.run(&["plan"]).exits(0).prints("load");
    project.run(&["audit"]).exits(0);
    assert!(project.snapshot() == before, "{:?} {:?}", keys(&before), keys(&project.snapshot()));
}

#[test]
fn plan_touches_nothing_on_s3() {
    let project = Project::on(On::S3, PIPELINE);
    project.sql("CREATE TABLE orders (id INTEGER, name VARCHAR)");
    project.drop("orders-1.csv", numbered([1]));
    project.run(&["plan"]).exits(0);
    let asked: Vec<&str> = project.store().requests().iter().map(|request| request.operation).collect();
    assert!(asked.iter().all(|operation| operation.starts_with("List")), "{asked:?}");
}

fn keys<V>(files: &BTreeMap<String, V>) -> Vec<&String> {
    files.keys().collect()
}

#[test]
fn status_says_how_things_stand() {
    let project = busy();
    let ran = project.run(&["status"]).exits(1);
    insta::assert_snapshot!(steady(&project, &ran.stdout), @r###"
    1 object (13 B) waits, for <long>
    1 of no pipeline
    no process is at work: `longshore run` keeps the tables current

    failed:
      failed/2026/01/02/orders-3.csv: 2 of 2 rows do not fit main.orders: line 2 (record 1, byte 8), column `id`: expected an integer, found a letter

    last loads:
      <time>  orders  failed  `pending/orders-3.csv`: 2 of 2 rows do not fit main.orders: line 2 (record 1, byte 8), column `id`: expected an integer, found a letter
      <time>  orders  loaded  2 objects, 3 rows
    "###);
}

#[test]
fn loads_lists_the_history_newest_first() {
    let project = busy();
    let ran = project.run(&["loads"]).exits(0);
    insta::assert_snapshot!(steady(&project, &ran.stdout), @r###"
    FINISHED              PIPELINE  TABLE        OUTCOME  OBJECTS  SIZE  LOADED  REJECTED  LOAD OR ERROR
    <time>  orders    main.orders  failed   1        16 B  0       2         `pending/orders-3.csv`: 2 of 2 rows do not fit main.orders: line 2 (record 1, byte 8), column `id`: expected an integer, found a letter
    <time>  orders    main.orders  loaded   2        34 B  3       1         <load>
    "###);
    project.run(&["loads", "--pipeline", "nobody"]).exits(0).prints("no loads yet");
    assert_eq!(project.run(&["loads", "--limit", "1", "--json"]).exits(0).json().as_array().unwrap().len(), 1);
}

#[test]
fn audit_finds_no_gap_where_there_is_none() {
    let project = busy();
    let ran = project.run(&["audit"]).exits(0);
    insta::assert_snapshot!(ran.stdout, @r###"
    2 entries in the ledger, 2 objects in the archive, 2 pending
    no gaps
    "###);
}

#[test]
fn audit_finds_an_object_that_is_in_and_was_not_archived() {
    let project = project();
    project.drop("orders-1.csv", numbered([1]));
    assert_eq!(project.run_with(&["run", "--once"], &[("LONGSHORE_CRASH_AT", "commit-answered")]).code, None);
    let ran = project.run(&["audit"]).exits(1);
    insta::assert_snapshot!(ran.stdout, @r###"
    1 entry in the ledger, 0 objects in the archive, 1 pending

    1 in, but not archived:
      pending/orders-1.csv
    hint: `longshore run --once` archives them
    "###);
    project.load();
    project.run(&["audit"]).exits(0);
}

#[test]
fn audit_finds_an_object_whose_retry_was_cut_off() {
    let project = project();
    project.drop("orders-1.csv", "id,name\nx,a\n");
    project.load_some();
    project.configure("", &format!("{PIPELINE}max_rejects = 1\n"));
    let killed = project.run_with(&["retry", "--all"], &[("LONGSHORE_CRASH_AT", "commit-answered")]);
    assert_eq!(killed.code, None);
    project.run(&["audit"]).exits(1).prints("1 in, but still in quarantine:").prints("`longshore retry --all`");
    project.run(&["retry", "--all"]).exits(0);
    project.run(&["audit"]).exits(0).prints("no gaps");
}

#[test]
fn audit_finds_an_object_that_nobody_loaded_and_an_entry_whose_object_is_gone() {
    let project = project();
    project.drop("orders-1.csv", numbered([1]));
    project.drop("orders-2.csv", numbered([2]));
    project.load();
    project.remove(&project.key("processed/<today>/orders-1.csv"));
    project.put("processed/orders-9.csv", numbered([9]), "2026-01-01T00:00:00Z");
    let ran = project.run(&["audit"]).exits(1);
    insta::assert_snapshot!(steady(&project, &ran.stdout), @r###"
    2 entries in the ledger, 2 objects in the archive, 0 pending

    1 in the ledger, but nowhere in the archive:
      processed/<today>/orders-1.csv
    hint: somebody removed or renamed them; their rows are in

    1 in the archive, but in the ledger of no pipeline's table:
      processed/orders-9.csv
    hint: the ledger of a table that no pipeline loads any more is not read; to load one, move it to `pending`
    "###);
}

#[test]
fn audit_finds_which_of_two_objects_of_one_key_is_gone() {
    for gone in ["processed/<today>/orders-1.csv", "processed/<today>/orders-1-<id>.csv"] {
        let project = project();
        for id in [1, 2] {
            project.drop("orders-1.csv", numbered([id]));
            project.load();
        }
        project.run(&["audit"]).exits(0);
        project.remove(&project.key(gone));
        project.run(&["audit"]).exits(1).prints("1 in the ledger, but nowhere in the archive");
    }
}

#[test]
fn audit_finds_an_object_that_somebody_went_on_writing_into() {
    use std::io::Write as _;
    let project = project();
    project.drop("orders-1.csv", numbered([1]));
    project.load();
    let path = project.path("bucket").join(project.key("processed/<today>/orders-1.csv"));
    std::fs::File::options().append(true).open(path).unwrap().write_all(b"2,n2\n").unwrap();
    project.run(&["audit"]).exits(1).prints("1 in the archive with another size than was loaded");
}

#[test]
fn audit_finds_a_ledger_that_cannot_be_read() {
    let project = project();
    project.drop("orders-1.csv", numbered([1]));
    project.load();
    project.sql("ALTER TABLE orders RENAME TO other");
    // What is in the archive may be in that ledger: it is no gap.
    let audit = project.run(&["audit"]).exits(1).prints("pipelines whose ledger cannot be read");
    assert!(!audit.stdout.contains("in the archive, but in the ledger of no"), "{}", audit.stdout);
    let audit = project.run(&["audit", "--json"]).exits(1).json();
    assert_eq!(audit["unreadable"].as_array().unwrap().len(), 1, "{audit}");
    assert!(audit["unknown"].as_array().unwrap().is_empty(), "{audit}");
}

#[test]
fn check_names_every_hop_and_leaves_nothing_behind() {
    let project = project();
    project.load();
    let before = project.keys();
    let ran = project.run(&["check"]).exits(0);
    insta::assert_snapshot!(steady(&project, &ran.stdout), @r###"
    ok       configuration: `longshore.toml`: 1 pipeline
    ok       journal: `<project>/.longshore/journal.db` can be written
    ok       bucket: the directory `<project>/bucket` is there and can be listed
    ok       bucket: `pending/` can be listed, written, claimed and removed in
    ok       bucket: `processed/` can be listed, written, claimed and removed in
    ok       bucket: `failed/` can be listed, written, claimed and removed in
    ok       bucket: `rejected/` can be listed, written, claimed and removed in
    ok       warehouse: the database file `<project>/warehouse.duckdb` can be opened and written
    ok       warehouse: the ledger `longshore.ledger` was created
    ok       warehouse: the table `orders` is there, with 2 columns
    ok       warehouse: pipeline `orders` fits main.orders
    "###);
    assert_eq!(project.keys(), before);
    project.sql("DROP TABLE orders");
    project.run(&["check"]).exits(1).prints("fault").prints("hint: ");
}

#[test]
fn every_command_prints_one_json_document() {
    for on in [On::Directory, On::S3] {
        let project = Project::on(on, &format!("{PIPELINE}max_rejects = 1\n"));
        project.sql("CREATE TABLE orders (id INTEGER, name VARCHAR)");
        project.drop("orders-1.csv", numbered([1, 2]));
        project.drop("orders-2.csv", "id,name\nx,c\nx,d\n");
        let ran = project.run(&["run", "--once", "--json"]).exits(1).json();
        assert_eq!(ran["rows_loaded"], 2);
        assert_eq!(ran["failed"][0], "pending/orders-2.csv");
        project.drop("orders-3.csv", numbered([3]));
        let plan = project.run(&["plan", "--json"]).exits(0).json();
        assert_eq!(plan[0]["verdict"], "load");
        assert_eq!(plan[0]["key"], "pending/orders-3.csv");
        let status = project.run(&["status", "--json"]).exits(1).json();
        assert_eq!(status["pending_objects"], 1);
        assert_eq!(status["failed"][0]["key"], "pending/orders-2.csv");
        let loads = project.run(&["loads", "--json"]).exits(0).json();
        assert_eq!(loads[0]["outcome"], "failed");
        let rejects = project.run(&["rejects", "--json"]).exits(0).json();
        assert_eq!(rejects[0]["rows_rejected"], 2);
        let audit = project.run(&["audit", "--json"]).exits(0).json();
        assert_eq!(audit["entries"], 1);
        let check = project.run(&["check", "--json"]).exits(0).json();
        assert!(check.as_array().unwrap().iter().all(|line| line["state"] != "fault"), "{check}");
        let load = project.run(&["load", "pending/orders-3.csv", "--json"]).exits(0).json();
        assert_eq!(load["objects_loaded"], 1);
        let retry = project.run(&["retry", "--all", "--json"]).exits(1).json();
        assert_eq!(retry["failed"][0], "pending/orders-2.csv");
    }
}

#[test]
fn completions_prints_a_script() {
    let project = project();
    for shell in ["bash", "zsh", "fish"] {
        project.run(&["completions", shell]).exits(0).prints("longshore").prints("audit");
    }
}

#[test]
fn arguments_that_are_none_end_with_2() {
    let project = project();
    project.run(&["run", "--twice"]).exits(2);
    project.run(&["lode"]).exits(2).says("load");
    project.run(&["retry"]).exits(2);
    project.run(&[]).exits(2);
    project.run(&["--version"]).exits(0).prints("longshore ");
}

#[test]
fn the_log_level_decides_what_is_said() {
    let project = project();
    project.drop("orders-1.csv", numbered([1]));
    let ran = project.run(&["run", "--once", "--log-level", "error"]).exits(0);
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let project = busy();
    let command = format!("'{}' loads | true; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_longshore"));
    let ran = std::process::Command::new("bash").args(["-c", &command]).current_dir(project.path("")).output().unwrap();
    assert_eq!(ran.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ran.stderr), "");
}

#[test]
fn check_writes_nothing_where_objects_are_kept() {
    let project = project();
    project.configure("after = \"keep\"", PIPELINE);
    project.run(&["check"]).exits(0).prints("nothing is written");
}

#[test]
fn check_warns_of_a_pattern_that_can_never_match() {
    let project = project();
    project.configure("", &PIPELINE.replace("match = \"", "match = \"pending/"));
    project.run(&["check"]).exits(0).prints("keys are matched without it");
}
