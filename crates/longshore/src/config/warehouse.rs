//! `[warehouse]`: which database, and what it needs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_warehouse::redshift::{Authorization, MOST_SLICES, SLICES};

use super::reader::Section;
use super::{BucketConfig, Env, MEMORY_LIMIT, Place, WAIT};
use crate::bucket::S3Config;
use crate::login::{LoginConfig, Whose};

/// Settings that only DuckDB has.
const DUCKDB: &[&str] = &["memory_limit", "threads"];

/// Settings that only Redshift has.
const REDSHIFT: &[&str] = &[
    "iam_role",
    "staging",
    "staging_region",
    "slices",
    "cluster",
    "workgroup",
    "region",
    "access_key_id",
    "secret_access_key",
    "session_token",
];

/// The database with the target tables.
#[derive(Debug, Clone)]
pub struct WarehouseConfig {
    /// Which one, and where.
    pub engine: Engine,
    /// How long to wait for the file or a table's fence.
    pub wait: Duration,
}

/// A database.
#[derive(Debug, Clone)]
pub enum Engine {
    /// DuckDB, in this process.
    DuckDb {
        /// Its file.
        path: PathBuf,
        /// Its own memory limit in bytes.
        memory_limit: u64,
        /// Threads that it may use.
        threads: Option<usize>,
    },
    /// A PostgreSQL server.
    Postgres(Box<longshore_postgres::Config>),
    /// Amazon Redshift.
    Redshift(Box<RedshiftSettings>),
}

impl Engine {
    /// Whether a load need not be held in memory while others wait: what its
    /// [`longshore_warehouse::Warehouse::fences_late`] says.
    pub const fn fences_late(&self) -> bool {
        matches!(self, Self::Redshift(_))
    }
}

/// What Redshift needs besides its URL.
#[derive(Debug, Clone)]
pub struct RedshiftSettings {
    /// Where and as whom to connect.
    pub connect: longshore_postgres::Config,
    /// As whom Redshift reads the staging bucket.
    pub authorization: Authorization,
    /// The bucket through which rows travel, reached as the landing bucket is.
    pub staging: S3Config,
    /// The prefix of all keys that are written there.
    pub prefix: String,
    /// Region of the staging bucket, where it is not Redshift's own.
    pub staging_region: Option<String>,
    /// Slices that read a load's parts at once.
    pub slices: u16,
    /// Where logins come from, unless the URL or the environment gives the password.
    pub login: Option<LoginConfig>,
}

pub(super) fn read(
    section: Section<'_>,
    folder: &Path,
    bucket: Option<&BucketConfig>,
    env: &Env<'_>,
) -> Option<WarehouseConfig> {
    let url = section.text("url").unwrap_or_else(|| "duckdb:warehouse.duckdb".to_owned());
    // By the URL's scheme, so that it holds where the rest of the URL is at fault.
    let of_others: &[(&[&str], &str)] = match url.split_once(':') {
        Some(("duckdb", _)) => &[(REDSHIFT, "DuckDB")],
        Some(("postgres" | "postgresql", _)) => &[(DUCKDB, "PostgreSQL"), (REDSHIFT, "PostgreSQL")],
        Some(("redshift", _)) => &[(DUCKDB, "Redshift")],
        _ => &[],
    };
    let engine = match url.split_once(':') {
        Some(("duckdb", path)) if !path.is_empty() => read_duckdb(&section, folder.join(path.trim_start_matches("//"))),
        Some(("postgres" | "postgresql", _)) => read_postgres(&section, &url, env),
        Some(("redshift", _)) => read_redshift(&section, &url, bucket, env),
        _ => {
            let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
            section.fault_of(
                "url",
                if scheme.is_empty() {
                    "is no warehouse url".to_owned()
                } else {
                    format!("`{scheme}:` is no warehouse that this version can load")
                },
                Some(
                    "write `duckdb:FILE`, `postgres://user@host:5432/database` or `redshift://user@host:5439/database`"
                        .to_owned(),
                ),
            );
            // Settings that only some have are not worth a word until this is right.
            for name in DUCKDB.iter().chain(REDSHIFT) {
                section.get(name);
            }
            None
        }
    };
    for (names, engine) in of_others {
        for name in names.iter().filter(|name| section.get(name).is_some()) {
            section.fault_of(name, format!("has no meaning for {engine}"), Some("remove it".to_owned()));
        }
    }
    let wait = section.duration("wait").unwrap_or(WAIT);
    section.finish();
    Some(WarehouseConfig { engine: engine?, wait })
}

fn read_duckdb(section: &Section<'_>, path: PathBuf) -> Option<Engine> {
    let memory_limit = section.size("memory_limit").unwrap_or(MEMORY_LIMIT);
    if memory_limit < 64 << 20 {
        section.fault_of("memory_limit", "DuckDB needs at least 64 MiB", None);
    }
    let threads = section.count("threads").map(|threads| threads as usize);
    if threads == Some(0) {
        section.fault_of("threads", "must be at least 1", None);
    }
    Some(Engine::DuckDb { path, memory_limit, threads })
}

fn read_postgres(section: &Section<'_>, url: &str, env: &Env<'_>) -> Option<Engine> {
    match longshore_postgres::Config::with_environment(url, env) {
        Ok(config) => Some(Engine::Postgres(Box::new(config))),
        Err(error) => {
            section.fault_of("url", error.to_string(), error.hint());
            None
        }
    }
}

fn read_redshift(section: &Section<'_>, url: &str, bucket: Option<&BucketConfig>, env: &Env<'_>) -> Option<Engine> {
    let connect = match longshore_postgres::Config::with_environment(url, env) {
        Ok(config) => Some(config),
        Err(error) => {
            section.fault_of("url", error.to_string(), error.hint());
            None
        }
    };
    let authorization = read_authorization(section);
    let staging_region = section.text("staging_region");
    let staging = read_staging(section, bucket, staging_region.as_deref());
    let slices = section.count("slices").map_or(SLICES, |slices| u16::try_from(slices).unwrap_or(u16::MAX));
    if !(1..=MOST_SLICES).contains(&slices) {
        section.fault_of(
            "slices",
            format!("must be between 1 and {MOST_SLICES}"),
            Some("leave it out, or ask `stv_slices`".to_owned()),
        );
    }
    let login = read_login(section, bucket);
    let (staging, prefix) = staging?;
    Some(Engine::Redshift(Box::new(RedshiftSettings {
        connect: connect?,
        authorization: authorization?,
        staging,
        prefix,
        staging_region,
        slices,
        login,
    })))
}

/// Whether IAM is asked for the login, and whose.
fn read_login(section: &Section<'_>, bucket: Option<&BucketConfig>) -> Option<LoginConfig> {
    let region = section.text("region");
    let whose = match (section.text("cluster"), section.text("workgroup")) {
        (Some(_), Some(_)) => {
            section.fault_of("workgroup", "stands beside `cluster`", Some("keep the one that is meant".to_owned()));
            None
        }
        (Some(cluster), None) => Some(Whose::Cluster(cluster)),
        (None, Some(workgroup)) => Some(Whose::Workgroup(workgroup)),
        (None, None) => {
            if region.is_some() {
                section.fault_of(
                    "region",
                    "is of use with `cluster` or `workgroup` only",
                    Some("remove it, or write `staging_region` if the bucket is meant".to_owned()),
                );
            }
            None
        }
    };
    let profile = match bucket {
        Some(BucketConfig { place: Place::S3(landing), .. }) => landing.profile.clone(),
        _ => None,
    };
    Some(LoginConfig { whose: whose?, region, profile })
}

fn read_authorization(section: &Section<'_>) -> Option<Authorization> {
    let (id, secret) = (section.text("access_key_id"), section.text("secret_access_key"));
    let session_token = section.text("session_token");
    match (section.text("iam_role"), id, secret) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            section.fault_of("access_key_id", "stands beside `iam_role`", Some("keep the role".to_owned()));
            None
        }
        (Some(role), None, None) => {
            let is_arn = |arn: &str| arn.starts_with("arn:") && arn.contains(":role/") && !arn.contains(' ');
            if role != "default" && !role.split(',').all(is_arn) {
                section.fault_of(
                    "iam_role",
                    "is no role",
                    Some("write `arn:aws:iam::123456789012:role/NAME`, roles of a chain with commas between them, or `default`".to_owned()),
                );
                return None;
            }
            Some(Authorization::IamRole(role))
        }
        (None, Some(access_key_id), Some(secret)) => Some(Authorization::Keys {
            access_key_id,
            secret_access_key: secret.into(),
            session_token: session_token.map(Into::into),
        }),
        (None, None, None) if section.get("iam_role").is_none() => {
            section.fault(
                "iam_role",
                "is missing",
                Some("name the role with which Redshift reads the staging bucket: `iam_role = \"arn:aws:iam::123456789012:role/longshore\"`".to_owned()),
            );
            None
        }
        (None, ..) => {
            section.fault_of(
                "access_key_id",
                "needs `secret_access_key`, and that one needs it",
                Some("better give a role: `iam_role = \"arn:aws:iam::123456789012:role/longshore\"`".to_owned()),
            );
            None
        }
    }
}

/// Where rows travel through, and the prefix there.
fn read_staging(
    section: &Section<'_>,
    bucket: Option<&BucketConfig>,
    region: Option<&str>,
) -> Option<(S3Config, String)> {
    let cure = || Some("name a bucket and a prefix of its own: `staging = \"s3://acme-landing/staging/\"`".to_owned());
    let Some(url) = section.text("staging") else {
        if section.get("staging").is_none() {
            section.fault("staging", "is missing", cure());
        }
        return None;
    };
    let Some((name, prefix)) = url.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, ""))) else {
        section.fault_of("staging", "is no place in S3, from where Redshift reads", cure());
        return None;
    };
    let prefix = if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") };
    if name.is_empty() || prefix.is_empty() {
        section.fault_of("staging", "has no bucket or no prefix", cure());
        return None;
    }
    let landing = match bucket {
        Some(BucketConfig { place: Place::S3(landing), prefixes, .. }) => {
            let ours = [&prefixes.pending, &prefixes.processed, &prefixes.failed, &prefixes.rejected];
            let near = ours.into_iter().find(|o| o.starts_with(&prefix) || prefix.starts_with(o.as_str()));
            if let Some(near) = near.filter(|_| landing.bucket == name) {
                section.fault_of("staging", format!("`{prefix}` overlaps `{near}` of the bucket"), cure());
                return None;
            }
            landing.clone()
        }
        _ => S3Config::default(),
    };
    let region = region.map(str::to_owned).or(landing.region.clone());
    Some((S3Config { bucket: name.to_owned(), id: None, region, ..landing }, prefix))
}
