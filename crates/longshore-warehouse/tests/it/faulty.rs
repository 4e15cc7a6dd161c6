//! The warehouse that fails on demand does as it is told.

use std::sync::Arc;

use longshore_warehouse::testing::conformance::Bench;
use longshore_warehouse::testing::{DuckDbBench, FaultyWarehouse, Mishap, Step};
use longshore_warehouse::{Begun, EntryKind, Kind, LoadId, LoadSpec, Mode, ObjectId, ObjectSpec, Tally, Warehouse};

fn spec() -> LoadSpec {
    let object = ObjectSpec {
        identity: ObjectId::new([7; 32]),
        generation: 1,
        parent: None,
        bucket: "b".to_owned(),
        key: "k".to_owned(),
        etag: "e".to_owned(),
        size: 0,
        modified_at: jiff::Timestamp::UNIX_EPOCH,
        late: false,
        archive_key: None,
    };
    LoadSpec {
        load_id: LoadId::draw(),
        table: "t".parse().expect("a name"),
        pipeline: "p".to_owned(),
        mode: Mode::Append,
        objects: vec![object],
        columns: vec!["id".to_owned()],
        rules_hash: String::new(),
        seen_latest: None,
        loaded_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

const EMPTY: Tally = Tally { kind: EntryKind::Load, content_hash: None, rows_read: 0, rows_rejected: 0 };

async fn faulty(folder: &tempfile::TempDir) -> FaultyWarehouse {
    let bench = DuckDbBench::new(&folder.path().join("w.duckdb"));
    bench.execute("CREATE TABLE t (id INTEGER)").await;
    FaultyWarehouse::new(bench.warehouse())
}

async fn begun(warehouse: &FaultyWarehouse) -> Box<dyn longshore_warehouse::Load> {
    match warehouse.begin(spec()).await {
        Ok(Begun::Open(load)) => load,
        Ok(Begun::AlreadyIn(_)) => panic!("already in"),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_refused_commit_has_not_happened_and_a_lost_one_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let warehouse = faulty(&folder).await;
    warehouse.script(Step::Commit, Mishap::Refuse(Kind::Unreachable));
    warehouse.script(Step::Commit, Mishap::FailAfterCommit);
    let refused = begun(&warehouse).await.commit(&[EMPTY]).await.expect_err("refused");
    assert_eq!(*refused.kind(), Kind::Unreachable);
    let lost = begun(&warehouse).await.commit(&[EMPTY]).await.expect_err("lost");
    assert_eq!(*lost.kind(), Kind::OutcomeUnknown);
    assert!(matches!(warehouse.begin(spec()).await, Ok(Begun::AlreadyIn(_))));
    assert_eq!(warehouse.calls(Step::Commit), 2);
}

#[tokio::test]
async fn a_held_call_goes_on_when_it_is_released() {
    let folder = tempfile::tempdir().expect("a folder");
    let warehouse = Arc::new(faulty(&folder).await);
    let held = warehouse.hold(Step::Describe);
    let describing = tokio::spawn({
        let warehouse = warehouse.clone();
        async move { warehouse.describe(&"t".parse().expect("a name")).await }
    });
    held.reached().await;
    assert!(!describing.is_finished());
    held.release();
    assert!(describing.await.expect("no panic").is_ok());
}
