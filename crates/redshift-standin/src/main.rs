//! `redshift-standin`: a stand-in for Amazon Redshift on this machine, for trying pipelines.

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use longshore_postgres::testing::{Options, Server};
use redshift_standin::{Isolation, Mode, ObjectsConfig, Role, Standin, StandinConfig, Unknowns};

/// A strict stand-in for Amazon Redshift: COPY from S3, Redshift's rules, no cluster.
///
/// What it does not model it refuses with SQLSTATE LS000. Its data ends with it.
#[derive(Debug, Parser)]
#[command(name = "redshift-standin", version)]
struct Arguments {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:5439", value_name = "ADDRESS")]
    listen: String,
    /// URL of the S3 endpoint from which COPY reads; AWS itself where it is not given
    #[arg(long, env = "AWS_ENDPOINT_URL", value_name = "URL")]
    endpoint: Option<String>,
    /// Region of the cluster and its buckets
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    /// The user who may log in
    #[arg(long, default_value = "awsuser")]
    user: String,
    /// The user's password
    #[arg(long, env = "STANDIN_PASSWORD", default_value = "Password1", hide_env_values = true)]
    password: String,
    /// A cluster or a serverless workgroup
    #[arg(long, value_enum, default_value = "provisioned")]
    mode: ModeName,
    /// How the database isolates transactions
    #[arg(long, value_enum, default_value = "snapshot")]
    isolation: IsolationName,
    /// A role that COPY may name in IAM_ROLE; may be given several times
    #[arg(long = "iam-role", value_name = "ARN", default_value = "arn:aws:iam::123456789012:role/longshore")]
    roles: Vec<String>,
    /// Chooses for something that is not documented of Redshift, as `merge_tag_has_count=on`; may be given
    /// several times
    #[arg(long = "switch", value_name = "NAME=on|off")]
    switches: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeName {
    Provisioned,
    Serverless,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum IsolationName {
    Snapshot,
    Serializable,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .init();
    let mut unknowns = Unknowns::default();
    for switch in &arguments.switches {
        unknowns.set(switch).map_err(anyhow::Error::msg)?;
    }
    let server = tokio::task::spawn_blocking(|| {
        let server = Server::start(Options::default());
        server.sql("CREATE DATABASE dev");
        server
    })
    .await
    .context("the PostgreSQL behind does not start")?;
    let behind = server.admin_url();
    let behind = behind.strip_suffix("/postgres").map_or(behind.clone(), |url| format!("{url}/dev"));
    let standin = Standin::start(StandinConfig {
        behind,
        listen: arguments.listen,
        user: arguments.user,
        password: arguments.password,
        mode: match arguments.mode {
            ModeName::Provisioned => Mode::Provisioned,
            ModeName::Serverless => Mode::Serverless,
        },
        isolation: match arguments.isolation {
            IsolationName::Snapshot => Isolation::Snapshot,
            IsolationName::Serializable => Isolation::Serializable,
        },
        objects: ObjectsConfig { endpoint: arguments.endpoint, region: arguments.region, keys: None },
        roles: arguments.roles.into_iter().map(Role::new).collect(),
        unknowns,
        seed: fastrand::u64(..),
    })
    .await?;
    tracing::info!("listening at {}; its data ends with it", standin.address());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
