use jiff::Timestamp;
use longshore_csv::{FieldFault, Reject, Rule};
use longshore_warehouse::ObjectId;
use tempfile::TempDir;

use super::*;

const ONE: ObjectId = ObjectId::new([1; 32]);

fn journal() -> (TempDir, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("sub/journal.db")).unwrap();
    (folder, journal)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn object(generation: u32, state: State, second: i64) -> ObjectRow {
    ObjectRow {
        identity: ONE.to_string(),
        generation,
        pipeline: "p".to_owned(),
        table: "main.t".to_owned(),
        key: "pending/a.csv".to_owned(),
        lies_at: "pending/a.csv".to_owned(),
        state,
        load_id: None,
        size: 1,
        modified_at: at(0),
        rows_read: 1,
        rows_loaded: 0,
        rows_rejected: 1,
        error: Some("e".to_owned()),
        cure: None,
        report: None,
        updated_at: at(second),
    }
}

fn load(id: &str, pipeline: &str, second: i64) -> LoadRow {
    LoadRow {
        load_id: id.to_owned(),
        pipeline: pipeline.to_owned(),
        table: "main.t".to_owned(),
        mode: "append".to_owned(),
        started_at: at(second),
        finished_at: at(second),
        outcome: Outcome::Loaded,
        objects: 1,
        bytes: 1 << 40,
        rows: Totals { rows_read: 3, rows_loaded: 2, rows_rejected: 1, ..Totals::default() },
        error: None,
        cure: None,
    }
}

#[test]
fn an_object_makes_only_the_moves_of_the_diagram() {
    use State::{Archived, Failed, Loaded, Pending, Superseded};
    let moves = [
        (Pending, Loaded),
        (Pending, Failed),
        (Pending, Superseded),
        (Failed, Loaded),
        (Failed, Superseded),
        (Loaded, Archived),
        (Superseded, Archived),
    ];
    let all = [Pending, Loaded, Failed, Superseded, Archived];
    for from in all {
        for to in all {
            assert_eq!(from.may_become(to), moves.contains(&(from, to)), "{from:?} to {to:?}");
        }
    }
}

#[test]
fn loads_come_newest_first_and_as_they_were_kept() {
    let (_folder, journal) = journal();
    for (id, pipeline, second) in [("a", "p", 1), ("b", "q", 3), ("c", "p", 2)] {
        journal.record_load(&load(id, pipeline, second), &[]).unwrap();
    }
    let ids = |pipeline, limit| -> Vec<String> {
        let loads = journal.loads(pipeline, limit).unwrap();
        loads.into_iter().map(|load| load.load_id).collect()
    };
    assert_eq!(ids(None, 10), ["b", "c", "a"]);
    assert_eq!(ids(Some("p"), 10), ["c", "a"]);
    assert_eq!(ids(None, 1), ["b"]);
    let kept = journal.loads(None, 1).unwrap().remove(0);
    assert_eq!(format!("{kept:?}"), format!("{:?}", load("b", "q", 3)));
}

#[test]
fn an_object_that_was_loaded_anew_is_no_longer_failed() {
    let (_folder, journal) = journal();
    journal.record_load(&load("l", "p", 1), &[object(1, State::Failed, 1)]).unwrap();
    assert_eq!(journal.objects_in(State::Failed, 10).unwrap().len(), 1);
    journal.record_load(&load("l", "p", 1), &[object(2, State::Loaded, 2)]).unwrap();
    assert!(journal.objects_in(State::Failed, 10).unwrap().is_empty());
    let of_key = journal.objects_of_key("pending/a.csv").unwrap();
    assert_eq!(of_key[0].generation, 2);
}

#[test]
fn an_object_that_is_further_on_does_not_go_back() {
    let (_folder, journal) = journal();
    journal.record_load(&load("l", "p", 1), &[object(1, State::Loaded, 1)]).unwrap();
    journal.record_archived(&[(ONE, 1, "processed/a.csv".to_owned())], at(2)).unwrap();
    journal.record_load(&load("l", "p", 1), &[object(1, State::Failed, 3)]).unwrap();
    assert_eq!(journal.object(ONE, 1).unwrap().unwrap().state, State::Archived);
}

#[test]
fn only_what_is_in_is_archived() {
    for state in [State::Pending, State::Loaded, State::Failed, State::Superseded] {
        let (_folder, journal) = journal();
        journal.record_load(&load("l", "p", 1), &[object(1, state, 1)]).unwrap();
        journal.record_archived(&[(ONE, 1, "processed/a.csv".to_owned())], at(2)).unwrap();
        let now = journal.object(ONE, 1).unwrap().unwrap();
        let expected = if state.may_become(State::Archived) {
            (State::Archived, "processed/a.csv")
        } else {
            (state, "pending/a.csv")
        };
        assert_eq!((now.state, now.lies_at.as_str()), expected);
    }
}

#[test]
fn rejects_of_a_later_attempt_take_the_place_of_the_earlier_ones() {
    let (_folder, journal) = journal();
    let reject = |line, raw: &[u8]| Reject {
        line,
        record: line - 1,
        byte: 9,
        faults: vec![FieldFault { column: None, rule: Rule::FieldCount, message: "m".to_owned() }],
        raw: raw.to_vec(),
    };
    journal.record_rejects(ONE, 1, &[reject(2, b"a"), reject(3, b"b")]).unwrap();
    journal.record_rejects(ONE, 1, &[reject(4, b"\xff")]).unwrap();
    let rejects = journal.rejects(&ONE.to_string(), 1, 10).unwrap();
    assert_eq!(rejects.len(), 1);
    assert_eq!((rejects[0].line, rejects[0].record), (4, 3));
    assert_eq!(rejects[0].raw, "\u{fffd}");
    assert_eq!(rejects[0].rule, "field-count");
    assert!(journal.rejects(&ONE.to_string(), 2, 10).unwrap().is_empty());
}

#[test]
fn a_load_that_is_found_in_parts_adds_up() {
    let (_folder, journal) = journal();
    journal.record_found(&load("l", "p", 1), &[object(1, State::Loaded, 1)]).unwrap();
    journal.record_found(&load("l", "p", 2), &[object(2, State::Loaded, 2)]).unwrap();
    let loads = journal.loads(None, 10).unwrap();
    assert_eq!(loads.len(), 1);
    let one = load("l", "p", 1);
    assert_eq!((loads[0].objects, loads[0].rows.rows_read), (2 * one.objects, 2 * one.rows.rows_read));
    assert!(one.objects > 0 && one.rows.rows_read > 0);
}

#[test]
fn a_notice_is_given_once() {
    let (folder, journal) = journal();
    assert!(journal.notice("unmatched", "a", at(1)).unwrap());
    assert!(!journal.notice("unmatched", "a", at(2)).unwrap());
    assert!(journal.notice("left-out", "a", at(2)).unwrap());
    drop(journal);
    let again = Journal::open(&folder.path().join("sub/journal.db")).unwrap();
    assert!(!again.notice("unmatched", "a", at(3)).unwrap());
}

#[test]
fn a_journal_of_a_newer_version_is_refused_with_its_path() {
    let (folder, journal) = journal();
    drop(journal);
    let path = folder.path().join("sub/journal.db");
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", VERSION + 1).unwrap();
    drop(raw);
    let error = Journal::open(&path).unwrap_err();
    assert!(matches!(error, JournalError::Newer { .. }));
    assert!(error.to_string().contains(&*path.to_string_lossy()));
}

#[test]
fn who_only_looks_makes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub/journal.db");
    let journal = Journal::look(&path).unwrap();
    assert!(journal.loads(None, 10).unwrap().is_empty());
    assert!(!path.parent().unwrap().exists());
}
