//! What only a directory does.

use std::fs::{self, File, FileTimes};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use longshore::bucket::{Bucket, Claim, Directory, DirectoryConfig, Kind, Moved, Object, ObjectKey, Page};
use longshore_warehouse::Severity;

use super::bench::{Bench, DirectoryBench, list, listed, listed_keys, read, relocate, to};
use super::conformance::prefixes;

/// Larger than what a reader has ready, so that it is still at work after the first chunk.
const LARGE: usize = 16 << 20;

#[tokio::test]
async fn a_directory_that_is_not_there_is_no_bucket() {
    let path = PathBuf::from("/nowhere/at/all");
    let error = Directory::open(DirectoryConfig { path, id: None, settle: Duration::ZERO }).unwrap_err();
    assert_eq!(error.kind(), Kind::NoBucket);
    assert_eq!(error.to_string(), "cannot open the directory `/nowhere/at/all`");
    assert!(error.hint().unwrap().contains("mkdir -p /nowhere/at/all"));
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = DirectoryConfig { path: file.path().to_owned(), id: None, settle: Duration::ZERO };
    assert_eq!(Directory::open(config).unwrap_err().kind(), Kind::NoBucket);
}

#[tokio::test]
async fn its_id_is_the_canonical_path_or_what_is_configured() {
    let bench = DirectoryBench::new();
    let link = tempfile::tempdir().unwrap().path().join("link");
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink(bench.root.path(), &link).unwrap();
    let open = |id| Directory::open(DirectoryConfig { path: link.clone(), id, settle: Duration::ZERO }).unwrap();
    assert_eq!(open(None).id(), bench.root.path().canonicalize().unwrap().to_str().unwrap());
    assert_eq!(open(Some("mine".to_owned())).id(), "mine");
    fs::remove_dir_all(link.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn a_directory_that_vanishes_is_not_made_anew() {
    let bench = DirectoryBench::new();
    fs::remove_dir(bench.root.path()).unwrap();
    assert_eq!(list(&bench.bucket, "pending/").await.unwrap_err().kind(), Kind::NoBucket);
    let put = bench.bucket.put(&ObjectKey::new("rejected/a.csv"), "1".into()).await;
    assert_eq!(put.unwrap_err().kind(), Kind::NoBucket);
    assert!(!bench.root.path().exists());
}

#[tokio::test]
async fn only_regular_files_with_plain_names_are_objects() {
    let bench = DirectoryBench::new();
    let outside = tempfile::NamedTempFile::new().unwrap();
    for key in ["pending/a.csv", "pending/.hidden", "pending/.dir/b.csv", "pending/c.tmp", "pending/d.part"] {
        bench.write(key, b"1");
    }
    bench.write(".longshore/claim/x/pending/e.csv", b"1");
    symlink(outside.path(), bench.path("pending/out.csv")).unwrap();
    symlink("a.csv", bench.path("pending/in.csv")).unwrap();
    symlink("/etc", bench.path("pending/etc")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("pending/socket.csv")).unwrap();
    fs::write(bench.path("pending").join(Path::new(std::ffi::OsStr::from_bytes(b"\xff.csv"))), "1").unwrap();
    let page = list(&bench.bucket, "").await.unwrap();
    assert_eq!(page.objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["pending/a.csv"]);
    let mut left_out: Vec<_> = page.left_out.iter().map(|left| (left.name.as_str(), left.why)).collect();
    left_out.sort_unstable();
    assert_eq!(
        left_out,
        [
            ("pending/etc", "it is a symbolic link"),
            ("pending/in.csv", "it is a symbolic link"),
            ("pending/out.csv", "it is a symbolic link"),
            ("pending/socket.csv", "it is not a regular file"),
            ("pending/\u{fffd}.csv", "its name is not UTF-8"),
        ]
    );
    for key in ["pending/out.csv", "pending/etc/passwd", "pending"] {
        assert_eq!(bench.bucket.head(&ObjectKey::new(key)).await.unwrap(), None, "{key}");
    }
}

#[tokio::test]
async fn keys_that_leave_the_directory_are_refused() {
    let bench = DirectoryBench::new();
    let long = "x".repeat(256);
    for key in ["../x", "/etc/passwd", "a/../../x", "a//b", "./x", "", "a/", ".longshore/claim/x", &long] {
        let key = ObjectKey::new(key);
        assert_eq!(bench.bucket.put(&key, "1".into()).await.unwrap_err().kind(), Kind::Refused, "{key}");
        assert_eq!(bench.bucket.head(&key).await.unwrap_err().kind(), Kind::Refused, "{key}");
        assert_eq!(bench.bucket.delete(&key).await.unwrap_err().kind(), Kind::Refused, "{key}");
        bench.write("pending/a.csv", b"1");
        let object = listed(&bench.bucket, "pending/a.csv").await;
        let moved = super::bench::try_to_relocate(&bench.bucket, &object, key.as_str(), "processed/a.csv").await;
        assert_eq!(moved.unwrap_err().kind(), Kind::Refused, "{key}");
        assert_eq!(bench.keys(), ["pending/a.csv"]);
    }
    for prefix in ["../", "/etc/", "a//", ".longshore/", "pending/../../"] {
        assert_eq!(listed_keys(&bench.bucket, prefix).await, [""; 0], "{prefix}");
    }
}

#[tokio::test]
async fn a_young_file_settles_first() {
    let bench = DirectoryBench::settling(Duration::from_secs(3_600));
    bench.write("pending/young.csv", b"1");
    bench.write("pending/old.csv", b"1");
    age(&bench.path("pending/old.csv"), SystemTime::now() - Duration::from_secs(3_601));
    let page = list(&bench.bucket, "pending/").await.unwrap();
    assert_eq!(page.objects.len(), 1);
    assert_eq!(page.objects[0].key.as_str(), "pending/old.csv");
    let [(key, at)] = &page.settling[..] else { panic!("{page:?}") };
    assert_eq!(key.as_str(), "pending/young.csv");
    let written = modified(&bench.path("pending/young.csv"));
    assert_eq!(at.as_second(), written.as_second() + 3_600);
}

#[tokio::test]
async fn a_clock_that_is_ahead_a_little_is_believed() {
    let bench = DirectoryBench::settling(Duration::from_secs(2));
    bench.write("pending/a.csv", b"1");
    let ahead = SystemTime::now() + Duration::from_secs(30);
    age(&bench.path("pending/a.csv"), ahead);
    let page = list(&bench.bucket, "pending/").await.unwrap();
    let expected = Timestamp::try_from(ahead + Duration::from_secs(2)).unwrap();
    assert_eq!(page.settling[0].1.as_second(), expected.as_second());
}

#[tokio::test]
async fn a_time_that_somebody_set_into_the_far_future_holds_nothing_back() {
    let bench = DirectoryBench::settling(Duration::from_secs(3_600));
    bench.write("pending/a.csv", b"1");
    age(&bench.path("pending/a.csv"), SystemTime::now() + Duration::from_secs(100 * 365 * 86_400));
    let page = list(&bench.bucket, "pending/").await.unwrap();
    let wait = page.settling[0].1.duration_since(Timestamp::now()).as_secs();
    assert!((3_500..=3_600).contains(&wait), "it would wait {wait} seconds");
    let eager = DirectoryBench::new();
    eager.write("pending/a.csv", b"1");
    age(&eager.path("pending/a.csv"), SystemTime::now() + Duration::from_secs(30));
    assert_eq!(listed_keys(&eager.bucket, "pending/").await, ["pending/a.csv"]);
}

#[tokio::test]
async fn many_objects_come_in_pages() {
    let bench = DirectoryBench::roomy();
    for folder in 0..5 {
        fs::create_dir_all(bench.path(&format!("pending/{folder}/deep"))).unwrap();
        for file in 0..500 {
            File::create(bench.path(&format!("pending/{folder}/deep/{file}.csv"))).unwrap();
        }
    }
    let pages: Vec<Page> = bench.bucket.list("pending/").try_collect().await.unwrap();
    assert!(pages.iter().all(|page| page.objects.len() <= 1_000));
    assert!(pages.len() >= 3);
    assert_eq!(listed_keys(&bench.bucket, "pending/").await.len(), 2_500);
}

#[tokio::test]
async fn a_listing_that_nobody_reads_on_ends() {
    let bench = DirectoryBench::roomy();
    fs::create_dir_all(bench.path("pending")).unwrap();
    for file in 0..3_500 {
        File::create(bench.path(&format!("pending/{file}.csv"))).unwrap();
    }
    let mut pages = bench.bucket.list("pending/");
    assert_eq!(pages.next().await.unwrap().unwrap().objects.len(), 1_000);
    drop(pages);
    // The runtime of this test waits for its threads when it ends: a walk that went on would show.
}

/// Reads the first chunk, lets something happen, and gives the error of the rest.
async fn meanwhile(bench: &DirectoryBench, action: impl FnOnce(&Path)) -> Kind {
    bench.write("pending/a.csv", &vec![b'x'; LARGE]);
    let object = listed(&bench.bucket, "pending/a.csv").await;
    let mut body = bench.bucket.read(&object).await.unwrap();
    body.next().await.unwrap().unwrap();
    action(&bench.path("pending/a.csv"));
    let rest: Result<Vec<_>, _> = body.try_collect().await;
    rest.unwrap_err().kind()
}

#[tokio::test]
async fn a_file_that_grows_while_it_is_read_has_changed() {
    let bench = DirectoryBench::new();
    let grow = |path: &Path| File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
    assert_eq!(meanwhile(&bench, grow).await, Kind::Changed);
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_has_changed() {
    let bench = DirectoryBench::new();
    let shrink = |path: &Path| File::options().write(true).open(path).unwrap().set_len(3 << 20).unwrap();
    assert_eq!(meanwhile(&bench, shrink).await, Kind::Changed);
}

#[tokio::test]
async fn a_file_that_is_overwritten_in_place_while_it_is_read_has_changed() {
    let bench = DirectoryBench::new();
    let overwrite = |path: &Path| {
        let mut file = File::options().write(true).open(path).unwrap();
        file.seek(SeekFrom::Start(LARGE as u64 - 1)).unwrap();
        file.write_all(b"y").unwrap();
        age(path, SystemTime::now() + Duration::from_secs(1));
    };
    assert_eq!(meanwhile(&bench, overwrite).await, Kind::Changed);
}

#[tokio::test]
async fn a_file_that_is_replaced_while_it_is_read_has_changed() {
    let bench = DirectoryBench::new();
    let replace = |_: &Path| bench.write("pending/a.csv", &vec![b'y'; LARGE]);
    assert_eq!(meanwhile(&bench, replace).await, Kind::Changed);
}

#[tokio::test]
async fn a_file_that_vanishes_while_it_is_read_is_gone() {
    let bench = DirectoryBench::new();
    assert_eq!(meanwhile(&bench, |path| fs::remove_file(path).unwrap()).await, Kind::Gone);
}

#[tokio::test]
async fn a_file_that_became_a_link_has_changed() {
    let bench = DirectoryBench::new();
    bench.write("pending/a.csv", b"1");
    let object = listed(&bench.bucket, "pending/a.csv").await;
    fs::rename(bench.path("pending/a.csv"), bench.path("elsewhere.csv")).unwrap();
    symlink(bench.path("elsewhere.csv"), bench.path("pending/a.csv")).unwrap();
    assert_eq!(read(&bench.bucket, &object).await.unwrap_err().kind(), Kind::Changed);
    let moved = relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await;
    assert_eq!(moved, Moved::Gone);
    assert!(bench.path("pending/a.csv").is_symlink());
}

#[tokio::test]
async fn moving_keeps_inode_and_time_and_tidies_up() {
    let bench = DirectoryBench::new();
    bench.write("pending/deep/er/a.csv", b"1");
    let before = fs::metadata(bench.path("pending/deep/er/a.csv")).unwrap();
    let object = listed(&bench.bucket, "pending/deep/er/a.csv").await;
    relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await;
    let after = fs::metadata(bench.path("processed/a.csv")).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    assert!(is_tidy(&bench));
    assert!(bench.path("pending/deep/er").is_dir());
}

/// An object whose move was broken off after it was claimed.
async fn claimed(bench: &DirectoryBench) -> (Object, Claim) {
    bench.write("pending/sub/a.csv", b"1");
    let object = listed(&bench.bucket, "pending/sub/a.csv").await;
    let claim = claim_path(bench, &object);
    fs::create_dir_all(claim.parent().unwrap()).unwrap();
    fs::rename(bench.path("pending/sub/a.csv"), claim).unwrap();
    let claims = bench.bucket.claims().await.unwrap();
    let [claim] = &claims[..] else { panic!("{claims:?}") };
    (object, claim.clone())
}

#[tokio::test]
async fn a_claim_says_whose_it_is() {
    let bench = DirectoryBench::new();
    let (object, claim) = claimed(&bench).await;
    assert_eq!(claim.identity, object.identity(bench.bucket.id()));
    assert_eq!((&claim.key, &claim.object), (&object.key, &object));
    assert_eq!(listed_keys(&bench.bucket, "").await, [""; 0]);
}

#[tokio::test]
async fn a_claim_has_its_exact_key_however_long_it_is() {
    let bench = DirectoryBench::new();
    for key in ["pending/a%2Fb=c.csv".to_owned(), format!("pending/{}/{}.csv", "ü".repeat(120), "%".repeat(200))] {
        bench.write(&key, b"1");
        let object = listed(&bench.bucket, &key).await;
        let claim = claim_path(&bench, &object);
        fs::create_dir_all(claim.parent().unwrap()).unwrap();
        fs::rename(bench.path(&key), claim).unwrap();
        let claims = bench.bucket.claims().await.unwrap();
        assert_eq!(claims.iter().map(|claim| claim.key.as_str()).collect::<Vec<_>>(), [&key]);
        assert_eq!(bench.bucket.unclaim(&claims[0]).await.unwrap(), to(&key));
        assert!(is_tidy(&bench));
    }
}

/// The name of a claim in pieces that a file system takes.
fn claim_path(bench: &DirectoryBench, object: &Object) -> PathBuf {
    let identity = object.identity(bench.bucket.id());
    let name = format!("{identity}={}", object.key.as_str().replace('%', "%25").replace('/', "%2F"));
    let mut path = bench.path(".longshore/claim");
    let mut piece = String::new();
    for letter in name.chars() {
        if piece.len() + letter.len_utf8() > 255 {
            path.push(std::mem::take(&mut piece));
        }
        piece.push(letter);
    }
    path.join(piece)
}

#[tokio::test]
async fn a_move_that_broke_off_after_the_claim_is_finished_by_repeating_it() {
    let bench = DirectoryBench::new();
    let (object, _) = claimed(&bench).await;
    // Meanwhile the same key was dropped again: it is another object and stays.
    bench.write("pending/sub/a.csv", b"2");
    assert_eq!(relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await, to("processed/a.csv"));
    assert_eq!(bench.body("processed/a.csv").unwrap(), b"1");
    assert_eq!(bench.body("pending/sub/a.csv").unwrap(), b"2");
    assert!(is_tidy(&bench));
}

#[tokio::test]
async fn a_claim_can_be_finished() {
    let bench = DirectoryBench::new();
    let (_, claim) = claimed(&bench).await;
    let (there, otherwise) = (ObjectKey::new("processed/a.csv"), ObjectKey::new("processed/a-1.csv"));
    for _ in 0..2 {
        assert_eq!(bench.bucket.finish_claim(&claim, &there, &otherwise).await.unwrap(), to("processed/a.csv"));
    }
    assert_eq!(bench.keys(), ["processed/a.csv"]);
    assert_eq!(bench.bucket.claims().await.unwrap(), []);
}

#[tokio::test]
async fn a_claim_can_be_put_back() {
    let bench = DirectoryBench::new();
    let (object, claim) = claimed(&bench).await;
    fs::remove_dir_all(bench.path("pending")).unwrap();
    for _ in 0..2 {
        assert_eq!(bench.bucket.unclaim(&claim).await.unwrap(), to("pending/sub/a.csv"));
    }
    assert_eq!(listed(&bench.bucket, "pending/sub/a.csv").await, object);
    assert!(is_tidy(&bench));
}

#[tokio::test]
async fn a_claim_whose_key_is_taken_stays_claimed() {
    let bench = DirectoryBench::new();
    let (_, claim) = claimed(&bench).await;
    bench.write("pending/sub/a.csv", b"2");
    assert_eq!(bench.bucket.unclaim(&claim).await.unwrap(), Moved::Changed);
    assert_eq!(bench.bucket.claims().await.unwrap(), [claim]);
    assert_eq!(bench.body("pending/sub/a.csv").unwrap(), b"2");
}

#[tokio::test]
async fn a_claim_that_somebody_settled_is_gone() {
    let bench = DirectoryBench::new();
    let (object, claim) = claimed(&bench).await;
    fs::remove_file(claim_path(&bench, &object)).unwrap();
    assert_eq!(bench.bucket.unclaim(&claim).await.unwrap(), Moved::Gone);
    let (there, otherwise) = (ObjectKey::new("processed/a.csv"), ObjectKey::new("processed/a-1.csv"));
    assert_eq!(bench.bucket.finish_claim(&claim, &there, &otherwise).await.unwrap(), Moved::Gone);
    assert_eq!(bench.bucket.claims().await.unwrap(), []);
}

#[tokio::test]
async fn a_crash_between_two_names_of_one_file_leaves_one() {
    let bench = DirectoryBench::new();
    let (object, _) = claimed(&bench).await;
    fs::create_dir_all(bench.path("processed")).unwrap();
    fs::hard_link(claim_path(&bench, &object), bench.path("processed/a.csv")).unwrap();
    assert_eq!(relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await, to("processed/a.csv"));
    assert_eq!(bench.keys(), ["processed/a.csv"]);
}

#[tokio::test]
async fn what_is_claimed_goes_on_where_its_old_place_cannot_be_looked_at() {
    let bench = DirectoryBench::new();
    let (object, _) = claimed(&bench).await;
    fs::remove_dir(bench.path("pending/sub")).unwrap();
    symlink("sub", bench.path("pending/sub")).unwrap();
    assert_eq!(relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await, to("processed/a.csv"));
    assert_eq!(bench.body("processed/a.csv").unwrap(), b"1");
}

#[tokio::test]
async fn a_file_that_changed_after_it_was_read_is_put_back() {
    let bench = DirectoryBench::new();
    let (object, _) = claimed(&bench).await;
    // A writer still had it open.
    File::options().append(true).open(claim_path(&bench, &object)).unwrap().write_all(b"more").unwrap();
    let moved = relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await;
    assert_eq!(moved, Moved::Changed);
    assert_eq!(bench.body("pending/sub/a.csv").unwrap(), b"1more");
    assert_eq!(bench.keys(), ["pending/sub/a.csv"]);
}

#[tokio::test]
async fn what_cannot_be_placed_does_not_stay_out_of_sight() {
    let bench = DirectoryBench::new();
    bench.write("pending/a.csv", b"1");
    // A file where a folder would have to be.
    bench.write("processed", b"in the way");
    let object = listed(&bench.bucket, "pending/a.csv").await;
    let moved = super::bench::try_to_relocate(&bench.bucket, &object, "processed/a.csv", "processed/b.csv").await;
    assert!(moved.is_err());
    assert_eq!(bench.keys(), ["pending/a.csv", "processed"]);
}

/// Lets `processed/` lie on another file system, if this machine has a second one.
fn with_processed_elsewhere(bench: &DirectoryBench) -> Option<tempfile::TempDir> {
    let elsewhere = tempfile::tempdir_in("/dev/shm").ok()?;
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    if device(elsewhere.path()) == device(bench.root.path()) {
        return None;
    }
    symlink(elsewhere.path(), bench.path("processed")).unwrap();
    Some(elsewhere)
}

#[tokio::test]
async fn a_move_to_another_file_system_copies() {
    let bench = DirectoryBench::new();
    let Some(elsewhere) = with_processed_elsewhere(&bench) else { return };
    bench.write("pending/a.csv", b"ours");
    fs::write(elsewhere.path().join("taken.csv"), "theirs").unwrap();
    let object = listed(&bench.bucket, "pending/a.csv").await;
    for _ in 0..2 {
        let moved = relocate(&bench.bucket, &object, "processed/taken.csv", "processed/d/a.csv").await;
        assert_eq!(moved, to("processed/d/a.csv"));
    }
    assert_eq!(fs::read(elsewhere.path().join("taken.csv")).unwrap(), b"theirs");
    assert_eq!(fs::read(elsewhere.path().join("d/a.csv")).unwrap(), b"ours");
    assert_eq!(modified(&elsewhere.path().join("d/a.csv")).as_microsecond(), object.modified_at.as_microsecond());
    assert_eq!(fs::read_dir(elsewhere.path().join("d")).unwrap().count(), 1);
    assert!(!bench.path("pending/a.csv").exists());
    assert!(is_tidy(&bench));
    let findings = bench.bucket.check(&prefixes()).await;
    assert!(findings.iter().any(|finding| finding.severity == Severity::Warning), "{findings:?}");
    assert!(findings.iter().all(|finding| finding.severity != Severity::Fault), "{findings:?}");
}

#[tokio::test]
async fn a_crash_after_the_copy_to_another_file_system_leaves_one() {
    let bench = DirectoryBench::new();
    let Some(elsewhere) = with_processed_elsewhere(&bench) else { return };
    let (object, _) = claimed(&bench).await;
    let copy = elsewhere.path().join("a.csv");
    fs::copy(claim_path(&bench, &object), &copy).unwrap();
    let time = fs::metadata(claim_path(&bench, &object)).unwrap().modified().unwrap();
    age(&copy, time);
    assert_eq!(relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await, to("processed/a.csv"));
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    assert!(is_tidy(&bench));
}

#[tokio::test]
async fn check_leaves_no_folder_and_names_what_is_in_the_way() {
    let bench = DirectoryBench::new();
    assert!(bench.bucket.check(&prefixes()).await.iter().all(|finding| finding.severity == Severity::Fine));
    assert_eq!(fs::read_dir(bench.root.path()).unwrap().count(), 0);
    fs::write(bench.path("failed"), "in the way").unwrap();
    let findings = bench.bucket.check(&prefixes()).await;
    let fault = findings.iter().find(|finding| finding.severity == Severity::Fault).unwrap();
    assert!(fault.message.contains("failed"), "{fault:?}");
    fs::remove_file(bench.path("failed")).unwrap();
    fs::remove_dir(bench.root.path()).unwrap();
    let findings = bench.bucket.check(&prefixes()).await;
    assert_eq!(findings[0].severity, Severity::Fault);
    assert!(!bench.root.path().exists());
}

fn age(path: &Path, time: SystemTime) {
    File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

fn modified(path: &Path) -> Timestamp {
    Timestamp::try_from(fs::metadata(path).unwrap().modified().unwrap()).unwrap()
}

/// Whether nothing is claimed any more, and no folder is left of what was.
fn is_tidy(bench: &DirectoryBench) -> bool {
    fs::read_dir(bench.path(".longshore/claim")).is_ok_and(|mut left| left.next().is_none())
}
