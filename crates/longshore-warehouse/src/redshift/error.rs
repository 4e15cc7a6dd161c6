//! Turns what Redshift says into errors of the boundary.
//!
//! Most of it comes as XX000, so the words decide, and the code only where they do not.

use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::broken::{unanswered, uncommitted, words};
use crate::{Fault, Kind, WarehouseError};

/// What to make of a refusal: the kind, what to say, and what to do.
pub(super) type Verdict = (Kind, &'static str, Option<&'static str>);

const ROLE: &str = "let the role list the bucket (s3:ListBucket) and get what is under the staging prefix (s3:GetObject; \
     kms:Decrypt where it is encrypted by a key of yours)";

/// Words that stand in what is said of the objects that COPY reads.
const OF_STORE: &[(&[&str], Verdict)] = &[
    (
        &["must be addressed using the specified endpoint", "PermanentRedirect", "is in a different region"],
        (
            Kind::Unsupported,
            "the staging bucket is in another region than Redshift",
            Some("name the bucket's region in `[warehouse] staging_region`, or stage in a bucket of Redshift's region"),
        ),
    ),
    (
        &["not authorized to assume", "not authorized to get credentials", "is not attached to", "InvalidRole"],
        (
            Kind::AccessDenied,
            "Redshift may not take on the role",
            Some(
                "attach the role of `iam_role` to the cluster or workgroup, and let it be assumed by redshift.amazonaws.com",
            ),
        ),
    ),
    (
        &["Invalid credentials", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"],
        (
            Kind::AccessDenied,
            "the keys for the staging bucket are not taken",
            Some("name a role in `iam_role`, or give keys that are valid"),
        ),
    ),
    (
        &["AccessDenied", "Access Denied", "Status 403", "Forbidden"],
        (Kind::AccessDenied, "Redshift may not read the staging bucket", Some(ROLE)),
    ),
    // What the server says where the role may list and not get.
    (
        &["requires full path of an Amazon S3 object"],
        (Kind::AccessDenied, "Redshift may not read the manifest in the staging bucket", Some(ROLE)),
    ),
    (
        &["NoSuchBucket"],
        (Kind::Missing, "the staging bucket does not exist", Some("correct `staging` in `longshore.toml`")),
    ),
    (
        &["NoSuchKey", "Status 404", "specified S3 prefix", "key does not exist"],
        (Kind::Conflict, "what was staged is gone, as if it had been swept away", None),
    ),
    (
        &["SlowDown", "Status 503", "Status 500", "InternalError", "RequestTimeout", "ServiceUnavailable"],
        (Kind::Conflict, "the store that holds the staged rows is busy", None),
    ),
];

/// What to make of code and words.
fn judge(code: &str, message: &str, detail: &str) -> Verdict {
    let says = |words: &str| message.contains(words) || detail.contains(words);
    let rows = || Kind::Rows { object: None, line: None, column: None };
    if let Some(verdict) = of_store(message).or_else(|| of_store(detail)) {
        return verdict;
    }
    if is_load_error(message) {
        return (rows(), "Redshift refuses a value", None);
    }
    if message.trim() == "1023" || says("Serializable isolation violation") {
        return (Kind::Conflict, "another transaction read or wrote the same tables", None);
    }
    if is_gone(message) {
        return (Kind::Missing, "a table was dropped or made anew meanwhile", None);
    }
    if says("Cannot insert a NULL value") {
        return (rows(), "NULL in a column that takes none", None);
    }
    if message.to_ascii_lowercase().contains("disk full") {
        return (Kind::Full, "no space is left on the cluster", Some("delete or VACUUM, or resize the cluster"));
    }
    by_code(code)
}

/// What to make of words about the bucket that COPY reads; `None` where they are about something else.
pub(super) fn of_store(said: &str) -> Option<Verdict> {
    let says = |words: &&str| said.contains(*words);
    let is_of_store = ["S3", "IAM", "MANIFEST", "manifest", "credentials"].iter().any(says);
    let (_, verdict) = OF_STORE.iter().find(|(words, _)| is_of_store && words.iter().any(says))?;
    Some(verdict.clone())
}

fn by_code(code: &str) -> Verdict {
    let rows = Kind::Rows { object: None, line: None, column: None };
    match code {
        "40001" | "40P01" => {
            (Kind::Conflict, "another transaction holds what this one needs, and each held up the other", None)
        }
        "55P03" => (Kind::Busy, "somebody else holds a lock on it", None),
        "57014" => (
            Kind::Busy,
            "the server broke the statement off: it waited or ran for too long, or somebody cancelled it",
            Some("look for what holds the table or fills the queue (`svv_transactions`, `stv_wlm_query_state`)"),
        ),
        "57P01" | "57P02" | "57P03" => (Kind::Unreachable, "the server ended the connection", None),
        "53300" => (Kind::Busy, "the server has no connection left", Some("close some, or lower `--concurrency`")),
        "53100" => (Kind::Full, "no space is left on the cluster", Some("delete or VACUUM, or resize the cluster")),
        "42501" => (Kind::AccessDenied, "this user may not do it", None),
        "42P01" | "42703" | "3F000" | "3D000" => (Kind::Missing, "something it needs does not exist", None),
        "25006" => (Kind::AccessDenied, "the database or share is read-only", None),
        // The stand-in of the tests has met something that it does not know.
        "LS000" => (Kind::Unsupported, "the server does not know this statement", None),
        _ => match code.get(..2).unwrap_or_default() {
            "08" => (Kind::Unreachable, "the connection broke", None),
            "22" | "23" => (rows, "a value that the column cannot hold", None),
            "28" => (Kind::Login, "the server refuses the login", None),
            "40" => (Kind::Conflict, "the server undid the transaction", None),
            "53" => (Kind::Conflict, "the server lacks a resource", None),
            "57" => (Kind::Unreachable, "the server was told to stop it", None),
            "0A" => (Kind::Unsupported, "the server does not do it", None),
            _ => (Kind::Other, "the server refuses", None),
        },
    }
}

/// Whether COPY found rows that it cannot read, of which the server's tables say more.
pub(super) fn is_load_error(message: &str) -> bool {
    message.contains("stl_load_errors") || message.contains("sys_load_error_detail")
}

/// Whether a table was not there when the statement's snapshot was taken.
fn is_gone(message: &str) -> bool {
    let message = message.trim();
    message == "1018"
        || message.starts_with("could not open relation")
        || message.starts_with("Relation") && message.contains("does not exist")
}

fn judged(error: &DbError) -> Verdict {
    judge(error.code().code(), error.message(), error.detail().unwrap_or_default())
}

/// An error of the server or the connection while `doing` something, such as "reading the ledger".
pub(super) fn failed(doing: &str, error: &Error) -> WarehouseError {
    if let Some(refusal) = error.as_db_error() {
        let (kind, why, cure) = judged(refusal);
        let is_plain = kind.advice().fault == Fault::Environment;
        let mut failed = WarehouseError::new(kind, format!("{doing}: {why}")).server(words(refusal));
        if is_plain {
            // It is about tables, rights or the server itself, and can hold no cell values.
            failed = failed.because(refusal.message().trim().to_owned());
        }
        return match cure {
            Some(cure) => failed.cure(cure),
            None => failed,
        };
    }
    unanswered(doing, error)
}

/// The same for a statement that touches only tables of ours: one that is gone comes back at the next try.
pub(super) fn failed_on_ours(doing: &str, error: &Error) -> WarehouseError {
    let failed = failed(doing, error);
    match error.as_db_error() {
        Some(refusal) if *failed.kind() == Kind::Missing && is_gone(refusal.message()) => {
            failed.with_kind(Kind::Conflict)
        }
        _ => failed,
    }
}

/// A COMMIT that failed.
pub(super) fn commit_failed(doing: &str, error: &Error) -> WarehouseError {
    uncommitted(doing, error, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_decide_where_the_code_says_nothing() {
        let denied = "S3ServiceException:Access Denied,Status 403,Error AccessDenied,Rid X,ExtRid Y,CanRetry 1";
        let slow = "S3ServiceException:Please reduce your request rate.,Status 503,Error SlowDown,Rid X";
        let gone = "S3ServiceException:The specified key does not exist.,Status 404,Error NoSuchKey,Rid X";
        let region = "The S3 bucket addressed by the query is in a different region from this cluster.";
        for (message, detail, kind) in [
            (
                "1023",
                "Serializable isolation violation on table - 141349, transactions forming the cycle are: 1, 2",
                Kind::Conflict,
            ),
            ("1023 ", "", Kind::Conflict),
            ("1018", "", Kind::Missing),
            ("Relation orders does not exist in the database.", "", Kind::Missing),
            (denied, "", Kind::AccessDenied),
            ("Problem reading manifest file - S3ServiceException:Access Denied,Status 403", "", Kind::AccessDenied),
            ("COPY with MANIFEST parameter requires full path of an Amazon S3 object.", "", Kind::AccessDenied),
            (
                "User arn:aws:redshift is not authorized to assume IAM Role arn:aws:iam::1:role/x",
                "",
                Kind::AccessDenied,
            ),
            (slow, "", Kind::Conflict),
            (gone, "", Kind::Conflict),
            ("The specified S3 prefix 'a' does not exist", "", Kind::Conflict),
            (region, "", Kind::Unsupported),
            ("Disk Full", "", Kind::Full),
            ("something else", "", Kind::Other),
        ] {
            assert_eq!(judge("XX000", message, detail).0, kind, "{message}");
        }
        let load = "Load into table 't' failed.  Check 'sys_load_error_detail' system table for details.";
        assert!(matches!(judge("XX000", load, "").0, Kind::Rows { .. }));
        assert!(matches!(judge("XX000", "Cannot insert a NULL value into column c", "").0, Kind::Rows { .. }));
    }

    #[test]
    fn the_code_decides_the_rest() {
        for (code, fault) in [
            ("40P01", Fault::Transient),
            ("57014", Fault::Transient),
            ("57P01", Fault::Transient),
            ("53200", Fault::Transient),
            ("08006", Fault::Transient),
            ("53100", Fault::Environment),
            ("42501", Fault::Environment),
            ("42P01", Fault::Environment),
            ("42601", Fault::Environment),
            ("0A000", Fault::Environment),
            ("22001", Fault::Object),
            ("23502", Fault::Object),
        ] {
            assert_eq!(judge(code, "x", "").0.advice().fault, fault, "{code}");
        }
    }

    #[test]
    fn what_has_to_be_done_is_said() {
        let (_, _, cure) = judge("XX000", "S3ServiceException:Access Denied,Status 403", "");
        assert!(cure.is_some_and(|cure| cure.contains("s3:GetObject")));
    }
}
