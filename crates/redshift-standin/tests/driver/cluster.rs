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
        let (name, prefix) =
            place.strip_prefix("s3://").and_then(|rest| rest.split_once('/')).expect("s3://bucket/prefix/");
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
            connect(&admin).await.batch_execute(&format!("CREATE DATABASE {database}")).await.expect("a database");
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
        let prefix = format!("{}/{database}/", prefix.trim_end_matches('/'));
        let warehouse = Arc::new(Redshift::new(config_of(&url, &role, &staging, &prefix)));
        Some(Self { admin, url, database, role, staging, prefix, warehouse, connection: OnceCell::new(), runtime })
    }

    pub(crate) fn rival(&self) -> Redshift {
        Redshift::new(config_of(&self.url, &self.role, &self.staging, &self.prefix))
    }

    pub(crate) async fn connection(&self) -> &Connection {
        self.connection.get_or_init(|| connect(&self.url)).await
    }

    /// Rows as texts, each with the number of its type: from a temporary table with the same columns, as a
    /// prepared statement would have the client look up types that it does not know.
    pub(crate) async fn query(&self, sql: &str) -> Vec<Vec<(Option<String>, u32)>> {
        let types = format!("DROP TABLE IF EXISTS ls_shown; CREATE TEMP TABLE ls_shown AS {sql}");
        for statement in types.split("; ") {
            self.connection().await.batch_execute(statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
        }
        let types = self
            .rows(
                "SELECT a.atttypid FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
                 WHERE c.relname = 'ls_shown' AND a.attnum > 0 ORDER BY a.attnum",
            )
            .await;
        let types: Vec<u32> =
            types.iter().map(|row| row[0].as_deref().unwrap_or("0").parse().expect("a number")).collect();
        let rows = self.rows(sql).await;
        rows.into_iter().map(|row| row.into_iter().zip(types.iter().copied()).collect()).collect()
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
    fn drop(&mut self) {
        drop(self.connection.take());
        self.runtime.block_on(async {
            longshore_warehouse::Warehouse::release(self.warehouse.as_ref()).await;
            let dropped = connect(&self.admin).await.batch_execute(&format!("DROP DATABASE {}", self.database)).await;
            if let Err(error) = dropped {
                tracing::warn!("the database `{}` is left over: {error}", self.database);
            }
        });
    }
}

async fn connect(url: &str) -> Connection {
    let config = Config::with_environment(url, &|name| std::env::var(name).ok()).expect("a URL");
    let connection = config.connect().await.expect("a connection");
    connection.batch_execute("SET TimeZone TO 'UTC'").await.expect("a setting");
    connection
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
        hold: Duration::from_secs(60),
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
