//! What holds for every bucket. A bug found in one kind becomes a case for all.

use longshore::bucket::{Kind, Moved, ObjectKey, Prefixes};
use longshore_warehouse::Severity;

use super::bench::{Bench, DirectoryBench, S3Bench, list, listed, listed_keys, read, relocate, to, try_to_relocate};

/// Runs every case against every kind of bucket.
macro_rules! every_bucket {
    ($($case:ident)*) => {
        mod directory {
            $(#[tokio::test] async fn $case() { super::$case(&super::DirectoryBench::new()).await; })*
        }
        mod s3 {
            $(#[tokio::test] async fn $case() { super::$case(&super::S3Bench::new().await).await; })*
        }
        mod versioned_s3 {
            $(#[tokio::test] async fn $case() { super::$case(&super::S3Bench::versioned().await).await; })*
        }
        mod s3_without_conditions {
            $(#[tokio::test] async fn $case() { super::$case(&super::S3Bench::plain().await).await; })*
        }
    };
}

every_bucket! {
    reads_what_was_listed
    an_empty_object_is_read_as_empty
    a_large_object_arrives_whole
    lists_only_what_is_under_the_prefix
    an_object_that_is_gone_is_said_to_be
    an_object_that_was_replaced_is_said_to_be
    head_sees_what_the_listing_sees
    moves_an_object_once
    a_move_may_be_repeated
    a_taken_place_is_left_alone
    a_taken_place_is_left_alone_when_the_move_is_repeated
    two_taken_places_are_an_error_and_the_object_stays
    an_object_that_was_replaced_is_not_moved
    an_object_that_somebody_took_is_gone
    a_file_dropped_again_after_the_move_stays
    many_moves_at_once_move_it_once
    what_is_put_can_be_read
    what_is_put_replaces
    what_is_put_from_a_file_can_be_read
    deleting_twice_is_fine
    check_finds_nothing_wrong_and_leaves_nothing
    odd_keys_are_exact
    identity_is_the_same_in_every_listing
}

async fn reads_what_was_listed(bench: &dyn Bench) {
    bench.write("pending/a.csv", b"1,2\n");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    assert_eq!(object.size, 4);
    assert_eq!(read(bench.bucket(), &object).await.unwrap(), b"1,2\n");
}

async fn an_empty_object_is_read_as_empty(bench: &dyn Bench) {
    bench.write("pending/a.csv", b"");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    assert_eq!(read(bench.bucket(), &object).await.unwrap(), b"");
    assert_eq!(relocate(bench.bucket(), &object, "processed/a.csv", "processed/a-1.csv").await, to("processed/a.csv"));
}

async fn a_large_object_arrives_whole(bench: &dyn Bench) {
    let body: Vec<u8> = (0..5_000_000_u32).flat_map(|n| (n % 251).to_be_bytes()).collect();
    bench.write("pending/large.csv", &body);
    let object = listed(bench.bucket(), "pending/large.csv").await;
    assert!(read(bench.bucket(), &object).await.unwrap() == body);
}

async fn lists_only_what_is_under_the_prefix(bench: &dyn Bench) {
    for key in ["pending/a.csv", "pending/b/c.csv", "pending-not/d.csv", "processed/e.csv", "f.csv"] {
        bench.write(key, b"x");
    }
    assert_eq!(listed_keys(bench.bucket(), "pending/").await, ["pending/a.csv", "pending/b/c.csv"]);
    assert_eq!(listed_keys(bench.bucket(), "pending/b").await, ["pending/b/c.csv"]);
    assert_eq!(listed_keys(bench.bucket(), "f").await, ["f.csv"]);
    assert_eq!(listed_keys(bench.bucket(), "").await.len(), 5);
    assert_eq!(listed_keys(bench.bucket(), "nothing/here/").await, [""; 0]);
}

async fn an_object_that_is_gone_is_said_to_be(bench: &dyn Bench) {
    bench.write("pending/a.csv", b"1");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    bench.remove("pending/a.csv");
    assert_eq!(read(bench.bucket(), &object).await.unwrap_err().kind(), Kind::Gone);
    assert_eq!(bench.bucket().head(&object.key).await.unwrap(), None);
}

async fn an_object_that_was_replaced_is_said_to_be(bench: &dyn Bench) {
    bench.write("pending/a.csv", b"1");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    bench.write("pending/a.csv", b"2");
    assert_eq!(read(bench.bucket(), &object).await.unwrap_err().kind(), Kind::Changed);
}

async fn head_sees_what_the_listing_sees(bench: &dyn Bench) {
    bench.write("pending/a.csv", b"1");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    assert_eq!(bench.bucket().head(&object.key).await.unwrap(), Some(object));
    assert_eq!(bench.bucket().head(&ObjectKey::new("pending/b.csv")).await.unwrap(), None);
}

async fn moves_an_object_once(bench: &dyn Bench) {
    bench.write("pending/a.csv", b"1");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    read(bench.bucket(), &object).await.unwrap();
    let moved = relocate(bench.bucket(), &object, "processed/2025/11/22/a.csv", "processed/2025/11/22/a-1.csv").await;
    assert_eq!(moved, to("processed/2025/11/22/a.csv"));
    assert_eq!(bench.body("processed/2025/11/22/a.csv").unwrap(), b"1");
    assert!(bench.body("pending/a.csv").is_none());
    assert_eq!(bench.bucket().claims().await.unwrap(), []);
}

async fn a_move_may_be_repeated(bench: &dyn Bench) {
    bench.write("pending/a.csv", b"1");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    for _ in 0..3 {
        let moved = relocate(bench.bucket(), &object, "processed/a.csv", "processed/a-1.csv").await;
        assert_eq!(moved, to("processed/a.csv"));
    }
    assert_eq!(ours(bench), ["processed/a.csv"]);
}

async fn a_taken_place_is_left_alone(bench: &dyn Bench) {
    bench.write("processed/a.csv", b"theirs");
    bench.write("pending/a.csv", b"ours");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    let moved = relocate(bench.bucket(), &object, "processed/a.csv", "processed/a-1.csv").await;
    assert_eq!(moved, to("processed/a-1.csv"));
    assert_eq!(bench.body("processed/a.csv").unwrap(), b"theirs");
    assert_eq!(bench.body("processed/a-1.csv").unwrap(), b"ours");
    assert_eq!(ours(bench), ["processed/a-1.csv", "processed/a.csv"]);
}

async fn a_taken_place_is_left_alone_when_the_move_is_repeated(bench: &dyn Bench) {
    // As large as ours, so that only who looks closely sees the difference.
    bench.write("processed/a.csv", b"them");
    bench.write("pending/a.csv", b"ours");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    for _ in 0..2 {
        let moved = relocate(bench.bucket(), &object, "processed/a.csv", "processed/a-1.csv").await;
        assert_eq!(moved, to("processed/a-1.csv"));
    }
    assert_eq!(bench.body("processed/a.csv").unwrap(), b"them");
}

async fn two_taken_places_are_an_error_and_the_object_stays(bench: &dyn Bench) {
    for key in ["processed/a.csv", "processed/a-1.csv"] {
        bench.write(key, b"theirs");
    }
    bench.write("pending/a.csv", b"ours");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    let error = try_to_relocate(bench.bucket(), &object, "processed/a.csv", "processed/a-1.csv").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(bench.body("pending/a.csv").unwrap(), b"ours");
    assert_eq!(listed(bench.bucket(), "pending/a.csv").await, object);
}

async fn an_object_that_was_replaced_is_not_moved(bench: &dyn Bench) {
    bench.write("pending/a.csv", b"1");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    bench.write("pending/a.csv", b"2");
    let moved = relocate(bench.bucket(), &object, "processed/a.csv", "processed/a-1.csv").await;
    assert_eq!(moved, Moved::Changed);
    assert_eq!(bench.body("pending/a.csv").unwrap(), b"2");
    assert_eq!(ours(bench), ["pending/a.csv"]);
    assert_eq!(bench.bucket().claims().await.unwrap(), []);
}

async fn an_object_that_somebody_took_is_gone(bench: &dyn Bench) {
    bench.write("pending/a.csv", b"1");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    bench.remove("pending/a.csv");
    let moved = relocate(bench.bucket(), &object, "processed/a.csv", "processed/a-1.csv").await;
    assert_eq!(moved, Moved::Gone);
}

async fn a_file_dropped_again_after_the_move_stays(bench: &dyn Bench) {
    bench.write("pending/a.csv", b"1");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    relocate(bench.bucket(), &object, "processed/a.csv", "processed/a-1.csv").await;
    bench.write("pending/a.csv", b"2");
    let moved = relocate(bench.bucket(), &object, "processed/a.csv", "processed/a-1.csv").await;
    assert_eq!(moved, to("processed/a.csv"));
    assert_eq!(bench.body("pending/a.csv").unwrap(), b"2");
    assert_eq!(bench.body("processed/a.csv").unwrap(), b"1");
}

async fn many_moves_at_once_move_it_once(bench: &dyn Bench) {
    bench.write("pending/a.csv", b"1");
    let object = listed(bench.bucket(), "pending/a.csv").await;
    let moves = (0..8).map(|_| try_to_relocate(bench.bucket(), &object, "processed/a.csv", "processed/a-1.csv"));
    for moved in futures::future::join_all(moves).await {
        // Who comes too late may see it between two places, or meet a copy under way.
        assert!(matches!(moved, Ok(Moved::To(_) | Moved::Gone | Moved::Changed)), "{moved:?}");
    }
    assert_eq!(relocate(bench.bucket(), &object, "processed/a.csv", "processed/a-1.csv").await, to("processed/a.csv"));
    assert_eq!(ours(bench), ["processed/a.csv"]);
}

async fn what_is_put_can_be_read(bench: &dyn Bench) {
    let key = ObjectKey::new("rejected/2025/11/22/a.report.json");
    bench.bucket().put(&key, "{}".into()).await.unwrap();
    let object = listed(bench.bucket(), key.as_str()).await;
    assert_eq!(read(bench.bucket(), &object).await.unwrap(), b"{}");
}

async fn what_is_put_replaces(bench: &dyn Bench) {
    let key = ObjectKey::new("rejected/a.csv");
    bench.bucket().put(&key, "first".into()).await.unwrap();
    bench.bucket().put(&key, "second".into()).await.unwrap();
    assert_eq!(bench.body("rejected/a.csv").unwrap(), b"second");
    assert_eq!(ours(bench), ["rejected/a.csv"]);
}

async fn what_is_put_from_a_file_can_be_read(bench: &dyn Bench) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(file.path(), &body).unwrap();
    bench.bucket().put_file(&ObjectKey::new("staging/part.csv"), file.path()).await.unwrap();
    assert!(bench.body("staging/part.csv").unwrap() == body);
    let missing = bench.bucket().put_file(&ObjectKey::new("staging/other.csv"), "/nowhere/at/all".as_ref()).await;
    assert!(missing.is_err());
    assert!(bench.body("staging/other.csv").is_none());
}

async fn deleting_twice_is_fine(bench: &dyn Bench) {
    let key = ObjectKey::new("rejected/a.csv");
    bench.bucket().put(&key, "1".into()).await.unwrap();
    bench.bucket().delete(&key).await.unwrap();
    bench.bucket().delete(&key).await.unwrap();
    bench.bucket().delete(&ObjectKey::new("no/such/folder.csv")).await.unwrap();
    assert!(bench.body("rejected/a.csv").is_none());
}

async fn check_finds_nothing_wrong_and_leaves_nothing(bench: &dyn Bench) {
    let before = bench.keys();
    let findings = bench.bucket().check(&prefixes()).await;
    assert!(findings.len() > 3, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.severity != Severity::Fault), "{findings:#?}");
    assert_eq!(bench.keys(), before);
}

/// Keys that some store, client or file system would bend; these can live on a disk too.
async fn odd_keys_are_exact(bench: &dyn Bench) {
    let names = [
        "with space.csv",
        "plus+and%25percent.csv",
        "%2e%2e%2fx.csv",
        "a&b=c?d#e;f.csv",
        "ünïcödé-☃-🦀.csv",
        "e\u{301} is not \u{e9}.csv",
        "'quotes\"and\\backslash'.csv",
        "tab\tand\nnewline\rand\u{1}control.csv",
        "<xml>&amp;]]>.csv",
        "~tilde*star|pipe^caret`tick.csv",
        " leading and trailing ",
    ];
    let mut keys: Vec<_> = names.iter().map(|name| format!("pending/{name}")).collect();
    for key in &keys {
        bench.write(key, key.as_bytes());
    }
    keys.sort();
    assert_eq!(listed_keys(bench.bucket(), "pending/").await, keys);
    for object in list(bench.bucket(), "pending/").await.unwrap().objects {
        assert_eq!(read(bench.bucket(), &object).await.unwrap(), object.key.as_str().as_bytes());
        let place = object.key.as_str().replacen("pending/", "processed/", 1);
        assert_eq!(relocate(bench.bucket(), &object, &place, "processed/otherwise").await, to(&place));
        assert_eq!(bench.body(&place).unwrap(), object.key.as_str().as_bytes());
        bench.bucket().delete(&ObjectKey::new(place)).await.unwrap();
    }
    assert_eq!(ours(bench), [""; 0]);
}

async fn identity_is_the_same_in_every_listing(bench: &dyn Bench) {
    bench.write("pending/a.csv", b"1");
    bench.write("pending/b.csv", b"1");
    let (first, second) =
        (listed(bench.bucket(), "pending/a.csv").await, listed(bench.bucket(), "pending/a.csv").await);
    let other = listed(bench.bucket(), "pending/b.csv").await;
    let id = bench.bucket().id();
    assert_eq!(first.identity(id), second.identity(id));
    assert_ne!(first.identity(id), other.identity(id));
    assert_ne!(first.identity(id), first.identity("s3://elsewhere"));
}

/// Every key but empty folders' and what a store needs for itself.
fn ours(bench: &dyn Bench) -> Vec<String> {
    bench.keys()
}

/// The prefixes that the product has by default.
pub(crate) fn prefixes() -> Prefixes {
    Prefixes {
        pending: "pending/".to_owned(),
        processed: "processed/".to_owned(),
        failed: "failed/".to_owned(),
        rejected: "rejected/".to_owned(),
    }
}
