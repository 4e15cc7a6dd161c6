//! PostgreSQL, and Amazon Redshift, which speaks its protocol.
//!
//! One connection does everything: locks, migrations and history. Statements go by the simple protocol, one at a
//! time, so that none is wrapped in a transaction that nobody asked for.

use async_trait::async_trait;
use bytes::Bytes;
use futures::SinkExt;
use longshore_postgres::{Config, Connection};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::ErrorPosition;

use super::{Database, Engine, Server, SqlError};

/// Bytes of COPY data that are sent at a time.
const CHUNK: usize = 1 << 20;

/// A session of PostgreSQL or Redshift.
#[derive(Debug)]
pub struct PostgresDatabase {
    connection: Connection,
    server: Server,
    name: String,
    database: String,
}

impl PostgresDatabase {
    /// Connects.
    ///
    /// # Errors
    /// The hop that failed, with its cure.
    pub async fn connect(config: &Config, engine: Engine) -> Result<Self, SqlError> {
        let connection = config.connect().await.map_err(|error| {
            let mut message = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                message = format!("{message}: {cause}");
                source = cause.source();
            }
            SqlError {
                message,
                code: error.sqlstate().map(|code| code.code().to_owned()),
                is_transient: error.is_transient(),
                hint: error.hint().map(str::to_owned),
                ..SqlError::default()
            }
        })?;
        let mut database = Self {
            connection,
            server: Server { engine, major: 8 },
            name: config.describe(),
            database: config.database().to_owned(),
        };
        if engine == Engine::Postgres {
            let rows = database.query("SHOW server_version_num").await?;
            let number: Option<u32> = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
            database.server.major = number.unwrap_or_default() / 10_000;
        }
        Ok(database)
    }
}

#[async_trait]
impl Database for PostgresDatabase {
    fn server(&self) -> Server {
        self.server
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn database(&self) -> &str {
        &self.database
    }

    async fn execute(&mut self, sql: &str) -> Result<(), SqlError> {
        self.connection.simple_query(sql).await.map(drop).map_err(|error| failed(&error, sql))
    }

    async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, SqlError> {
        let messages = self.connection.simple_query(sql).await.map_err(|error| failed(&error, sql))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows.map(|row| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()).collect())
    }

    async fn copy_in(&mut self, sql: &str, data: &str) -> Result<(), SqlError> {
        let sink = self.connection.copy_in::<_, Bytes>(sql).await.map_err(|error| failed(&error, sql))?;
        let mut sink = std::pin::pin!(sink);
        for chunk in data.as_bytes().chunks(CHUNK) {
            sink.send(Bytes::copy_from_slice(chunk)).await.map_err(|error| failed(&error, sql))?;
        }
        sink.finish().await.map(drop).map_err(|error| failed(&error, sql))
    }
}

fn failed(error: &tokio_postgres::Error, sql: &str) -> SqlError {
    let Some(said) = error.as_db_error() else {
        let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        let is_io = std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>());
        if !error.is_closed() && !is_io {
            // A statement that cannot be sent, or an answer that nobody waits for.
            let message = format!("the statement cannot be run from a script: {cause}");
            return SqlError { message, ..SqlError::default() };
        }
        return SqlError {
            message: format!("the connection was lost: {cause}"),
            is_lost: true,
            is_transient: true,
            ..SqlError::default()
        };
    };
    let line = match said.position() {
        // Counted in characters, the first being 1.
        Some(ErrorPosition::Original(at)) => {
            let before: String = sql.chars().take((*at as usize).saturating_sub(1)).collect();
            Some(1 + crate::split::newlines(&before))
        }
        _ => None,
    };
    let more = [("detail", said.detail()), ("hint", said.hint()), ("context", said.where_())];
    let code = said.code().code();
    let is_conflict =
        matches!(code, "40001" | "40P01" | "55P03") || (code == "XX000" && said.message().contains("1023"));
    SqlError {
        message: said.message().to_owned(),
        code: Some(code.to_owned()),
        line,
        more: more.into_iter().filter_map(|(heading, text)| Some((heading, text?.trim().to_owned()))).collect(),
        is_lost: error.is_closed() || code.starts_with("57P"),
        is_transient: is_conflict || code.starts_with("57P") || code.starts_with("08") || code == "53300",
        hint: None,
    }
}
