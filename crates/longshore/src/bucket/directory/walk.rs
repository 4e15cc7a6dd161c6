//! Lists a directory in flat memory: open folders are remembered, names are not.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, FileType, Metadata, ReadDir};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;

use super::disk::{self, Disk};
use crate::bucket::{BucketError, LeftOut, ObjectKey, Page};

/// Objects of one page, as many as S3 gives.
const PAGE: usize = 1_000;

/// How far a modification time may lie in the future and still be believed: clocks of file
/// servers differ by seconds. Beyond it somebody has set the time, and the inode's own tells.
const SKEW: SignedDuration = SignedDuration::from_mins(1);

/// How far in the future the inode's own time may lie: beyond it the clock was set back, and
/// waiting for it to catch up would wait for ever.
const CLOCK_SET_BACK: SignedDuration = SignedDuration::from_hours(1);

/// The pages of everything under a prefix.
pub(super) fn pages(disk: Arc<Disk>, prefix: String) -> BoxStream<'static, Result<Page, BucketError>> {
    // One page is being read by the caller while the next one is filled.
    let (sender, receiver) = mpsc::channel(1);
    let task = tokio::task::spawn_blocking(move || {
        // A caller that stops listening drops the receiver: there is nobody left to tell.
        if let Err(error) = Walk::start(&disk, &prefix).and_then(|walk| walk.run(&sender)) {
            drop(sender.blocking_send(Err(error)));
        }
    });
    stream::unfold((receiver, Some(task)), |(mut receiver, mut task)| async move {
        if let Some(page) = receiver.recv().await {
            return Some((page, (receiver, task)));
        }
        // The end of the pages is the end of the listing only if the walk did not panic.
        match task.take()?.await {
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            _ => None,
        }
    })
    .boxed()
}

/// A walk that is under way.
struct Walk<'a> {
    disk: &'a Disk,
    /// First characters that names in the first folder must have.
    beginning: String,
    /// Folders from the first one down to the current one, with the keys' beginnings.
    open: Vec<(ReadDir, String)>,
    page: Page,
    now: Timestamp,
}

impl<'a> Walk<'a> {
    fn start(disk: &'a Disk, prefix: &str) -> Result<Self, BucketError> {
        let (folder, beginning) = match prefix.rsplit_once('/') {
            Some((folder, beginning)) => (folder, beginning),
            None => ("", prefix),
        };
        let mut walk = Self {
            disk,
            beginning: beginning.to_owned(),
            open: Vec::new(),
            page: Page::default(),
            now: Timestamp::now(),
        };
        // No key begins with a part that a listing leaves out.
        if prefix.contains('/') && folder.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
            return Ok(walk);
        }
        let path = disk.root().join(folder);
        match fs::read_dir(&path) {
            Ok(entries) => {
                let keys = if folder.is_empty() { String::new() } else { format!("{folder}/") };
                walk.open.push((entries, keys));
            }
            Err(error) if disk::is_missing(&error) && disk.root().exists() => {}
            Err(error) => return Err(disk.fault("list", &path, error)),
        }
        Ok(walk)
    }

    fn run(mut self, pages: &mpsc::Sender<Result<Page, BucketError>>) -> Result<(), BucketError> {
        while let Some((entries, keys)) = self.open.last_mut() {
            match entries.next() {
                None => drop(self.open.pop()),
                Some(entry) => {
                    let keys = keys.clone();
                    let entry = entry.map_err(|error| self.disk.fault("list", &self.disk.root().join(&keys), error))?;
                    self.take(&entry, &keys)?;
                }
            }
            if self.page.objects.len() + self.page.left_out.len() + self.page.settling.len() >= PAGE {
                let page = std::mem::take(&mut self.page);
                if pages.blocking_send(Ok(page)).is_err() {
                    return Ok(());
                }
                self.now = Timestamp::now();
            }
        }
        drop(pages.blocking_send(Ok(self.page)));
        Ok(())
    }

    /// Puts one name where it belongs.
    fn take(&mut self, entry: &DirEntry, keys: &str) -> Result<(), BucketError> {
        let name = entry.file_name();
        let in_first_folder = self.open.len() == 1;
        if in_first_folder && !name.as_bytes().starts_with(self.beginning.as_bytes()) || is_passed_over(&name) {
            return Ok(());
        }
        let Some(name) = name.to_str() else {
            self.leave_out(format!("{keys}{}", name.display()), "its name is not UTF-8");
            return Ok(());
        };
        let key = format!("{keys}{name}");
        match self.look(entry) {
            Ok((kind, _)) if kind.is_symlink() => self.leave_out(key, "it is a symbolic link"),
            Ok((kind, _)) if kind.is_dir() => self.enter(entry, key)?,
            Ok((kind, metadata)) if kind.is_file() => self.file(key, &metadata),
            Ok(_) => self.leave_out(key, "it is not a regular file"),
            Err(error) if disk::is_missing(&error) => {}
            Err(error) => return Err(self.disk.fault("look at", &entry.path(), error)),
        }
        Ok(())
    }

    /// What an entry is; the directory's own word for it may be missing or old.
    fn look(&self, entry: &DirEntry) -> io::Result<(FileType, Metadata)> {
        entry.metadata().map(|metadata| (metadata.file_type(), metadata))
    }

    fn enter(&mut self, entry: &DirEntry, key: String) -> Result<(), BucketError> {
        match fs::read_dir(entry.path()) {
            Ok(entries) => self.open.push((entries, format!("{key}/"))),
            Err(error) if disk::is_missing(&error) => {}
            // One locked folder does not hold back the others.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.leave_out(format!("{key}/"), "this user may not list it");
            }
            Err(error) => return Err(self.disk.fault("list", &entry.path(), error)),
        }
        Ok(())
    }

    fn file(&mut self, key: String, metadata: &Metadata) {
        let object = disk::object(ObjectKey::new(key), metadata);
        match self.settles_at(object.modified_at, metadata) {
            Some(time) => self.page.settling.push((object.key, time)),
            None => self.page.objects.push(object),
        }
    }

    /// When a file will count as written; `None`: it does.
    fn settles_at(&self, modified_at: Timestamp, metadata: &Metadata) -> Option<Timestamp> {
        if self.disk.settle.is_zero() {
            return None;
        }
        let within = |time: Timestamp, bound| time.duration_since(self.now) <= bound;
        let written_at = if within(modified_at, SKEW) { modified_at } else { disk::changed_at(metadata) };
        let settle = SignedDuration::try_from(self.disk.settle).unwrap_or(SignedDuration::MAX);
        let at = written_at.checked_add(settle).unwrap_or(Timestamp::MAX);
        (at > self.now && within(written_at, CLOCK_SET_BACK)).then_some(at)
    }

    fn leave_out(&mut self, name: String, why: &'static str) {
        self.page.left_out.push(LeftOut { name, why });
    }
}

/// Names that are never objects and deserve no word.
fn is_passed_over(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b".") || name.ends_with(b".tmp") || name.ends_with(b".part")
}
