//! A warehouse behind a stand-in of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use longshore_postgres::testing::{Database, Server};
use longshore_postgres::{Config, Connection};
use longshore_warehouse::redshift::{Authorization, Redshift, RedshiftConfig, SLICES, Staged, Staging};
use longshore_warehouse::testing::conformance::{Bench, Constraint, TextRoute, common_types};
use longshore_warehouse::{ColumnType, LengthUnit, Warehouse, WarehouseError};
use redshift_standin::{Isolation, Mode, ObjectsConfig, Role, Standin, StandinConfig, Switches, Unknowns};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio_postgres::SimpleQueryMessage;

use crate::cluster::Cluster;
use crate::s3::{ACCESS_KEY, BUCKET, MemoryS3, REGION, SECRET_KEY};

const ROLE: &str = "arn:aws:iam::123456789012:role/longshore";

/// Lends a warehouse in a database of its own.
pub(crate) struct RedshiftBench {
    warehouse: Arc<Redshift>,
    connection: OnceCell<Connection>,
    behind: OnceCell<Connection>,
    pub(crate) standin: Standin,
    pub(crate) s3: Arc<MemoryS3>,
    database: Database<'static>,
    _runtime: Runtime,
}

/// Cluster or workgroup, and how it isolates.
fn modes() -> (Mode, Isolation) {
    let wanted = std::env::var("STANDIN_MODE").unwrap_or_default();
    (
        if wanted.contains("serverless") { Mode::Serverless } else { Mode::Provisioned },
        if wanted.contains("serializable") { Isolation::Serializable } else { Isolation::Snapshot },
    )
}

impl RedshiftBench {
    pub(crate) fn new() -> Self {
        let (mode, isolation) = modes();
        let (database, s3) = (Server::shared().database(), Arc::new(MemoryS3::start()));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let config = StandinConfig {
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
            unknowns: Unknowns {
                refuse_truncate_in_block: true,
                reading: Switches { unassigned_characters_pass: true, bom_is_skipped: true, ..Switches::default() },
                ..Unknowns::default()
            },
            seed: 7,
        };
        let standin = runtime.block_on(Standin::start(config)).expect("a stand-in");
        let warehouse = Arc::new(Redshift::new(config_of(&standin.url(), &s3)));
        Self {
            warehouse,
            connection: OnceCell::new(),
            behind: OnceCell::new(),
            standin,
            s3,
            database,
            _runtime: runtime,
        }
    }

    /// A client of the stand-in.
    async fn connection(&self) -> &Connection {
        self.connection.get_or_init(|| connect(self.standin.url())).await
    }

    /// Another client of the stand-in.
    pub(crate) async fn client(&self) -> Connection {
        connect(self.standin.url()).await
    }

    /// A warehouse by other settings than the bench's own.
    pub(crate) fn warehouse_by(&self, change: impl FnOnce(RedshiftConfig) -> RedshiftConfig) -> Redshift {
        Redshift::new(change(config_of(&self.standin.url(), &self.s3)))
    }

    /// A connection to the PostgreSQL behind, which knows the types of SUPER and VARBYTE by their numbers.
    async fn behind(&self) -> &Connection {
        self.behind.get_or_init(|| connect(self.database.admin_url())).await
    }
}

async fn connect(url: String) -> Connection {
    let connection = Config::with_environment(&url, &|_| None).expect("a URL").connect().await.expect("a connection");
    connection.batch_execute("SET TimeZone TO 'UTC'").await.expect("a setting");
    connection
}

fn config_of(url: &str, s3: &Arc<MemoryS3>) -> RedshiftConfig {
    RedshiftConfig {
        connect: Config::with_environment(url, &|_| None).expect("a URL"),
        authorization: Authorization::IamRole(ROLE.to_owned()),
        region: None,
        staging: Arc::new(Memory(s3.clone())),
        prefix: "staging/".to_owned(),
        slices: SLICES,
        wait: Duration::from_millis(1500),
        hold: Duration::from_secs(20),
        patience: Duration::from_secs(8),
        project: "suite".to_owned(),
    }
}

/// The store in memory as a place for parts.
struct Memory(Arc<MemoryS3>);

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory")
    }
}

#[async_trait]
impl Staging for Memory {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), WarehouseError> {
        self.0.put(key, bytes);
        Ok(())
    }

    async fn delete(&self, keys: &[String]) -> Result<(), WarehouseError> {
        keys.iter().for_each(|key| self.0.remove(key));
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Staged>, WarehouseError> {
        let keys = self.0.keys().into_iter().filter(|key| key.starts_with(prefix));
        Ok(keys.map(|key| Staged { key, modified_at: Timestamp::now() }).collect())
    }

    fn url(&self, key: &str) -> String {
        format!("s3://{BUCKET}/{key}")
    }
}

/// A statement with its quoted names folded, as Redshift folds them.
fn folded(sql: &str) -> String {
    let mut is_quoted = false;
    let fold = |c: char| {
        is_quoted ^= c == '"';
        if is_quoted { c.to_ascii_lowercase() } else { c }
    };
    sql.chars().map(fold).collect()
}

/// A value in the words of [`Bench::query`].
fn shown(text: &str, oid: u32) -> String {
    match oid {
        16 => if text == "t" { "true" } else { "false" }.to_owned(),
        17 => text.trim_start_matches("\\x").to_owned(),
        700 | 701 if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => format!("{text}.0"),
        _ => text.to_owned(),
    }
}

/// The stand-in, or the cluster of `REDSHIFT_TEST_URL`.
pub(crate) enum Lent {
    /// A stand-in.
    Standin(Box<RedshiftBench>),
    /// A cluster.
    Cluster(Box<Cluster>),
}

impl Lent {
    pub(crate) fn new() -> Self {
        match Cluster::wanted() {
            Some(cluster) => Self::Cluster(Box::new(cluster)),
            None => Self::Standin(Box::new(RedshiftBench::new())),
        }
    }

    /// The stand-in, for cases that break something in it.
    pub(crate) fn of_standin(&self) -> &RedshiftBench {
        match self {
            Self::Standin(bench) => bench,
            Self::Cluster(_) => panic!("this case needs the stand-in"),
        }
    }
}

#[async_trait]
impl Bench for Lent {
    fn warehouse(&self) -> Arc<dyn Warehouse> {
        match self {
            Self::Standin(bench) => bench.warehouse.clone(),
            Self::Cluster(cluster) => cluster.warehouse.clone(),
        }
    }

    fn rival(&self) -> Arc<dyn Warehouse> {
        Arc::new(match self {
            Self::Standin(bench) => Redshift::new(config_of(&bench.standin.url(), &bench.s3)),
            Self::Cluster(cluster) => cluster.rival(),
        })
    }

    async fn execute(&self, sql: &str) {
        let connection = match self {
            Self::Standin(bench) => bench.connection().await,
            Self::Cluster(cluster) => cluster.connection().await,
        };
        let done = connection.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let bench = match self {
            Self::Standin(bench) => bench,
            Self::Cluster(cluster) => {
                let rows = cluster.query(sql).await.into_iter();
                let row = |row: Vec<(Option<String>, u32)>| {
                    row.into_iter().map(|(text, oid)| text.map(|text| shown(&text, oid))).collect()
                };
                return rows.map(row).collect();
            }
        };
        let connection = bench.behind().await;
        let sql = &folded(sql);
        let statement = connection.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let types: Vec<u32> = statement.columns().iter().map(|column| column.type_().oid()).collect();
        let answers = connection.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let rows = answers.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| types.iter().enumerate().map(|(n, oid)| row.get(n).map(|text| shown(text, *oid))).collect())
            .collect()
    }

    fn enforces(&self, _constraint: Constraint) -> bool {
        false
    }

    fn fences_appends_early(&self) -> bool {
        false
    }

    fn keeps_case(&self) -> bool {
        false
    }

    fn types(&self) -> Vec<ColumnType> {
        // VARBYTE holds no empty value, which the suite wants of bytes: it has a test of its own.
        let has = |ty: &ColumnType| !matches!(ty, ColumnType::Uuid | ColumnType::Bytes);
        let bytes = |ty| match ty {
            ColumnType::Varchar { length, .. } => ColumnType::Varchar { length, unit: LengthUnit::Bytes },
            other => other,
        };
        common_types().into_iter().filter(has).map(bytes).collect()
    }

    fn holds_decimal(&self, precision: u8, scale: u8) -> bool {
        // 19 digits are kept in 64 bits, which hold most of them.
        precision != 19 && scale <= 37
    }

    fn longest_text(&self) -> (&'static str, usize) {
        ("VARCHAR(MAX)", 65_535)
    }

    fn text_routes(&self) -> Vec<TextRoute> {
        Vec::new()
    }
}
