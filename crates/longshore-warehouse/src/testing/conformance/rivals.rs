//! Several loads at once.

use super::*;
use crate::{Committed, Kind, LoadSpec, Mode, Warehouse, WarehouseError};

async fn orders(bench: &dyn Bench) {
    bench.execute("CREATE TABLE orders (id INTEGER, name VARCHAR)").await;
}

const COLUMNS: &[&str] = &["id", "name"];

/// Loads until it is not `Busy` any more, as the product does.
async fn persistent(
    warehouse: &dyn Warehouse,
    spec: &LoadSpec,
    objects: &[Object],
) -> Result<Committed, WarehouseError> {
    for _ in 0..20 {
        let mut spec = spec.clone();
        spec.load_id = crate::LoadId::draw();
        match try_load_with(warehouse, spec, objects).await {
            Err(error) if matches!(error.kind(), Kind::Busy | Kind::Conflict) => {}
            answer => return answer,
        }
    }
    panic!("busy for ever");
}

/// However they meet, the rows of an object are in once.
pub async fn two_loads_of_one_object_are_in_once(bench: &dyn Bench) {
    for (n, mode) in [Mode::Append, upsert(&["id"]), Mode::Replace].into_iter().enumerate() {
        let table = format!("orders{n}");
        bench.execute(&format!("CREATE TABLE {table} (id INTEGER, name VARCHAR)")).await;
        let (one, two) = (bench.warehouse(), bench.rival());
        let objects = [object("a", 1, &["1|x", "2|y"])];
        let spec = plan(one.as_ref(), &table, mode, COLUMNS, &objects).await;
        let answers =
            tokio::join!(persistent(one.as_ref(), &spec, &objects), persistent(two.as_ref(), &spec, &objects));
        let loaded =
            [&answers.0, &answers.1].into_iter().filter(|answer| matches!(answer, Ok(Committed::Loaded(_)))).count();
        assert_eq!(loaded, 1, "{answers:?}");
        assert!(answers.0.is_ok() && answers.1.is_ok(), "{answers:?}");
        assert_eq!(bench.row_count(&table).await, 2);
    }
}

/// A load that staged its rows learns under the fence that another was faster.
pub async fn a_staged_load_finds_its_rival_at_commit(bench: &dyn Bench) {
    orders(bench).await;
    let (one, two) = (bench.warehouse(), bench.rival());
    let objects = [object("a", 1, &["1|x", "2|y"])];
    let spec = plan(one.as_ref(), "orders", upsert(&["id"]), COLUMNS, &objects).await;
    let mut rival = spec.clone();
    rival.load_id = crate::LoadId::draw();
    let table = one.describe(&spec.table).await.expect("a table");
    let mut slow = open(one.as_ref(), spec.clone()).await;
    write_all(&mut slow, &table, &spec, &objects, 1).await.expect("room");
    let fast = try_load_with(two.as_ref(), rival, &objects).await;
    assert!(matches!(fast, Ok(Committed::Loaded(_))), "{fast:?}");
    let answer = slow.commit(&[objects[0].tally()]).await;
    assert!(matches!(answer, Ok(Committed::AlreadyIn(_))), "{answer:?}");
    assert_eq!(bench.row_count("orders").await, 2);
}

/// Different objects of one table wait for each other, or are told to come again; both are in.
pub async fn two_loads_of_one_table_take_turns(bench: &dyn Bench) {
    orders(bench).await;
    let (one, two) = (bench.warehouse(), bench.rival());
    let (a, b) = ([object("a", 1, &["1|x", "2|y"])], [object("b", 2, &["3|z"])]);
    let first = plan(one.as_ref(), "orders", Mode::Append, COLUMNS, &a).await;
    let second = plan(one.as_ref(), "orders", Mode::Append, COLUMNS, &b).await;
    let answers = tokio::join!(persistent(one.as_ref(), &first, &a), persistent(two.as_ref(), &second, &b));
    assert!(matches!(answers, (Ok(Committed::Loaded(_)), Ok(Committed::Loaded(_)))), "{answers:?}");
    assert_eq!(table_rows(bench, "orders", "id").await, ["1", "2", "3"]);

    // While one is between its fence and its end, the other is not let in.
    let c = [object("c", 3, &["4|w"])];
    let d = [object("d", 4, &["5|v"])];
    let third = plan(one.as_ref(), "orders", Mode::Append, COLUMNS, &c).await;
    let fourth = plan(one.as_ref(), "orders", Mode::Append, COLUMNS, &d).await;
    let mut held = open(one.as_ref(), third.clone()).await;
    let table = one.describe(&third.table).await.expect("a table");
    write_all(&mut held, &table, &third, &c, 1).await.expect("room");
    let refused = try_load_with(two.as_ref(), fourth.clone(), &d).await;
    if !bench.fences_appends_early() {
        assert!(matches!(refused, Ok(Committed::Loaded(_))), "{refused:?}");
        assert!(matches!(held.commit(&[c[0].tally()]).await, Ok(Committed::Loaded(_))));
        assert_eq!(bench.row_count("orders").await, 5);
        return;
    }
    // An engine may let both write and settle it at COMMIT; the fence of this boundary may not.
    assert_eq!(kind_of(refused), Kind::Busy);
    assert!(matches!(held.commit(&[c[0].tally()]).await, Ok(Committed::Loaded(_))));
    let mut again = fourth;
    again.load_id = crate::LoadId::draw();
    let answer = try_load_with(two.as_ref(), again, &d).await;
    assert!(matches!(answer, Ok(Committed::Loaded(_))), "{answer:?}");
    assert_eq!(bench.row_count("orders").await, 5);
}

/// One table does not hold up another.
pub async fn loads_of_many_tables_run_at_once(bench: &dyn Bench) {
    let warehouse = bench.warehouse();
    let mut open_loads = Vec::new();
    for n in 0..6 {
        let table = format!("t{n}");
        bench.execute(&format!("CREATE TABLE {table} (id INTEGER, name VARCHAR)")).await;
        let mode = if n % 2 == 0 { Mode::Append } else { upsert(&["id"]) };
        let objects = [object(&format!("o{n}"), 1, &["1|x", "2|y", "3|z"])];
        let spec = plan(warehouse.as_ref(), &table, mode, COLUMNS, &objects).await;
        let described = warehouse.describe(&spec.table).await.expect("a table");
        let mut load = open(warehouse.as_ref(), spec.clone()).await;
        write_all(&mut load, &described, &spec, &objects, 1).await.expect("room");
        open_loads.push((load, objects));
    }
    // All six are open at once here.
    for (load, objects) in open_loads {
        let answer = load.commit(&[objects[0].tally()]).await;
        assert!(matches!(answer, Ok(Committed::Loaded(_))), "{answer:?}");
    }
    for n in 0..6 {
        assert_eq!(bench.row_count(&format!("t{n}")).await, 3);
    }
}

/// A load that was planned before a newer object went in is told so, in ordered modes.
pub async fn a_zombie_cannot_put_an_older_object_over_a_newer_one(bench: &dyn Bench) {
    for (n, mode) in [upsert(&["id"]), Mode::Replace].into_iter().enumerate() {
        let table = format!("orders{n}");
        bench.execute(&format!("CREATE TABLE {table} (id INTEGER, name VARCHAR)")).await;
        let (one, two) = (bench.warehouse(), bench.rival());
        let (old, new) = ([object("old", 1, &["1|old"])], [object("new", 2, &["1|new"])]);
        let spec = plan(one.as_ref(), &table, mode.clone(), COLUMNS, &old).await;
        let described = one.describe(&spec.table).await.expect("a table");
        let mut zombie = open(one.as_ref(), spec.clone()).await;
        write_all(&mut zombie, &described, &spec, &old, 1).await.expect("room");
        let rival = plan(two.as_ref(), &table, mode.clone(), COLUMNS, &new).await;
        let answer = try_load_with(two.as_ref(), rival, &new).await;
        assert!(matches!(answer, Ok(Committed::Loaded(_))), "{answer:?}");
        match zombie.commit(&[old[0].tally()]).await {
            Ok(Committed::AlreadyIn(entries)) => {
                assert_eq!(entries[0].identity, new[0].spec.identity);
            }
            answer => panic!("{answer:?}"),
        }
        assert_eq!(table_rows(bench, &table, "id, name").await, ["1|new"]);
        if n == 0 {
            // Planned anew, with the newer one seen, the late object may load.
            let mut late = old.clone();
            late[0].spec.late = true;
            let receipt = load(bench, &table, mode, COLUMNS, &late).await;
            assert!(receipt.entries[0].late);
        }
    }
}

/// With `order_by` the rows themselves say what is newer, so no position is compared.
pub async fn order_by_lets_a_late_object_in(bench: &dyn Bench) {
    bench.execute("CREATE TABLE orders (id INTEGER, n INTEGER)").await;
    let (one, two) = (bench.warehouse(), bench.rival());
    let mode = upsert_by(&["id"], "n");
    let columns = &["id", "n"];
    let (old, new) = ([object("old", 1, &["1|1", "2|1"])], [object("new", 2, &["1|2"])]);
    let spec = plan(one.as_ref(), "orders", mode.clone(), columns, &old).await;
    let described = one.describe(&spec.table).await.expect("a table");
    let mut slow = open(one.as_ref(), spec.clone()).await;
    write_all(&mut slow, &described, &spec, &old, 1).await.expect("room");
    let rival = plan(two.as_ref(), "orders", mode, columns, &new).await;
    let answer = try_load_with(two.as_ref(), rival, &new).await;
    assert!(matches!(answer, Ok(Committed::Loaded(_))), "{answer:?}");
    let Ok(Committed::Loaded(receipt)) = slow.commit(&[old[0].tally()]).await else {
        panic!("a late object has to get in")
    };
    let entry = &receipt.entries[0];
    assert_eq!((entry.rows_loaded, entry.rows_superseded), (1, 1));
    assert_eq!(table_rows(bench, "orders", "id, n").await, ["1|2", "2|1"]);
}
