//! What is wrong from outside: settings, tables, files, disks, rights. Each is told with its cure,
//! and nothing leaves its place that should not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::harness::{LONGSHORE, On, Project, Ran, in_words, numbered};

fn pipeline(settings: &str) -> String {
    format!("[[pipeline]]\nname = \"t\"\nmatch = \"*.csv\"\ntable = \"t\"\nmode = \"append\"\n{settings}\n")
}

fn project(settings: &str) -> Project {
    let project = Project::new(&pipeline(settings));
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project
}

/// DuckDB's own 256 MiB, and our 200 MiB.
const MEMORY: u64 = 456 << 20;
const T: &str = "SELECT * FROM t ORDER BY ALL";

/// Paths of the project's folder in words.
fn told(project: &Project, ran: &Ran) -> String {
    in_words(&ran.stderr).replace(&*project.path("").to_string_lossy(), "<project>/")
}

#[test]
fn every_fault_of_the_configuration_is_told_at_once() {
    let project = project("");
    project.write_config(
        r#"
[bucket]
url = "./bucket"
procesed = "done/"
settle = 3

[warehous]
url = "duckdb:x"

[[pipeline]]
name = "orders"
match = "*.csv"
table = "a b"
mode = "upsert"
csv = { delimeter = ";" }

[[pipeline]]
name = "orders"
match = "["
mode = "apend"
max_rejects = "many"
"#,
    );
    let ran = project.run(&["run", "--once"]).exits(2);
    insta::assert_snapshot!(told(&project, &ran), @r###"
    error: `<project>/longshore.toml` has 10 faults
      line 4: `bucket.procesed`: unknown setting; did you mean `processed`?
      line 5: `bucket.settle`: expected a span of time such as `"2s"` or `"30m"`, found a number
      line 7: `warehous`: unknown setting; did you mean `warehouse`?
      line 10: `pipeline.orders.key`: is missing: `upsert` needs the columns by which a row is found; `key = ["id"]`
      line 13: `pipeline.orders.table`: `a b` is not a table name: a name ends at its closing quote, a space or a dot; write `table`, `schema.table` or `schema."Table"`
      line 15: `pipeline.orders.csv.delimeter`: unknown setting; did you mean `delimiter`?
      line 17: `pipeline.orders.table`: is missing; name the target table
      line 19: `pipeline.orders.match`: is no pattern: unclosed character class; missing ']'
      line 20: `pipeline.orders.mode`: `apend` is none of `"append"`, `"upsert"`, `"replace"`; did you mean `append`?
      line 21: `pipeline.orders.max_rejects`: expected a number of rows, or a percentage such as `"0.5%"`
    hint: correct the file and run `longshore check`
    "###);
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    let project = project("");
    project.write_config("[bucket]\nurl = \"./bucket\nsettle = \"0s\"\n");
    let ran = project.run(&["check"]).exits(2);
    insta::assert_snapshot!(told(&project, &ran), @r###"
    error: `<project>/longshore.toml` has 1 fault
      line 2: invalid basic string, expected `"`
    hint: correct the file and run `longshore check`
    "###);
}

#[test]
fn a_missing_configuration_names_what_writes_one() {
    let project = project("");
    let ran = project.run(&["--config", "other.toml", "plan"]).exits(2);
    insta::assert_snapshot!(told(&project, &ran), @r###"
    error: there is no `other.toml`
    hint: `longshore init FOLDER` writes one from a folder of CSV files; `--config FILE` names another
    "###);
}

#[test]
fn settings_that_name_no_column_of_the_table_let_the_pipeline_wait_with_the_nearest_name() {
    let project = Project::new(
        r#"
[[pipeline]]
name = "t"
match = "*.csv"
table = "t"
mode = "upsert"
key = ["idd"]
columns = { "Full Name" = "nam" }
fill = { nmae = "x" }
"#,
    );
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project.drop("1.csv", numbered([1]));
    let ran = project.load_some();
    insta::assert_snapshot!(told(&project, &ran), @r###"
    error: pipeline `t` waits: pipeline `t` does not fit main.t: `key` names `idd`, which is no column of it (did you mean `id`?); `columns` names `nam`, which is no column of it (did you mean `name`?); `fill` names `nmae`, which is no column of it (did you mean `name`?)
    hint: correct `longshore.toml`, or change the table
    "###);
    assert_eq!(project.keys(), ["pending/1.csv"]);
}

#[test]
fn an_object_of_two_pipelines_waits_and_the_others_go_on() {
    let project = Project::new(&format!(
        "{}\n{}",
        pipeline(""),
        pipeline("").replace("\"t\"", "\"u\"").replace("*.csv", "a*.csv")
    ));
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR); CREATE TABLE u (id INTEGER, name VARCHAR)");
    project.drop("a.csv", numbered([1]));
    project.drop("b.csv", numbered([2]));
    let ran = project.load_some();
    insta::assert_snapshot!(told(&project, &ran).lines().take(2).collect::<Vec<_>>().join("\n"), @r###"
    error: `pending/a.csv` belongs to the pipelines `t` and `u`: it stays where it is
    hint: narrow `match` of one of them
    "###);
    assert_eq!(project.rows(T), ["2|n2"]);
    assert_eq!(project.keys(), ["pending/a.csv", "processed/<today>/b.csv"]);
}

#[test]
fn an_object_of_no_pipeline_stays_and_is_told_once() {
    let project = project("");
    project.drop("readme.txt", "hello");
    project.load().says("`pending/readme.txt` matches no pipeline").prints("1 object of no pipeline");
    project.load().never_says("readme.txt");
    assert_eq!(project.keys(), ["pending/readme.txt"]);
}

#[test]
fn a_missing_table_lets_its_pipeline_wait_until_it_is_there() {
    let project = Project::new(&format!(
        "{}\n{}",
        pipeline(""),
        pipeline("").replace("\"t\"", "\"u\"").replace("*.csv", "u/*.csv")
    ));
    project.sql("CREATE TABLE u (id INTEGER, name VARCHAR)");
    project.drop("1.csv", numbered([1]));
    project.drop("u/2.csv", numbered([2]));
    project.load_some().says("pipeline `t` waits: ").says("hint: ");
    assert_eq!(project.keys(), ["pending/1.csv", "processed/<today>/u/2.csv"]);
    let status = project.run(&["status"]).exits(1);
    assert!(status.stdout.contains("pipeline `t` waits since"), "{}", status.stdout);
    project.load_some();
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project.load().says("pipeline `t` goes on");
    assert_eq!(project.rows(T), ["1|n1"]);
    project.run(&["status"]).exits(0);
}

#[test]
fn a_pipeline_of_which_nothing_is_left_waits_no_more() {
    let project = project("");
    project.sql("DROP TABLE t");
    project.drop("1.csv", numbered([1]));
    project.load_some();
    project.remove("pending/1.csv");
    project.load();
    project.run(&["status"]).exits(0);
}

#[test]
fn a_header_that_does_not_match_is_told_with_the_nearest_name() {
    let project = project("");
    project.drop("unknown.csv", "id,nmae\n1,a\n");
    project.load_some().says("`nmae`").says("`name`");
    project.drop("doubled.csv", "id,ID,name\n1,1,a\n");
    project.load_some().says("`ID`");
    assert_eq!(project.rows(T), [""; 0]);
    assert_eq!(project.keys().iter().filter(|key| key.starts_with("failed/")).count(), 4);
}

#[test]
fn a_missing_column_that_must_not_be_null_is_told() {
    let project = project("");
    project.sql("ALTER TABLE t ALTER name SET NOT NULL");
    project.drop("1.csv", "id\n1\n");
    project.load_some().says("`name`");
}

#[test]
fn ragged_rows_are_rejects() {
    let project = project("max_rejects = 2");
    project.drop("1.csv", "id,name\n1,a\n2\n3,c,d\n4,e\n");
    project.load();
    assert_eq!(project.rows(T), ["1|a", "4|e"]);
    assert_eq!(project.text(&project.key("rejected/1.<id>.g1.csv")), "id,name\n2\n3,c,d\n");
}

#[test]
fn nul_bytes_are_rejects() {
    let project = project("max_rejects = 1");
    project.drop("1.csv", "id,name\n1,a\0b\n2,c\n");
    project.load();
    assert_eq!(project.rows(T), ["2|c"]);
    assert_eq!(project.text(&project.key("rejected/1.<id>.g1.csv")), "id,name\n1,a\0b\n");
}

#[test]
fn binary_junk_that_is_named_csv_is_refused() {
    let project = project("max_rejects = \"100%\"");
    // Every byte value, in an order that no text has.
    let junk: Vec<u8> = (0..20_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    project.drop("1.csv", &junk);
    project.load_some();
    assert_eq!(project.rows(T), [""; 0]);
    assert_eq!(project.body("failed/2026/01/02/1.csv"), Some(junk));
}

#[test]
fn an_unterminated_quote_is_refused() {
    let project = project("max_rejects = 10");
    project.drop("1.csv", "id,name\n1,a\n2,\"b\n3,c\n");
    project.load_some().says("line 3");
    assert_eq!(project.rows(T), [""; 0]);
}

#[test]
fn compressed_data_that_is_cut_off_is_refused() {
    let project = project("");
    project.drop("1.csv", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x4c");
    project.load_some();
    assert_eq!(project.keys(), ["failed/2026/01/02/1.csv", "failed/2026/01/02/1.csv.report.json"]);
}

#[test]
fn zero_bytes_and_a_lone_header_are_loads_of_no_rows() {
    let project = project("");
    project.drop("empty.csv", "");
    project.drop("header.csv", "id,name\n");
    project.load();
    assert_eq!(
        project.ledger(),
        ["pending/empty.csv|1|load|0|0|0|0|0|on time", "pending/header.csv|1|load|0|0|0|0|0|on time"]
    );
    assert_eq!(project.keys(), ["processed/<today>/empty.csv", "processed/<today>/header.csv"]);
}

#[test]
fn a_field_of_a_hundred_megabytes_is_refused_in_constant_memory() {
    let project = project("max_rejects = \"100%\"");
    let mut body = b"id,name\n1,a\n2,\"".to_vec();
    body.resize(100 << 20, b'x');
    body.extend(b"\"\n3,c\n");
    project.drop("1.csv", &body);
    let peak = peak_memory(&project, &["run", "--once"], 1);
    assert!(peak < MEMORY, "{} MiB", peak >> 20);
    assert_eq!(project.rows(T), [""; 0]);
    let report = project.text("failed/2026/01/02/1.csv.report.json");
    assert!(report.contains("\"line\": 3"), "{report}");
    assert_eq!(project.body("failed/2026/01/02/1.csv").unwrap().len(), body.len());
}

#[test]
fn a_large_object_is_loaded_in_constant_memory() {
    let project = project("");
    let row = "7,a row that is as long as many rows are and says nothing at all\n";
    let rows = (120 << 20) / row.len();
    project.drop("1.csv", format!("id,name\n{}", row.repeat(rows)));
    let peak = peak_memory(&project, &["run", "--once"], 0);
    assert!(peak < MEMORY, "{} MiB", peak >> 20);
    assert_eq!(project.value("SELECT count(*) FROM t"), rows.to_string());
}

/// Runs the binary and returns the most memory that it had resident, in bytes: ours and DuckDB's.
fn peak_memory(project: &Project, arguments: &[&str], code: i32) -> u64 {
    let mut command = project.command(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        // The kernel keeps the peak itself, as long as the process lives.
        let told = fs::read_to_string(&status).unwrap_or_default();
        let kibibytes =
            told.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kibibytes.unwrap_or(0) << 10);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::yield_now();
    };
    assert_eq!(ended.code(), Some(code));
    assert!(peak > 30 << 20, "{} MiB were not measured but missed", peak >> 20);
    peak
}

#[test]
fn a_warehouse_that_another_process_holds_is_told_with_who_holds_it() {
    let project = project("");
    project.drop("1.csv", numbered([1]));
    let held = project.warehouse();
    let pid = std::process::id().to_string();
    project.load_some().says("waits").says(&pid).says("hint: ");
    assert_eq!(project.keys(), ["pending/1.csv"]);
    drop(held);
    project.load();
    assert_eq!(project.rows(T), ["1|n1"]);
}

#[test]
fn processes_on_one_project_share_the_work() {
    let project = project("group = { objects = 1 }");
    for id in 0..20 {
        project.drop(&format!("{id}.csv"), numbered([id]));
    }
    let start = || project.command(&["--log-level", "error", "run", "--once"]).spawn().unwrap();
    for mut process in [start(), start(), start()] {
        assert_eq!(process.wait().unwrap().code(), Some(0));
    }
    assert_eq!(project.value("SELECT count(*) FROM t"), "20");
    assert!(project.keys().iter().all(|key| key.starts_with("processed/")), "{:?}", project.keys());
}

#[test]
fn a_journal_that_cannot_be_written_is_named() {
    let project = project("");
    project.drop("1.csv", numbered([1]));
    let config = fs::read_to_string(project.path("longshore.toml")).unwrap();
    project.write_config(&format!("{config}\n[journal]\nurl = \"sqlite:/proc/longshore/journal.db\"\n"));
    project.run(&["run", "--once"]).exits(2).says("/proc/longshore/journal").says("hint: ");
    project.run(&["check"]).exits(1).prints("/proc/longshore/journal.db");
    fs::create_dir(project.path("folder.db")).unwrap();
    project.write_config(&format!("{config}\n[journal]\nurl = \"sqlite:folder.db\"\n"));
    project.run(&["run", "--once"]).exits(2).says("folder.db").says("hint: ");
    assert_eq!(project.keys(), ["pending/1.csv"]);
}

#[test]
fn a_file_that_is_no_journal_is_named() {
    let project = project("");
    fs::create_dir(project.path(".longshore")).unwrap();
    fs::write(project.path(".longshore/journal.db"), "this is no SQLite database, whatever its name is\n").unwrap();
    project.run(&["run", "--once"]).exits(2).says("journal.db").says("hint: ");
}

#[test]
fn a_warehouse_that_is_no_database_lets_the_pipeline_wait() {
    let project = Project::new(&pipeline(""));
    fs::write(project.path("warehouse.duckdb"), "this is no database").unwrap();
    project.drop("1.csv", numbered([1]));
    project.load_some().says("warehouse.duckdb").says("hint: ");
    assert_eq!(project.keys(), ["pending/1.csv"]);
}

#[test]
fn a_bucket_that_is_not_there_is_told() {
    let project = project("");
    fs::remove_dir_all(project.path("bucket")).unwrap();
    project.run(&["run", "--once"]).exits(2).says("bucket").says("hint: ");
    project.run(&["check"]).exits(1).prints("bucket");
}

#[test]
fn a_disk_that_is_full_lets_the_pipeline_wait_and_nothing_is_half_in() {
    let project = project("");
    let row = |id: u32| format!("{id},{}\n", blake3::hash(&id.to_le_bytes()));
    project.drop("1.csv", format!("id,name\n{}", (0..100_000).map(row).collect::<String>()));
    let mut command = Command::new("sh");
    project.prepare(&mut command);
    // Files may grow to 1 MiB: writing further fails as on a full disk.
    command.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" run --once", LONGSHORE]);
    let ran = Ran::from(command.output().unwrap());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    ran.says("waits").says("hint: ");
    assert_eq!(project.keys(), ["pending/1.csv"]);
    assert_eq!(project.value("SELECT count(*) FROM t"), "0");
    project.load();
    assert_eq!(project.value("SELECT count(*) FROM t"), "100000");
}

/// A mount that is gone with this.
struct Mount(std::path::PathBuf);

impl Mount {
    /// Lets a folder be read only; `None` where that takes rights that we do not have.
    fn read_only(folder: std::path::PathBuf) -> Option<Self> {
        let mount = |arguments: &[&str]| {
            let status = Command::new("mount").args(arguments).arg(&folder).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        if !mount(&["--bind", &folder.to_string_lossy()]) {
            return None;
        }
        let mounted = Self(folder.clone());
        mount(&["-o", "remount,bind,ro"]).then_some(mounted)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().ok();
    }
}

#[test]
fn a_bucket_that_may_not_be_written_lets_rows_in_once() {
    let project = project("");
    project.drop("1.csv", numbered([1]));
    let Some(mount) = Mount::read_only(project.path("bucket")) else {
        // Whoever is not root is kept out by the folder's mode.
        let pending = project.path("bucket/pending");
        fs::set_permissions(&pending, fs::Permissions::from_mode(0o555)).unwrap();
        let refused = fs::write(pending.join("x"), "").is_err();
        if refused {
            project.load_some().says("hint: ");
        }
        fs::set_permissions(&pending, fs::Permissions::from_mode(0o755)).unwrap();
        return;
    };
    for _ in 0..2 {
        project.load_some().says("waits").says("hint: ");
        assert_eq!(project.rows(T), ["1|n1"]);
    }
    project.run(&["audit"]).exits(1).prints("in, but not archived");
    drop(mount);
    project.load();
    assert_eq!(project.rows(T), ["1|n1"]);
    assert_eq!(project.keys(), ["processed/<today>/1.csv"]);
}

#[test]
fn s3_that_denies_writes_lets_rows_in_once() {
    use crate::s3::{Fault, On as Request};
    let project = Project::on(On::S3, &pipeline(""));
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project.drop("1.csv", numbered([1]));
    project.store().inject(Request::every("CopyObject"), Fault::Answer(403, "AccessDenied"));
    for _ in 0..2 {
        project.load_some().says("waits").says("hint: ");
        assert_eq!(project.rows(T), ["1|n1"]);
    }
    project.store().heal();
    project.load();
    assert_eq!(project.rows(T), ["1|n1"]);
    assert_eq!(project.keys(), ["processed/<today>/1.csv"]);
}

#[test]
fn an_object_that_may_not_be_read_holds_back_no_other_where_order_does_not_matter() {
    use crate::s3::{Fault, On as Request};
    for (mode, others_load) in [("mode = \"append\"", true), ("mode = \"upsert\"\nkey = [\"id\"]", false)] {
        let project =
            Project::on(On::S3, &format!("[[pipeline]]\nname = \"t\"\nmatch = \"*.csv\"\ntable = \"t\"\n{mode}"));
        project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
        for (at, key) in ["1.csv", "2.csv", "3.csv"].iter().enumerate() {
            project.drop_at(key, numbered([at as u64]), &format!("2026-02-0{}T00:00:00Z", at + 1));
        }
        let denied = Request::every("GetObject").key("pending/1.csv");
        project.store().inject(denied, Fault::Answer(403, "AccessDenied"));
        for _ in 0..2 {
            project.load_some().says("waits").says("pending/1.csv").says("hint: ");
            let others: &[&str] = if others_load { &["1|n1", "2|n2"] } else { &[""; 0] };
            assert_eq!(project.rows(T), others);
        }
        project.run(&["status"]).exits(1).prints("pending/1.csv");
        project.store().heal();
        project.load();
        assert_eq!(project.rows(T), ["0|n0", "1|n1", "2|n2"]);
    }
}

#[test]
fn an_object_whose_place_in_the_archive_is_in_the_way_holds_back_no_other() {
    let project = Project::new(&pipeline("").replace("*.csv", "**/*.csv"));
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project.drop("x.csv", numbered([1]));
    project.load();
    // Where `x.csv` lies now, the next one needs a folder.
    project.drop("x.csv/y.csv", numbered([2]));
    project.load_some().says("in, but cannot be archived").says("hint: ");
    project.drop("z.csv", numbered([3]));
    project.load_some();
    assert_eq!(project.rows(T), ["1|n1", "2|n2", "3|n3"]);
    assert_eq!(project.keys(), ["pending/x.csv/y.csv", "processed/<today>/x.csv", "processed/<today>/z.csv"]);
    project.remove(&project.key("processed/<today>/x.csv"));
    project.load();
    assert_eq!(project.rows(T), ["1|n1", "2|n2", "3|n3"]);
    assert_eq!(project.keys(), ["processed/<today>/x.csv/y.csv", "processed/<today>/z.csv"]);
}

#[test]
fn rejects_that_cannot_be_put_away_keep_the_load_from_being_committed() {
    use crate::s3::{Fault, On as Request};
    let project = Project::on(On::S3, &pipeline("max_rejects = 1"));
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project.drop("1.csv", "id,name\n1,a\nx,b\n");
    project.store().inject(Request::every("PutObject"), Fault::Answer(403, "AccessDenied"));
    project.load_some().says("waits").says("hint: ");
    assert_eq!(project.rows(T), [""; 0]);
    assert_eq!(project.keys(), ["pending/1.csv"]);
    project.store().heal();
    project.load();
    assert_eq!(project.rows(T), ["1|a"]);
}

#[test]
fn wrong_credentials_and_a_bucket_that_does_not_exist_are_told_with_a_cure() {
    let project = Project::on(On::S3, &pipeline(""));
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project.drop("1.csv", numbered([1]));
    let wrong = [("AWS_SECRET_ACCESS_KEY", "wrong")];
    project.run_with(&["run", "--once"], &wrong).exits(2).says("hint: ");
    project.run_with(&["check"], &wrong).exits(1).prints("fault");
    let config = fs::read_to_string(project.path("longshore.toml")).unwrap();
    project.write_config(&config.replace("s3://landing", "s3://nowhere"));
    project.run(&["run", "--once"]).exits(2).says("nowhere").says("hint: ");
    project.run(&["check"]).exits(1).prints("nowhere");
    assert_eq!(project.keys(), ["pending/1.csv"]);
}

#[test]
fn an_object_that_changes_while_it_is_read_is_left_to_the_next_pass() {
    use crate::s3::{Fault, On as Request};
    let project = Project::on(On::S3, &pipeline(""));
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project.drop("1.csv", numbered([1]));
    let store = project.store().handle();
    project
        .store()
        .inject(Request::first("GetObject"), Fault::before(move || store.put("pending/1.csv", numbered([2]))));
    project.load_some().says("changed or vanished while it was read").prints("1 object changed while it was read");
    assert_eq!(project.rows(T), [""; 0]);
    assert_eq!(project.keys(), ["pending/1.csv"]);
    project.load();
    assert_eq!(project.rows(T), ["2|n2"]);
}

#[test]
fn an_object_that_vanishes_while_it_is_read_is_no_fault_of_anybody() {
    use crate::s3::{Fault, On as Request};
    let project = Project::on(On::S3, &pipeline(""));
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project.drop("1.csv", numbered([1]));
    project.drop("2.csv", numbered([2]));
    let store = project.store().handle();
    let vanish = Fault::before(move || store.remove("pending/1.csv"));
    project.store().inject(Request::first("GetObject").key("pending/1.csv"), vanish);
    project.load_some();
    assert_eq!(project.rows(T), ["2|n2"]);
    assert_eq!(project.keys(), ["processed/<today>/2.csv"]);
    project.load();
}

#[test]
fn an_object_that_is_overwritten_between_load_and_archive_is_loaded_by_the_next_pass() {
    use crate::s3::{Fault, On as Request};
    let project = Project::on(On::S3, &pipeline(""));
    project.sql("CREATE TABLE t (id INTEGER, name VARCHAR)");
    project.drop("1.csv", numbered([1]));
    let store = project.store().handle();
    let overwrite = Fault::before(move || store.put("pending/1.csv", numbered([2])));
    project.store().inject(Request::first("HeadObject").key("pending/1.csv"), overwrite);
    project.run(&["run", "--once"]).says("was overwritten after it was loaded");
    assert_eq!(project.rows(T), ["1|n1"]);
    assert_eq!(project.body("pending/1.csv").unwrap(), numbered([2]).as_bytes());
    project.load();
    assert_eq!(project.rows(T), ["1|n1", "2|n2"]);
}

#[test]
fn an_object_of_which_no_column_is_loaded_is_put_aside() {
    let project = project("columns = { extra = false }");
    let others = ["nothing-1.csv", "nothing-2.csv"];
    let others_and = |more: &[&'static str]| others.iter().chain(more).copied().collect::<Vec<_>>();
    for names in [vec!["nothing-0.csv"], others_and(&["1.csv"])] {
        for name in &names {
            project.drop(name, if name.starts_with("nothing") { "extra\n1\n2\n".to_owned() } else { numbered([1]) });
        }
        project.load_some().says("has rows, and none of its columns is loaded into main.t");
    }
    assert_eq!(project.rows(T), ["1|n1"]);
    assert_eq!(project.keys().iter().filter(|key| key.ends_with("-0.csv") || key.ends_with("-1.csv")).count(), 2);
    assert!(!project.keys().iter().any(|key| key.starts_with("pending/")));
}

#[test]
fn an_object_that_is_still_being_written_is_waited_for() {
    let project = project("");
    let config = fs::read_to_string(project.path("longshore.toml")).unwrap();
    project.write_config(&config.replace("settle = \"0s\"", "settle = \"300ms\""));
    let now = jiff::Timestamp::now().to_string();
    project.drop_at("1.csv", numbered([1]), &now);
    project.load();
    assert_eq!(project.rows(T), ["1|n1"]);
}

#[test]
fn all_faults_at_once_hold_back_nothing_that_is_good() {
    let pipelines = r#"
[[pipeline]]
name = "good"
match = "good*.csv"
table = "good"
mode = "append"
max_rejects = 1
[[pipeline]]
name = "missing"
match = "missing*.csv"
table = "missing"
mode = "append"
[[pipeline]]
name = "wrong"
match = "wrong*.csv"
table = "good"
mode = "upsert"
key = ["nothing"]
[[pipeline]]
name = "both"
match = "*both*.csv"
table = "good"
mode = "append"
"#;
    let project = Project::new(pipelines);
    project.sql("CREATE TABLE good (id INTEGER, name VARCHAR)");
    project.drop("good-1.csv", numbered([1]));
    project.drop("good-2.csv", "id,name\nx,1\n2,b\n");
    project.drop("good-3.csv", "id,nothing\n1,a\n");
    project.drop("good-4.csv", b"\x1f\x8b\x08nothing of gzip");
    project.drop("good-5.csv", "");
    project.drop("good-both.csv", numbered([9]));
    project.drop("good-6.csv", numbered([6]));
    project.drop("missing.csv", numbered([1]));
    project.drop("wrong.csv", numbered([1]));
    project.drop("nobody's.csv", numbered([1]));
    let ran = project.load_some();
    insta::assert_snapshot!(ran.stdout, @"4 objects loaded, 3 rows, 1 row rejected, 2 objects failed, 1 object of two pipelines, 2 pipelines wait, 1 object of no pipeline");
    assert_eq!(project.rows("SELECT * FROM good ORDER BY id"), ["1|n1", "2|b", "6|n6"]);
    let pending: Vec<String> = project.keys().into_iter().filter(|key| key.starts_with("pending/")).collect();
    assert_eq!(pending, ["pending/good-both.csv", "pending/missing.csv", "pending/nobody's.csv", "pending/wrong.csv"]);
    let failed: Vec<String> =
        project.keys().into_iter().filter(|key| key.starts_with("failed/") && key.ends_with(".csv")).collect();
    assert_eq!(failed, ["failed/2026/01/02/good-3.csv", "failed/2026/01/02/good-4.csv"]);
}
