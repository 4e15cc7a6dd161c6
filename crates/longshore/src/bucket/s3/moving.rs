//! Moves an object: copy it, look at the copy, remove the original.
//!
//! Each step asks the store to refuse if the object is not the one any more that was read. A
//! crash leaves the original, or both; the copy carries our identity in its metadata, and so a
//! repeat finds it and only removes the original. Tags travel with objects up to 5 GB; those of
//! larger ones, which go in parts, do not.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aws_sdk_s3::config::Builder as ConfigBuilder;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective};
use aws_smithy_types::timeout::TimeoutConfig;
use futures::stream::{self, StreamExt, TryStreamExt};
use longshore_warehouse::crash_point;

use super::fault::{Answer, COPY, DELETE};
use super::keys;
use super::put::{abort, part_ranges};
use super::store::{Head, Store, exact, quoted};
use crate::bucket::{BucketError, Kind, META_IDENTITY, META_KEY, META_MODIFIED_AT, Move, Moved, Object, ObjectKey};

/// Longest wait for the answer to a copy: a store may copy 5 GB before it says a word.
const COPY_TIMEOUT: Duration = Duration::from_secs(600);

/// Parts that are copied at once.
const AT_ONCE: usize = 4;

/// Bytes of metadata that S3 takes for one object: names and values.
const METADATA_BYTES: usize = 2_048;

/// An ETag that no object has.
pub(super) const NO_ETAG: &str = "00000000000000000000000000000000";

/// What stands at a place where an object shall go.
enum Standing {
    Free,
    Ours,
    Taken,
}

/// What became of a copy.
enum Copied {
    Done,
    /// A condition failed: the source has changed, or the place is not free any more.
    Refused,
}

pub(super) async fn relocate(store: &Store, movement: &Move<'_>) -> Result<Moved, BucketError> {
    let object = movement.object;
    if *movement.to == object.key {
        return Ok(Moved::To(object.key.clone()));
    }
    let (source, version) = match source(store, object).await? {
        Source::Here(head, version) => (head, version),
        Source::Replaced => return whereabouts(store, movement, Moved::Changed).await,
        Source::Gone => return whereabouts(store, movement, Moved::Gone).await,
    };
    let mut place = movement.to;
    // Between a look and a copy somebody may take the place: each is looked at twice.
    for _ in 0..4 {
        match standing(store, movement, place, Some(&source)).await? {
            Standing::Taken if place == movement.otherwise => break,
            Standing::Taken => place = movement.otherwise,
            Standing::Ours => {
                remove_source(store, object, version.as_deref()).await?;
                return Ok(Moved::To(place.clone()));
            }
            Standing::Free => match copy(store, movement, &source, version.as_deref(), place).await? {
                Copied::Done => {
                    crash_point("copy");
                    verify(store, movement, &source, place).await?;
                    remove_source(store, object, version.as_deref()).await?;
                    crash_point("delete");
                    return Ok(Moved::To(place.clone()));
                }
                // Either condition may have failed; the source is the one to be sure of.
                Copied::Refused => match store.head(&object.key, version.as_deref()).await? {
                    Some(now) if now.is_of(object) => {}
                    Some(_) => return whereabouts(store, movement, Moved::Changed).await,
                    None => return whereabouts(store, movement, Moved::Gone).await,
                },
            },
        }
    }
    let (object, to, otherwise) = (store.place(&object.key), movement.to, movement.otherwise);
    let message = format!("cannot move `{object}`: `{to}` and `{otherwise}` are taken");
    Err(BucketError::new(Kind::Refused, message).cure("move or remove the objects that lie there"))
}

/// What lies at the old place.
enum Source {
    /// The object that was read, with its version in a versioned bucket.
    Here(Box<Head>, Option<String>),
    Replaced,
    Gone,
}

/// Finds the object that was read: by its version if we know it, else it must be the current one.
async fn source(store: &Store, object: &Object) -> Result<Source, BucketError> {
    if let Some(version) = store.version_read(object)
        && let Some(head) = store.head(&object.key, Some(&version)).await?
        && head.is_of(object)
    {
        return Ok(Source::Here(Box::new(head), Some(version)));
    }
    Ok(match store.head(&object.key, None).await? {
        Some(head) if head.is_of(object) => {
            let version = exact(head.version.as_deref()).map(str::to_owned);
            Source::Here(Box::new(head), version)
        }
        Some(_) => Source::Replaced,
        None => Source::Gone,
    })
}

/// Where an object is that is not at its old place: an earlier attempt may have moved it.
async fn whereabouts(store: &Store, movement: &Move<'_>, otherwise: Moved) -> Result<Moved, BucketError> {
    for place in [movement.to, movement.otherwise] {
        if matches!(standing(store, movement, place, None).await?, Standing::Ours) {
            return Ok(Moved::To(place.clone()));
        }
    }
    Ok(otherwise)
}

/// Looks at a place. A copy of ours that does not equal its source is not counted as one.
async fn standing(
    store: &Store,
    movement: &Move<'_>,
    place: &ObjectKey,
    source: Option<&Head>,
) -> Result<Standing, BucketError> {
    let Some(there) = store.head(place, None).await? else { return Ok(Standing::Free) };
    let same_size = there.object.size == movement.object.size;
    let equal = source.is_none_or(|source| source.may_equal(&there));
    Ok(if is_named(&there, movement) && same_size && equal { Standing::Ours } else { Standing::Taken })
}

/// Whether an object says that it is the one that is moved.
fn is_named(there: &Head, movement: &Move<'_>) -> bool {
    there.metadata.get(META_IDENTITY).is_some_and(|identity| *identity == movement.identity.to_string())
}

/// Compares the copy with its source. One of ours that differs is removed, so that no repeat finds
/// its place taken; what somebody else put there in the meantime stays.
async fn verify(store: &Store, movement: &Move<'_>, source: &Head, place: &ObjectKey) -> Result<(), BucketError> {
    let copy = store.head(place, None).await?;
    let named = copy.as_ref().filter(|copy| is_named(copy, movement));
    if named.is_some_and(|copy| source.may_equal(copy)) {
        return Ok(());
    }
    if let Some(copy) = named {
        store.delete(place, exact(copy.version.as_deref())).await?;
    }
    let (from, to) = (store.place(&source.object.key), store.place(place));
    Err(BucketError::new(Kind::Unreachable, format!("the copy at `{to}` is not what lies at `{from}`")))
}

async fn copy(
    store: &Store,
    movement: &Move<'_>,
    source: &Head,
    version: Option<&str>,
    place: &ObjectKey,
) -> Result<Copied, BucketError> {
    let from = copy_source(store, &source.object.key, version);
    match source.object.size > store.parts_over {
        true => copy_in_parts(store, movement, source, &from, place).await,
        false => copy_at_once(store, movement, source, &from, place).await,
    }
}

/// The header that names the source of a copy; nobody else encodes it.
fn copy_source(store: &Store, key: &ObjectKey, version: Option<&str>) -> String {
    let version = version.map_or_else(String::new, |version| format!("?versionId={}", keys::encode(version)));
    format!("{}/{}{version}", store.bucket, keys::encode(key.as_str()))
}

async fn copy_at_once(
    store: &Store,
    movement: &Move<'_>,
    source: &Head,
    from: &str,
    place: &ObjectKey,
) -> Result<Copied, BucketError> {
    loop {
        let plain = store.plain_copies.load(Relaxed);
        let request = store
            .client
            .copy_object()
            .bucket(&store.bucket)
            .key(place.as_str())
            .copy_source(from)
            .copy_source_if_match(quoted(&source.object.etag))
            .set_if_none_match((!plain).then(|| "*".to_owned()))
            .metadata_directive(MetadataDirective::Replace)
            .set_metadata(Some(metadata(movement, source)))
            .set_content_type(source.content_type.clone())
            .set_content_encoding(source.content_encoding.clone())
            .set_content_language(source.content_language.clone())
            .set_content_disposition(source.content_disposition.clone())
            .set_cache_control(source.cache_control.clone());
        match request.customize().config_override(patient()).send().await {
            Ok(_) => return Ok(Copied::Done),
            Err(error) => match Answer::of(&error) {
                Answer { kind: Kind::Changed | Kind::Gone, .. } => return Ok(Copied::Refused),
                answer if answer.is_unsupported() && !plain => store.plain_copies.store(true, Relaxed),
                answer => return Err(answer.told(store, COPY, Some(place))),
            },
        }
    }
}

/// Copies what is too large for one request. The parts appear together or not at all.
async fn copy_in_parts(
    store: &Store,
    movement: &Move<'_>,
    source: &Head,
    from: &str,
    place: &ObjectKey,
) -> Result<Copied, BucketError> {
    let request = store
        .client
        .create_multipart_upload()
        .bucket(&store.bucket)
        .key(place.as_str())
        .set_metadata(Some(metadata(movement, source)))
        .set_content_type(source.content_type.clone())
        .set_content_encoding(source.content_encoding.clone())
        .set_content_language(source.content_language.clone())
        .set_content_disposition(source.content_disposition.clone())
        .set_cache_control(source.cache_control.clone());
    let created = request.send().await.map_err(|error| Answer::of(&error).told(store, COPY, Some(place)))?;
    let upload = created.upload_id().unwrap_or_default();
    let copied = match copy_parts(store, source, from, place, upload).await {
        Ok(parts) => complete(store, place, upload, parts).await,
        Err(answer) => Err(answer),
    };
    match copied {
        Ok(()) => Ok(Copied::Done),
        Err(answer) => {
            abort(store, place, upload).await;
            match answer.kind {
                Kind::Changed | Kind::Gone => Ok(Copied::Refused),
                _ => Err(answer.told(store, COPY, Some(place))),
            }
        }
    }
}

async fn copy_parts(
    store: &Store,
    source: &Head,
    from: &str,
    place: &ObjectKey,
    upload: &str,
) -> Result<Vec<CompletedPart>, Answer> {
    stream::iter(part_ranges(source.object.size, store.part_size))
        .map(|(number, offset, length)| async move {
            let request = store
                .client
                .upload_part_copy()
                .bucket(&store.bucket)
                .key(place.as_str())
                .upload_id(upload)
                .part_number(number)
                .copy_source(from)
                .copy_source_if_match(quoted(&source.object.etag))
                .copy_source_range(format!("bytes={offset}-{}", offset + length - 1));
            let answer = request.customize().config_override(patient()).send().await;
            let answer = answer.map_err(|error| Answer::of(&error))?;
            let etag = answer.copy_part_result().and_then(|part| part.e_tag()).map(str::to_owned);
            Ok(CompletedPart::builder().part_number(number).set_e_tag(etag).build())
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn complete(store: &Store, place: &ObjectKey, upload: &str, parts: Vec<CompletedPart>) -> Result<(), Answer> {
    loop {
        let plain = store.plain_copies.load(Relaxed);
        let request = store
            .client
            .complete_multipart_upload()
            .bucket(&store.bucket)
            .key(place.as_str())
            .upload_id(upload)
            .set_if_none_match((!plain).then(|| "*".to_owned()))
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts.clone())).build());
        match request.customize().config_override(patient()).send().await {
            Ok(_) => return Ok(()),
            Err(error) => match Answer::of(&error) {
                answer if answer.is_unsupported() && !plain => store.plain_copies.store(true, Relaxed),
                answer => return Err(answer),
            },
        }
    }
}

/// Settings of requests that keep the store busy before it answers.
fn patient() -> ConfigBuilder {
    ConfigBuilder::new().timeout_config(TimeoutConfig::builder().read_timeout(COPY_TIMEOUT).build())
}

/// The metadata of the copy: where it came from, then what the caller gives, then what the source
/// had, as far as S3 takes it. An object that was moved before keeps its first key and time.
fn metadata(movement: &Move<'_>, source: &Head) -> HashMap<String, String> {
    let mut wanted = BTreeMap::from([
        (META_KEY.to_owned(), keys::encode(movement.object.key.as_str())),
        (META_MODIFIED_AT.to_owned(), movement.object.modified_at.to_string()),
    ]);
    wanted.extend(source.metadata.clone());
    wanted.extend(movement.metadata.iter().map(|(name, value)| (name.clone(), ascii(value))));
    wanted.insert(META_IDENTITY.to_owned(), movement.identity.to_string());
    let rank = |name: &str| match name {
        META_IDENTITY => 0,
        META_MODIFIED_AT => 1,
        META_KEY => 2,
        name if movement.metadata.contains_key(name) => 3,
        _ => 4,
    };
    let mut wanted: Vec<_> = wanted.into_iter().collect();
    wanted.sort_by_key(|(name, _)| rank(name));
    let mut room = METADATA_BYTES;
    wanted.retain(|(name, value)| match room.checked_sub(name.len() + value.len()) {
        Some(rest) => {
            room = rest;
            true
        }
        None => false,
    });
    wanted.into_iter().collect()
}

/// A value as metadata can carry it; what is printable ASCII stays as it is.
fn ascii(value: &str) -> String {
    match value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        true => value.to_owned(),
        false => keys::encode(value),
    }
}

/// Removes the original, if it still is the object that was read. One that was replaced meanwhile
/// stays: the next listing shows it.
async fn remove_source(store: &Store, object: &Object, version: Option<&str>) -> Result<(), BucketError> {
    if let Some(version) = version {
        return store.delete(&object.key, Some(version)).await;
    }
    match honours_conditions(store) {
        Some(true) => return delete_if(store, &object.key, &object.etag).await.map(drop),
        Some(false) => {}
        None => return remove_first(store, object).await,
    }
    // Not even this closes the gap; `check` warns about such stores.
    match is_there(store, object).await? {
        true => store.delete(&object.key, None).await,
        false => Ok(()),
    }
}

async fn is_there(store: &Store, object: &Object) -> Result<bool, BucketError> {
    Ok(store.head(&object.key, None).await?.is_some_and(|now| now.is_of(object)))
}

/// Removes an object of this ETag; says whether the store refused it.
async fn delete_if(store: &Store, key: &ObjectKey, etag: &str) -> Result<bool, BucketError> {
    let request = store.client.delete_object().bucket(&store.bucket).key(key.as_str()).if_match(quoted(etag));
    match request.send().await {
        Ok(_) => Ok(false),
        Err(error) => match Answer::of(&error) {
            Answer { kind: Kind::Changed | Kind::Gone, .. } => Ok(true),
            answer => Err(answer.told(store, DELETE, Some(key))),
        },
    }
}

/// Whether the store honours If-Match on DELETE, as far as this is known. AWS does, unless `check` has
/// seen otherwise.
fn honours_conditions(store: &Store) -> Option<bool> {
    store.conditional_delete.get().copied().or(store.place.aws.then_some(true))
}

/// Removes an object from a store that is not known: under a wrong ETag first. A store that takes no
/// notice of conditions does then what it would do without, and any other tells itself by refusing.
async fn remove_first(store: &Store, object: &Object) -> Result<(), BucketError> {
    if !is_there(store, object).await? {
        return Ok(());
    }
    let request = store.client.delete_object().bucket(&store.bucket).key(object.key.as_str()).if_match(quoted(NO_ETAG));
    let honoured = match request.send().await.map_err(|error| Answer::of(&error)) {
        Ok(_) => {
            store.conditional_delete.set(false).ok();
            return Ok(());
        }
        Err(answer) if answer.kind == Kind::Gone => return Ok(()),
        Err(answer) if answer.kind == Kind::Changed => true,
        Err(answer) if answer.is_unsupported() => false,
        Err(answer) => return Err(answer.told(store, DELETE, Some(&object.key))),
    };
    // Another task may have been first; the store has not changed since.
    store.conditional_delete.set(honoured).ok();
    match honoured {
        true => delete_if(store, &object.key, &object.etag).await.map(drop),
        false => store.delete(&object.key, None).await,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use longshore_warehouse::ObjectId;

    use super::*;
    use crate::bucket::Metadata;

    #[test]
    fn values_of_metadata_are_ascii() {
        assert_eq!(ascii("a b"), "a b");
        assert_eq!(ascii("ü b"), "%C3%BC%20b");
    }

    #[test]
    fn metadata_fits_and_the_identity_is_always_in_it() {
        let key = ObjectKey::new("ü".repeat(512));
        let object = Object { key: key.clone(), etag: "e".into(), size: 1, modified_at: Timestamp::UNIX_EPOCH };
        let given = Metadata::from([("pipeline".to_owned(), "x".repeat(1_900))]);
        let movement =
            Move { object: &object, identity: ObjectId::new([7; 32]), to: &key, otherwise: &key, metadata: &given };
        let source = Head::for_tests(object.clone(), BTreeMap::from([("theirs".to_owned(), "1".to_owned())]));
        let metadata = metadata(&movement, &source);
        let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(size <= METADATA_BYTES);
        assert_eq!(metadata[META_IDENTITY], "07".repeat(32));
        assert_eq!(metadata["theirs"], "1");
    }
}
