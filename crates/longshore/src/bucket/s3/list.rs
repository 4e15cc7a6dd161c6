//! Lists a bucket, all pages, with exact keys.

use std::sync::Arc;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use futures::stream::{self, BoxStream, StreamExt};

use super::fault::{Answer, LIST};
use super::keys;
use super::store::{PROBE, Store, seconds, unquoted};
use crate::bucket::{BucketError, Kind, LeftOut, Object, ObjectKey, Page};

/// Which page comes next.
enum Next {
    First,
    After(String),
    None,
}

/// The pages of everything under a prefix.
pub(super) fn pages(store: Arc<Store>, prefix: String) -> BoxStream<'static, Result<Page, BucketError>> {
    stream::try_unfold((store, prefix, Next::First), |(store, prefix, next)| async move {
        let token = match next {
            Next::First => None,
            Next::After(token) => Some(token),
            Next::None => return Ok(None),
        };
        let (page, next) = page(&store, &prefix, token).await?;
        Ok(Some((page, (store, prefix, next))))
    })
    .boxed()
}

async fn page(store: &Store, prefix: &str, token: Option<String>) -> Result<(Page, Next), BucketError> {
    let request = store
        .client
        .list_objects_v2()
        .bucket(&store.bucket)
        .prefix(prefix)
        // XML cannot carry control characters, and turns a CR into an LF.
        .encoding_type(EncodingType::Url)
        .set_continuation_token(token.clone());
    let listed = request.send().await.map_err(|error| missing_bucket(Answer::of(&error)).told(store, LIST, None))?;
    let next = match listed.next_continuation_token() {
        Some(next) if token.as_deref() == Some(next) => {
            let message = format!("cannot list `{}`: the store gives the same page again", store.place.display);
            return Err(BucketError::new(Kind::Refused, message));
        }
        Some(next) => Next::After(next.to_owned()),
        None if listed.is_truncated() == Some(true) => {
            let message =
                format!("cannot list `{}`: the store breaks off without naming the next page", store.place.display);
            return Err(BucketError::new(Kind::Refused, message));
        }
        None => Next::None,
    };
    Ok((objects(&listed), next))
}

/// To a listing, "not found" can only mean the bucket.
pub(super) fn missing_bucket(mut answer: Answer) -> Answer {
    if answer.kind == Kind::Gone {
        answer.kind = Kind::NoBucket;
    }
    answer
}

fn objects(listed: &ListObjectsV2Output) -> Page {
    let encoded = matches!(listed.encoding_type(), Some(EncodingType::Url));
    let mut page = Page::default();
    for object in listed.contents() {
        let key = object.key().unwrap_or_default();
        let key = match encoded {
            true => keys::decode(key),
            false => Ok(key.to_owned()),
        };
        let size = object.size().and_then(|size| size.try_into().ok()).unwrap_or(0);
        match key {
            // A directory marker.
            Ok(key) if key.is_empty() || key.ends_with('/') && size == 0 => {}
            // A probe that a crash left behind.
            Ok(key) if key.rsplit('/').next().is_some_and(|name| name.starts_with(PROBE)) => {}
            Ok(key) => page.objects.push(Object {
                key: ObjectKey::new(key),
                etag: unquoted(object.e_tag()),
                size,
                modified_at: seconds(object.last_modified()),
            }),
            Err(bytes) => page
                .left_out
                .push(LeftOut { name: String::from_utf8_lossy(&bytes).into_owned(), why: "its name is not UTF-8" }),
        }
    }
    page
}
