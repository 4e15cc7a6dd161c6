//! Reads a file as it was listed: a small one at once, a large one ahead of whoever takes the bytes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use rustix::fs::{Advice, Mode, OFlags};
use tokio::sync::mpsc;

use super::disk::{self, Disk};
use crate::bucket::{Body, BucketError, Kind, Object};

/// Bytes read at once: large enough that the hand-over between threads does not show.
const CHUNK: u64 = 1 << 20;

/// Chunks that lie ready, so that the parser is never starved: 4 MiB per open object.
const AHEAD: usize = 4;

/// A file that was as listed when it was opened.
pub(super) struct Reading {
    file: File,
    path: PathBuf,
    object: Object,
    /// Errors need the root's name; the reading thread has no other use for it.
    disk: Disk,
}

impl Reading {
    pub(super) fn open(disk: &Disk, object: Object) -> Result<Self, BucketError> {
        let path = disk.path(&object.key)?;
        // Not following links and not blocking: a link or a pipe may lie there by now.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::LOOP) => return Err(changed(&object)),
            Err(errno) => return Err(disk.fault("read", &path, errno.into())),
        };
        let disk = Disk::new(disk.root().to_owned(), disk.settle);
        let reading = Self { file, path, object, disk };
        reading.is_as_listed()?;
        Ok(reading)
    }

    /// Compares the open file with the listing.
    fn is_as_listed(&self) -> Result<(), BucketError> {
        let metadata = self.file.metadata().map_err(|error| self.disk.fault("read", &self.path, error))?;
        match metadata.is_file() && disk::etag(&metadata) == self.object.etag {
            true => Ok(()),
            false => Err(changed(&self.object)),
        }
    }

    /// Whether one chunk is all of it.
    pub(super) fn is_small(&self) -> bool {
        self.object.size <= CHUNK
    }

    /// All bytes, proven to be those of the listing. A small file is read where it was opened, which saves a thread
    /// and its hand-overs.
    pub(super) fn whole(mut self) -> Result<Bytes, BucketError> {
        let size = self.object.size;
        let bytes = self.chunk(size).map_err(|error| self.disk.fault("read", &self.path, error))?;
        if bytes.len() as u64 != size {
            return Err(changed(&self.object));
        }
        self.prove()?;
        Ok(Bytes::from(bytes))
    }

    /// The bytes, then the proof that they were those of the listing.
    pub(super) fn stream(self) -> Body {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let task = tokio::task::spawn_blocking(move || self.send(&sender));
        stream::unfold((receiver, Some(task)), |(mut receiver, mut task)| async move {
            if let Some(chunk) = receiver.recv().await {
                return Some((Ok(chunk), (receiver, task)));
            }
            match task.take()?.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some((Err(error), (receiver, None))),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(error) => {
                    let fault = BucketError::new(Kind::Unreachable, "this process is shutting down").because(error);
                    Some((Err(fault), (receiver, None)))
                }
            }
        })
        .boxed()
    }

    fn send(mut self, chunks: &mpsc::Sender<Bytes>) -> Result<(), BucketError> {
        // Only a hint: a file system without it reads all the same.
        rustix::fs::fadvise(&self.file, 0, None, Advice::Sequential).ok();
        let mut left = self.object.size;
        while left > 0 {
            let chunk = self.chunk(left.min(CHUNK)).map_err(|error| self.disk.fault("read", &self.path, error))?;
            if chunk.is_empty() {
                return Err(changed(&self.object));
            }
            left -= chunk.len() as u64;
            if chunks.blocking_send(Bytes::from(chunk)).is_err() {
                return Ok(());
            }
        }
        self.prove()
    }

    /// What was read is what was listed, and still lies there.
    fn prove(&self) -> Result<(), BucketError> {
        self.is_as_listed()?;
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if disk::etag(&metadata) == self.object.etag => Ok(()),
            Ok(_) => Err(changed(&self.object)),
            Err(error) => Err(self.disk.fault("read", &self.path, error)),
        }
    }

    fn chunk(&mut self, size: u64) -> io::Result<Vec<u8>> {
        let mut chunk = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        (&mut self.file).take(size).read_to_end(&mut chunk)?;
        Ok(chunk)
    }
}

fn changed(object: &Object) -> BucketError {
    BucketError::new(Kind::Changed, format!("`{}` is not the file any more that was listed", object.key))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::bucket::ObjectKey;

    /// What reading a small file gives to which something happens once it is open.
    fn meanwhile(size: usize, action: impl FnOnce(&Path)) -> Result<Bytes, Kind> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.csv");
        fs::write(&path, vec![b'x'; size]).unwrap();
        let disk = Disk::new(root.path().to_owned(), Duration::ZERO);
        let object = disk.object(&ObjectKey::new("a.csv")).unwrap().unwrap();
        let reading = Reading::open(&disk, object).unwrap();
        assert!(reading.is_small());
        action(&path);
        reading.whole().map_err(|error| error.kind())
    }

    #[test]
    fn a_small_file_is_read_whole() {
        for size in [0, 1, CHUNK as usize] {
            assert_eq!(meanwhile(size, |_| {}).unwrap(), vec![b'x'; size]);
        }
    }

    #[test]
    fn a_small_file_that_changes_while_it_is_read_has_changed() {
        let open = |path: &Path| File::options().append(true).open(path).unwrap();
        let grow = |path: &Path| open(path).write_all(b"more").unwrap();
        let shrink = |path: &Path| open(path).set_len(3).unwrap();
        let touch = |path: &Path| open(path).set_modified(SystemTime::now() + Duration::from_secs(1)).unwrap();
        let replace = |path: &Path| {
            fs::write(path.with_extension("new"), vec![b'x'; 10]).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        };
        let actions: [&dyn Fn(&Path); 4] = [&grow, &shrink, &touch, &replace];
        for action in actions {
            assert_eq!(meanwhile(10, action).unwrap_err(), Kind::Changed);
        }
        assert_eq!(meanwhile(10, |path| fs::remove_file(path).unwrap()).unwrap_err(), Kind::Gone);
    }
}
