//! The bucket through which rows travel to Redshift.

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use longshore_warehouse::redshift::{Staged, Staging};
use longshore_warehouse::{Kind as WarehouseKind, WarehouseError};

use super::error::told;
use super::{Bucket, BucketError, Kind, ObjectKey, S3};

/// A bucket of S3, as a place for staged parts.
#[derive(Debug)]
pub struct StagingBucket {
    bucket: S3,
    name: String,
}

impl StagingBucket {
    /// The bucket, and its name in URLs that Redshift reads.
    pub fn new(bucket: S3, name: impl Into<String>) -> Self {
        Self { bucket, name: name.into() }
    }
}

/// What the bucket says, as the warehouse's error.
fn failed(error: &BucketError) -> WarehouseError {
    let kind = match error.kind() {
        Kind::Gone | Kind::Changed | Kind::Unreachable => WarehouseKind::Unreachable,
        Kind::Login => WarehouseKind::Login,
        Kind::AccessDenied => WarehouseKind::AccessDenied,
        Kind::NoBucket => WarehouseKind::Missing,
        Kind::Full => WarehouseKind::Full,
        _ => WarehouseKind::Other,
    };
    let staged = WarehouseError::new(kind, format!("staging rows for Redshift: {}", told(error)));
    match error.kind() {
        Kind::NoBucket => staged.cure("correct `[warehouse] staging` in `longshore.toml`"),
        _ => match error.hint() {
            Some(hint) => staged.cure(hint),
            None => staged,
        },
    }
}

#[async_trait]
impl Staging for StagingBucket {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), WarehouseError> {
        self.bucket.put(&ObjectKey::new(key), bytes).await.map_err(|error| failed(&error))
    }

    async fn delete(&self, keys: &[String]) -> Result<(), WarehouseError> {
        for key in keys {
            self.bucket.delete(&ObjectKey::new(key)).await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Staged>, WarehouseError> {
        let pages: Vec<_> = self.bucket.list(prefix).try_collect().await.map_err(|error| failed(&error))?;
        let objects = pages.into_iter().flat_map(|page| page.objects);
        Ok(objects
            .map(|object| Staged { key: object.key.as_str().to_owned(), modified_at: object.modified_at })
            .collect())
    }

    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }
}
