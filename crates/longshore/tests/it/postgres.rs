//! The product on PostgreSQL: what a user meets there and nowhere else.

use longshore_postgres::testing::{Options, Server};
use serde_json::Value;

use crate::harness::{Project, numbered, until};

fn pipeline(settings: &str) -> String {
    format!("[[pipeline]]\nname = \"t\"\nmatch = \"*.csv\"\ntable = \"t\"\n{settings}\n")
}

fn project(settings: &str, tables: &str) -> Project {
    let project = Project::on_postgres(&pipeline(settings));
    project.sql(tables);
    project
}

const APPEND: &str = "mode = \"append\"";
const UPSERT: &str = "mode = \"upsert\"\nkey = [\"id\"]";
const REPLACE: &str = "mode = \"replace\"";
const TABLE: &str = "CREATE TABLE t (id integer, name text)";
const T: &str = "SELECT * FROM t ORDER BY ALL";

fn report(project: &Project, words: &str) -> Value {
    serde_json::from_str(&project.text(&project.key(words))).unwrap()
}

#[test]
fn the_three_modes_bring_rows_in() {
    for (mode, expected) in
        [(APPEND, &["1|a", "1|b", "2|a", "3|b"][..]), (UPSERT, &["1|b", "2|a", "3|b"]), (REPLACE, &["1|b", "3|b"])]
    {
        for keyed in [TABLE, "CREATE TABLE t (id integer PRIMARY KEY, name text)"] {
            if mode == APPEND && keyed != TABLE {
                continue;
            }
            let project = project(mode, keyed);
            project.drop("1.csv", "id,name\n1,a\n2,a\n");
            project.load();
            project.drop("2.csv", "id,name\n1,b\n3,b\n");
            project.load();
            assert_eq!(project.rows(T), expected, "{mode} {keyed}");
            assert_eq!(project.keys(), ["processed/<today>/1.csv", "processed/<today>/2.csv"]);
            project.run(&["audit"]).exits(0);
            project.run(&["check"]).exits(0);
        }
    }
}

#[test]
fn the_same_bytes_make_the_same_values_as_in_duckdb() {
    const COLUMNS: &str =
        "id integer, small smallint, big bigint, flag boolean, price decimal(9,2), wide decimal(38,10),
        half real, whole double precision, word varchar(10), letters text, day date, clock time, moment timestamp,
        instant timestamp with time zone, code uuid";
    const BODY: &str = "id,small,big,flag,price,wide,half,whole,word,letters,day,clock,moment,instant,code\n\
        1,-32768,9223372036854775807,yes,1234567.89,1234567890123456789012345678.0123456789,1.5,-2.5e-3,short,\"a, \"\"b\"\"\n\
        c\",2024-02-29,23:59:59.999999,2024-02-29T12:00:00.123456,2024-02-29 12:00:00+05:30,0B0E1F6A-0000-4000-8000-0123456789AB\n\
        2,0,-9223372036854775808,f,-0.005,0,0,0,,\"\",0001-01-01,00:00:00,1969-12-31 23:59:59.999999,1969-12-31T23:59:59Z,00000000-0000-0000-0000-000000000000\n\
        3,,,,,,,,,,,,,,\n";
    // Each engine's own way to write an instant and a fraction is not the value's.
    const SHOWN: &str = "SELECT id, small, big, CASE WHEN flag THEN 'yes' ELSE 'no' END AS flag, price, wide,
        CAST(half * 2 AS integer) AS half, CAST(whole * 10000 AS integer) AS whole, word, letters, day, clock, moment,
        CAST(extract(epoch FROM instant) AS bigint) AS instant, code FROM t ORDER BY 1";
    let duckdb = Project::new(&pipeline(APPEND));
    let postgres = Project::on_postgres(&pipeline(APPEND));
    let rows = [duckdb, postgres].map(|project| {
        project.sql(&format!("CREATE TABLE t ({COLUMNS})"));
        project.drop("1.csv", BODY);
        project.load();
        project.rows(SHOWN)
    });
    assert_eq!(rows[0], rows[1]);
    assert!(rows[1][0].contains("|2024-02-29|23:59:59.999999|2024-02-29 12:00:00.123456|"), "{:?}", rows[1]);
}

#[test]
fn what_only_the_server_knows_fails_its_file_by_line_and_the_others_land() {
    for (mode, rule, word, line) in [
        (APPEND, "CHECK (id <> 13)", "t_id_check", "line 6 "),
        (APPEND, "UNIQUE", "t_id_key", "line 7 "),
        (APPEND, "REFERENCES known (id)", "t_id_fkey", "line 6 "),
        (UPSERT, "CHECK (id <> 13)", "t_id_check", "line 7 "),
        (UPSERT, "REFERENCES known (id)", "t_id_fkey", "line 6 "),
        (REPLACE, "CHECK (id <> 13)", "t_id_check", "line 6 "),
    ] {
        let project = project(
            mode,
            &format!(
                "CREATE TABLE known (id integer PRIMARY KEY); INSERT INTO known SELECT generate_series(1, 12);
                 CREATE TABLE t (id integer {rule}, name text)"
            ),
        );
        // The newer one would replace the other unread.
        let (bad, good) = if mode == REPLACE { (1, 0) } else { (0, 1) };
        for nth in 0..2 {
            if nth == bad {
                project.drop("bad.csv", "id,name\n3,x\n\n4,\"two\nlines\"\n13,bad\n13,worse\n");
            } else if nth == good {
                project.drop("good.csv", "id,name\n1,a\n2,a\n");
            }
        }
        if mode == REPLACE {
            project.run(&["load", "pending/good.csv"]).exits(0);
        }
        let ran = project.load_some();
        ran.says("`pending/bad.csv` was not loaded").says(line);
        assert_eq!(project.rows(T), ["1|a", "2|a"], "{mode} {rule}");
        let failed = project.keys().into_iter().find(|key| key.ends_with("bad.csv")).unwrap();
        let report = report(&project, &format!("{failed}.report.json"));
        let text = report.to_string();
        assert!(text.contains(word) && text.contains("13"), "{mode} {rule}: {text}");
        let listed = project.run(&["rejects", &failed]).exits(0);
        assert!(listed.stdout.contains(word), "{listed:?}");
    }
}

#[test]
fn rows_that_a_trigger_swallows_are_a_count_mismatch_and_nothing_is_loaded() {
    let project = project(
        APPEND,
        "CREATE TABLE t (id integer, name text);
         CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN IF new.id = 2 THEN RETURN NULL; END IF; RETURN new; END $$;
         CREATE TRIGGER swallow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION swallow()",
    );
    project.drop("1.csv", numbered(1..=3));
    project.load_some().says("nothing was loaded").says("trigger");
    assert_eq!(project.rows(T), [""; 0]);
    assert_eq!(project.keys(), ["pending/1.csv"]);
    project.sql("DROP TRIGGER swallow ON t");
    project.load();
    assert_eq!(project.rows(T), ["1|n1", "2|n2", "3|n3"]);
}

#[test]
fn a_missing_table_is_proposed_and_its_pipeline_goes_on_when_it_is_there() {
    let project = Project::on_postgres(&format!("[schedule]\nevery = \"1s\"\n\n{}", pipeline(APPEND)));
    project.drop("1.csv", "id,paid_on,total\n1,2026-01-02,9.50\n");
    let running = project.start(&["run"], &[]);
    running.until_it_says("the table `t` does not exist");
    running.until_it_says("CREATE TABLE");
    project.sql("CREATE TABLE t (id integer, paid_on date, total numeric(9,2))");
    project.until_keys(&["processed/<today>/1.csv"]);
    running.stop();
    assert_eq!(project.rows(T), ["1|2026-01-02|9.50"]);
}

#[test]
fn init_creates_the_tables_in_the_server() {
    let project = Project::on_postgres(&pipeline(APPEND));
    std::fs::create_dir(project.path("exports")).unwrap();
    std::fs::write(project.path("exports/orders-1.csv"), "Order Id,total,paid\n1,9.50,true\n2,10.25,false\n").unwrap();
    let url = project.database().url();
    project.run(&["init", "exports", "--apply", "--force", "--warehouse", &url]).exits(0);
    project.run(&["check"]).exits(0);
    std::fs::copy(project.path("exports/orders-1.csv"), project.path("bucket/pending/orders-1.csv")).unwrap();
    project.load();
    assert_eq!(project.rows("SELECT * FROM orders ORDER BY ALL"), ["1|9.50|t", "2|10.25|f"]);
}

#[test]
fn somebody_else_may_create_the_ledger() {
    let project = project(APPEND, TABLE);
    let database = project.database().name();
    project.database().sql(&format!(
        "ALTER DATABASE {database} OWNER TO postgres; REVOKE ALL ON DATABASE {database} FROM public, longshore; \
         GRANT CONNECT, TEMP ON DATABASE {database} TO longshore"
    ));
    project.drop("1.csv", numbered([1]));
    project.load_some().says("longshore check --print-sql");
    let sql = project.run(&["check", "--print-sql"]).exits(0).stdout;
    project.database().sql(&sql);
    project.database().sql(
        "GRANT USAGE ON SCHEMA longshore TO longshore; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA longshore TO longshore",
    );
    project.load();
    assert_eq!(project.rows(T), ["1|n1"]);
}

#[test]
fn a_missing_right_is_named_and_an_append_needs_only_insert() {
    let project = Project::on_postgres(&pipeline(APPEND));
    project.database().sql("CREATE TABLE t (id integer, name text)");
    project.drop("1.csv", numbered([1]));
    project.load_some().says("INSERT").says("GRANT");
    project.database().sql("GRANT INSERT ON t TO longshore");
    project.load();
    assert_eq!(project.database().sql("SELECT count(*) FROM t").as_deref(), Some("1"));
}

#[test]
fn check_names_the_hop_that_fails_and_nothing_shows_the_password() {
    let project = project(APPEND, TABLE);
    let url = project.database().url();
    let password = url.split(':').nth(2).unwrap().split('@').next().unwrap().to_owned();
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    let name = project.database().name().to_owned();
    for (broken, words) in [
        (url.replace("127.0.0.1", "no-such-host.invalid"), &["no-such-host.invalid"][..]),
        (url.replace(&port_of(&url), "1"), &["nothing listens at `127.0.0.1:1`"]),
        (url.replace(&password, "wrong-but-secret"), &["password"]),
        (url.replace(&name, "no_such_database"), &["no_such_database"]),
        (format!("{url}?sslmode=require"), &["TLS"]),
    ] {
        project.write_config(&config.replace(&url, &broken));
        let ran = project.run(&["check"]).exits(1);
        for word in words {
            assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
        }
        for arguments in
            [&["check"][..], &["run", "--once"], &["plan"], &["status"], &["--log-level", "trace", "run", "--once"]]
        {
            let ran = project.run(arguments);
            for secret in [password.as_str(), "p@ss:w/rd", "wrong-but-secret"] {
                assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{arguments:?} {ran:?}");
            }
        }
    }
}

#[test]
fn a_probe_that_fails_for_another_reason_says_the_new_one() {
    let project = project(APPEND, TABLE);
    let url = project.database().url();
    let password = url.split(':').nth(2).unwrap().split('@').next().unwrap().to_owned();
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    project.drop("1.csv", numbered([1]));
    project.write_config(&config.replace(&url, &url.replace(&password, "wrong")));
    project.load_some().says("password");
    project.run(&["status"]).exits(1).prints("password");
    // What was wrong before is cured, and something else is wrong now, which may pass by itself.
    project.write_config(&config.replace(&url, &url.replace(&port_of(&url), "1")));
    for _ in 0..2 {
        let ran = project.load_some().says("nothing listens at `127.0.0.1:1`");
        assert!(!ran.stderr.contains("password"), "{}", ran.stderr);
        let status = project.run(&["status"]).exits(1).prints("nothing listens at `127.0.0.1:1`");
        let (now, _history) = status.stdout.split_once("last loads").unwrap();
        assert!(!now.contains("password"), "{}", status.stdout);
    }
    project.write_config(&config);
    project.load();
    assert_eq!(project.rows(T), ["1|n1"]);
    project.run(&["status"]).exits(0);
}

fn port_of(url: &str) -> String {
    url.rsplit(':').next().unwrap().split('/').next().unwrap().to_owned()
}

#[test]
fn a_server_that_goes_away_and_comes_back_loses_nothing() {
    let server = Server::start(Options::default());
    let database = server.database();
    let project = Project::new(&pipeline(APPEND));
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    let (before, after) = config.split_once("[warehouse]").unwrap();
    let after = after.replace("threads = 2", "").replace("memory_limit = \"256 MiB\"", "");
    project
        .write_config(&format!("{before}[schedule]\nevery = \"1s\"\n[warehouse]\nurl = \"{}\"{after}", database.url()));
    database.sql("CREATE TABLE t (id integer, name text); ALTER TABLE t OWNER TO longshore");
    project.drop("1.csv", numbered([1]));
    let running = project.start(&["run"], &[]);
    project.until_keys(&["processed/<today>/1.csv"]);
    server.kill();
    project.drop("2.csv", numbered([2]));
    running.until_it_says("trying again");
    server.start_again();
    until(
        || project.keys() == ["processed/<today>/1.csv", "processed/<today>/2.csv"],
        || format!("both are in: {:?} {}", project.keys(), running.said()),
    );
    running.stop();
    assert_eq!(database.sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t").as_deref(), Some("1 2"));
}

#[test]
fn a_failover_to_a_standby_loses_and_doubles_nothing() {
    const FILES: u64 = 40;
    let server = Server::start(Options::default());
    let database = server.database();
    database.sql("CREATE TABLE t (id integer, name text); ALTER TABLE t OWNER TO longshore");
    let standby = server.standby();
    let project = Project::new(&pipeline(&format!("{APPEND}\ngroup = {{ objects = 1 }}")));
    let both = format!("127.0.0.1:{},127.0.0.1:{}", server.port(), standby.port());
    let url = database.url().replace(&format!("127.0.0.1:{}", server.port()), &both);
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    let (before, after) = config.split_once("[warehouse]").unwrap();
    let after = after.replace("threads = 2", "").replace("memory_limit = \"256 MiB\"", "");
    project.write_config(&format!(
        "{before}[schedule]\nevery = \"1s\"\n[warehouse]\nurl = \"{url}?target_session_attrs=read-write\"{after}"
    ));
    let archived = || project.keys().iter().filter(|key| key.starts_with("processed/")).count() as u64;
    for file in 0..FILES {
        project.drop(&format!("{file}.csv"), numbered(file * 100..file * 100 + 100));
    }
    let running = project.start(&["run"], &[]);
    until(|| archived() >= 5, || format!("some are in: {}", running.said()));
    server.kill();
    running.until_it_says("trying again");
    standby.promote();
    until(|| archived() == FILES, || format!("all are in: {} {}", archived(), running.said()));
    running.stop();
    let sums = "SELECT concat_ws(' ', count(*), count(DISTINCT id), sum(id)) FROM t";
    let sums = standby.sql_in(database.name(), sums);
    assert_eq!(sums.as_deref(), Some("4000 4000 7998000"));
}

#[test]
fn a_row_that_a_policy_refuses_fails_its_file_and_holds_up_no_other() {
    let project = project(APPEND, TABLE);
    project.sql(
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY;
         ALTER TABLE t FORCE ROW LEVEL SECURITY; CREATE POLICY p ON t FOR INSERT WITH CHECK (name <> 'bad');
         CREATE POLICY s ON t FOR SELECT USING (true)",
    );
    project.drop("1.csv", "id,name\n1,a\n2,bad\n3,c\n");
    project.drop("2.csv", "id,name\n4,d\n");
    project
        .run(&["run", "--once"])
        .exits(1)
        .says("line 3 of `pending/1.csv`: a row-level security policy refuses the row");
    assert_eq!(project.rows(T), ["4|d"]);
}

#[test]
fn what_the_server_says_of_rights_is_shown() {
    let project = project(APPEND, TABLE);
    project.sql(
        "CREATE TABLE kept (n int); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN INSERT INTO kept VALUES (1); RETURN NULL; END';
         CREATE TRIGGER note AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION note()",
    );
    project.sql_as_superuser("ALTER TABLE kept OWNER TO postgres");
    project.drop("1.csv", numbered([1]));
    project.run(&["run", "--once"]).exits(1).says("permission denied for table kept");
}
