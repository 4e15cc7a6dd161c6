//! Loads into Redshift's stand-in through the real binary: what the client does, not what a cluster would.
//!
//! `cargo bench -p longshore --bench redshift -- [CASE…]`: lineitem, files. `lineitem` tells how fast rows
//! become compressed parts in the staging bucket (an S3 store in memory); `files` how many statements and
//! manifests 5,000 small files make.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and ends at the first surprise")]

#[path = "../tests/s3/mod.rs"]
mod s3;
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use longshore_postgres::testing::{Database, Server};
use redshift_standin::{Isolation, Mode, ObjectsConfig, Role, Standin, StandinConfig, Unknowns};
use s3::{ACCESS_KEY, MemoryS3, REGION, SECRET_KEY};
use support::{cpu_of, data, longshore, measure, write};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const ROLE: &str = "arn:aws:iam::123456789012:role/longshore";
const LINEITEM: &str = "CREATE TABLE lineitem (
  l_orderkey BIGINT NOT NULL, l_partkey BIGINT NOT NULL, l_suppkey BIGINT NOT NULL, l_linenumber INTEGER NOT NULL,
  l_quantity NUMERIC(15,2) NOT NULL, l_extendedprice NUMERIC(15,2) NOT NULL, l_discount NUMERIC(15,2) NOT NULL,
  l_tax NUMERIC(15,2) NOT NULL, l_returnflag CHAR(1) NOT NULL, l_linestatus CHAR(1) NOT NULL,
  l_shipdate DATE NOT NULL, l_commitdate DATE NOT NULL, l_receiptdate DATE NOT NULL,
  l_shipinstruct CHAR(25) NOT NULL, l_shipmode CHAR(10) NOT NULL, l_comment VARCHAR(44) NOT NULL)";

/// A project on a stand-in of its own.
struct Project {
    folder: TempDir,
    standin: Standin,
    store: Arc<MemoryS3>,
    _database: Database<'static>,
    runtime: Runtime,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let ["write", name, path] = args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return write(name, Path::new(path));
    }
    println!("load of the machine at the start: {}", fs::read_to_string("/proc/loadavg").unwrap().trim());
    for (name, run) in [("lineitem", lineitem as fn()), ("files", files)] {
        if args.is_empty() || args.iter().any(|arg| arg == name) {
            run();
        }
    }
}

impl Project {
    fn new() -> Self {
        let (database, store) = (Server::shared().database(), Arc::new(MemoryS3::start()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = StandinConfig {
            behind: database.admin_url(),
            listen: "127.0.0.1:0".to_owned(),
            user: "awsuser".to_owned(),
            password: "bench".to_owned(),
            mode: Mode::Provisioned,
            isolation: Isolation::Snapshot,
            objects: ObjectsConfig {
                endpoint: Some(store.endpoint()),
                region: REGION.to_owned(),
                keys: Some((ACCESS_KEY.to_owned(), SECRET_KEY.to_owned())),
            },
            roles: vec![Role::new(ROLE)],
            unknowns: Unknowns::default(),
            seed: 1,
        };
        let standin = runtime.block_on(Standin::start(config)).unwrap();
        fs::create_dir_all(support::cache()).unwrap();
        let folder = tempfile::tempdir_in(support::cache()).unwrap();
        fs::create_dir_all(folder.path().join("bucket/pending")).unwrap();
        let config = format!(
            "[bucket]\nurl = \"./bucket\"\nsettle = \"0s\"\n[warehouse]\nurl = \"{}\"\niam_role = \"{ROLE}\"\n\
             staging = \"s3://landing/staging/\"\n\
             [[pipeline]]\nname = \"lineitem\"\nmatch = \"*.csv\"\ntable = \"lineitem\"\nmode = \"append\"\n",
            standin.url()
        );
        fs::write(folder.path().join("longshore.toml"), config).unwrap();
        let project = Self { folder, standin, store, _database: database, runtime };
        project.sql(LINEITEM);
        project
    }

    fn sql(&self, sql: &str) -> Vec<tokio_postgres::SimpleQueryMessage> {
        let url = self.standin.url();
        self.runtime.block_on(async {
            let connection = longshore_postgres::Config::from_url(&url).unwrap().connect().await.unwrap();
            connection.simple_query(sql).await.unwrap()
        })
    }

    fn count(&self) -> String {
        let answer = self.sql("SELECT count(*), sum(l_extendedprice) FROM lineitem");
        let row = answer.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row = row.unwrap();
        format!("{} {}", row.get(0).unwrap_or("0"), row.get(1).unwrap_or("0"))
    }

    fn command(&self) -> Command {
        self.command_of(&["run", "--once"])
    }

    fn command_of(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(longshore());
        command.args(arguments).current_dir(self.folder.path()).envs(self.store.environment());
        command
    }

    /// How many statements the load itself is planned with: without login, look-ups and what comes after.
    fn planned(&self) -> usize {
        let plan = self.command_of(&["plan", "--sql", "--json"]).output().unwrap();
        let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
        let statements = plan[0]["statements"].as_array().unwrap();
        let is_first = |sql: &serde_json::Value| sql.as_str().unwrap().starts_with("SET application_name");
        statements.len() - statements.iter().position(is_first).unwrap()
    }

    /// Runs until all rows are staged, and no further: what follows is the stand-in's work. Returns how long
    /// that took, and its CPU time.
    fn stage(&self) -> (Duration, Duration) {
        let began = Instant::now();
        let mut child = self.command().stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        while !self.store.keys().iter().any(|key| key.ends_with(".manifest")) {
            assert!(child.try_wait().unwrap().is_none(), "it ended before all was staged");
            std::thread::sleep(Duration::from_millis(2));
        }
        let staged = (began.elapsed(), cpu_of(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        staged
    }
}

fn lineitem() {
    let csv = data("lineitem.csv");
    let megabytes = fs::metadata(&csv).unwrap().len() as f64 / 1e6;
    let project = || {
        let project = Project::new();
        fs::hard_link(&csv, project.folder.path().join("bucket/pending/lineitem.csv")).unwrap();
        project
    };
    let (mut times, mut cpus): (Vec<Duration>, Vec<Duration>) = (0..9).map(|_| project().stage()).unzip();
    times.sort();
    cpus.sort();
    let speed = |time: Duration| megabytes / time.as_secs_f64();
    println!(
        "lineitem sf1, {megabytes:.0} MB: staged in {:.2} s ({:.0} MB/s) with {:.2} s of CPU ({:.0} MB/s per core; \
         {:.0} to {:.0} in nine runs)",
        times[4].as_secs_f64(),
        speed(times[4]),
        cpus[4].as_secs_f64(),
        speed(cpus[4]),
        speed(cpus[8]),
        speed(cpus[0]),
    );
    let project = project();
    let measured = measure(&mut project.command());
    let count = project.count();
    assert!(count.starts_with("6001215 229577310901.20"), "{count}");
    println!("the whole load: {:.2} s of CPU, peak {} MiB", measured.cpu.as_secs_f64(), measured.peak_mib);
}

fn files() {
    for files in [1, 500, 5_000] {
        let project = Project::new();
        let lines: Vec<String> =
            fs::read_to_string(data("lineitem.csv")).unwrap().lines().take(401).map(str::to_owned).collect();
        let body = lines.join("\n") + "\n";
        for n in 0..files {
            fs::write(project.folder.path().join(format!("bucket/pending/{n:05}.csv")), &body).unwrap();
        }
        let planned = project.planned();
        assert!(planned <= 20, "{planned}");
        let before = project.standin.statements();
        let measured = measure(&mut project.command());
        let statements = project.standin.statements() - before;
        let requests = project.store.requests();
        let loads = requests.iter().filter(|r| r.operation == "PutObject" && r.key.ends_with(".manifest")).count();
        assert!(project.count().starts_with(&format!("{} ", files * 400)));
        assert_eq!(loads, 1, "{files} files");
        println!(
            "{files} files of {} KB: {loads} load of {planned} statements, {statements} of the whole process, {:.2} s, {:.2} s of CPU, peak {} MiB",
            body.len() / 1000,
            measured.wall.as_secs_f64(),
            measured.cpu.as_secs_f64(),
            measured.peak_mib
        );
    }
}
