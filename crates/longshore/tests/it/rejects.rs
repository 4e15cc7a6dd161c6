//! Rows that do not fit, objects that cannot be loaded, and how they come back.

use std::fmt::Write as _;

use serde_json::Value;

use crate::harness::{On, Project, numbered};

fn pipeline(settings: &str) -> String {
    format!("[[pipeline]]\nname = \"t\"\nmatch = \"**/*.csv\"\ntable = \"t\"\nmode = \"append\"\n{settings}\n")
}

fn project(settings: &str) -> Project {
    let project = Project::new(&pipeline(settings));
    project.sql("CREATE TABLE t (id INTEGER NOT NULL, name VARCHAR)");
    project
}

const T: &str = "SELECT * FROM t ORDER BY ALL";

fn report(project: &Project, words: &str) -> Value {
    serde_json::from_str(&project.text(&project.key(words))).unwrap()
}

#[test]
fn good_rows_load_and_rejects_lie_beside_them() {
    let project = project("max_rejects = 2");
    project.drop("orders.csv", "id,name\n1,a\nx,\"b,\"\"b\n\"\n2,c\n,d\n");
    project.load().says("2 rows of `pending/orders.csv` did not fit: see `");
    assert_eq!(project.rows(T), ["1|a", "2|c"]);
    assert_eq!(project.ledger(), ["pending/orders.csv|1|load|4|2|2|0|0|on time"]);
    assert_eq!(
        project.keys(),
        ["processed/<today>/orders.csv", "rejected/orders.<id>.g1.csv", "rejected/orders.<id>.g1.csv.report.json"]
    );
    assert_eq!(project.text(&project.key("rejected/orders.<id>.g1.csv")), "id,name\nx,\"b,\"\"b\n\"\n,d\n");
}

#[test]
fn rejects_can_be_corrected_and_dropped_again() {
    let project = project("max_rejects = \"50%\"");
    project.drop("orders.csv", "id,name\n1,a\nx,b\n");
    project.load();
    let rejects = project.text(&project.key("rejected/orders.<id>.g1.csv"));
    project.drop("orders-corrected.csv", rejects.replace('x', "2"));
    project.load();
    assert_eq!(project.rows(T), ["1|a", "2|b"]);
}

#[test]
fn a_percentage_of_rejects_is_of_the_records_of_the_object() {
    let project = project("max_rejects = \"25%\"");
    project.drop("at.csv", "id,name\n1,a\n2,a\n3,a\nx,a\n");
    project.drop("over.csv", "id,name\n4,a\n5,a\nx,a\n");
    project.load_some();
    assert_eq!(project.rows(T), ["1|a", "2|a", "3|a"]);
    assert!(project.keys().contains(&"failed/2026/01/02/over.csv".to_owned()));
}

#[test]
fn a_report_gives_line_record_byte_column_and_rule() {
    let project = project("max_rejects = 5");
    project.drop("orders.csv", "id,name\n1,\"a\na\"\n\nx,b\n");
    project.load();
    let mut report = report(&project, "rejected/orders.<id>.g1.csv.report.json");
    for name in ["identity", "etag", "reported_at", "load_id"] {
        report.as_object_mut().unwrap().remove(name).unwrap();
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap(), @r###"
    {
      "error": null,
      "generation": 1,
      "key": "pending/orders.csv",
      "modified_at": "2026-01-02T00:00:00Z",
      "pipeline": "t",
      "rejects": [
        {
          "byte": 17,
          "faults": [
            {
              "column": "id",
              "message": "expected an integer, found a letter",
              "rule": "type"
            }
          ],
          "line": 5,
          "raw": "x,b",
          "record": 2
        }
      ],
      "rows_read": 2,
      "rows_rejected": 1,
      "rules": [
        {
          "column": "id",
          "rows": 1,
          "rule": "type"
        }
      ],
      "size": 21,
      "table": "main.t",
      "version": 1
    }
    "###);
}

#[test]
fn a_report_lists_a_thousand_rejects_and_counts_the_rest() {
    let project = project("max_rejects = 5000");
    let rows = (0..1_500).fold("id,name\n".to_owned(), |mut text, row| {
        writeln!(text, "x{row},name").unwrap();
        text
    });
    project.drop("orders.csv", &rows);
    project.load();
    let report = report(&project, "rejected/orders.<id>.g1.csv.report.json");
    assert_eq!(report["rejects"].as_array().unwrap().len(), 1_000);
    assert_eq!(report["rows_rejected"], 1_500);
    assert_eq!(report["rules"][0]["rows"], 1_500);
    assert_eq!(project.text(&project.key("rejected/orders.<id>.g1.csv")), rows);
}

#[test]
fn an_object_with_too_many_rejects_is_quarantined_whole_with_its_report() {
    let project = project("max_rejects = 1");
    let body = "id,name\n1,a\nx,b\n,c\n";
    project.drop_at("a/orders.csv", body, "2025-12-31T23:30:00Z");
    project.load_some().says("2 of 3 rows do not fit").says("line 3 (record 2, byte 12), column `id`").says("hint: ");
    assert_eq!(project.rows(T), [""; 0]);
    assert_eq!(project.ledger(), [""; 0]);
    assert_eq!(project.keys(), ["failed/2025/12/31/a/orders.csv", "failed/2025/12/31/a/orders.csv.report.json"]);
    assert_eq!(project.text("failed/2025/12/31/a/orders.csv"), body);
    let report = report(&project, "failed/2025/12/31/a/orders.csv.report.json");
    assert_eq!(report["key"], "pending/a/orders.csv");
    assert_eq!(report["modified_at"], "2025-12-31T23:30:00Z");
    assert_eq!(report["error"]["line"], 3);
    assert_eq!(report["error"]["column"], "id");
    assert_eq!(report["rejects"][1]["faults"][0]["rule"], "not-null");
    assert_eq!(report["rejects"][1]["raw"], ",c");
}

#[test]
fn objects_of_one_key_keep_both_their_places_in_quarantine_and_archive() {
    let project = project("");
    for body in ["id\nx\n", "id\ny\n"] {
        project.drop_at("orders.csv", body, "2026-01-01T00:00:00Z");
        project.load_some();
    }
    assert_eq!(
        project.keys(),
        [
            "failed/2026/01/01/orders-<id>.csv",
            "failed/2026/01/01/orders-<id>.csv.report.json",
            "failed/2026/01/01/orders.csv",
            "failed/2026/01/01/orders.csv.report.json"
        ]
    );
    assert_eq!(project.text("failed/2026/01/01/orders.csv"), "id\nx\n");
    assert_eq!(project.text(&project.key("failed/2026/01/01/orders-<id>.csv")), "id\ny\n");
    project.sql("ALTER TABLE t ALTER id TYPE VARCHAR");
    project.run(&["retry", "--all"]).exits(0);
    assert_eq!(project.rows("SELECT id FROM t ORDER BY id"), ["x", "y"]);
    assert_eq!(project.keys(), ["processed/<today>/orders-<id>.csv", "processed/<today>/orders.csv"]);
    project.run(&["audit"]).exits(0);
}

/// Two objects in quarantine that fit once the table is changed.
fn quarantined(on: On) -> Project {
    let project = Project::on(on, &pipeline(""));
    project.sql("CREATE TABLE t (id INTEGER NOT NULL, name VARCHAR)");
    project.drop("a.csv", "id,name\n1,a\nx,a\n");
    project.drop("b.csv", "id,name\n2,b\ny,b\n");
    project.load_some();
    assert_eq!(project.keys().iter().filter(|key| key.starts_with("failed/2026/01/02/")).count(), 4);
    project.sql("ALTER TABLE t ALTER id TYPE VARCHAR");
    project
}

#[test]
fn retry_takes_the_key_that_the_object_had_and_the_key_in_quarantine() {
    for on in [On::Directory, On::S3] {
        let project = quarantined(on);
        project.run(&["retry", "pending/a.csv"]).exits(0);
        assert_eq!(project.rows(T), ["1|a", "x|a"]);
        assert_eq!(
            project.keys(),
            ["failed/2026/01/02/b.csv", "failed/2026/01/02/b.csv.report.json", "processed/<today>/a.csv"]
        );
        project.run(&["retry", "failed/2026/01/02/b.csv"]).exits(0);
        assert_eq!(project.rows(T), ["1|a", "2|b", "x|a", "y|b"]);
        assert_eq!(project.keys(), ["processed/<today>/a.csv", "processed/<today>/b.csv"]);
        assert_eq!(
            project.ledger(),
            ["pending/a.csv|1|load|2|2|0|0|0|on time", "pending/b.csv|1|load|2|2|0|0|0|on time"]
        );
        project.run(&["audit"]).exits(0);
        project.run(&["status"]).exits(0);
    }
}

#[test]
fn retry_all_takes_everything_in_quarantine() {
    for on in [On::Directory, On::S3] {
        let project = quarantined(on);
        project.run(&["retry", "--all"]).exits(0);
        assert_eq!(project.rows(T), ["1|a", "2|b", "x|a", "y|b"]);
        assert_eq!(project.keys(), ["processed/<today>/a.csv", "processed/<today>/b.csv"]);
        project.run(&["retry", "--all"]).exits(0).prints("nothing to load");
    }
}

#[test]
fn retry_of_a_key_that_is_not_in_quarantine_says_so() {
    let project = quarantined(On::Directory);
    project.run(&["retry", "pending/c.csv"]).exits(2).says("`pending/c.csv` is not in quarantine").says("hint: ");
}

#[test]
fn a_fault_that_a_setting_would_cure_names_the_setting() {
    let project = project("");
    project.sql("DROP TABLE t; CREATE TABLE t (id INTEGER, day DATE, moment TIMESTAMP)");
    for (name, row, setting) in [
        ("date", "1,31.12.2026,", "date_formats"),
        ("time", "1,,31.12.2026 10:00", "timestamp_formats"),
        ("offset", "1,,2026-12-31 10:00:00+01:00", "timestamp_offset"),
        ("fields", "1;2", "delimiter"),
    ] {
        project.drop(&format!("{name}.csv"), format!("id,day,moment\n{row}\n"));
        project.load_some().says(setting).says("if the whole object is like that");
    }
}

#[test]
fn retry_and_load_again_wait_for_what_is_missing() {
    let project = project("");
    project.drop("good.csv", numbered([1]));
    project.drop("bad.csv", "id,name\nx,a\n");
    project.load_some();
    project.sql("ALTER TABLE t RENAME TO away");
    let before = project.keys();
    project.run(&["retry", "--all"]).exits(1).says("waits").says("hint: ");
    let archived = project.key("processed/<today>/good.csv");
    project.run(&["load", "--again", &archived]).exits(1).says("hint: ");
    assert_eq!(project.keys(), before);
    project.sql("ALTER TABLE away RENAME TO t; ALTER TABLE t ALTER id TYPE VARCHAR");
    project.run(&["retry", "--all"]).exits(0);
    assert_eq!(project.rows(T), ["1|n1", "x|a"]);
    project.run(&["status"]).exits(0);
}

#[test]
fn retry_keeps_the_original_place_in_the_order() {
    let pipeline = "[[pipeline]]\nname = \"t\"\nmatch = \"*.csv\"\ntable = \"t\"\nmode = \"replace\"\n";
    for bucket in ["", "after = \"keep\""] {
        let project = Project::new(pipeline);
        project.configure(bucket, pipeline);
        project.sql("CREATE TABLE t (id INTEGER)");
        project.drop("1.csv", "id\nx\n");
        project.load_some();
        project.drop("2.csv", "id\n2\n");
        project.load();
        project.sql("ALTER TABLE t ALTER id TYPE VARCHAR");
        project.run(&["retry", "--all"]).exits(0);
        assert_eq!(project.rows("FROM t"), ["2"], "a late `replace` object is never applied ({bucket})");
        assert_eq!(
            project.value(
                "SELECT kind FROM longshore.ledger WHERE key = 'pending/1.csv' ORDER BY generation DESC LIMIT 1"
            ),
            "superseded"
        );
    }
}

#[test]
fn retry_of_an_object_that_still_does_not_fit_leaves_it_with_a_new_report() {
    let project = project("");
    project.drop("a.csv", "id,name\n1,a\nx,a\n");
    project.load_some();
    project.sql("ALTER TABLE t RENAME id TO number");
    project.configure("", &pipeline("columns = { id = \"number\" }"));
    project.run(&["retry", "--all"]).exits(1).says("column `number`");
    assert_eq!(project.keys(), ["failed/2026/01/02/a.csv", "failed/2026/01/02/a.csv.report.json"]);
    assert_eq!(report(&project, "failed/2026/01/02/a.csv.report.json")["error"]["column"], "number");
}

#[test]
fn quarantine_on_s3_carries_where_the_object_came_from() {
    let project = Project::on(On::S3, &pipeline(""));
    project.sql("CREATE TABLE t (id INTEGER)");
    project.drop("ü a.csv", "id\nx\n");
    project.load_some();
    let metadata = project.store().metadata("failed/2026/01/02/ü a.csv");
    assert_eq!(metadata["longshore-key"], "pending/%C3%BC%20a.csv");
    assert_eq!(metadata["longshore-modified-at"], "2026-01-02T00:00:00Z");
    let report = report(&project, "failed/2026/01/02/ü a.csv.report.json");
    assert_eq!(report["identity"], Value::from(metadata["longshore-identity"].clone()));
}

/// A project whose objects stay where they are.
fn kept(settings: &str) -> Project {
    let project = project(settings);
    project.configure("after = \"keep\"\nreports = \"reports\"", &pipeline(settings));
    project
}

#[test]
fn a_bucket_that_may_not_be_changed_is_left_as_it_is() {
    let project = kept("max_rejects = 1");
    project.drop("good.csv", numbered([1]));
    project.drop("some.csv", "id,name\n2,b\nx,b\n");
    project.drop("bad.csv", "id,name\nx,c\ny,c\n");
    let before = project.keys();
    project.load_some();
    assert_eq!(project.rows(T), ["1|n1", "2|b"]);
    assert_eq!(project.keys(), before);
    let reports: Vec<String> =
        crate::harness::files(&project.path("reports")).iter().map(|key| crate::harness::in_words(key)).collect();
    assert_eq!(
        reports,
        ["rejected/bad.<id>.g1.report.json", "rejected/some.<id>.g1.csv", "rejected/some.<id>.g1.csv.report.json"]
    );
    assert_eq!(
        project.ledger(),
        [
            "pending/bad.csv|1|failed|0|0|0|0|0|on time",
            "pending/good.csv|1|load|1|1|0|0|0|on time",
            "pending/some.csv|1|load|2|1|1|0|0|on time"
        ]
    );
    assert_eq!(project.value("SELECT count(archive_key) FROM longshore.ledger"), "0");
    project.load();
    assert_eq!(project.rows(T), ["1|n1", "2|b"]);
    project.run(&["audit"]).exits(0);
}

#[test]
fn a_kept_object_that_failed_is_retried_as_the_next_generation() {
    let project = kept("");
    project.drop("bad.csv", "id,name\nx,c\n");
    project.load_some();
    project.run(&["retry", "--all"]).exits(1);
    project.sql("ALTER TABLE t ALTER id TYPE VARCHAR");
    project.run(&["retry", "pending/bad.csv"]).exits(0);
    assert_eq!(project.rows(T), ["x|c"]);
    assert_eq!(
        project.rows("SELECT generation, kind FROM longshore.ledger ORDER BY 1"),
        ["1|failed", "2|failed", "3|load"]
    );
    project.load();
    project.run(&["retry", "--all"]).exits(0).prints("nothing to load");
    project.run(&["status"]).exits(0).prints("the bucket keeps 1 object");
    project.run(&["plan"]).exits(0).prints("done");
    assert_eq!(project.rows(T), ["x|c"]);
}

#[test]
fn a_kept_object_is_loaded_again() {
    let project = kept("");
    let key = project.drop("a.csv", numbered([1]));
    project.load();
    project.run(&["load", "--again", &key]).exits(0);
    assert_eq!(project.rows(T), ["1|n1", "1|n1"]);
    project.load();
    assert_eq!(project.rows(T), ["1|n1", "1|n1"]);
}

#[test]
fn rejects_shows_the_rows_to_whoever_asks_and_the_logs_do_not() {
    let project = project("");
    project.drop("a.csv", "id,name\n1,a\nsecret-value,\"b\"\n");
    project.load_some().never_says("secret-value");
    let shown = project.run(&["rejects", "pending/a.csv"]).exits(0);
    insta::assert_snapshot!(shown.stdout, @r###"
    pending/a.csv (failed): 1 of 2 rows rejected
    error: 1 of 2 rows does not fit main.t: line 3 (record 2, byte 12), column `id`: expected an integer, found a letter
    hint: correct the rows and drop the object again, or allow them with `max_rejects` on pipeline `t` and run `longshore retry KEY`
    object: failed/2026/01/02/a.csv
    report: failed/2026/01/02/a.csv.report.json

    line 3 (record 2, byte 12), column `id`: expected an integer, found a letter [type]
        secret-value,"b"
    "###);
    let listed = project.run(&["rejects"]).exits(0);
    insta::assert_snapshot!(listed.stdout, @r###"
    OBJECT         PIPELINE  STATE   REJECTED  ERROR OR REJECTS
    pending/a.csv  t         failed  1         1 of 2 rows does not fit main.t: line 3 (record 2, byte 12), column `id`: expected an integer, found a letter
    "###);
    let json = project.run(&["rejects", "failed/2026/01/02/a.csv", "--json"]).exits(0).json();
    assert_eq!(json["rejects"][0]["line"], 3);
    assert_eq!(json["rejects"][0]["raw"], "secret-value,\"b\"");
    project.run(&["rejects", "pending/b.csv"]).exits(2).says("nothing is known of `pending/b.csv`");
}

#[test]
fn a_row_with_several_faults_reports_them_all() {
    let project = project("max_rejects = 1");
    project.sql("ALTER TABLE t ADD COLUMN day DATE");
    project.drop("a.csv", "id,name,day\nx,a,yesterday\n");
    project.load();
    let report = report(&project, "rejected/a.<id>.g1.csv.report.json");
    let columns: Vec<_> =
        report["rejects"][0]["faults"].as_array().unwrap().iter().map(|fault| &fault["column"]).collect();
    assert_eq!(columns, ["id", "day"]);
}

#[test]
fn a_second_attempt_overwrites_the_rejects_of_the_first() {
    let project = project("max_rejects = 1");
    project.drop("a.csv", "id,name\n1,a\nx,b\n");
    let killed = project.run_with(&["run", "--once"], &[("LONGSHORE_CRASH_AT", "rejects-put")]);
    assert_eq!(killed.code, None);
    let first = project.keys();
    assert!(first.contains(&"rejected/a.<id>.g1.csv".to_owned()), "{first:?}");
    project.load();
    assert_eq!(project.keys().len(), 3);
}

#[test]
fn rejects_of_a_load_that_the_warehouse_refuses_are_removed() {
    let project = project("max_rejects = 1");
    project.sql("DROP TABLE t; CREATE TABLE t (id INTEGER CHECK (id < 10), name VARCHAR)");
    project.drop("a.csv", "id,name\n1,a\nx,b\n99,c\n");
    project.load_some();
    assert_eq!(project.keys(), ["failed/2026/01/02/a.csv", "failed/2026/01/02/a.csv.report.json"]);
}

#[test]
fn a_repeat_writes_its_rejects_once() {
    let project = Project::new(
        "[[pipeline]]\nname = \"orders\"\nmatch = \"*.csv\"\ntable = \"orders\"\nmode = \"append\"\nmax_rejects = 2\n",
    );
    project.sql("CREATE TABLE orders (id INTEGER)");
    for _ in 0..2 {
        project.drop("a.csv", "id\n1\nx\n");
        project.load();
    }
    let rejected = project.keys().into_iter().filter(|key| key.starts_with("rejected/") && key.ends_with(".csv"));
    assert_eq!(rejected.count(), 1);
}

#[test]
fn status_forgets_a_failed_object_that_somebody_removed() {
    let project = Project::new(&pipeline_of_ids(""));
    project.sql("CREATE TABLE orders (id INTEGER)");
    project.drop("a.csv", "id\nx\n");
    project.load_some();
    project.run(&["status"]).exits(1);
    std::fs::remove_dir_all(project.path("bucket/failed")).unwrap();
    project.run(&["status"]).exits(0);
}

#[test]
fn a_header_that_is_read_as_data_is_told_from_a_bad_row() {
    let project = Project::new(&pipeline_of_ids("csv = { header = false }\n"));
    project.sql("CREATE TABLE orders (id INTEGER, name VARCHAR)");
    project.drop("header.csv", "\"ID\",name\n1,a\n");
    project.drop("row.csv", "1,a\nid,name\n");
    project.load_some();
    let told = |key: &str| project.run(&["rejects", key]).exits(0).stdout;
    assert!(told("pending/header.csv").contains("remove `header = false` on pipeline `orders`"));
    assert!(!told("pending/row.csv").contains("remove `header"));
    // As it says, it goes in.
    project.configure("", &pipeline_of_ids(""));
    project.run(&["retry", "pending/header.csv"]).exits(0);
    assert_eq!(project.rows("SELECT * FROM orders"), ["1|a"]);
    project.configure("", &pipeline_of_ids("columns = [\"id\", \"name\"]\ncsv = { header = false }\n"));
    project.drop("other.csv", "id,name\n2,b\n");
    project.load_some();
    assert!(told("pending/other.csv").contains("remove `header = false` and `columns` on pipeline"));
}

#[test]
fn what_is_not_listed_is_said() {
    let project = Project::new(&pipeline_of_ids(""));
    project.sql("CREATE TABLE orders (id INTEGER)");
    for n in 0..13 {
        project.drop(&format!("{n:02}.csv"), "id\nx\n");
    }
    project.load_some();
    let status = project.run(&["status"]).exits(1).prints("  and 3 more: `longshore rejects --limit 1000` lists them");
    assert_eq!(status.stdout.matches(".csv: 1 of 1 row").count(), 10, "{}", status.stdout);
    assert_eq!(project.run(&["status", "--json"]).exits(1).json()["more_failed"], 3);
    // Those that somebody removed hide none that are there.
    let (failed, kept) = (project.path("bucket/failed"), project.path("kept"));
    std::fs::rename(&failed, &kept).unwrap();
    project.run(&["status"]).exits(0);
    std::fs::rename(&kept, &failed).unwrap();
    let listed = || project.run(&["status", "--json"]).exits(1).json()["failed"].as_array().unwrap().clone();
    for object in listed() {
        std::fs::rename(project.path("bucket").join(object["lies_at"].as_str().unwrap()), project.path("kept"))
            .unwrap();
    }
    assert_eq!(listed().len(), 3);
    project.run(&["rejects", "--limit", "12"]).exits(0).prints("and more: `--limit N` lists them");
    let all = project.run(&["rejects", "--limit", "13"]).exits(0);
    assert!(!all.stdout.contains("and more"), "{}", all.stdout);
    project.run(&["loads", "--limit", "1"]).exits(0).prints("and more: `--limit N` lists them");
    project.drop("many.csv", format!("id\n{}", "x\n".repeat(21)));
    project.load_some();
    let shown = project.run(&["rejects", "pending/many.csv"]).exits(0).prints("and more: `--limit N` shows them");
    assert_eq!(shown.stdout.matches("[type]").count(), 20, "{}", shown.stdout);
    let json = |limit: &str| project.run(&["rejects", "pending/many.csv", "--json", "--limit", limit]).exits(0).json();
    assert_eq!((&json("20")["more"], &json("21")["more"]), (&true.into(), &false.into()));
    // Of an object 1,000 are kept.
    project.drop("most.csv", format!("id\n{}", "x\n".repeat(1_100)));
    project.load_some();
    let shown = project.run(&["rejects", "pending/most.csv", "--limit", "5000"]).exits(0);
    shown.prints("and 100 more rows: of an object 1,000 are listed");
}

fn pipeline_of_ids(settings: &str) -> String {
    format!("[[pipeline]]\nname = \"orders\"\nmatch = \"*.csv\"\ntable = \"orders\"\nmode = \"append\"\n{settings}")
}

const ANY: &str = "[[pipeline]]\nname = \"t\"\nmatch = \"*\"\ntable = \"t\"\nmode = \"append\"\n";

#[test]
fn a_report_never_takes_the_place_of_an_object() {
    let project = Project::new(ANY);
    project.sql("CREATE TABLE t (a INTEGER, b VARCHAR)");
    project.drop("a.csv.report.json", "a,b\nx,precious\n");
    project.drop("a.csv", "a,b\ny,bad\n");
    project.load_some();
    let bodies: Vec<String> = project
        .keys()
        .iter()
        .filter(|key| key.starts_with("failed/"))
        .map(|key| std::fs::read_to_string(project.path("bucket").join(project.key(key))).unwrap())
        .collect();
    assert!(bodies.contains(&"a,b\nx,precious\n".to_owned()) && bodies.contains(&"a,b\ny,bad\n".to_owned()));
    assert_eq!(bodies.len(), 4);
}

#[test]
fn long_names_hold_back_nothing() {
    let project = Project::new(&format!("{ANY}max_rejects = 1\n"));
    project.sql("CREATE TABLE t (a INTEGER)");
    project.drop(&format!("{}.csv", "r".repeat(240)), "a\n1\nx\n");
    project.drop(&format!("{}.csv", "f".repeat(250)), "a\nx\ny\n");
    project.drop("good.csv", "a\n2\n");
    project.load_some();
    assert_eq!(project.rows("SELECT a FROM t ORDER BY a"), ["1", "2"]);
    assert!(!project.keys().iter().any(|key| key.starts_with("pending/")));
}
