//! Tries what Longshore needs of a bucket, hop by hop.

use aws_sdk_s3::config::ProvideCredentials;
use aws_sdk_s3::types::BucketVersioningStatus;
use bytes::Bytes;
use longshore_warehouse::{Finding, Severity};

use super::fault::{Answer, DELETE, DELETE_VERSION, LIST, READ, chain};
use super::list::missing_bucket;
use super::moving::NO_ETAG;
use super::put::put;
use super::store::{Store, exact, probe, quoted};
use crate::bucket::{BucketError, Kind, Metadata, Move, Moved, ObjectKey, Prefixes, told};

pub(super) async fn check(store: &Store, prefixes: &Prefixes) -> Vec<Finding> {
    let mut findings = vec![credentials(store).await];
    if findings[0].severity == Severity::Fault {
        return findings;
    }
    match bucket(store, &prefixes.pending).await {
        Ok(finding) => findings.push(finding),
        Err(error) => {
            findings.push(fault(&error));
            return findings;
        }
    }
    for prefix in [&prefixes.failed, &prefixes.rejected] {
        findings.push(told_of(write(store, prefix).await, || format!("`{prefix}` can be written and deleted in")));
    }
    findings.push(told_of(copy(store, &prefixes.processed).await, || {
        format!("objects can be copied to `{}`, read and deleted there", prefixes.processed)
    }));
    findings.push(removal(store, &prefixes.processed).await);
    findings.push(told_of(pending(store, &prefixes.pending).await, || {
        format!("objects in `{}` can be read and deleted", prefixes.pending)
    }));
    findings
}

/// Whether there are credentials, and where they were found.
async fn credentials(store: &Store) -> Finding {
    let Some(provider) = &store.credentials else {
        return fault(&BucketError::new(Kind::Login, "no credentials for the bucket are configured"));
    };
    match provider.provide_credentials().await {
        Ok(credentials) => {
            // Only the debug form names the provider; it has the secret redacted.
            let debug = format!("{credentials:?}");
            let from = debug.split("provider_name: \"").nth(1).and_then(|rest| rest.split('"').next());
            fine(format!("credentials for the bucket were found ({})", from.unwrap_or("source unknown")))
        }
        Err(error) => {
            fault(&BucketError::new(Kind::Login, "no credentials for the bucket were found").because(chain(&error)))
        }
    }
}

/// Whether the bucket is there, in the region we think, and may be listed.
async fn bucket(store: &Store, prefix: &str) -> Result<Finding, BucketError> {
    let head = store.client.head_bucket().bucket(&store.bucket).send().await;
    if let Err(error) = head {
        let answer = missing_bucket(Answer::of(&error));
        // A policy may allow to list under a prefix only: that is tried next.
        if answer.kind != Kind::AccessDenied {
            return Err(answer.told(store, LIST, None));
        }
    }
    let request = store.client.list_objects_v2().bucket(&store.bucket).prefix(prefix).max_keys(1);
    request.send().await.map_err(|error| missing_bucket(Answer::of(&error)).told(store, LIST, None))?;
    let region = store.client.config().region().map_or("?", |region| region.as_ref());
    let place = &store.place.display;
    Ok(fine(match store.place.aws {
        true => format!("`{place}` is in {region} and `{prefix}` can be listed"),
        false => format!("`{place}` ({}) is there and `{prefix}` can be listed", store.place.id),
    }))
}

/// Nothing is written under pending, where pipelines look: a read and a conditional delete of
/// what is not there show the rights as well.
async fn pending(store: &Store, prefix: &str) -> Result<(), BucketError> {
    let key = probe(prefix);
    if let Err(error) = store.client.get_object().bucket(&store.bucket).key(key.as_str()).send().await {
        missing_is_fine(Answer::of(&error), |answer| answer.told(store, READ, Some(&key)))?;
    }
    // Where the condition is ignored, deleting nothing would leave a marker in a versioned bucket.
    if store.conditional_delete.get() != Some(&true) {
        return Ok(());
    }
    let request = store.client.delete_object().bucket(&store.bucket).key(key.as_str());
    if let Err(error) = request.if_match(quoted(NO_ETAG)).send().await {
        missing_is_fine(Answer::of(&error), |answer| answer.told(store, DELETE, Some(&key)))?;
    }
    Ok(())
}

fn missing_is_fine(answer: Answer, told: impl FnOnce(Answer) -> BucketError) -> Result<(), BucketError> {
    match answer.kind {
        Kind::Gone | Kind::Changed => Ok(()),
        _ => Err(told(answer)),
    }
}

async fn write(store: &Store, prefix: &str) -> Result<(), BucketError> {
    let key = probe(prefix);
    put(store, &key, Bytes::from_static(b"longshore check\n")).await?;
    remove(store, &key).await
}

/// Writes a probe and moves it the way objects are archived.
async fn copy(store: &Store, prefix: &str) -> Result<(), BucketError> {
    let (from, to) = (probe(prefix), probe(prefix));
    put(store, &from, Bytes::from_static(b"longshore check\n")).await?;
    let moved = match store.head(&from, None).await {
        Ok(Some(head)) => {
            let identity = head.object.identity(&store.id);
            let movement = Move { object: &head.object, identity, to: &to, otherwise: &to, metadata: &Metadata::new() };
            super::moving::relocate(store, &movement).await
        }
        Ok(None) => Ok(Moved::Gone),
        Err(error) => Err(error),
    };
    // Whatever happened, neither may stay.
    let removed = (remove(store, &from).await, remove(store, &to).await);
    match moved? {
        Moved::To(_) => removed.0.and(removed.1),
        _ => Err(BucketError::new(Kind::Changed, format!("what was written to `{}` changed", store.place(&from)))),
    }
}

/// Removes a probe with all that is left of it in a versioned bucket.
async fn remove(store: &Store, key: &ObjectKey) -> Result<(), BucketError> {
    match store.head(key, None).await? {
        Some(head) => store.delete(key, exact(head.version.as_deref())).await,
        None => Ok(()),
    }
}

/// How objects are removed, and how safe that is.
async fn removal(store: &Store, folder: &str) -> Finding {
    let honoured = match try_conditions(store, folder).await {
        Ok(honoured) => honoured,
        Err(error) => return fault(&error),
    };
    // Another check in this process may have been first; the store has not changed since.
    store.conditional_delete.set(honoured).ok();
    let versioning = store.client.get_bucket_versioning().bucket(&store.bucket).send().await;
    // Who may not ask gets the answer from the objects themselves.
    if versioning.is_ok_and(|answer| answer.status() == Some(&BucketVersioningStatus::Enabled)) {
        return fine("the bucket is versioned: exactly the version that was read is removed".to_owned());
    }
    if honoured {
        return fine("an object is removed only if it still is what was read".to_owned());
    }
    Finding {
        severity: Severity::Warning,
        message: "the store ignores `If-Match` on DELETE: an object that is replaced in the moment of its removal \
                  is lost"
            .to_owned(),
        cure: Some("enable versioning of the bucket, or never write a key twice".to_owned()),
    }
}

/// Writes an object and tries to remove it under a wrong ETag: whether the store honours conditions.
async fn try_conditions(store: &Store, folder: &str) -> Result<bool, BucketError> {
    let key = probe(folder);
    put(store, &key, Bytes::from_static(b"longshore check\n")).await?;
    let head = store.head(&key, None).await?;
    let request = store.client.delete_object().bucket(&store.bucket).key(key.as_str()).if_match(quoted(NO_ETAG));
    let answer = request.send().await.map_err(|error| Answer::of(&error));
    let version = head.and_then(|head| head.version);
    let cleaned = store.delete(&key, exact(version.as_deref())).await;
    let honoured = match answer {
        Ok(_) => Ok(false),
        // Another process may have removed it; that this is an error shows that conditions count.
        Err(answer) if matches!(answer.kind, Kind::Changed | Kind::Gone) => Ok(true),
        Err(answer) if answer.is_unsupported() => Ok(false),
        Err(answer) => Err(answer.told(store, if version.is_some() { DELETE_VERSION } else { DELETE }, Some(&key))),
    };
    cleaned.and(honoured)
}

fn told_of(tried: Result<(), BucketError>, message: impl FnOnce() -> String) -> Finding {
    match tried {
        Ok(()) => fine(message()),
        Err(error) => fault(&error),
    }
}

fn fine(message: String) -> Finding {
    Finding { severity: Severity::Fine, message, cure: None }
}

fn fault(error: &BucketError) -> Finding {
    Finding { severity: Severity::Fault, message: told(error), cure: error.hint().map(str::to_owned) }
}
