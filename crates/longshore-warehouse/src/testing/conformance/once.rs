//! Once, all or nothing, accounted.

use super::*;
use crate::{Begun, Committed, EntryKind, Kind, Mode};

async fn orders(bench: &dyn Bench) {
    bench.execute("CREATE TABLE orders (id INTEGER, name VARCHAR)").await;
}

const COLUMNS: &[&str] = &["id", "name"];

fn three() -> Object {
    object("orders.csv", 1, &["1|ann", "2|bob", "3|cy"])
}

/// Loading an object again adds no rows, in every mode.
pub async fn an_object_is_in_once(bench: &dyn Bench) {
    for (n, mode) in [Mode::Append, upsert(&["id"]), Mode::Replace].into_iter().enumerate() {
        let table = format!("orders{n}");
        bench.execute(&format!("CREATE TABLE {table} (id INTEGER, name VARCHAR)")).await;
        let receipt = load(bench, &table, mode.clone(), COLUMNS, &[three()]).await;
        assert_eq!(receipt.entries.len(), 1);
        assert_eq!(receipt.entries[0].rows_loaded, 3);
        let Ok(Committed::AlreadyIn(entries)) = try_load(bench, &table, mode, COLUMNS, &[three()]).await else {
            panic!("a second load of an object has to be refused");
        };
        assert_eq!(entries, receipt.entries);
        assert_eq!(bench.row_count(&table).await, 3);
    }
}

/// Several objects share a transaction, and each has its entry.
pub async fn a_group_is_in_once_and_together(bench: &dyn Bench) {
    orders(bench).await;
    let group = [three(), object("more.csv", 2, &["4|di"]), object("last.csv", 3, &["5|ed", "6|flo"])];
    let receipt = load(bench, "orders", Mode::Append, COLUMNS, &group).await;
    let counts: Vec<_> = receipt.entries.iter().map(|entry| entry.rows_loaded).collect();
    assert_eq!(counts, [3, 1, 2]);
    assert!(receipt.entries.iter().all(|entry| entry.load_id == receipt.load_id));
    assert_eq!(bench.row_count("orders").await, 6);
}

/// A reader sees nothing of an open load.
pub async fn nothing_is_seen_before_commit(bench: &dyn Bench) {
    orders(bench).await;
    for (mode, seconds) in [(Mode::Append, 1), (upsert(&["id"]), 2), (Mode::Replace, 3)] {
        let before = bench.row_count("orders").await;
        let warehouse = bench.warehouse();
        let objects = [object("a.csv", seconds, &["7|x", "8|y"])];
        let spec = plan(warehouse.as_ref(), "orders", mode, COLUMNS, &objects).await;
        let table = warehouse.describe(&spec.table).await.expect("a table");
        let mut load = open(warehouse.as_ref(), spec.clone()).await;
        write_all(&mut load, &table, &spec, &objects, 1).await.expect("room for two rows");
        assert_eq!(bench.row_count("orders").await, before);
        let known = warehouse.lookup(&spec.table, &[]).await.expect("a lookup");
        assert_eq!(known.latest, spec.seen_latest);
        let tallies: Vec<_> = objects.iter().map(Object::tally).collect();
        assert!(matches!(load.commit(&tallies).await, Ok(Committed::Loaded(_))));
        assert!(bench.row_count("orders").await >= 2);
    }
}

async fn begun_and_written(bench: &dyn Bench, mode: Mode, objects: &[Object]) -> Box<dyn crate::Load> {
    let warehouse = bench.warehouse();
    let spec = plan(warehouse.as_ref(), "orders", mode, COLUMNS, objects).await;
    let table = warehouse.describe(&spec.table).await.expect("a table");
    let mut load = open(warehouse.as_ref(), spec.clone()).await;
    write_all(&mut load, &table, &spec, objects, 1).await.expect("room for the rows");
    load
}

/// A load that was given up can be done again.
pub async fn a_rollback_leaves_nothing(bench: &dyn Bench) {
    orders(bench).await;
    for mode in [Mode::Append, upsert(&["id"]), Mode::Replace] {
        let load = begun_and_written(bench, mode, &[three()]).await;
        load.rollback().await.expect("a rollback");
        assert_eq!(bench.row_count("orders").await, 0);
    }
    load(bench, "orders", Mode::Append, COLUMNS, &[three()]).await;
    assert_eq!(bench.row_count("orders").await, 3);
}

/// Dropping an open load is as good as a rollback, and frees the table.
pub async fn a_dropped_load_leaves_nothing_and_lets_the_next_one_in(bench: &dyn Bench) {
    orders(bench).await;
    for mode in [Mode::Append, upsert(&["id"]), Mode::Replace] {
        let load = begun_and_written(bench, mode, &[three()]).await;
        drop(load);
        assert_eq!(bench.row_count("orders").await, 0);
    }
    // Even before its first row.
    let warehouse = bench.warehouse();
    let spec = plan(warehouse.as_ref(), "orders", Mode::Append, COLUMNS, &[three()]).await;
    drop(open(warehouse.as_ref(), spec).await);
    load(bench, "orders", Mode::Append, COLUMNS, &[three()]).await;
    assert_eq!(bench.row_count("orders").await, 3);
}

/// One object that is in makes the whole load plan again; nothing of it is written.
pub async fn a_group_with_one_object_that_is_in_is_refused_whole(bench: &dyn Bench) {
    orders(bench).await;
    load(bench, "orders", Mode::Append, COLUMNS, &[three()]).await;
    let group = [object("new.csv", 5, &["9|z"]), three()];
    let answer = try_load(bench, "orders", Mode::Append, COLUMNS, &group).await;
    let Ok(Committed::AlreadyIn(entries)) = answer else { panic!("one of them is in") };
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].identity, three().spec.identity);
    assert_eq!(bench.row_count("orders").await, 3);
    let warehouse = bench.warehouse();
    let page = warehouse.page(&name("orders"), None).await.expect("a page");
    assert_eq!(page.len(), 1);
}

/// The next generation of an object is another load.
pub async fn another_generation_loads_again(bench: &dyn Bench) {
    orders(bench).await;
    load(bench, "orders", Mode::Append, COLUMNS, &[three()]).await;
    let again = three().generation(2);
    load(bench, "orders", Mode::Append, COLUMNS, std::slice::from_ref(&again)).await;
    assert_eq!(bench.row_count("orders").await, 6);
    let answer = try_load(bench, "orders", Mode::Append, COLUMNS, &[again]).await;
    assert!(matches!(answer, Ok(Committed::AlreadyIn(_))));
}

/// A header without rows is a load, and once is enough.
pub async fn a_load_without_rows_is_recorded(bench: &dyn Bench) {
    orders(bench).await;
    for (mode, key) in [(Mode::Append, "a"), (upsert(&["id"]), "b"), (upsert_by(&["id"], "name"), "c")] {
        let empty = object(key, 1, &[]);
        let receipt = load(bench, "orders", mode.clone(), COLUMNS, std::slice::from_ref(&empty)).await;
        assert_eq!(receipt.entries[0].rows_loaded, 0);
        let answer = try_load(bench, "orders", mode, COLUMNS, &[empty]).await;
        assert!(matches!(answer, Ok(Committed::AlreadyIn(_))));
    }
    assert_eq!(bench.row_count("orders").await, 0);
}

/// `repeat`, `failed` and `superseded` are entries without rows, and touch no row.
pub async fn objects_without_rows_are_recorded_with_their_kind(bench: &dyn Bench) {
    orders(bench).await;
    load(bench, "orders", Mode::Append, COLUMNS, &[three()]).await;
    for mode in [Mode::Append, upsert(&["id"]), Mode::Replace] {
        for kind in [EntryKind::Repeat, EntryKind::Failed, EntryKind::Superseded] {
            let key = format!("{}-{}", mode.as_str(), kind.as_str());
            let objects = [object(&key, 9, &[]).of_kind(kind)];
            let receipt = load(bench, "orders", mode.clone(), COLUMNS, &objects).await;
            assert_eq!(receipt.entries[0].kind, kind);
            assert_eq!(receipt.entries[0].rows_loaded, 0);
        }
    }
    assert_eq!(bench.row_count("orders").await, 3);
    // Only entries of kind `load` count for the latest position.
    let known = bench.warehouse().lookup(&name("orders"), &[]).await.expect("a lookup");
    assert_eq!(known.latest.map(|latest| latest.key), Some("orders.csv".to_owned()));
}

/// An object whose header could not be bound has no columns, and still gets its entry.
pub async fn a_load_without_columns_writes_its_entry(bench: &dyn Bench) {
    bench.execute("CREATE TABLE orders (id INTEGER NOT NULL, name VARCHAR)").await;
    load(bench, "orders", Mode::Append, COLUMNS, &[three()]).await;
    for mode in [Mode::Append, upsert(&["id"]), Mode::Replace] {
        let failed = [object(mode.as_str(), 9, &[]).of_kind(EntryKind::Failed)];
        let receipt = load(bench, "orders", mode.clone(), &[], &failed).await;
        assert_eq!(receipt.entries[0].kind, EntryKind::Failed);
        let answer = try_load(bench, "orders", mode, &[], &failed).await;
        assert!(matches!(answer, Ok(Committed::AlreadyIn(_))));
    }
    assert_eq!(bench.row_count("orders").await, 3);
}

/// Rows given and rows tallied have to agree, or nothing is loaded.
pub async fn a_tally_that_does_not_fit_rolls_back(bench: &dyn Bench) {
    orders(bench).await;
    for mode in [Mode::Append, upsert(&["id"]), Mode::Replace] {
        for (read, rejected) in [(4, 0), (2, 0), (3, 1), (3, 4)] {
            let load = begun_and_written(bench, mode.clone(), &[three()]).await;
            let mut tally = three().tally();
            (tally.rows_read, tally.rows_rejected) = (read, rejected);
            assert_eq!(kind_of(load.commit(&[tally]).await), Kind::CountMismatch);
            assert_eq!(bench.row_count("orders").await, 0);
        }
    }
    let mut partly = three();
    partly.rejected = 2;
    let receipt = load(bench, "orders", Mode::Append, COLUMNS, &[partly]).await;
    let entry = &receipt.entries[0];
    assert_eq!((entry.rows_read, entry.rows_loaded, entry.rows_rejected), (5, 3, 2));
}

/// An engine that drops rows in silence is found out.
pub async fn rows_that_the_warehouse_swallows_roll_back(bench: &dyn Bench) {
    orders(bench).await;
    if !bench.swallow_thirteen("orders").await {
        // This engine has nothing that could swallow rows.
        return;
    }
    for mode in [Mode::Append, upsert(&["id"]), Mode::Replace] {
        let objects = [object("thirteen.csv", 1, &["12|a", "13|b", "14|c"])];
        let answer = try_load(bench, "orders", mode, COLUMNS, &objects).await;
        assert_eq!(kind_of(answer), Kind::CountMismatch);
        assert_eq!(bench.row_count("orders").await, 0);
    }
}

/// Batches of all sizes, also above what an engine takes at a time.
pub async fn many_batches_and_objects_arrive_whole(bench: &dyn Bench) {
    bench.execute("CREATE TABLE orders (id INTEGER, name VARCHAR)").await;
    let warehouse = bench.warehouse();
    let mut objects = Vec::new();
    let mut next = 0;
    for (n, rows) in [1_u32, 2047, 2048, 2049, 10_000, 0, 3].into_iter().enumerate() {
        let mut object = object(&format!("{n}.csv"), n as i64, &[]);
        for line in 0..rows {
            let name = match next % 3 {
                0 => None,
                1 => Some(format!("n{next}")),
                _ => Some(format!("a name that is longer than twelve bytes {next}")),
            };
            object.rows.push((u64::from(line) + 2, vec![Some(next.to_string()), name]));
            next += 1;
        }
        objects.push(object);
    }
    for (mode, again) in [(Mode::Append, 1), (upsert(&["id"]), 2)] {
        let objects: Vec<_> = objects.iter().map(|object| object.clone().generation(again)).collect();
        let spec = plan(warehouse.as_ref(), "orders", mode, COLUMNS, &objects).await;
        let table = warehouse.describe(&spec.table).await.expect("a table");
        let Ok(Begun::Open(mut load)) = warehouse.begin(spec.clone()).await else { panic!("not begun") };
        write_all(&mut load, &table, &spec, &objects, 4999).await.expect("room");
        let tallies: Vec<_> = objects.iter().map(Object::tally).collect();
        assert!(matches!(load.commit(&tallies).await, Ok(Committed::Loaded(_))));
        let sums =
            rows_of(bench, "SELECT count(*), sum(id), count(name), sum(length(name)), count(DISTINCT id) FROM orders")
                .await;
        let (mut named, mut length) = (0_u64, 0);
        for object in &objects {
            for name in object.rows.iter().filter_map(|(_, row)| row[1].as_ref()) {
                named += 1;
                length += name.len();
            }
        }
        let sum: u64 = (0..u64::from(next as u32)).sum();
        assert_eq!(sums, [format!("{next}|{sum}|{named}|{length}|{next}")]);
    }
}
