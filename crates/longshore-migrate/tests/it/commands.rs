//! What each command does, and that it touches nothing else.

use longshore_migrate::{Migrator, Touch};

use crate::bench::{Bench, Told};

#[tokio::test]
async fn info_is_drawn_as_flyway_draws_it() {
    let mut bench =
        Bench::with(&[("V1__m1.sql", "SELECT 1;\n"), ("V2__m2.sql", "SELECT 2;\n"), ("R__v.sql", "SELECT 3;\n")])
            .set("target", "1");
    bench.migrated().await;
    bench.run("UPDATE flyway_schema_history SET installed_on = '2026-11-22 12:29:08.123456'").await;
    let mut bench = bench.set("target", "latest");
    insta::assert_snapshot!(bench.info().await.to_table(), @r"
    +------------+---------+-------------+------+---------------------+---------+----------+
    | Category   | Version | Description | Type | Installed On        | State   | Undoable |
    +------------+---------+-------------+------+---------------------+---------+----------+
    | Versioned  | 1       | m1          | SQL  | 2026-11-22 12:29:08 | Success | No       |
    | Repeatable |         | v           | SQL  | 2026-11-22 12:29:08 | Success |          |
    | Versioned  | 2       | m2          | SQL  |                     | Pending | No       |
    +------------+---------+-------------+------+---------------------+---------+----------+
    ");
    insta::assert_snapshot!(Bench::new().info().await.to_table(), @r"
    +----------+---------+-------------+------+--------------+-------+----------+
    | Category | Version | Description | Type | Installed On | State | Undoable |
    +----------+---------+-------------+------+--------------+-------+----------+
    | No migrations found                                                       |
    +----------+---------+-------------+------+--------------+-------+----------+
    ");
}

#[tokio::test]
async fn a_run_is_told_in_flyways_words() {
    let mut bench = Bench::with(&[("V1__m1.sql", "SELECT 1;\n"), ("R__v.sql", "SELECT 3;\n")]);
    bench.migrated().await;
    let without_times = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| line.split(" (execution").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(
        without_times(&bench.told.lines),
        [
            "Successfully validated 2 migrations",
            "Creating Schema History table \"public\".\"flyway_schema_history\" ...",
            "Current version of schema \"public\": << Empty Schema >>",
            "Migrating schema \"public\" to version \"1 - m1\"",
            "Migrating schema \"public\" with repeatable migration \"v\"",
            "Successfully applied 2 migrations to schema \"public\", now at version v1",
        ]
    );
    bench.migrated().await;
    assert_eq!(bench.told.lines[2], "Schema \"public\" is up to date. No migration necessary.");
}

#[tokio::test]
async fn a_dry_run_prints_the_sql_and_touches_nothing() {
    let mut bench = Bench::with(&[
        ("V1__m1.sql", "CREATE TABLE a (id int);\nINSERT INTO a VALUES (1);\n"),
        ("V2__m2.sql", "CREATE INDEX CONCURRENTLY i ON a (id);\n"),
        ("R__v.sql", "CREATE OR REPLACE VIEW v AS SELECT * FROM ${x};\n"),
        ("V3__copy.sql", "COPY a FROM stdin;\n7\n\\.\n"),
        ("beforeMigrate.sql", "SELECT 'first';\n"),
    ])
    .set("placeholders.x", "a");
    let database = bench.open().await;
    let mut told = Told::default();
    let scripts = longshore_migrate::script::find(&bench.settings).unwrap();
    let mut migrator = Migrator::over(database, &bench.settings, scripts, Touch::No, &mut told).await.unwrap();
    assert_eq!(migrator.migrate().await.unwrap().migrations_executed, 4);
    let script = migrator.script().to_owned();
    drop(migrator);
    insta::assert_snapshot!(script, @r#"
    -- the history table
    BEGIN;
    CREATE TABLE "public"."flyway_schema_history" (
      "installed_rank" INT NOT NULL,
      "version" VARCHAR(50),
      "description" VARCHAR(200) NOT NULL,
      "type" VARCHAR(20) NOT NULL,
      "script" VARCHAR(1000) NOT NULL,
      "checksum" INTEGER,
      "installed_by" VARCHAR(100) NOT NULL,
      "installed_on" TIMESTAMP NOT NULL DEFAULT now(),
      "execution_time" INTEGER NOT NULL,
      "success" BOOLEAN NOT NULL
    );
    ALTER TABLE "public"."flyway_schema_history" ADD CONSTRAINT "flyway_schema_history_pk" PRIMARY KEY ("installed_rank");
    CREATE INDEX "flyway_schema_history_s_idx" ON "public"."flyway_schema_history" ("success");
    COMMIT;

    -- beforeMigrate.sql (beforeMigrate)
    BEGIN;
    SELECT 'first';
    COMMIT;

    -- V1__m1.sql
    BEGIN;
    CREATE TABLE a (id int);
    INSERT INTO a VALUES (1);
    INSERT INTO "public"."flyway_schema_history" ("installed_rank", "version", "description", "type", "script", "checksum", "installed_by", "execution_time", "success") VALUES (1, '1', 'm1', 'SQL', 'V1__m1.sql', -279898995, 'longshore', 0, true);
    COMMIT;

    -- V2__m2.sql [non-transactional]
    BEGIN;
    INSERT INTO "public"."flyway_schema_history" ("installed_rank", "version", "description", "type", "script", "checksum", "installed_by", "execution_time", "success") VALUES (2, '2', 'm2', 'SQL', 'V2__m2.sql', 446577920, 'longshore', 0, false);
    COMMIT;
    CREATE INDEX CONCURRENTLY i ON a (id);
    UPDATE "public"."flyway_schema_history" SET "success" = true, "execution_time" = 0 WHERE "installed_rank" = 2;

    -- V3__copy.sql
    BEGIN;
    COPY a FROM stdin;
    7
    \.
    INSERT INTO "public"."flyway_schema_history" ("installed_rank", "version", "description", "type", "script", "checksum", "installed_by", "execution_time", "success") VALUES (3, '3', 'copy', 'SQL', 'V3__copy.sql', 529360063, 'longshore', 0, true);
    COMMIT;

    -- R__v.sql
    BEGIN;
    CREATE OR REPLACE VIEW v AS SELECT * FROM a;
    INSERT INTO "public"."flyway_schema_history" ("installed_rank", "version", "description", "type", "script", "checksum", "installed_by", "execution_time", "success") VALUES (4, NULL, 'v', 'SQL', 'R__v.sql', 366041935, 'longshore', 0, true);
    COMMIT;
    "#);
    assert_eq!(bench.ask("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace").await, ["0"]);
    // The script is SQL: what it says can be done by psql, and is then taken over.
    let file = bench.folder.path().join("dry.sql");
    std::fs::write(&file, &script).unwrap();
    let done = std::process::Command::new("psql")
        .arg(bench.database.url())
        .args(["-qAt", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(bench.migrated().await, 0);
    assert_eq!(bench.ask("SELECT id FROM v ORDER BY id").await, ["1", "7"]);
}

#[tokio::test]
async fn a_dry_run_names_the_schema_that_scripts_run_in() {
    let bench = Bench::with(&[("V1__m1.sql", "CREATE TABLE a (id int);\n")]).set("defaultSchema", "my \"app\"");
    let database = bench.open().await;
    let mut told = Told::default();
    let scripts = longshore_migrate::script::find(&bench.settings).unwrap();
    let mut migrator = Migrator::over(database, &bench.settings, scripts, Touch::No, &mut told).await.unwrap();
    migrator.migrate().await.unwrap();
    let script = migrator.script().to_owned();
    drop(migrator);
    assert!(script.contains("CREATE SCHEMA \"my \"\"app\"\"\";"), "{script}");
    assert!(script.contains("SET search_path TO \"my \"\"app\"\"\", \"$user\", \"public\";"), "{script}");
    bench.run(&script).await;
    assert_eq!(bench.ask("SELECT count(*) FROM \"my \"\"app\"\"\".a").await, ["0"]);
}

#[tokio::test]
async fn validate_names_everything_that_does_not_fit() {
    let mut bench = Bench::with(&[
        ("V1__a.sql", "SELECT 1;\n"),
        ("V2__b.sql", "SELECT 2;\n"),
        ("V4__d.sql", "SELECT 4;\n"),
        ("R__r.sql", "SELECT 1;\n"),
    ]);
    bench.migrated().await;
    bench.write("V1__a.sql", "SELECT 5;\n");
    bench.remove("V2__b.sql");
    bench.write("V3__c.sql", "SELECT 3;\n");
    bench.write("R__r.sql", "SELECT 2;\n");
    let database = bench.open().await;
    let mut told = Told::default();
    let found = Migrator::open(database, &bench.settings, &mut told).await.unwrap().validate().await.unwrap();
    let codes: Vec<&str> = found.invalid.iter().map(|one| one.code).collect();
    assert_eq!(
        codes,
        [
            "CHECKSUM_MISMATCH",
            "APPLIED_VERSIONED_MIGRATION_NOT_RESOLVED",
            "OUTDATED_REPEATABLE_MIGRATION",
            "RESOLVED_VERSIONED_MIGRATION_NOT_APPLIED",
            "RESOLVED_REPEATABLE_MIGRATION_NOT_APPLIED",
        ]
    );
    let message = &found.invalid[0].message;
    assert!(message.contains("78787420") && message.contains("1625224792"), "{message}");
    let error = bench.migrate().await.unwrap_err().to_string();
    assert!(error.contains("checksum of version 1 (a) differs") && error.contains("version 3 (c) is below"), "{error}");
    assert!(!error.contains("waits to be applied"), "{error}");
    let mut bench = bench.set("validateOnMigrate", "false");
    assert_eq!(bench.migrated().await, 1);
}

#[tokio::test]
async fn repair_makes_the_history_fit() {
    let mut bench = Bench::with(&[
        ("V1__a.sql", "SELECT 1;\n"),
        ("V2__b.sql", "SELECT 2;\n"),
        ("V3__c.sql", "SELECT 3;\n"),
        ("R__r2.sql", "SELECT 1;\n"),
    ]);
    bench.migrated().await;
    bench.write("V1__a.sql", "SELECT 5;\n");
    bench.remove("V2__b.sql");
    bench.remove("R__r2.sql");
    bench.run("INSERT INTO flyway_schema_history VALUES (9, '2.5', 'vac', 'SQL', 'V2.5__vac.sql', 1, 'x', now(), 0, false)").await;
    let database = bench.open().await;
    let mut told = Told::default();
    let done = Migrator::open(database, &bench.settings, &mut told).await.unwrap().repair().await.unwrap();
    assert_eq!(done.migrations_removed.len(), 1);
    assert_eq!(done.migrations_deleted.len(), 2);
    assert_eq!(done.migrations_aligned, ["version 1 (a)"]);
    assert_eq!(
        bench.rows().await,
        [
            "1|1|a|SQL|V1__a.sql|1625224792|t",
            "2|2|b|SQL|V2__b.sql|798974111|t",
            "3|3|c|SQL|V3__c.sql|914641374|t",
            "4|∅|r2|SQL|R__r2.sql|78787420|t",
            "10|2|b|DELETE|V2__b.sql|798974111|t",
            "11|∅|r2|DELETE|R__r2.sql|78787420|t",
        ]
    );
    assert_eq!(bench.migrated().await, 0);
    // A script that comes back is one that waits.
    bench.write("V2__b.sql", "SELECT 2;\n");
    let mut bench = bench.set("outOfOrder", "true");
    assert_eq!(bench.migrated().await, 1);
}

#[tokio::test]
async fn baseline_marks_a_database_once() {
    let mut bench =
        Bench::with(&[("V1__a.sql", "SELECT 1;\n"), ("V2__b.sql", "SELECT 2;\n"), ("V3__c.sql", "SELECT 3;\n")])
            .set("baselineVersion", "2")
            .set("baselineDescription", "Legacy import");
    bench.run("CREATE TABLE legacy (a int)").await;
    for _ in 0..2 {
        let database = bench.open().await;
        let mut told = Told::default();
        let done = Migrator::open(database, &bench.settings, &mut told).await.unwrap().baseline().await.unwrap();
        assert!(done.successfully_baselined);
        assert_eq!(bench.rows().await, ["1|2|Legacy import|BASELINE|Legacy import|∅|t"]);
    }
    assert_eq!(bench.states().await, ["1 Below Baseline", "2 Ignored (Baseline)", "2 Baseline", "3 Pending"]);
    assert_eq!(bench.migrated().await, 1);
    let bench = bench.set("baselineVersion", "3");
    let database = bench.open().await;
    let mut told = Told::default();
    let error = Migrator::open(database, &bench.settings, &mut told).await.unwrap().baseline().await.unwrap_err();
    assert!(error.to_string().contains("has a baseline already"), "{error}");
}

#[tokio::test]
async fn clean_is_refused_unless_it_is_asked_for() {
    let mut bench = Bench::with(&[(
        "V1__a.sql",
        "CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN d AS int; CREATE SEQUENCE s; CREATE TABLE a (id serial, m mood); \
         CREATE VIEW v AS SELECT * FROM a; CREATE MATERIALIZED VIEW m AS SELECT * FROM a; CREATE TABLE p (a int) PARTITION BY LIST (a); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         CREATE PROCEDURE q(int) LANGUAGE sql AS 'SELECT 1'; CREATE TYPE pair AS (a int, b int); CREATE TYPE r AS RANGE (subtype = int4);\n",
    )]);
    bench.migrated().await;
    let clean = async |bench: &Bench| {
        let database = bench.open().await;
        let mut told = Told::default();
        Migrator::open(database, &bench.settings, &mut told).await.unwrap().clean().await
    };
    let error = clean(&bench).await.unwrap_err();
    assert!(error.hint().unwrap().contains("cleanDisabled=false"), "{error}");
    let mut bench = bench.set("cleanDisabled", "false");
    clean(&bench).await.unwrap();
    let left = "SELECT 'class', relname FROM pg_class WHERE relnamespace = 'public'::regnamespace UNION ALL \
                SELECT 'type', typname FROM pg_type WHERE typnamespace = 'public'::regnamespace UNION ALL \
                SELECT 'proc', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace";
    assert_eq!(bench.ask(left).await, [""; 0]);
    assert_eq!(bench.migrated().await, 1);
}

#[tokio::test]
async fn targets_and_out_of_order_are_kept() {
    let mut bench =
        Bench::with(&[("V1__a.sql", "SELECT 1;\n"), ("V2__b.sql", "SELECT 2;\n"), ("V3__c.sql", "SELECT 3;\n")])
            .set("target", "next");
    assert_eq!(bench.migrated().await, 1);
    assert_eq!(bench.migrated().await, 1);
    assert_eq!(bench.states().await, ["1 Success", "2 Success", "3 Pending"]);
    let mut bench = bench.set("target", "current");
    assert_eq!(bench.migrated().await, 0);
    let mut bench = bench.set("target", "9");
    assert!(bench.migrate().await.unwrap_err().to_string().contains("no migration with the target's version 9"));
    let mut bench = bench.set("target", "9?");
    assert_eq!(bench.migrated().await, 1);
    bench.write("V1.5__late.sql", "SELECT 4;\n");
    assert!(bench.migrate().await.is_err());
    let mut bench = bench.set("target", "latest").set("outOfOrder", "true");
    assert_eq!(bench.migrated().await, 1);
    assert!(bench.told.lines.iter().any(|line| line.contains("[out of order]")), "{:?}", bench.told.lines);
    assert_eq!(bench.states().await, ["1 Success", "2 Success", "3 Success", "1.5 Out of Order"]);
}

#[tokio::test]
async fn rows_alone_are_written_where_nothing_is_to_be_run() {
    let mut bench = Bench::with(&[("V1__a.sql", "CREATE TABLE a (id int);\n")]).set("skipExecutingMigrations", "true");
    assert_eq!(bench.migrated().await, 1);
    assert!(bench.ask("SELECT 1 FROM pg_class WHERE relname = 'a'").await.is_empty());
}

#[tokio::test]
async fn two_at_once_apply_everything_once() {
    let bench = Bench::with(&[
        ("V1__a.sql", "CREATE TABLE a (id int);\nSELECT pg_sleep(0.2);\n"),
        ("V2__b.sql", "CREATE TABLE b (id int);\nSELECT pg_sleep(0.2);\n"),
    ]);
    let run = async || {
        let database = bench.open().await;
        let mut told = Told::default();
        let done = Migrator::open(database, &bench.settings, &mut told).await?.migrate().await?;
        Ok::<_, longshore_migrate::Error>(done.migrations_executed)
    };
    let (one, two, three) = tokio::join!(run(), run(), run());
    let mut counts = [one.unwrap(), two.unwrap(), three.unwrap()];
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 2]);
    assert_eq!(bench.rows().await.len(), 2);
}

#[tokio::test]
async fn flyways_lock_keeps_longshore_out() {
    let bench = Bench::with(&[("V1__a.sql", "SELECT 1;\n")]);
    let mut bench = bench.set("lockRetryCount", "0");
    let flyway = crate::bench::connect(&bench.database.url()).await;
    // The key of `"public"."flyway_schema_history"`, as it was seen on a server.
    crate::bench::ask(&flyway, "BEGIN").await;
    crate::bench::ask(&flyway, "SELECT pg_try_advisory_xact_lock(77433833903597)").await;
    let error = bench.migrate().await.unwrap_err();
    assert!(error.to_string().contains("holds the lock") && error.to_string().contains("process "), "{error}");
    crate::bench::ask(&flyway, "ROLLBACK").await;
    assert_eq!(bench.migrated().await, 1);
}

#[tokio::test]
async fn the_search_path_and_the_user_are_reset_before_each_migration() {
    let mut bench = Bench::with(&[
        ("V1__a.sql", "CREATE SCHEMA other; SET search_path TO other; SET ROLE pg_monitor;\n"),
        ("V2__b.sql", "CREATE TABLE b (id int);\n"),
    ])
    .set("defaultSchema", "app");
    bench.database.sql("GRANT pg_monitor TO longshore");
    bench.migrated().await;
    assert_eq!(bench.ask("SELECT schemaname FROM pg_tables WHERE tablename = 'b'").await, ["app"]);
}
