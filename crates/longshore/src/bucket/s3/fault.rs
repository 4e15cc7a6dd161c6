//! What the store answers, in our words.

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::store::Store;
use crate::bucket::{BucketError, Kind, ObjectKey};

/// What was attempted: how people say it, and the permission that it takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deed {
    verb: &'static str,
    action: &'static str,
}

pub(super) const LIST: Deed = Deed { verb: "list", action: "s3:ListBucket" };
pub(super) const LOOK: Deed = Deed { verb: "look at", action: "s3:GetObject" };
pub(super) const LOOK_AT_VERSION: Deed =
    Deed { verb: "look at the version that was read of", action: "s3:GetObjectVersion" };
pub(super) const READ: Deed = Deed { verb: "read", action: "s3:GetObject" };
pub(super) const WRITE: Deed = Deed { verb: "write", action: "s3:PutObject" };
pub(super) const COPY: Deed = Deed { verb: "copy an object to", action: "s3:GetObject, s3:PutObject" };
pub(super) const DELETE: Deed = Deed { verb: "delete", action: "s3:DeleteObject" };
pub(super) const DELETE_VERSION: Deed =
    Deed { verb: "delete the version that was read of", action: "s3:DeleteObjectVersion" };

/// Error codes that say that the credentials are at fault, not their rights.
const LOGIN: [&str; 12] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "InvalidClientTokenId",
    "TokenRefreshRequired",
    "InvalidSecurity",
    "NotSignedUp",
    "RequestTimeTooSkewed",
    "RequestExpired",
    "AccountProblem",
];

/// Error codes of stores that are full.
const FULL: [&str; 4] = ["QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"];

/// What an answer comes to, before it is put in words.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    pub(super) code: Option<String>,
    region: Option<String>,
    /// Whether the store answered at all.
    is_answered: bool,
    text: String,
}

impl Answer {
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let code = error.code().map(str::to_owned);
        let response = error.raw_response();
        let status = response.map(|response| response.status().as_u16());
        let header = |name| response.and_then(|response| response.headers().get(name)).map(str::to_owned);
        let region = header("x-amz-bucket-region");
        let text = match error {
            SdkError::ServiceError(_) => service_text(error, status, header("x-amz-request-id")),
            _ => chain(error),
        };
        let kind = match error {
            SdkError::ServiceError(_) => kind(code.as_deref(), status.unwrap_or_default(), region.is_some()),
            _ if is_login(&text) => Kind::Login,
            SdkError::ConstructionFailure(_) => Kind::Refused,
            _ => Kind::Unreachable,
        };
        Self { kind, code, region, is_answered: response.is_some(), text }
    }

    /// Whether the store says that it does not know this kind of request or condition.
    pub(super) fn is_unsupported(&self) -> bool {
        self.code.as_deref() == Some("NotImplemented")
    }

    /// Puts it in words.
    pub(super) fn told(self, store: &Store, deed: Deed, key: Option<&ObjectKey>) -> BucketError {
        let place = key.map_or_else(|| store.place.display.clone(), |key| store.place(key));
        let fault = BucketError::new(self.kind, format!("cannot {} `{place}`", deed.verb));
        let fault = match (self.kind, self.code.as_deref()) {
            (Kind::AccessDenied, _) => {
                fault.cure(format!("allow `{}` on `{place}` for these credentials", deed.action))
            }
            (Kind::NoBucket, _) if self.region.is_some() => {
                let region = self.region.unwrap_or_default();
                fault.cure(format!("the bucket is in another region: set `region = \"{region}\"` under `[bucket]`"))
            }
            (Kind::NoBucket, Some("AuthorizationHeaderMalformed" | "PermanentRedirect")) => {
                fault.cure("set `[bucket] region` to the region of the bucket")
            }
            (Kind::Login, Some("RequestTimeTooSkewed" | "RequestExpired")) => {
                fault.cure("set the clock of this machine")
            }
            (Kind::Unreachable, _) if !self.is_answered => fault.cure(
                "look whether the store can be reached from here: `endpoint` and `region` under `[bucket]`, network, proxy",
            ),
            (Kind::Refused, Some("InvalidObjectState")) => {
                fault.cure("the object is in an archive storage class: restore it, or move it away")
            }
            _ => fault,
        };
        fault.because(self.text)
    }
}

/// Decides what an answer of the store means.
fn kind(code: Option<&str>, status: u16, names_region: bool) -> Kind {
    match (code.unwrap_or_default(), status) {
        ("NoSuchBucket", _) => Kind::NoBucket,
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _)
        | (_, 301 | 307) => Kind::NoBucket,
        // HEAD has no body: a wrong region shows only by the header that names the right one.
        ("" | "BadRequest", 400) if names_region => Kind::NoBucket,
        (code, _) if LOGIN.contains(&code) => Kind::Login,
        (code, _) if FULL.contains(&code) => Kind::Full,
        (_, 507) => Kind::Full,
        ("InvalidObjectState", _) => Kind::Refused,
        (_, 401) => Kind::Login,
        (_, 403) => Kind::AccessDenied,
        ("NoSuchKey" | "NotFound" | "NoSuchVersion", _) | (_, 404 | 410) => Kind::Gone,
        ("PreconditionFailed" | "InvalidRange", _) | (_, 412 | 416) => Kind::Changed,
        ("NotImplemented", _) | (_, 501) => Kind::Refused,
        ("RequestTimeout" | "SlowDown" | "OperationAborted" | "ConditionalRequestConflict", _) => Kind::Unreachable,
        (_, 408 | 409 | 425 | 429 | 500..) => Kind::Unreachable,
        _ => Kind::Refused,
    }
}

/// Whether an error that is no answer of the store comes from the search for credentials.
fn is_login(text: &str) -> bool {
    text.contains("credential") || text.contains("identity")
}

fn service_text<E>(error: &SdkError<E, HttpResponse>, status: Option<u16>, request: Option<String>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let status = status.map_or_else(String::new, |status| format!("HTTP {status}"));
    let request = request.map_or_else(String::new, |request| format!(", request {request}"));
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {} ({status}{request})", message.trim_end_matches('.')),
        (Some(code), None) => format!("{code} ({status}{request})"),
        _ => format!("the store answered {status}{request}"),
    }
}

/// All causes on one line; what repeats its predecessor is said once.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        if !part.is_empty() && !parts.iter().any(|said| said.contains(&part)) {
            parts.push(part);
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_the_store_means() {
        for (code, status, expected) in [
            ("NoSuchKey", 404, Kind::Gone),
            ("", 404, Kind::Gone),
            ("NoSuchBucket", 404, Kind::NoBucket),
            ("PreconditionFailed", 412, Kind::Changed),
            ("", 412, Kind::Changed),
            ("AccessDenied", 403, Kind::AccessDenied),
            ("", 403, Kind::AccessDenied),
            ("InvalidAccessKeyId", 403, Kind::Login),
            ("ExpiredToken", 400, Kind::Login),
            ("PermanentRedirect", 301, Kind::NoBucket),
            ("SlowDown", 503, Kind::Unreachable),
            ("InternalError", 500, Kind::Unreachable),
            ("", 502, Kind::Unreachable),
            ("ConditionalRequestConflict", 409, Kind::Unreachable),
            ("XMinioStorageFull", 507, Kind::Full),
            ("NotImplemented", 501, Kind::Refused),
            ("EntityTooLarge", 400, Kind::Refused),
        ] {
            assert_eq!(kind(Some(code).filter(|code| !code.is_empty()), status, false), expected, "{code} {status}");
        }
        assert_eq!(kind(None, 400, true), Kind::NoBucket);
    }
}
