use std::path::PathBuf;

use super::*;
use crate::checksum::checksum;
use crate::name::{Name, Naming};

fn script(file: &str, text: &str) -> Script {
    let Name::Script { kind, description } = Naming::default().read(file.rsplit('/').next().unwrap()) else {
        panic!("{file}");
    };
    let checksum = checksum(text);
    let own = Default::default();
    let names_the_time = false;
    Script {
        kind,
        description,
        script: file.to_owned(),
        path: PathBuf::from(file),
        raw_checksum: checksum,
        checksum,
        own,
        names_the_time,
    }
}

/// Reads rows as the reference writes them: `rank|version|description|type|script|checksum|success`.
fn rows(text: &str) -> Vec<Row> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let fields: Vec<&str> = line.trim().split('|').collect();
            Row {
                rank: fields[0].parse().unwrap(),
                version: Some(fields[1]).filter(|version| *version != "∅").map(Version::of_history),
                description: fields[2].to_owned(),
                kind: match fields[3] {
                    "SQL" => RowKind::Sql,
                    "SQL_BASELINE" => RowKind::SqlBaseline,
                    "BASELINE" => RowKind::Baseline,
                    "SCHEMA" => RowKind::Schema,
                    "DELETE" => RowKind::Delete,
                    undo if undo.starts_with("UNDO") => RowKind::Undo(undo.to_owned()),
                    other => RowKind::Other(other.to_owned()),
                },
                script: fields[4].to_owned(),
                checksum: fields[5].parse().ok(),
                installed_by: "me".to_owned(),
                installed_on: String::new(),
                execution_ms: 1,
                success: fields[6] == "t",
            }
        })
        .collect()
}

fn states_with(rows_text: &str, scripts: &[Script], target: &Target, out_of_order: bool) -> Vec<(String, State)> {
    let standing = resolve(&rows(rows_text), scripts, Rules { target, out_of_order });
    let name = |item: &Item| match item.version() {
        Some(version) => version.to_string(),
        None => item.description().to_owned(),
    };
    standing.items.iter().map(|item| (name(item), item.state)).collect()
}

fn states(rows_text: &str, scripts: &[Script]) -> Vec<(String, State)> {
    states_with(rows_text, scripts, &Target::Latest, false)
}

fn pairs(list: &[(&str, State)]) -> Vec<(String, State)> {
    list.iter().map(|(name, state)| ((*name).to_owned(), *state)).collect()
}

#[test]
fn a_history_of_flyway_is_taken_over_with_nothing_to_run() {
    let seed = include_str!("../../tests/it/seed/V1__initial_tables.sql").replace(" distkey sortkey", "");
    let scripts = [
        script("V1__initial_tables.sql", &seed),
        script("V1_1__add_x.sql", "ALTER TABLE titanic ADD COLUMN x INT;\n"),
        script("sub/V1.2__idx.sql", "CREATE INDEX titanic_x ON titanic (x);\n"),
        script("V010__ten.SQL", "select 3;\n"),
        script("V20__.sql", "select 4;\n"),
        script("V50.sql", "select 7;"),
        script("R__Titanic_count.sql", "CREATE OR REPLACE VIEW v1 AS SELECT count(*) AS n FROM titanic;\n"),
    ];
    let history = "
        1|1|initial tables|SQL|V1__initial_tables.sql|1254641399|t
        2|1.1|add x|SQL|V1_1__add_x.sql|1026856037|t
        3|1.2|idx|SQL|sub/V1.2__idx.sql|1531700664|t
        4|010|ten|SQL|V010__ten.SQL|-455012933|t
        5|20||SQL|V20__.sql|-1415537796|t
        6|50||SQL|V50.sql|-2138191681|t
        7|∅|Titanic count|SQL|R__Titanic_count.sql|-1139791568|t";
    let standing = resolve(&rows(history), &scripts, Rules { target: &Target::Latest, out_of_order: false });
    assert!(standing.items.iter().all(|item| item.state == State::Success), "{:?}", states(history, &scripts));
    assert_eq!(standing.items.len(), 7);
    assert_eq!(standing.current.unwrap().as_str(), "50");
}

#[test]
fn rows_without_scripts_are_missing_or_future() {
    let scripts = [script("V2__b.sql", "")];
    let history = "1|1|a|SQL|V1__a.sql|1|t\n2|2|b|SQL|V2__b.sql|0|t\n3|3|c|SQL|V3__c.sql|1|t\n4|∅|r|SQL|R__r.sql|1|t\n5|4|d|SQL|V4__d.sql|1|f";
    let expected = [
        ("1", State::Missing),
        ("2", State::Success),
        ("3", State::Future),
        ("r", State::Missing),
        ("4", State::FailedFuture),
    ];
    assert_eq!(states(history, &scripts), pairs(&expected));
}

#[test]
fn a_baseline_hides_what_is_below_it() {
    let scripts = [script("V1__a.sql", ""), script("V2__b.sql", ""), script("V3__c.sql", "")];
    let expected =
        [("1", State::BelowBaseline), ("2", State::IgnoredBaseline), ("2", State::Baseline), ("3", State::Pending)];
    assert_eq!(states("1|2|Legacy import|BASELINE|Legacy import|∅|t", &scripts), pairs(&expected));
}

#[test]
fn a_baseline_script_runs_in_an_empty_database_alone() {
    let scripts = [
        script("B1__x.sql", ""),
        script("V1__a.sql", ""),
        script("V2__b.sql", ""),
        script("B2__base.sql", "SELECT 'b2';\n"),
        script("V3__c.sql", ""),
    ];
    let mut sorted = scripts.to_vec();
    sorted.sort_by_key(|script| (script.version().cloned(), matches!(script.kind, Kind::Baseline(_))));
    let expected = [
        ("1", State::BelowBaseline),
        ("1", State::BelowBaseline),
        ("2", State::IgnoredBaseline),
        ("2", State::Pending),
        ("3", State::Pending),
    ];
    assert_eq!(states("", &sorted), pairs(&expected));
    assert_eq!(states("0|∅|<< Flyway Schema Creation >>|SCHEMA|\"lake\",\"other\"|∅|t", &sorted)[3].1, State::Success);
    let after = states("1|2|base|SQL_BASELINE|B2__base.sql|1583870439|t", &sorted);
    let expected = [
        ("1", State::BelowBaseline),
        ("2", State::IgnoredBaseline),
        ("2", State::Baseline),
        ("1", State::Ignored),
        ("3", State::Pending),
    ];
    assert_eq!(after, pairs(&expected));
    let used = states("1|1|a|SQL|V1__a.sql|0|t", &sorted);
    assert_eq!(used.iter().filter(|(_, state)| *state == State::Ignored).count(), 2, "{used:?}");
}

#[test]
fn versions_below_an_applied_one_are_ignored_unless_order_does_not_matter() {
    let scripts = [script("V1__a.sql", ""), script("V2__b.sql", ""), script("V3__c.sql", "")];
    let history = "1|1|a|SQL|V1__a.sql|0|t\n2|3|c|SQL|V3__c.sql|0|t";
    let expected = [("1", State::Success), ("3", State::Success), ("2", State::Ignored)];
    assert_eq!(states(history, &scripts), pairs(&expected));
    let expected = [("1", State::Success), ("3", State::Success), ("2", State::Pending)];
    assert_eq!(states_with(history, &scripts, &Target::Latest, true), pairs(&expected));
    let later = format!("{history}\n3|2|b|SQL|V2__b.sql|0|t");
    assert_eq!(states(&later, &scripts)[2], ("2".to_owned(), State::OutOfOrder));
}

#[test]
fn targets_end_what_is_pending() {
    let scripts = [script("V1__a.sql", ""), script("V2__b.sql", ""), script("V3__c.sql", ""), script("R__r.sql", "")];
    let history = "1|1|a|SQL|V1__a.sql|0|t";
    let of = |target: &Target| {
        states_with(history, &scripts, target, false).into_iter().map(|(_, state)| state).collect::<Vec<_>>()
    };
    use State::{AboveTarget, Pending, Success};
    assert_eq!(of(&Target::Latest), [Success, Pending, Pending, Pending]);
    assert_eq!(of(&Target::Next), [Success, Pending, AboveTarget, Pending]);
    assert_eq!(of(&Target::Current), [Success, AboveTarget, AboveTarget, Pending]);
    let two = Target::Version { version: Version::parse("2").unwrap(), must_exist: true };
    assert_eq!(of(&two), [Success, Pending, AboveTarget, Pending]);
}

#[test]
fn repeatables_are_outdated_superseded_or_as_they_ran() {
    let scripts = [script("R__a.sql", "SELECT 2;\n"), script("R__b.sql", "SELECT 3;\n")];
    let history = "1|∅|a|SQL|R__a.sql|798974111|t\n2|∅|b|SQL|R__b.sql|798974111|t\n3|∅|b|SQL|R__b.sql|914641374|t";
    let expected = [("a", State::Success), ("b", State::Superseded), ("b", State::Success)];
    assert_eq!(states(history, &scripts), pairs(&expected));
    let changed = [script("R__a.sql", "SELECT 4;\n"), script("R__b.sql", "SELECT 3;\n")];
    let expected = [("a", State::Outdated), ("b", State::Superseded), ("b", State::Success), ("a", State::Pending)];
    assert_eq!(states(history, &changed), pairs(&expected));
}

#[test]
fn a_repeatable_that_flyway_4_wrote_is_as_it_ran() {
    let mut replaced = script("R__w.sql", "CREATE OR REPLACE VIEW w AS SELECT '${tbl}' AS x;\n");
    replaced.checksum = 1_077_730_467;
    for written in ["-1295450094", "1077730467"] {
        let history = format!("1|∅|w|SQL|R__w.sql|{written}|t");
        assert_eq!(states(&history, std::slice::from_ref(&replaced)), pairs(&[("w", State::Success)]));
    }
}

#[test]
fn deleted_and_undone_rows_let_their_scripts_run_again() {
    let scripts = [script("V3__m3.sql", "SELECT 3;\n"), script("R__r2.sql", "x")];
    let history = "1|3|m3|SQL|V3__m3.sql|914641374|t\n2|∅|r2|SQL|R__r2.sql|1|t\n3|3|m3|DELETE|V3__m3.sql|914641374|t\n4|∅|r2|DELETE|R__r2.sql|1|t";
    let expected = [
        ("3", State::Deleted),
        ("r2", State::Deleted),
        ("3", State::Success),
        ("r2", State::Success),
        ("3", State::Pending),
        ("r2", State::Pending),
    ];
    assert_eq!(states(history, &scripts), pairs(&expected));
    let history = "1|3|m3|SQL|V3__m3.sql|914641374|t\n2|3|m3|UNDO_SQL|U3__m3.sql|1|t";
    let expected = [("3", State::Undone), ("3", State::Success), ("3", State::Pending), ("r2", State::Pending)];
    assert_eq!(states(history, &scripts), pairs(&expected));
}

#[test]
fn a_failed_row_counts_as_the_current_version() {
    let scripts = [script("V2__vac.sql", "")];
    let history = "1|1|a|SQL|V1__a.sql|0|t\n2|2|vac|SQL|V2__vac.sql|2029696852|f";
    let standing = resolve(&rows(history), &scripts, Rules { target: &Target::Latest, out_of_order: false });
    assert_eq!(standing.current.as_ref().unwrap().as_str(), "2");
    assert_eq!(standing.failed().unwrap().state, State::Failed);
    assert_eq!(standing.pending().count(), 0);
}
