//! What the server refuses is found, object and line.

use longshore_warehouse::testing::PostgresBench;
use longshore_warehouse::testing::conformance::*;
use longshore_warehouse::{Committed, Kind, Mode, WarehouseError};

async fn refusal(bench: &PostgresBench, table: &str, mode: Mode, objects: &[Object]) -> WarehouseError {
    let error = try_load(bench, table, mode, &["id", "n"], objects).await.expect_err("this has to be refused");
    // Values are the server's to tell, and ours to keep from logs.
    assert!(!error.to_string().contains("4711"), "{error}");
    error
}

fn place(error: &WarehouseError) -> (Option<u32>, Option<u64>) {
    match error.kind() {
        Kind::Rows { object, line, .. } => (*object, *line),
        kind => panic!("{kind:?}: {error}: {}", error.server_text().unwrap_or_default()),
    }
}

#[tokio::test]
async fn every_constraint_names_object_and_line_in_every_mode() {
    let bench = PostgresBench::new();
    bench.execute("CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents SELECT generate_series(1, 50)").await;
    bench
        .execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN IF NEW.n = 4711 THEN RAISE EXCEPTION ''no %'', NEW.n; END IF; RETURN NULL; END'",
        )
        .await;
    for (n, (what, after)) in [
        ("n int CHECK (n < 4000)", ""),
        ("n int REFERENCES parents", ""),
        ("n int REFERENCES parents DEFERRABLE INITIALLY DEFERRED", ""),
        ("n int", "CREATE TRIGGER r AFTER INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION refuse()"),
        ("n int", "CREATE CONSTRAINT TRIGGER r AFTER INSERT OR UPDATE ON {} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"),
    ]
    .into_iter()
    .enumerate()
    {
        let table = format!("t{n}");
        bench.execute(&format!("CREATE TABLE {table} (id int PRIMARY KEY, {what})")).await;
        bench.execute(&after.replace("{}", &table)).await;
        load(&bench, &table, Mode::Append, &["id", "n"], &[object("fine", 1, &["1|1", "2|2"])]).await;
        for (k, mode) in [Mode::Append, upsert(&["id"]), Mode::Replace].into_iter().enumerate() {
            let rows: Vec<String> = (100..200).map(|id| format!("{id}|{}", if id == 177 { 4711 } else { id % 50 + 1 })).collect();
            let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
            let objects = [object("a", 2 + k as i64, &["3|3", "4|4"]), object("b", 9 + k as i64, &rows)];
            let error = refusal(&bench, &table, mode.clone(), &objects).await;
            assert_eq!(place(&error), (Some(1), Some(79)), "{what} {mode:?} {error}");
            assert!(error.server_text().is_some());
        }
        assert_eq!(table_rows(&bench, &table, "id, n").await, ["1|1", "2|2"]);
        load(&bench, &table, Mode::Append, &["id", "n"], &[object("good", 30, &["3|3"])]).await;
    }
}

#[tokio::test]
async fn a_unique_key_beside_that_of_the_upsert_is_found() {
    let bench = PostgresBench::new();
    bench.execute("CREATE TABLE t (id int PRIMARY KEY, n int UNIQUE)").await;
    load(&bench, "t", Mode::Append, &["id", "n"], &[object("fine", 1, &["1|4711", "2|2"])]).await;
    let error = refusal(&bench, "t", upsert(&["id"]), &[object("b", 2, &["3|3", "4|4", "5|4711", "6|6"])]).await;
    assert_eq!(place(&error), (Some(0), Some(4)));
    // Of rows of one key only the last counts, and the first may be what it likes.
    load(&bench, "t", upsert(&["id"]), &["id", "n"], &[object("c", 3, &["3|4711", "3|3"])]).await;
    assert_eq!(table_rows(&bench, "t", "id, n").await, ["1|4711", "2|2", "3|3"]);
}

#[tokio::test]
async fn a_row_that_refers_to_a_later_one_is_no_fault() {
    let bench = PostgresBench::new();
    bench.execute("CREATE TABLE t (id int PRIMARY KEY, n int REFERENCES t)").await;
    load(&bench, "t", Mode::Append, &["id", "n"], &[object("a", 1, &["1|2", "2|1"])]).await;
    for mode in [Mode::Append, upsert(&["id"])] {
        let error = refusal(&bench, "t", mode, &[object("b", 2, &["3|5", "4|3", r"5|\N", "6|4711"])]).await;
        assert_eq!(place(&error), (Some(0), Some(5)));
    }
}

#[tokio::test]
async fn a_load_too_large_to_be_kept_is_staged_at_the_next_try() {
    let bench = PostgresBench::new();
    bench.execute("CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents SELECT generate_series(0, 9)").await;
    bench.execute("CREATE TABLE t (id int, n int REFERENCES parents, filler text)").await;
    let filler = "x".repeat(1000);
    let mut large = object("large", 1, &[]);
    for id in 0..20_000_u64 {
        let n = if id == 15_000 { 4711 } else { id % 10 };
        large.rows.push((id * 3 + 2, vec![Some(id.to_string()), Some(n.to_string()), Some(filler.clone())]));
    }
    let columns = ["id", "n", "filler"];
    let first = try_load(&bench, "t", Mode::Append, &columns, std::slice::from_ref(&large)).await;
    assert_eq!(kind_of(first), Kind::Conflict);
    let second = try_load(&bench, "t", Mode::Append, &columns, std::slice::from_ref(&large)).await;
    assert_eq!(refused_at(second), (Some(0), Some(45_002), Some("n".to_owned())));
    large.rows.remove(15_000);
    load(&bench, "t", Mode::Append, &columns, &[large]).await;
    assert_eq!(bench.row_count("t").await, 19_999);
}

#[tokio::test]
async fn a_table_whose_rows_others_hang_on_is_not_emptied() {
    let bench = PostgresBench::new();
    bench.execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)").await;
    bench.execute("CREATE TABLE held (id int REFERENCES t); INSERT INTO held VALUES (1)").await;
    let one = object("a", 1, &["1|2"]);
    let error = refusal(&bench, "t", Mode::Replace, std::slice::from_ref(&one)).await;
    assert_eq!(*error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("held"), "{error}");
    bench
        .execute("CREATE TABLE cascades (id int REFERENCES t ON DELETE CASCADE); INSERT INTO cascades VALUES (1)")
        .await;
    let error = refusal(&bench, "t", Mode::Replace, std::slice::from_ref(&one)).await;
    assert!(*error.kind() == Kind::Unsupported && error.to_string().contains("cascades"), "{error}");
    load(&bench, "t", upsert(&["id"]), &["id", "n"], &[one]).await;
    assert_eq!((bench.row_count("held").await, bench.row_count("cascades").await), (1, 1));
}

#[tokio::test]
async fn a_rule_that_takes_rows_away_is_found_out() {
    let bench = PostgresBench::new();
    bench
        .execute("CREATE TABLE t (id int, n int); CREATE RULE r AS ON INSERT TO t WHERE NEW.id = 13 DO INSTEAD NOTHING")
        .await;
    let answer = try_load(&bench, "t", upsert(&["id"]), &["id", "n"], &[object("a", 1, &["12|1", "13|1"])]).await;
    assert!(answer.is_err());
    // COPY does not run rules.
    load(&bench, "t", Mode::Append, &["id", "n"], &[object("a", 1, &["12|1", "13|1"])]).await;
    assert_eq!(bench.row_count("t").await, 2);
}

#[tokio::test]
async fn row_level_security_is_obeyed() {
    let bench = PostgresBench::new();
    bench
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, n int); ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
             CREATE POLICY p ON t USING (n < 100)",
        )
        .await;
    load(&bench, "t", Mode::Append, &["id", "n"], &[object("a", 1, &["1|1"])]).await;
    load(&bench, "t", upsert(&["id"]), &["id", "n"], &[object("b", 2, &["1|2", "2|2"])]).await;
    let answer = try_load(&bench, "t", Mode::Append, &["id", "n"], &[object("c", 3, &["3|100"])]).await;
    assert!(answer.is_err());
    assert_eq!(table_rows(&bench, "t", "id, n").await, ["1|2", "2|2"]);
}

#[tokio::test]
async fn a_locked_row_is_busy_and_not_waited_for_longer_than_is_said() {
    let bench = PostgresBench::new();
    bench.execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)").await;
    bench.execute("BEGIN; UPDATE t SET n = 2").await;
    let objects = [object("a", 1, &["1|3"])];
    let answer = try_load(&bench, "t", upsert(&["id"]), &["id", "n"], &objects).await;
    assert_eq!(kind_of(answer), Kind::Busy);
    bench.execute("ROLLBACK").await;
    let answer = try_load(&bench, "t", upsert(&["id"]), &["id", "n"], &objects).await;
    assert!(matches!(answer, Ok(Committed::Loaded(_))));
}

#[tokio::test]
async fn a_statement_timeout_is_no_fault_of_the_object() {
    let bench = PostgresBench::new();
    bench
        .execute(
            "CREATE TABLE t (id int, n int); CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_sleep(5); RETURN NEW; END';
             CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .await;
    bench.database().sql(&format!("ALTER DATABASE {} SET statement_timeout = '400ms'", bench.database().name()));
    let error = refusal(&bench, "t", Mode::Append, &[object("a", 1, &["1|1"])]).await;
    assert_eq!(*error.kind(), Kind::Other);
    assert!(error.hint().is_some_and(|hint| hint.contains("statement_timeout")), "{:?}", error.hint());
}

#[tokio::test]
async fn a_deadlock_is_tried_again() {
    let bench = PostgresBench::new();
    bench.execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 1)").await;
    bench.execute("BEGIN; UPDATE t SET n = 9 WHERE id = 2").await;
    let objects = [object("a", 1, &["1|2", "2|2"])];
    let columns = ["id", "n"];
    let loading = try_load(&bench, "t", upsert(&["id"]), &columns, &objects);
    let rival = async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'longshore %' AND wait_event_type = 'Lock'";
        while bench.database().sql(waits).as_deref() == Some("0") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        // Whoever waited first is told to give way.
        bench.execute("UPDATE t SET n = 9 WHERE id = 1; ROLLBACK").await;
    };
    let (answer, ()) = tokio::join!(loading, rival);
    assert_eq!(kind_of(answer), Kind::Conflict);
    load(&bench, "t", upsert(&["id"]), &columns, &objects).await;
    assert_eq!(table_rows(&bench, "t", "id, n").await, ["1|2", "2|2"]);
}

#[tokio::test]
async fn rows_that_a_replace_cannot_delete_are_found_out() {
    let keeps = "CREATE FUNCTION keeps() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER keeps BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION keeps()";
    for by in [keeps, "CREATE RULE keeps AS ON DELETE TO t DO INSTEAD NOTHING"] {
        let bench = PostgresBench::new();
        bench.execute("CREATE TABLE t (id int, n int)").await;
        bench.execute(by).await;
        let first = object("a", 1, &["1|1", "2|1"]);
        load(&bench, "t", Mode::Replace, &["id", "n"], std::slice::from_ref(&first)).await;
        for rows in [&["3|2"][..], &[]] {
            let error = refusal(&bench, "t", Mode::Replace, &[object("b", 2, rows)]).await;
            assert!(*error.kind() == Kind::CountMismatch && error.to_string().contains("rows left"), "{error}");
        }
        assert_eq!(table_rows(&bench, "t", "id, n").await, ["1|1", "2|1"]);
    }
    let bench = PostgresBench::new();
    bench
        .execute(
            "CREATE TABLE t (id int, n int); ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
             CREATE POLICY p ON t USING (n < 100) WITH CHECK (true)",
        )
        .await;
    let error = refusal(&bench, "t", Mode::Replace, &[object("a", 1, &["1|1"])]).await;
    assert!(*error.kind() == Kind::Unsupported && error.to_string().contains("row-level"), "{error}");
}

#[tokio::test]
async fn tables_that_inherit_keep_their_rows() {
    let bench = PostgresBench::new();
    bench
        .execute("CREATE TABLE t (id int, n int); CREATE TABLE child () INHERITS (t); INSERT INTO child VALUES (1, 9)")
        .await;
    load(&bench, "t", Mode::Replace, &["id", "n"], &[object("a", 1, &["1|1", "2|1"])]).await;
    load(&bench, "t", upsert(&["id"]), &["id", "n"], &[object("b", 2, &["1|2", "3|2"])]).await;
    load(&bench, "t", Mode::Replace, &["id", "n"], &[object("c", 3, &["4|3"])]).await;
    assert_eq!(table_rows(&bench, "t", "id, n").await, ["1|9", "4|3"]);
    assert_eq!(table_rows(&bench, "child", "id, n").await, ["1|9"]);
}

#[tokio::test]
async fn keys_are_compared_as_their_type_says_whatever_the_search_path_finds() {
    let bench = PostgresBench::new();
    bench.database().sql(&format!(
        "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; GRANT USAGE ON SCHEMA ext TO PUBLIC;
         CREATE FUNCTION public.never(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
         CREATE OPERATOR public.= (leftarg = text, rightarg = text, function = public.never);
         ALTER DATABASE {} SET search_path = public, pg_catalog",
        bench.database().name()
    ));
    let warehouse = bench.rival();
    for (table, key) in [("c", "id ext.citext NOT NULL"), ("k", "id ext.citext PRIMARY KEY"), ("w", "id text NOT NULL")]
    {
        bench.execute(&format!("CREATE TABLE {table} ({key}, n int)")).await;
        let (old, new) = if table == "w" { ("abc", "abc") } else { ("Abc", "ABC") };
        for (nth, (id, n)) in [(old, 5), (new, 7)].into_iter().enumerate() {
            let objects = [object(&format!("{table}{nth}"), nth as i64, &[&format!("{id}|{n}")])];
            let spec = plan(warehouse.as_ref(), table, upsert(&["id"]), &["id", "n"], &objects).await;
            assert!(
                matches!(try_load_with(warehouse.as_ref(), spec, &objects).await, Ok(Committed::Loaded(_))),
                "{table}"
            );
        }
        let n = bench.database().sql(&format!("SELECT string_agg(n::text, ' ') FROM {table}"));
        assert_eq!(n.as_deref(), Some("7"), "{table}");
        // The ledger finds what it has.
        let objects = [object(&format!("{table}1"), 1, &["x|1"])];
        let spec = plan(warehouse.as_ref(), table, upsert(&["id"]), &["id", "n"], &objects).await;
        assert!(
            matches!(try_load_with(warehouse.as_ref(), spec, &objects).await, Ok(Committed::AlreadyIn(_))),
            "{table}"
        );
    }
}
