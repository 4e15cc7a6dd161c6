//! `longshore demo`, and the example projects.

#![allow(clippy::unwrap_used, reason = "helpers of tests are outside of #[test] functions")]

use std::path::Path;

use crate::harness::{Project, files};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

/// A project that is a copy of an example, with its tables.
fn example(name: &str) -> Project {
    let project = Project::new("");
    let from = Path::new(EXAMPLES).join(name);
    for file in files(&from) {
        let to = project.path(&file);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from.join(&file), to).unwrap();
    }
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    let settled = config.replace("url = \"./bucket\"\n\n", "url = \"./bucket\"\nsettle = \"0s\"\n\n");
    project.write_config(&settled);
    project.run(&["check"]).exits(1).prints("pending: `1 - initial tables`");
    project.run(&["migrate"]).exits(0);
    project.run(&["check"]).exits(0);
    project
}

#[test]
fn the_demo_loads_for_real_and_can_be_run_again() {
    let project = Project::new("");
    for _ in 0..2 {
        project
            .run(&["demo"])
            .exits(0)
            .prints("1 migration applied, now at version 1")
            .prints("5 objects loaded, 13 rows, 1 row rejected, 1 object failed")
            .prints("the calendar has no such day")
            .prints("nothing to load")
            .prints("1 object loaded, 4 rows")
            .prints("612.50");
        let failed = files(&project.path("longshore-demo/bucket/failed"));
        assert_eq!(failed.len(), 2, "the object and its report: {failed:?}");
        assert_eq!(files(&project.path("longshore-demo/bucket/pending")), [] as [&str; 0]);
    }
    let config = project.path("longshore-demo/longshore.toml");
    for command in ["check", "audit"] {
        project.run(&["--config", config.to_str().unwrap(), command]).exits(0);
    }
}

#[test]
fn the_demo_leaves_a_folder_of_others_alone() {
    let project = Project::new("");
    std::fs::create_dir(project.path("mine")).unwrap();
    std::fs::write(project.path("mine/notes"), "precious").unwrap();
    project.run(&["demo", "mine"]).exits(2).says("`mine` holds other files").says("hint: ");
    assert_eq!(files(&project.path("mine")), ["notes"]);
    std::fs::write(project.path("file"), "").unwrap();
    project.run(&["demo", "file"]).exits(2).says("hint: ");
}

#[test]
fn the_shop_can_be_copied() {
    let shop = example("shop");
    shop.load_some();
    assert_eq!(shop.value("SELECT count(*), sum(total) FROM orders"), "5|476.65");
    assert_eq!(shop.value("SELECT count(*) FROM customers"), "5");
    assert_eq!(shop.value("SELECT count(*), sum(weight) FROM stock"), "3|1.410");
}

#[test]
fn passengers_are_upserted_without_a_header() {
    let titanic = example("titanic");
    titanic.load();
    assert_eq!(
        titanic.rows("SELECT PasengerId, Survived, Age, Fare, Cabin FROM titanic ORDER BY 1"),
        ["9001|false|22.0|7.25|-", "9002|true|38.0|71.28|E85", "9003|true|0.5|7.93|-", "9004|false|-|13.00|-"]
    );
}
