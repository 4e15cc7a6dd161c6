//! The main flows once more, with the real binary against a store that speaks S3.

use crate::harness::{On, Project, numbered};
use crate::s3::{Fault, On as Request, Settings};

fn pipeline(settings: &str) -> String {
    format!("[[pipeline]]\nname = \"t\"\nmatch = \"**/*.csv\"\ntable = \"t\"\n{settings}\n")
}

fn project(settings: &str) -> Project {
    with(Settings::default(), settings)
}

fn with(store: Settings, settings: &str) -> Project {
    let project = Project::on_s3(store, &pipeline(settings));
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project
}

const APPEND: &str = "mode = \"append\"";
const T: &str = "SELECT * FROM t ORDER BY ALL";

#[test]
fn keys_are_exact_whatever_they_are_made_of() {
    let project = project(APPEND);
    let names = [
        "a b.csv",
        "a+b.csv",
        "a%20b.csv",
        "a%2Fb.csv",
        "grüße/日本.csv",
        "a//b.csv",
        "/c.csv",
        "q?x=1&y#z.csv",
        "d'e\"f.csv",
        "./g.csv",
        "h/../i.csv",
    ];
    for (id, name) in names.iter().enumerate() {
        project.drop(name, numbered([id as u64]));
    }
    project.load();
    assert_eq!(project.value("SELECT count(DISTINCT id) FROM t"), names.len().to_string());
    let mut expected: Vec<String> = names.iter().map(|name| format!("processed/<today>/{name}")).collect();
    expected.sort();
    assert_eq!(project.keys(), expected);
    for (id, name) in names.iter().enumerate() {
        let key = project.key(&format!("processed/<today>/{name}"));
        assert_eq!(project.text(&key), numbered([id as u64]), "{name}");
    }
    project.run(&["audit"]).exits(0);
    project.load();
}

#[test]
fn status_tells_what_it_knows_while_the_store_cannot_be_reached() {
    let project = project(APPEND);
    project.drop("bad.csv", "id,name\nx,a\n");
    project.load_some();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    project.write_config(&config.replace(&project.store().endpoint(), &format!("http://{closed}")));
    let ran = project.run(&["status"]).exits(1).prints("what waits is not known: ");
    for part in ["hint: look whether the store can be reached from here", "bad.csv: 1 of 1 rows does not fit"] {
        assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
    }
    let json = project.run(&["status", "--json"]).exits(1).json();
    assert!(json["bucket_error"].is_string() && json["pending_objects"].is_null(), "{json}");
    let ran = project.run(&["check"]).exits(1);
    assert!(ran.stdout.contains("hint: look whether the store can be reached from here"), "{}", ran.stdout);
}

#[test]
fn upsert_and_replace_keep_their_order() {
    let project = project("mode = \"upsert\"\nkey = [\"id\"]");
    project.drop_at("a.csv", "id,name\n1,second\n", "2026-02-02T00:00:00Z");
    project.drop_at("b.csv", "id,name\n1,first\n2,first\n", "2026-02-01T00:00:00Z");
    project.load();
    assert_eq!(project.rows(T), ["1|second", "2|first"]);
    project.configure("", &pipeline("mode = \"replace\""));
    project.drop_at("c.csv", "id,name\n1,newest\n", "2026-02-04T00:00:00Z");
    project.drop_at("d.csv", "id,name\n1,newer\n", "2026-02-03T00:00:00Z");
    project.load();
    assert_eq!(project.rows(T), ["1|newest"]);
    assert!(project.keys().iter().all(|key| key.starts_with("processed/")));
}

#[test]
fn an_object_is_loaded_again_from_the_archive() {
    let project = project(APPEND);
    project.drop("a.csv", numbered([1]));
    project.load();
    project.run(&["load", "--again", &project.key("processed/<today>/a.csv")]).exits(0);
    assert_eq!(project.rows(T), ["1|n1", "1|n1"]);
    assert_eq!(project.keys(), ["processed/<today>/a.csv"]);
}

#[test]
fn a_listing_of_many_pages_is_read_to_its_end() {
    let project = with(Settings { page: 7, ..Settings::default() }, APPEND);
    for id in 0..40 {
        project.drop(&format!("{id}.csv"), numbered([id]));
    }
    project.load();
    assert_eq!(project.value("SELECT count(*) FROM t"), "40");
    assert_eq!(project.keys().len(), 40);
}

#[test]
fn errors_of_the_store_are_survived() {
    for (operation, fault) in [
        ("ListObjectsV2", Fault::Answer(500, "InternalError")),
        ("ListObjectsV2", Fault::Reset),
        ("GetObject", Fault::Answer(503, "SlowDown")),
        ("GetObject", Fault::Truncate(1_000)),
        ("GetObject", Fault::Reset),
        ("HeadObject", Fault::Answer(500, "InternalError")),
        ("CopyObject", Fault::Answer(503, "SlowDown")),
        ("CopyObject", Fault::LoseAnswer),
        ("DeleteObject", Fault::Answer(500, "InternalError")),
        ("DeleteObject", Fault::LoseAnswer),
    ] {
        let project = project(APPEND);
        project.drop("a.csv", numbered(1..=1_000));
        project.store().inject(Request::first(operation), fault);
        project.load();
        assert_eq!(project.value("SELECT count(*), count(DISTINCT id) FROM t"), "1000|1000", "{operation}");
        assert_eq!(project.keys(), ["processed/<today>/a.csv"], "{operation}");
    }
}

#[test]
fn a_store_that_stays_down_in_mid_body_lets_the_pipeline_wait_without_a_row() {
    let project = project(APPEND);
    project.drop("a.csv", numbered(1..=1_000));
    project.store().inject(Request::every("GetObject"), Fault::Answer(500, "InternalError"));
    project.load_some().says("waits");
    assert_eq!(project.rows(T), [""; 0]);
    assert_eq!(project.keys(), ["pending/a.csv"]);
    project.store().heal();
    project.load();
    assert_eq!(project.value("SELECT count(*) FROM t"), "1000");
}

#[test]
fn a_versioned_bucket_keeps_the_versions_that_are_not_ours() {
    let project = with(Settings { versioned: true, ..Settings::default() }, APPEND);
    project.drop("a.csv", numbered([1]));
    project.drop("a.csv", numbered([2]));
    project.load();
    assert_eq!(project.rows(T), ["2|n2"]);
    let pending = project.store().versions("pending/a.csv");
    assert_eq!(pending.len(), 1, "the version that was loaded is gone for good");
    assert_eq!(pending[0].as_deref(), Some(numbered([1]).as_bytes()));
    assert_eq!(project.store().versions(&project.key("processed/<today>/a.csv")).len(), 1);
}

#[test]
fn a_store_without_conditional_requests_is_served_too() {
    let store = Settings { ignores_conditional_deletes: true, refuses_conditional_copies: true, ..Settings::default() };
    let project = with(store, APPEND);
    project.drop("a.csv", numbered([1]));
    project.drop("bad.csv", "id,name\nx,\n");
    project.load_some();
    assert_eq!(project.rows(T), ["1|n1"]);
    assert_eq!(
        project.keys(),
        ["failed/2026/01/02/bad.csv", "failed/2026/01/02/bad.csv.report.json", "processed/<today>/a.csv"]
    );
    project.run(&["check"]).exits(0).prints("warning");
}

#[test]
fn directory_markers_are_no_objects() {
    let project = Project::on(On::S3, &pipeline(APPEND).replace("**/*.csv", "**"));
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project.put("pending/", "", "2026-01-01T00:00:00Z");
    project.put("pending/sub/", "", "2026-01-01T00:00:00Z");
    project.drop("sub/a.csv", numbered([1]));
    project.load();
    assert_eq!(project.keys(), ["pending/", "pending/sub/", "processed/<today>/sub/a.csv"]);
    assert_eq!(project.ledger().len(), 1);
}

#[test]
fn objects_of_a_read_only_bucket_are_loaded_once() {
    let project = project(APPEND);
    project.configure("after = \"keep\"", &pipeline(APPEND));
    for operation in ["PutObject", "CopyObject", "DeleteObject"] {
        project.store().inject(Request::every(operation), Fault::Answer(403, "AccessDenied"));
    }
    project.drop("a.csv", numbered([1]));
    project.drop("bad.csv", "id,name\nx,\n");
    project.load_some();
    project.load();
    assert_eq!(project.rows(T), ["1|n1"]);
    assert_eq!(project.keys(), ["pending/a.csv", "pending/bad.csv"]);
}

#[test]
fn an_object_larger_than_a_part_is_loaded_and_archived() {
    let project = project(APPEND);
    let rows = (0..700_000_u64).fold("id,name\n".to_owned(), |text, id| text + &format!("{id},name of {id}\n"));
    project.drop("a.csv", &rows);
    project.store().inject(Request::first("GetObject"), Fault::Truncate(3 << 20));
    project.load();
    assert_eq!(project.value("SELECT count(*), sum(id) FROM t"), "700000|244999650000");
    assert_eq!(project.text(&project.key("processed/<today>/a.csv")).len(), rows.len());
}
