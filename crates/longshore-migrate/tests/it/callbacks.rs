//! Callbacks fire in Flyway's order.

use longshore_migrate::event::Event;

use crate::bench::Bench;

/// Each callback writes its name into a table.
fn logged(bench: &Bench) {
    for event in Event::ALL {
        let name = event.name();
        bench.write(&format!("{name}.sql"), format!("INSERT INTO log.events (name) VALUES ('{name}');\n"));
    }
}

async fn events(bench: &Bench) -> Vec<String> {
    let events = bench.ask("SELECT name FROM log.events ORDER BY n").await;
    bench.run("TRUNCATE log.events").await;
    events
}

#[tokio::test]
async fn callbacks_fire_in_flyways_order() {
    let mut bench = Bench::with(&[("V1__a.sql", "SELECT 1; SELECT 2;\n"), ("R__r.sql", "SELECT 3;\n")]);
    bench.run("CREATE SCHEMA log; CREATE TABLE log.events (n serial, name text)").await;
    logged(&bench);
    bench.migrated().await;
    let each = |statements: usize| {
        let mut each = vec!["beforeEachMigrate"];
        (0..statements).for_each(|_| each.extend(["beforeEachMigrateStatement", "afterEachMigrateStatement"]));
        each.push("afterEachMigrate");
        each
    };
    let mut expected =
        vec!["afterConnect", "beforeValidate", "afterValidate", "createSchema", "beforeCreateSchema", "beforeMigrate"];
    expected.extend(each(2));
    expected.extend(["afterVersioned", "beforeRepeatables"]);
    expected.extend(each(1));
    expected.extend(["afterMigrateApplied", "afterMigrate", "afterMigrateOperationFinish"]);
    assert_eq!(events(&bench).await, expected);
    bench.migrated().await;
    let expected = [
        "afterConnect",
        "beforeValidate",
        "afterValidate",
        "createSchema",
        "beforeCreateSchema",
        "beforeMigrate",
        "afterVersioned",
        "afterMigrate",
        "afterMigrateOperationFinish",
    ];
    assert_eq!(events(&bench).await, expected);
    bench.info().await;
    assert_eq!(events(&bench).await, ["afterConnect", "beforeInfo", "afterInfo", "afterInfoOperationFinish"]);
    bench.write("V2__b.sql", "SELECT nonsense;\n");
    bench.migrate().await.unwrap_err();
    let events = events(&bench).await;
    assert_eq!(events[6..], ["afterEachMigrateError", "afterMigrateError", "afterMigrateOperationFinish"]);
}

#[tokio::test]
async fn callbacks_with_descriptions_run_by_them_and_a_failing_one_fails_the_command() {
    let mut bench = Bench::with(&[
        ("V1__a.sql", "CREATE TABLE seen (n serial, name text);\n"),
        ("afterMigrate__b.sql", "INSERT INTO seen (name) VALUES ('b');\n"),
        ("afterMigrate__a.sql", "INSERT INTO seen (name) VALUES ('a');\n"),
    ]);
    bench.migrated().await;
    assert_eq!(bench.ask("SELECT name FROM seen ORDER BY n").await, ["a", "b"]);
    bench.write("beforeMigrate.sql", "INSERT INTO seen (name) VALUES ('lost');\nSELECT nonsense;\n");
    let error = bench.migrate().await.unwrap_err();
    assert!(error.to_string().contains("beforeMigrate.sql` failed at line 2"), "{error}");
    assert_eq!(bench.ask("SELECT count(*) FROM seen").await, ["2"]);
}
