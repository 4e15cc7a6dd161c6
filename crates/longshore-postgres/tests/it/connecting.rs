//! A URL becomes a connection, or an error that says why not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use longshore_postgres::testing::{Options, Server};
use longshore_postgres::{Config, ConnectError, Connection, Hop, quote};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_postgres::error::SqlState;

/// Connects with nothing but the URL.
pub(crate) async fn connect(url: &str) -> Connection {
    config(url).connect().await.unwrap_or_else(|error| panic!("{error:?}"))
}

pub(crate) fn config(url: &str) -> Config {
    Config::with_environment(url, &|_| None).expect("the URL is good")
}

/// The first value of an answer.
pub(crate) async fn ask(connection: &Connection, question: &str) -> String {
    connection.query_one(question, &[]).await.expect("an answer").get(0)
}

async fn refusal(url: &str) -> ConnectError {
    config(url).connect().await.err().unwrap_or_else(|| panic!("{url} connects"))
}

/// Number of backends of a condition, as a superuser sees it.
async fn backends(admin: &Connection, condition: &str) -> i64 {
    let question = format!("SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {condition}");
    admin.query_one(&question, &[]).await.expect("an answer").get(0)
}

/// Waits until there are so many.
async fn wait_for_backends(server: &Server, condition: &str, wanted: i64) {
    let admin = connect(&server.admin_url()).await;
    let reached = async {
        while backends(&admin, condition).await != wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), reached).await.expect("it comes to that");
}

/// Waits until a statement sleeps at a server.
pub(crate) async fn sleeps(server: &Server) {
    wait_for_backends(server, "wait_event = 'PgSleep'", 1).await;
}

#[tokio::test]
async fn a_database_of_the_shared_server_opens_by_its_url() {
    let database = Server::shared().database();
    let connection = connect(&database.url()).await;
    assert_eq!(ask(&connection, "SELECT current_database()::text").await, database.name());
    assert_eq!(ask(&connection, "SELECT current_user::text").await, "longshore");
    connection.close().await;
}

#[tokio::test]
async fn a_server_is_reached_by_its_socket() {
    let server = Server::shared();
    let connection = connect(&server.admin_url()).await;
    assert_eq!(ask(&connection, "SELECT current_user::text").await, "postgres");
    let folder = server.folder().display().to_string();
    let by_parameter = format!("postgres:///postgres?host={folder}&port={}&user=postgres", server.port());
    assert_eq!(ask(&connect(&by_parameter).await, "SELECT current_user::text").await, "postgres");
}

#[tokio::test]
async fn parameters_reach_the_server() {
    let database = Server::shared().database();
    let url = format!("{}?application_name=from-url&options=-c%20lock_timeout%3D7s", database.url());
    let connection = connect(&url).await;
    assert_eq!(ask(&connection, "SHOW application_name").await, "from-url");
    assert_eq!(ask(&connection, "SHOW lock_timeout").await, "7s");
    let connection = config(&url).application_name("load 7").connect().await.expect("connected");
    assert_eq!(ask(&connection, "SHOW application_name").await, "load 7");
}

#[tokio::test]
async fn sockets_take_any_settings_of_keepalives() {
    let database = Server::shared().database();
    for parameters in [
        "keepalives_idle=30&keepalives_interval=5&keepalives_count=2&tcp_user_timeout=10000",
        "keepalives=0&tcp_user_timeout=0",
        "keepalives_idle=0&keepalives_interval=0&keepalives_count=0",
    ] {
        let connection = connect(&format!("{}?{parameters}", database.url())).await;
        assert_eq!(ask(&connection, "SELECT 'here'").await, "here", "{parameters}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let url = format!("postgres://longshore:hunter2@127.0.0.1:{}/postgres", Server::shared().port());
    let error = refusal(&url).await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Login, false));
    assert_eq!(error.sqlstate(), Some(&SqlState::INVALID_PASSWORD));
    assert!(!format!("{error:?} {error} {:?}", config(&url)).contains("hunter2"));
    assert!(!config(&url).describe().contains("hunter2"));
}

#[tokio::test]
async fn a_password_that_is_missing_is_asked_for() {
    let error = refusal(&format!("postgres://longshore@127.0.0.1:{}/postgres", Server::shared().port())).await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Login, false));
    assert_eq!(error.hint(), Some("put it into `~/.pgpass` or `PGPASSWORD`"));
}

#[tokio::test]
async fn the_servers_rules_are_passed_on() {
    let server = Server::start(Options::default().rule("host all barred all reject"));
    server.role("barred", "x", "");
    let error = refusal(&format!("postgres://barred:x@127.0.0.1:{}/postgres", server.port())).await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Login, false));
    let cause = std::error::Error::source(&error).expect("the server's words").to_string();
    assert!(cause.contains("pg_hba.conf rejects connection"), "{cause}");
}

#[tokio::test]
async fn a_database_that_is_missing_or_closed_is_named() {
    let database = Server::shared().database();
    let error = refusal(&database.url().replace(database.name(), "nowhere")).await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Database, false));
    assert_eq!(error.to_string(), format!("`127.0.0.1:{}` has no database `nowhere`", Server::shared().port()));

    Server::shared().role("visitor", "x", "");
    database.sql(&format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", database.name()));
    let url = format!("postgres://visitor:x@127.0.0.1:{}/{}", Server::shared().port(), database.name());
    let error = refusal(&url).await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Database, false));
    assert_eq!(
        error.hint(),
        Some(format!("GRANT CONNECT ON DATABASE \"{}\" TO \"visitor\"", database.name()).as_str())
    );
}

#[tokio::test]
async fn a_full_server_is_worth_another_try() {
    Server::shared().role("lonely", "x", "CONNECTION LIMIT 1");
    let url = format!("postgres://lonely:x@127.0.0.1:{}/postgres", Server::shared().port());
    let first = connect(&url).await;
    let error = refusal(&url).await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Login, true));
    assert_eq!(error.sqlstate(), Some(&SqlState::TOO_MANY_CONNECTIONS));
    first.close().await;
    wait_for_backends(Server::shared(), "usename = 'lonely'", 0).await;
    connect(&url).await;
}

/// Something that takes connections at a port, says this to each, and takes no notice of what it hears.
async fn says(words: &'static [&'static [u8]]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            for word in words {
                if client.read(&mut [0; 1000]).await.is_err() || client.write_all(word).await.is_err() {
                    break;
                }
            }
        }
    });
    port
}

#[tokio::test]
async fn a_server_that_starts_up_is_worth_another_try() {
    const STARTING: &[u8] = b"E\0\0\0\x35SFATAL\0VFATAL\0C57P03\0Mthe system is starting up\0\0";
    let port = says(&[b"N", STARTING]).await;
    let error = refusal(&format!("postgres://u:p@127.0.0.1:{port}/db")).await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Login, true), "{error:?}");
    assert_eq!(error.sqlstate(), Some(&SqlState::CANNOT_CONNECT_NOW));
    let cause = std::error::Error::source(&error).expect("the server's words").to_string();
    assert_eq!(cause, "FATAL: the system is starting up");
}

#[tokio::test]
async fn what_is_no_postgresql_server_is_not_taken_for_one() {
    let port = says(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"]).await;
    let error = refusal(&format!("postgres://u:p@127.0.0.1:{port}/db")).await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Tls, false), "{error:?}");
    assert_eq!(error.to_string(), format!("what answers at `127.0.0.1:{port}` is no PostgreSQL server"));

    // It begins as a server does that speaks TLS.
    let port = says(&[b"SSH-2.0-OpenSSH_9.2\r\n"]).await;
    let error = refusal(&format!("postgres://u:p@127.0.0.1:{port}/db?sslmode=require")).await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Tls, false), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("whether a PostgreSQL server is at this port")));
}

#[tokio::test]
async fn a_host_or_port_that_nobody_has_is_told_apart() {
    let error = refusal("postgres://u@no-such-host.invalid/db").await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Dns, true));
    assert_eq!(error.to_string(), "the name `no-such-host.invalid` cannot be resolved");

    let server = Server::start(Options::default());
    server.stop();
    let error = refusal(&format!("postgres://u@127.0.0.1:{}/db", server.port())).await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Tcp, true));
    assert_eq!(error.to_string(), format!("nothing listens at `127.0.0.1:{}`", server.port()));

    let error = refusal(&server.admin_url()).await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Tcp, true));
}

#[tokio::test]
async fn the_next_host_is_tried_when_one_is_dead() {
    let dead = Server::start(Options::default());
    dead.stop();
    let database = Server::shared().database();
    let alone = format!("127.0.0.1:{}", Server::shared().port());
    let url = database.url().replace(&alone, &format!("127.0.0.1:{},{alone}", dead.port()));
    assert_eq!(ask(&connect(&url).await, "SELECT current_database()::text").await, database.name());

    let both = format!("127.0.0.1:{0},localhost:{0}", dead.port());
    let error = refusal(&format!("postgres://u@{both}/db")).await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Tcp, true));
    let port = dead.port();
    assert_eq!(
        error.to_string(),
        format!(
            "none of 2 hosts can be used: nothing listens at `127.0.0.1:{port}`; nothing listens at `localhost:{port}`"
        )
    );
}

#[tokio::test]
async fn a_server_of_the_wanted_role_is_chosen() {
    let locked = Server::start(Options::default().set("default_transaction_read_only", "off"));
    locked.sql("ALTER ROLE longshore SET default_transaction_read_only = on");
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", locked.port(), Server::shared().port());
    let url = format!("postgres://longshore:p%40ss%3Aw%2Frd@{hosts}/postgres?target_session_attrs=");
    for (wanted, port) in [
        ("any", locked.port()),
        ("read-only", locked.port()),
        ("read-write", Server::shared().port()),
        ("primary", locked.port()),
        ("prefer-standby", locked.port()),
    ] {
        let connection = connect(&format!("{url}{wanted}")).await;
        assert_eq!(ask(&connection, "SHOW port").await, port.to_string(), "{wanted}");
    }
    let error = refusal(&format!("{url}standby")).await;
    assert_eq!((error.hop(), error.is_transient()), (Hop::Role, true));
    assert!(error.hint().is_some_and(|hint| hint.contains("target_session_attrs=standby")), "{error:?}");
}

#[tokio::test]
async fn the_password_file_is_read_at_every_connect_and_only_if_it_is_private() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join(".pgpass");
    let port = Server::shared().port();
    let home = home.path().display().to_string();
    let config = Config::with_environment(&format!("postgres://longshore@127.0.0.1:{port}/postgres"), &|name| {
        (name == "HOME").then(|| home.clone())
    });
    let config = config.expect("the URL is good");
    assert!(config.connect().await.is_err(), "there is no file");
    fs::write(&file, format!("127.0.0.1:{port}:*:longshore:p@ss\\:w/rd\n")).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("set");
    assert!(config.connect().await.is_err(), "others may read it");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
    config.connect().await.expect("it has the password");
}

#[tokio::test]
async fn a_statement_is_cancelled() {
    let server = Server::start(Options::default());
    let connection = connect(&server.admin_url()).await;
    let slept = connection.batch_execute("SELECT pg_sleep(600)");
    tokio::pin!(slept);
    tokio::select! {
        biased;
        _ = &mut slept => panic!("it sleeps"),
        () = sleeps(&server) => {}
    }
    connection.cancel().await.expect("the word is passed on");
    let error = slept.await.expect_err("it is cancelled");
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    // What comes next is not hit.
    for _ in 0..20 {
        connection.cancel().await.expect("the word is passed on");
        assert_eq!(ask(&connection, "SELECT 'still here'").await, "still here");
    }
}

#[tokio::test]
async fn a_dropped_connection_is_gone_and_its_transaction_too() {
    let database = Server::shared().database();
    let mine = format!("datname = '{}'", database.name());
    let connection = connect(&database.url()).await;
    connection.batch_execute("BEGIN; CREATE TABLE t (n int)").await.expect("begun");
    wait_for_backends(Server::shared(), &mine, 1).await;
    drop(connection);
    wait_for_backends(Server::shared(), &mine, 0).await;
    assert_eq!(database.sql("SELECT to_regclass('t') IS NULL").as_deref(), Some("t"));
}

#[tokio::test]
async fn a_server_that_went_away_comes_back_at_the_same_port() {
    let server = Server::start(Options::default());
    let database = server.database();
    let connection = connect(&database.url()).await;
    server.kill();
    connection.batch_execute("SELECT 1").await.expect_err("it is gone");
    assert_eq!(refusal(&database.url()).await.hop(), Hop::Tcp);
    server.start_again();
    connect(&database.url()).await;
    server.restart();
    connect(&database.url()).await;
}

#[tokio::test]
async fn quoted_names_and_texts_come_back_as_they_were() {
    let connection = connect(&Server::shared().admin_url()).await;
    for strings in ["on", "off"] {
        connection.batch_execute(&format!("SET standard_conforming_strings = {strings}")).await.expect("set");
        for text in ["", "it's", r"back\slash", r"\'", "\"", "ü\n", "$1"] {
            let column = if text.is_empty() { "x" } else { text };
            let question = format!("SELECT {} AS {}", quote::literal(text), quote::ident(column));
            let row = connection.query_one(&question, &[]).await.expect("an answer");
            assert_eq!((row.get::<_, &str>(0), row.columns()[0].name()), (text, column), "{strings}");
        }
    }
    let error = connection.batch_execute(&format!("SELECT {}", quote::literal("a\0b"))).await;
    assert!(error.is_err_and(|error| error.as_db_error().is_none()), "the client refuses a zero byte");
    assert_eq!(ask(&connection, "SELECT 'still here'").await, "still here");
}
