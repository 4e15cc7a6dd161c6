//! A file that nobody sees before it is whole, and of which a kill leaves nothing.
//!
//! It has no name until it is published, where the file system can do that; else one that no listing
//! shows, which a kill may leave behind.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use tempfile::NamedTempFile;

/// What the temporary names begin with.
const PREFIX: &str = ".longshore-";

/// A file on its way into a folder.
#[derive(Debug)]
pub(super) enum Fresh {
    /// Without a name.
    Unnamed(File),
    /// With a temporary one.
    Named(NamedTempFile),
}

impl Fresh {
    /// Makes a file of this mode that is to lie in a folder.
    pub(super) fn beside(folder: &Path, mode: u32) -> io::Result<Self> {
        let unnamed =
            rustix::fs::open(folder, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::from_raw_mode(mode));
        if let Ok(file) = unnamed.map(File::from)
            && link_of(&file).exists()
        {
            return Ok(Self::Unnamed(file));
        }
        let builder = &mut tempfile::Builder::new();
        builder.prefix(PREFIX).permissions(Permissions::from_mode(mode)).tempfile_in(folder).map(Self::Named)
    }

    /// The file.
    pub(super) fn file(&mut self) -> &mut File {
        match self {
            Self::Unnamed(file) => file,
            Self::Named(file) => file.as_file_mut(),
        }
    }

    /// A path by which it can be read.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Unnamed(file) => link_of(file),
            Self::Named(file) => file.path().to_owned(),
        }
    }

    /// Gives it its name, if that is free; says whether it was.
    pub(super) fn publish(self, to: &Path) -> io::Result<bool> {
        let published = match self {
            Self::Unnamed(file) => link(&file, to),
            Self::Named(file) => file.persist_noclobber(to).map(drop).map_err(|error| error.error),
        };
        match published {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives it its name in place of what has it.
    pub(super) fn replace(self, to: &Path) -> io::Result<()> {
        let file = match self {
            Self::Named(file) => return file.persist(to).map(drop).map_err(|error| error.error),
            Self::Unnamed(file) => file,
        };
        match link(&file, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let beside = to.with_file_name(format!("{PREFIX}{}", uuid::Uuid::now_v7()));
                link(&file, &beside)?;
                fs::rename(&beside, to).inspect_err(|_| drop(fs::remove_file(&beside)))
            }
            linked => linked,
        }
    }
}

fn link_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn link(file: &File, to: &Path) -> io::Result<()> {
    Ok(rustix::fs::linkat(CWD, link_of(file), CWD, to, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_appears_whole_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("a");
        let fresh = |text: &str| {
            let mut fresh = Fresh::beside(folder.path(), 0o644).unwrap();
            fresh.file().write_all(text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(fresh.path()).unwrap(), text);
            fresh
        };
        drop(fresh("lost"));
        assert!(fresh("one").publish(&to).unwrap());
        assert!(!fresh("two").publish(&to).unwrap());
        assert_eq!(fs::read_to_string(&to).unwrap(), "one");
        fresh("three").replace(&to).unwrap();
        fresh("four").replace(&folder.path().join("b")).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "three");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
