//! Tries what Longshore needs of a directory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use longshore_warehouse::{Finding, Severity};

use super::disk::{self, Disk, OWN, rename_to_free};
use crate::bucket::{BucketError, ObjectKey, Prefixes, told};

/// Lists, writes, claims, moves and removes under every prefix; leaves nothing behind.
pub(super) fn check(disk: &Disk, prefixes: &Prefixes) -> Vec<Finding> {
    let root = disk.root().display();
    if let Err(error) = fs::read_dir(disk.root()) {
        return vec![fault(&disk.fault("list", disk.root(), error))];
    }
    let mut findings = vec![fine(format!("the directory `{root}` is there and can be listed"))];
    for prefix in [&prefixes.pending, &prefixes.processed, &prefixes.failed, &prefixes.rejected] {
        findings.push(match try_prefix(disk, prefix) {
            Ok(()) => fine(format!("`{prefix}` can be listed, written, claimed and removed in")),
            Err(error) => fault(&error),
        });
        findings.extend(other_file_system(disk, prefix));
    }
    findings
}

/// A prefix on another file system works, but moves have to copy there.
fn other_file_system(disk: &Disk, prefix: &str) -> Option<Finding> {
    let there = fs::metadata(disk.root().join(prefix.trim_end_matches('/'))).ok()?;
    let here = fs::metadata(disk.root()).ok()?;
    (there.dev() != here.dev()).then(|| Finding {
        severity: Severity::Warning,
        message: format!("`{prefix}` lies on another file system: objects are copied there, not renamed"),
        cure: Some(format!("let `{prefix}` and `{}` lie on one file system", disk.root().display())),
    })
}

fn try_prefix(disk: &Disk, prefix: &str) -> Result<(), BucketError> {
    let name = format!(".longshore-check-{}", uuid::Uuid::now_v7());
    let path = disk.path(&ObjectKey::new(format!("{prefix}{name}")))?;
    let claimed = disk.root().join(OWN).join("claim").join(&name);
    let made = [missing_folders(disk, &path), missing_folders(disk, &claimed)].concat();
    let tried = try_path(disk, &path, &claimed);
    let removed = disk.remove(&path).and_then(|()| disk.remove(&claimed));
    for folder in made {
        // Somebody else may use it by now.
        fs::remove_dir(folder).ok();
    }
    tried.and(removed)
}

fn try_path(disk: &Disk, path: &Path, claimed: &Path) -> Result<(), BucketError> {
    let folder = disk.folder_of(path)?;
    fs::read_dir(&folder).map_err(|error| disk.fault("list", &folder, error))?;
    fs::write(path, "longshore check\n").map_err(|error| disk.fault("write", path, error))?;
    fs::read(path).map_err(|error| disk.fault("read", path, error))?;
    disk.folder_of(claimed)?;
    let same = fs::metadata(&folder).ok().zip(fs::metadata(disk.root()).ok()).is_none_or(|(a, b)| a.dev() == b.dev());
    if same {
        rename_to_free(path, claimed).map_err(|error| disk.fault("move", path, error))?;
        rename_to_free(claimed, path).map_err(|error| disk.fault("move a file to", path, error))?;
    }
    fs::remove_file(path).map_err(|error| disk.fault("remove", path, error))
}

/// The folders of a path that are not there yet, the innermost first.
fn missing_folders(disk: &Disk, path: &Path) -> Vec<PathBuf> {
    let folders = path.ancestors().skip(1).take_while(|folder| *folder != disk.root());
    folders
        .filter(|folder| fs::metadata(folder).is_err_and(|error| disk::is_missing(&error)))
        .map(Path::to_owned)
        .collect()
}

fn fine(message: String) -> Finding {
    Finding { severity: Severity::Fine, message, cure: None }
}

/// An error as a finding.
pub(super) fn fault(error: &BucketError) -> Finding {
    Finding { severity: Severity::Fault, message: told(error), cure: error.hint().map(str::to_owned) }
}
