//! Writes objects of our own: reports, rejects, staged parts.

use std::path::Path;

use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::fault::{Answer, WRITE, chain};
use super::store::Store;
use crate::bucket::{BucketError, Kind, ObjectKey};

/// Files over this go in parts, so that a broken connection costs one part.
const ONE_REQUEST: u64 = 64 << 20;

/// Parts under way at once.
const AT_ONCE: usize = 4;

/// The most parts that S3 takes.
const PARTS: u64 = 10_000;

pub(super) async fn put(store: &Store, key: &ObjectKey, body: Bytes) -> Result<(), BucketError> {
    put_stream(store, key, ByteStream::from(body)).await
}

async fn put_stream(store: &Store, key: &ObjectKey, body: ByteStream) -> Result<(), BucketError> {
    let request = store.client.put_object().bucket(&store.bucket).key(key.as_str());
    let answer = request.set_content_type(content_type(key)).body(body).send().await;
    answer.map(drop).map_err(|error| Answer::of(&error).told(store, WRITE, Some(key)))
}

pub(super) async fn put_file(store: &Store, key: &ObjectKey, file: &Path) -> Result<(), BucketError> {
    let unreadable = |error| {
        let message = format!("cannot read `{}`", file.display());
        BucketError::new(Kind::Refused, message).because(chain(&error))
    };
    let size = tokio::fs::metadata(file).await.map_err(unreadable)?.len();
    if size > ONE_REQUEST.min(store.parts_over) {
        return put_parts(store, key, file, size).await;
    }
    put_stream(store, key, part_of(file, 0, size).await?).await
}

async fn part_of(file: &Path, offset: u64, length: u64) -> Result<ByteStream, BucketError> {
    let part = ByteStream::read_from().path(file).offset(offset).length(Length::Exact(length)).build().await;
    part.map_err(|error| {
        let message = format!("cannot read `{}`", file.display());
        BucketError::new(Kind::Refused, message).because(chain(&error))
    })
}

async fn put_parts(store: &Store, key: &ObjectKey, file: &Path, size: u64) -> Result<(), BucketError> {
    let request = store.client.create_multipart_upload().bucket(&store.bucket).key(key.as_str());
    let created = request.set_content_type(content_type(key)).send().await;
    let created = created.map_err(|error| Answer::of(&error).told(store, WRITE, Some(key)))?;
    let upload = created.upload_id().unwrap_or_default();
    let parts = stream::iter(part_ranges(size, store.part_size.min(ONE_REQUEST)))
        .map(|(number, offset, length)| async move {
            let body = part_of(file, offset, length).await?;
            let request = store.client.upload_part().bucket(&store.bucket).key(key.as_str()).upload_id(upload);
            let answer = request.part_number(number).body(body).send().await;
            let answer = answer.map_err(|error| Answer::of(&error).told(store, WRITE, Some(key)))?;
            Ok(CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag).build())
        })
        .buffered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await;
    let completed = match parts {
        Ok(parts) => {
            let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
            let request = store.client.complete_multipart_upload().bucket(&store.bucket).key(key.as_str());
            let answer = request.upload_id(upload).multipart_upload(parts).send().await;
            answer.map(drop).map_err(|error| Answer::of(&error).told(store, WRITE, Some(key)))
        }
        Err(error) => Err(error),
    };
    if completed.is_err() {
        abort(store, key, upload).await;
    }
    completed
}

/// Throws the parts of an upload away, which are paid for otherwise. Best effort: the error that
/// led here is the one to tell.
pub(super) async fn abort(store: &Store, key: &ObjectKey, upload: &str) {
    let request = store.client.abort_multipart_upload().bucket(&store.bucket).key(key.as_str());
    if let Err(error) = request.upload_id(upload).send().await {
        tracing::warn!(object.key = %key, "an unfinished upload stays behind: {}", chain(&error));
    }
}

/// Number, offset and length of each part.
pub(super) fn part_ranges(size: u64, part_size: u64) -> impl Iterator<Item = (i32, u64, u64)> {
    let part_size = part_size.max(size.div_ceil(PARTS)).max(1);
    (1..)
        .zip((0..size).step_by(usize::try_from(part_size).unwrap_or(usize::MAX)))
        .map(move |(number, offset)| (number, offset, part_size.min(size - offset)))
}

fn content_type(key: &ObjectKey) -> Option<String> {
    let kind = match key.as_str().rsplit_once('.')?.1 {
        "csv" => "text/csv",
        "json" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    };
    Some(kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_object_and_never_exceed_their_number() {
        let parts: Vec<_> = part_ranges(10, 4).collect();
        assert_eq!(parts, [(1, 0, 4), (2, 4, 4), (3, 8, 2)]);
        assert_eq!(part_ranges(1_000_000, 1).count(), 10_000);
    }
}
