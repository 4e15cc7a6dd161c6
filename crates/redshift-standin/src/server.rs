//! The server: what all its clients share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use longshore_postgres::{Config, Connection};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cancel::Cancel;
use crate::faults::Faults;
use crate::gate::Mode;
use crate::isolation::{Isolation, Transactions};
use crate::locks::Locks;
use crate::objects::{Objects, ObjectsConfig};
use crate::session;
use crate::unknowns::Unknowns;
use crate::upstream::Behind;

/// A role that COPY may assume.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// Whether it may list the bucket.
    pub can_list: bool,
    /// Whether it may read objects.
    pub can_get: bool,
}

impl Role {
    /// One that may do what COPY needs.
    pub fn new(arn: impl Into<String>) -> Self {
        Self { arn: arn.into(), can_list: true, can_get: true }
    }
}

/// How the stand-in is set up.
#[derive(Debug, Clone)]
pub struct StandinConfig {
    /// URL of the superuser of the PostgreSQL behind, by its socket, with the database.
    pub behind: String,
    /// Where to listen: `127.0.0.1:0` for any free port.
    pub listen: String,
    /// The user who may log in.
    pub user: String,
    /// The password.
    pub password: String,
    /// Cluster or workgroup.
    pub mode: Mode,
    /// How the database isolates transactions.
    pub isolation: Isolation,
    /// Where COPY finds objects.
    pub objects: ObjectsConfig,
    /// Roles that COPY may assume.
    pub roles: Vec<Role>,
    /// What is not documented.
    pub unknowns: Unknowns,
    /// Where the order of rows after a COPY begins.
    pub seed: u64,
}

/// What the sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: StandinConfig,
    pub(crate) behind: Behind,
    pub(crate) locks: Locks,
    pub(crate) transactions: Transactions,
    pub(crate) objects: Objects,
    pub(crate) faults: Faults,
    pub(crate) admin: Connection,
    /// Cancel requests by the key that the client was told.
    pub(crate) cancels: Mutex<HashMap<Bytes, Arc<Cancel>>>,
    numbers: AtomicU64,
    queries: AtomicI64,
    /// Statements by the simple protocol so far.
    pub(crate) statements: AtomicU64,
    /// The number behind of the type SUPER.
    pub(crate) super_type: u32,
}

impl Shared {
    /// A number that no other session or transaction has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The id of the next query.
    pub(crate) fn query(&self) -> i64 {
        self.queries.fetch_add(1, Ordering::Relaxed)
    }

    /// The password of a user.
    pub(crate) async fn password(&self, user: &str) -> Option<String> {
        let rows = self.admin.query("SELECT password FROM standin.users WHERE name = $1", &[&user]).await.ok()?;
        rows.first()?.try_get(0).ok()
    }

    pub(crate) fn cancel(&self, key: &[u8]) {
        let cancels = self.cancels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cancel) = cancels.get(key) {
            cancel.ask();
        }
    }
}

/// A running stand-in. It ends with the value.
#[derive(Debug)]
pub struct Standin {
    shared: Arc<Shared>,
    port: u16,
    accepting: JoinHandle<()>,
}

impl Standin {
    /// Starts to listen, in front of a PostgreSQL database that may be new.
    ///
    /// # Errors
    /// Where PostgreSQL cannot be reached or the address is taken.
    pub async fn start(config: StandinConfig) -> anyhow::Result<Self> {
        let at = Config::with_environment(&config.behind, &|_| None)?;
        let admin = at.connect().await.context("the PostgreSQL behind cannot be reached")?;
        let rows = admin
            .query(
                "SELECT current_database()::text, current_setting('unix_socket_directories'), current_setting('port'),
                 EXISTS (SELECT FROM pg_namespace WHERE nspname = 'standin')",
                &[],
            )
            .await?;
        let Some(row) = rows.first() else { bail!("PostgreSQL does not say where it is") };
        let (database, folder, port): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if !row.try_get::<_, bool>(3)? {
            for part in [
                include_str!("catalog/views.sql"),
                include_str!("catalog/texts.sql"),
                include_str!("catalog/tables.sql"),
            ] {
                admin.batch_execute(part).await.context("setting up the catalog")?;
            }
        }
        prepare(&admin, &config, &database).await?;
        let super_type = admin.query("SELECT 'standin.super'::regtype::oid", &[]).await?;
        let super_type = super_type.first().context("PostgreSQL lost a type")?.try_get(0)?;
        let folder = folder.split(',').next().unwrap_or_default().trim().to_owned();
        let behind = Behind { socket: format!("{folder}/.s.PGSQL.{port}"), database };
        let objects = Objects::connect(&config.objects).await;
        let listener =
            TcpListener::bind(&config.listen).await.with_context(|| format!("listening at {}", config.listen))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            transactions: Transactions::new(config.isolation),
            config,
            behind,
            locks: Locks::default(),
            objects,
            faults: Faults::default(),
            admin,
            cancels: Mutex::default(),
            numbers: AtomicU64::new(4_044_550),
            queries: AtomicI64::new(634_029),
            statements: AtomicU64::new(0),
            super_type,
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { shared, port, accepting })
    }

    /// The port at which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// URL for a client, without the password.
    pub fn address(&self) -> String {
        let Shared { config, behind, .. } = &*self.shared;
        format!("redshift://{}@127.0.0.1:{}/{}", config.user, self.port, behind.database)
    }

    /// URL for a client, with the password.
    pub fn url(&self) -> String {
        let Shared { config, behind, .. } = &*self.shared;
        let escaped = |text: &str| {
            text.bytes().fold(String::new(), |url, byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => url + &char::from(byte).to_string(),
                _ => url + &format!("%{byte:02X}"),
            })
        };
        format!(
            "redshift://{}:{}@127.0.0.1:{}/{}",
            escaped(&config.user),
            escaped(&config.password),
            self.port,
            escaped(&behind.database)
        )
    }

    /// How many statements were sent so far, by the simple protocol.
    pub fn statements(&self) -> u64 {
        self.shared.statements.load(Ordering::Relaxed)
    }

    /// Faults for statements to come.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The first user, and what the views tell of the database.
async fn prepare(admin: &Connection, config: &StandinConfig, database: &str) -> anyhow::Result<()> {
    let ident = longshore_postgres::quote::ident;
    let user = ident(&config.user);
    let known = admin.query("SELECT FROM pg_roles WHERE rolname = $1", &[&config.user]).await?;
    if known.is_empty() {
        // Another stand-in on the same server may be faster.
        if let Err(error) = admin.batch_execute(&format!("CREATE ROLE {user} LOGIN SUPERUSER")).await
            && error.code() != Some(&tokio_postgres::error::SqlState::DUPLICATE_OBJECT)
            && error.code() != Some(&tokio_postgres::error::SqlState::UNIQUE_VIOLATION)
        {
            return Err(error.into());
        }
    }
    admin
        .execute(
            "INSERT INTO standin.users VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET password = excluded.password",
            &[&config.user, &config.password],
        )
        .await?;
    let isolation = match config.isolation {
        Isolation::Snapshot => "Snapshot Isolation",
        Isolation::Serializable => "Serializable",
    };
    admin.batch_execute(&format!("ALTER DATABASE {} SET standin.isolation = '{isolation}'", ident(database))).await?;
    Ok(())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut sessions = tokio::task::JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small messages go out at once.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!("{error}");
                }
                let shared = shared.clone();
                sessions.spawn(async move {
                    if let Err(error) = session::serve(stream, shared).await {
                        tracing::debug!("a connection ended: {error}");
                    }
                });
            }
            Err(error) => {
                tracing::warn!("no connection can be taken: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while sessions.try_join_next().is_some() {}
    }
}
