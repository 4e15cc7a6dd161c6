//! Keys as paths, files as objects, and the few steps on a disk that all else is made of.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::fresh::Fresh;
use crate::bucket::{BucketError, Kind, Object, ObjectKey};

/// Longshore's own folder at the root: claims lie in it.
pub(super) const OWN: &str = ".longshore";

/// The longest name of a file on the file systems that matter (`NAME_MAX`).
pub(super) const NAME_MAX: usize = 255;

/// The directory and how long its files settle.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    pub(super) settle: Duration,
}

impl Disk {
    pub(super) fn new(root: PathBuf, settle: Duration) -> Self {
        Self { root, settle }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a key lies. Nothing that leaves the directory, or Longshore's own folder, has a path.
    pub(super) fn path(&self, key: &ObjectKey) -> Result<PathBuf, BucketError> {
        match key.as_str().split('/').find_map(unfit) {
            None => Ok(self.root.join(key.as_str())),
            Some(why) => {
                let message = format!("the key `{key}` cannot live in a directory: {why}");
                Err(BucketError::new(Kind::Refused, message).cure("change the key"))
            }
        }
    }

    /// The object that lies under a key now: what a listing would show.
    pub(super) fn object(&self, key: &ObjectKey) -> Result<Option<Object>, BucketError> {
        let path = self.path(key)?;
        // The first folder may be a link, those below it lead out of the bucket.
        let folders = path.ancestors().skip(1).take_while(|folder| *folder != self.root);
        if folders.filter(|folder| folder.parent() != Some(&self.root)).any(Path::is_symlink) {
            return Ok(None);
        }
        Ok(self.regular(&path)?.map(|metadata| object(key.clone(), &metadata)))
    }

    /// The regular file at a path, without following a link.
    pub(super) fn regular(&self, path: &Path) -> Result<Option<Metadata>, BucketError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(metadata).filter(|metadata| metadata.is_file())),
            Err(error) if is_missing(&error) => match self.root.exists() {
                true => Ok(None),
                false => Err(self.fault("look at", path, error)),
            },
            Err(error) => Err(self.fault("look at", path, error)),
        }
    }

    /// Writes a file under a temporary name beside its place, and puts it there whole.
    pub(super) fn put(&self, key: &ObjectKey, from: &mut dyn Read) -> Result<(), BucketError> {
        let path = self.path(key)?;
        let folder = self.folder_of(&path)?;
        let mut file = self.fresh(&folder, 0o666)?;
        let fault = |error| self.fault("write", &path, error);
        io::copy(from, file.file()).map_err(fault)?;
        file.file().sync_all().map_err(fault)?;
        file.replace(&path).map_err(fault)?;
        self.sync_folder(&folder)
    }

    /// A file for a folder that vanishes when it is dropped before it is published.
    pub(super) fn fresh(&self, folder: &Path, mode: u32) -> Result<Fresh, BucketError> {
        Fresh::beside(folder, mode).map_err(|error| self.fault("write into", folder, error))
    }

    /// Makes a new name in a folder survive a power cut.
    pub(super) fn sync_folder(&self, folder: &Path) -> Result<(), BucketError> {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| self.fault("write into", folder, error))
    }

    /// The folder of a path, created where it is missing.
    pub(super) fn folder_of(&self, path: &Path) -> Result<PathBuf, BucketError> {
        let folder = path.parent().unwrap_or(&self.root);
        // A root that was unmounted or removed must not come back as an empty folder.
        if !self.root.exists() {
            return Err(self.fault("write into", folder, io::ErrorKind::NotFound.into()));
        }
        fs::create_dir_all(folder).map_err(|error| self.fault("create the folder", folder, error))?;
        Ok(folder.to_owned())
    }

    /// Removes a file; one that is not there is fine.
    pub(super) fn remove(&self, path: &Path) -> Result<(), BucketError> {
        match fs::remove_file(path) {
            Err(error) if !is_missing(&error) => Err(self.fault("remove", path, error)),
            _ => Ok(()),
        }
    }

    /// What lies where a folder would have to be.
    pub(super) fn in_the_way(&self, folder: &Path) -> Option<PathBuf> {
        let mut folders = folder.ancestors().take_while(|folder| *folder != self.root);
        folders.find(|folder| fs::metadata(folder).is_ok_and(|there| !there.is_dir())).map(Path::to_owned)
    }

    /// Says what could not be done to which path, and what would help.
    pub(super) fn fault(&self, what: &str, path: &Path, error: io::Error) -> BucketError {
        let place = path.display();
        if is_missing(&error) && !self.root.exists() {
            let message = format!("the directory `{}` is not there any more", self.root.display());
            return BucketError::new(Kind::NoBucket, message)
                .cure("mount or create it again, or correct `[bucket] url` in `longshore.toml`")
                .because(error);
        }
        if let Some(file) = self.in_the_way(path.parent().unwrap_or(path)) {
            let message = format!("cannot {what} `{place}`: `{}` is no folder", file.display());
            return BucketError::new(Kind::Refused, message).cure(format!("move or remove `{}`", file.display()));
        }
        let kind = kind_of(&error);
        let fault = BucketError::new(kind, format!("cannot {what} `{place}`")).because(error);
        match kind {
            Kind::AccessDenied => fault.cure(format!("let this user {what} `{place}`")),
            Kind::Full => fault.cure(format!("make room on the file system of `{place}`, or raise its quota")),
            _ => fault,
        }
    }
}

/// Why a part of a key cannot be the name of a file.
fn unfit(part: &str) -> Option<&'static str> {
    match part {
        "" => Some("a part between slashes is empty"),
        "." | ".." => Some("`.` and `..` mean other folders"),
        OWN => Some("Longshore keeps its own files in `.longshore`"),
        _ if part.len() > NAME_MAX => Some("a part between slashes is longer than 255 bytes"),
        _ if part.contains('\0') => Some("it holds a NUL byte"),
        _ => None,
    }
}

fn kind_of(error: &io::Error) -> Kind {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => Kind::Full,
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Kind::AccessDenied,
        Some(Errno::NOENT) => Kind::Gone,
        Some(
            Errno::IO
            | Errno::STALE
            | Errno::INTR
            | Errno::BUSY
            | Errno::TIMEDOUT
            | Errno::MFILE
            | Errno::NFILE
            | Errno::AGAIN
            | Errno::NOMEM,
        ) => Kind::Unreachable,
        _ if error.kind() == io::ErrorKind::NotFound => Kind::Gone,
        _ => Kind::Refused,
    }
}

/// Whether nothing lies at the path that was asked for.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A file as an object.
pub(super) fn object(key: ObjectKey, metadata: &Metadata) -> Object {
    Object { key, etag: etag(metadata), size: metadata.size(), modified_at: modified_at(metadata) }
}

/// Size, modification time in ns and inode.
pub(super) fn etag(metadata: &Metadata) -> String {
    let nanoseconds = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    format!("{}-{nanoseconds}-{}", metadata.size(), metadata.ino())
}

/// Cut to microseconds, as the ledger keeps it, so that the order is the same everywhere.
fn modified_at(metadata: &Metadata) -> Timestamp {
    let at = instant(metadata.mtime(), metadata.mtime_nsec());
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// When the inode last changed in any way, which no tool can set.
pub(super) fn changed_at(metadata: &Metadata) -> Timestamp {
    instant(metadata.ctime(), metadata.ctime_nsec())
}

/// A time of a file system, which knows years that the calendar does not.
fn instant(seconds: i64, nanoseconds: i64) -> Timestamp {
    let bound = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    i32::try_from(nanoseconds).ok().and_then(|nano| Timestamp::new(seconds, nano).ok()).unwrap_or(bound)
}

/// Renames a file unless something has the new name; says whether it did.
///
/// Where the file system cannot do that in one step (NFS, some FUSE), a second link and the
/// removal of the first do the same; a crash between them leaves one file with two names, which
/// the next attempt tells by the inode.
pub(super) fn rename_to_free(from: &Path, to: &Path) -> io::Result<bool> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_and_remove(from, to),
        Err(errno) => Err(errno.into()),
    }
}

/// The slower way to rename without replacing.
fn link_and_remove(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether two files hold the same bytes.
pub(super) fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        (&mut one).take(1 << 20).read_to_end(&mut left)?;
        (&mut other).take(1 << 20).read_to_end(&mut right)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_leaves_the_directory_has_no_path() {
        let disk = Disk::new("/bucket".into(), Duration::ZERO);
        for key in ["", "/etc/passwd", "../x", "a/../../x", "a/./x", "a//b", "a/", ".longshore/claim/x", "a\0b"] {
            let error = disk.path(&ObjectKey::new(key)).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused, "{key:?}");
        }
        assert_eq!(disk.path(&ObjectKey::new("a b/ü%2F+.csv")).unwrap(), Path::new("/bucket/a b/ü%2F+.csv"));
    }

    #[test]
    fn the_slower_rename_never_replaces_either() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::write(&one, "1").unwrap();
        fs::write(&two, "2").unwrap();
        assert!(!link_and_remove(&one, &two).unwrap());
        assert_eq!(fs::read_to_string(&two).unwrap(), "2");
        fs::remove_file(&two).unwrap();
        assert!(link_and_remove(&one, &two).unwrap());
        assert!(!one.exists());
        assert_eq!(fs::read_to_string(&two).unwrap(), "1");
    }

    #[test]
    fn what_the_system_says_has_a_kind() {
        let kind = |errno: Errno| kind_of(&errno.into());
        assert_eq!(kind(Errno::NOSPC), Kind::Full);
        assert_eq!(kind(Errno::DQUOT), Kind::Full);
        assert_eq!(kind(Errno::ACCESS), Kind::AccessDenied);
        assert_eq!(kind(Errno::ROFS), Kind::AccessDenied);
        assert_eq!(kind(Errno::NOENT), Kind::Gone);
        assert_eq!(kind(Errno::IO), Kind::Unreachable);
        assert_eq!(kind(Errno::NAMETOOLONG), Kind::Refused);
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().to_owned(), Duration::ZERO);
        let error = disk.fault("write", Path::new("/bucket/a.csv"), Errno::ACCESS.into());
        assert_eq!(error.to_string(), "cannot write `/bucket/a.csv`");
        assert_eq!(error.hint(), Some("let this user write `/bucket/a.csv`"));
    }
}
