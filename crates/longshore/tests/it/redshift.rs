//! The product on Redshift, by way of the stand-in: what a user meets there and nowhere else.

use longshore_postgres::testing::{Database, Server};
use redshift_standin::{Isolation, Mode, ObjectsConfig, Role, Standin, StandinConfig, Unknowns};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::harness::{On, Project, numbered, until};
use crate::s3::{ACCESS_KEY, Fault as S3Fault, MemoryS3, On as S3On, REGION, SECRET_KEY};

const ROLE: &str = "arn:aws:iam::123456789012:role/longshore";

/// A stand-in that reads from a project's store.
pub(crate) struct Cluster {
    standin: Standin,
    _database: Database<'static>,
    _runtime: Runtime,
}

impl Cluster {
    pub(crate) fn start(store: &MemoryS3) -> Self {
        let database = Server::shared().database();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = StandinConfig {
            behind: database.admin_url(),
            listen: "127.0.0.1:0".to_owned(),
            user: "awsuser".to_owned(),
            password: "Not-A-Secret-1".to_owned(),
            mode: Mode::Provisioned,
            isolation: Isolation::Snapshot,
            objects: ObjectsConfig {
                endpoint: Some(store.endpoint()),
                region: REGION.to_owned(),
                keys: Some((ACCESS_KEY.to_owned(), SECRET_KEY.to_owned())),
            },
            roles: vec![Role::new(ROLE)],
            unknowns: Unknowns { refuse_truncate_in_block: true, ..Unknowns::default() },
            seed: 7,
        };
        let standin = runtime.block_on(Standin::start(config)).unwrap();
        Self { standin, _database: database, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        self.standin.url()
    }
}

/// `[warehouse]` for it.
pub(crate) fn settings(cluster: &Cluster) -> String {
    format!("url = \"{}\"\niam_role = \"{ROLE}\"\nstaging = \"s3://landing/staging/\"", cluster.url())
}

fn pipeline(settings: &str) -> String {
    format!("[[pipeline]]\nname = \"t\"\nmatch = \"*.csv\"\ntable = \"t\"\n{settings}\n")
}

const APPEND: &str = "mode = \"append\"";
const UPSERT: &str = "mode = \"upsert\"\nkey = [\"id\"]";
const REPLACE: &str = "mode = \"replace\"";
const T: &str = "SELECT * FROM t ORDER BY ALL";

/// Nothing of a load is left in the staging prefix.
fn nothing_is_staged(project: &Project) {
    let staged: Vec<String> = project.store().keys().into_iter().filter(|key| key.starts_with("staging/")).collect();
    assert!(staged.is_empty(), "{staged:?}");
}

#[test]
fn the_three_modes_bring_rows_in() {
    for (mode, expected) in
        [(APPEND, &["1|a", "1|b", "2|a", "3|b"][..]), (UPSERT, &["1|b", "2|a", "3|b"]), (REPLACE, &["1|b", "3|b"])]
    {
        let project = Project::on_redshift(&pipeline(mode));
        project.sql("CREATE TABLE t (id integer, name varchar(20))");
        project.drop("1.csv", "id,name\n1,a\n2,a\n");
        project.load();
        project.drop("2.csv", "id,name\n1,b\n3,b\n");
        project.load();
        assert_eq!(project.rows(T), expected, "{mode}");
        assert_eq!(project.keys(), ["processed/<today>/1.csv", "processed/<today>/2.csv"]);
        nothing_is_staged(&project);
        project.run(&["audit"]).exits(0);
        project.run(&["check"]).exits(0);
        nothing_is_staged(&project);
    }
}

const TITANIC: &str = r#"
[[pipeline]]
name = "titanic"
match = "kaggle-titanic-*.csv"
table = "titanic"
mode = "upsert"
key = ["PasengerId"]
csv = { header = false }
"#;

/// The recipe's own statement, with the keys that it gives the table in Redshift.
fn titanic_table(on: On) -> String {
    let keys = if matches!(on, On::Redshift) { "distkey sortkey" } else { "" };
    format!(
        "CREATE TABLE titanic (
            PasengerId integer not null {keys}, Survived integer, Pclass integer, Name varchar(128), Sex varchar(6),
            Age decimal(8,2), SibSp integer, Parch integer, Ticket varchar(30), Fare decimal(8,4), Cabin varchar(30),
            Embarked varchar(1))"
    )
}

fn passengers(survived: u32) -> String {
    let passenger = |id: u32| {
        let age = if id.is_multiple_of(2) { format!("{}.5", 20 + id % 50) } else { String::new() };
        let cabin = if id.is_multiple_of(5) { "C85" } else { "" };
        format!(
            "{id},{survived},{},\"Doe, Mr. \"\"Nr\"\" {id}\",male,{age},{},0,A/5 {id},{}.25,{cabin},S\n",
            1 + id % 3,
            id % 4,
            7 + id
        )
    };
    (1..=891).map(passenger).collect()
}

#[test]
fn the_titanic_is_the_same_in_every_warehouse() {
    let loaded = |on: On| {
        let project = Project::on(on, TITANIC);
        project.sql(&titanic_table(on));
        project.drop("kaggle-titanic-1.csv", passengers(0));
        project.load();
        project.drop("kaggle-titanic-2.csv", passengers(1));
        project.load();
        project.rows("SELECT * FROM titanic ORDER BY ALL")
    };
    let redshift = loaded(On::Redshift);
    assert_eq!(redshift.len(), 891);
    assert_eq!(redshift, loaded(On::Directory));
    assert_eq!(redshift, loaded(On::Postgres));
}

/// Every type that Redshift has and that is loaded, in the words of each.
fn every_type(on: On) -> String {
    let (long, doc, raw) = match on {
        On::Redshift => ("varchar(max)", "super", "varbyte(16)"),
        On::Postgres => ("varchar(65535)", "json", "bytea"),
        _ => ("varchar(65535)", "json", "blob"),
    };
    format!(
        "CREATE TABLE t (id integer, small smallint, big bigint, flag boolean, price decimal(9,2), wide decimal(38,10),
            digits decimal(38,0), half real, whole double precision, code char(4), word varchar(20), long {long},
            doc {doc}, octets {raw}, day date, clock time, moment timestamp, instant timestamp with time zone)"
    )
}

/// All of its columns, as texts that are the same where the values are.
fn every_value(on: On) -> String {
    let (doc, raw) = match on {
        On::Redshift => ("json_serialize(doc)", "to_hex(octets)"),
        On::Postgres => ("doc", "encode(octets, 'hex')"),
        _ => ("doc", "lower(hex(octets))"),
    };
    format!(
        "SELECT id, small, big, CASE WHEN flag THEN 'yes' WHEN NOT flag THEN 'no' END AS f, price, wide, digits, half,
            whole, coalesce('[' || rtrim(code) || ']', 'NULL') AS c, coalesce('[' || word || ']', 'NULL') AS w,
            length(long) AS n, md5(long) AS l, {doc} AS d, {raw} AS r, day, clock, moment, instant
         FROM t ORDER BY id"
    )
}

#[test]
fn the_same_bytes_make_the_same_values_in_every_warehouse() {
    let nines = "9".repeat(38);
    let long = "é\u{1f600} ,".repeat(6_000);
    let header = "id,small,big,flag,price,wide,digits,half,whole,code,word,long,doc,octets,day,clock,moment,instant";
    let rows = [
        format!(
            "1,-32768,9223372036854775807,yes,1234567.89,1234567890123456789012345678.0123456789,{nines},1.5,-2.5e-3,\
             abcd,\"a, \"\"b\"\"\nc\",\"{long}x\",\"{{\"\"a\"\":[1,2.50,\"\"ü\"\"],\"\"b\"\":null}}\",00ff,2024-02-29,\
             23:59:59.999999,2024-02-29T12:00:00.123456,2024-02-29 12:00:00+05:30"
        ),
        format!(
            "2,32767,-9223372036854775808,f,-0.005,-0.0000000001,-{nines},0.1,1e300,ab,äöü€\u{1f600},\"\",\
             \"\"\"text\"\"\",\\x7f,0001-01-01,00:00:00,1969-12-31 23:59:59.999999,1969-12-31T23:59:59Z"
        ),
        "3,,,,,,,,,,,,,,,,,".to_owned(),
        "4,1,1,1,20.255,0,0,0.1,0.1,\"a   \",\"\",NULL,[],ABCDEF,9999-12-31,12:00:00,9999-12-31 23:59:59.999999,\
         2024-01-01 00:00:00-08:00"
            .to_owned(),
        "5,-1,0,t,20.259,1,1,-0.1,-0.1,    ,\\N,\\.,true,00,2024-01-01,12:00:00.5,2024-01-01 00:00:00,\
         2024-01-01 00:00:00.000001Z"
            .to_owned(),
    ];
    let body = format!("{header}\n{}\n", rows.join("\n"));
    let loaded = |on: On, mode: &str| {
        let project = Project::on(on, &pipeline(mode));
        project.sql(&every_type(on));
        project.drop("1.csv", &body);
        project.load();
        project.rows(&every_value(on))
    };
    for mode in [APPEND, UPSERT] {
        let redshift = loaded(On::Redshift, mode);
        assert_eq!(redshift.len(), 5);
        assert_eq!(redshift, loaded(On::Postgres, mode), "{mode}, PostgreSQL");
        assert_eq!(redshift, loaded(On::Directory, mode), "{mode}, DuckDB");
    }
}

#[test]
fn the_same_bytes_make_the_same_values_as_in_postgresql() {
    const COLUMNS: &str = "id integer, small smallint, big bigint, flag boolean, price decimal(9,2),
        wide decimal(38,10), half real, whole double precision, word varchar(20), day date, clock time,
        moment timestamp, instant timestamp with time zone";
    const BODY: &str = "id,small,big,flag,price,wide,half,whole,word,day,clock,moment,instant\n\
        1,-32768,9223372036854775807,yes,1234567.89,1234567890123456789012345678.0123456789,1.5,-2.5e-3,\"a, \"\"b\"\"\n\
        c\",2024-02-29,23:59:59.999999,2024-02-29T12:00:00.123456,2024-02-29 12:00:00+05:30\n\
        2,0,-9223372036854775808,f,-0.005,0,0,0,\"\",0001-01-01,00:00:00,1969-12-31 23:59:59.999999,1969-12-31T23:59:59Z\n\
        3,,,,,,,,,,,,\n\
        4,1,1,1,20.259,1,0.1,0.1,NULL,2024-01-01,12:00:00,2024-01-01 00:00:00,2024-01-01 00:00:00Z\n\
        5,1,1,1,20.255,1,0.1,0.1,\\N,2024-01-01,12:00:00,2024-01-01 00:00:00,2024-01-01 00:00:00Z\n";
    let loaded = |on: On, mode: &str| {
        let project = Project::on(on, &pipeline(mode));
        project.sql(&format!("CREATE TABLE t ({COLUMNS})"));
        project.drop("1.csv", BODY);
        project.load();
        project.rows(
            "SELECT id, small, big, flag, price, wide, half, whole, coalesce('[' || word || ']', '-'), day, clock,
                moment, instant FROM t ORDER BY id",
        )
    };
    for mode in [APPEND, UPSERT, REPLACE] {
        assert_eq!(loaded(On::Redshift, mode), loaded(On::Postgres, mode), "{mode}");
    }
}

#[test]
fn a_value_that_does_not_fit_is_a_reject_by_the_lengths_of_redshift() {
    let project = Project::on_redshift(&pipeline("mode = \"append\"\nmax_rejects = 2"));
    project.sql("CREATE TABLE t (id integer, name varchar(4))");
    project.drop("1.csv", "id,name\n1,äö\n2,äöü\n3,abcd\n4,abcde\n");
    project.load();
    assert_eq!(project.rows(T), ["1|äö", "3|abcd"]);
    let rejects = project.run(&["rejects", "pending/1.csv", "--json"]).exits(0).json();
    let lines: Vec<&Value> = rejects["rejects"].as_array().unwrap().iter().map(|reject| &reject["line"]).collect();
    assert_eq!(lines, [3, 5]);
}

#[test]
fn a_value_that_does_not_fit_is_a_reject_whatever_its_type() {
    let project = Project::on_redshift(&pipeline("mode = \"append\"\nmax_rejects = 4"));
    project.sql("CREATE TABLE t (id integer, n decimal(19,2), x real, y double precision, b varbyte(2))");
    project.drop(
        "1.csv",
        "id,n,x,y,b\n1,92233720368547758.07,1.5,2.5,00ff\n2,92233720368547758.08,,,\n3,,inf,,\n4,,,NaN,\n5,,,,00ff7f\n",
    );
    project.load();
    assert_eq!(project.rows("SELECT id, n, x, y FROM t ORDER BY id"), ["1|92233720368547758.07|1.5|2.5"]);
    let rejects = project.run(&["rejects", "pending/1.csv", "--json"]).exits(0).json();
    let told = |reject: &Value| format!("{} {} {}", reject["line"], reject["column"], reject["rule"]);
    assert_eq!(
        rejects["rejects"].as_array().unwrap().iter().map(told).collect::<Vec<_>>(),
        ["3 \"n\" \"range\"", "4 \"x\" \"range\"", "5 \"y\" \"range\"", "6 \"b\" \"length\""]
    );
}

#[test]
fn a_text_that_is_no_ascii_is_a_reject_where_the_column_is_a_char() {
    let project = Project::on_redshift(&pipeline("mode = \"append\"\nmax_rejects = 2"));
    project.sql("CREATE TABLE t (id integer, code char(4))");
    project.drop("1.csv", "id,code\n1,ab\n2,äb\n3,abcd  \n4,\"é\"\n5,\n");
    project.load();
    assert_eq!(project.rows("SELECT id, rtrim(code) FROM t ORDER BY id"), ["1|ab", "3|abcd", "5|-"]);
    let rejects = project.run(&["rejects", "pending/1.csv", "--json"]).exits(0).json();
    let rejects = rejects["rejects"].as_array().unwrap();
    assert_eq!(rejects.iter().map(|reject| &reject["line"]).collect::<Vec<_>>(), [3, 5]);
    assert!(rejects[0].to_string().contains("expected ASCII"), "{}", rejects[0]);
    assert!(project.keys().iter().any(|key| key.starts_with("rejected/")), "{:?}", project.keys());
    // One too many: the object fails, and it alone.
    project.drop("2.csv", "id,code\n6,ä\n7,ö\n8,ü\n");
    project.drop("3.csv", "id,code\n9,a\n");
    project.load_some();
    assert_eq!(project.value("SELECT count(*) FROM t"), "4");
    assert!(
        project.keys().contains(&"failed/<date>/2.csv".to_owned())
            || project.keys().iter().any(|key| key.starts_with("failed/"))
    );
}

#[test]
fn a_bucket_that_is_busy_while_rows_are_staged_is_transient() {
    let project = Project::on_redshift(&pipeline(APPEND));
    project.sql("CREATE TABLE t (id integer, name varchar(20))");
    project.drop("1.csv", numbered([1]));
    project.store().inject(S3On::first("PutObject"), S3Fault::Answer(503, "SlowDown"));
    project.load();
    assert_eq!(project.rows(T), ["1|n1"]);
    project.drop("2.csv", numbered([2]));
    project.store().inject(S3On::every("PutObject"), S3Fault::Answer(503, "SlowDown"));
    project.load_some();
    assert_eq!(project.keys(), ["pending/2.csv", "processed/<today>/1.csv"]);
    project.store().heal();
    project.load();
    assert_eq!(project.rows(T), ["1|n1", "2|n2"]);
    nothing_is_staged(&project);
}

#[test]
fn what_a_killed_load_staged_is_swept_by_the_next_that_looks() {
    let project = Project::on_redshift(&pipeline(APPEND));
    project.sql("CREATE TABLE t (id integer, name varchar(20))");
    project.drop("1.csv", numbered(1..=3));
    let killed = project.run_with(&["run", "--once"], &[("LONGSHORE_CRASH_AT", "staged:1")]);
    assert_eq!(killed.code, None, "{killed:?}");
    let staged = || project.store().keys().into_iter().filter(|key| key.starts_with("staging/")).count();
    assert_eq!(staged(), 2);
    project.load();
    assert_eq!(project.rows(T), ["1|n1", "2|n2", "3|n3"]);
    assert_eq!(staged(), 2);
    let service = project.start(&["run"], &[("LONGSHORE_ZOMBIE_SECONDS", "1")]);
    until(|| staged() == 0, || format!("an empty staging prefix: {:?}\n{}", project.keys(), service.said()));
    assert_eq!(project.rows(T), ["1|n1", "2|n2", "3|n3"]);
}

#[test]
fn check_names_what_is_missing_and_the_user_who_needs_it() {
    let pipelines = [pipeline(APPEND), pipeline(APPEND).replace("\"t\"", "\"sales.u\"").replace("*.csv", "u/*.csv")];
    let project = Project::on_redshift(&pipelines.concat());
    project.sql(
        "CREATE TABLE t (id integer, name varchar(20)) DISTKEY (id) SORTKEY (name); CREATE SCHEMA sales;
         CREATE TABLE sales.u (id integer, name varchar(20)); CREATE USER loader PASSWORD 'Loader-1';
         GRANT SELECT ON t TO loader; GRANT INSERT ON sales.u TO loader",
    );
    // The administrator makes the ledger.
    let ran = project.run(&["check"]).exits(0);
    for part in [
        "the ledger of `t` was created",
        "`t` is distributed by `id` and sorted by `name`; `mode = \"append\"` compares no rows",
        "is distributed without a distkey and sorted without a sortkey",
        "are kept apart by: Snapshot Isolation",
        "in the region of Redshift itself",
    ] {
        assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
    }
    with_login(&project, "workgroup = \"shop\"");
    let (url, _) = service("200 OK", r#"{"dbUser":"loader","dbPassword":"Loader-1"}"#.to_owned());
    let variables = [("AWS_ENDPOINT_URL_REDSHIFT_SERVERLESS", url.as_str())];
    let check = |arguments: &[&str]| project.run_with(arguments, &variables);
    let (wrong, _) = service("200 OK", r#"{"dbUser":"loader","dbPassword":"wrong"}"#.to_owned());
    let ran = project.run_with(&["check"], &[("AWS_ENDPOINT_URL_REDSHIFT_SERVERLESS", wrong.as_str())]).exits(1);
    assert!(ran.stdout.contains("does not take the password of `loader`"), "{}", ran.stdout);
    assert!(ran.stdout.contains("the login was fetched") && !ran.stdout.contains("PGPASSWORD"), "{}", ran.stdout);
    let url = project.cluster().standin.url();
    let (_, database) = url.rsplit_once('/').unwrap();
    project.sql(&format!("REVOKE TEMP ON DATABASE {database} FROM PUBLIC"));
    let ran = check(&["check"]).exits(1);
    let cure = format!("GRANT TEMP ON DATABASE \"{database}\" TO \"loader\"");
    assert!(ran.stdout.contains("creating a temporary table") && ran.stdout.contains(&cure), "{}", ran.stdout);
    project.sql(&format!("GRANT TEMP ON DATABASE {database} TO PUBLIC"));
    let ran = check(&["check"]).exits(1);
    for part in [
        "this user may not INSERT on `t`",
        "GRANT INSERT ON public.t TO \"loader\"",
        "GRANT USAGE ON SCHEMA \"sales\" TO \"loader\"",
        "may not create or use the tables of the ledger",
        "longshore check --print-sql",
    ] {
        assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
    }
    let ran = check(&["check", "--print-sql"]).exits(0);
    assert!(ran.stdout.contains("GRANT USAGE, CREATE ON SCHEMA \"longshore\" TO \"loader\""), "{}", ran.stdout);
    // The tables of the ledger are there, and only some rights on them.
    let tables = project.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'longshore'");
    project.sql("GRANT USAGE ON SCHEMA longshore TO loader");
    for table in &tables {
        project.sql(&format!("GRANT SELECT ON longshore.{table} TO loader"));
    }
    let ran = check(&["check"]).exits(1);
    for part in
        ["may not use the ledger of `t`", "GRANT UPDATE ON longshore.head_", "; GRANT INSERT ON longshore.ledger_"]
    {
        assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
    }
    project.drop("1.csv", numbered([1]));
    let ran = check(&["run", "--once"]).exits(1);
    assert!(ran.stderr.contains("GRANT INSERT ON public.t TO \"loader\""), "{}", ran.stderr);
}

#[test]
fn check_says_that_the_staging_bucket_is_in_another_region() {
    let project = Project::on_redshift(&pipeline(UPSERT));
    project.sql("CREATE TABLE t (id integer, name varchar(20))");
    let ran = project.run(&["check"]).exits(0);
    assert!(ran.stdout.contains("without a distkey") && ran.stdout.contains("ALTER DISTKEY \"id\""), "{}", ran.stdout);
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    project.write_config(&config.replace("[\"id\"]", "[\"idd\"]"));
    let ran = project.run(&["check"]).exits(1);
    assert!(ran.stdout.contains("ALTER DISTKEY to a column of `key`"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("ALTER DISTKEY \"idd\""), "{}", ran.stdout);
    project.write_config(&config.replace("[warehouse]", "[warehouse]\nstaging_region = \"eu-west-1\""));
    let ran = project.run(&["check"]).exits(1);
    assert!(ran.stdout.contains("in another region") && ran.stdout.contains("staging_region"), "{}", ran.stdout);
}

#[test]
fn secret_keys_are_in_no_log_and_no_error() {
    let project = Project::on_redshift(&pipeline(APPEND));
    project.sql("CREATE TABLE t (id integer, name varchar(20))");
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    let role = format!("iam_role = \"{ROLE}\"");
    for (nth, secret) in [(1, SECRET_KEY), (2, "a-secret-that-is-wrong")] {
        let keys = format!("access_key_id = \"{ACCESS_KEY}\"\nsecret_access_key = \"{secret}\"");
        project.write_config(&config.replace(&role, &keys));
        project.drop(&format!("{nth}.csv"), numbered([nth]));
        for arguments in [&["check"][..], &["plan", "--sql"], &["--log-level", "trace", "run", "--once"], &["status"]] {
            let ran = project.run(arguments);
            assert!(!ran.stdout.contains(secret), "{arguments:?}: {}", ran.stdout);
            assert!(!ran.stderr.contains(secret), "{arguments:?}: {}", ran.stderr);
        }
    }
    // The keys are what Redshift reads by: with the wrong ones nothing is loaded.
    assert_eq!(project.rows(T), ["1|n1"]);
}

#[test]
fn a_role_that_may_not_read_pauses_and_is_named_with_its_cure() {
    let project = Project::on_redshift(&pipeline(APPEND));
    project.sql("CREATE TABLE t (id integer, name varchar(20))");
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    project.write_config(&config.replace("role/longshore", "role/stranger"));
    project.drop("1.csv", numbered([1]));
    project.load_some().says("role/stranger");
    assert_eq!(project.keys(), ["pending/1.csv"]);
    nothing_is_staged(&project);
    project.run(&["check"]).exits(1).prints("role/stranger");
    project.write_config(&config);
    project.load();
    assert_eq!(project.rows(T), ["1|n1"]);
}

#[test]
fn nothing_shows_the_password() {
    let project = Project::on_redshift(&pipeline(APPEND));
    project.sql("CREATE TABLE t (id integer, name varchar(20))");
    project.drop("1.csv", numbered([1]));
    for arguments in [&["check"][..], &["plan"], &["--log-level", "trace", "run", "--once"], &["status"]] {
        let ran = project.run(arguments);
        assert!(!ran.stdout.contains("Not-A-Secret-1") && !ran.stderr.contains("Not-A-Secret-1"), "{arguments:?}");
    }
}

/// How many loads there were.
fn loads(project: &Project) -> usize {
    let requests = project.store().requests();
    requests.iter().filter(|request| request.operation == "PutObject" && request.key.ends_with(".manifest")).count()
}

/// The keys under this prefix.
fn under(project: &Project, prefix: &str) -> Vec<String> {
    project.keys().into_iter().filter(|key| key.starts_with(prefix)).collect()
}

#[test]
fn many_small_objects_are_one_load_without_those_that_are_bad() {
    let project = Project::on_redshift(&pipeline("mode = \"append\"\nmax_rejects = 1"));
    project.sql("CREATE TABLE t (id integer, name varchar(20))");
    for n in 0..1_200 {
        let body = match n {
            // One that fails, one with a reject, one with other columns, and one with nothing.
            700 => "id,name\n1,a\nx,b\ny,c\n".to_owned(),
            800 => "id,name\n800,n800\nx,b\n".to_owned(),
            900 => "id\n900\n".to_owned(),
            0 => String::new(),
            _ => numbered([n]),
        };
        project.drop(&format!("{n:04}.csv"), body);
    }
    project.load_some();
    assert_eq!(project.value("SELECT count(*) || ' ' || sum(id) FROM t"), format!("1198 {}", 1_199 * 600 - 700));
    // The one with other columns has its own.
    assert_eq!(loads(&project), 2);
    assert_eq!(under(&project, "failed/").len(), 2, "{:?}", under(&project, "failed/"));
    assert_eq!(under(&project, "processed/").len(), 1_199);
    assert_eq!(project.run(&["rejects", "pending/0800.csv", "--json"]).exits(0).json()["rejects"][0]["line"], 3);
    project.run(&["audit"]).exits(0);
    nothing_is_staged(&project);
}

#[test]
fn a_load_has_as_many_statements_for_many_objects_as_for_one() {
    let counts = [1, 2, 500].map(|objects| {
        let project = Project::on_redshift(&pipeline(UPSERT));
        project.sql("CREATE TABLE t (id integer, name varchar(20))");
        project.drop("first.csv", numbered([0]));
        project.load();
        for n in 1..=objects {
            project.drop(&format!("{n:03}.csv"), numbered([n]));
        }
        let before = project.cluster().standin.statements();
        project.load();
        let statements = project.cluster().standin.statements() - before;
        assert_eq!(project.value("SELECT count(*) FROM t"), (objects + 1).to_string());
        assert_eq!(loads(&project), 2);
        statements
    });
    assert_eq!(counts[1], counts[2], "{counts:?}");
    assert_eq!(counts[0], counts[2], "{counts:?}");
    // 20 of them are the load itself; the others log in, find out about the table, look into its ledger, and at last for
    // what dead loads left.
    assert!(counts[0] <= 35, "{counts:?}");
}

/// A character that no text may have, and of which only Redshift says so.
const REFUSED: &str = "id,n\n1,1\n7,\u{ffff}\n";
const TEXTS: &str = "CREATE TABLE t (id integer, n varchar(20))";

#[test]
fn an_object_whose_rows_only_redshift_refuses_is_left_out_and_the_others_are_one_load() {
    let project = Project::on_redshift(&pipeline(APPEND));
    project.sql(TEXTS);
    for n in 0..40 {
        project.drop(&format!("{n:02}.csv"), if n == 20 { REFUSED.to_owned() } else { format!("id,n\n{n},{n}\n") });
    }
    project.load_some();
    assert_eq!(project.value("SELECT count(*) FROM t"), "39");
    assert_eq!(loads(&project), 2);
    assert_eq!(under(&project, "failed/").len(), 2);
    nothing_is_staged(&project);
}

#[test]
fn several_objects_whose_rows_only_redshift_refuses_are_found_by_halving() {
    let project = Project::on_redshift(&pipeline("mode = \"upsert\"\nkey = [\"id\"]"));
    project.sql(TEXTS);
    for n in 0..12 {
        let bad = [2, 3, 9].contains(&n);
        project.drop(&format!("{n:02}.csv"), if bad { REFUSED.to_owned() } else { format!("id,n\n7,{n}\n") });
    }
    project.load_some();
    assert_eq!(project.rows(T), ["7|11"]);
    let failed = under(&project, "failed/");
    assert_eq!(failed.iter().filter(|key| key.ends_with(".csv")).count(), 3, "{failed:?}");
    assert_eq!(under(&project, "processed/").len(), 9);
    nothing_is_staged(&project);
}

#[test]
fn upserts_keep_their_order_around_a_large_object() {
    let project = Project::on_redshift(&pipeline(UPSERT));
    project.sql("CREATE TABLE t (id integer, name varchar(60000))");
    let wide = "w".repeat(50_000);
    let large: String = (0..190).map(|id| format!("{id},{wide}\n")).collect();
    project.drop("1.csv", "id,name\n1,first\n2,first\n3,first\n");
    project.drop("2.csv", "id,name\n1,second\n");
    project.drop("3.csv", format!("id,name\n{large}2,large\n3,large\n"));
    project.drop("4.csv", "id,name\n3,fourth\n");
    project.drop("5.csv", "id,name\n4,fifth\n");
    project.load();
    assert_eq!(
        project.rows("SELECT id, left(name, 6) FROM t WHERE id < 5 ORDER BY id"),
        ["0|wwwwww", "1|wwwwww", "2|large", "3|fourth", "4|fifth"]
    );
    assert_eq!(loads(&project), 3);
    nothing_is_staged(&project);
}

#[test]
fn plan_prints_the_statements_of_a_load_and_touches_nothing() {
    let project = Project::on_redshift(&pipeline(UPSERT));
    project.sql("CREATE TABLE t (id integer distkey, name varchar(20), other integer default 7)");
    project.drop("1.csv", "name,id\na,1\n");
    project.drop("2.csv", "name,id\nb,2\n");
    let before = project.store().keys();
    let ran = project.run(&["plan", "--sql"]).exits(0);
    for part in [
        "-- Filled in by a load itself: its id and time, the word after NULL AS, ",
        "-- pipeline `t`: the next load, of 2 objects\n",
        "CREATE TEMP TABLE ",
        "DISTSTYLE KEY DISTKEY (\"c0\")",
        &format!("/load.manifest' IAM_ROLE '{ROLE}' MANIFEST FORMAT AS CSV ZSTD NULL AS "),
        "\nBEGIN;\nUPDATE \"longshore\".\"head_",
        "UPDATE \"public\".\"t\" SET \"name\" = ",
        "'pending/1.csv'",
        "\nCOMMIT;\n",
    ] {
        assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
    }
    let json = project.run(&["plan", "--sql", "--json"]).exits(0).json();
    assert_eq!(json[0]["objects"], serde_json::json!(["pending/1.csv", "pending/2.csv"]));
    let statements: Vec<&str> =
        json[0]["statements"].as_array().unwrap().iter().map(|sql| sql.as_str().unwrap()).collect();
    let load = statements.iter().position(|sql| sql.starts_with("SET application_name")).unwrap();
    assert!(statements.len() - load < 20);
    // Before these it looks into the ledger.
    for part in
        ["\"identity\" IN ('", "\"key\" IN ('pending/1.csv'", " ORDER BY \"modified_at\" DESC", "SELECT h.\"epoch\""]
    {
        assert!(statements[..load].iter().any(|sql| sql.contains(part)), "{part}");
    }
    assert_eq!(project.store().keys(), before);
    project.load();
    assert_eq!(project.rows(T), ["1|a|7", "2|b|7"]);
    assert!(project.run(&["plan", "--sql"]).exits(0).stdout.contains("nothing waits"));
}

#[test]
fn init_makes_a_project_on_redshift() {
    let project = Project::on_redshift("");
    std::fs::remove_file(project.path("longshore.toml")).unwrap();
    std::fs::create_dir(project.path("csvs")).unwrap();
    std::fs::write(project.path("csvs/people.csv"), "Id,Full Name,born\n1,Ann,2024-01-01\n2,Bob,2024-02-29\n").unwrap();
    let url = project.cluster().url();
    let init = ["init", "csvs", "--warehouse", &url];
    let ran = project.run(&init).exits(2);
    assert!(ran.stderr.contains("--iam-role"), "{}", ran.stderr);
    let ran = project.run(&["init", "csvs", "--iam-role", ROLE]).exits(2);
    assert!(ran.stderr.contains("are for Redshift"), "{}", ran.stderr);
    let more = ["--iam-role", ROLE, "--staging", "s3://landing/staging/", "--apply"];
    let ran = project.run(&[&init[..], &more].concat()).exits(0);
    assert!(!ran.stdout.contains("Not-A-Secret-1") && !ran.stderr.contains("Not-A-Secret-1"), "{ran:?}");
    let columns = project.rows("SELECT column_name, data_type FROM svv_columns WHERE table_name = 'people'");
    assert_eq!(columns.len(), 3, "{columns:?}");
    assert!(columns.contains(&"full name|character varying".to_owned()), "{columns:?}");
}

#[test]
fn plan_says_where_there_are_no_statements() {
    let project = Project::new(&pipeline(APPEND));
    project.sql("CREATE TABLE t (id integer, name varchar(20))");
    project.drop("1.csv", numbered([1]));
    let ran = project.run(&["plan", "--sql"]).exits(1);
    assert!(ran.stderr.contains("is no list of statements in this warehouse"), "{}", ran.stderr);
}

#[test]
fn plan_finds_the_load_of_every_pipeline_that_has_one() {
    let one = |name: &str, table: &str| {
        format!("[[pipeline]]\nname = \"{name}\"\nmatch = \"{name}-*.csv\"\ntable = \"{table}\"\n{APPEND}\n")
    };
    let project = Project::on_redshift(&[one("a", "t"), one("b", "t"), one("c", "missing"), one("d", "u")].concat());
    project.sql("CREATE TABLE t (id integer, name varchar(20)); CREATE TABLE u (id integer, name varchar(20))");
    for n in 0..1_050 {
        project.drop(&format!("a-{n:04}.csv"), numbered([n]));
    }
    for name in ["b", "c", "d"] {
        project.drop(&format!("{name}-1.csv"), numbered([1]));
    }
    let ran = project.run(&["plan", "--sql"]).exits(1);
    for name in ["a", "b", "d"] {
        assert!(ran.stdout.contains(&format!("-- pipeline `{name}`: the next load")), "{name}");
    }
    assert!(ran.stderr.contains("pipeline `c`:\nerror: ") && ran.stderr.contains("missing"), "{}", ran.stderr);
}

#[test]
fn the_configuration_says_what_redshift_needs() {
    let project = Project::on_redshift(&pipeline(APPEND));
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    let url = project.cluster().url();
    for (wrong, right) in [
        (config.replace(&format!("iam_role = \"{ROLE}\"\n"), ""), "`warehouse.iam_role`: is missing"),
        (config.replace(ROLE, "longshore"), "`warehouse.iam_role`: is no role"),
        (config.replace("staging = \"s3://landing/staging/\"\n", ""), "`warehouse.staging`: is missing"),
        (config.replace("s3://landing/staging/", "./staging"), "is no place in S3"),
        (config.replace("s3://landing/staging/", "s3://landing/pending/x/"), "overlaps `pending/`"),
        (config.replace("[warehouse]", "[warehouse]\nthreads = 2"), "`warehouse.threads`: has no meaning for Redshift"),
        (
            config.replace("[warehouse]", "[warehouse]\naccess_key_id = \"AKIA\""),
            "`warehouse.access_key_id`: stands beside `iam_role`",
        ),
        (config.replace(&url, "duckdb:x.duckdb"), "`warehouse.iam_role`: has no meaning for DuckDB"),
    ] {
        project.write_config(&wrong);
        let ran = project.run(&["check"]);
        assert!(ran.code != Some(0), "{right}");
        assert!(ran.stdout.contains(right) || ran.stderr.contains(right), "{right}: {ran:?}");
    }
}

/// A service that answers every request so, and keeps what it was sent.
fn service(status: &'static str, body: String) -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = requests.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            let mut chunk = [0; 4096];
            loop {
                let read = stream.read(&mut chunk).unwrap_or(0);
                request.push_str(&String::from_utf8_lossy(&chunk[..read]));
                let Some((head, rest)) = request.split_once("\r\n\r\n") else { continue };
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if read == 0 || rest.len() >= length.unwrap_or(0) {
                    break;
                }
            }
            kept.lock().unwrap().push(request);
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").ok();
        }
    });
    (url, requests)
}

/// The project with a login by IAM instead of the URL's.
fn with_login(project: &Project, setting: &str) {
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    let url = project.cluster().url();
    let (_, rest) = url.split_once('@').unwrap();
    let bare = config.replace(&url, &format!("redshift://{rest}"));
    project.write_config(&bare.replace("[warehouse]", &format!("[warehouse]\n{setting}")));
}

#[test]
fn a_login_is_asked_of_iam_for_every_connection() {
    let xml = "<GetClusterCredentialsWithIAMResponse><GetClusterCredentialsWithIAMResult><DbUser>awsuser</DbUser>\
        <DbPassword>Not-A-Secret-1</DbPassword></GetClusterCredentialsWithIAMResult></GetClusterCredentialsWithIAMResponse>";
    let json = r#"{"dbUser":"awsuser","dbPassword":"Not-A-Secret-1","expiration":1.7E9}"#;
    for (setting, variable, answer, sent) in [
        (
            "cluster = \"analytics one\"",
            "AWS_ENDPOINT_URL_REDSHIFT",
            xml,
            "Action=GetClusterCredentialsWithIAM&Version=2012-12-01&ClusterIdentifier=analytics%20one&DbName=",
        ),
        ("workgroup = \"shop\"", "AWS_ENDPOINT_URL_REDSHIFT_SERVERLESS", json, "\"workgroupName\":\"shop\""),
    ] {
        let project = Project::on_redshift(&pipeline(APPEND));
        project.sql("CREATE TABLE t (id integer, name varchar(20))");
        with_login(&project, setting);
        project.drop("1.csv", numbered([1]));
        let (url, requests) = service("200 OK", answer.to_owned());
        let ran = project.run_with(&["--log-level", "trace", "run", "--once"], &[(variable, &url)]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(!ran.stderr.contains("Not-A-Secret-1"), "{}", ran.stderr);
        assert_eq!(project.rows(T), ["1|n1"]);
        let requests = requests.lock().unwrap();
        assert!(requests[0].contains(sent), "{}", requests[0]);
        let head = requests[0].to_lowercase();
        let service = if setting.starts_with("cluster") { "redshift" } else { "redshift-serverless" };
        let scope = format!("/us-east-2/{service}/aws4_request");
        assert!(
            head.contains("authorization: aws4-hmac-sha256 credential=longshoretest/") && head.contains(&scope),
            "{head}"
        );
    }
}

#[test]
fn a_login_that_iam_throttles_is_asked_for_again() {
    let project = Project::on_redshift(&pipeline(APPEND));
    project.sql("CREATE TABLE t (id integer, name varchar(20))");
    project.drop("1.csv", numbered([1]));
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    for (setting, variable, body) in [
        (
            "cluster = \"analytics\"",
            "AWS_ENDPOINT_URL_REDSHIFT",
            "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>",
        ),
        (
            "workgroup = \"shop\"",
            "AWS_ENDPOINT_URL_REDSHIFT_SERVERLESS",
            r#"{"__type":"com.amazonaws#ThrottlingException","message":"Rate exceeded"}"#,
        ),
    ] {
        project.write_config(&config);
        with_login(&project, setting);
        let (url, _) = service("400 Bad Request", body.to_owned());
        let ran = project.run_with(&["run", "--once"], &[(variable, &url)]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let status = project.run(&["status"]);
        assert!(!status.stdout.contains("waits since"), "no pause: {}", status.stdout);
        assert_eq!(project.keys(), ["pending/1.csv"]);
    }
}

#[test]
fn a_login_that_iam_refuses_pauses_with_what_it_said() {
    let project = Project::on_redshift(&pipeline(APPEND));
    project.sql("CREATE TABLE t (id integer, name varchar(20))");
    with_login(&project, "cluster = \"analytics\"");
    project.drop("1.csv", numbered([1]));
    let body = "<ErrorResponse><Error><Code>ClusterNotFound</Code><Message>Cluster analytics not found.</Message></Error></ErrorResponse>";
    let (url, _) = service("404 Not Found", body.to_owned());
    let ran = project.run_with(&["run", "--once"], &[("AWS_ENDPOINT_URL_REDSHIFT", &url)]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for part in [
        "cluster `analytics`",
        "ClusterNotFound: Cluster analytics not found.",
        "redshift:GetClusterCredentialsWithIAM",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    assert_eq!(project.keys(), ["pending/1.csv"]);
}
