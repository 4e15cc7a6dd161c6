//! Connections to what speaks PostgreSQL's protocol: a few idle ones are kept, as connecting with TLS
//! and a password is dear.

use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longshore_postgres::{Config, Connection};
use tokio_postgres::{Error, SimpleQueryMessage, SimpleQueryRow};

use crate::broken::unconnected;
use crate::{Kind, LoadId, WarehouseError};

/// Idle connections that are kept: as many as loads commonly run at once.
const IDLE: usize = 4;

/// How long a rollback may take that nobody waits for.
const FAREWELL: Duration = Duration::from_secs(10);

/// How the connection of a load is called in the server's list.
pub(crate) fn name_of(load: LoadId, project: &str) -> String {
    format!("longshore {load} {project}")
}

/// The load that a connection of a project is for, by the connection's name.
pub(crate) fn load_of(name: &str, project: &str) -> Option<LoadId> {
    let (load, of) = name.strip_prefix("longshore ")?.split_once(' ')?;
    if of == project { load.parse().ok() } else { None }
}

/// Turns an error of the server or the connection, while something was done, into one of the boundary.
pub(crate) type Failed = fn(doing: &str, error: &Error) -> WarehouseError;

/// The connections of one warehouse.
#[derive(Debug)]
pub(crate) struct Pool {
    config: Config,
    patience: Duration,
    failed: Failed,
    /// Statements with which a new connection is begun, each sent by itself.
    greeting: Vec<String>,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    pub(crate) fn new(config: Config, patience: Duration, failed: Failed, greeting: Vec<String>) -> Arc<Self> {
        Arc::new(Self { config, patience, failed, greeting, idle: Mutex::new(Vec::new()) })
    }

    /// Who loads.
    pub(crate) fn user(&self) -> &str {
        self.config.user()
    }

    /// Whether that is known only once there is a connection.
    pub(crate) fn has_fetched_user(&self) -> bool {
        self.config.fetches_login()
    }

    /// Where it connects, without secrets.
    pub(crate) fn describe(&self) -> String {
        self.config.describe()
    }

    /// A connection, idle or new.
    pub(crate) async fn session(self: &Arc<Self>) -> Result<Session, WarehouseError> {
        match self.take() {
            Some(connection) => Ok(self.lend(connection, true)),
            None => self.fresh().await,
        }
    }

    /// A new connection.
    pub(crate) async fn fresh(self: &Arc<Self>) -> Result<Session, WarehouseError> {
        let connection = self.config.connect().await.map_err(unconnected)?;
        let session = self.lend(connection, false);
        for statement in &self.greeting {
            session.ask(statement, || format!("setting up a connection (`{statement}`)")).await?;
        }
        Ok(session)
    }

    /// Does something short with a connection. One that was idle may turn out to be broken: then it
    /// is done again with a new one.
    pub(crate) async fn with<T, F>(self: &Arc<Self>, work: impl Fn(Session) -> F) -> Result<T, WarehouseError>
    where
        F: Future<Output = (Session, Result<T, WarehouseError>)>,
    {
        let session = self.session().await?;
        let was_idle = session.was_idle;
        let (session, done) = work(session).await;
        let (session, done) = match done {
            Err(failed) if was_idle && *failed.kind() == Kind::Unreachable => {
                drop(session);
                work(self.fresh().await?).await
            }
            done => (session, done),
        };
        // One that does not answer may still be busy with what was asked.
        if !matches!(&done, Err(failed) if *failed.kind() == Kind::Unreachable) {
            session.give_back();
        }
        done
    }

    /// Closes what is idle.
    pub(crate) async fn release(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            connection.close().await;
        }
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed());
        idle.pop()
    }

    fn lend(self: &Arc<Self>, connection: Connection, was_idle: bool) -> Session {
        Session { connection, pool: self.clone(), was_idle }
    }
}

/// A connection on loan. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    pool: Arc<Pool>,
    pub(crate) was_idle: bool,
}

impl Deref for Session {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// What one statement of several answered.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) rows: Vec<SimpleQueryRow>,
    pub(crate) count: u64,
}

impl Answer {
    /// The first value of the first row.
    pub(crate) fn value(&self) -> Option<&str> {
        self.rows.first().and_then(|row| row.get(0))
    }
}

impl Session {
    /// Runs statements in one round trip; one answer each. They may take as long as they do.
    pub(crate) async fn run(&self, sql: &str) -> Result<Vec<Answer>, Error> {
        let mut answers = Vec::new();
        let mut answer = Answer::default();
        for message in self.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::Row(row) => answer.rows.push(row),
                SimpleQueryMessage::CommandComplete(count) => {
                    answer.count = count;
                    answers.push(std::mem::take(&mut answer));
                }
                _ => {}
            }
        }
        Ok(answers)
    }

    /// Runs short statements.
    pub(crate) async fn ask(&self, sql: &str, doing: impl Fn() -> String) -> Result<Vec<Answer>, WarehouseError> {
        self.soon(doing, self.run(sql)).await
    }

    /// Runs something short that may stand in the server's queue for so much longer.
    pub(crate) async fn ask_within(
        &self,
        longer: Duration,
        sql: &str,
        doing: impl Fn() -> String,
    ) -> Result<Vec<Answer>, WarehouseError> {
        let done = self.within(longer, &doing, self.run(sql)).await?;
        done.map_err(|error| (self.pool.failed)(&doing(), &error))
    }

    /// Bounds the wait for something short.
    pub(crate) async fn soon<T>(
        &self,
        doing: impl Fn() -> String,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, WarehouseError> {
        let done = self.within(Duration::ZERO, &doing, work).await?;
        done.map_err(|error| (self.pool.failed)(&doing(), &error))
    }

    /// Bounds the wait for something that may take so much longer than what is short.
    pub(crate) async fn within<T>(
        &self,
        longer: Duration,
        doing: impl Fn() -> String,
        work: impl Future<Output = T>,
    ) -> Result<T, WarehouseError> {
        let limit = self.pool.patience + longer;
        tokio::time::timeout(limit, work).await.map_err(|_| {
            let text = format!("{}: the server does not answer for {} s", doing(), limit.as_secs_f32());
            WarehouseError::new(Kind::Unreachable, text)
        })
    }

    /// Keeps the connection for the next one.
    pub(crate) fn give_back(self) {
        let Self { connection, pool, .. } = self;
        let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && !connection.is_closed() {
            idle.push(connection);
        }
    }

    /// Rolls back and keeps the connection, if it is any good.
    pub(crate) async fn roll_back(self) -> Result<(), WarehouseError> {
        if self.is_closed() {
            // The server rolls back by itself.
            return Ok(());
        }
        let rolled_back = tokio::time::timeout(FAREWELL, self.batch_execute("ROLLBACK")).await;
        match rolled_back {
            Ok(Ok(())) => {
                self.give_back();
                Ok(())
            }
            Ok(Err(error)) => Err((self.pool.failed)("rolling back", &error)),
            Err(_) => {
                self.abandon().await;
                Ok(())
            }
        }
    }

    /// Stops what the server does for it and closes it.
    pub(crate) async fn abandon(self) {
        let Ok(Err(error)) = tokio::time::timeout(FAREWELL, self.cancel()).await else { return };
        tracing::debug!("cancelling a statement of a load that was given up: {error}");
    }
}
