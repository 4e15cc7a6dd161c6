//! What a store does on a bad day.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use longshore::bucket::{Bucket, Kind, Moved, ObjectKey, S3, S3Config};
use tokio::sync::Notify;

use super::bench::{Bench, S3Bench, list, listed, listed_keys, read, relocate, to, try_to_relocate};
use crate::s3::{ACCESS_KEY, BUCKET, Fault, On, SECRET_KEY, Settings};

/// Larger than what fits into the buffers between a store and us.
fn large() -> Vec<u8> {
    (0..8_000_000_u32).map(|n| (n % 251) as u8).collect()
}

/// Faults that pass, each in a way of its own.
fn passing() -> [Fault; 4] {
    [
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "SlowDown"),
        Fault::Answer(409, "OperationAborted"),
        Fault::Reset,
    ]
}

#[tokio::test]
async fn faults_that_pass_are_not_seen() {
    for fault in passing() {
        let bench = S3Bench::new().await;
        for operation in ["ListObjectsV2", "HeadObject", "GetObject", "CopyObject", "DeleteObject", "PutObject"] {
            let aborted = matches!(fault, Fault::Answer(409, _));
            if !aborted {
                bench.store.inject(On::every(operation).times(2), fault.clone());
            }
        }
        bench.store.put("pending/a.csv", "1");
        let object = listed(&bench.bucket, "pending/a.csv").await;
        assert_eq!(read(&bench.bucket, &object).await.unwrap(), b"1");
        assert_eq!(relocate(&bench.bucket, &object, "processed/a.csv", "processed/b.csv").await, to("processed/a.csv"));
        assert_eq!(bench.store.keys(), ["processed/a.csv"]);
    }
}

#[tokio::test]
async fn faults_that_do_not_pass_are_given_up_as_unreachable() {
    for fault in passing() {
        let bench = S3Bench::new().await;
        bench.store.put("pending/a.csv", "1");
        let object = listed(&bench.bucket, "pending/a.csv").await;
        for operation in ["ListObjectsV2", "GetObject", "CopyObject", "PutObject"] {
            bench.store.inject(On::every(operation), fault.clone());
        }
        assert_eq!(list(&bench.bucket, "pending/").await.unwrap_err().kind(), Kind::Unreachable);
        assert_eq!(read(&bench.bucket, &object).await.unwrap_err().kind(), Kind::Unreachable);
        let moved = try_to_relocate(&bench.bucket, &object, "processed/a.csv", "processed/b.csv").await;
        assert_eq!(moved.unwrap_err().kind(), Kind::Unreachable);
        let put = bench.bucket.put(&ObjectKey::new("rejected/a.csv"), "1".into()).await;
        assert_eq!(put.unwrap_err().kind(), Kind::Unreachable);
        assert!(bench.store.count("GetObject") <= 5, "{}", bench.store.count("GetObject"));
        assert_eq!(bench.store.keys(), ["pending/a.csv"]);
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = S3Config { bucket: BUCKET.to_owned(), endpoint: Some(endpoint), ..S3Config::default() };
    let bucket = S3::connect_with_keys(config, ACCESS_KEY, SECRET_KEY).await.unwrap();
    let error = list(&bucket, "pending/").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("refused"), "{error:?}");
}

#[tokio::test]
async fn a_body_that_breaks_is_resumed_at_its_offset() {
    let bench = S3Bench::new().await;
    let body = large();
    bench.store.put("pending/a.csv", body.clone());
    // The first cut lies behind what a store has in its buffers when it is cut.
    for (times, cut) in [3_000_000, 100_000, 1, 0].into_iter().enumerate() {
        bench.store.inject(On::first("GetObject").after(times), Fault::Truncate(cut));
    }
    let object = listed(&bench.bucket, "pending/a.csv").await;
    assert!(read(&bench.bucket, &object).await.unwrap() == body);
    let ranges = bench.store.ranges();
    assert_eq!(ranges.len(), 5);
    assert_eq!(ranges[0], None);
    let offset =
        |range: &Option<String>| range.as_deref().map(|range| range.starts_with("bytes=") && range != "bytes=0-");
    assert!(ranges[1..].iter().all(|range| offset(range) == Some(true)), "{ranges:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_last_byte_has_done_its_work() {
    for body in ["", "1,2\n"] {
        let bench = S3Bench::new().await;
        bench.store.put("pending/a.csv", body);
        bench.store.inject(On::every("GetObject"), Fault::Truncate(body.len()));
        let object = listed(&bench.bucket, "pending/a.csv").await;
        assert_eq!(read(&bench.bucket, &object).await.unwrap(), body.as_bytes());
    }
}

#[tokio::test]
async fn a_store_that_ignores_ranges_is_read_all_the_same() {
    let bench = S3Bench::with(Settings { ignores_ranges: true, ..Settings::default() }).await;
    let body = large();
    bench.store.put("pending/a.csv", body.clone());
    bench.store.inject(On::first("GetObject"), Fault::Truncate(1_234_567));
    let object = listed(&bench.bucket, "pending/a.csv").await;
    assert!(read(&bench.bucket, &object).await.unwrap() == body);
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let bench = S3Bench::new().await;
    bench.store.put("pending/a.csv", large());
    bench.store.inject(On::every("GetObject"), Fault::Truncate(0));
    let object = listed(&bench.bucket, "pending/a.csv").await;
    let error = read(&bench.bucket, &object).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!((2..20).contains(&bench.store.count("GetObject")));
}

#[tokio::test]
async fn a_body_that_stalls_is_resumed() {
    let bench = S3Bench::new().await;
    let bucket = bench.bucket.clone().with_stall_limit(Duration::from_millis(300));
    let body = large();
    bench.store.put("pending/a.csv", body.clone());
    bench.store.inject(On::first("GetObject"), Fault::Stall(1_000_000));
    let object = listed(&bucket, "pending/a.csv").await;
    assert!(read(&bucket, &object).await.unwrap() == body);
    assert!(bench.store.count("GetObject") >= 2);
}

#[tokio::test]
async fn a_resume_never_mixes_two_objects() {
    for removed in [false, true] {
        let bench = S3Bench::new().await;
        bench.store.put("pending/a.csv", large());
        bench.store.inject(On::first("GetObject"), Fault::Truncate(1_000_000));
        let handle = bench.store.handle();
        let change = move || match removed {
            true => handle.remove("pending/a.csv"),
            false => handle.put("pending/a.csv", vec![b'y'; large().len()]),
        };
        bench.store.inject(On::first("GetObject").after(1), Fault::before(change));
        let object = listed(&bench.bucket, "pending/a.csv").await;
        let error = read(&bench.bucket, &object).await.unwrap_err();
        assert_eq!(error.kind(), if removed { Kind::Gone } else { Kind::Changed });
    }
}

#[tokio::test]
async fn another_etag_than_the_listed_one_is_a_change() {
    for operation in ["ListObjectsV2", "GetObject"] {
        let bench = S3Bench::new().await;
        bench.store.put("pending/a.csv", "1");
        bench.store.inject(On::every(operation), Fault::WrongETag);
        let object = listed(&bench.bucket, "pending/a.csv").await;
        assert_eq!(read(&bench.bucket, &object).await.unwrap_err().kind(), Kind::Changed);
    }
}

#[tokio::test]
async fn a_slow_store_is_waited_for_and_a_dropped_body_is_let_go() {
    let bench = S3Bench::new().await;
    bench.store.put("pending/a.csv", large());
    let object = listed(&bench.bucket, "pending/a.csv").await;
    let gate = Arc::new(Notify::new());
    bench.store.inject(On::first("GetObject"), Fault::Hold(Arc::clone(&gate)));
    let (bytes, ()) = tokio::join!(read(&bench.bucket, &object), async {
        bench.store.seen("GetObject", 1).await;
        gate.notify_one();
    });
    assert!(bytes.unwrap() == large());
    let mut body = bench.bucket.read(&object).await.unwrap();
    body.next().await.unwrap().unwrap();
    drop(body);
    assert_eq!(listed_keys(&bench.bucket, "").await, ["pending/a.csv"]);
}

/// Every answer of a move is lost once, one after the other: the repeat ends as if none had been.
#[tokio::test]
async fn a_lost_answer_changes_nothing() {
    for versioned in [false, true] {
        let bench = S3Bench::with(Settings { versioned, ..Settings::default() }).await;
        let bucket = bench.bucket.clone().with_parts_over(100, 40);
        for (name, size) in [("small", 10), ("large", 110)] {
            for operation in [
                "HeadObject",
                "CopyObject",
                "CreateMultipartUpload",
                "UploadPartCopy",
                "CompleteMultipartUpload",
                "DeleteObject",
            ] {
                let (key, place) = (format!("pending/{name}-{operation}"), format!("processed/{name}-{operation}"));
                bench.store.put(&key, vec![b'x'; size]);
                let object = listed(&bucket, &key).await;
                read(&bucket, &object).await.unwrap();
                bench.store.inject(On::first(operation), Fault::LoseAnswer);
                assert_eq!(relocate(&bucket, &object, &place, "processed/otherwise").await, to(&place), "{key}");
                bench.store.heal();
                assert_eq!(bench.body(&place).unwrap().len(), size);
                assert!(bench.body(&key).is_none(), "{key}");
            }
        }
        assert!(bench.body("processed/otherwise").is_none());
    }
}

/// A process that dies after any request of a move leaves what its successor can finish.
#[tokio::test]
async fn a_move_that_broke_off_anywhere_is_finished_by_repeating_it() {
    for settings in [
        Settings::default(),
        Settings { versioned: true, ..Settings::default() },
        Settings { ignores_conditional_deletes: true, refuses_conditional_copies: true, ..Settings::default() },
    ] {
        for size in [10, 110] {
            for requests in 0..12 {
                let bench = S3Bench::with(settings.clone()).await;
                let bucket = bench.bucket.clone().with_parts_over(100, 40);
                bench.store.put("pending/a.csv", vec![b'x'; size]);
                let object = listed(&bucket, "pending/a.csv").await;
                read(&bucket, &object).await.unwrap();
                // From the nth request on, nothing is carried out any more.
                bench.store.inject_all_after(requests, Fault::Answer(403, "AccessDenied"));
                let broken = try_to_relocate(&bucket, &object, "processed/a.csv", "processed/a-1.csv").await;
                bench.store.heal();
                assert!(broken.is_err() || requests > 3, "{broken:?}");
                let successor = bench.restarted().await.with_parts_over(100, 40);
                let moved = relocate(&successor, &object, "processed/a.csv", "processed/a-1.csv").await;
                assert_eq!(moved, to("processed/a.csv"), "after {requests} requests");
                // A probe may stay behind; no listing shows it.
                assert_eq!(listed_keys(&successor, "").await, ["processed/a.csv"], "after {requests} requests");
                assert_eq!(bench.body("processed/a.csv").unwrap().len(), size);
            }
        }
    }
}

#[tokio::test]
async fn an_object_that_is_replaced_between_copy_and_removal_stays() {
    for versioned in [false, true] {
        let bench = S3Bench::with(Settings { versioned, ..Settings::default() }).await;
        bench.store.put("pending/a.csv", "1");
        let object = listed(&bench.bucket, "pending/a.csv").await;
        let handle = bench.store.handle();
        let replace = Fault::before(move || handle.put("pending/a.csv", "2"));
        bench.store.inject(On::first("DeleteObject").key("pending/a.csv"), replace);
        let moved = relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await;
        assert_eq!(moved, to("processed/a.csv"));
        assert_eq!(bench.body("processed/a.csv").unwrap(), b"1");
        assert_eq!(bench.body("pending/a.csv").unwrap(), b"2");
    }
}

#[tokio::test]
async fn an_object_that_is_replaced_before_the_copy_is_not_copied() {
    for gone in [false, true] {
        let bench = S3Bench::new().await;
        bench.store.put("pending/a.csv", "1");
        let object = listed(&bench.bucket, "pending/a.csv").await;
        let handle = bench.store.handle();
        let change = move || match gone {
            true => handle.remove("pending/a.csv"),
            false => handle.put("pending/a.csv", "2"),
        };
        bench.store.inject(On::first("CopyObject"), Fault::before(change));
        let moved = relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await;
        assert_eq!(moved, if gone { Moved::Gone } else { Moved::Changed });
        assert!(bench.body("processed/a.csv").is_none());
    }
}

#[tokio::test]
async fn a_place_that_is_taken_just_before_the_copy_is_left_alone() {
    for parts_over in [1_000, 3] {
        let bench = S3Bench::new().await;
        let bucket = bench.bucket.clone().with_parts_over(parts_over, 2);
        bench.store.put("pending/a.csv", "ours");
        let object = listed(&bucket, "pending/a.csv").await;
        for operation in ["CopyObject", "CompleteMultipartUpload"] {
            let handle = bench.store.handle();
            let take = Fault::before(move || handle.put("processed/a.csv", "them"));
            bench.store.inject(On::first(operation), take);
        }
        let moved = relocate(&bucket, &object, "processed/a.csv", "processed/a-1.csv").await;
        assert_eq!(moved, to("processed/a-1.csv"));
        assert_eq!(bench.body("processed/a.csv").unwrap(), b"them");
        assert_eq!(bench.body("processed/a-1.csv").unwrap(), b"ours");
        assert_eq!(bench.store.open_uploads(), 0);
    }
}

#[tokio::test]
async fn a_copy_that_is_not_what_was_copied_never_costs_the_original() {
    let bench = S3Bench::new().await;
    bench.store.put("pending/a.csv", "1");
    let object = listed(&bench.bucket, "pending/a.csv").await;
    let handle = bench.store.handle();
    let spoil = Fault::before(move || handle.spoil("processed/a.csv"));
    bench.store.inject(On::first("HeadObject").key("processed/a.csv").after(1), spoil);
    let moved = try_to_relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await;
    assert_eq!(moved.unwrap_err().kind(), Kind::Unreachable);
    assert_eq!(bench.store.keys(), ["pending/a.csv"]);
    assert_eq!(relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await, to("processed/a.csv"));
    assert_eq!(bench.body("processed/a.csv").unwrap(), b"1");
}

#[tokio::test]
async fn an_object_that_somebody_puts_over_the_copy_stays() {
    let bench = S3Bench::new().await;
    bench.store.put("pending/a.csv", "ours");
    let object = listed(&bench.bucket, "pending/a.csv").await;
    let handle = bench.store.handle();
    let overwrite = Fault::before(move || handle.put("processed/a.csv", "theirs"));
    bench.store.inject(On::first("HeadObject").key("processed/a.csv").after(1), overwrite);
    let moved = try_to_relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await;
    assert_eq!(moved.unwrap_err().kind(), Kind::Unreachable);
    assert_eq!(relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await, to("processed/a-1.csv"));
    assert_eq!(bench.body("processed/a.csv").unwrap(), b"theirs");
    assert_eq!(bench.body("processed/a-1.csv").unwrap(), b"ours");
}

#[tokio::test]
async fn a_listing_that_fails_half_way_ends_with_the_error() {
    let bench = S3Bench::with(Settings { page: 2, ..Settings::default() }).await;
    for key in ["a", "b", "c", "d", "e"] {
        bench.store.put(key, "1");
    }
    bench.store.inject(On::every("ListObjectsV2").after(2), Fault::Answer(403, "AccessDenied"));
    let mut pages = bench.bucket.list("");
    assert_eq!(pages.next().await.unwrap().unwrap().objects.len(), 2);
    assert_eq!(pages.next().await.unwrap().unwrap().objects.len(), 2);
    assert_eq!(pages.next().await.unwrap().unwrap_err().kind(), Kind::AccessDenied);
    assert!(pages.try_next().await.unwrap().is_none());
}
