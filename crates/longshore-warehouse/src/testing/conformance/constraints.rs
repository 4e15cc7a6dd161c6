//! What the table refuses.

use super::*;
use crate::{Kind, Mode};

/// The name that was meant is offered.
pub async fn a_missing_table_is_named_with_its_nearest(bench: &dyn Bench) {
    bench.execute("CREATE TABLE titanic (id INTEGER)").await;
    let error = bench.warehouse().describe(&name("titanik")).await.expect_err("no such table");
    assert_eq!(*error.kind(), Kind::Missing);
    assert!(error.to_string().contains("titanik"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("titanic")), "{:?}", error.hint());
    let answer = try_load(bench, "titanik", Mode::Append, &["id"], &[object("a", 1, &[])]).await;
    assert_eq!(kind_of(answer), Kind::Missing);
    let answer = bench.warehouse().describe(&name("nowhere.titanic")).await;
    assert_eq!(kind_of(answer), Kind::Missing);
}

/// So is that of a column.
pub async fn a_missing_column_is_named_with_its_nearest(bench: &dyn Bench) {
    bench.execute("CREATE TABLE titanic (id INTEGER, survived INTEGER)").await;
    let warehouse = bench.warehouse();
    let objects = [object("a", 1, &[])];
    let spec = plan(warehouse.as_ref(), "titanic", Mode::Append, &["id", "survivd"], &objects).await;
    let Err(error) = warehouse.begin(spec).await else { panic!("no such column") };
    assert_eq!(*error.kind(), Kind::Missing);
    assert!(error.hint().is_some_and(|hint| hint.contains("survived")), "{:?}", error.hint());
}

/// NOT NULL, in every mode.
pub async fn a_null_where_none_is_taken_is_refused_by_line(bench: &dyn Bench) {
    bench.execute("CREATE TABLE t (id INTEGER, name VARCHAR NOT NULL)").await;
    for mode in [Mode::Append, upsert(&["id"]), Mode::Replace] {
        let objects = [object("a", 1, &["1|x"]), object("b", 2, &["2|y", "3|z", r"4|\N"])];
        let answer = try_load(bench, "t", mode, &["id", "name"], &objects).await;
        assert_eq!(refused_at(answer), (Some(1), Some(4), Some("name".to_owned())));
        assert_eq!(bench.row_count("t").await, 0);
    }
}

/// A CHECK that only the server knows.
pub async fn a_check_constraint_names_object_and_line(bench: &dyn Bench) {
    if !bench.enforces(Constraint::Check) {
        return;
    }
    bench.execute("CREATE TABLE t (id INTEGER, n INTEGER CHECK (n < 100))").await;
    load(bench, "t", Mode::Append, &["id", "n"], &[object("fine", 1, &["1|1", r"2|\N"])]).await;
    for mode in [Mode::Append, upsert(&["id"]), Mode::Replace] {
        let objects = [object("a", 2, &["3|1", "4|2"]), object("b", 3, &["5|3", "6|100", "7|4"])];
        let answer = try_load(bench, "t", mode, &["id", "n"], &objects).await;
        let error = answer.expect_err("this has to be refused");
        let Kind::Rows { object, line, column } = error.kind().clone() else { panic!("{error:?}") };
        assert_eq!((object, line), (Some(1), Some(3)), "{error:?}");
        assert!(column.is_none_or(|column| column == "n"));
        assert!(error.server_text().is_some(), "{error:?}");
        assert_eq!(table_rows(bench, "t", "id, n").await, ["1|1", r"2|\N"]);
    }
}

/// A key that is there already, or twice in the load.
pub async fn a_primary_key_names_object_and_line(bench: &dyn Bench) {
    if !bench.enforces(Constraint::Unique) {
        return;
    }
    bench.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR)").await;
    let described = bench.warehouse().describe(&name("t")).await.expect("a table");
    assert_eq!(described.unique_keys, [["id"]]);
    load(bench, "t", Mode::Append, &["id", "name"], &[object("fine", 1, &["1|a", "2|b"])]).await;
    let against_the_target = [object("a", 2, &["3|c", "4|d"]), object("b", 3, &["5|e", "2|again"])];
    let answer = try_load(bench, "t", Mode::Append, &["id", "name"], &against_the_target).await;
    let (object_index, line, _) = refused_at(answer);
    assert_eq!((object_index, line), (Some(1), Some(3)));
    let within = [object("c", 4, &["6|f", "7|g", "6|again", "8|h"])];
    let answer = try_load(bench, "t", Mode::Append, &["id", "name"], &within).await;
    let (object_index, line, _) = refused_at(answer);
    assert_eq!((object_index, line), (Some(0), Some(4)));
    assert_eq!(bench.row_count("t").await, 2);
}

/// Replacing a row by key is no violation of its primary key.
pub async fn a_primary_key_takes_an_upsert(bench: &dyn Bench) {
    bench.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR, n INTEGER DEFAULT 1)").await;
    let all = &["id", "name", "n"];
    load(bench, "t", upsert(&["id"]), all, &[object("a", 1, &["1|a|1", "2|b|2"])]).await;
    load(bench, "t", upsert(&["id"]), all, &[object("b", 2, &["2|B|3", "3|c|3", "2|BB|4"])]).await;
    load(bench, "t", upsert(&["id"]), &["name", "id"], &[object("c", 3, &["C|3", "d|4"])]).await;
    let guarded = upsert_by(&["id"], "n");
    load(bench, "t", guarded, all, &[object("d", 4, &["1|zero|0", "2|more|9"])]).await;
    let rows = table_rows(bench, "t", "id, name, n").await;
    assert_eq!(rows, ["1|a|1", "2|more|9", "3|C|3", "4|d|1"]);
}

/// Nor is replacing the whole table.
pub async fn a_primary_key_takes_a_replace(bench: &dyn Bench) {
    bench.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR)").await;
    for (n, rows) in [["1|a", "2|b"], ["2|c", "3|d"], ["3|e", "2|f"]].iter().enumerate() {
        let key = format!("{n}");
        load(bench, "t", Mode::Replace, &["id", "name"], &[object(&key, n as i64, rows)]).await;
    }
    assert_eq!(table_rows(bench, "t", "id, name").await, ["2|f", "3|e"]);
}

/// A row that points at nothing.
pub async fn a_foreign_key_names_object_and_line(bench: &dyn Bench) {
    if !bench.enforces(Constraint::ForeignKey) {
        return;
    }
    bench.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY, name VARCHAR)").await;
    bench.execute("CREATE TABLE children (id INTEGER, parent INTEGER REFERENCES parents (id))").await;
    load(bench, "parents", Mode::Append, &["id", "name"], &[object("p", 1, &["1|a", "2|b"])]).await;
    let objects = [object("a", 1, &["1|1"]), object("b", 2, &[r"2|\N", "3|2", "4|9", "5|1"])];
    let answer = try_load(bench, "children", Mode::Append, &["id", "parent"], &objects).await;
    let (object_index, line, _) = refused_at(answer);
    assert_eq!((object_index, line), (Some(1), Some(4)));
    assert_eq!(bench.row_count("children").await, 0);
}

/// Rows that others point at are changed in place, not deleted and added.
pub async fn a_table_that_others_point_at_takes_an_upsert(bench: &dyn Bench) {
    bench.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY, name VARCHAR)").await;
    bench.execute("CREATE TABLE children (id INTEGER, parent INTEGER REFERENCES parents (id))").await;
    let described = bench.warehouse().describe(&name("parents")).await.expect("a table");
    // Where nothing comes of a foreign key, nothing may be made of it.
    assert_eq!(described.referenced_by.len(), usize::from(bench.enforces(Constraint::ForeignKey)));
    load(bench, "parents", upsert(&["id"]), &["id", "name"], &[object("p", 1, &["1|a", "2|b"])]).await;
    load(bench, "children", Mode::Append, &["id", "parent"], &[object("c", 1, &["1|1"])]).await;
    let second = object("q", 2, &["1|A", "3|c", "1|AA"]);
    let receipt = load(bench, "parents", upsert(&["id"]), &["id", "name"], &[second]).await;
    assert_eq!((receipt.rows_replaced, receipt.entries[0].rows_loaded), (1, 2));
    assert_eq!(table_rows(bench, "parents", "id, name").await, ["1|AA", "2|b", "3|c"]);
    assert_eq!(table_rows(bench, "children", "id, parent").await, ["1|1"]);
}

/// A refused load leaves no lock, no row and no entry.
pub async fn after_a_refusal_the_table_is_free_and_unchanged(bench: &dyn Bench) {
    if !bench.enforces(Constraint::Check) {
        return;
    }
    bench.execute("CREATE TABLE t (id INTEGER, n INTEGER CHECK (n < 100))").await;
    for mode in [Mode::Append, upsert(&["id"]), Mode::Replace] {
        let bad = [object("bad", 1, &["1|1", "2|100"])];
        let answer = try_load(bench, "t", mode.clone(), &["id", "n"], &bad).await;
        assert!(matches!(kind_of(answer), Kind::Rows { .. }));
        assert!(bench.warehouse().page(&name("t"), None).await.expect("a page").is_empty());
    }
    load(bench, "t", Mode::Append, &["id", "n"], &[object("good", 1, &["1|1"])]).await;
    assert_eq!(bench.row_count("t").await, 1);
}
