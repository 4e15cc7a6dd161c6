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
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use longshore_postgres::testing::{Database, Server};
use redshift_standin::{Isolation, Mode, ObjectsConfig, Role, Standin, StandinConfig, Unknowns};
use s3::{ACCESS_KEY, MemoryS3, REGION, SECRET_KEY};
use support::{Measured, data, longshore, measure, write};
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

    /// A run, how long it took until all rows were staged, and its CPU time until then.
    fn run_once(&self) -> (Measured, Duration, Duration) {
        let (store, is_over) = (self.store.clone(), Arc::new(AtomicBool::new(false)));
        let over = is_over.clone();
        let began = Instant::now();
        let watching = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if store.keys().iter().any(|key| key.ends_with(".manifest")) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            (began.elapsed(), child_cpu())
        });
        let mut command = Command::new(longshore());
        command.args(["run", "--once"]).current_dir(self.folder.path()).envs(self.store.environment());
        let measured = measure(&mut command);
        is_over.store(true, Ordering::Relaxed);
        let (staged, cpu) = watching.join().unwrap();
        (measured, staged, cpu)
    }
}

/// CPU time so far of the one process that this one has started and that runs.
fn child_cpu() -> Duration {
    let parent = std::process::id().to_string();
    let stats = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in parentheses, may hold blanks.
        let (name, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        (name.ends_with("(longshore") && fields[1] == parent)
            .then(|| fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
    });
    Duration::from_millis(10 * stats.sum::<u64>())
}

fn lineitem() {
    let csv = data("lineitem.csv");
    let megabytes = fs::metadata(&csv).unwrap().len() as f64 / 1e6;
    let mut runs: Vec<(Measured, Duration, Duration)> = (0..3)
        .map(|_| {
            let project = Project::new();
            fs::hard_link(&csv, project.folder.path().join("bucket/pending/lineitem.csv")).unwrap();
            let run = project.run_once();
            let count = project.count();
            assert!(count.starts_with("6001215 229577310901.20"), "{count}");
            run
        })
        .collect();
    runs.sort_by_key(|(_, staged, _)| *staged);
    let (measured, staged, cpu) = &runs[1];
    println!(
        "lineitem sf1, {megabytes:.0} MB: staged in {:.2} s ({:.0} MB/s) with {:.2} s of CPU ({:.0} MB/s per core); \
         the whole load: {:.2} s of CPU, peak {} MiB",
        staged.as_secs_f64(),
        megabytes / staged.as_secs_f64(),
        cpu.as_secs_f64(),
        megabytes / cpu.as_secs_f64(),
        measured.cpu.as_secs_f64(),
        measured.peak_mib
    );
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
        let before = project.standin.statements();
        let (measured, ..) = project.run_once();
        let statements = project.standin.statements() - before;
        let requests = project.store.requests();
        let loads = requests.iter().filter(|r| r.operation == "PutObject" && r.key.ends_with(".manifest")).count();
        assert!(project.count().starts_with(&format!("{} ", files * 400)));
        assert_eq!(loads, 1, "{files} files");
        println!(
            "{files} files of {} KB: {loads} load, {statements} statements, {:.2} s, {:.2} s of CPU, peak {} MiB",
            body.len() / 1000,
            measured.wall.as_secs_f64(),
            measured.cpu.as_secs_f64(),
            measured.peak_mib
        );
    }
}
