//! What goes wrong is told with file, line and cure, and leaves a history that tells the truth.

use longshore_migrate::{ErrorKind, Migrator};

use crate::bench::{Bench, Told};

#[tokio::test]
async fn a_failed_migration_is_told_by_file_line_and_statement_and_leaves_nothing() {
    let mut bench = Bench::with(&[
        ("V1__ok.sql", "CREATE TABLE a (id int);\n"),
        ("V2__fails.sql", "CREATE TABLE b (id int);\n-- why\nINSERT INTO b\nVALUES (nonsense);\nSELECT 1;\n"),
    ]);
    let error = bench.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Migration);
    let text = error.to_string().replace(&bench.folder.path().display().to_string(), "DIR");
    insta::assert_snapshot!(text, @r#"
    migration `DIR/migrations/V2__fails.sql` failed at line 4, in statement 2 of 3: column "nonsense" does not exist (SQLSTATE 42703)
           2 | -- why
           3 | INSERT INTO b
      >    4 | VALUES (nonsense);
    nothing of it is applied
    "#);
    assert_eq!(bench.rows().await.len(), 1);
    assert!(bench.ask("SELECT 1 FROM pg_class WHERE relname = 'b'").await.is_empty());
    bench.write("V2__fails.sql", "CREATE TABLE b (id int);\n");
    assert_eq!(bench.migrated().await, 1);
}

#[tokio::test]
async fn outside_of_a_transaction_the_row_says_that_it_failed() {
    let mut bench =
        Bench::with(&[("V1__a.sql", "CREATE TABLE a (id int);\n"), ("V2__vac.sql", "VACUUM a;\nVACUUM nonsense;\n")]);
    let error = bench.migrate().await.unwrap_err();
    assert!(error.to_string().contains("the statements before this one (1) stay applied"), "{error}");
    assert!(bench.rows().await[1].ends_with("|f"));
    assert_eq!(bench.states().await, ["1 Success", "2 Failed"]);
    let error = bench.migrate().await.unwrap_err();
    assert!(error.to_string().contains("version 2 (vac) failed when it ran"), "{error}");
    let database = bench.open().await;
    let mut told = Told::default();
    Migrator::open(database, &bench.settings, &mut told).await.unwrap().repair().await.unwrap();
    bench.write("V2__vac.sql", "VACUUM a;\n");
    assert_eq!(bench.migrated().await, 1);
    assert!(bench.rows().await[1].ends_with("|t"));
}

#[tokio::test]
async fn an_index_is_created_concurrently_without_a_hang() {
    let mut bench = Bench::with(&[
        ("V1__a.sql", "CREATE TABLE a (id int);\n"),
        ("V2__i.sql", "CREATE INDEX CONCURRENTLY i ON a (id);\n"),
    ]);
    assert_eq!(bench.migrated().await, 2);
    assert!(bench.told.lines.iter().any(|line| line.ends_with("[non-transactional]")), "{:?}", bench.told.lines);
}

#[tokio::test]
async fn statements_that_do_not_go_together_are_refused() {
    let mut bench = Bench::with(&[("V1__a.sql", "CREATE TABLE a (id int);\n\nVACUUM a;\n")]);
    let error = bench.migrate().await.unwrap_err();
    assert!(
        error.to_string().contains("the one on line 3 cannot run in a transaction, the one on line 1 should"),
        "{error}"
    );
    assert!(bench.rows().await.is_empty());
    let mut bench = bench.set("mixed", "true");
    assert_eq!(bench.migrated().await, 1);
}

#[tokio::test]
async fn a_script_may_say_how_it_runs() {
    let mut bench = Bench::with(&[
        ("V1__a.sql", "CREATE TABLE a (id int);\nSELECT '${x}';\nSELECT nonsense;\n"),
        ("V1__a.sql.conf", "executeInTransaction=false\nplaceholderReplacement=false\n"),
    ]);
    bench.migrate().await.unwrap_err();
    assert_eq!(bench.ask("SELECT count(*) FROM a").await, ["0"]);
    bench.write("V1__a.sql.conf", "executeInTransactions=false\n");
    let error = bench.migrate().await.unwrap_err();
    assert!(error.to_string().contains("unknown setting of a script"), "{error}");
}

#[tokio::test]
async fn a_script_that_begins_and_commits_itself_is_taken_as_it_is() {
    let mut bench = Bench::with(&[
        ("V1__a.sql", "BEGIN;\nCREATE TABLE a (id int);\nCOMMIT;\nCREATE TABLE b (id int);\n"),
        ("V2__open.sql", "BEGIN;\nCREATE TABLE c (id int);\n"),
    ]);
    assert_eq!(bench.migrated().await, 2);
    assert_eq!(bench.ask("SELECT count(*) FROM pg_tables WHERE tablename IN ('a', 'b', 'c')").await, ["3"]);
    assert_eq!(bench.migrated().await, 0);
    bench.write("V3__half.sql", "BEGIN;\nCREATE TABLE d (id int);\nCOMMIT;\nSELECT nonsense;\n");
    bench.migrate().await.unwrap_err();
    assert!(bench.rows().await[2].ends_with("|f"));
}

#[tokio::test]
async fn a_group_is_applied_whole_or_not_at_all() {
    let mut bench = Bench::with(&[("V1__a.sql", "CREATE TABLE a (id int);\n"), ("V2__b.sql", "SELECT nonsense;\n")])
        .set("group", "true");
    bench.migrate().await.unwrap_err();
    assert!(bench.rows().await.is_empty());
    bench.write("V2__b.sql", "SELECT 2;\n");
    assert_eq!(bench.migrated().await, 2);
    bench.write("V3__v.sql", "VACUUM;\n");
    assert!(bench.migrate().await.unwrap_err().to_string().contains("one transaction for all"));
}

#[tokio::test]
async fn bad_scripts_are_told_before_anything_runs() {
    for (name, text, part) in [
        ("V2__x.sql", &b"SELECT '${missing}';\n"[..], "line 1: the placeholder `${missing}` has no value"),
        ("V2__x.sql", b"SELECT 1;\nSELECT 'open;\n", "line 2: a text in single quotes is opened and never closed"),
        ("V2__x.sql", b"-- caf\xe9\nSELECT 1;\n", "line 1, byte 6: the bytes are no text in the encoding `UTF-8`"),
        ("V01__x.sql", b"SELECT 1;\n", "two files are the migration with version"),
        ("V1.0__x.sql", b"SELECT 1;\n", "two files are the migration with version"),
        ("sub/R__r.sql", b"SELECT 1;\n", "two files are the repeatable migration `r`"),
        ("R__y.sql", b"SELECT '${missing}';\n", "the placeholder `${missing}` has no value"),
    ] {
        let mut bench = Bench::with(&[("V1__a.sql", "SELECT 1;\n"), ("R__r.sql", "SELECT 1;\n")]);
        bench.write(name, text);
        let error = bench.migrate().await.unwrap_err();
        assert!(error.to_string().contains(part), "{name}: {error}");
        assert!(error.hint().is_some(), "{error}");
    }
}

#[tokio::test]
async fn odd_scripts_are_read() {
    let mut bench = Bench::with(&[("V3__empty.sql", ""), ("V4__comment.sql", "-- nothing\n")]);
    bench.write("V1__bom.sql", "\u{feff}CREATE TABLE a (id int);\r\nINSERT INTO a VALUES (1);\r\n");
    bench.write("V2__latin.sql", b"CREATE TABLE l AS SELECT 'caf\xe9' AS t;\n");
    bench.write("V2__latin.sql.conf", "encoding=ISO-8859-1\n");
    bench.write("V5__copy.sql", "COPY a (id) FROM stdin;\n7\n8\n\\.\nUPDATE a SET id = id + 1;\n");
    bench.write("V6__body.sql", "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END; $$;\nSELECT f();\nSELECT e'it\\'s; x';\n");
    assert_eq!(bench.migrated().await, 6);
    assert_eq!(bench.ask("SELECT id FROM a ORDER BY id").await, ["2", "8", "9"]);
    assert_eq!(bench.ask("SELECT t FROM l").await, ["café"]);
    assert_eq!(bench.migrated().await, 0);
}

#[tokio::test]
async fn misnamed_files_are_warned_of_or_refused() {
    let mut bench = Bench::with(&[
        ("V1__a.sql", "SELECT 1;\n"),
        ("v2__b.sql", "SELECT 1;\n"),
        ("V3_c.sql", "SELECT 1;\n"),
        (".hidden/V9__x.sql", "nonsense"),
    ]);
    bench.settings.locations.push("nowhere".to_owned());
    assert_eq!(bench.migrated().await, 1);
    assert_eq!(bench.told.warnings.len(), 3, "{:?}", bench.told.warnings);
    assert!(
        bench.told.warnings[0].contains("nowhere") && bench.told.warnings[1].contains("V3_c.sql"),
        "{:?}",
        bench.told.warnings
    );
    let mut bench = bench.set("validateMigrationNaming", "true");
    assert!(bench.migrate().await.unwrap_err().to_string().contains("v2__b.sql"));
    let mut bench = bench.set("validateMigrationNaming", "false").set("failOnMissingLocations", "true");
    assert!(bench.migrate().await.unwrap_err().to_string().contains("nowhere"));
}

#[tokio::test]
async fn words_of_redshift_are_told_or_left_out() {
    let mut bench = Bench::with(&[("V1__initial_tables.sql", include_str!("seed/V1__initial_tables.sql"))]);
    let error = bench.migrate().await.unwrap_err();
    assert!(error.hint().unwrap().contains("dialect = \"redshift\""), "{error}");
    bench.settings.strip_redshift = true;
    assert_eq!(bench.migrated().await, 1);
    assert_eq!(bench.rows().await, ["1|1|initial tables|SQL|V1__initial_tables.sql|-2076166630|t"]);
    assert_eq!(bench.ask("SELECT count(*) FROM titanic").await, ["0"]);
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_leaves_the_truth() {
    let mut bench = Bench::with(&[(
        "V1__a.sql",
        "CREATE TABLE a (id int);\nSELECT pg_terminate_backend(pg_backend_pid());\nSELECT 1;\n",
    )]);
    let error = bench.migrate().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(bench.rows().await.is_empty());
    assert!(bench.ask("SELECT 1 FROM pg_class WHERE relname = 'a'").await.is_empty());
    bench.write("V1__a.sql", "CREATE TABLE a (id int);\nSELECT pg_terminate_backend(pg_backend_pid());\n");
    bench.write("V1__a.sql.conf", "executeInTransaction=false\n");
    bench.migrate().await.unwrap_err();
    assert!(bench.rows().await[0].ends_with("|f"));
}
