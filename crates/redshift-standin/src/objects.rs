//! The objects that COPY reads, from any S3 endpoint.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use bytes::Bytes;

/// Where objects are.
#[derive(Debug, Clone)]
pub struct ObjectsConfig {
    /// URL of the endpoint; `None` for AWS.
    pub endpoint: Option<String>,
    /// Region.
    pub region: String,
    /// Key id and secret; `None` for what the AWS tools would find.
    pub keys: Option<(String, String)>,
}

/// What the store answered instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// An object that is listed.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) key: String,
}

/// Reads from S3.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    client: Client,
    region: String,
}

impl Objects {
    pub(crate) async fn connect(config: &ObjectsConfig) -> Self {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .region(Region::new(config.region.clone()));
        if let Some((id, secret)) = &config.keys {
            loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "redshift-standin"));
        }
        let sdk = loader.load().await;
        let mut client = aws_sdk_s3::config::Builder::from(&sdk)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .force_path_style(config.endpoint.is_some());
        if let Some(endpoint) = &config.endpoint {
            client = client.endpoint_url(endpoint);
        }
        Self { client: Client::from_conf(client.build()), region: config.region.clone() }
    }

    /// The same store with other keys.
    pub(crate) fn with_keys(&self, id: &str, secret: &str, token: Option<&str>) -> Self {
        let keys = Credentials::new(id, secret, token.map(str::to_owned), None, "COPY");
        let config = self.client.config().to_builder().credentials_provider(keys).build();
        Self { client: Client::from_conf(config), region: self.region.clone() }
    }

    /// The region in which this cluster is.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// All keys that begin so.
    pub(crate) async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<Listed>, Problem> {
        let mut pages = self.client.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| problem(error.raw_response().map(|raw| raw.status().as_u16()), &error))?;
            listed.extend(page.contents().iter().filter_map(|object| Some(Listed { key: object.key()?.to_owned() })));
        }
        Ok(listed)
    }

    /// A whole object.
    pub(crate) async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, Problem> {
        let answer = self.client.get_object().bucket(bucket).key(key).send().await;
        let answer = answer.map_err(|error| problem(error.raw_response().map(|raw| raw.status().as_u16()), &error))?;
        let body = answer.body.collect().await;
        body.map(|body| body.into_bytes()).map_err(|error| Problem {
            status: 500,
            code: "IncompleteBody".to_owned(),
            message: error.to_string(),
        })
    }
}

fn problem(status: Option<u16>, error: &impl ProvideErrorMetadata) -> Problem {
    let status = status.unwrap_or(500);
    let code = error.code().unwrap_or(if status == 404 { "NoSuchKey" } else { "InternalError" }).to_owned();
    let message = match code.as_str() {
        "NoSuchKey" => "The specified key does not exist.".to_owned(),
        "NoSuchBucket" => "The specified bucket does not exist".to_owned(),
        "AccessDenied" => "Access Denied".to_owned(),
        _ => error.message().unwrap_or("The request failed").to_owned(),
    };
    Problem { status, code, message }
}
