//! A URL becomes a connection.

use longshore_postgres::testing::Server;
use longshore_postgres::{Config, Connection};

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
