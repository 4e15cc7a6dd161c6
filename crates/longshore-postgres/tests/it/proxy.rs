//! The proxy breaks connections where it is told to.

use std::time::Duration;

use longshore_postgres::testing::{Database, Fault, Moment, Proxy, Server, Side};
use longshore_postgres::{Connection, Hop};

use crate::connecting::{ask, config, connect};

/// A database with a table, and a way to it that can break.
async fn bench() -> (Database<'static>, Proxy, Connection) {
    let database = Server::shared().database();
    database.sql("CREATE TABLE t (n int); ALTER TABLE t OWNER TO longshore");
    let proxy = Proxy::start(Server::shared());
    let connection = connect(&database.url_at(proxy.port())).await;
    (database, proxy, connection)
}

fn rows(database: &Database<'_>) -> String {
    database.sql("SELECT count(*) FROM t").expect("a number")
}

#[tokio::test]
async fn what_is_cut_before_commit_is_rolled_back() {
    let (database, proxy, mut connection) = bench().await;
    let fault = proxy.at_next(Fault::CutBefore(Moment::run("COMMIT")));
    let transaction = connection.transaction().await.expect("it begins");
    transaction.execute("INSERT INTO t VALUES (1)", &[]).await.expect("it is in");
    assert!(!fault.has_happened());
    let error = transaction.commit().await.expect_err("the connection is cut");
    assert!(error.is_closed() || error.as_db_error().is_none(), "{error:?}");
    fault.happened().await;
    // The lock of the transaction is gone when it is rolled back.
    database.sql("BEGIN; LOCK TABLE t; COMMIT");
    assert_eq!(rows(&database), "0");
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_has_happened() {
    let (database, proxy, mut connection) = bench().await;
    let fault = proxy.at_next(Fault::CutAfter(Moment::run("COMMIT")));
    let transaction = connection.transaction().await.expect("it begins");
    transaction.execute("INSERT INTO t VALUES (1)", &[]).await.expect("it is in");
    transaction.commit().await.expect_err("the answer is lost");
    assert!(fault.has_happened(), "the client learns of it only after the server has answered");
    assert_eq!(rows(&database), "1");
}

#[tokio::test]
async fn a_prepared_statement_is_found_when_it_runs() {
    let (database, proxy, connection) = bench().await;
    let statement = connection.prepare("INSERT INTO t VALUES ($1)").await.expect("prepared");
    let fault = proxy.at_next(Fault::CutAfter(Moment::run("INSERT INTO t")));
    connection.execute("SELECT 1", &[]).await.expect("another statement goes through");
    assert!(!fault.has_happened());
    connection.execute(&statement, &[&7]).await.expect_err("the answer is lost");
    assert!(fault.has_happened());
    assert_eq!(rows(&database), "1");
}

#[tokio::test]
async fn a_copy_can_be_cut_at_its_data_at_its_end_and_after_it() {
    for (fault, expected) in [
        (Fault::CutBefore(Moment::CopyData), "0"),
        (Fault::CutBefore(Moment::CopyDone), "0"),
        (Fault::CutAfter(Moment::CopyDone), "2"),
        (Fault::CutAfter(Moment::run("COPY t")), "0"),
        (Fault::CutAfterBytes(Side::Client, 40), "0"),
    ] {
        let (database, proxy, connection) = bench().await;
        let pending = proxy.at_next(fault.clone());
        let copied = copy(&connection, b"1\n2\n").await;
        assert!(copied.is_err() && pending.has_happened(), "{fault:?}");
        database.sql("BEGIN; LOCK TABLE t; COMMIT");
        assert_eq!(rows(&database), expected, "{fault:?}");
    }
}

#[tokio::test]
async fn rounds_are_counted_right_after_a_copy() {
    let (database, proxy, connection) = bench().await;
    assert_eq!(copy(&connection, b"1\n2\n").await.expect("copied"), 2);
    let fault = proxy.at_next(Fault::CutAfter(Moment::run("DELETE")));
    assert_eq!(ask(&connection, "SELECT 'still here'").await, "still here");
    connection.batch_execute("DELETE FROM t").await.expect_err("the answer is lost");
    assert!(fault.has_happened());
    assert_eq!(rows(&database), "0");
}

#[tokio::test]
async fn a_stalled_connection_goes_on_when_it_is_released() {
    let (database, proxy, connection) = bench().await;
    let fault = proxy.at_next(Fault::Stall(Moment::run("INSERT")));
    let insert = connection.batch_execute("INSERT INTO t VALUES (1)");
    tokio::pin!(insert);
    tokio::select! {
        biased;
        _ = &mut insert => panic!("nothing goes through"),
        () = fault.happened() => {}
    }
    assert_eq!(rows(&database), "0");
    fault.release();
    insert.await.expect("it goes on");
    assert_eq!(rows(&database), "1");
}

#[tokio::test]
async fn garbage_instead_of_an_answer_ends_the_connection() {
    let (database, proxy, connection) = bench().await;
    let fault = proxy.at_next(Fault::Garbage(Moment::run("INSERT")));
    connection.batch_execute("INSERT INTO t VALUES (1)").await.expect_err("no answer");
    fault.happened().await;
    assert_eq!(rows(&database), "1");
}

#[tokio::test]
async fn an_answer_can_be_cut_in_its_middle() {
    let (database, proxy, connection) = bench().await;
    let fault = proxy.at_next(Fault::CutAfterBytes(Side::Server, 3));
    connection.batch_execute("INSERT INTO t VALUES (1)").await.expect_err("only a part of the answer");
    fault.happened().await;
    assert_eq!(rows(&database), "1");
}

#[tokio::test]
async fn a_proxy_refuses_and_takes_connections_and_cuts_them() {
    let (database, proxy, connection) = bench().await;
    proxy.refuse();
    let refused = config(&database.url_at(proxy.port())).connect().await.expect_err("refused");
    assert_eq!(refused.hop(), Hop::Tcp);
    assert_eq!(ask(&connection, "SELECT 'open ones stay'").await, "open ones stay");
    proxy.cut();
    connection.batch_execute("SELECT 1").await.expect_err("cut");
    proxy.accept();
    connect(&database.url_at(proxy.port())).await;
}

#[tokio::test]
async fn a_login_can_break_and_is_worth_another_try() {
    let (database, proxy, _connection) = bench().await;
    let url = database.url_at(proxy.port());
    for fault in [
        Fault::CutBefore(Moment::Connect),
        Fault::CutAfter(Moment::Connect),
        Fault::Garbage(Moment::Connect),
        Fault::CutAfterBytes(Side::Server, 30),
    ] {
        let pending = proxy.at_next(fault.clone());
        let error = config(&url).connect().await.expect_err("it breaks");
        assert_eq!((error.hop(), error.is_transient()), (Hop::Login, true), "{fault:?}: {error:?}");
        assert!(pending.has_happened());
    }
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up_after_the_connect_timeout() {
    let (database, proxy, _connection) = bench().await;
    let fault = proxy.at_next(Fault::Stall(Moment::Connect));
    let config = config(&format!("{}?connect_timeout=600", database.url_at(proxy.port())));
    let connecting = config.connect();
    tokio::pin!(connecting);
    tokio::select! {
        biased;
        _ = &mut connecting => panic!("nothing goes through"),
        () = fault.happened() => {}
    }
    // From now on time passes when nothing else happens.
    tokio::time::pause();
    let error = connecting.await.expect_err("no answer");
    assert_eq!((error.hop(), error.is_transient()), (Hop::Login, true));
    assert_eq!(error.to_string(), format!("no answer comes from `127.0.0.1:{}` within 600 s", proxy.port()));
}

#[tokio::test]
async fn a_delay_changes_nothing_but_time() {
    let (database, proxy, connection) = bench().await;
    proxy.delay(Duration::from_millis(1));
    connection.execute("INSERT INTO t VALUES (1)", &[]).await.expect("it is in");
    assert_eq!(rows(&database), "1");
}

/// Copies text into the table.
async fn copy(connection: &Connection, text: &'static [u8]) -> Result<u64, tokio_postgres::Error> {
    let sink = connection.copy_in("COPY t FROM STDIN").await?;
    let mut sink = std::pin::pin!(sink);
    futures::SinkExt::send(&mut sink, bytes::Bytes::from_static(text)).await?;
    sink.finish().await
}
