//! What is written into the ledger, and how it is found again.

use std::collections::HashSet;

use super::*;
use crate::{Candidate, Cursor, EntryKind, Mode, PAGE_ENTRIES, Position, Severity};

async fn orders(bench: &dyn Bench) {
    bench.execute("CREATE TABLE orders (id INTEGER)").await;
}

fn candidate(object: &Object) -> Candidate {
    Candidate { identity: object.spec.identity, pipeline: "suite".to_owned(), key: object.spec.key.clone() }
}

/// Receipt, lookup and page give the same entry, with all that the load was told.
pub async fn an_entry_reads_back_as_it_was_written(bench: &dyn Bench) {
    orders(bench).await;
    let warehouse = bench.warehouse();
    let mut object = object("päth/with 'quotes'\\and|more.csv", 12, &["1", "2"]);
    object.spec.parent = Some(super::object("parent", 1, &[]).spec.identity);
    object.spec.late = true;
    object.spec.size = 1 << 40;
    object.rejected = 3;
    let receipt = load(bench, "orders", Mode::Append, &["id"], std::slice::from_ref(&object)).await;
    let entry = receipt.entries[0].clone();
    assert_eq!(entry.identity, object.spec.identity);
    assert_eq!(entry.parent, object.spec.parent);
    assert_eq!(entry.key, object.spec.key);
    assert_eq!(entry.modified_at, at(12));
    assert_eq!(entry.loaded_at, at(1_000_000));
    assert_eq!((entry.rows_read, entry.rows_loaded, entry.rows_rejected), (5, 2, 3));
    assert_eq!(entry.archive_key, object.spec.archive_key);
    assert_eq!((entry.late, entry.size, entry.kind), (true, 1 << 40, EntryKind::Load));
    assert_eq!(entry.content_hash, object.tally().content_hash);
    let known = warehouse.lookup(&name("orders"), &[candidate(&object)]).await.expect("a lookup");
    assert_eq!(known.entries, receipt.entries);
    let page = warehouse.page(&name("orders"), None).await.expect("a page");
    assert_eq!(page, receipt.entries);
    let described = warehouse.describe(&name("orders")).await.expect("a table");
    assert_eq!(entry.table, described.name);
}

/// Entries by identity, hashes by pipeline and key, the latest position by time and key.
pub async fn lookup_knows_entries_hashes_and_latest(bench: &dyn Bench) {
    orders(bench).await;
    bench.execute("CREATE TABLE others (id INTEGER)").await;
    let warehouse = bench.warehouse();
    let first = object("same-key", 1, &["1"]);
    let tied = [object("b", 7, &["2"]), object("a", 7, &["3"])];
    load(bench, "orders", Mode::Append, &["id"], std::slice::from_ref(&first)).await;
    load(bench, "orders", Mode::Append, &["id"], &tied).await;
    load(bench, "others", Mode::Append, &["id"], &[object("z", 99, &["4"])]).await;
    let repeat = object("same-key", 20, &[]).of_kind(EntryKind::Repeat);
    load(bench, "orders", Mode::Append, &["id"], &[repeat]).await;

    let newer = object("same-key", 50, &[]);
    let unknown = object("unknown", 3, &[]);
    let asked: Vec<_> = [&tied[1], &newer, &unknown].into_iter().map(candidate).collect();
    let known = warehouse.lookup(&name("orders"), &asked).await.expect("a lookup");
    let identities: Vec<_> = known.entries.iter().map(|entry| entry.identity).collect();
    assert_eq!(identities, [tied[1].spec.identity]);
    let hashes: HashSet<_> =
        known.hashes.iter().map(|hash| (hash.pipeline.as_str(), hash.key.as_str(), hash.identity)).collect();
    assert_eq!(
        hashes,
        HashSet::from([("suite", "same-key", first.spec.identity), ("suite", "a", tied[1].spec.identity)])
    );
    assert_eq!(known.latest, Some(Position { modified_at: at(7), key: "b".to_owned() }));

    // Another pipeline's contents are its own.
    let mut other = candidate(&newer);
    other.pipeline = "another".to_owned();
    let known = warehouse.lookup(&name("orders"), &[other]).await.expect("a lookup");
    assert!(known.hashes.is_empty() && known.entries.is_empty());

    // All generations of an identity.
    load(bench, "orders", Mode::Append, &["id"], &[first.clone().generation(2)]).await;
    let known = warehouse.lookup(&name("orders"), &[candidate(&first)]).await.expect("a lookup");
    let mut generations: Vec<_> = known.entries.iter().map(|entry| entry.generation).collect();
    generations.sort_unstable();
    assert_eq!(generations, [1, 2]);
}

/// Asking is free: it creates nothing and needs no ledger.
pub async fn lookup_of_an_unused_warehouse_is_empty(bench: &dyn Bench) {
    orders(bench).await;
    let warehouse = bench.warehouse();
    let asked = [candidate(&object("a", 1, &[]))];
    let known = warehouse.lookup(&name("orders"), &asked).await.expect("a lookup");
    assert_eq!(known, crate::Known::default());
    assert!(warehouse.page(&name("orders"), None).await.expect("a page").is_empty());
}

/// Pages give every entry once, in order, also where many share a position.
pub async fn pages_walk_the_ledger_even_through_ties(bench: &dyn Bench) {
    orders(bench).await;
    let warehouse = bench.warehouse();
    assert!(warehouse.page(&name("orders"), None).await.expect("a page").is_empty());
    let total = PAGE_ENTRIES + PAGE_ENTRIES / 2;
    let mut objects = Vec::with_capacity(total);
    for n in 0..total {
        // Every third has a time of its own; the others share time, and some share time and key.
        let (key, seconds) = match n % 3 {
            0 => (format!("k{n}"), n as i64),
            1 => (format!("k{n}"), 5),
            _ => ("tie".to_owned(), 5),
        };
        let mut object = object(&key, seconds, &[]);
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&(n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        object.spec.identity = crate::ObjectId::new(digest);
        objects.push(object);
    }
    load(bench, "orders", Mode::Append, &["id"], &objects).await;
    let mut seen = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = warehouse.page(&name("orders"), after.as_ref()).await.expect("a page");
        assert!(page.len() <= PAGE_ENTRIES);
        let Some(last) = page.last() else { break };
        after = Some(Cursor::from(last));
        seen.extend(page.iter().map(Cursor::from));
    }
    assert_eq!(seen.len(), total);
    assert!(seen.is_sorted() && seen.windows(2).all(|pair| pair[0] != pair[1]));
}

/// read = loaded + rejected + duplicate + superseded, for each object.
pub async fn the_counts_of_an_upsert_add_up(bench: &dyn Bench) {
    bench.execute("CREATE TABLE orders (id INTEGER, n INTEGER)").await;
    load(bench, "orders", Mode::Append, &["id", "n"], &[object("a", 1, &["1|9", "2|1", "3|5"])]).await;
    let mut objects = [object("b", 2, &["1|1", "2|2", "2|1", "4|4"]), object("c", 3, &["4|3", "3|4", "5|5", "5|5"])];
    objects[0].rejected = 2;
    let receipt = load(bench, "orders", upsert_by(&["id"], "n"), &["id", "n"], &objects).await;
    for entry in &receipt.entries {
        let sum = entry.rows_loaded + entry.rows_rejected + entry.rows_duplicate + entry.rows_superseded;
        assert_eq!(entry.rows_read, sum, "{entry:?}");
    }
    let loaded: u64 = receipt.entries.iter().map(|entry| entry.rows_loaded).sum();
    assert_eq!(loaded, 3);
    assert_eq!(table_rows(bench, "orders", "id, n").await, ["1|9", "2|2", "3|5", "4|4", "5|5"]);
}

/// `check` says what works, and what does not with a cure.
pub async fn check_finds_what_is_missing(bench: &dyn Bench) {
    orders(bench).await;
    let warehouse = bench.warehouse();
    let findings = warehouse.check(&[(name("orders"), Mode::Append)]).await;
    assert!(findings.iter().all(|finding| finding.severity < Severity::Fault), "{findings:?}");
    let findings = warehouse.check(&[(name("orders"), Mode::Append), (name("order"), Mode::Append)]).await;
    let faults: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Fault).collect();
    assert_eq!(faults.len(), 1, "{findings:?}");
    assert!(faults[0].message.contains("order"), "{faults:?}");
    assert!(faults[0].cure.is_some());
    assert!(warehouse.ledger_sql().await.expect("statements").contains("ledger"));
}

/// Sweeping removes leftovers only.
pub async fn sweep_leaves_committed_loads_alone(bench: &dyn Bench) {
    orders(bench).await;
    let warehouse = bench.warehouse();
    load(bench, "orders", Mode::Append, &["id"], &[object("a", 1, &["1"])]).await;
    let spec = plan(warehouse.as_ref(), "orders", upsert(&["id"]), &["id"], &[object("b", 2, &["2"])]).await;
    let table = warehouse.describe(&spec.table).await.expect("a table");
    let objects = [object("b", 2, &["2"])];
    let mut open = open(warehouse.as_ref(), spec.clone()).await;
    write_all(&mut open, &table, &spec, &objects, 1).await.expect("room");
    let live = HashSet::from([spec.load_id]);
    warehouse.sweep(&live, jiff::Timestamp::now()).await.expect("a sweep");
    let committed = open.commit(&[objects[0].tally()]).await;
    assert!(matches!(committed, Ok(crate::Committed::Loaded(_))), "{committed:?}");
    assert_eq!(table_rows(bench, "orders", "id").await, ["1", "2"]);
}
