//! The history that Flyway wrote is taken over, and what is written here is what Flyway would have written.

use crate::bench::{Bench, ROWS};

const SEED: &str = include_str!("seed/V1__initial_tables.sql");

/// The files behind the rows that were captured from Flyway.
fn files() -> Vec<(&'static str, String)> {
    vec![
        ("V1__initial_tables.sql", SEED.replace(" distkey sortkey", "")),
        ("V1_1__add_x.sql", "ALTER TABLE titanic ADD COLUMN x INT;\n".to_owned()),
        ("sub/V1.2__idx.sql", "CREATE INDEX titanic_x ON titanic (x);\n".to_owned()),
        ("V010__ten.SQL", "select 3;\n".to_owned()),
        ("V20__.sql", "select 4;\n".to_owned()),
        ("V50.sql", "select 7;".to_owned()),
        ("R__Titanic_count.sql", "CREATE OR REPLACE VIEW v1 AS SELECT count(*) AS n FROM titanic;\n".to_owned()),
    ]
}

const CAPTURED: &[&str] = &[
    "1|1|initial tables|SQL|V1__initial_tables.sql|1254641399|t",
    "2|1.1|add x|SQL|V1_1__add_x.sql|1026856037|t",
    "3|1.2|idx|SQL|sub/V1.2__idx.sql|1531700664|t",
    "4|010|ten|SQL|V010__ten.SQL|-455012933|t",
    "5|20||SQL|V20__.sql|-1415537796|t",
    "6|50||SQL|V50.sql|-2138191681|t",
    "7|∅|Titanic count|SQL|R__Titanic_count.sql|-1139791568|t",
];

fn bench() -> Bench {
    let bench = Bench::new();
    files().iter().for_each(|(name, text)| bench.write(name, text));
    bench
}

/// Makes the history table as Flyway makes it, with captured rows.
async fn flyway_was_here(bench: &Bench, table: &str, rows: &[&str]) {
    let mut sql = format!(
        r#"CREATE TABLE "public"."{table}" (
  "installed_rank" INT NOT NULL, "version" VARCHAR(50), "description" VARCHAR(200) NOT NULL, "type" VARCHAR(20) NOT NULL,
  "script" VARCHAR(1000) NOT NULL, "checksum" INTEGER, "installed_by" VARCHAR(100) NOT NULL,
  "installed_on" TIMESTAMP NOT NULL DEFAULT now(), "execution_time" INTEGER NOT NULL, "success" BOOLEAN NOT NULL);
ALTER TABLE "public"."{table}" ADD CONSTRAINT "{table}_pk" PRIMARY KEY ("installed_rank");
CREATE INDEX "{table}_s_idx" ON "public"."{table}" ("success");"#
    );
    for row in rows {
        let fields: Vec<String> = row
            .split('|')
            .map(|field| if field == "∅" { "NULL".to_owned() } else { format!("'{}'", field.replace('\'', "''")) })
            .collect();
        let [rank, version, description, kind, script, checksum, success] = &fields[..] else { panic!("{row}") };
        sql += &format!(
            "INSERT INTO \"public\".\"{table}\" VALUES ({rank}, {version}, {description}, {kind}, {script}, {checksum}, 'flyway', now(), 5, {success});"
        );
    }
    bench.run(&sql).await;
}

#[tokio::test]
async fn what_is_written_is_what_flyway_writes() {
    let mut bench = bench();
    assert_eq!(bench.migrated().await, 7);
    assert_eq!(bench.rows().await, CAPTURED);
    let details = "SELECT installed_by, execution_time >= 0, installed_on > now() - interval '1 hour' FROM flyway_schema_history LIMIT 1";
    assert_eq!(bench.ask(details).await, ["longshore|t|t"]);
    let table = "SELECT column_name, data_type, character_maximum_length, is_nullable, column_default FROM information_schema.columns \
                 WHERE table_name = 'flyway_schema_history' ORDER BY ordinal_position";
    assert_eq!(
        bench.ask(table).await,
        [
            "installed_rank|integer|∅|NO|∅",
            "version|character varying|50|YES|∅",
            "description|character varying|200|NO|∅",
            "type|character varying|20|NO|∅",
            "script|character varying|1000|NO|∅",
            "checksum|integer|∅|YES|∅",
            "installed_by|character varying|100|NO|∅",
            "installed_on|timestamp without time zone|∅|NO|now()",
            "execution_time|integer|∅|NO|∅",
            "success|boolean|∅|NO|∅",
        ]
    );
    let names = "SELECT indexname FROM pg_indexes WHERE tablename = 'flyway_schema_history' ORDER BY 1";
    assert_eq!(bench.ask(names).await, ["flyway_schema_history_pk", "flyway_schema_history_s_idx"]);
    assert_eq!(bench.migrated().await, 0);
    assert_eq!(bench.rows().await, CAPTURED);
}

#[tokio::test]
async fn a_history_of_flyway_is_taken_over_and_nothing_is_run_again() {
    let mut bench = bench();
    // Only what was applied is there: a script that ran again would fail.
    bench.run(&format!("{} {} {}", SEED.replace(" distkey sortkey", ""), files()[1].1, files()[2].1)).await;
    flyway_was_here(&bench, "flyway_schema_history", CAPTURED).await;
    assert_eq!(bench.migrated().await, 0);
    assert_eq!(bench.rows().await, CAPTURED);
    bench.write("V51__more.sql", "CREATE TABLE more (a int);\n");
    assert_eq!(bench.migrated().await, 1);
    assert!(bench.rows().await[7].starts_with("8|51|more|SQL|V51__more.sql|"));
}

#[tokio::test]
async fn a_history_of_flyway_4_goes_on_in_its_own_table() {
    let mut bench = Bench::with(&[("V1__initial_tables.sql", "SELECT 2;\n")]).set("placeholders.tbl", "zebra");
    bench.write("R__w.sql", "CREATE OR REPLACE VIEW w AS SELECT '${tbl}' AS x;\n");
    let captured = ["1|1|initial tables|SQL|V1__initial_tables.sql|798974111|t", "2|∅|w|SQL|R__w.sql|-1295450094|t"];
    flyway_was_here(&bench, "schema_version", &captured).await;
    bench.write("R__v.sql", "CREATE OR REPLACE VIEW v AS SELECT '${tbl}' AS x;\n");
    assert_eq!(bench.migrated().await, 1);
    let rows = bench.ask(&format!("{ROWS} schema_version ORDER BY installed_rank")).await;
    assert_eq!(rows[..2], captured);
    // Flyway 4 knows the checksum of the text as it is alone.
    let raw = longshore_migrate::checksum("CREATE OR REPLACE VIEW v AS SELECT '${tbl}' AS x;\n");
    assert_eq!(rows[2], format!("3|∅|v|SQL|R__v.sql|{raw}|t"));
    assert_eq!(bench.ask("SELECT x FROM v").await, ["zebra"]);
    assert!(bench.ask("SELECT 1 FROM pg_class WHERE relname = 'flyway_schema_history'").await.is_empty());
    // Flyway 4 cannot read rows of the type DELETE: none is written.
    bench.remove("R__w.sql");
    let database = bench.open().await;
    let mut told = crate::bench::Told::default();
    let repaired =
        longshore_migrate::Migrator::open(database, &bench.settings, &mut told).await.unwrap().repair().await.unwrap();
    assert!(repaired.repair_actions.is_empty(), "{repaired:?}");
}

#[tokio::test]
async fn a_repeatable_is_written_with_its_placeholders_replaced() {
    let mut bench = Bench::with(&[("R__w.sql", "CREATE OR REPLACE VIEW w AS SELECT '${tbl}' AS x;\n")])
        .set("placeholders.TBL", "zebra");
    assert_eq!(bench.migrated().await, 1);
    assert_eq!(bench.rows().await, ["1|∅|w|SQL|R__w.sql|1077730467|t"]);
    let mut bench = bench.set("placeholders.tbl", "ape");
    assert_eq!(bench.states().await, ["w Outdated", "w Pending"]);
    assert_eq!(bench.migrated().await, 1);
    assert_eq!(bench.states().await, ["w Superseded", "w Success"]);
}

#[tokio::test]
async fn what_happens_every_time_names_the_time() {
    let mut bench = Bench::with(&[(
        "R__t.sql",
        "SELECT '${flyway:timestamp} ${flyway:user} ${flyway:defaultSchema} ${flyway:table} ${flyway:filename}';\n",
    )]);
    assert_eq!(bench.migrated().await, 1);
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(bench.migrated().await, 1);
}

#[tokio::test]
async fn baselines_are_written_as_flyway_writes_them() {
    let mut bench = Bench::with(&[("V1__a.sql", "SELECT 2;\n"), ("V3__c.sql", "SELECT 3;\n")]);
    bench.run("CREATE TABLE legacy (a int)").await;
    let error = bench.migrate().await.unwrap_err();
    assert!(error.to_string().contains("no history table"), "{error}");
    assert!(error.hint().unwrap().contains("baseline"), "{error}");
    let mut bench = bench.set("baselineOnMigrate", "true");
    assert_eq!(bench.migrated().await, 1);
    assert_eq!(
        bench.rows().await,
        ["1|1|<< Flyway Baseline >>|BASELINE|<< Flyway Baseline >>|∅|t", "2|3|c|SQL|V3__c.sql|914641374|t"]
    );
}

#[tokio::test]
async fn schemas_that_are_created_have_their_row() {
    let mut bench = Bench::with(&[("V1__a.sql", "CREATE TABLE a (id int);\nSELECT 2;\n")]).set("schemas", "lake,other");
    bench.database.sql("GRANT CREATE ON DATABASE \"postgres\" TO longshore");
    assert_eq!(bench.migrated().await, 1);
    let rows = bench.ask(&format!("{ROWS} lake.flyway_schema_history ORDER BY 1")).await;
    assert_eq!(rows[0], "0|∅|<< Flyway Schema Creation >>|SCHEMA|\"lake\",\"other\"|∅|t");
    assert!(rows[1].starts_with("1|1|a|SQL|V1__a.sql|"));
    assert_eq!(bench.ask("SELECT count(*) FROM lake.a").await, ["0"]);
}

#[tokio::test]
async fn a_baseline_script_takes_the_place_of_what_it_covers() {
    let mut bench = Bench::with(&[
        ("V1__a.sql", "SELECT 1;\n"),
        ("V2__b.sql", "SELECT 2;\n"),
        ("B2__base.sql", "SELECT 'b2';\n"),
        ("V3__m3.sql", "SELECT 3;\n"),
    ]);
    assert_eq!(bench.migrated().await, 2);
    assert_eq!(
        bench.rows().await,
        ["1|2|base|SQL_BASELINE|B2__base.sql|1583870439|t", "2|3|m3|SQL|V3__m3.sql|914641374|t"]
    );
    assert_eq!(bench.migrated().await, 0);
}

#[tokio::test]
async fn rows_of_every_kind_are_read() {
    let mut bench = Bench::with(&[("V3__m3.sql", "SELECT 3;\n"), ("U3__m3.sql", "SELECT 1;\n")]);
    let captured = [
        "0|∅|<< Flyway Schema Creation >>|SCHEMA|\"lake\",\"other\"|∅|t",
        "1|1|java|JDBC|db.migration.V1__java|∅|t",
        "2|3|m3|SQL|V3__m3.sql|914641374|t",
        "3|3|m3|UNDO_SQL|U3__m3.sql|78787420|t",
        "4|∅|r2|SQL|R__r2.sql|243181176|t",
        "5|∅|r2|DELETE|R__r2.sql|243181176|t",
    ];
    flyway_was_here(&bench, "flyway_schema_history", &captured).await;
    let expected =
        ["<< Flyway Schema Creation >> Success", "1 Missing", "3 Undone", "r2 Deleted", "r2 Success", "3 Pending"];
    assert_eq!(bench.states().await, expected);
    let info = bench.info().await;
    assert_eq!(info.migrations[5].undoable, "Yes");
}
