//! What goes wrong on the way into Redshift, and what becomes of the load.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use longshore_postgres::{Config, Credential, Credentials, CredentialsError};
use longshore_warehouse::redshift::RedshiftConfig;
use longshore_warehouse::testing::conformance::{
    Bench, Object, block_on, cells, kind_of, load, object, open, plan, refused_at, rows_of, try_load, try_load_with,
    upsert, write_all,
};
use longshore_warehouse::{Committed, Kind, LoadId, Mode, Severity, Warehouse};
use redshift_standin::Fault;

use crate::bench::{Lent, RedshiftBench};
use crate::s3;

const COLUMNS: &[&str] = &["id", "name"];

fn modes() -> [Mode; 3] {
    [Mode::Append, upsert(&["id"]), Mode::Replace]
}

async fn with_table() -> Lent {
    let bench = tokio::task::spawn_blocking(|| Lent::Standin(Box::new(RedshiftBench::new()))).await.unwrap();
    bench.execute("CREATE TABLE t (id INTEGER, name VARCHAR(20))").await;
    bench
}

fn staged(bench: &Lent) -> Vec<String> {
    bench.of_standin().s3.keys().into_iter().filter(|key| key.starts_with("staging/")).collect()
}

/// The tables of the ledger, by the beginning of their names.
async fn of_ledger(bench: &Lent, kind: &str) -> String {
    let found = rows_of(
        bench,
        &format!(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'longshore' AND c.relname LIKE '{kind}%'"
        ),
    )
    .await;
    format!("longshore.{}", found[0])
}

/// A session that has the fence of the only table, as the load `name` would have it.
async fn hold_the_fence(bench: &Lent, name: &str) -> longshore_postgres::Connection {
    let head = of_ledger(bench, "head").await;
    let holder = bench.of_standin().client().await;
    for sql in ["BEGIN".to_owned(), format!("UPDATE {head} SET epoch = epoch /* fence of {name} */")] {
        holder.batch_execute(&sql).await.unwrap();
    }
    holder
}

/// Ends the bench where no runtime minds that it waits.
async fn end(bench: Lent) {
    tokio::task::spawn_blocking(move || drop(bench)).await.unwrap();
}

async fn entries(bench: &Lent) -> Vec<String> {
    let ledger = of_ledger(bench, "ledger").await;
    rows_of(bench, &format!("SELECT key, rows_loaded FROM {ledger} ORDER BY 1")).await
}

#[test]
fn a_serialization_failure_is_played_again_from_the_fence() {
    block_on(async {
        let bench = with_table().await;
        for (n, mode) in modes().into_iter().enumerate() {
            let one = object("a", n as i64, &["1|a", "2|b"]);
            for words in ["update \"longshore\"", "insert into \"public\"", "insert into \"longshore\"", "commit"] {
                bench.of_standin().standin.faults().at(words, 1, Fault::SERIALIZATION);
                let generation = one.clone().generation(u32::try_from(words.len()).unwrap());
                load(&bench, "t", mode.clone(), COLUMNS, &[generation]).await;
                assert!(bench.of_standin().standin.faults().are_spent(), "{words}");
            }
        }
        assert_eq!(rows_of(&bench, "SELECT id, name FROM t ORDER BY id").await, ["1|a", "2|b"]);
        assert!(staged(&bench).is_empty(), "{:?}", staged(&bench));
        end(bench).await;
    });
}

#[test]
fn what_does_not_end_is_a_conflict_and_leaves_nothing() {
    block_on(async {
        let bench = with_table().await;
        for _ in 0..20 {
            bench.of_standin().standin.faults().at("commit", 1, Fault::Raise("40P01", "deadlock detected", ""));
        }
        let answer = try_load(&bench, "t", Mode::Append, COLUMNS, &[object("a", 1, &["1|a"])]).await;
        assert!(matches!(kind_of(answer), Kind::Conflict | Kind::Busy));
        assert_eq!(rows_of(&bench, "SELECT count(*) FROM t").await, ["0"]);
        end(bench).await;
    });
}

#[test]
fn a_commit_without_an_answer_is_settled_by_beginning_again() {
    block_on(async {
        let bench = with_table().await;
        // The first load makes the ledger, in a transaction of its own.
        load(&bench, "t", Mode::Append, COLUMNS, &[object("first", 0, &["9|z"])]).await;
        for (n, mode) in modes().into_iter().enumerate() {
            let one = object(&format!("o{n}"), 1 + n as i64, &["1|a", "2|b"]);
            bench.of_standin().standin.faults().at("commit", 1, Fault::CutBefore);
            let answer = try_load(&bench, "t", mode.clone(), COLUMNS, std::slice::from_ref(&one)).await;
            assert_eq!(kind_of(answer), Kind::OutcomeUnknown);
            bench.of_standin().standin.faults().at("commit", 1, Fault::CutAfter);
            let answer = try_load(&bench, "t", mode.clone(), COLUMNS, std::slice::from_ref(&one)).await;
            assert_eq!(kind_of(answer), Kind::OutcomeUnknown);
            let answer = try_load(&bench, "t", mode, COLUMNS, std::slice::from_ref(&one)).await;
            assert!(matches!(answer, Ok(Committed::AlreadyIn(_))), "{answer:?}");
        }
        assert_eq!(entries(&bench).await, ["first|1", "o0|2", "o1|2", "o2|2"]);
        end(bench).await;
    });
}

#[test]
fn a_connection_that_breaks_before_commit_loads_nothing() {
    block_on(async {
        let bench = with_table().await;
        let one = object("a", 1, &["1|a"]);
        for words in ["create temp table", "copy ", "update \"longshore\"", "insert into \"public\""] {
            for fault in [Fault::CutBefore, Fault::CutAfter] {
                bench.of_standin().standin.faults().at(words, 1, fault);
                let answer = try_load(&bench, "t", Mode::Append, COLUMNS, std::slice::from_ref(&one)).await;
                assert_eq!(kind_of(answer), Kind::Unreachable, "{words}");
                assert_eq!(rows_of(&bench, "SELECT count(*) FROM t").await, ["0"], "{words}");
            }
        }
        load(&bench, "t", Mode::Append, COLUMNS, &[one]).await;
        end(bench).await;
    });
}

#[test]
fn a_copy_error_names_object_and_line_of_the_original() {
    block_on(async {
        let bench = with_table().await;
        bench.execute("CREATE TABLE d (id INTEGER, v DECIMAL(19, 0))").await;
        let mut second = object("b", 2, &[]);
        second.rows = (0..500).map(|n| (n * 3 + 2, cells(&format!("{n}|1")))).collect();
        // More than the 64 bits in which 19 digits are kept.
        second.rows[321].1[1] = Some("9999999999999999999".to_owned());
        let line = second.rows[321].0;
        let group: Vec<Object> = vec![object("a", 1, &["1|1", "2|2"]), second];
        for mode in modes() {
            let answer = try_load(&bench, "d", mode, &["id", "v"], &group).await;
            assert_eq!(refused_at(answer), (Some(1), Some(line), Some("v".to_owned())));
        }
        assert_eq!(rows_of(&bench, "SELECT count(*) FROM d").await, ["0"]);
        assert!(staged(&bench).is_empty(), "{:?}", staged(&bench));
        end(bench).await;
    });
}

#[test]
fn a_store_that_is_busy_while_redshift_reads_is_transient() {
    block_on(async {
        let bench = with_table().await;
        bench.of_standin().s3.inject(s3::On::every("GetObject"), s3::Fault::Answer(503, "SlowDown"));
        let one = object("a", 1, &["1|a"]);
        let answer = try_load(&bench, "t", Mode::Append, COLUMNS, std::slice::from_ref(&one)).await;
        assert!(matches!(kind_of(answer), Kind::Unreachable | Kind::Conflict | Kind::Busy));
        bench.of_standin().s3.heal();
        load(&bench, "t", Mode::Append, COLUMNS, &[one]).await;
        end(bench).await;
    });
}

#[test]
fn two_processes_at_one_object_bring_it_in_once() {
    block_on(async {
        let bench = with_table().await;
        let (one, two) = (bench.warehouse(), bench.rival());
        for (n, mode) in modes().into_iter().enumerate() {
            let object = object(&format!("o{n}"), n as i64, &["1|a", "2|b"]);
            let spec = plan(one.as_ref(), "t", mode.clone(), COLUMNS, std::slice::from_ref(&object)).await;
            let rival = plan(two.as_ref(), "t", mode, COLUMNS, std::slice::from_ref(&object)).await;
            let (first, second) = tokio::join!(
                try_load_with(one.as_ref(), spec, std::slice::from_ref(&object)),
                try_load_with(two.as_ref(), rival, std::slice::from_ref(&object))
            );
            let loaded = [&first, &second].iter().filter(|a| matches!(a, Ok(Committed::Loaded(_)))).count();
            assert_eq!(loaded, 1, "{first:?} {second:?}");
        }
        assert_eq!(entries(&bench).await, ["o0|2", "o1|2", "o2|2"]);
        end(bench).await;
    });
}

#[test]
fn sweep_removes_what_a_dead_load_staged_and_nothing_else() {
    block_on(async {
        let bench = with_table().await;
        let (dead, alive) = (bench.warehouse(), bench.rival());
        let one = object("a", 1, &["1|a"]);
        let spec = plan(dead.as_ref(), "t", Mode::Append, COLUMNS, std::slice::from_ref(&one)).await;
        let folder = format!("staging/suite/{}/", spec.load_id);
        bench.of_standin().s3.put(&format!("{folder}part-00000.csv.zst"), "x");
        bench.of_standin().s3.put("staging/another/x/part-00000.csv.zst", "x");
        let later = jiff::Timestamp::now() + std::time::Duration::from_secs(60);
        let live = HashSet::from([spec.load_id]);
        assert_eq!(alive.sweep(&live, later).await.unwrap().staging, 0);
        assert_eq!(alive.sweep(&HashSet::new(), spec.load_id.drawn_at().unwrap()).await.unwrap().staging, 0);
        assert_eq!(alive.sweep(&HashSet::new(), later).await.unwrap().staging, 1);
        assert_eq!(staged(&bench), ["staging/another/x/part-00000.csv.zst"]);
        end(bench).await;
    });
}

#[test]
fn a_load_that_is_dropped_or_rolled_back_leaves_nothing_staged_that_a_sweep_does_not_find() {
    block_on(async {
        let bench = with_table().await;
        let warehouse = bench.warehouse();
        let one = object("a", 1, &["1|a"]);
        let table = warehouse.describe(&longshore_warehouse::testing::conformance::name("t")).await.unwrap();
        let spec = plan(warehouse.as_ref(), "t", Mode::Append, COLUMNS, std::slice::from_ref(&one)).await;
        let mut load = open(warehouse.as_ref(), spec.clone()).await;
        write_all(&mut load, &table, &spec, std::slice::from_ref(&one), 1).await.unwrap();
        load.rollback().await.unwrap();
        assert!(staged(&bench).is_empty(), "{:?}", staged(&bench));
        assert_eq!(rows_of(&bench, "SELECT count(*) FROM t").await, ["0"]);
        end(bench).await;
    });
}

#[test]
fn varbyte_keeps_its_bytes_and_refuses_none_by_line() {
    block_on(async {
        let bench = with_table().await;
        bench.execute("CREATE TABLE b (id INTEGER, v VARBYTE(10))").await;
        let mut one = object("a", 1, &["1|00ff", "2|7f"]);
        one.rows.push((9, vec![Some("3".to_owned()), None]));
        load(&bench, "b", Mode::Append, &["id", "v"], &[one]).await;
        assert_eq!(rows_of(&bench, "SELECT id, v FROM b ORDER BY id").await, ["1|00ff", "2|7f", "3|\\N"]);
        let empty = object("e", 2, &["4|"]);
        let answer = try_load(&bench, "b", Mode::Append, &["id", "v"], &[empty]).await;
        assert_eq!(refused_at(answer), (Some(0), Some(2), Some("v".to_owned())));
        end(bench).await;
    });
}

#[test]
fn keys_that_differ_by_blanks_at_their_end_are_one_key() {
    block_on(async {
        let bench = with_table().await;
        load(&bench, "t", upsert(&["name"]), COLUMNS, &[object("a", 1, &["1|x", "2|x  ", "3|y"])]).await;
        assert_eq!(rows_of(&bench, "SELECT id FROM t ORDER BY id").await, ["2", "3"]);
        load(&bench, "t", upsert(&["name"]), COLUMNS, &[object("b", 2, &["4|x", "5|y "])]).await;
        assert_eq!(rows_of(&bench, "SELECT id FROM t ORDER BY id").await, ["4", "5"]);
        end(bench).await;
    });
}

#[test]
fn identity_and_defaults_are_left_to_the_table_and_kept_by_an_upsert() {
    block_on(async {
        let bench = with_table().await;
        bench
            .execute(
                "CREATE TABLE i (n BIGINT IDENTITY(1,1), id INTEGER, name VARCHAR(20), c INTEGER DEFAULT 7)
                 DISTKEY (id) SORTKEY (id)",
            )
            .await;
        load(&bench, "i", upsert(&["id"]), COLUMNS, &[object("a", 1, &["1|a"])]).await;
        let before = rows_of(&bench, "SELECT n, id, name, c FROM i").await;
        bench.execute("UPDATE i SET c = 8").await;
        load(&bench, "i", upsert(&["id"]), COLUMNS, &[object("b", 2, &["1|b"])]).await;
        let after = rows_of(&bench, "SELECT n, id, name, c FROM i").await;
        assert_eq!(before[0].replace("|a|7", "|b|8"), after[0]);
        end(bench).await;
    });
}

#[test]
fn a_fence_that_is_held_for_long_costs_no_second_staging() {
    block_on(async {
        let bench = with_table().await;
        load(&bench, "t", Mode::Append, COLUMNS, &[object("first", 0, &["9|z"])]).await;
        let holder = hold_the_fence(&bench, "somebody else").await;
        let read = |bench: &Lent| bench.of_standin().s3.count("GetObject");
        let before = read(&bench);
        let letting_go = async {
            // Longer than one try waits.
            tokio::time::sleep(Duration::from_secs(4)).await;
            holder.batch_execute("ROLLBACK").await.unwrap();
        };
        let one = [object("a", 1, &["1|a", "2|b"])];
        let (answer, ()) = tokio::join!(try_load(&bench, "t", Mode::Append, COLUMNS, &one), letting_go);
        assert!(matches!(answer, Ok(Committed::Loaded(_))), "{answer:?}");
        // One manifest and one part, once each.
        assert_eq!(read(&bench) - before, 2);
        assert_eq!(entries(&bench).await, ["a|2", "first|1"]);

        // It is bounded.
        let holder = hold_the_fence(&bench, "somebody else").await;
        let hasty = bench.of_standin().warehouse_by(|config| RedshiftConfig {
            wait: Duration::from_millis(300),
            hold: Duration::from_secs(1),
            ..config
        });
        let two = [object("b", 2, &["3|c"])];
        let spec = plan(&hasty, "t", Mode::Append, COLUMNS, &two).await;
        let began = std::time::Instant::now();
        assert_eq!(kind_of(try_load_with(&hasty, spec, &two).await), Kind::Busy);
        assert!(began.elapsed() >= Duration::from_secs(1));
        holder.batch_execute("ROLLBACK").await.unwrap();
        assert!(staged(&bench).is_empty(), "{:?}", staged(&bench));
        end(bench).await;
    });
}

#[test]
fn the_session_of_a_dead_load_that_holds_the_fence_is_ended() {
    block_on(async {
        let bench = with_table().await;
        load(&bench, "t", Mode::Append, COLUMNS, &[object("first", 0, &["9|z"])]).await;
        let (dead, warehouse) = (LoadId::draw(), bench.warehouse());
        let later = jiff::Timestamp::now() + Duration::from_secs(60);
        let alive = HashSet::from([dead]);
        for (load, live, before, ended) in [
            (format!("longshore {dead} suite"), &alive, later, 0),
            (format!("longshore {dead} suite"), &HashSet::new(), dead.drawn_at().unwrap(), 0),
            (format!("longshore {dead} another"), &HashSet::new(), later, 0),
            ("somebody else".to_owned(), &HashSet::new(), later, 0),
            (format!("longshore {dead} suite"), &HashSet::new(), later, 1),
        ] {
            let holder = hold_the_fence(&bench, &load).await;
            assert_eq!(warehouse.sweep(live, before).await.unwrap().backends, ended, "{load}");
            let is_over = holder.batch_execute("ROLLBACK").await.is_err();
            assert_eq!(is_over, ended == 1, "{load}");
        }
        // One that is over holds nothing, as soon as the views know of its end.
        let nothing_is_left = async {
            while warehouse.sweep(&HashSet::new(), later).await.unwrap().backends > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), nothing_is_left).await.expect("the session is gone");
        load(&bench, "t", Mode::Append, COLUMNS, &[object("a", 1, &["1|a"])]).await;

        // The fence of a load bears its name: while it waits for its COMMIT, it is found by it.
        bench.of_standin().standin.faults().at(
            "insert into \"public\"",
            1,
            redshift_standin::Fault::Delay(Duration::from_secs(2)),
        );
        let two = [object("b", 2, &["2|b"])];
        let spec = plan(warehouse.as_ref(), "t", Mode::Append, COLUMNS, &two).await;
        let sweeping = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            bench.rival().sweep(&HashSet::new(), later).await.unwrap().backends
        };
        let (answer, ended) = tokio::join!(try_load_with(warehouse.as_ref(), spec, &two), sweeping);
        assert_eq!(ended, 1);
        assert_eq!(kind_of(answer), Kind::Unreachable);
        load(&bench, "t", Mode::Append, COLUMNS, &two).await;
        assert_eq!(entries(&bench).await, ["a|1", "b|1", "first|1"]);
        end(bench).await;
    });
}

#[test]
fn a_statement_may_stand_in_the_queue_for_longer_than_patience() {
    block_on(async {
        let bench = with_table().await;
        let hasty =
            bench.of_standin().warehouse_by(|config| RedshiftConfig { patience: Duration::from_millis(700), ..config });
        for words in ["select h.", "select \"table_name\"", "insert into \"longshore\".\"ledger", "drop table"] {
            let late = Fault::Delay(Duration::from_millis(1500));
            bench.of_standin().standin.faults().at(words, 1, late);
        }
        let one = [object("a", 1, &["1|a"])];
        let spec = plan(&hasty, "t", Mode::Append, COLUMNS, &one).await;
        let answer = try_load_with(&hasty, spec, &one).await;
        assert!(matches!(answer, Ok(Committed::Loaded(_))), "{answer:?}");
        assert!(bench.of_standin().standin.faults().are_spent());
        end(bench).await;
    });
}

#[test]
fn a_table_that_is_gone_is_tried_again_if_it_is_ours_and_told_if_it_is_not() {
    block_on(async {
        let bench = with_table().await;
        let gone = || Fault::Raise("XX000", "1018", "Relation does not exist");
        let one = object("a", 1, &["1|a"]);
        bench.of_standin().standin.faults().at("update \"longshore\"", 1, gone());
        load(&bench, "t", Mode::Append, COLUMNS, std::slice::from_ref(&one)).await;
        assert!(bench.of_standin().standin.faults().are_spent());
        let two = object("b", 2, &["2|b"]);
        for (words, kind) in [("create temp table", Kind::Conflict), ("insert into \"public\"", Kind::Missing)] {
            bench.of_standin().standin.faults().at(words, 1, gone());
            let answer = try_load(&bench, "t", Mode::Append, COLUMNS, std::slice::from_ref(&two)).await;
            assert_eq!(kind_of(answer), kind, "{words}");
        }
        load(&bench, "t", Mode::Append, COLUMNS, &[two]).await;
        assert_eq!(entries(&bench).await, ["a|1", "b|1"]);
        end(bench).await;
    });
}

#[test]
fn a_server_that_goes_down_is_transient_wherever_it_does() {
    block_on(async {
        let bench = with_table().await;
        load(&bench, "t", Mode::Append, COLUMNS, &[object("first", 0, &["9|z"])]).await;
        let one = object("a", 1, &["1|a"]);
        for words in ["create temp table", "copy ", "update \"longshore\"", "insert into \"public\"", "commit"] {
            let down = Fault::Raise("57P01", "terminating connection due to administrator command", "");
            bench.of_standin().standin.faults().at(words, 1, down);
            let answer = try_load(&bench, "t", Mode::Append, COLUMNS, std::slice::from_ref(&one)).await;
            let kind = kind_of(answer);
            let expected = if words == "commit" { Kind::OutcomeUnknown } else { Kind::Unreachable };
            assert_eq!(kind, expected, "{words}");
            assert!(staged(&bench).is_empty(), "{:?}", staged(&bench));
        }
        load(&bench, "t", Mode::Append, COLUMNS, &[one]).await;
        assert_eq!(entries(&bench).await, ["a|1", "first|1"]);
        end(bench).await;
    });
}

#[test]
fn check_does_not_wait_for_a_copy_that_has_no_way_to_the_bucket() {
    block_on(async {
        let bench = with_table().await;
        let text = "Query (7) canceled on user's request";
        bench.of_standin().standin.faults().at(" noload", 1, Fault::Raise("57014", text, ""));
        let findings = bench.warehouse().check(&[]).await;
        let fault = findings.iter().find(|finding| finding.severity == Severity::Fault).unwrap();
        assert!(fault.cure.as_ref().is_some_and(|cure| cure.contains("endpoint for S3")), "{fault:?}");
        let findings = bench.warehouse().check(&[]).await;
        assert!(findings.iter().all(|finding| finding.severity == Severity::Fine), "{findings:?}");
        end(bench).await;
    });
}

/// Gives out the stand-in's own login, and counts how often.
#[derive(Debug)]
struct Counting(AtomicU32);

#[async_trait::async_trait]
impl Credentials for Counting {
    async fn fetch(&self) -> Result<Credential, CredentialsError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Credential { user: "awsuser".to_owned(), password: "Not-A-Secret-1".into() })
    }
}

#[test]
fn a_login_is_fetched_for_every_connection_and_its_user_is_the_one_who_is_named() {
    block_on(async {
        let bench = with_table().await;
        let url = bench.of_standin().standin.address().replace("awsuser@", "");
        let login = Arc::new(Counting(AtomicU32::new(0)));
        let warehouse = bench.of_standin().warehouse_by(|config| RedshiftConfig {
            connect: Config::with_environment(&url, &|_| None).unwrap().credentials(login.clone()),
            ..config
        });
        let table = longshore_warehouse::testing::conformance::name("t");
        for nth in 1..=3 {
            warehouse.describe(&table).await.unwrap();
            warehouse.describe(&table).await.unwrap();
            assert_eq!(login.0.load(Ordering::Relaxed), nth);
            warehouse.release().await;
        }
        // Two at once are two connections.
        let (one, two) = tokio::join!(warehouse.describe(&table), warehouse.describe(&table));
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(login.0.load(Ordering::Relaxed), 5);
        assert!(warehouse.ledger_sql().await.unwrap().contains("TO \"awsuser\""));
        end(bench).await;
    });
}

#[test]
fn a_user_sees_and_ends_sessions_of_their_own_only() {
    block_on(async {
        let bench = with_table().await;
        bench.execute("CREATE USER loader PASSWORD 'Loader-1'").await;
        load(&bench, "t", Mode::Append, COLUMNS, &[object("first", 0, &["9|z"])]).await;
        let holder = hold_the_fence(&bench, "somebody else").await;
        let url = bench.of_standin().standin.url().replace("awsuser:Not-A-Secret-1", "loader:Loader-1");
        let loader = Config::with_environment(&url, &|_| None).unwrap().connect().await.unwrap();
        let pid = |rows: &[tokio_postgres::SimpleQueryMessage]| {
            rows.iter().find_map(|row| match row {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
        };
        let held = "SELECT pid FROM svv_transactions WHERE granted";
        assert_eq!(pid(&loader.simple_query(held).await.unwrap()), None);
        assert_eq!(pid(&loader.simple_query("SELECT session_id FROM sys_query_history").await.unwrap()), None);
        let owner = bench.of_standin().client().await;
        let holding = pid(&owner.simple_query(held).await.unwrap()).unwrap();
        let ending = format!("SELECT pg_terminate_backend({holding})");
        assert_eq!(loader.batch_execute(&ending).await.unwrap_err().code().unwrap().code(), "42501");
        owner.batch_execute(&ending).await.unwrap();
        assert!(holder.batch_execute("ROLLBACK").await.is_err());
        // Ending is a signal: the session's client may know before its locks are gone.
        tokio::time::timeout(Duration::from_secs(60), async {
            while pid(&owner.simple_query(held).await.unwrap()).is_some() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("the ended session gave its locks back");
        end(bench).await;
    });
}
