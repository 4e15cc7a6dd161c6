//! Many objects in one load.

use longshore_warehouse::testing::conformance::{
    Bench, Object, batch, block_on, load, name, object, open, plan, rows_of, upsert, upsert_by, write_all,
};
use longshore_warehouse::{Committed, Mode, Tally};

use crate::bench::{Lent, RedshiftBench};

const COLUMNS: &[&str] = &["id", "name"];

async fn with_table() -> Lent {
    let bench = tokio::task::spawn_blocking(|| Lent::Standin(Box::new(RedshiftBench::new()))).await.unwrap();
    bench.execute("CREATE TABLE t (id INTEGER, name VARCHAR(20), other INTEGER)").await;
    bench
}

/// Ends the bench where no runtime minds that it waits.
async fn end(bench: Lent) {
    tokio::task::spawn_blocking(move || drop(bench)).await.unwrap();
}

#[test]
fn a_load_sends_as_many_statements_for_five_thousand_objects_as_for_one() {
    block_on(async {
        let bench = with_table().await;
        // The first load makes the ledger, and finds out what this user may do.
        for mode in [Mode::Append, upsert(&["id"]), upsert_by(&["id"], "name")] {
            load(&bench, "t", mode.clone(), COLUMNS, &[object(&format!("{mode:?}"), 0, &["0|z"])]).await;
            let mut counts = Vec::new();
            for count in [1, 500, 5_000] {
                let objects: Vec<Object> = (0..count)
                    .map(|n| object(&format!("{mode:?} {count} {n}"), i64::from(count + n), &[&format!("{n}|a")]))
                    .collect();
                let warehouse = bench.warehouse();
                let spec = plan(warehouse.as_ref(), "t", mode.clone(), COLUMNS, &objects).await;
                let table = warehouse.describe(&name("t")).await.unwrap();
                let before = bench.of_standin().standin.statements();
                let mut opened = open(warehouse.as_ref(), spec.clone()).await;
                write_all(&mut opened, &table, &spec, &objects, 1).await.unwrap();
                let tallies: Vec<Tally> = objects.iter().map(Object::tally).collect();
                let answer = opened.commit(&tallies).await.unwrap();
                assert!(matches!(answer, Committed::Loaded(receipt) if receipt.entries.len() == objects.len()));
                counts.push(bench.of_standin().standin.statements() - before);
            }
            println!("{mode:?}: {counts:?} statements");
            assert!(counts.iter().all(|count| *count == counts[0] && *count <= 20), "{mode:?}: {counts:?}");
        }
        end(bench).await;
    });
}

#[test]
fn objects_join_a_load_that_is_open_and_what_does_not_is_not_in_it() {
    block_on(async {
        let bench = with_table().await;
        let warehouse = bench.warehouse();
        assert!(warehouse.fences_late());
        let objects = [object("a", 1, &["1|a"]), object("b", 2, &["2|b", "3|b"]), object("c", 3, &["1|c"])];
        let spec = plan(warehouse.as_ref(), "t", upsert(&["id"]), COLUMNS, &objects[..1]).await;
        let table = warehouse.describe(&name("t")).await.unwrap();
        let mut opened = open(warehouse.as_ref(), spec.clone()).await;
        write_all(&mut opened, &table, &spec, &objects[..1], 1).await.unwrap();
        for (index, object) in objects.iter().enumerate().skip(1) {
            opened.join(object.spec.clone()).unwrap();
            opened.write(batch(&table, &spec.columns, index as u32, &object.rows)).await.unwrap();
        }
        let tallies: Vec<Tally> = objects.iter().map(Object::tally).collect();
        let Committed::Loaded(receipt) = opened.commit(&tallies).await.unwrap() else { panic!("somebody else has it") };
        let counts: Vec<(&str, u64, u64)> =
            receipt.entries.iter().map(|e| (e.key.as_str(), e.rows_loaded, e.rows_duplicate)).collect();
        assert_eq!(counts, [("a", 0, 1), ("b", 2, 0), ("c", 1, 0)]);
        assert_eq!(rows_of(&bench, "SELECT id, name FROM t ORDER BY id").await, ["1|c", "2|b", "3|b"]);
        // One that is in joins another load, which then finds it.
        let late = object("d", 4, &["9|d"]);
        let spec = plan(warehouse.as_ref(), "t", upsert(&["id"]), COLUMNS, std::slice::from_ref(&late)).await;
        let mut opened = open(warehouse.as_ref(), spec.clone()).await;
        write_all(&mut opened, &table, &spec, std::slice::from_ref(&late), 1).await.unwrap();
        opened.join(objects[2].spec.clone()).unwrap();
        let answer = opened.commit(&[late.tally(), Object::tally(&objects[2].clone().of_kind(objects[2].kind))]).await;
        assert!(matches!(answer, Ok(Committed::AlreadyIn(entries)) if entries[0].key == "c"));
        assert_eq!(rows_of(&bench, "SELECT count(*) FROM t").await, ["3"]);
        end(bench).await;
    });
}
