//! Reads an object as it was listed, over broken connections too.

use std::sync::Arc;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::fault::{Answer, READ, chain};
use super::store::{Patience, Store, exact, quoted, unquoted};
use crate::bucket::{Body, BucketError, Kind, Object};

/// Chunks that lie ready, so that the parser is never starved. The HTTP client gives chunks of
/// at most some hundred KiB.
const AHEAD: usize = 16;

/// Attempts to resume before the read is given up; each that brings bytes counts anew.
const RESUMES: usize = 6;

/// A broken body that was resumed this often is not coming through at all.
const RESUMES_IN_ALL: usize = 200;

/// The bytes of an object; gone or changed is known when this returns.
pub(super) async fn read(store: Arc<Store>, object: Object) -> Result<Body, BucketError> {
    let first = get(&store, &object, 0).await?;
    if let Some(version) = exact(first.version_id()) {
        store.remember_version(&object, version);
    }
    let (sender, receiver) = mpsc::channel(AHEAD);
    // Whoever drops the body ends the task with it.
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut reading = Reading { store, object, offset: 0, chunks: sender };
        if let Err(error) = reading.run(first).await {
            // Nobody listens any more: nobody needs to know.
            drop(reading.chunks.send(Err(error)).await);
        }
    });
    Ok(stream::unfold((receiver, task), |(mut receiver, mut task)| async move {
        if let Some(chunk) = receiver.recv().await {
            return Some((chunk, (receiver, task)));
        }
        match task.join_next().await? {
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            _ => None,
        }
    })
    .boxed())
}

struct Reading {
    store: Arc<Store>,
    object: Object,
    offset: u64,
    chunks: mpsc::Sender<Result<Bytes, BucketError>>,
}

impl Reading {
    /// Hands on the whole object, resuming where a body breaks.
    async fn run(&mut self, first: GetObjectOutput) -> Result<(), BucketError> {
        let mut body = Ok(first);
        let mut waits = waits(self.store.patience);
        for _ in 0..RESUMES_IN_ALL {
            let before = self.offset;
            let fault = match body {
                Ok(body) => match self.hand_on(body).await {
                    // A connection that breaks after the last byte has done its work.
                    Err(error) if error.kind() == Kind::Unreachable && self.offset == self.object.size => return Ok(()),
                    Ok(()) if self.chunks.is_closed() || self.offset == self.object.size => return Ok(()),
                    Ok(()) => broken(&self.store, &self.object, "it ended early".to_owned()),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if fault.kind() != Kind::Unreachable {
                return Err(fault);
            }
            if self.offset > before {
                waits = self::waits(self.store.patience);
            }
            let Some(wait) = waits.next() else { return Err(fault) };
            tracing::debug!(object.key = %self.object.key, offset = self.offset, "resuming a broken body: {fault}");
            tokio::time::sleep(wait).await;
            body = get(&self.store, &self.object, self.offset).await;
        }
        Err(broken(&self.store, &self.object, format!("{RESUMES_IN_ALL} connections broke")))
    }

    /// Hands on one body, as far as it comes.
    async fn hand_on(&mut self, mut answer: GetObjectOutput) -> Result<(), BucketError> {
        // A store that ignores the range begins anew.
        let mut skip = if answer.content_range().is_some() { 0 } else { self.offset };
        while let Some(chunk) = answer.body.next().await {
            let mut chunk = chunk.map_err(|error| broken(&self.store, &self.object, chain(&error)))?;
            let skipped = skip.min(chunk.len() as u64);
            skip -= skipped;
            chunk = chunk.slice(usize::try_from(skipped).unwrap_or(chunk.len())..);
            if self.offset + chunk.len() as u64 > self.object.size {
                return Err(changed(&self.store, &self.object));
            }
            self.offset += chunk.len() as u64;
            if !chunk.is_empty() && self.chunks.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn waits(patience: Patience) -> ExponentialBackoff {
    let builder = ExponentialBuilder::default().with_min_delay(patience.first).with_max_delay(patience.longest);
    builder.with_jitter().with_max_times(RESUMES).build()
}

/// Asks for the object from an offset on, and makes sure that it is the one that was listed:
/// there are stores that ignore conditions.
async fn get(store: &Store, object: &Object, offset: u64) -> Result<GetObjectOutput, BucketError> {
    let request = store.client.get_object().bucket(&store.bucket).key(object.key.as_str());
    let range = (offset > 0).then(|| format!("bytes={offset}-"));
    let answer = request.if_match(quoted(&object.etag)).set_range(range).send().await;
    let answer = answer.map_err(|error| Answer::of(&error).told(store, READ, Some(&object.key)))?;
    let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
    let begins_at = if answer.content_range().is_some() { offset } else { 0 };
    let same_size = length.is_none_or(|length| begins_at + length == object.size);
    match unquoted(answer.e_tag()) == object.etag && same_size {
        true => Ok(answer),
        false => Err(changed(store, object)),
    }
}

fn changed(store: &Store, object: &Object) -> BucketError {
    let message = format!("`{}` is not the object any more that was listed", store.place(&object.key));
    BucketError::new(Kind::Changed, message)
}

fn broken(store: &Store, object: &Object, why: String) -> BucketError {
    let message = format!("the connection broke while reading `{}`", store.place(&object.key));
    BucketError::new(Kind::Unreachable, message).because(why)
}
