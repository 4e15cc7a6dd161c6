//! How rows enter, and in which order objects take effect.

use crate::harness::{Project, numbered};

/// A pipeline `t` for `*.csv` into `t`.
fn pipeline(settings: &str) -> String {
    format!("[[pipeline]]\nname = \"t\"\nmatch = \"**/*.csv\"\ntable = \"t\"\n{settings}\n")
}

fn project(settings: &str, table: &str) -> Project {
    let project = Project::new(&pipeline(settings));
    project.sql(table);
    project
}

const TABLE: &str = "CREATE TABLE t (id INTEGER, name VARCHAR)";
const APPEND: &str = "mode = \"append\"";
const UPSERT: &str = "mode = \"upsert\"\nkey = [\"id\"]";
const ORDERED: &str = "mode = \"upsert\"\nkey = [\"id\"]\norder_by = \"ts\"";
const REPLACE: &str = "mode = \"replace\"";
const T: &str = "SELECT * FROM t ORDER BY ALL";

#[test]
fn append_adds_every_row_of_every_object() {
    let project = project(APPEND, TABLE);
    project.drop("1.csv", "id,name\n1,a\n1,a\n");
    project.drop("2.csv", "id,name\n1,a\n2,\n");
    project.load();
    assert_eq!(project.rows(T), ["1|a", "1|a", "1|a", "2|-"]);
}

#[test]
fn upsert_by_a_composite_key_updates_and_inserts() {
    let project =
        project("mode = \"upsert\"\nkey = [\"a\", \"B\"]", "CREATE TABLE t (a INTEGER, b VARCHAR, v INTEGER)");
    project.sql("INSERT INTO t VALUES (1, 'x', 0), (1, 'y', 0), (2, 'x', 0)");
    project.drop("1.csv", "v,a,b\n7,1,y\n8,2,y\n");
    project.load();
    assert_eq!(project.rows(T), ["1|x|0", "1|y|7", "2|x|0", "2|y|8"]);
}

#[test]
fn the_last_row_of_a_key_wins_within_an_object_and_the_others_are_counted() {
    let project = project(UPSERT, TABLE);
    project.drop("1.csv", "id,name\n1,a\n2,b\n1,c\n1,d\n");
    project.load();
    assert_eq!(project.rows(T), ["1|d", "2|b"]);
    assert_eq!(project.ledger(), ["pending/1.csv|1|load|4|2|0|2|0|on time"]);
}

#[test]
fn a_null_in_the_key_is_a_reject() {
    let project = project(&format!("{UPSERT}\nmax_rejects = 1"), TABLE);
    project.drop("1.csv", "id,name\n1,a\n,b\n");
    project.load();
    assert_eq!(project.rows(T), ["1|a"]);
    assert_eq!(project.ledger(), ["pending/1.csv|1|load|2|1|1|0|0|on time"]);
}

#[test]
fn the_greatest_order_by_wins_and_the_later_row_on_a_tie() {
    let project = project(ORDERED, "CREATE TABLE t (id INTEGER, ts INTEGER, name VARCHAR)");
    project.drop("1.csv", "id,ts,name\n1,5,five\n1,4,four\n2,3,first\n2,3,second\n3,,null\n3,1,one\n");
    project.load();
    assert_eq!(project.rows(T), ["1|5|five", "2|3|second", "3|1|one"]);
    assert_eq!(project.ledger(), ["pending/1.csv|1|load|6|3|0|3|0|on time"]);
}

#[test]
fn order_by_guards_the_target_too() {
    let project = project(ORDERED, "CREATE TABLE t (id INTEGER, ts INTEGER, name VARCHAR)");
    project.sql("INSERT INTO t VALUES (1, 5, 'old'), (2, 5, 'old'), (3, NULL, 'old'), (4, 5, 'old')");
    project.drop("1.csv", "id,ts,name\n1,4,new\n2,5,new\n3,1,new\n4,,new\n");
    project.load();
    assert_eq!(project.rows(T), ["1|5|old", "2|5|new", "3|1|new", "4|5|old"]);
    assert_eq!(project.ledger(), ["pending/1.csv|1|load|4|2|0|0|2|on time"]);
}

#[test]
fn a_late_object_with_order_by_does_no_harm() {
    let project = project(ORDERED, "CREATE TABLE t (id INTEGER, ts INTEGER, name VARCHAR)");
    project.drop_at("new.csv", "id,ts,name\n1,2,new\n", "2026-02-02T00:00:00Z");
    project.load();
    project.drop_at("old.csv", "id,ts,name\n1,1,old\n2,1,old\n", "2026-02-01T00:00:00Z");
    project.load();
    assert_eq!(project.rows(T), ["1|2|new", "2|1|old"]);
}

#[test]
fn pending_objects_take_effect_in_the_order_of_last_modified_and_key() {
    let project = project(UPSERT, TABLE);
    project.drop_at("a.csv", "id,name\n1,second\n2,second\n", "2026-02-02T00:00:00Z");
    project.drop_at("z.csv", "id,name\n1,first\n3,first\n", "2026-02-01T00:00:00Z");
    project.drop_at("c.csv", "id,name\n2,fourth\n", "2026-02-03T00:00:00Z");
    project.drop_at("b.csv", "id,name\n2,third\n3,third\n", "2026-02-03T00:00:00Z");
    project.load();
    assert_eq!(project.rows(T), ["1|second", "2|fourth", "3|third"]);
}

#[test]
fn a_late_object_loads_and_is_marked() {
    let project = project(UPSERT, TABLE);
    project.drop_at("new.csv", "id,name\n1,new\n", "2026-02-02T00:00:00Z");
    project.load();
    project.drop_at("old.csv", "id,name\n1,old\n", "2026-02-01T00:00:00Z");
    project.load().says("`pending/old.csv` came late");
    assert_eq!(project.rows(T), ["1|old"]);
    assert_eq!(project.ledger(), ["pending/new.csv|1|load|1|1|0|0|0|on time", "pending/old.csv|1|load|1|1|0|0|0|late"]);
}

#[test]
fn a_late_object_fails_where_the_pipeline_says_so() {
    let project = project(&format!("{UPSERT}\nlate = \"fail\""), TABLE);
    project.drop_at("new.csv", "id,name\n1,new\n", "2026-02-02T00:00:00Z");
    project.load();
    project.drop_at("old.csv", "id,name\n1,old\n", "2026-02-01T00:00:00Z");
    project.load_some().says("is older than `pending/new.csv`");
    assert_eq!(project.rows(T), ["1|new"]);
    assert_eq!(
        project.keys(),
        ["failed/2026/02/01/old.csv", "failed/2026/02/01/old.csv.report.json", "processed/<today>/new.csv"]
    );
}

#[test]
fn replace_makes_the_newest_object_the_table() {
    let project = project(REPLACE, TABLE);
    project.sql("INSERT INTO t VALUES (9, 'before')");
    project.drop("1.csv", "id,name\n1,first\n");
    project.drop("2.csv", "id,name\n2,second\n");
    project.drop("3.csv", "id,name\n3,third\n");
    project.load();
    assert_eq!(project.rows(T), ["3|third"]);
    assert_eq!(
        project.ledger(),
        [
            "pending/1.csv|1|superseded|0|0|0|0|0|on time",
            "pending/2.csv|1|superseded|0|0|0|0|0|on time",
            "pending/3.csv|1|load|1|1|0|0|0|on time"
        ]
    );
    assert_eq!(project.keys(), ["processed/<today>/1.csv", "processed/<today>/2.csv", "processed/<today>/3.csv"]);
}

#[test]
fn replace_with_more_objects_than_a_group_holds_applies_the_newest() {
    let project = project(&format!("{REPLACE}\ngroup = {{ objects = 2 }}"), TABLE);
    for id in 1..=7 {
        project.drop(&format!("{id}.csv"), numbered([id]));
    }
    project.load();
    assert_eq!(project.rows(T), ["7|n7"]);
    assert_eq!(project.value("SELECT count(*) FROM longshore.ledger WHERE kind = 'superseded'"), "6");
}

#[test]
fn replace_falls_back_to_the_newest_object_that_is_good() {
    let project = project(REPLACE, TABLE);
    project.drop("1.csv", "id,name\n1,first\n");
    project.drop("2.csv", "id,name\n2,second\n");
    project.drop("3.csv", "id,name\nx,third\n");
    project.load_some();
    assert_eq!(project.rows(T), ["2|second"]);
    assert_eq!(
        project.ledger(),
        ["pending/1.csv|1|superseded|0|0|0|0|0|on time", "pending/2.csv|1|load|1|1|0|0|0|on time"]
    );
    project.load();
}

#[test]
fn a_late_replace_object_is_never_applied() {
    let project = project(REPLACE, TABLE);
    project.drop_at("new.csv", "id,name\n1,new\n", "2026-02-02T00:00:00Z");
    project.load();
    project.drop_at("old.csv", "id,name\n1,old\n", "2026-02-01T00:00:00Z");
    project.load().says("superseded `pending/old.csv`");
    assert_eq!(project.rows(T), ["1|new"]);
    assert_eq!(project.keys(), ["processed/<today>/new.csv", "processed/<today>/old.csv"]);
}

#[test]
fn replace_with_no_rows_is_refused_unless_that_is_allowed() {
    let project = project(REPLACE, TABLE);
    project.sql("INSERT INTO t VALUES (1, 'there')");
    project.drop("empty.csv", "id,name\n");
    project.load_some().says("`replace` would empty the table").says("allow_empty");
    assert_eq!(project.rows(T), ["1|there"]);
    project.configure("", &pipeline(&format!("{REPLACE}\nallow_empty = true")));
    project.run(&["retry", "pending/empty.csv"]).exits(0);
    assert_eq!(project.rows(T), [""; 0]);
    assert_eq!(project.keys(), ["processed/<today>/empty.csv"]);
}

#[test]
fn small_objects_share_a_load() {
    let project = project(APPEND, TABLE);
    for id in 1..=5 {
        project.drop(&format!("{id}.csv"), numbered([id]));
    }
    project.load();
    assert_eq!(project.value("SELECT count(DISTINCT load_id) || ' of ' || count(*) FROM longshore.ledger"), "1 of 5");
    assert_eq!(project.value("SELECT count(*) FROM t"), "5");
}

#[test]
fn a_group_has_no_more_objects_and_bytes_than_the_pipeline_allows() {
    let project = project(&format!("{APPEND}\ngroup = {{ objects = 2 }}"), TABLE);
    for id in 1..=5 {
        project.drop(&format!("{id}.csv"), numbered([id]));
    }
    project.load();
    assert_eq!(project.value("SELECT count(DISTINCT load_id) FROM longshore.ledger"), "3");
    project.configure("", &pipeline(&format!("{APPEND}\ngroup = {{ bytes = 30 }}")));
    for id in 6..=9 {
        project.drop(&format!("{id}.csv"), numbered([id]));
    }
    project.load();
    assert_eq!(project.value("SELECT count(DISTINCT load_id) FROM longshore.ledger"), "5");
    assert_eq!(project.value("SELECT count(*) FROM t"), "9");
}

#[test]
fn a_bad_object_does_not_hold_back_the_others_of_its_group() {
    for mode in [APPEND, UPSERT] {
        let project = project(mode, TABLE);
        project.drop("1.csv", numbered([1]));
        project.drop("2.csv", "id,name\nx,bad\n");
        project.drop("3.csv", numbered([3]));
        project.load_some();
        assert_eq!(project.rows(T), ["1|n1", "3|n3"]);
        assert_eq!(
            project.keys(),
            [
                "failed/2026/01/02/2.csv",
                "failed/2026/01/02/2.csv.report.json",
                "processed/<today>/1.csv",
                "processed/<today>/3.csv"
            ]
        );
        project.load();
    }
}

#[test]
fn an_object_that_a_constraint_refuses_does_not_hold_back_the_others_of_its_group() {
    for mode in [APPEND, UPSERT] {
        let project = project(mode, "CREATE TABLE t (id INTEGER CHECK (id < 100), name VARCHAR)");
        project.drop("1.csv", numbered([1]));
        project.drop("2.csv", numbered([2, 200]));
        project.drop("3.csv", numbered([3]));
        project.drop("4.csv", numbered([400]));
        project.drop("5.csv", numbered([5]));
        project.load_some();
        assert_eq!(project.rows(T), ["1|n1", "3|n3", "5|n5"], "{mode}");
        let failed: Vec<String> = project.keys().into_iter().filter(|key| key.starts_with("failed/")).collect();
        assert_eq!(
            failed,
            [
                "failed/2026/01/02/2.csv",
                "failed/2026/01/02/2.csv.report.json",
                "failed/2026/01/02/4.csv",
                "failed/2026/01/02/4.csv.report.json"
            ]
        );
    }
}

#[test]
fn an_object_with_other_columns_leaves_the_group() {
    for (mode, loads) in [(APPEND, "2"), (UPSERT, "3")] {
        let project = project(mode, "CREATE TABLE t (id INTEGER, name VARCHAR, age INTEGER)");
        project.drop("1.csv", "id,name\n1,a\n");
        project.drop("2.csv", "id,age\n1,2\n2,2\n");
        project.drop("3.csv", "name,id\nc,2\n");
        project.load();
        let expected: &[&str] =
            if mode == APPEND { &["1|a|-", "1|-|2", "2|c|-", "2|-|2"] } else { &["1|a|2", "2|c|2"] };
        assert_eq!(project.rows(T), expected);
        assert_eq!(project.value("SELECT count(DISTINCT load_id) FROM longshore.ledger"), loads, "{mode}");
    }
}

#[test]
fn an_object_over_eight_mebibytes_leaves_the_group() {
    let project = project(&format!("{UPSERT}\ngroup = {{ bytes = \"64 MiB\" }}"), TABLE);
    let large = (0..300_000_u64)
        .fold("id,name\n".to_owned(), |text, id| text + &format!("{id},large and long enough to matter\n"));
    assert!(large.len() > 9 << 20);
    project.drop("1.csv", "id,name\n1,first\n2,first\n");
    project.drop("2.csv", large);
    project.drop("3.csv", "id,name\n1,third\n");
    project.load();
    assert_eq!(
        project.rows("SELECT * FROM t WHERE id < 3 ORDER BY id"),
        ["0|large and long enough to matter", "1|third", "2|large and long enough to matter"]
    );
    assert_eq!(project.value("SELECT count(*) FROM t"), "300000");
    assert_eq!(project.value("SELECT count(DISTINCT load_id) FROM longshore.ledger"), "3");
}

#[test]
fn several_pipelines_on_one_table_keep_the_order() {
    let pipelines = "
[[pipeline]]
name = \"full\"\nmatch = \"full-*.csv\"\ntable = \"main.t\"\nmode = \"replace\"
[[pipeline]]
name = \"changes\"\nmatch = \"changes-*.csv\"\ntable = \"main.T\"\nmode = \"upsert\"\nkey = [\"id\"]";
    let project = Project::new(pipelines);
    project.sql(TABLE);
    project.drop("full-1.csv", "id,name\n1,full1\n2,full1\n");
    project.drop("changes-1.csv", "id,name\n1,changed1\n");
    project.drop("full-2.csv", "id,name\n1,full2\n2,full2\n3,full2\n");
    project.drop("changes-2.csv", "id,name\n3,changed2\n4,changed2\n");
    project.load();
    assert_eq!(project.rows(T), ["1|full2", "2|full2", "3|changed2", "4|changed2"]);
    assert!(project.keys().iter().all(|key| key.starts_with("processed/")));
}

#[test]
fn a_repeat_is_skipped_by_append_and_reported() {
    let project = project(APPEND, TABLE);
    project.drop("1.csv", numbered([1]));
    project.load();
    project.drop("1.csv", numbered([1]));
    project.load().says("skipped `pending/1.csv`");
    assert_eq!(project.rows(T), ["1|n1"]);
    assert_eq!(
        project.ledger(),
        ["pending/1.csv|1|load|1|1|0|0|0|on time", "pending/1.csv|1|repeat|0|0|0|0|0|on time"]
    );
    assert_eq!(project.keys(), ["processed/<today>/1-<id>.csv", "processed/<today>/1.csv"]);
}

#[test]
fn a_repeat_in_a_group_is_skipped_and_the_others_load() {
    let project = project(APPEND, TABLE);
    project.drop("1.csv", numbered([1]));
    project.load();
    project.drop("1.csv", numbered([1]));
    project.drop("2.csv", numbered([2]));
    project.load();
    assert_eq!(project.rows(T), ["1|n1", "2|n2"]);
}

#[test]
fn a_repeat_is_loaded_where_the_pipeline_says_so() {
    let project = project(&format!("{APPEND}\nrepeat = \"load\""), TABLE);
    for _ in 0..2 {
        project.drop("1.csv", numbered([1]));
        project.load();
    }
    assert_eq!(project.rows(T), ["1|n1", "1|n1"]);
}

#[test]
fn a_repeat_fails_where_the_pipeline_says_so() {
    let project = project(&format!("{UPSERT}\nrepeat = \"fail\""), TABLE);
    project.drop("1.csv", numbered([1]));
    project.load();
    project.drop("1.csv", numbered([1]));
    project.load_some().says("has the same key and the same bytes");
    assert!(project.keys().contains(&"failed/2026/01/02/1.csv".to_owned()));
}

#[test]
fn the_same_key_with_other_bytes_is_no_repeat_and_neither_are_the_same_bytes_under_another_key() {
    let project = project(APPEND, TABLE);
    project.drop("1.csv", numbered([1]));
    project.load();
    project.drop("1.csv", numbered([2]));
    project.drop("2.csv", numbered([1]));
    project.load();
    assert_eq!(project.rows(T), ["1|n1", "1|n1", "2|n2"]);
}

#[test]
fn load_again_loads_an_archived_object_as_the_next_generation() {
    let project = project(APPEND, TABLE);
    project.drop("1.csv", numbered([1]));
    project.load();
    let key = project.key("processed/<today>/1.csv");
    project.run(&["load", "--again", &key]).exits(0);
    project.run(&["load", "--again", &key]).exits(0);
    assert_eq!(project.rows(T), ["1|n1", "1|n1", "1|n1"]);
    let kinds = "SELECT generation, kind, count(DISTINCT identity) OVER () FROM longshore.ledger ORDER BY 1";
    assert_eq!(project.rows(kinds), ["1|load|1", "2|load|1", "3|load|1"]);
    assert_eq!(project.keys(), ["processed/<today>/1.csv"]);
    project.run(&["audit"]).exits(0);
}

#[test]
fn load_again_is_exempt_from_late() {
    for settings in [REPLACE.to_owned(), format!("{UPSERT}\nlate = \"fail\"")] {
        let project = project(&settings, TABLE);
        project.drop("1.csv", "id,name\n1,first\n");
        project.load();
        project.drop("2.csv", "id,name\n1,second\n");
        project.load();
        let key = project.key("processed/<today>/1.csv");
        project.run(&["load", "--again", &key]).exits(0);
        assert_eq!(project.rows(T), ["1|first"], "{settings}");
    }
}

#[test]
fn load_again_finds_an_object_without_the_journal() {
    let project = project(APPEND, TABLE);
    project.drop("1.csv", numbered([1]));
    project.drop("2.csv", numbered([2]));
    project.load();
    std::fs::remove_dir_all(project.path(".longshore")).unwrap();
    project.run(&["load", "--again", &project.key("processed/<today>/2.csv")]).exits(0);
    assert_eq!(project.rows(T), ["1|n1", "2|n2", "2|n2"]);
}

#[test]
fn load_again_of_something_that_was_not_loaded_says_so() {
    let project = project(APPEND, TABLE);
    project.load();
    project.run(&["load", "--again", "processed/1.csv"]).exits(2).says("there is no `").says("hint: ");
}

#[test]
fn load_takes_only_the_keys_that_it_is_given() {
    let project = project(APPEND, TABLE);
    for id in 1..=3 {
        project.drop(&format!("{id}.csv"), numbered([id]));
    }
    project.run(&["load", "pending/1.csv", "pending/3.csv"]).exits(0);
    assert_eq!(project.rows(T), ["1|n1", "3|n3"]);
    project.run(&["load", "2.csv"]).exits(2).says("`2.csv` does not lie in `pending/`");
    project.run(&["load", "pending/9.csv"]).exits(2).says("there is no `");
}

#[test]
fn load_of_an_object_of_no_pipeline_is_not_done() {
    let project = project(APPEND, TABLE);
    project.drop("1.txt", "");
    project.run(&["load", "pending/1.txt"]).exits(1).says("matches no pipeline");
}

#[test]
fn columns_that_the_object_lacks_keep_their_values() {
    let project = project(UPSERT, "CREATE TABLE t (id INTEGER, name VARCHAR, age INTEGER DEFAULT 7)");
    project.sql("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)");
    project.drop("1.csv", "id,name\n1,A\n3,C\n");
    project.load();
    assert_eq!(project.rows(T), ["1|A|1", "2|b|2", "3|C|7"]);
}

#[test]
fn columns_are_filled_from_constants_captures_and_what_is_known_of_the_row() {
    let pipeline = r#"
[[pipeline]]
name = "sales"
regex = '^(?<region>[a-z]+)/(?<day>\d{4}-\d\d-\d\d)\.csv$'
table = "sales"
mode = "append"
[pipeline.fill]
source = "shop"
region = { capture = "region" }
day = { capture = "day" }
object = { metadata = "_longshore_object" }
line = { metadata = "_longshore_line" }
load_id = { metadata = "_longshore_load_id" }
loaded_at = { metadata = "_longshore_loaded_at" }
"#;
    let project = Project::new(pipeline);
    project.sql(
        "CREATE TABLE sales (id INTEGER, region VARCHAR, day DATE, source VARCHAR, object VARCHAR, line BIGINT,
           load_id VARCHAR, loaded_at TIMESTAMPTZ)",
    );
    project.drop("north/2026-01-31.csv", "id\n1\n\n2\n");
    project.drop("south/2026-02-01.csv", "id\n3\n");
    project.load();
    assert_eq!(
        project.rows("SELECT id, region, day, source, object, line FROM sales ORDER BY id"),
        [
            "1|north|2026-01-31|shop|pending/north/2026-01-31.csv|2",
            "2|north|2026-01-31|shop|pending/north/2026-01-31.csv|4",
            "3|south|2026-02-01|shop|pending/south/2026-02-01.csv|2"
        ]
    );
    let same = "SELECT count(*) FROM sales s JOIN longshore.ledger l ON s.load_id = l.load_id AND s.object = l.key
                WHERE s.loaded_at = l.loaded_at";
    assert_eq!(project.value(same), "3");
}

#[test]
fn a_fill_that_does_not_fit_its_column_lets_the_pipeline_wait() {
    let project = project(&format!("{APPEND}\nfill = {{ id = \"many\" }}"), TABLE);
    project.drop("1.csv", "name\na\n");
    let ran = project.load_some();
    ran.says("`id`").says("hint: ");
    assert_eq!(project.keys(), ["pending/1.csv"]);
}

#[test]
fn every_entry_of_the_ledger_accounts_for_its_rows() {
    let project =
        project(&format!("{ORDERED}\nmax_rejects = 5"), "CREATE TABLE t (id INTEGER, ts INTEGER, name VARCHAR)");
    project.sql("INSERT INTO t VALUES (1, 9, 'there')");
    project.drop("1.csv", "id,ts,name\n1,1,lost\n2,1,a\n2,2,b\nx,1,c\n\n,1,d\n");
    project.drop("2.csv", "id,ts,name\n2,3,e\n3,1,f\n");
    project.load();
    assert_eq!(project.rows(T), ["1|9|there", "2|3|e", "3|1|f"]);
    let sums = "SELECT key, rows_read, rows_loaded + rows_rejected + rows_duplicate + rows_superseded
                FROM longshore.ledger ORDER BY key";
    assert_eq!(project.rows(sums), ["pending/1.csv|5|5", "pending/2.csv|2|2"]);
    assert_eq!(project.value("SELECT sum(rows_loaded) FROM longshore.ledger"), "2");
}

#[test]
fn an_object_without_the_column_that_orders_fails_alone() {
    let project = Project::new(
        "[[pipeline]]\nname = \"p\"\nmatch = \"*.csv\"\ntable = \"t\"\nmode = \"upsert\"\nkey = [\"a\"]\norder_by = \"b\"\n",
    );
    project.sql("CREATE TABLE t (a INTEGER, b INTEGER)");
    project.drop("1.csv", "a\n1\n");
    project.drop("2.csv", "a,b\n2,2\n");
    project.load_some().says("column `b` has to be loaded but is missing");
    assert_eq!(project.rows("SELECT a, b FROM t"), ["2|2"]);
}

#[test]
fn an_object_whose_key_fits_no_column_fails_alone() {
    let project = Project::new(
        "[[pipeline]]\nname = \"p\"\nregex = '^o-(?<day>[0-9-]+)\\.csv$'\ntable = \"t\"\nmode = \"append\"\nfill = { day = { capture = \"day\" } }\n",
    );
    project.sql("CREATE TABLE t (a INTEGER, day DATE)");
    project.drop("o-2026-01-99.csv", "a\n1\n");
    project.drop("o-2026-01-02.csv", "a\n2\n");
    project.drop("o-2026-01-03.csv", "a\n3\n");
    project.load_some().says("its key cannot fill column `day`");
    assert_eq!(project.rows("SELECT a FROM t ORDER BY a"), ["2", "3"]);
}

#[test]
fn who_names_a_key_gets_what_comes_before_it_first_where_order_matters() {
    let project = project(UPSERT, TABLE);
    project.drop_at("1.csv", "id,name\n1,old\n2,kept\n", "2026-01-01T00:00:00Z");
    project.drop_at("2.csv", "id,name\n1,new\n", "2026-01-02T00:00:00Z");
    project.drop_at("3.csv", "id,name\n1,later\n", "2026-01-03T00:00:00Z");
    project.run(&["load", "pending/2.csv"]).exits(0);
    assert_eq!(project.rows(T), ["1|new", "2|kept"]);
    assert_eq!(project.ledger(), ["pending/1.csv|1|load|2|1|0|1|0|on time", "pending/2.csv|1|load|1|1|0|0|0|on time"]);
    assert!(project.body("pending/3.csv").is_some());
}

#[test]
fn who_names_a_key_gets_that_one_alone_where_order_does_not_matter() {
    let project = project(APPEND, TABLE);
    project.drop("1.csv", "id,name\n1,a\n");
    project.drop("2.csv", "id,name\n2,b\n");
    project.drop("3.csv", "id,name\n3,c\n");
    // Queued together in one task, which waits.
    project.run(&["pause", "t"]).exits(0);
    project.run(&["run", "--once"]).exits(1).says("paused by an operator");
    project.run(&["resume", "t"]).exits(0);
    project.run(&["load", "pending/2.csv"]).exits(0);
    assert_eq!(project.rows(T), ["2|b"]);
    project.load();
    assert_eq!(project.rows(T), ["1|a", "2|b", "3|c"]);
}

#[test]
fn a_repeat_is_told_as_skipped() {
    let project = project(APPEND, TABLE);
    for _ in 0..2 {
        project.drop("1.csv", "id,name\n1,a\n");
        project.load();
    }
    assert_eq!(project.rows(T), ["1|a"]);
    project.run(&["status"]).exits(0).prints("t  skipped  1 object, 0 rows");
}

#[test]
fn a_backlog_beyond_what_is_queued_at_once_is_brought_in_whole() {
    for (mode, at_most) in [(APPEND, "3"), (APPEND, "4"), (UPSERT, "3"), (UPSERT, "12"), (UPSERT, "13")] {
        let project = project(mode, TABLE);
        for id in 1..=12 {
            project.drop(&format!("{id:02}.csv"), numbered([id]));
        }
        let ran = project.run_with(&["run", "--once"], &[("LONGSHORE_QUEUE_AT_MOST", at_most)]).exits(0);
        assert!(ran.stdout.starts_with("12 objects loaded, 12 rows"), "{mode} {at_most} {ran:?}");
        assert_eq!(project.value("SELECT count(*) FROM t"), "12");
    }
}
