//! `longshore_rows(id)`: the table function through which rows enter a statement.
//!
//! A [`Feed`] is a bounded queue of batches. The writing side queues batches and waits when the
//! queue is full; DuckDB's threads take them out, at most a vector's worth at a time, from
//! whichever batch is open. So one INSERT is worked on by several threads, and its count is
//! DuckDB's own.

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use arrow_array::{ArrayRef, UInt64Array};
use duckdb::Connection;
use duckdb::core::{DataChunkHandle, LogicalTypeHandle, LogicalTypeId};
use duckdb::vtab::{BindInfo, InitInfo, TableFunctionInfo, VTab};
use tokio::sync::mpsc;

use super::vectors::{self, Physical, Source, VECTOR_ROWS};

/// Batches that wait in a queue: one is being read, so two more keep DuckDB busy while the reader
/// decodes, and memory stays within a few batches.
const QUEUED_BATCHES: usize = 2;

/// More threads than any DuckDB is given.
const MOST_THREADS: u64 = 1 << 12;

/// What a column of the function is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeedColumn {
    /// The batch's object.
    Object,
    /// The row's line.
    Line,
    /// A column of the batch.
    Rows(Physical),
}

/// Rows on their way into a statement.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) object: u32,
    pub(super) lines: Option<UInt64Array>,
    pub(super) columns: Vec<ArrayRef>,
    pub(super) rows: usize,
}

/// The writing side of a feed. Dropping it without [`Sender::finish`] fails the statement.
#[derive(Debug)]
pub(super) struct Sender {
    batches: mpsc::Sender<Batch>,
    finished: Arc<AtomicBool>,
}

impl Sender {
    /// Queues a batch; waits while the queue is full. Gives it back when the statement has ended.
    pub(super) async fn send(&self, batch: Batch) -> Result<(), Batch> {
        self.batches.send(batch).await.map_err(|error| error.0)
    }

    /// Says that all rows are queued.
    pub(super) fn finish(self) {
        self.finished.store(true, Ordering::Release);
    }
}

/// The reading side of a feed, known to DuckDB by its number until it is dropped.
#[derive(Debug)]
pub(super) struct Feed {
    id: u64,
}

/// Rows of a batch: the first, and how many.
type Slice = (Arc<Batch>, usize, usize);

/// What DuckDB's threads share.
#[derive(Debug)]
pub(super) struct Shared {
    columns: Vec<FeedColumn>,
    finished: Arc<AtomicBool>,
    cursor: Mutex<Cursor>,
}

#[derive(Debug)]
struct Cursor {
    batches: mpsc::Receiver<Batch>,
    open: Option<(Arc<Batch>, usize)>,
}

static FEEDS: LazyLock<Mutex<HashMap<u64, Arc<Shared>>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicU64 = AtomicU64::new(1);

fn feeds() -> MutexGuard<'static, HashMap<u64, Arc<Shared>>> {
    FEEDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A feed of these columns, and the side that writes to it.
pub(super) fn feed(columns: Vec<FeedColumn>) -> (Sender, Feed) {
    let (batches, receiver) = mpsc::channel(QUEUED_BATCHES);
    let finished = Arc::new(AtomicBool::new(false));
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let cursor = Mutex::new(Cursor { batches: receiver, open: None });
    feeds().insert(id, Arc::new(Shared { columns, finished: finished.clone(), cursor }));
    (Sender { batches, finished }, Feed { id })
}

/// A feed of one batch that is there already.
pub(super) fn feed_of(columns: Vec<Physical>, arrays: Vec<ArrayRef>) -> Feed {
    let rows = arrays.first().map_or(0, |array| array.len());
    let (sender, feed) = feed(columns.into_iter().map(FeedColumn::Rows).collect());
    let batch = Batch { object: 0, lines: None, columns: arrays, rows };
    // The queue is empty, so there is room.
    let queued = sender.batches.try_send(batch);
    debug_assert!(queued.is_ok(), "a new queue has room");
    sender.finish();
    feed
}

impl Feed {
    /// The function call that reads this feed; its columns are `c0`, `c1` …
    pub(super) fn sql(&self) -> String {
        format!("longshore_rows({}::UBIGINT)", self.id)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        feeds().remove(&self.id);
    }
}

impl Shared {
    /// The next rows; `None` at the end.
    fn next(&self) -> Result<Option<Slice>, &'static str> {
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some((batch, offset)) = &mut cursor.open {
                let start = *offset;
                let rows = (batch.rows - start).min(VECTOR_ROWS);
                if rows > 0 {
                    *offset += rows;
                    return Ok(Some((batch.clone(), start, rows)));
                }
                cursor.open = None;
            }
            match cursor.batches.blocking_recv() {
                Some(batch) => cursor.open = Some((Arc::new(batch), 0)),
                None if self.finished.load(Ordering::Acquire) => return Ok(None),
                None => return Err("the load was given up"),
            }
        }
    }
}

/// Registers the function with a database, once.
pub(super) fn register(connection: &Connection) -> Result<(), duckdb::Error> {
    connection.register_table_function::<Rows>("longshore_rows")
}

struct Rows;

impl VTab for Rows {
    type BindData = Arc<Shared>;
    type InitData = Arc<Shared>;

    fn bind(bind: &BindInfo) -> Result<Self::BindData, Box<dyn Error>> {
        let id = bind.get_parameter(0).to_uint64();
        let shared = feeds().get(&id).cloned().ok_or("no load is behind this number")?;
        for (index, column) in shared.columns.iter().enumerate() {
            let logical = match column {
                FeedColumn::Object => LogicalTypeHandle::from(LogicalTypeId::UInteger),
                FeedColumn::Line => LogicalTypeHandle::from(LogicalTypeId::UBigint),
                FeedColumn::Rows(physical) => physical.logical(),
            };
            bind.add_result_column(&format!("c{index}"), logical);
        }
        Ok(shared)
    }

    fn init(init: &InitInfo) -> Result<Self::InitData, Box<dyn Error>> {
        // As many as DuckDB has: it caps this itself. With fewer than that, its background threads
        // could take all of the work, and the calling thread would spin while it waits for them.
        init.set_max_threads(MOST_THREADS);
        bound(init)
    }

    fn func(info: &TableFunctionInfo<Self>, output: &mut DataChunkHandle) -> Result<(), Box<dyn Error>> {
        let shared = info.get_init_data();
        let Some((batch, offset, rows)) = shared.next()? else {
            output.set_len(0);
            return Ok(());
        };
        let mut arrays = batch.columns.iter();
        let lines = batch.lines.clone().map(|lines| Arc::new(lines) as ArrayRef);
        let mut columns = Vec::with_capacity(shared.columns.len());
        for column in &shared.columns {
            columns.push(match column {
                FeedColumn::Object => Source::Constant(batch.object),
                FeedColumn::Line => Source::Array(lines.as_ref().ok_or("a batch without lines")?, Physical::UInt64),
                FeedColumn::Rows(physical) => {
                    Source::Array(arrays.next().ok_or("a batch with too few columns")?, *physical)
                }
            });
        }
        Ok(vectors::fill(output, &columns, offset, rows)?)
    }

    fn parameters() -> Option<Vec<LogicalTypeHandle>> {
        Some(vec![LogicalTypeHandle::from(LogicalTypeId::UBigint)])
    }
}

/// What `bind` found, for `init`.
#[expect(unsafe_code, reason = "bind data is handed over as a raw pointer")]
fn bound(init: &InitInfo) -> Result<Arc<Shared>, Box<dyn Error>> {
    let data = init.get_bind_data::<Arc<Shared>>();
    // SAFETY: `bind` stored an `Arc<Shared>`, which DuckDB keeps as long as the statement.
    Ok(unsafe { data.as_ref() }.ok_or("bind data is missing")?.clone())
}
