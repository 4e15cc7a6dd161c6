//! Append, upsert, replace.

use super::*;
use crate::{Committed, EntryKind, Kind, Mode};

const COLUMNS: &[&str] = &["id", "name", "n"];

async fn people(bench: &dyn Bench, constraints: &str) {
    let create = format!("CREATE TABLE people (id INTEGER{constraints}, name VARCHAR, n INTEGER)");
    bench.execute(&create).await;
}

/// Equal rows are rows all the same.
pub async fn append_adds_every_row(bench: &dyn Bench) {
    people(bench, "").await;
    load(bench, "people", Mode::Append, COLUMNS, &[object("a", 1, &["1|ann|1", "1|ann|1"])]).await;
    let receipt = load(bench, "people", Mode::Append, COLUMNS, &[object("b", 2, &["1|ann|1"])]).await;
    assert_eq!(receipt.rows_replaced, 0);
    assert_eq!(table_rows(bench, "people", "id, name, n").await, ["1|ann|1"; 3]);
}

/// Rows of a known key are replaced, the others stay or are added.
pub async fn upsert_replaces_by_key_and_adds_the_rest(bench: &dyn Bench) {
    people(bench, "").await;
    let mode = upsert(&["id"]);
    load(bench, "people", mode.clone(), COLUMNS, &[object("a", 1, &["1|ann|1", "2|bob|1"])]).await;
    let receipt = load(bench, "people", mode, COLUMNS, &[object("b", 2, &[r"2|\N|2", "3|cy|2"])]).await;
    assert_eq!(receipt.rows_replaced, 1);
    assert_eq!(receipt.entries[0].rows_loaded, 2);
    assert_eq!(table_rows(bench, "people", "id, name, n").await, ["1|ann|1", r"2|\N|2", "3|cy|2"]);
}

/// Within an object the last row of a key wins.
pub async fn upsert_takes_the_last_row_of_a_key(bench: &dyn Bench) {
    people(bench, "").await;
    let rows = ["1|first|1", "2|only|1", "1|second|9", "1|third|0"];
    let receipt = load(bench, "people", upsert(&["id"]), COLUMNS, &[object("a", 1, &rows)]).await;
    let entry = &receipt.entries[0];
    assert_eq!((entry.rows_loaded, entry.rows_duplicate, entry.rows_superseded), (2, 2, 0));
    assert_eq!(table_rows(bench, "people", "id, name, n").await, ["1|third|0", "2|only|1"]);
}

/// Across the objects of a load the last object wins.
pub async fn upsert_takes_the_last_row_across_objects(bench: &dyn Bench) {
    people(bench, "").await;
    let objects = [
        object("a", 1, &["1|a|1", "2|a|1", "3|a|1"]),
        object("b", 2, &["1|b|1", "4|b|1"]),
        object("c", 3, &["4|c|1", "1|c|1"]),
    ];
    let receipt = load(bench, "people", upsert(&["id"]), COLUMNS, &objects).await;
    let counts: Vec<_> = receipt.entries.iter().map(|entry| (entry.rows_loaded, entry.rows_duplicate)).collect();
    assert_eq!(counts, [(2, 1), (0, 2), (2, 0)]);
    assert_eq!(table_rows(bench, "people", "id, name").await, ["1|c", "2|a", "3|a", "4|c"]);
}

/// All columns of the key have to agree.
pub async fn upsert_by_a_composite_key(bench: &dyn Bench) {
    people(bench, "").await;
    let mode = upsert(&["id", "name"]);
    let first = object("a", 1, &["1|x|1", "1|y|1", "2|x|1"]);
    load(bench, "people", mode.clone(), COLUMNS, &[first]).await;
    let second = object("b", 2, &["1|y|2", "2|y|2", "1|y|3"]);
    let receipt = load(bench, "people", mode, COLUMNS, &[second]).await;
    assert_eq!((receipt.entries[0].rows_loaded, receipt.entries[0].rows_duplicate), (2, 1));
    let rows = table_rows(bench, "people", "id, name, n").await;
    assert_eq!(rows, ["1|x|1", "1|y|3", "2|x|1", "2|y|2"]);
}

/// A column that the object does not bring is not reset.
pub async fn upsert_keeps_columns_that_the_object_lacks(bench: &dyn Bench) {
    people(bench, "").await;
    let mode = upsert(&["id"]);
    load(bench, "people", mode.clone(), COLUMNS, &[object("a", 1, &["1|ann|5", "2|bob|6"])]).await;
    let second = object("b", 2, &["cy|3", "BOB|2"]);
    let receipt = load(bench, "people", mode, &["name", "id"], &[second]).await;
    assert_eq!(receipt.rows_replaced, 1);
    let rows = table_rows(bench, "people", "id, name, n").await;
    assert_eq!(rows, ["1|ann|5", "2|BOB|6", r"3|cy|\N"]);
}

/// New rows get the defaults of columns that the object does not bring, in every mode.
pub async fn upsert_fills_defaults_of_new_rows(bench: &dyn Bench) {
    bench.execute("CREATE TABLE people (id INTEGER, name VARCHAR DEFAULT 'nobody', n INTEGER DEFAULT 7)").await;
    load(bench, "people", upsert(&["id"]), &["id"], &[object("a", 1, &["1"])]).await;
    load(bench, "people", Mode::Append, &["id", "n"], &[object("b", 2, &[r"2|\N"])]).await;
    assert_eq!(table_rows(bench, "people", "id, name, n").await, ["1|nobody|7", r"2|nobody|\N"]);
    load(bench, "people", Mode::Replace, &["name"], &[object("c", 3, &["x"])]).await;
    assert_eq!(table_rows(bench, "people", "id, name, n").await, [r"\N|x|7"]);
}

/// An object with nothing but the key changes nothing of a row that is there.
pub async fn upsert_of_nothing_but_keys_counts_all_rows(bench: &dyn Bench) {
    people(bench, "").await;
    load(bench, "people", Mode::Append, COLUMNS, &[object("a", 1, &["1|ann|5"])]).await;
    let receipt = load(bench, "people", upsert(&["id"]), &["id"], &[object("b", 2, &["1", "2", "2"])]).await;
    assert_eq!((receipt.entries[0].rows_loaded, receipt.entries[0].rows_duplicate), (2, 1));
    assert_eq!(table_rows(bench, "people", "id, name, n").await, ["1|ann|5", r"2|\N|\N"]);
}

/// A table that holds a key twice has no constraint against it: both rows take the new values.
pub async fn upsert_changes_every_row_of_a_doubled_key(bench: &dyn Bench) {
    people(bench, "").await;
    load(bench, "people", Mode::Append, COLUMNS, &[object("a", 1, &["1|x|1", "1|y|2", "2|z|3"])]).await;
    let partial = object("b", 2, &["1|new", "3|new"]);
    let receipt = load(bench, "people", upsert(&["id"]), &["id", "name"], &[partial]).await;
    assert_eq!(receipt.entries[0].rows_loaded, 2);
    let rows = table_rows(bench, "people", "id, name, n").await;
    assert_eq!(rows, ["1|new|1", "1|new|2", "2|z|3", r"3|new|\N"]);
}

/// With `order_by` the greatest value wins within a load; of equal ones the later row.
pub async fn order_by_decides_within_a_load(bench: &dyn Bench) {
    people(bench, "").await;
    let objects = [
        object("a", 1, &["1|old|1", "1|new|3", "1|mid|2", "2|tie|5", "2|later|5"]),
        object("b", 2, &["1|other|3", "2|less|4", r"3|null|\N", "3|some|0"]),
    ];
    let receipt = load(bench, "people", upsert_by(&["id"], "n"), COLUMNS, &objects).await;
    let counts: Vec<_> = receipt.entries.iter().map(|entry| (entry.rows_loaded, entry.rows_duplicate)).collect();
    assert_eq!(counts, [(1, 4), (2, 2)]);
    let rows = table_rows(bench, "people", "id, name, n").await;
    assert_eq!(rows, ["1|other|3", "2|later|5", "3|some|0"]);
}

/// With `order_by` a newer row of the target stays, and the loser counts as superseded.
pub async fn order_by_guards_against_the_target(bench: &dyn Bench) {
    for (table, columns) in [("people", COLUMNS), ("wide", COLUMNS)] {
        // The second table has a column that the object lacks, and merges in another way.
        let extra = if table == "wide" { ", extra INTEGER DEFAULT 4" } else { "" };
        bench.execute(&format!("CREATE TABLE {table} (id INTEGER, name VARCHAR, n INTEGER{extra})")).await;
        let mode = upsert_by(&["id"], "n");
        let first = object("a", 1, &["1|a|5", "2|a|5", "3|a|5"]);
        load(bench, table, mode.clone(), columns, &[first]).await;
        let objects = [object("b", 2, &["1|b|4", "2|b|5"]), object("c", 3, &["3|c|6", "4|c|1", "1|c|3"])];
        let receipt = load(bench, table, mode, columns, &objects).await;
        let counts: Vec<_> = receipt
            .entries
            .iter()
            .map(|entry| (entry.rows_loaded, entry.rows_duplicate, entry.rows_superseded))
            .collect();
        assert_eq!(counts, [(1, 0, 1), (2, 1, 0)]);
        let rows = table_rows(bench, table, "id, name, n").await;
        assert_eq!(rows, ["1|a|5", "2|b|5", "3|c|6", "4|c|1"]);
    }
}

/// NULL is the oldest value on both sides, and equal to itself.
pub async fn order_by_holds_null_for_oldest(bench: &dyn Bench) {
    people(bench, "").await;
    let mode = upsert_by(&["id"], "n");
    let first = object("a", 1, &[r"1|a|\N", "2|a|1", r"3|a|\N"]);
    load(bench, "people", mode.clone(), COLUMNS, &[first]).await;
    let second = object("b", 2, &["1|b|1", r"2|b|\N", r"3|b|\N"]);
    let receipt = load(bench, "people", mode, COLUMNS, &[second]).await;
    let entry = &receipt.entries[0];
    assert_eq!((entry.rows_loaded, entry.rows_superseded), (2, 1));
    assert_eq!(table_rows(bench, "people", "id, name, n").await, ["1|b|1", "2|a|1", r"3|b|\N"]);
}

/// No row can be found again by a key that is NULL.
pub async fn a_null_in_a_key_is_refused_by_line(bench: &dyn Bench) {
    people(bench, "").await;
    let objects = [object("a", 1, &["1|a|1"]), object("b", 2, &["2|b|1", r"\N|b|1"])];
    let answer = try_load(bench, "people", upsert(&["id"]), COLUMNS, &objects).await;
    assert_eq!(refused_at(answer), (Some(1), Some(3), Some("id".to_owned())));
    assert_eq!(bench.row_count("people").await, 0);
}

/// After a replace the table holds the object and nothing else.
pub async fn replace_is_the_whole_table(bench: &dyn Bench) {
    people(bench, "").await;
    load(bench, "people", Mode::Replace, COLUMNS, &[object("a", 1, &["1|a|1", "2|a|1"])]).await;
    let second = object("b", 2, &["2|b|1", "3|b|1", "3|b|1"]);
    let receipt = load(bench, "people", Mode::Replace, COLUMNS, &[second]).await;
    assert_eq!((receipt.rows_replaced, receipt.entries[0].rows_loaded), (2, 3));
    assert_eq!(table_rows(bench, "people", "id, name").await, ["2|b", "3|b", "3|b"]);
}

/// The newest of several objects is applied, the others get their entries.
pub async fn replace_supersedes_older_objects_in_its_transaction(bench: &dyn Bench) {
    people(bench, "").await;
    let objects = [
        object("a", 1, &[]).of_kind(EntryKind::Superseded),
        object("b", 2, &[]).of_kind(EntryKind::Superseded),
        object("c", 3, &["1|c|1"]),
    ];
    let receipt = load(bench, "people", Mode::Replace, COLUMNS, &objects).await;
    let kinds: Vec<_> = receipt.entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::Superseded, EntryKind::Superseded, EntryKind::Load]);
    for older in &objects[..2] {
        let answer = try_load(bench, "people", Mode::Replace, COLUMNS, std::slice::from_ref(older)).await;
        assert!(matches!(answer, Ok(Committed::AlreadyIn(_))));
    }
    assert_eq!(table_rows(bench, "people", "id, name").await, ["1|c"]);
}

/// `allow_empty` lets an empty object through, and then it is the whole table.
pub async fn replace_with_no_rows_empties_the_table(bench: &dyn Bench) {
    people(bench, "").await;
    load(bench, "people", Mode::Replace, COLUMNS, &[object("a", 1, &["1|a|1"])]).await;
    let receipt = load(bench, "people", Mode::Replace, COLUMNS, &[object("b", 2, &[])]).await;
    assert_eq!(receipt.rows_replaced, 1);
    assert_eq!(bench.row_count("people").await, 0);
}

/// A replace in which nothing is of kind `load` only writes the ledger.
pub async fn an_object_that_only_superseded_itself_leaves_the_table_alone(bench: &dyn Bench) {
    people(bench, "").await;
    load(bench, "people", Mode::Replace, COLUMNS, &[object("b", 2, &["1|b|1"])]).await;
    let late = object("a", 1, &[]).of_kind(EntryKind::Superseded);
    let receipt = load(bench, "people", Mode::Replace, COLUMNS, &[late]).await;
    assert_eq!(receipt.rows_replaced, 0);
    assert_eq!(table_rows(bench, "people", "id, name").await, ["1|b"]);
}

/// Naming a generated column is an error; leaving it out loads.
pub async fn a_generated_column_cannot_be_loaded(bench: &dyn Bench) {
    if !bench.enforces(Constraint::Generated) {
        return;
    }
    bench.execute("CREATE TABLE people (id INTEGER, twice INTEGER GENERATED ALWAYS AS (id * 2) STORED)").await;
    let table = bench.warehouse().describe(&name("people")).await.expect("a table");
    assert!(table.column("twice").expect("a column").generated);
    for mode in [Mode::Append, upsert(&["id"]), Mode::Replace] {
        let answer = try_load(bench, "people", mode.clone(), &["id", "twice"], &[object("a", 1, &[])]).await;
        assert_eq!(kind_of(answer), Kind::Unsupported);
        let good = object(mode.as_str(), 2, &["4"]);
        load(bench, "people", mode, &["id"], &[good]).await;
    }
    assert_eq!(table_rows(bench, "people", "id, twice").await, ["4|8"]);
}

/// A NOT NULL column without default is missed before the first row.
pub async fn a_column_that_needs_a_value_cannot_be_left_out(bench: &dyn Bench) {
    bench.execute("CREATE TABLE people (id INTEGER, name VARCHAR NOT NULL, n INTEGER NOT NULL DEFAULT 1)").await;
    for mode in [Mode::Append, upsert(&["id"]), Mode::Replace] {
        let answer = try_load(bench, "people", mode, &["id"], &[object("a", 1, &["1"])]).await;
        assert_eq!(kind_of(answer), Kind::Unsupported);
    }
    load(bench, "people", Mode::Append, &["id", "name"], &[object("a", 1, &["1|x"])]).await;
    assert_eq!(table_rows(bench, "people", "id, name, n").await, ["1|x|1"]);
}
