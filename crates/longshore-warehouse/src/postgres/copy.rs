//! One COPY FROM STDIN: batches are encoded into buffers, and the connection's own task writes them
//! to the socket meanwhile.
//!
//! At most a few buffers are under way, as the channel to that task holds two; they are used again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Buf;
use futures::{SinkExt, TryFutureExt};
use tokio_postgres::{CopyInSink, Error};

use super::encode::{HEADER, Output, TRAILER};
use super::error;
use super::plan::Plan;
use super::{encode, text};
use crate::session::Session;
use crate::{RowBatch, WarehouseError};

/// Bytes that are sent at once: large enough that a buffer costs nothing beside its rows, small enough
/// that the server has work soon.
const CHUNK: usize = 256 << 10;

/// Room of a new buffer: a row begins below [`CHUNK`] and may end above.
const BUFFER: usize = CHUNK + (16 << 10);

/// Bytes up to which a load's rows are kept until it is in, so that a row can be looked for that the
/// server refuses without saying which. Groups of small objects stay below it.
const KEPT: usize = 16 << 20;

/// A filled buffer on its way.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    bytes: Arc<Vec<u8>>,
    at: usize,
    end: usize,
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.end - self.at
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes[self.at..self.end]
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining(), "no more bytes are taken than there are");
        self.at += count;
    }
}

/// A COPY that takes rows.
pub(super) struct Copy {
    sink: Pin<Box<CopyInSink<Chunk>>>,
    as_text: bool,
    out: Output,
    sent: VecDeque<Arc<Vec<u8>>>,
    /// All that was sent so far, unless it is too much.
    kept: Option<Vec<Chunk>>,
    kept_bytes: usize,
}

impl Copy {
    /// Starts a COPY. `keep` its bytes where they may be needed again.
    pub(super) async fn start(session: &Session, sql: &str, as_text: bool, keep: bool) -> Result<Self, Error> {
        let sink = Box::pin(session.copy_in(sql).await?);
        let mut out = Output { bytes: vec![0; BUFFER], length: 0 };
        if !as_text {
            out.extend(HEADER);
        }
        Ok(Self { sink, as_text, out, sent: VecDeque::new(), kept: keep.then(Vec::new), kept_bytes: 0 })
    }

    /// Encodes and sends the rows of a batch. `first` is the number of its first row, where rows are
    /// numbered.
    pub(super) async fn write(
        &mut self,
        session: &Session,
        plan: &Plan,
        batch: &RowBatch,
        first: Option<i64>,
    ) -> Result<(), WarehouseError> {
        let (arrays, rows) = (batch.rows.columns(), batch.rows.num_rows());
        let mut row = 0;
        if self.as_text {
            let columns = text::Columns { wires: &plan.wires, arrays, first, rows };
            while row < rows {
                row = columns.write(row, &mut self.out, CHUNK);
                self.send_full(session, plan).await?;
            }
        } else {
            let columns = encode::Columns::new(&plan.wires, arrays, rows, first);
            while row < rows {
                row = columns.write(row, &mut self.out, CHUNK);
                self.send_full(session, plan).await?;
            }
        }
        Ok(())
    }

    async fn send_full(&mut self, session: &Session, plan: &Plan) -> Result<(), WarehouseError> {
        if self.out.length < CHUNK {
            return Ok(());
        }
        let doing = || format!("sending rows for `{}`", plan.table.table.name);
        let chunk = self.turn_over();
        session.soon(doing, self.sink.feed(chunk)).await
    }

    /// The filled buffer, for which another takes its place.
    fn turn_over(&mut self) -> Chunk {
        let free = self.sent.front().is_some_and(|bytes| Arc::strong_count(bytes) == 1);
        let next = if free { self.sent.pop_front().and_then(Arc::into_inner) } else { None };
        let next = next.unwrap_or_else(|| vec![0; BUFFER]);
        let end = std::mem::take(&mut self.out.length);
        let bytes = Arc::new(std::mem::replace(&mut self.out.bytes, next));
        let chunk = Chunk { bytes: bytes.clone(), at: 0, end };
        if let Some(kept) = &mut self.kept {
            self.kept_bytes += bytes.len();
            kept.push(chunk.clone());
        }
        if self.kept_bytes > KEPT {
            self.kept = None;
        }
        self.sent.push_back(bytes);
        chunk
    }

    /// Ends the COPY; returns the server's count.
    pub(super) async fn finish(&mut self) -> Result<u64, Error> {
        if !self.as_text {
            self.out.extend(TRAILER);
        }
        if self.out.length > 0 {
            let chunk = self.turn_over();
            self.sink.feed(chunk).await?;
        }
        self.sink.as_mut().finish().await
    }

    /// All that was sent, if it was kept.
    pub(super) fn into_kept(self) -> Option<Vec<Chunk>> {
        self.kept
    }
}

/// Sends what was kept into another table.
pub(super) async fn replay(session: &Session, sql: &str, kept: Vec<Chunk>) -> Result<u64, WarehouseError> {
    let again = async {
        let mut sink = Box::pin(session.copy_in(sql).await?);
        for chunk in kept {
            sink.feed(chunk).await?;
        }
        sink.as_mut().finish().await
    };
    again.map_err(|error| error::failed("copying the rows again to find one that was refused", &error)).await
}
