//! A stand-in of one's own, an S3 store in memory, and clients.

use std::sync::Arc;

use longshore_postgres::testing::{Database, Server};
use redshift_standin::{Isolation, Mode, ObjectsConfig, Role, Standin, StandinConfig, Unknowns};
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

use crate::s3::{ACCESS_KEY, BUCKET, MemoryS3, REGION, SECRET_KEY};

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/longshore";

/// A stand-in with what it stands on.
pub(crate) struct Bench {
    pub(crate) standin: Standin,
    pub(crate) s3: Arc<MemoryS3>,
    _database: Database<'static>,
}

/// Which of the four modes the suite runs in: `STANDIN_MODE=serverless-serializable`.
fn modes() -> (Mode, Isolation) {
    let wanted = std::env::var("STANDIN_MODE").unwrap_or_default();
    (
        if wanted.contains("serverless") { Mode::Serverless } else { Mode::Provisioned },
        if wanted.contains("serializable") { Isolation::Serializable } else { Isolation::Snapshot },
    )
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut StandinConfig)) -> Self {
        let (database, s3) =
            tokio::task::spawn_blocking(|| (Server::shared().database(), MemoryS3::start())).await.unwrap();
        let (mode, isolation) = modes();
        let mut config = StandinConfig {
            behind: database.admin_url(),
            listen: "127.0.0.1:0".to_owned(),
            user: "awsuser".to_owned(),
            password: "Not-A-Secret-1".to_owned(),
            mode,
            isolation,
            objects: ObjectsConfig {
                endpoint: Some(s3.endpoint()),
                region: REGION.to_owned(),
                keys: Some((ACCESS_KEY.to_owned(), SECRET_KEY.to_owned())),
            },
            roles: vec![Role::new(ROLE)],
            unknowns: Unknowns::default(),
            seed: 7,
        };
        change(&mut config);
        Self { standin: Standin::start(config).await.unwrap(), s3: Arc::new(s3), _database: database }
    }

    pub(crate) async fn client(&self) -> Session {
        self.client_as("awsuser", "Not-A-Secret-1").await.unwrap()
    }

    pub(crate) async fn client_as(&self, user: &str, password: &str) -> Result<Session, tokio_postgres::Error> {
        let mut config = self.config();
        config.user(user).password(password);
        connect(&config).await
    }

    /// How to connect, for changes.
    pub(crate) fn config(&self) -> tokio_postgres::Config {
        let mut config: tokio_postgres::Config =
            self.standin.url().replace("redshift://", "postgres://").parse().unwrap();
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        config
    }

    /// Puts an object.
    pub(crate) fn put(&self, key: &str, body: impl AsRef<[u8]>) {
        self.s3.put(key, body.as_ref().to_vec());
    }

    /// Puts a manifest of these keys, all mandatory, and returns its URL.
    pub(crate) fn manifest(&self, keys: &[&str]) -> String {
        let entries: Vec<String> =
            keys.iter().map(|key| format!(r#"{{"url":"s3://{BUCKET}/{key}","mandatory":true}}"#)).collect();
        self.put("m.manifest", format!(r#"{{"entries":[{}]}}"#, entries.join(",")));
        format!("s3://{BUCKET}/m.manifest")
    }
}

/// Connects, and keeps what the server says besides.
pub(crate) async fn connect(config: &tokio_postgres::Config) -> Result<Session, tokio_postgres::Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let (sender, notices) = tokio::sync::mpsc::unbounded_channel();
    let version = connection.parameter("server_version").unwrap_or_default().to_owned();
    let connection = tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message {
                sender.send((notice.severity().to_owned(), notice.message().to_owned())).ok();
            }
        }
    });
    Ok(Session { client, notices, version, connection })
}

/// A client.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) notices: tokio::sync::mpsc::UnboundedReceiver<(String, String)>,
    /// The version that the server reported.
    pub(crate) version: String,
    /// Its end is that of the connection.
    pub(crate) connection: tokio::task::JoinHandle<()>,
}

/// A COPY of one CSV by prefix.
pub(crate) fn copy_sql(table: &str, key: &str, options: &str) -> String {
    format!("COPY {table} FROM 's3://{BUCKET}/{key}' IAM_ROLE '{ROLE}' {options}")
}

impl Session {
    /// Runs statements that have to succeed, and returns the rows of the last, as texts.
    pub(crate) async fn sql(&self, sql: &str) -> Vec<String> {
        let answer = self.client.simple_query(sql).await;
        let answer = answer.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        answer
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(
                    (0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned()).collect::<Vec<_>>().join("|"),
                ),
                _ => None,
            })
            .collect()
    }

    /// The rows that a statement changed.
    pub(crate) async fn count(&self, sql: &str) -> u64 {
        let answer = self.client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        answer
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::CommandComplete(count) => Some(*count),
                _ => None,
            })
            .next_back()
            .unwrap()
    }

    /// The error of a statement that has to fail.
    pub(crate) async fn refused(&self, sql: &str) -> DbError {
        match self.client.simple_query(sql).await {
            Ok(answer) => panic!("{sql} passes: {answer:?}"),
            Err(error) => error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone(),
        }
    }

    /// SQLSTATE of a statement that has to fail.
    pub(crate) async fn state(&self, sql: &str) -> String {
        self.refused(sql).await.code().code().to_owned()
    }

    /// What was said so far.
    pub(crate) fn said(&mut self) -> Vec<String> {
        self.said_how().into_iter().map(|(_, message)| message).collect()
    }

    /// The same, each with its severity.
    pub(crate) fn said_how(&mut self) -> Vec<(String, String)> {
        let mut said = Vec::new();
        while let Ok(notice) = self.notices.try_recv() {
            said.push(notice);
        }
        said
    }
}
