//! A bucket at Amazon S3, or at a store that speaks its protocol.
//!
//! What it cannot do: between the last look at an object and its removal lies a moment when
//! somebody may replace it, unless the bucket is versioned (the version that was read is removed)
//! or the store honours `If-Match` on DELETE; `check` tells which holds. A listing shows seconds,
//! so two objects of one key, size and bytes within the same second are one object to us.

mod check;
mod connect;
mod fault;
mod keys;
mod list;
mod moving;
mod put;
mod read;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use bytes::Bytes;
use futures::stream::BoxStream;
use longshore_warehouse::Finding;

use super::{Body, Bucket, BucketError, Claim, Move, Moved, Object, ObjectKey, Page, Prefixes};
use store::{Patience, Store};

/// Where and how to reach the bucket. What is `None` comes from the places where the AWS tools
/// look: environment, `~/.aws`, container and instance roles, SSO, web identity.
#[derive(Debug, Clone, Default)]
pub struct S3Config {
    /// Name of the bucket.
    pub bucket: String,
    /// `[bucket] id`, in place of the derived one.
    pub id: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// URL of an S3-compatible store.
    pub endpoint: Option<String>,
    /// Whether the bucket's name stands in the path; `None`: yes with an endpoint, no without.
    pub path_style: Option<bool>,
    /// Profile of the AWS configuration.
    pub profile: Option<String>,
    /// Role to assume.
    pub role_arn: Option<String>,
    /// External id for that role.
    pub external_id: Option<String>,
}

/// A bucket of an S3 store.
#[derive(Debug, Clone)]
pub struct S3 {
    store: Arc<Store>,
}

impl S3 {
    /// Prepares to talk to a bucket. Credentials are looked for at the first request.
    ///
    /// # Errors
    /// [`Kind::Refused`](super::Kind::Refused) when the endpoint cannot be one.
    pub async fn connect(config: S3Config) -> Result<Self, BucketError> {
        Ok(Self { store: Arc::new(connect::connect(config, None, Patience::FULL).await?) })
    }

    /// Connects with these keys and looks for no others, and hardly waits between attempts: tests
    /// cannot set their environment, and shall not sleep.
    ///
    /// # Errors
    /// As [`S3::connect`].
    #[doc(hidden)]
    pub async fn connect_with_keys(config: S3Config, id: &str, secret: &str) -> Result<Self, BucketError> {
        let keys = aws_sdk_s3::config::Credentials::new(id, secret, None, None, "given by a test");
        Ok(Self { store: Arc::new(connect::connect(config, Some(keys), Patience::NONE).await?) })
    }

    /// Copies objects over `size` in parts of `part` bytes: tests cannot write 5 GB.
    #[doc(hidden)]
    #[must_use]
    pub fn with_parts_over(mut self, size: u64, part: u64) -> Self {
        let store = Arc::make_mut(&mut self.store);
        (store.parts_over, store.part_size) = (size, part);
        self
    }

    /// Gives a body up that brings nothing for so long: tests cannot wait for what AWS waits.
    #[doc(hidden)]
    #[must_use]
    pub fn with_stall_limit(mut self, limit: Duration) -> Self {
        let store = Arc::make_mut(&mut self.store);
        let protection = StalledStreamProtectionConfig::enabled().grace_period(limit).build();
        let config = store.client.config().to_builder().stalled_stream_protection(protection).build();
        store.client = aws_sdk_s3::Client::from_conf(config);
        self
    }
}

#[async_trait]
impl Bucket for S3 {
    fn id(&self) -> &str {
        &self.store.id
    }

    fn display(&self, key: &ObjectKey) -> String {
        self.store.place(key)
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Page, BucketError>> {
        list::pages(Arc::clone(&self.store), prefix.to_owned())
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<Object>, BucketError> {
        Ok(self.store.head(key, None).await?.map(|head| head.object))
    }

    async fn read(&self, object: &Object) -> Result<Body, BucketError> {
        read::read(Arc::clone(&self.store), object.clone()).await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<(), BucketError> {
        put::put(&self.store, key, body).await
    }

    async fn put_file(&self, key: &ObjectKey, file: &Path) -> Result<(), BucketError> {
        put::put_file(&self.store, key, file).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), BucketError> {
        self.store.delete(key, None).await
    }

    async fn relocate(&self, movement: Move<'_>) -> Result<Moved, BucketError> {
        moving::relocate(&self.store, &movement).await
    }

    async fn claims(&self) -> Result<Vec<Claim>, BucketError> {
        Ok(Vec::new())
    }

    async fn unclaim(&self, _claim: &Claim) -> Result<Moved, BucketError> {
        Ok(Moved::Gone)
    }

    async fn finish_claim(&self, _claim: &Claim, _to: &ObjectKey, _: &ObjectKey) -> Result<Moved, BucketError> {
        Ok(Moved::Gone)
    }

    async fn check(&self, prefixes: &Prefixes) -> Vec<Finding> {
        check::check(&self.store, prefixes).await
    }
}
