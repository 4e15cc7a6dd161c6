//! The recipe that Longshore was made for: a header-less file of passengers, upserted by key, and
//! moved out of the way.

use jiff::Timestamp;

use crate::harness::{Project, in_words};

const PIPELINE: &str = r#"
[[pipeline]]
name = "titanic"
match = "kaggle-titanic-*.csv"
table = "titanic"
mode = "upsert"
key = ["PasengerId"]
csv = { header = false }
"#;

/// Twelve columns of the types that such a file has; the key is spelled as people spell it.
const TABLE: &str = r#"CREATE TABLE titanic (
    "PasengerId" INTEGER, "Survived" INTEGER, "Pclass" INTEGER, "Name" VARCHAR(255), "Sex" VARCHAR(6),
    "Age" DOUBLE, "SibSp" INTEGER, "Parch" INTEGER, "Ticket" VARCHAR(30), "Fare" DECIMAL(8, 4),
    "Cabin" VARCHAR(30), "Embarked" VARCHAR(1))"#;

/// A passenger of our own making.
fn passenger(id: u32, survived: u32) -> String {
    let (sex, age) =
        if id.is_multiple_of(2) { ("female", format!("{}.5", 20 + id % 50)) } else { ("male", String::new()) };
    format!(
        "{id},{survived},{},\"Doe, Mr. \"\"Nr\"\" {id}\",{sex},{age},{},0,T {id},{}.25,{},S\n",
        1 + id % 3,
        id % 4,
        7 + id,
        if id.is_multiple_of(5) { "C85" } else { "" }
    )
}

fn passengers(ids: impl IntoIterator<Item = u32>, survived: u32) -> String {
    ids.into_iter().map(|id| passenger(id, survived)).collect()
}

#[test]
fn a_headerless_file_is_upserted_and_archived() {
    let project = Project::new(PIPELINE);
    project.sql(TABLE);
    project.drop("kaggle-titanic-train.csv", passengers(1..=891, 0));
    project.load();
    assert_eq!(project.value("SELECT count(*) FROM titanic"), "891");
    let rows = project.rows(r#"SELECT * FROM titanic WHERE "PasengerId" IN (9, 10) ORDER BY 1"#);
    assert_eq!(
        rows,
        [
            r#"9|0|1|Doe, Mr. "Nr" 9|male|-|1|0|T 9|16.2500|-|S"#,
            r#"10|0|2|Doe, Mr. "Nr" 10|female|30.5|2|0|T 10|17.2500|C85|S"#
        ]
    );
    assert_eq!(project.keys(), ["processed/<today>/kaggle-titanic-train.csv"]);
    assert_eq!(project.text(&project.key("processed/<today>/kaggle-titanic-train.csv")), passengers(1..=891, 0));
}

#[test]
fn a_second_drop_of_the_same_name_updates_exactly_its_rows() {
    let project = Project::new(PIPELINE);
    project.sql(TABLE);
    project.drop("kaggle-titanic-train.csv", passengers(1..=100, 0));
    project.load();
    project.drop("kaggle-titanic-train.csv", passengers(51..=120, 1));
    project.load();
    let counts =
        r#"SELECT "Survived", count(*), min("PasengerId"), max("PasengerId") FROM titanic GROUP BY 1 ORDER BY 1"#;
    assert_eq!(project.rows(counts), ["0|50|1|50", "1|70|51|120"]);
    assert_eq!(
        project.keys(),
        ["processed/<today>/kaggle-titanic-train-<id>.csv", "processed/<today>/kaggle-titanic-train.csv"]
    );
    assert_eq!(
        project.ledger(),
        [
            "pending/kaggle-titanic-train.csv|1|load|70|70|0|0|0|on time",
            "pending/kaggle-titanic-train.csv|1|load|100|100|0|0|0|on time"
        ]
    );
}

#[test]
fn the_archive_key_is_the_one_of_the_ledger_with_the_date_of_the_load() {
    let project = Project::new(PIPELINE);
    project.sql(TABLE);
    project.drop("kaggle-titanic-train.csv", passengers(1..=3, 0));
    project.load();
    let entry = project
        .value("SELECT archive_key || ' ' || strftime(loaded_at AT TIME ZONE 'UTC', '%Y/%m/%d') FROM longshore.ledger");
    let (key, date) = entry.split_once(' ').unwrap();
    assert_eq!(key, format!("processed/{date}/kaggle-titanic-train.csv"));
    assert_eq!(project.raw_keys(), [key]);
    let loaded_at: Timestamp = project
        .value("SELECT strftime(loaded_at AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') FROM longshore.ledger")
        .parse()
        .unwrap();
    assert!(Timestamp::now().duration_since(loaded_at).as_secs().abs() < 600);
}

#[test]
fn only_pending_at_the_start_of_a_key_is_replaced() {
    let project = Project::new(
        r#"
[[pipeline]]
name = "orders"
match = "**/*orders.csv"
table = "orders"
mode = "append"
"#,
    );
    project.sql("CREATE TABLE orders (id INTEGER)");
    project.drop("pending_orders.csv", "id\n1\n");
    project.drop("a/pending/b_orders.csv", "id\n2\n");
    project.load();
    assert_eq!(project.keys(), ["processed/<today>/a/pending/b_orders.csv", "processed/<today>/pending_orders.csv"]);
}

#[test]
fn what_is_printed_says_what_was_loaded() {
    let project = Project::new(PIPELINE);
    project.sql(TABLE);
    project.drop("kaggle-titanic-train.csv", passengers(1..=3, 0));
    let ran = project.load();
    insta::assert_snapshot!(ran.stdout, @"1 object loaded, 3 rows");
    let said = regex::Regex::new(r"\d+\.\d\d s").unwrap().replace(&ran.stderr, "N s").into_owned();
    insta::assert_snapshot!(in_words(&said), @"loaded `pending/kaggle-titanic-train.csv` into `main.titanic`: 3 rows (N s)");
    let ran = project.load();
    insta::assert_snapshot!(ran.stdout, @"nothing to load");
    insta::assert_snapshot!(ran.stderr, @"");
}
