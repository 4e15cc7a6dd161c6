//! A real cluster or workgroup, a database of its own for each case. Never tried so far.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use jiff::Timestamp;
use longshore_postgres::{Config, Connection};
use longshore_warehouse::redshift::{Authorization, Redshift, RedshiftConfig, SLICES, Staged, Staging};
use longshore_warehouse::{Kind, WarehouseError};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio_postgres::SimpleQueryMessage;

fn wanted(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Lends a warehouse in a database of the cluster.
pub(crate) struct Cluster {
    admin: String,
    url: String,
    database: String,
    role: String,
    staging: Arc<Bucket>,
    prefix: String,
    pub(crate) warehouse: Arc<Redshift>,
    connection: OnceCell<Connection>,
    runtime: Runtime,
}

impl Cluster {
    /// The cluster of `REDSHIFT_TEST_URL`, where that is set.
    pub(crate) fn wanted() -> Option<Self> {
        let admin = wanted("REDSHIFT_TEST_URL")?;
        let role = wanted("REDSHIFT_TEST_ROLE").expect("REDSHIFT_TEST_ROLE");
        let place = wanted("REDSHIFT_TEST_STAGING").expect("REDSHIFT_TEST_STAGING");
        let place = place.strip_prefix("s3://").expect("s3://bucket/prefix/");
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_nanos();
        let database = format!("ls_suite_{}_{nanos}", std::process::id());
        let (head, query) = admin.split_once('?').map_or((admin.as_str(), None), |(head, query)| (head, Some(query)));
        let authority = head.strip_prefix("redshift://").expect("redshift://user@host:5439/database");
        let authority = authority.split('/').next().unwrap_or_default();
        let url =
            format!("redshift://{authority}/{database}{}", query.map_or(String::new(), |query| format!("?{query}")));
        let client = runtime.block_on(async {
            let creator = connect(&admin).await.expect("a connection");
            creator.batch_execute(&format!("CREATE DATABASE {database}")).await.expect("a database");
            let http = aws_smithy_http_client::Builder::new()
                .tls_provider(aws_smithy_http_client::tls::Provider::Rustls(
                    aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
                ))
                .build_https();
            let mut loader = aws_config::defaults(aws_config::BehaviorVersion::latest()).http_client(http);
            if let Some(region) = wanted("REDSHIFT_TEST_REGION") {
                loader = loader.region(aws_config::Region::new(region));
            }
            Client::new(&loader.load().await)
        });
        let staging = Arc::new(Bucket { client, name: name.to_owned() });
        let prefix = format!("{}/{database}/", prefix.trim_end_matches('/')).trim_start_matches('/').to_owned();
        let warehouse = Arc::new(Redshift::new(config_of(&url, &role, &staging, &prefix)));
        Some(Self { admin, url, database, role, staging, prefix, warehouse, connection: OnceCell::new(), runtime })
    }

    pub(crate) fn rival(&self) -> Redshift {
        Redshift::new(config_of(&self.url, &self.role, &self.staging, &self.prefix))
    }

    pub(crate) async fn connection(&self) -> &Connection {
        self.connection.get_or_init(|| async { connect(&self.url).await.expect("a connection") }).await
    }

    /// Rows as texts, each with the number of its type.
    pub(crate) async fn query(&self, sql: &str) -> Vec<Vec<(Option<String>, u32)>> {
        let rows = self.rows(sql).await;
        let width = rows.first().map_or(0, Vec::len);
        let types = if width == 0 { Vec::new() } else { self.types(sql, width).await };
        rows.into_iter().map(|row| row.into_iter().zip(types.iter().copied()).collect()).collect()
    }

    /// The types of a query's columns: from a temporary table of these columns, with names of its own, as a
    /// prepared statement would have the client look up types that it does not know. Where the server makes no
    /// table of it (catalogs, functions of the leader node), 0.
    async fn types(&self, sql: &str, width: usize) -> Vec<u32> {
        let names: Vec<String> = (0..width).map(|at| format!("c{at}")).collect();
        let create = format!("CREATE TEMP TABLE ls_shown ({}) AS {sql}", names.join(", "));
        for statement in ["DROP TABLE IF EXISTS ls_shown", &create] {
            if let Err(error) = self.connection().await.batch_execute(statement).await {
                tracing::debug!("{statement}: {error}");
                return vec![0; width];
            }
        }
        let types = self
            .rows(
                "SELECT a.atttypid FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
                 WHERE c.relname = 'ls_shown' AND a.attnum > 0 ORDER BY a.attnum",
            )
            .await;
        types.iter().map(|row| row[0].as_deref().and_then(|oid| oid.parse().ok()).unwrap_or(0)).collect()
    }

    async fn drop_database(&self) -> Result<(), Box<dyn std::error::Error>> {
        let connection = connect(&self.admin).await?;
        Ok(connection.batch_execute(&format!("DROP DATABASE {}", self.database)).await?)
    }

    async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let answers = self.connection().await.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let rows = answers.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()).collect()
    }
}

impl Drop for Cluster {
    #[expect(clippy::print_stderr, reason = "a test keeps no log, and somebody has to drop what is left")]
    fn drop(&mut self) {
        drop(self.connection.take());
        self.runtime.block_on(async {
            longshore_warehouse::Warehouse::release(self.warehouse.as_ref()).await;
            // Sessions that were closed may take a while to end there.
            for left in (0..DROPS).rev() {
                match self.drop_database().await {
                    Ok(()) => break,
                    Err(error) if left == 0 => eprintln!("the database `{}` is left over: {error}", self.database),
                    Err(_) => tokio::time::sleep(Duration::from_secs(2)).await,
                }
            }
        });
    }
}

/// How often a database is tried to be dropped.
const DROPS: u32 = 5;

async fn connect(url: &str) -> Result<Connection, Box<dyn std::error::Error>> {
    let config = Config::with_environment(url, &|name| std::env::var(name).ok())?;
    let connection = config.connect().await?;
    connection.batch_execute("SET TimeZone TO 'UTC'").await?;
    Ok(connection)
}

fn config_of(url: &str, role: &str, staging: &Arc<Bucket>, prefix: &str) -> RedshiftConfig {
    RedshiftConfig {
        connect: Config::with_environment(url, &|name| std::env::var(name).ok()).expect("a URL"),
        authorization: Authorization::IamRole(role.to_owned()),
        region: wanted("REDSHIFT_TEST_REGION"),
        staging: staging.clone(),
        prefix: prefix.to_owned(),
        slices: SLICES,
        wait: Duration::from_secs(30),
        hold: Duration::from_secs(60),
        patience: Duration::from_secs(120),
        project: "suite".to_owned(),
    }
}

#[derive(Debug)]
struct Bucket {
    client: Client,
    name: String,
}

fn failed(error: impl std::fmt::Debug) -> WarehouseError {
    WarehouseError::new(Kind::Other, format!("staging: {error:?}"))
}

#[async_trait]
impl Staging for Bucket {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), WarehouseError> {
        let request = self.client.put_object().bucket(&self.name).key(key).body(ByteStream::from(bytes));
        request.send().await.map(drop).map_err(failed)
    }

    async fn delete(&self, keys: &[String]) -> Result<(), WarehouseError> {
        for key in keys {
            self.client.delete_object().bucket(&self.name).key(key).send().await.map_err(failed)?;
        }
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Staged>, WarehouseError> {
        let mut pages = self.client.list_objects_v2().bucket(&self.name).prefix(prefix).into_paginator().send();
        let mut staged = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page.map_err(failed)?.contents() {
                let at = object.last_modified().map_or(0, |time| time.secs());
                let modified_at = Timestamp::from_second(at).map_err(failed)?;
                staged.extend(object.key().map(|key| Staged { key: key.to_owned(), modified_at }));
            }
        }
        Ok(staged)
    }

    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }
}
