//! The parts of a load: lines are spread over some compressed objects, which are put into the staging
//! folder while more lines come.
//!
//! Redshift's slices each read whole parts, so there are as many of them as slices, of like size: lines go
//! to the part that has the fewest. When they are full they travel, and as many are begun anew; of many, some
//! at a time. A small load is one part.
//!
//! What is held in memory is bounded, whatever the load and however many slices: [`OPEN_BYTES`] in open parts,
//! [`FLYING_BYTES`] on their way, and a chunk for each that is compressed.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::encode::{self, Chunk, Compressor};
use super::manifest;
use super::staging::Staging;
use crate::{Kind, WarehouseError};

/// Bytes of lines that are compressed at once.
pub(super) const CHUNK: usize = 1 << 20;

/// Bytes of lines up to which a load is one part.
const SPREAD_FROM: u64 = 8 << 20;

/// Compressed bytes of all parts that are open, with the lines that overfill them.
const OPEN_BYTES: usize = 40 << 20;

/// Compressed bytes of a part: large enough for Redshift to read it at full speed, small enough that
/// several are under way.
const MOST_PART: usize = 16 << 20;
const LEAST_PART: usize = 1 << 20;

/// Compressed bytes that are on their way to the bucket.
const FLYING_BYTES: usize = 32 << 20;

/// The most parts that are on their way at once.
const MOST_FLYING: usize = 16;

/// The most parts that are open at once: more would be too small, or take too much memory.
const MOST_OPEN: usize = 16;

/// The most chunks that are compressed at once, on whatever machine.
const MOST_WORKERS: usize = 16;

/// Rows of the load that follow each other in a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// The first is 0.
    in_part: u64,
    in_load: u64,
}

/// Which rows of the load lie in a part.
#[derive(Debug, Clone, Default)]
struct Rows {
    runs: Vec<Run>,
    count: u64,
    has_breaks: bool,
}

/// A part that takes lines.
struct Part {
    number: usize,
    /// `None` while it compresses, and before it began.
    compressor: Option<Compressor>,
    compressing: Option<JoinHandle<std::io::Result<Compressor>>>,
    /// Bytes of lines.
    plain: u64,
}

/// The parts of one load.
pub(super) struct Parts {
    staging: Arc<dyn Staging>,
    folder: String,
    slices: usize,
    /// Compressed bytes at which a part is full; the lines that fill it come on top.
    most_bytes: usize,
    open: Vec<Part>,
    /// Parts that are to be opened beside those that are.
    to_open: usize,
    /// Parts that have to follow until there are as many as slices.
    to_follow: usize,
    /// One permit for each chunk that may be compressed.
    workers: Arc<Semaphore>,
    /// By number.
    rows: Vec<Rows>,
    plain: u64,
    flying: JoinSet<Result<(), WarehouseError>>,
}

/// Where a row came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The row of the load; the first is 0.
    Row(u64),
    /// Somewhere between these two rows.
    Between(u64, u64),
}

impl Parts {
    pub(super) fn new(staging: Arc<dyn Staging>, folder: String, slices: u16) -> Self {
        let slices = usize::from(slices.max(1));
        let most_bytes = OPEN_BYTES / slices.min(MOST_OPEN) - CHUNK;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            staging,
            folder,
            slices,
            most_bytes: (OPEN_BYTES / slices).clamp(LEAST_PART, MOST_PART).min(most_bytes),
            open: Vec::new(),
            to_open: 0,
            to_follow: 0,
            workers: Arc::new(Semaphore::new(cores.min(MOST_WORKERS))),
            rows: Vec::new(),
            plain: 0,
            flying: JoinSet::new(),
        }
    }

    /// Takes lines whose first is the row `first` of the load; returns when there is room for more.
    pub(super) async fn take(&mut self, chunk: Chunk, first: u64) -> Result<(), WarehouseError> {
        let (at, mut compressor) = self.with_room().await?;
        let part = &mut self.open[at];
        let rows = &mut self.rows[part.number];
        rows.runs.push(Run { in_part: rows.count, in_load: first });
        rows.count += chunk.rows;
        rows.has_breaks |= chunk.has_breaks;
        part.plain += chunk.bytes.len() as u64;
        self.plain += chunk.bytes.len() as u64;
        let permit = self.workers.clone().acquire_owned().await.expect("nobody closes the semaphore");
        part.compressing = Some(tokio::task::spawn_blocking(move || {
            compressor.write_all(&chunk.bytes)?;
            drop((chunk, permit));
            Ok(compressor)
        }));
        Ok(())
    }

    /// A part with room for lines, and its compressor. Those that are full are sent.
    async fn with_room(&mut self) -> Result<(usize, Compressor), WarehouseError> {
        loop {
            let at = self.pick();
            let compressor = self.open[at].settled(self.most_bytes).await?;
            if compressor.get_ref().len() < self.most_bytes {
                return Ok((at, compressor));
            }
            let full = Part { compressor: Some(compressor), ..self.open.swap_remove(at) };
            self.send(full).await?;
        }
    }

    /// The part that takes the next lines.
    fn pick(&mut self) -> usize {
        if self.open.is_empty() && self.to_open == 0 {
            if self.to_follow == 0 {
                self.to_follow = self.slices;
            }
            self.to_open = self.to_follow.min(MOST_OPEN);
            self.to_follow -= self.to_open;
        }
        if self.to_open > 0 && (self.open.is_empty() || self.plain >= SPREAD_FROM) {
            self.to_open -= 1;
            self.open.push(Part { number: self.rows.len(), compressor: None, compressing: None, plain: 0 });
            self.rows.push(Rows::default());
            return self.open.len() - 1;
        }
        let least = self.open.iter().enumerate().min_by_key(|(_, part)| part.plain);
        least.map_or(0, |(at, _)| at)
    }

    /// Ends a part and sends it on its way.
    async fn send(&mut self, mut part: Part) -> Result<(), WarehouseError> {
        let compressor = part.settled(0).await?;
        let finished = tokio::task::spawn_blocking(move || compressor.finish()).await;
        let bytes = finished.map_err(stopped)?.map_err(uncompressed)?;
        while self.flying.len() >= self.most_flying() {
            self.landed().await?;
        }
        let (staging, key) = (self.staging.clone(), self.key(part.number));
        self.flying.spawn(async move { staging.put(&key, Bytes::from(bytes)).await });
        Ok(())
    }

    fn most_flying(&self) -> usize {
        (FLYING_BYTES / (self.most_bytes + CHUNK)).clamp(2, MOST_FLYING)
    }

    async fn landed(&mut self) -> Result<(), WarehouseError> {
        match self.flying.join_next().await {
            Some(landed) => landed.map_err(stopped)?,
            None => Ok(()),
        }
    }

    /// Sends what is open, waits until all are in the bucket, then writes the manifest. Returns its key.
    pub(super) async fn finish(&mut self) -> Result<String, WarehouseError> {
        while let Some(part) = self.open.pop() {
            self.send(part).await?;
        }
        while !self.flying.is_empty() {
            self.landed().await?;
        }
        let urls = (0..self.rows.len()).map(|number| self.staging.url(&self.key(number)));
        let key = manifest_key(&self.folder);
        self.staging.put(&key, Bytes::from(manifest::manifest(urls))).await?;
        Ok(key)
    }

    fn key(&self, number: usize) -> String {
        format!("{}part-{number:05}.csv.zst", self.folder)
    }

    /// All keys that may have been written.
    pub(super) fn keys(&self) -> Vec<String> {
        let parts = (0..self.rows.len()).map(|number| self.key(number));
        if self.rows.is_empty() { Vec::new() } else { parts.chain([manifest_key(&self.folder)]).collect() }
    }

    /// Ends what is on its way, so that nothing is written any more.
    pub(super) async fn stop(&mut self) {
        self.flying.shutdown().await;
    }

    /// All that was written is removed.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
        self.open.clear();
    }

    /// Where the row at a line of a part came from, by the URL that the server gives; the first line is 1.
    pub(super) fn find(&self, url: &str, line: i64) -> Option<Place> {
        let number: usize = url.trim().rsplit_once("part-")?.1.get(..5)?.parse().ok()?;
        let rows = self.rows.get(number)?;
        let place = |row: u64| {
            let run = rows.runs[rows.runs.partition_point(|run| run.in_part <= row).checked_sub(1)?];
            Some(run.in_load + (row - run.in_part))
        };
        let row = u64::try_from(line).ok().and_then(|line| line.checked_sub(1));
        match row {
            // Whether the server counts lines or rows is not documented.
            Some(row) if row < rows.count && !rows.has_breaks => place(row).map(Place::Row),
            _ => Some(Place::Between(place(0)?, place(rows.count.checked_sub(1)?)?)),
        }
    }
}

/// The key of a load's manifest.
pub(super) fn manifest_key(folder: &str) -> String {
    format!("{folder}load.manifest")
}

impl Part {
    /// The compressor, once it is done with the lines before.
    async fn settled(&mut self, room: usize) -> Result<Compressor, WarehouseError> {
        if let Some(compressing) = self.compressing.take() {
            return compressing.await.map_err(stopped)?.map_err(uncompressed);
        }
        match self.compressor.take() {
            Some(compressor) => Ok(compressor),
            None => encode::compressor(if room > 0 { room + CHUNK } else { 0 }).map_err(uncompressed),
        }
    }
}

/// Compressing into memory fails where there is no memory.
pub(super) fn uncompressed(error: std::io::Error) -> WarehouseError {
    WarehouseError::new(Kind::Other, "compressing rows failed, perhaps for lack of memory").because(error)
}

/// A task that ended otherwise than by its own doing.
fn stopped(error: tokio::task::JoinError) -> WarehouseError {
    WarehouseError::new(Kind::Unreachable, "the work on a part was stopped").because(error)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use tokio::sync::Notify;

    use super::super::staging::Staged;
    use super::*;

    /// A bucket in memory.
    #[derive(Debug, Default)]
    pub(in super::super) struct Memory(Mutex<BTreeMap<String, Bytes>>);

    #[async_trait]
    impl Staging for Memory {
        async fn put(&self, key: &str, bytes: Bytes) -> Result<(), WarehouseError> {
            self.0.lock().unwrap().insert(key.to_owned(), bytes);
            Ok(())
        }

        async fn delete(&self, keys: &[String]) -> Result<(), WarehouseError> {
            self.0.lock().unwrap().retain(|key, _| !keys.contains(key));
            Ok(())
        }

        async fn list(&self, _prefix: &str) -> Result<Vec<Staged>, WarehouseError> {
            Ok(Vec::new())
        }

        fn url(&self, key: &str) -> String {
            format!("s3://bucket/{key}")
        }
    }

    fn chunk(first: u64, rows: u64) -> Chunk {
        // Hexadecimal digits of a hash: they compress by half and no more.
        let line = |row: u64| format!("{row},{:016x}\n", row.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let bytes: Vec<u8> = (first..first + rows).flat_map(|row| line(row).into_bytes()).collect();
        Chunk { bytes, rows, has_breaks: false }
    }

    fn read(bytes: &Bytes) -> String {
        String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap()
    }

    /// Loads so many chunks of 40,000 rows, about 1 MiB each.
    async fn load(chunks: u64, slices: u16) -> (Parts, Arc<Memory>) {
        let memory = Arc::new(Memory::default());
        let mut parts = Parts::new(memory.clone(), "staging/p/load/".to_owned(), slices);
        for n in 0..chunks {
            parts.take(chunk(n * 40_000, 40_000), n * 40_000).await.unwrap();
        }
        assert_eq!(parts.finish().await.unwrap(), "staging/p/load/load.manifest");
        (parts, memory)
    }

    #[tokio::test]
    async fn a_small_load_is_one_part() {
        let (parts, memory) = load(5, 4).await;
        assert_eq!(parts.keys(), ["staging/p/load/part-00000.csv.zst", "staging/p/load/load.manifest"]);
        let objects = memory.0.lock().unwrap();
        assert_eq!(objects.keys().count(), 2);
        let text = read(&objects["staging/p/load/part-00000.csv.zst"]);
        assert_eq!(text.lines().count(), 200_000);
    }

    #[tokio::test]
    async fn a_large_load_is_spread_evenly_over_the_slices() {
        let (parts, memory) = load(60, 4).await;
        let objects = memory.0.lock().unwrap();
        let sizes: Vec<usize> = objects.iter().filter(|(key, _)| key.contains("part-")).map(|(_, b)| b.len()).collect();
        assert_eq!(sizes.len(), 4, "{sizes:?}");
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(most - least < 3 << 20, "{sizes:?}");
        let mut rows = 0;
        for (key, bytes) in objects.iter().filter(|(key, _)| key.contains("part-")) {
            for (n, line) in read(bytes).lines().enumerate() {
                let row: u64 = line.split_once(',').unwrap().0.parse().unwrap();
                rows += 1;
                if n % 997 == 0 {
                    let url = format!("s3://bucket/{key}   ");
                    assert_eq!(parts.find(&url, n as i64 + 1), Some(Place::Row(row)), "{key} {n}");
                }
            }
        }
        assert_eq!(rows, 2_400_000);
        assert_eq!(parts.find("s3://bucket/staging/p/load/part-00099.csv.zst", 1), None);
    }

    #[tokio::test]
    async fn full_parts_are_followed_by_as_many_others() {
        let memory = Arc::new(Memory::default());
        let mut parts = Parts { most_bytes: 1 << 20, ..Parts::new(memory.clone(), "f/".to_owned(), 4) };
        for n in 0..60 {
            parts.take(chunk(n * 40_000, 40_000), n * 40_000).await.unwrap();
        }
        parts.finish().await.unwrap();
        let objects = memory.0.lock().unwrap();
        let sizes: Vec<usize> = objects.iter().filter(|(key, _)| key.contains("part-")).map(|(_, b)| b.len()).collect();
        assert!(sizes.len() > 8 && sizes.len().is_multiple_of(4), "{sizes:?}");
        assert!(sizes.iter().all(|size| *size < 2 << 20), "{sizes:?}");
    }

    /// A bucket that takes an object only when so many wait.
    #[derive(Debug, Default)]
    struct Gate {
        within: Memory,
        most: AtomicUsize,
        waiting: AtomicUsize,
        landed: AtomicUsize,
        let_in: Notify,
    }

    #[async_trait]
    impl Staging for Gate {
        async fn put(&self, key: &str, bytes: Bytes) -> Result<(), WarehouseError> {
            if self.waiting.fetch_add(1, Ordering::Relaxed) + 1 >= self.most.load(Ordering::Relaxed) {
                self.let_in.notify_one();
            }
            self.let_in.notified().await;
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.landed.fetch_add(bytes.len(), Ordering::Relaxed);
            self.within.put(key, Bytes::from_static(b"")).await
        }

        async fn delete(&self, keys: &[String]) -> Result<(), WarehouseError> {
            self.within.delete(keys).await
        }

        async fn list(&self, prefix: &str) -> Result<Vec<Staged>, WarehouseError> {
            self.within.list(prefix).await
        }

        fn url(&self, key: &str) -> String {
            self.within.url(key)
        }
    }

    #[tokio::test]
    async fn what_is_held_is_bounded_however_many_slices() {
        const MOST: usize = OPEN_BYTES + FLYING_BYTES + (MOST_WORKERS + 1) * CHUNK;
        const { assert!(MOST < 92 << 20) };
        // Bytes that do not compress, so that what is held is what was given and has not landed.
        let mut seed = 1_u64;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as u8
        })
        .take(CHUNK)
        .collect();
        for slices in [1, 16, crate::redshift::MOST_SLICES] {
            let gate = Arc::new(Gate::default());
            let mut parts = Parts::new(gate.clone(), "f/".to_owned(), slices);
            gate.most.store(parts.most_flying(), Ordering::Relaxed);
            let mut most = 0;
            for n in 0..150 {
                let chunk = Chunk { bytes: bytes.clone(), rows: 1, has_breaks: false };
                parts.take(chunk, n as u64).await.unwrap();
                most = most.max(((n + 1) * CHUNK).saturating_sub(gate.landed.load(Ordering::Relaxed)));
            }
            assert!(most <= MOST, "{slices} slices: {most} bytes");
            assert!(most >= 24 << 20, "{slices} slices: {most} bytes");
            gate.most.store(1, Ordering::Relaxed);
            // Those that wait already.
            gate.let_in.notify_waiters();
            parts.finish().await.unwrap();
            assert_eq!(parts.rows.iter().map(|rows| rows.count).sum::<u64>(), 150);
        }
    }

    #[tokio::test]
    async fn a_row_is_not_guessed_where_lines_are_not_rows() {
        let memory = Arc::new(Memory::default());
        let mut parts = Parts::new(memory, "f/".to_owned(), 4);
        parts.take(Chunk { has_breaks: true, ..chunk(0, 10) }, 5).await.unwrap();
        assert_eq!(parts.find("s3://b/f/part-00000.csv.zst", 3), Some(Place::Between(5, 14)));
        assert_eq!(parts.find("s3://b/f/part-00000.csv.zst", -1), Some(Place::Between(5, 14)));
    }
}
