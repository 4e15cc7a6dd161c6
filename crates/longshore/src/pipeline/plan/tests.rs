use std::path::Path;

use jiff::Timestamp;
use longshore_warehouse::{EntryKind, Known, LoadId, ObjectId, QualifiedName};
use proptest::prelude::*;

use super::*;
use crate::bucket::{Object, ObjectKey};
use crate::config::Config;

const APPEND: &str = "mode = \"append\"";
const UPSERT: &str = "mode = \"upsert\"\nkey = [\"id\"]";
const ORDERED: &str = "mode = \"upsert\"\nkey = [\"id\"]\norder_by = \"ts\"";
const REPLACE: &str = "mode = \"replace\"";
const MODES: [&str; 4] = [APPEND, UPSERT, ORDERED, REPLACE];

fn pipeline(settings: &str) -> Pipeline {
    let text = format!("[bucket]\nurl = \"./b\"\n[[pipeline]]\nname = \"p\"\nmatch = \"*\"\ntable = \"t\"\n{settings}");
    let config = Config::parse(&text, Path::new("/"), &|_| None).unwrap();
    config.pipelines.into_iter().next().unwrap()
}

/// The object that landed at this second.
fn landed(second: i64) -> Arc<Landed> {
    sized(second, 10)
}

fn sized(second: i64, size: u64) -> Arc<Landed> {
    let object = Object {
        key: ObjectKey::new(format!("pending/{second:04}")),
        etag: "e".to_owned(),
        size,
        modified_at: Timestamp::from_second(second).unwrap(),
    };
    let identity = object.identity("b");
    Arc::new(Landed::pending(object, identity))
}

fn entry(object: &Landed, kind: EntryKind) -> Entry {
    Entry {
        table: QualifiedName::new("main", "t"),
        identity: object.identity,
        generation: object.generation,
        pipeline: "p".to_owned(),
        mode: "append".to_owned(),
        kind,
        parent: None,
        load_id: LoadId::draw(),
        bucket: "b".to_owned(),
        key: object.key().to_owned(),
        etag: "e".to_owned(),
        size: object.object.size,
        modified_at: object.object.modified_at,
        content_hash: None,
        rules_hash: String::new(),
        rows_read: 0,
        rows_loaded: 0,
        rows_rejected: 0,
        rows_duplicate: 0,
        rows_superseded: 0,
        late: false,
        loaded_at: Timestamp::UNIX_EPOCH,
        archive_key: None,
    }
}

/// What the ledger knows when these objects are in.
fn known(entries: Vec<Entry>) -> Known {
    Known { latest: entries.iter().map(Entry::position).max(), entries, hashes: Vec::new() }
}

fn verdicts(objects: &[Arc<Landed>], known: &Known, settings: &str) -> Vec<Verdict> {
    let pipeline = pipeline(settings);
    let rules = Rules { pipeline: &pipeline, keep: false };
    judge(objects, known, rules)
}

const ON_TIME: Verdict = Verdict::Load { late: false };

#[test]
fn what_the_ledger_has_is_archived_whatever_the_mode() {
    for mode in MODES {
        let object = landed(1);
        let entry = entry(&object, EntryKind::Load);
        let verdicts = verdicts(&[object], &known(vec![entry.clone()]), mode);
        assert_eq!(verdicts, [Verdict::Archive(Box::new(entry))]);
    }
}

#[test]
fn what_failed_and_what_is_kept_stays_where_it_is() {
    let object = landed(1);
    let failed = entry(&object, EntryKind::Failed);
    let stays = verdicts(&[Arc::clone(&object)], &known(vec![failed.clone()]), APPEND);
    assert_eq!(stays, [Verdict::Done(Box::new(failed))]);
    let loaded = entry(&object, EntryKind::Load);
    let pipeline = pipeline(APPEND);
    let rules = Rules { pipeline: &pipeline, keep: true };
    let kept = judge(&[object], &known(vec![loaded.clone()]), rules);
    assert_eq!(kept, [Verdict::Done(Box::new(loaded))]);
}

#[test]
fn an_object_is_known_by_its_newest_generation() {
    let object = landed(1);
    let failed = entry(&object, EntryKind::Failed);
    let loaded = Entry { generation: 2, ..entry(&object, EntryKind::Load) };
    let verdicts = verdicts(&[object], &known(vec![failed, loaded.clone()]), APPEND);
    assert_eq!(verdicts, [Verdict::Archive(Box::new(loaded))]);
}

#[test]
fn an_older_object_is_late_only_where_the_order_matters() {
    let newer = entry(&landed(5), EntryKind::Load);
    let known = known(vec![newer]);
    let late = |settings| verdicts(&[landed(1)], &known, settings).remove(0);
    assert_eq!(late(APPEND), ON_TIME);
    assert_eq!(late(UPSERT), Verdict::Load { late: true });
    assert_eq!(late(REPLACE), Verdict::Supersede);
    let fails = late(&format!("{UPSERT}\nlate = \"fail\""));
    assert!(matches!(fails, Verdict::LateFails(latest) if latest.key == "pending/0005"));
}

#[test]
fn what_is_loaded_anew_is_never_late() {
    let known = known(vec![entry(&landed(5), EntryKind::Load)]);
    for settings in [REPLACE.to_owned(), format!("{UPSERT}\nlate = \"fail\"")] {
        let again = Arc::new(Landed { generation: 2, again: true, ..(*landed(1)).clone() });
        assert_eq!(verdicts(&[again], &known, &settings), [ON_TIME]);
    }
}

#[test]
fn replace_applies_the_newest_and_supersedes_the_older() {
    let objects: Vec<_> = (1..=3).map(landed).collect();
    assert_eq!(verdicts(&objects, &known(vec![]), REPLACE), [Verdict::Supersede, Verdict::Supersede, ON_TIME]);
    // The newest is in already: it is no reason to apply an older one.
    let newest = entry(&objects[2], EntryKind::Load);
    assert_eq!(
        verdicts(&objects, &known(vec![newest.clone()]), REPLACE),
        [Verdict::Supersede, Verdict::Supersede, Verdict::Archive(Box::new(newest))]
    );
}

fn planned(objects: &[Arc<Landed>], settings: &str) -> Vec<Planned> {
    verdicts(objects, &known(vec![]), settings)
        .into_iter()
        .zip(objects)
        .map(|(verdict, landed)| Planned {
            landed: Arc::clone(landed),
            late: false,
            superseded: verdict == Verdict::Supersede,
        })
        .collect()
}

fn identities(plans: &[LoadPlan]) -> Vec<ObjectId> {
    let objects = plans.iter().flat_map(|plan| &plan.objects);
    objects.map(|planned| planned.landed.identity).collect()
}

#[test]
fn a_plan_holds_until_the_ledger_knows_one_of_its_objects() {
    for mode in MODES {
        let pipeline = pipeline(mode);
        let rules = Rules { pipeline: &pipeline, keep: false };
        let objects: Vec<_> = (1..=3).map(landed).collect();
        let plan = group(planned(&objects, mode), &pipeline).remove(0);
        assert!(still_holds(&plan, &known(vec![]), rules), "{mode}");
        for object in &objects {
            let known = known(vec![entry(object, EntryKind::Load)]);
            assert!(!still_holds(&plan, &known, rules), "{mode}");
        }
    }
}

proptest! {
    #[test]
    fn groups_keep_the_order_and_the_limits(
        sizes in prop::collection::vec(0_u64..2_000, 0..60),
        objects in 1_usize..9,
        bytes in 1_u64..4_000,
        mode in 0_usize..4,
    ) {
        let pipeline = pipeline(&format!("{}\ngroup = {{ objects = {objects}, bytes = {bytes} }}", MODES[mode]));
        let landed: Vec<_> = sizes.iter().enumerate().map(|(at, size)| sized(at as i64, *size)).collect();
        let planned = planned(&landed, MODES[mode]);
        let plans = group(planned, &pipeline);
        let expected: Vec<ObjectId> = landed.iter().map(|landed| landed.identity).collect();
        prop_assert_eq!(identities(&plans), expected);
        for plan in &plans {
            let applied: Vec<_> = plan.objects.iter().filter(|planned| !planned.superseded).collect();
            if matches!(pipeline.mode, Mode::Replace) {
                prop_assert!(applied.len() == 1 && !plan.objects.last().unwrap().superseded);
                continue;
            }
            let size: u64 = applied.iter().map(|planned| planned.landed.object.size).sum();
            prop_assert!(plan.objects.len() <= objects);
            prop_assert!(size <= bytes || plan.objects.len() == 1);
        }
    }

    #[test]
    fn nothing_that_is_in_is_loaded_once_more(
        is_in in prop::collection::vec(any::<bool>(), 1..30),
        mode in 0_usize..4,
    ) {
        let objects: Vec<_> = (0..is_in.len() as i64).map(landed).collect();
        let entries: Vec<Entry> =
            objects.iter().zip(&is_in).filter(|(_, is_in)| **is_in).map(|(object, _)| entry(object, EntryKind::Load)).collect();
        let verdicts = verdicts(&objects, &known(entries), MODES[mode]);
        let loads = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Load { .. })).count();
        for (verdict, is_in) in verdicts.iter().zip(&is_in) {
            prop_assert_eq!(matches!(verdict, Verdict::Archive(_)), *is_in);
        }
        prop_assert!(MODES[mode] != REPLACE || loads <= 1);
    }
}
