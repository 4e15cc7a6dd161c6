//! From configuration to a client that can talk to the bucket.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{
    Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use super::S3Config;
use super::store::{Patience, Place, Store};
use crate::bucket::{BucketError, Kind};

/// Attempts per request, the first included: the client's backoff then lasts some ten seconds,
/// which a throttled prefix or a restarted store needs.
const ATTEMPTS: u32 = 5;

/// A store that does not take a connection in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for the first byte of an answer. Copying 5 GB keeps a store busy for minutes
/// before it answers, so that requests of that kind set their own.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A body that brings nothing for so long is given up and resumed on another connection.
const STALL_LIMIT: Duration = Duration::from_secs(20);

/// Region of stores elsewhere, which rarely look at it; it is what most of them are set to.
const ANY_REGION: &str = "us-east-1";

pub(super) async fn connect(
    config: S3Config,
    keys: Option<Credentials>,
    patience: Patience,
) -> Result<Store, BucketError> {
    let sdk = load(&config, keys).await;
    let endpoint = config.endpoint.clone().or_else(|| s3_endpoint(&sdk));
    let place = match &endpoint {
        Some(url) => place(url, &config.bucket)?,
        None => Place::aws(&config.bucket),
    };
    let region = sdk.region().cloned().unwrap_or(Region::from_static(ANY_REGION));
    let sdk = sdk.into_builder().region(region).build();
    let mut client = aws_sdk_s3::config::Builder::from(&sdk)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(retries(patience))
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL_LIMIT).build())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build())
        .force_path_style(config.path_style.unwrap_or(endpoint.is_some()));
    if let Some(url) = endpoint {
        client = client.endpoint_url(url);
    }
    let credentials = match &config.role_arn {
        Some(role) => Some(SharedCredentialsProvider::new(role_credentials(&config, &sdk, role).await)),
        None => sdk.credentials_provider(),
    };
    client.set_credentials_provider(credentials.clone());
    let client = aws_sdk_s3::Client::from_conf(client.build());
    Ok(Store::new(client, credentials, config.bucket, config.id, place, patience))
}

fn retries(patience: Patience) -> RetryConfig {
    let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS);
    retries.with_initial_backoff(patience.first).with_max_backoff(patience.longest)
}

/// Everything that the AWS tools would find.
async fn load(config: &S3Config, keys: Option<Credentials>) -> SdkConfig {
    let http =
        aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    loader = match (&config.region, &config.endpoint) {
        (Some(region), _) => loader.region(Region::new(region.clone())),
        (None, Some(_)) => loader.region(region_nearby(config)),
        (None, None) => loader,
    };
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(keys) = keys {
        loader = loader.credentials_provider(keys);
    }
    loader.load().await
}

/// The region of a store elsewhere: from environment or profile. Asking AWS's instance service
/// for it would only cost the seconds until nobody answers.
fn region_nearby(config: &S3Config) -> RegionProviderChain {
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &config.profile {
        profile = profile.profile_name(name);
    }
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(profile.build())
        .or_else(Region::from_static(ANY_REGION))
}

async fn role_credentials(config: &S3Config, sdk: &SdkConfig, role: &str) -> AssumeRoleProvider {
    let mut provider = AssumeRoleProvider::builder(role).session_name("longshore").configure(sdk);
    if let Some(id) = &config.external_id {
        provider = provider.external_id(id);
    }
    provider.build().await
}

/// The endpoint that environment or profile name; S3's own variable comes before the common one.
fn s3_endpoint(sdk: &SdkConfig) -> Option<String> {
    let own = std::env::var("AWS_ENDPOINT_URL_S3").ok().filter(|url| !url.is_empty());
    own.or_else(|| sdk.endpoint_url().map(str::to_owned))
}

/// Which store a URL names, and whether that is AWS by another door (FIPS, VPC endpoint).
fn place(url: &str, bucket: &str) -> Result<Place, BucketError> {
    let refused = |why: &str| {
        BucketError::new(Kind::Refused, format!("`[bucket] endpoint` {why}"))
            .cure("write it like `http://localhost:9000` or `https://storage.example.com`")
    };
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or_else(|| refused("begins with neither `http://` nor `https://`"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(refused("holds a user or password, which belong into the credentials"));
    }
    if authority.is_empty() {
        return Err(refused("names no host"));
    }
    let authority = authority.to_ascii_lowercase();
    let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
    let aws = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|end| host.ends_with(end));
    Ok(if aws { Place::aws(bucket) } else { Place::elsewhere(&authority, bucket) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_elsewhere_stands_in_the_id() {
        let id = |url| place(url, "landing").unwrap().id;
        assert_eq!(id("http://LocalHost:9000/"), "s3://localhost:9000/landing");
        assert_eq!(id("https://storage.example.com"), "s3://storage.example.com/landing");
        assert_eq!(id("https://s3.eu-central-1.amazonaws.com"), "s3://landing");
    }

    #[test]
    fn a_password_in_the_endpoint_is_refused_and_not_told() {
        let error = place("https://me:secret@example.com", "landing").unwrap_err();
        assert!(!format!("{error:?}").contains("secret"));
        assert!(place("example.com", "landing").is_err());
        assert!(place("http://", "landing").is_err());
    }
}
