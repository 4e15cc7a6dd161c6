//! Moves a file by way of a claim, so that what leaves is what was read.
//!
//! A file is renamed into `.longshore/claim/<identity>=<key>`, where nobody else looks for it;
//! compared there with what was read; and renamed on to its new place without replacing anything.
//! A crash leaves it at one of the three places, and the same call finds it there.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use longshore_warehouse::{ObjectId, crash_point};
use rustix::io::Errno;

use super::disk::{self, Disk, NAME_MAX, OWN, rename_to_free};
use crate::bucket::{BucketError, Claim, Kind, Moved, Object, ObjectKey};

/// How often a rename is tried when somebody removes the empty folder that was made for it.
const TRIES: usize = 8;

/// Moves an object if it still is what was read.
pub(super) fn relocate(
    disk: &Disk,
    object: &Object,
    identity: &ObjectId,
    to: &ObjectKey,
    otherwise: &ObjectKey,
) -> Result<Moved, BucketError> {
    let from = disk.path(&object.key)?;
    let claim = claim_path(disk, identity, &object.key);
    let now = disk.regular(&from);
    let is_as_read = matches!(&now, Ok(Some(metadata)) if disk::etag(metadata) == object.etag);
    if is_as_read {
        take(disk, &from, &claim)?;
    }
    // What was claimed before goes on, whatever lies at its old key.
    let claimed = match disk.regular(&claim)? {
        Some(metadata) if disk::etag(&metadata) == object.etag => metadata,
        Some(_) => {
            put_back(disk, &claim, &from)?;
            return Ok(Moved::Changed);
        }
        // It was not there to be taken, or another process repeats the same move and was faster.
        None => return whereabouts(disk, object, now?.is_some() && !is_as_read, [to, otherwise]),
    };
    crash_point("copy");
    let placed = place(disk, &claim, claimed, object, [to, otherwise]);
    crash_point("delete");
    if placed.is_err() {
        // Nothing stays out of sight because its new place is not fit for it. If even that fails
        // it is a claim, and the first error is the one to tell.
        put_back(disk, &claim, &from).ok();
    }
    placed
}

/// What a crash left claimed.
pub(super) fn claims(disk: &Disk) -> Result<Vec<Claim>, BucketError> {
    let mut claims = Vec::new();
    collect(disk, &claims_root(disk), "", &mut claims)?;
    claims.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(claims)
}

fn collect(disk: &Disk, folder: &Path, before: &str, claims: &mut Vec<Claim>) -> Result<(), BucketError> {
    for name in names(disk, folder)? {
        let path = folder.join(&name);
        let Some(name) = name.to_str() else { continue };
        let name = format!("{before}{name}");
        match disk.regular(&path)? {
            Some(metadata) => {
                let Some((identity, key)) = claimed(&name) else { continue };
                claims.push(Claim { identity, key: key.clone(), object: disk::object(key, &metadata) });
            }
            None => collect(disk, &path, &name, claims)?,
        }
    }
    Ok(())
}

/// The names in one of our own folders; none where it is missing.
fn names(disk: &Disk, folder: &Path) -> Result<Vec<std::ffi::OsString>, BucketError> {
    let listed = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    match listed {
        Err(error) if disk::is_missing(&error) => Ok(Vec::new()),
        listed => listed.map_err(|error| disk.fault("list", folder, error)),
    }
}

/// Puts a claimed file back to its old key.
pub(super) fn unclaim(disk: &Disk, claim: &Claim) -> Result<Moved, BucketError> {
    let (from, to) = (claim_path(disk, &claim.identity, &claim.key), disk.path(&claim.key)?);
    if put_back(disk, &from, &to)? {
        return Ok(Moved::To(claim.key.clone()));
    }
    match disk.regular(&to)? {
        Some(metadata) if disk::etag(&metadata) == claim.object.etag => Ok(Moved::To(claim.key.clone())),
        _ if disk.regular(&from)?.is_some() => Ok(Moved::Changed),
        _ => Ok(Moved::Gone),
    }
}

/// Finishes the move of a claimed file.
pub(super) fn finish(disk: &Disk, claim: &Claim, to: &ObjectKey, otherwise: &ObjectKey) -> Result<Moved, BucketError> {
    let path = claim_path(disk, &claim.identity, &claim.key);
    match disk.regular(&path)? {
        Some(claimed) => place(disk, &path, claimed, &claim.object, [to, otherwise]),
        None => whereabouts(disk, &claim.object, false, [to, otherwise]),
    }
}

fn claims_root(disk: &Disk) -> PathBuf {
    disk.root().join(OWN).join("claim")
}

/// Where a file is claimed: one name, so that a claim costs no folder. A name that is too long for
/// the file system goes on in a folder below.
fn claim_path(disk: &Disk, identity: &ObjectId, key: &ObjectKey) -> PathBuf {
    let name = format!("{identity}={}", key.as_str().replace('%', "%25").replace('/', "%2F"));
    let mut path = claims_root(disk);
    let mut rest = name.as_str();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(NAME_MAX));
        path.push(piece);
        rest = behind;
    }
    path
}

/// The identity and the key that a claim is named after.
fn claimed(name: &str) -> Option<(ObjectId, ObjectKey)> {
    let (identity, key) = name.split_once('=')?;
    Some((identity.parse().ok()?, ObjectKey::new(key.replace("%2F", "/").replace("%25", "%"))))
}

/// Renames a file into its claim, if it is there to be taken and nothing is claimed yet.
fn take(disk: &Disk, from: &Path, claim: &Path) -> Result<(), BucketError> {
    match rename(disk, from, claim) {
        Ok(_) => Ok(()),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::XDEV) => {
            let own = disk.root().join(OWN);
            let message = format!("`{}` lies on another file system than `{}`", from.display(), own.display());
            Err(BucketError::new(Kind::Refused, message)
                .cure("let the directory of `[bucket] url` and the prefixes in it lie on one file system")
                .because(error))
        }
        Err(error) => Err(disk.fault("move", from, error)),
    }
}

/// Renames without replacing into a folder that is made for it. `None`: there is nothing to
/// rename; `Some(false)`: the name is taken.
fn rename(disk: &Disk, from: &Path, to: &Path) -> io::Result<Option<bool>> {
    let folder = to.parent().unwrap_or(disk.root());
    for _ in 0..TRIES {
        match rename_to_free(from, to) {
            Ok(renamed) => return Ok(Some(renamed)),
            Err(error) if disk::is_missing(&error) => match fs::symlink_metadata(from) {
                Ok(_) => {}
                Err(error) if disk::is_missing(&error) && disk.root().exists() => return Ok(None),
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
        fs::create_dir_all(folder).or_else(|error| match error.kind() {
            // Somebody removed one of the folders meanwhile.
            io::ErrorKind::NotFound if disk.root().exists() => Ok(()),
            io::ErrorKind::AlreadyExists if disk.in_the_way(folder).is_none() => Ok(()),
            _ => Err(error),
        })?;
    }
    Err(Errno::BUSY.into())
}

/// Puts a claim back without replacing what may lie there by now; says whether it did.
fn put_back(disk: &Disk, claim: &Path, to: &Path) -> Result<bool, BucketError> {
    let Some(metadata) = disk.regular(claim)? else { return Ok(false) };
    let back = match rename(disk, claim, to).map_err(|error| disk.fault("put back", to, error))? {
        Some(true) => true,
        Some(false) => is_same_file(disk, &metadata, to)? && disk.remove(claim).is_ok(),
        None => false,
    };
    tidy(disk, claim);
    Ok(back)
}

/// Puts a claimed file at the first of its new places that is free or already its own.
fn place(
    disk: &Disk,
    claim: &Path,
    claimed: Metadata,
    object: &Object,
    places: [&ObjectKey; 2],
) -> Result<Moved, BucketError> {
    let mut claimed = Some(claimed);
    for key in places {
        let Some(metadata) = claimed else { break };
        if place_at(disk, claim, &metadata, &disk.path(key)?)? {
            tidy(disk, claim);
            return Ok(Moved::To(key.clone()));
        }
        claimed = disk.regular(claim)?;
    }
    if claimed.is_none() {
        return whereabouts(disk, object, false, places);
    }
    let message = format!("cannot move `{}`: `{}` and `{}` are taken", object.key, places[0], places[1]);
    Err(BucketError::new(Kind::Refused, message).cure("move or remove the files that lie there"))
}

fn place_at(disk: &Disk, claim: &Path, metadata: &Metadata, to: &Path) -> Result<bool, BucketError> {
    match rename(disk, claim, to) {
        Ok(Some(true)) => Ok(true),
        Ok(None) => Ok(false),
        Ok(Some(false)) => match is_ours(disk, claim, metadata, to)? {
            true => disk.remove(claim).map(|()| true),
            false => Ok(false),
        },
        Err(error) if Errno::from_io_error(&error) == Some(Errno::XDEV) => copy_over(disk, claim, metadata, to),
        Err(error) => Err(disk.fault("move a file to", to, error)),
    }
}

/// Moves a file to another file system; says whether the place was free or its own.
fn copy_over(disk: &Disk, claim: &Path, metadata: &Metadata, to: &Path) -> Result<bool, BucketError> {
    let fault = |error: io::Error| disk.fault("copy a file to", to, error);
    if is_ours(disk, claim, metadata, to)? {
        return disk.remove(claim).map(|()| true);
    }
    if fs::symlink_metadata(to).is_ok() {
        return Ok(false);
    }
    let folder = disk.folder_of(to)?;
    let mut copy = disk.fresh(&folder, metadata.permissions().mode())?;
    let mut from = fs::File::open(claim).map_err(fault)?;
    io::copy(&mut from, copy.file()).map_err(fault)?;
    let modified = metadata.modified().map_err(fault)?;
    copy.file().set_times(fs::FileTimes::new().set_modified(modified)).map_err(fault)?;
    copy.file().sync_all().map_err(fault)?;
    let unchanged = disk.regular(claim)?.is_some_and(|now| disk::etag(&now) == disk::etag(metadata));
    if !unchanged || !disk::same_bytes(claim, &copy.path()).map_err(fault)? {
        let message = format!("the copy at `{}` is not what was copied", to.display());
        return Err(BucketError::new(Kind::Unreachable, message));
    }
    if !copy.publish(to).map_err(fault)? {
        return Ok(false);
    }
    // The old name goes only when the new one survives a power cut.
    disk.sync_folder(&folder)?;
    disk.remove(claim).map(|()| true)
}

/// Whether a place holds the claimed file already: under a second name, or copied to another file
/// system by an attempt that did not come to remove the claim.
fn is_ours(disk: &Disk, claim: &Path, metadata: &Metadata, place: &Path) -> Result<bool, BucketError> {
    let Some(there) = disk.regular(place)? else { return Ok(false) };
    if there.dev() == metadata.dev() {
        return Ok(there.ino() == metadata.ino());
    }
    let alike = there.size() == metadata.size() && same_time(&there, metadata);
    Ok(alike && disk::same_bytes(claim, place).map_err(|error| disk.fault("read", place, error))?)
}

fn is_same_file(disk: &Disk, metadata: &Metadata, place: &Path) -> Result<bool, BucketError> {
    let there = disk.regular(place)?;
    Ok(there.is_some_and(|there| there.dev() == metadata.dev() && there.ino() == metadata.ino()))
}

fn same_time(one: &Metadata, other: &Metadata) -> bool {
    (one.mtime(), one.mtime_nsec()) == (other.mtime(), other.mtime_nsec())
}

/// Where an object is that is neither at its old key nor claimed: an earlier attempt may have
/// moved it. The inode tells; only on another file system, where the file is a copy, size and
/// modification time have to do.
fn whereabouts(disk: &Disk, object: &Object, replaced: bool, places: [&ObjectKey; 2]) -> Result<Moved, BucketError> {
    let here = fs::metadata(disk.root()).map_err(|error| disk.fault("look at", disk.root(), error))?.dev();
    for key in places {
        let Some(there) = disk.regular(&disk.path(key)?)? else { continue };
        let now = disk::object(key.clone(), &there);
        let copied = there.dev() != here && now.size == object.size && now.modified_at == object.modified_at;
        if now.etag == object.etag || copied {
            return Ok(Moved::To(key.clone()));
        }
    }
    Ok(if replaced { Moved::Changed } else { Moved::Gone })
}

/// Removes the folders of a long claim that are empty now. That of all claims stays: others are
/// about to use it.
fn tidy(disk: &Disk, claim: &Path) {
    let root = claims_root(disk);
    for folder in claim.ancestors().skip(1).take_while(|folder| *folder != root) {
        // Not empty: somebody else's claim lies in it.
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}
