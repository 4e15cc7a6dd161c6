//! Passwords for Redshift that IAM gives out for some minutes, one for each connection.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use longshore_postgres::{Credential, Credentials, CredentialsError};

/// How long a password is good; it is needed at login only.
const SECONDS: u32 = 900;

/// An answer that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Whose password is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// That of a cluster, by its identifier.
    Cluster(String),
    /// That of a serverless workgroup, by its name.
    Workgroup(String),
}

/// Where logins come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginConfig {
    /// Cluster or workgroup.
    pub whose: Whose,
    /// Region in which it is; `None` for what the AWS tools would find.
    pub region: Option<String>,
    /// Profile of the AWS configuration.
    pub profile: Option<String>,
}

/// Asks IAM for a login.
pub(crate) struct IamLogin {
    whose: Whose,
    database: String,
    sdk: SdkConfig,
    connector: Connector,
}

impl fmt::Debug for IamLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IamLogin").field("whose", &self.whose).field("database", &self.database).finish_non_exhaustive()
    }
}

/// A request before it is signed.
struct Question {
    service: &'static str,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl IamLogin {
    /// Prepares to ask. Credentials are looked for at the first connection.
    pub(crate) async fn new(config: &LoginConfig, database: &str) -> Self {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
        if let Some(region) = &config.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
        }
        let settings = HttpConnectorSettings::builder().connect_timeout(TIMEOUT).read_timeout(TIMEOUT).build();
        let connector = Connector::builder()
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .connector_settings(settings)
            .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
            .build();
        Self { whose: config.whose.clone(), database: database.to_owned(), sdk: loader.load().await, connector }
    }

    fn doing(&self) -> String {
        match &self.whose {
            Whose::Cluster(name) => format!("asking IAM for a login to the cluster `{name}`"),
            Whose::Workgroup(name) => format!("asking IAM for a login to the workgroup `{name}`"),
        }
    }

    fn question(&self, region: &str) -> Question {
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint = |variable: &str, host: &str| {
            let own = std::env::var(variable).ok().filter(|url| !url.is_empty());
            own.unwrap_or_else(|| format!("https://{host}.{region}.{suffix}")).trim_end_matches('/').to_owned() + "/"
        };
        match &self.whose {
            Whose::Cluster(name) => Question {
                service: "redshift",
                url: endpoint("AWS_ENDPOINT_URL_REDSHIFT", "redshift"),
                headers: vec![("content-type", "application/x-www-form-urlencoded; charset=utf-8".to_owned())],
                body: format!(
                    "Action=GetClusterCredentialsWithIAM&Version=2012-12-01&ClusterIdentifier={}&DbName={}&DurationSeconds={SECONDS}",
                    escaped(name),
                    escaped(&self.database)
                ),
            },
            Whose::Workgroup(name) => Question {
                service: "redshift-serverless",
                url: endpoint("AWS_ENDPOINT_URL_REDSHIFT_SERVERLESS", "redshift-serverless"),
                headers: vec![
                    ("content-type", "application/x-amz-json-1.1".to_owned()),
                    ("x-amz-target", "RedshiftServerless.GetCredentials".to_owned()),
                ],
                body: serde_json::json!({
                    "workgroupName": name, "dbName": self.database, "durationSeconds": SECONDS,
                })
                .to_string(),
            },
        }
    }

    async fn signed(&self, region: &str) -> Result<HttpRequest, CredentialsError> {
        let failed = |text: &str| CredentialsError::new(format!("{}: {text}", self.doing()));
        let provider = self.sdk.credentials_provider().ok_or_else(|| {
            failed("no AWS credentials are configured").cure("give credentials as the AWS tools take them")
        })?;
        let credentials = provider.provide_credentials().await.map_err(|error| {
            failed("no AWS credentials were found")
                .cure("give credentials as the AWS tools take them, and try `aws sts get-caller-identity`")
                .because(error.to_string())
        })?;
        let question = self.question(region);
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(question.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| failed("the request cannot be signed").because(error))?
            .into();
        let headers = question.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let signable =
            SignableRequest::new("POST", &question.url, headers, SignableBody::Bytes(question.body.as_bytes()))
                .map_err(|error| failed("the request cannot be signed").because(error))?;
        let (instructions, _) = sign(signable, &parameters)
            .map_err(|error| failed("the request cannot be signed").because(error))?
            .into_parts();
        let mut request = http::Request::post(&question.url);
        for (name, value) in &question.headers {
            request = request.header(*name, value);
        }
        let mut request = request
            .body(SdkBody::from(question.body))
            .map_err(|error| failed("the endpoint is no URL").because(error))?;
        instructions.apply_to_request_http1x(&mut request);
        HttpRequest::try_from(request).map_err(|error| failed("the request cannot be sent").because(error))
    }
}

#[async_trait]
impl Credentials for IamLogin {
    async fn fetch(&self) -> Result<Credential, CredentialsError> {
        let failed = |text: String| CredentialsError::new(format!("{}: {text}", self.doing()));
        let region = self.sdk.region().map(|region| region.as_ref().to_owned()).ok_or_else(|| {
            failed("the region is not known".to_owned()).cure("write `region` into `[warehouse]`, or set AWS_REGION")
        })?;
        let request = self.signed(&region).await?;
        let unreachable = |error: Box<dyn std::error::Error + Send + Sync>| {
            failed("the service cannot be reached".to_owned()).transient().because(error)
        };
        let mut response = self.connector.call(request).await.map_err(|error| unreachable(error.into()))?;
        let status = response.status().as_u16();
        let body = std::mem::replace(response.body_mut(), SdkBody::taken());
        let body = aws_smithy_types::byte_stream::ByteStream::new(body);
        let body = body.collect().await.map_err(|error| unreachable(error.into()))?.into_bytes();
        let body = String::from_utf8_lossy(&body);
        if !(200..300).contains(&status) {
            let said = said(&body);
            let error = failed(format!("it answers {status}{said}"));
            return Err(match status {
                429 | 500.. => error.transient(),
                // Too many requests are told by their code: `Throttling`, `ThrottlingException`.
                _ if code(&body).is_some_and(|code| code.contains("Throttl")) => error.transient(),
                _ => error.cure(match &self.whose {
                    Whose::Cluster(_) => {
                        "correct `cluster` and `region`, and allow this identity redshift:GetClusterCredentialsWithIAM"
                    }
                    Whose::Workgroup(_) => {
                        "correct `workgroup` and `region`, and allow this identity redshift-serverless:GetCredentials"
                    }
                }),
            });
        }
        let value = |name: &str| field(&body, name).or_else(|| element(&body, &capitalised(name)));
        match (value("dbUser"), value("dbPassword")) {
            (Some(user), Some(password)) => Ok(Credential { user, password: password.into() }),
            _ => Err(failed("its answer holds no login".to_owned())),
        }
    }
}

/// A field of an answer in JSON.
fn field(body: &str, name: &str) -> Option<String> {
    let json = serde_json::from_str::<serde_json::Value>(body).ok()?;
    json.get(name)?.as_str().map(str::to_owned)
}

/// The code of a refusal.
fn code(body: &str) -> Option<String> {
    let of_json = field(body, "__type").map(|code| code.rsplit('#').next().unwrap_or_default().to_owned());
    of_json.or_else(|| element(body, "Code"))
}

/// What the service says of a refusal: code and message, which hold no secret.
fn said(body: &str) -> String {
    let message = field(body, "message").or_else(|| field(body, "Message")).or_else(|| element(body, "Message"));
    [code(body), message].into_iter().flatten().fold(String::new(), |said, part| said + ": " + &part)
}

fn capitalised(name: &str) -> String {
    name[..1].to_ascii_uppercase() + &name[1..]
}

/// The text of an XML element that has no others within.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    // The ampersand comes last: it begins the others.
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    Some(text.replace("&#x27;", "'").replace("&#39;", "'").replace("&amp;", "&"))
}

/// A value of a form.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |form, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => form + &char::from(byte).to_string(),
        _ => form + &format!("%{byte:02X}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_xml_is_read() {
        let body = "<R><DbUser>IAM:loader</DbUser><DbPassword>a&lt;b&amp;lt;c</DbPassword></R>";
        assert_eq!(element(body, "DbUser").as_deref(), Some("IAM:loader"));
        assert_eq!(element(body, "DbPassword").as_deref(), Some("a<b&lt;c"));
        assert_eq!(element(body, "Expiration"), None);
    }

    #[test]
    fn a_refusal_is_told_by_code_and_message() {
        let xml = "<ErrorResponse><Error><Code>ClusterNotFound</Code><Message>Cluster x not found.</Message></Error></ErrorResponse>";
        assert_eq!(said(xml), ": ClusterNotFound: Cluster x not found.");
        let json = r#"{"__type":"com.amazon#ResourceNotFoundException","message":"no such workgroup"}"#;
        assert_eq!(said(json), ": ResourceNotFoundException: no such workgroup");
        assert_eq!(said("<html>"), "");
    }

    #[test]
    fn names_are_escaped_in_a_form() {
        assert_eq!(escaped("a b&c=ü"), "a%20b%26c%3D%C3%BC");
    }
}
