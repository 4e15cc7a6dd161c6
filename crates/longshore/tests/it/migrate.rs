//! `longshore migrate`, by the real binary: DuckDB, kills, what loading makes of it, and what Flyway's own files say.

#![allow(clippy::unwrap_used, reason = "helpers of tests are outside of #[test] functions")]

use crate::harness::{On, Project};

const ORDERS: &str =
    "[[pipeline]]\nname = \"orders\"\nmatch = \"orders-*.csv\"\ntable = \"orders\"\nmode = \"append\"\n";

fn put(project: &Project, name: &str, body: impl AsRef<[u8]>) {
    let path = project.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, body).unwrap();
}

/// The history, but for times: what the reference shows.
fn history(project: &Project) -> Vec<String> {
    project.rows(
        "SELECT installed_rank, version, description, type, script, checksum, success FROM flyway_schema_history ORDER BY 1",
    )
}

/// Rows write booleans as their database does.
fn truth(row: &str) -> bool {
    row.ends_with("|t") || row.ends_with("|true")
}

#[test]
fn the_embedded_warehouse_is_migrated_by_the_same_commands() {
    let project = Project::new(ORDERS);
    put(&project, "migrations/V1__orders.sql", "CREATE TABLE orders (id INTEGER);\n");
    put(&project, "migrations/sub/V1.1__note.sql", "ALTER TABLE orders ADD COLUMN note VARCHAR;\n");
    put(&project, "migrations/R__view.sql", "CREATE OR REPLACE VIEW big AS SELECT * FROM orders WHERE id > 10;\n");
    project.run(&["migrate", "--dry-run"]).exits(0).prints("CREATE TABLE orders (id INTEGER);").prints("COMMIT;");
    project.run(&["migrate", "info"]).exits(0).prints("Schema version: << Empty Schema >>").prints("| Pending |");
    assert!(!project.path("warehouse.duckdb").exists(), "nothing is made by who only looks");
    assert!(
        project
            .run(&["migrate"])
            .exits(0)
            .stderr
            .contains("Successfully applied 3 migrations to schema \"main\", now at version v1.1")
    );
    let rows = history(&project);
    assert_eq!(rows.len(), 3);
    assert_eq!(
        rows[0],
        format!(
            "1|1|orders|SQL|V1__orders.sql|{}|true",
            longshore_migrate::checksum("CREATE TABLE orders (id INTEGER);\n")
        )
    );
    assert!(
        rows[1].starts_with("2|1.1|note|SQL|sub/V1.1__note.sql|") && rows[2].starts_with("3|-|view|SQL|R__view.sql|")
    );
    project.run(&["migrate"]).exits(0).says("is up to date");
    project.run(&["migrate", "validate"]).exits(0).says("Successfully validated 3 migrations");
    let info = project.run(&["migrate", "info", "--json"]).exits(0).json();
    assert_eq!(info["schemaVersion"], "1.1");
    assert_eq!(info["migrations"][2]["state"], "Success");
    put(&project, "migrations/R__view.sql", "CREATE OR REPLACE VIEW big AS SELECT * FROM orders WHERE id > 20;\n");
    project.run(&["migrate", "--json"]).exits(0).prints("\"migrationsExecuted\": 1");
    put(&project, "migrations/V1__orders.sql", "CREATE TABLE orders (id BIGINT);\n");
    project.run(&["migrate", "validate"]).exits(1).says("the checksum of version 1 (orders) differs").says("repair");
    project.run(&["migrate"]).exits(1).says("the checksum of version 1 (orders) differs");
    project.run(&["migrate", "repair"]).exits(0).says("gave the row of version 1 (orders) what its script says now");
    project.run(&["migrate"]).exits(0);
    project.run(&["migrate", "clean"]).exits(2).says("cleanDisabled=false");
    project
        .run(&["migrate", "clean", "--set", "cleanDisabled=false"])
        .exits(0)
        .says("Successfully cleaned schema \"main\"");
    assert_eq!(project.value("SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'main'"), "0");
    project.run(&["migrate"]).exits(0).says("Successfully applied 3 migrations");
}

#[test]
fn a_failure_in_duckdb_is_told_by_line_and_leaves_nothing() {
    let project = Project::new(ORDERS);
    put(&project, "migrations/V1__a.sql", "CREATE TABLE a (id INTEGER);\n\nINSERT INTO a\nSELECT nonsense;\n");
    project
        .run(&["migrate"])
        .exits(1)
        .says("V1__a.sql` failed at line 4, in statement 2 of 2")
        .says("nothing of it is applied")
        .says("hint: ");
    assert_eq!(history(&project), [""; 0]);
    put(&project, "migrations/V1__a.sql", "CREATE TABLE a (id INTEGER);\n");
    put(&project, "migrations/V2__out.sql", "CHECKPOINT;\nFORCE CHECKPOINT;\n");
    put(&project, "migrations/V3__out.sql", "CHECKPOINT nonsense;\n");
    project.run(&["migrate"]).exits(1).says("ran outside of a transaction");
    let rows = history(&project);
    assert!(rows.len() == 3 && truth(&rows[1]) && !truth(&rows[2]), "{rows:?}");
    project.run(&["migrate"]).exits(1).says("version 3 (out) failed when it ran").says("longshore migrate repair");
    put(&project, "migrations/V3__out.sql", "CHECKPOINT;\n");
    project.run(&["migrate", "repair"]).exits(0);
    project.run(&["migrate"]).exits(0);
}

#[test]
fn words_of_redshift_are_told_or_left_out() {
    let project = Project::new(ORDERS);
    put(
        &project,
        "migrations/V1__initial_tables.sql",
        "CREATE TABLE t (id INT NOT NULL distkey sortkey, n VARCHAR(10) ENCODE zstd) DISTSTYLE KEY;\n",
    );
    project.run(&["migrate"]).exits(1).says("dialect = \"redshift\"");
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    project.write_config(&format!("{config}\n[migrate]\ndialect = \"redshift\"\n"));
    project.run(&["migrate"]).exits(0);
}

#[test]
fn loading_waits_for_pending_and_failed_migrations_and_goes_on_by_itself() {
    for place in [On::Directory, On::Postgres] {
        let project = Project::on(place, ORDERS);
        put(&project, "migrations/V1__orders.sql", "CREATE TABLE orders (id INTEGER);\n");
        project.drop("orders-1.csv", "id\n1\n");
        project
            .run(&["run", "--once"])
            .exits(1)
            .says("a migration of this project is pending: `1 - orders`")
            .says("run `longshore migrate`");
        assert_eq!(project.keys(), ["pending/orders-1.csv"]);
        project.run(&["check"]).exits(1).prints("fault    migrations: a migration of this project is pending");
        project.run(&["migrate"]).exits(0);
        project.run(&["check"]).exits(0).prints("ok       migrations: all are applied");
        project.load();
        assert_eq!(project.value("SELECT count(*) FROM orders"), "1");

        put(&project, "migrations/V2__bad.sql.conf", "executeInTransaction=false\n");
        put(&project, "migrations/V2__bad.sql", "SELECT nonsense;\n");
        project.run(&["migrate"]).exits(1);
        project.drop("orders-2.csv", "id\n2\n");
        project.run(&["run", "--once"]).exits(1).says("the migration `2 - bad` of this project failed");
        assert_eq!(project.value("SELECT count(*) FROM orders"), "1");
        let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
        project.write_config(&format!("{config}\n[migrate]\npause_loads = false\n"));
        project.load();
        assert_eq!(project.value("SELECT count(*) FROM orders"), "2");
    }
}

/// What is killed in the middle is whole, or not there, or says that it failed.
#[test]
fn a_kill_at_any_point_leaves_a_history_that_tells_the_truth() {
    for place in [On::Directory, On::Postgres] {
        for point in
            ["history", "statement:1", "statement:2", "statement:3", "before row", "before COMMIT", "after COMMIT"]
        {
            let project = Project::on(place, "");
            put(
                &project,
                "migrations/V1__a.sql",
                "CREATE TABLE a (id INTEGER);\nINSERT INTO a VALUES (1);\nINSERT INTO a VALUES (2);\n",
            );
            let ran = project.run_with(&["migrate"], &[("LONGSHORE_CRASH_AT", point)]);
            assert_eq!(ran.code, None, "{place:?} {point}: {}", ran.stderr);
            project.run(&["migrate"]).exits(0);
            assert_eq!(project.value("SELECT sum(id) FROM a"), "3", "{place:?} {point}");
            let rows = history(&project);
            assert!(rows.len() == 1 && truth(&rows[0]), "{place:?} {point}: {rows:?}");
        }
        for (point, applied) in
            [("after first row", "0"), ("statement:1", "0"), ("statement:2", "1"), ("before last row", "3")]
        {
            let project = Project::on(place, "");
            put(&project, "migrations/V1__a.sql", "CREATE TABLE a (id INTEGER);\n");
            project.run(&["migrate"]).exits(0);
            put(&project, "migrations/V2__b.sql", "INSERT INTO a VALUES (1);\nINSERT INTO a VALUES (2);\n");
            put(&project, "migrations/V2__b.sql.conf", "executeInTransaction=false\n");
            let ran = project.run_with(&["migrate"], &[("LONGSHORE_CRASH_AT", point)]);
            assert_eq!(ran.code, None, "{place:?} {point}: {}", ran.stderr);
            let rows = history(&project);
            assert!(rows.len() == 2 && !truth(&rows[1]), "{place:?} {point}: {rows:?}");
            assert_eq!(project.value("SELECT coalesce(sum(id), 0) FROM a"), applied, "{place:?} {point}");
            project.run(&["migrate"]).exits(1).says("failed");
        }
    }
}

#[test]
fn a_migration_that_runs_is_not_taken_for_one_that_failed() {
    let project = Project::on(On::Postgres, ORDERS);
    put(&project, "migrations/V1__orders.sql", "CREATE TABLE orders (id INTEGER);\n");
    project.run(&["migrate"]).exits(0);
    put(&project, "migrations/V2__slow.sql", "SELECT pg_sleep(3);\n");
    put(&project, "migrations/V2__slow.sql.conf", "executeInTransaction=false\n");
    let mut first = project.command(&["migrate"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    crate::harness::until(|| history(&project).len() == 2, || "the row of version 2".to_owned());
    project.run(&["migrate", "info"]).exits(0).says("another process migrates this database right now");
    project.run(&["migrate"]).exits(0).says("waiting for it to end").says("up to date");
    assert!(first.wait().unwrap().success());
    assert!(truth(&history(&project)[1]));
}

#[test]
fn a_lock_that_a_script_gives_away_is_taken_again() {
    let project = Project::on(On::Postgres, "");
    put(&project, "migrations/V1__discard.sql", "DISCARD ALL;\n");
    put(&project, "migrations/V2__slow.sql", "SELECT pg_sleep(1); CREATE TABLE t3 (x int);\n");
    let mut others: Vec<_> =
        (0..3).map(|_| project.command(&["migrate"]).stderr(std::process::Stdio::null()).spawn().unwrap()).collect();
    for other in &mut others {
        assert!(other.wait().unwrap().success());
    }
    assert_eq!(history(&project).len(), 2);
}

#[test]
fn a_repeatable_that_names_the_time_holds_no_load_back() {
    let project = Project::new(ORDERS);
    put(&project, "migrations/V1__orders.sql", "CREATE TABLE orders (id INTEGER);\n");
    put(&project, "migrations/R__time.sql", "CREATE OR REPLACE VIEW t AS SELECT '${flyway:timestamp}' AS t;\n");
    project.drop("orders-1.csv", "id\n1\n");
    project.run(&["run", "--once"]).exits(1);
    project.run(&["migrate"]).exits(0);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    project.load();
}

#[test]
fn values_of_placeholders_and_settings_before_are_kept_apart() {
    let project = Project::on(
        On::Postgres,
        "[migrate]\nplaceholders = { pw = \"hush77\" }\ndefault_schema = \"app\"\ninit_sql = \"CREATE TABLE IF NOT EXISTS public.made (id int)\"\n",
    );
    put(&project, "migrations/V1__u.sql", "CREATE TABLE a (id int);\nSELECT '${pw}', nonsense;\n");
    put(&project, "migrations/beforeMigrate.sql", "CREATE TABLE IF NOT EXISTS marks (id int);\n");
    project.run(&["migrate", "--dry-run"]).exits(0).prints("hush77");
    assert_eq!(project.rows("SELECT 1 FROM pg_tables WHERE tablename = 'made'"), [""; 0], "a dry run touches nothing");
    let ran = project.run(&["migrate"]).exits(1).says("SELECT '${pw}', nonsense");
    assert!(!ran.stderr.contains("hush77"), "{}", ran.stderr);
    assert_eq!(project.value("SELECT schemaname FROM pg_tables WHERE tablename = 'marks'"), "app");
    put(
        &project,
        "migrations/V1__u.sql",
        "BEGIN; CREATE TABLE c1 (x int); COMMIT AND CHAIN; CREATE TABLE c2 (x int);\n",
    );
    project.run(&["migrate"]).exits(0);
    assert_eq!(project.value("SELECT count(*) FROM pg_tables WHERE tablename IN ('c1', 'c2')"), "2");
    assert_eq!(project.value("SELECT success FROM app.flyway_schema_history WHERE version = '1'"), "t");
}

#[test]
fn two_processes_at_once_apply_everything_once() {
    for place in [On::Directory, On::Postgres] {
        let project = Project::on(place, "");
        for n in 1..=5 {
            put(&project, &format!("migrations/V{n}__t.sql"), format!("CREATE TABLE t{n} (id INTEGER);\n"));
        }
        let mut others: Vec<_> = (0..3)
            .map(|_| project.command(&["migrate"]).stderr(std::process::Stdio::null()).spawn().unwrap())
            .collect();
        for other in &mut others {
            assert!(other.wait().unwrap().success(), "{place:?}");
        }
        assert_eq!(history(&project).len(), 5, "{place:?}");
    }
}

#[test]
fn settings_stand_in_the_configuration_in_flyways_files_and_in_the_environment() {
    let project = Project::new(
        "[migrate]\nlocations = [\"sql\"]\ntable = \"own_history\"\nplaceholders = { who = \"toml\" }\nout_of_order = true\n",
    );
    put(
        &project,
        "sql/V1__a.sql",
        "CREATE TABLE a AS SELECT '${who}' AS who, '${flyway:user}' AS u, '${only}' AS o;\n",
    );
    put(
        &project,
        "conf/flyway.conf",
        "flyway.locations=filesystem:elsewhere\nflyway.placeholders.only=conf\nflyway.driver=x\nflyway.url=jdbc:postgresql://h/db\n",
    );
    project
        .run(&["migrate"])
        .exits(0)
        .says("`flyway.driver` in")
        .says("are passed over: `[warehouse] url` says which database this is");
    assert_eq!(project.rows("SELECT who, o FROM a"), ["toml|conf"]);
    assert_eq!(project.value("SELECT count(*) FROM own_history"), "1");
    put(&project, "sql/R__v.sql", "CREATE OR REPLACE VIEW v AS SELECT '${who}' AS who;\n");
    project.run_with(&["migrate"], &[("FLYWAY_PLACEHOLDERS_WHO", "env")]).exits(0);
    assert_eq!(project.value("SELECT who FROM v"), "env");
    project.run(&["migrate", "--set", "placeholders.who=flag"]).exits(0);
    assert_eq!(project.value("SELECT who FROM v"), "flag");
}

#[test]
fn what_is_wrong_in_the_settings_is_told() {
    let project = Project::new("[migrate]\noutoforder = true\ntarget = \"soon\"\nurl = \"x\"\n");
    let ran = project.run(&["migrate"]).exits(2);
    assert!(
        ran.stderr.contains("`migrate.outoforder`: unknown setting; did you mean `out_of_order`?"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("`migrate.target`: expected `latest`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`migrate.url`: unknown setting"), "{}", ran.stderr);
    let project = Project::new("");
    project.run(&["migrate", "--set", "outOfOrdr=true"]).exits(2).says("did you mean `outOfOrder`?");
    project.run(&["migrate", "--set", "group"]).exits(2).says("has no `=`");
    project.run(&["migrate", "info", "--dry-run"]).exits(2).says("touch nothing anyway");
    project.run(&["migrate"]).exits(0).says("the location `").says("does not exist");
}

#[test]
fn a_folder_of_flyways_alone_is_migrated() {
    let project = Project::on(On::Postgres, "");
    let url = project.database().url();
    let (login, place) = url.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    std::fs::remove_file(project.path("longshore.toml")).unwrap();
    put(&project, "sql/V1__a.sql", "CREATE TABLE a (id INTEGER);\n");
    let password = password.replace("%40", "@").replace("%3A", ":").replace("%2F", "/");
    put(
        &project,
        "flyway.conf",
        format!(
            "flyway.url=jdbc:postgresql://{place}\nflyway.user={user}\nflyway.password={password}\nflyway.locations=filesystem:sql\n"
        ),
    );
    let ran = project.run(&["migrate"]).exits(0);
    assert!(!ran.stderr.contains(&password) && !ran.stdout.contains(&password));
    assert_eq!(history(&project).len(), 1);
    std::fs::remove_file(project.path("flyway.conf")).unwrap();
    project.run(&["migrate"]).exits(2).says("there is no `longshore.toml` here").says("FLYWAY_URL");
    let jdbc = format!("jdbc:postgresql://{place}");
    let env = [
        ("FLYWAY_URL", jdbc.as_str()),
        ("FLYWAY_USER", user),
        ("FLYWAY_PASSWORD", "Wr0ng-One"),
        ("FLYWAY_LOCATIONS", "sql"),
    ];
    let ran = project.run_with(&["migrate"], &env).exits(2);
    assert!(!ran.stderr.contains("Wr0ng-One"), "{}", ran.stderr);
}
