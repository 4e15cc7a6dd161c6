//! Reads one object once, as a stream: bytes, their hash, typed rows, rejects.

use bytes::Bytes;
use futures::StreamExt;
use longshore_csv::{Batch, Binding, CsvDecoder, Decoder, ObjectFault, Reject, Summary};

use super::Context;
use super::rejects::Rejects;
use super::target::Target;
use crate::bucket::{Body, BucketError, Object};
use crate::progress::Progress;

/// Why an object cannot be read to its end.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The bucket broke off.
    Bucket(BucketError),
    /// The object lies in its bytes.
    Object(ObjectFault),
    /// There is no room for its rejects.
    Rejects(std::io::Error),
}

impl From<BucketError> for ReadError {
    fn from(error: BucketError) -> Self {
        Self::Bucket(error)
    }
}

impl From<ObjectFault> for ReadError {
    fn from(fault: ObjectFault) -> Self {
        Self::Object(fault)
    }
}

impl From<std::io::Error> for ReadError {
    fn from(error: std::io::Error) -> Self {
        Self::Rejects(error)
    }
}

/// An object that is being read.
pub(super) struct Reader {
    body: Option<Body>,
    hasher: blake3::Hasher,
    decoder: CsvDecoder,
    rejects: Rejects,
}

impl Reader {
    /// Begins to read.
    ///
    /// # Errors
    /// The object is gone or changed, or the bucket cannot be reached; settings that contradict
    /// the table.
    pub(super) async fn open(ctx: &Context, object: &Object, target: &Target) -> Result<Self, ReadError> {
        let mut decoder = CsvDecoder::new(target.csv.clone(), target.columns.clone())?;
        if ctx.warehouse.takes_verbatim() {
            decoder.keep_verbatim();
        }
        let body = ctx.bucket.read(object).await?;
        Ok(Self { body: Some(body), hasher: blake3::Hasher::new(), decoder, rejects: Rejects::default() })
    }

    /// The next rows; `None` at the end. Rejects are kept aside.
    ///
    /// # Errors
    /// The object cannot be read on; nothing of it may be loaded.
    pub(super) async fn next(&mut self, progress: &Progress) -> Result<Option<Batch>, ReadError> {
        loop {
            if let Some(mut batch) = self.decoder.take() {
                let rejects = std::mem::take(&mut batch.rejects);
                self.keep(rejects)?;
                return Ok(Some(batch));
            }
            let Some(body) = &mut self.body else {
                return Ok(None);
            };
            match body.next().await {
                Some(chunk) => {
                    let chunk = chunk?;
                    progress.advance(chunk.len() as u64);
                    self.push(chunk)?;
                }
                None => {
                    self.body = None;
                    self.decoder.finish()?;
                }
            }
        }
    }

    fn push(&mut self, chunk: Bytes) -> Result<(), ObjectFault> {
        self.hasher.update(&chunk);
        self.decoder.push(chunk)
    }

    fn keep(&mut self, rejects: Vec<Reject>) -> std::io::Result<()> {
        if rejects.is_empty() {
            return Ok(());
        }
        let header = self.decoder.summary().header;
        self.rejects.add(&header, rejects)
    }

    /// How fields were bound; known with the first batch.
    pub(super) fn binding(&self) -> Option<&Binding> {
        self.decoder.binding()
    }

    /// Rejects so far.
    pub(super) fn rejects(&self) -> &Rejects {
        &self.rejects
    }

    /// Decoded bytes so far.
    pub(super) fn decoded_bytes(&self) -> u64 {
        self.decoder.summary().decoded_bytes
    }

    /// Ends the reading.
    pub(super) fn finish(self) -> Finished {
        let binding = self.decoder.binding().cloned();
        Finished {
            summary: self.decoder.summary(),
            binding,
            content_hash: self.hasher.finalize().to_hex().to_string(),
            rejects: self.rejects,
        }
    }
}

/// What is known of an object that was read to its end.
#[derive(Debug)]
pub struct Finished {
    /// What the decoder counted.
    pub summary: Summary,
    /// How fields were bound.
    pub binding: Option<Binding>,
    /// BLAKE3 of the raw bytes.
    pub content_hash: String,
    /// Rows that did not fit.
    pub rejects: Rejects,
}
