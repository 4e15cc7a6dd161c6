//! What only S3 does.

use std::process::Command;
use std::time::{Duration, SystemTime};

use futures::TryStreamExt;
use longshore::bucket::{
    Bucket, Claim, Kind, META_IDENTITY, META_KEY, META_MODIFIED_AT, Moved, ObjectKey, Page, S3, S3Config,
};
use longshore_warehouse::Severity;

use super::bench::{Bench, S3Bench, config, listed, listed_keys, read, relocate, to, try_to_relocate};
use super::conformance::prefixes;
use crate::s3::{ACCESS_KEY, Fault, MemoryS3, On, SECRET_KEY, Settings};

/// Keys that cannot live on a disk, or that a client may bend on their way.
fn keys_of_s3_alone() -> Vec<String> {
    let keys = [
        "a//b.csv",
        "//a.csv",
        "/leading.csv",
        "./x.csv",
        "../x.csv",
        "a/./b/../c.csv",
        "..",
        ".",
        "a/.",
        "a/..",
        "a/../",
        "%2F..%2F",
        "a?b=c&d",
        "a#b",
        "a+b c%20d",
        ".hidden",
        "x.tmp",
        "\u{1}\u{7f}",
        "line\r\nbreak",
        "\u{fffd}",
        "*",
        "q?versionId=null",
    ];
    let mut keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    keys.push("k".repeat(1_024));
    keys.push("ü".repeat(512));
    keys.push("%".repeat(1_024));
    keys
}

#[tokio::test]
async fn every_key_is_exact_in_every_request() {
    for bench in [S3Bench::new().await, S3Bench::versioned().await, S3Bench::plain().await] {
        let mut keys = keys_of_s3_alone();
        for key in &keys {
            bench.store.put(key, format!("<{key}>"));
        }
        keys.sort();
        assert_eq!(bench.store.keys(), keys);
        assert_eq!(listed_keys(&bench.bucket, "").await, keys);
        for key in &keys {
            let object = listed(&bench.bucket, key).await;
            assert_eq!(bench.bucket.head(&object.key).await.unwrap(), Some(object.clone()), "{key:?}");
            assert_eq!(read(&bench.bucket, &object).await.unwrap(), format!("<{key}>").as_bytes(), "{key:?}");
            assert_eq!(
                relocate(&bench.bucket, &object, "processed/x", "processed/y").await,
                to("processed/x"),
                "{key:?}"
            );
            assert_eq!(bench.body("processed/x").unwrap(), format!("<{key}>").as_bytes());
            // And back, so that the key is a destination too.
            let object = listed(&bench.bucket, "processed/x").await;
            assert_eq!(relocate(&bench.bucket, &object, key, "processed/y").await, to(key), "{key:?}");
            assert_eq!(bench.body(key).unwrap(), format!("<{key}>").as_bytes());
        }
        assert_eq!(bench.store.keys(), keys);
        for key in &keys {
            bench.bucket.put(&ObjectKey::new(key.clone()), "ours".into()).await.unwrap();
            assert_eq!(bench.body(key).unwrap(), b"ours");
            bench.bucket.delete(&ObjectKey::new(key.clone())).await.unwrap();
        }
        assert_eq!(bench.store.keys(), [""; 0]);
    }
}

#[tokio::test]
async fn its_id_names_the_store_unless_it_is_aws() {
    let id = async |endpoint: Option<&str>, id: Option<&str>| {
        let config = S3Config {
            bucket: "landing".to_owned(),
            region: Some("eu-central-1".to_owned()),
            endpoint: endpoint.map(str::to_owned),
            id: id.map(str::to_owned),
            ..S3Config::default()
        };
        S3::connect_with_keys(config, "id", "secret").await.unwrap().id().to_owned()
    };
    assert_eq!(id(None, None).await, "s3://landing");
    assert_eq!(id(Some("http://minio:9000"), None).await, "s3://minio:9000/landing");
    assert_eq!(id(Some("http://minio:9000"), Some("mine")).await, "mine");
    assert_eq!(id(Some("https://bucket.vpce-1.s3.eu-central-1.vpce.amazonaws.com"), None).await, "s3://landing");
}

#[tokio::test]
async fn many_objects_come_in_pages() {
    let bench = S3Bench::new().await;
    for number in 0..2_500 {
        bench.store.put(&format!("pending/{number:05}.csv"), "1");
    }
    let pages: Vec<Page> = bench.bucket.list("pending/").try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.objects.len()).collect::<Vec<_>>(), [1_000, 1_000, 500]);
    assert_eq!(bench.store.count("ListObjectsV2"), 3);
    let small = S3Bench::with(Settings { page: 7, ..Settings::default() }).await;
    for number in 0..50 {
        small.store.put(&format!("pending/{number} +%.csv"), "1");
    }
    assert_eq!(listed_keys(&small.bucket, "pending/").await, small.store.keys());
}

#[tokio::test]
async fn directory_markers_are_no_objects() {
    let bench = S3Bench::new().await;
    for (key, body) in [("pending/", ""), ("pending/sub/", ""), ("pending/data/", "1"), ("pending/empty.csv", "")] {
        bench.store.put(key, body);
    }
    assert_eq!(listed_keys(&bench.bucket, "pending/").await, ["pending/data/", "pending/empty.csv"]);
}

#[tokio::test]
async fn last_modified_is_cut_to_seconds() {
    let bench = S3Bench::new().await;
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_800_000_987);
    bench.store.put_at("pending/a.csv", "1", time);
    let object = listed(&bench.bucket, "pending/a.csv").await;
    assert_eq!(object.modified_at.as_millisecond(), 1_763_800_000_000);
    assert_eq!(bench.bucket.head(&object.key).await.unwrap(), Some(object));
}

#[tokio::test]
async fn a_move_keeps_headers_and_says_where_it_came_from() {
    let bench = S3Bench::new().await;
    let key = "pending/ü b.csv";
    bench.store.put(key, "1");
    bench.store.describe(key, "text/csv; charset=utf-16", "gzip", &[("sender", "acme")]);
    let object = listed(&bench.bucket, key).await;
    relocate(&bench.bucket, &object, "failed/b.csv", "failed/b-1.csv").await;
    let (content_type, content_encoding, _) = bench.store.headers("failed/b.csv").unwrap();
    assert_eq!(content_type.as_deref(), Some("text/csv; charset=utf-16"));
    assert_eq!(content_encoding.as_deref(), Some("gzip"));
    let metadata = bench.store.metadata("failed/b.csv");
    assert_eq!(metadata["sender"], "acme");
    assert_eq!(metadata["longshore-pipeline"], "orders");
    assert_eq!(metadata[META_IDENTITY], object.identity(bench.bucket.id()).to_string());
    assert_eq!(metadata[META_KEY], "pending/%C3%BC%20b.csv");
    assert_eq!(metadata[META_MODIFIED_AT], object.modified_at.to_string());

    // A second move, as `retry` makes it, keeps the first key and time.
    let failed = listed(&bench.bucket, "failed/b.csv").await;
    relocate(&bench.bucket, &failed, "processed/b.csv", "processed/b-1.csv").await;
    let metadata = bench.store.metadata("processed/b.csv");
    assert_eq!(metadata[META_KEY], "pending/%C3%BC%20b.csv");
    assert_eq!(metadata[META_MODIFIED_AT], object.modified_at.to_string());
    assert_eq!(metadata[META_IDENTITY], failed.identity(bench.bucket.id()).to_string());
}

#[tokio::test]
async fn in_a_versioned_bucket_only_the_version_that_was_read_leaves() {
    let bench = S3Bench::versioned().await;
    bench.store.put("pending/a.csv", "first");
    bench.store.put("pending/a.csv", "second");
    let object = listed(&bench.bucket, "pending/a.csv").await;
    assert_eq!(read(&bench.bucket, &object).await.unwrap(), b"second");
    bench.store.put("pending/a.csv", "third");
    // The rows of the second are in; it is still there to be moved, though a third has its key.
    let moved = relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await;
    assert_eq!(moved, to("processed/a.csv"));
    assert_eq!(bench.body("processed/a.csv").unwrap(), b"second");
    assert_eq!(bench.store.versions("pending/a.csv"), [Some("first".into()), Some("third".into())]);
}

#[tokio::test]
async fn a_restarted_process_removes_the_right_version_too() {
    let bench = S3Bench::versioned().await;
    bench.store.put("pending/a.csv", "first");
    let object = listed(&bench.bucket, "pending/a.csv").await;
    read(&bench.bucket, &object).await.unwrap();
    let restarted = bench.restarted().await;
    assert_eq!(relocate(&restarted, &object, "processed/a.csv", "processed/a-1.csv").await, to("processed/a.csv"));
    assert!(bench.store.versions("pending/a.csv").is_empty());

    bench.store.put("pending/a.csv", "second");
    let object = listed(&bench.bucket, "pending/a.csv").await;
    bench.store.put("pending/a.csv", "third");
    // It cannot know the version that was read, and so touches nothing.
    let moved = relocate(&bench.restarted().await, &object, "processed/b.csv", "processed/b-1.csv").await;
    assert_eq!(moved, Moved::Changed);
    assert_eq!(bench.store.versions("pending/a.csv").len(), 2);
}

#[tokio::test]
async fn the_same_bytes_dropped_again_are_moved_without_being_read() {
    let bench = S3Bench::versioned().await;
    for (seconds, place) in [(60, "processed/1.csv"), (30, "processed/2.csv")] {
        bench.store.put_at("pending/a.csv", "1", SystemTime::now() - Duration::from_secs(seconds));
        let object = listed(&bench.bucket, "pending/a.csv").await;
        if seconds == 60 {
            read(&bench.bucket, &object).await.unwrap();
        }
        assert_eq!(relocate(&bench.bucket, &object, place, "processed/x.csv").await, to(place));
    }
    assert_eq!(bench.store.all_keys(), ["processed/1.csv", "processed/2.csv"]);
}

#[tokio::test]
async fn the_same_bytes_dropped_again_are_another_object() {
    let bench = S3Bench::new().await;
    bench.store.put_at("pending/a.csv", "1", SystemTime::now() - Duration::from_secs(60));
    let object = listed(&bench.bucket, "pending/a.csv").await;
    bench.store.put("pending/a.csv", "1");
    let moved = relocate(&bench.bucket, &object, "processed/a.csv", "processed/a-1.csv").await;
    assert_eq!(moved, Moved::Changed);
    assert_eq!(bench.store.keys(), ["pending/a.csv"]);
}

#[tokio::test]
async fn a_large_object_is_copied_in_parts() {
    for settings in [
        Settings::default(),
        Settings { versioned: true, ..Settings::default() },
        Settings { refuses_conditional_copies: true, ..Settings::default() },
    ] {
        let bench = S3Bench::with(settings).await;
        let bucket = bench.bucket.clone().with_parts_over(1_000, 300);
        let body: Vec<u8> = (0..1_001_u32).map(|n| (n % 251) as u8).collect();
        bench.store.put("pending/large +.csv", body.clone());
        bench.store.describe("pending/large +.csv", "text/csv", "gzip", &[("sender", "acme")]);
        let object = listed(&bucket, "pending/large +.csv").await;
        for _ in 0..2 {
            let moved = relocate(&bucket, &object, "processed/large.csv", "processed/large-1.csv").await;
            assert_eq!(moved, to("processed/large.csv"));
        }
        assert_eq!(bench.store.count("UploadPartCopy"), 4);
        assert_eq!(bench.store.count("CopyObject"), 0);
        assert!(bench.body("processed/large.csv").unwrap() == body);
        let (content_type, content_encoding, etag) = bench.store.headers("processed/large.csv").unwrap();
        assert_eq!(content_type.as_deref(), Some("text/csv"));
        assert_eq!(content_encoding.as_deref(), Some("gzip"));
        assert!(etag.ends_with("-4"));
        assert_eq!(bench.store.metadata("processed/large.csv")["sender"], "acme");
        assert_eq!((bench.store.keys().len(), bench.store.open_uploads()), (1, 0));
    }
}

#[tokio::test]
async fn a_copy_in_parts_that_fails_leaves_nothing() {
    let bench = S3Bench::new().await;
    let bucket = bench.bucket.clone().with_parts_over(10, 3);
    bench.store.put("pending/a.csv", "0123456789ab");
    let object = listed(&bucket, "pending/a.csv").await;
    bench.store.inject(On::every("UploadPartCopy").after(2), Fault::Answer(403, "AccessDenied"));
    let error = try_to_relocate(&bucket, &object, "processed/a.csv", "processed/a-1.csv").await.unwrap_err();
    assert_eq!(error.kind(), Kind::AccessDenied);
    assert_eq!(bench.store.open_uploads(), 0);
    assert_eq!(bench.store.keys(), ["pending/a.csv"]);
    bench.store.heal();

    // Replaced after the first part.
    let handle = bench.store.handle();
    let replace = Fault::before(move || handle.put("pending/a.csv", "ba9876543210"));
    bench.store.inject(On::first("UploadPartCopy").after(1), replace);
    let moved = relocate(&bucket, &object, "processed/a.csv", "processed/a-1.csv").await;
    assert_eq!(moved, Moved::Changed);
    assert_eq!(bench.store.open_uploads(), 0);
    assert_eq!(bench.store.keys(), ["pending/a.csv"]);
}

#[tokio::test]
async fn a_large_file_is_put_in_parts() {
    let bench = S3Bench::new().await;
    let bucket = bench.bucket.clone().with_parts_over(1_000, 300);
    let file = tempfile::NamedTempFile::new().unwrap();
    let body: Vec<u8> = (0..1_001_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(file.path(), &body).unwrap();
    bucket.put_file(&ObjectKey::new("staging/a.csv"), file.path()).await.unwrap();
    assert!(bench.body("staging/a.csv").unwrap() == body);
    assert_eq!(bench.store.count("UploadPart"), 4);
    assert_eq!(bench.store.headers("staging/a.csv").unwrap().0.as_deref(), Some("text/csv"));
    bench.store.inject(On::every("UploadPart"), Fault::Answer(403, "AccessDenied"));
    let error = bucket.put_file(&ObjectKey::new("staging/b.csv"), file.path()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AccessDenied);
    assert_eq!(bench.store.open_uploads(), 0);
}

#[tokio::test]
async fn a_store_is_tried_for_conditions_once_and_without_an_object_of_our_own() {
    for (ignores_conditional_deletes, deletes) in [(false, 4), (true, 3)] {
        let bench = S3Bench::with(Settings { ignores_conditional_deletes, ..Settings::default() }).await;
        for key in ["pending/a.csv", "pending/b.csv", "pending/c.csv"] {
            bench.store.put(key, "1");
            let object = listed(&bench.bucket, key).await;
            relocate(&bench.bucket, &object, &key.replace("pending", "processed"), "processed/x.csv").await;
        }
        assert_eq!((bench.store.count("DeleteObject"), bench.store.count("PutObject")), (deletes, 0));
        assert_eq!(bench.store.keys(), ["processed/a.csv", "processed/b.csv", "processed/c.csv"]);
    }
}

#[tokio::test]
async fn a_bucket_on_s3_has_no_claims() {
    let bench = S3Bench::new().await;
    bench.store.put("pending/a.csv", "1");
    let object = listed(&bench.bucket, "pending/a.csv").await;
    let claim = Claim { identity: object.identity(bench.bucket.id()), key: object.key.clone(), object };
    assert_eq!(bench.bucket.claims().await.unwrap(), []);
    assert_eq!(bench.bucket.unclaim(&claim).await.unwrap(), Moved::Gone);
    assert_eq!(bench.bucket.finish_claim(&claim, &claim.key, &claim.key).await.unwrap(), Moved::Gone);
    assert_eq!(bench.store.keys(), ["pending/a.csv"]);
}

#[tokio::test]
async fn keys_that_are_unknown_or_wrong_are_a_matter_of_login() {
    let store = MemoryS3::start();
    store.put("pending/a.csv", "1");
    for (id, secret, code) in
        [("SOMEBODY", SECRET_KEY, "InvalidAccessKeyId"), (ACCESS_KEY, "wrong-secret", "SignatureDoesNotMatch")]
    {
        let bucket = S3::connect_with_keys(config(&store), id, secret).await.unwrap();
        let error = super::bench::list(&bucket, "pending/").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Login, "{error:?}");
        assert_eq!(error.to_string(), "cannot list `s3://landing`");
        let told = format!("{error:?}");
        assert!(told.contains(code), "{told}");
        assert!(!told.contains(secret) && !told.contains(SECRET_KEY), "{told}");
        let findings = bucket.check(&prefixes()).await;
        let last = findings.last().unwrap();
        assert_eq!(last.severity, Severity::Fault);
        assert!(last.message.contains(code), "{last:?}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_said_to_be() {
    let store = MemoryS3::start();
    let missing = S3Config { bucket: "nobodys".to_owned(), ..config(&store) };
    let bucket = S3::connect_with_keys(missing, ACCESS_KEY, SECRET_KEY).await.unwrap();
    let error = super::bench::list(&bucket, "pending/").await.unwrap_err();
    assert_eq!(error.kind(), Kind::NoBucket);
    assert_eq!(bucket.put(&ObjectKey::new("a"), "1".into()).await.unwrap_err().kind(), Kind::NoBucket);
    let findings = bucket.check(&prefixes()).await;
    assert_eq!(findings.len(), 2);
    assert!(findings[1].message.contains("nobodys"), "{findings:?}");
}

#[tokio::test]
async fn another_region_is_named_in_the_cure() {
    let bench = S3Bench::new().await;
    bench.store.inject(On::every("ListObjectsV2"), Fault::Redirect("eu-west-3"));
    let error = super::bench::list(&bench.bucket, "pending/").await.unwrap_err();
    assert_eq!(error.kind(), Kind::NoBucket);
    assert!(error.hint().unwrap().contains("region = \"eu-west-3\""), "{error:?}");
}

#[tokio::test]
async fn what_is_not_allowed_names_the_permission() {
    for (operation, permission) in [
        ("ListObjectsV2", "s3:ListBucket"),
        ("GetObject", "s3:GetObject"),
        ("PutObject", "s3:PutObject"),
        ("CopyObject", "s3:PutObject"),
        ("DeleteObject", "s3:DeleteObject"),
    ] {
        let bench = S3Bench::new().await;
        bench.store.inject(On::every(operation), Fault::Answer(403, "AccessDenied"));
        let findings = bench.bucket.check(&prefixes()).await;
        let fault = findings.iter().find(|finding| finding.severity == Severity::Fault).expect(operation);
        assert!(fault.cure.as_deref().unwrap().contains(permission), "{fault:?}");
        assert!(fault.message.contains("AccessDenied"), "{fault:?}");
    }
}

#[tokio::test]
async fn check_warns_of_a_store_that_ignores_conditions() {
    let warnings = async |bench: S3Bench| {
        let findings = bench.bucket.check(&prefixes()).await;
        assert!(findings.iter().all(|finding| finding.severity != Severity::Fault), "{findings:?}");
        findings.into_iter().filter(|finding| finding.severity == Severity::Warning).count()
    };
    assert_eq!(warnings(S3Bench::plain().await).await, 1);
    assert_eq!(warnings(S3Bench::new().await).await, 0);
    let settings = Settings { versioned: true, ignores_conditional_deletes: true, ..Settings::default() };
    assert_eq!(warnings(S3Bench::with(settings).await).await, 0);
}

#[tokio::test]
async fn check_leaves_no_versions_either() {
    for ignores_conditional_deletes in [false, true] {
        let settings = Settings { versioned: true, ignores_conditional_deletes, ..Settings::default() };
        let bench = S3Bench::with(settings).await;
        bench.bucket.check(&prefixes()).await;
        let markers: Vec<_> = bench.store.all_keys();
        // A delete under a wrong ETag that is carried out all the same leaves its marker: that is
        // what it was tried for.
        assert_eq!(markers.len(), usize::from(ignores_conditional_deletes), "{markers:?}");
    }
}

/// Not a test: the next one runs it in a process of its own, with an environment.
#[tokio::test]
#[ignore = "run by `credentials_come_from_where_the_aws_tools_look`"]
async fn lists_with_what_the_environment_gives() {
    let profile = std::env::var("TRY_PROFILE").ok();
    let bucket = S3Config { bucket: "landing".to_owned(), profile, ..S3Config::default() };
    let bucket = S3::connect(bucket).await.unwrap();
    let listed = super::bench::list(&bucket, "").await.map(drop).map_err(|error| error.kind());
    println!("listing {listed:?}");
    let findings = bucket.check(&prefixes()).await;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Fine), "{findings:#?}");
    println!("id {} {}", bucket.id(), findings[0].message);
}

#[tokio::test]
async fn credentials_come_from_where_the_aws_tools_look() {
    let store = MemoryS3::start();
    let run = |environment: Vec<(&'static str, String)>| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "bucket::s3::lists_with_what_the_environment_gives"])
            .env_clear()
            .envs(environment)
            .output()
            .unwrap();
        (
            output.status.success(),
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        )
    };
    let id = format!("id {}", store.endpoint().replace("http", "s3") + "/landing");
    let (ok, output) = run(store.environment());
    assert!(ok, "{output}");
    assert!(output.contains(&id) && output.contains("Environment"), "{output}");

    let files = tempfile::tempdir().unwrap();
    let (config, credentials) = (files.path().join("config"), files.path().join("credentials"));
    std::fs::write(&config, format!("[profile landing]\nregion = eu-west-1\nendpoint_url = {}\n", store.endpoint()))
        .unwrap();
    std::fs::write(
        &credentials,
        format!("[landing]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"),
    )
    .unwrap();
    let (ok, output) = run(vec![
        ("AWS_CONFIG_FILE", config.display().to_string()),
        ("AWS_SHARED_CREDENTIALS_FILE", credentials.display().to_string()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("TRY_PROFILE", "landing".to_owned()),
    ]);
    assert!(ok, "{output}");
    assert!(output.contains(&id) && output.contains("Profile"), "{output}");

    let (ok, output) = run(vec![
        ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_ENDPOINT_URL_S3", store.endpoint()),
    ]);
    assert!(!ok);
    assert!(output.contains("listing Err(Login)"), "{output}");
    assert!(output.contains("no credentials for the bucket were found"), "{output}");
}
