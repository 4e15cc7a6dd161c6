//! Whole loads through the real binary, each beside DuckDB's own COPY in the same run.
//!
//! `cargo bench -p longshore --bench loads -- [CASE…]`: lineitem, upsert, files, start, running, memory.
//! Prints wall time, CPU and peak memory as medians of three runs, and ratios. Rows and sums are
//! verified. `memory` writes 10 GB and is run only when it is named.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and ends at the first surprise")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use duckdb::Connection;
use support::{Measured, cache, cpu_of, data, longshore, measure, median, print_row, repeat, resident_of, walk, write};

const LINEITEM: &str = "CREATE TABLE lineitem (
  l_orderkey BIGINT NOT NULL, l_partkey BIGINT NOT NULL, l_suppkey BIGINT NOT NULL, l_linenumber INTEGER NOT NULL,
  l_quantity DECIMAL(15,2) NOT NULL, l_extendedprice DECIMAL(15,2) NOT NULL, l_discount DECIMAL(15,2) NOT NULL,
  l_tax DECIMAL(15,2) NOT NULL, l_returnflag VARCHAR NOT NULL, l_linestatus VARCHAR NOT NULL,
  l_shipdate DATE NOT NULL, l_commitdate DATE NOT NULL, l_receiptdate DATE NOT NULL,
  l_shipinstruct VARCHAR NOT NULL, l_shipmode VARCHAR NOT NULL, l_comment VARCHAR NOT NULL)";
const ORDERS: &str =
    "CREATE TABLE orders (id BIGINT NOT NULL, customer BIGINT, state VARCHAR, total DECIMAL(12,2), day DATE)";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    // The baseline runs in a process of its own, so that its CPU and memory can be told.
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["duckdb-copy", database, table, files] => return copy(database, table, files),
        ["write", name, path] => return write(name, Path::new(path)),
        _ => {}
    }
    let wanted = |case: &str| if args.is_empty() { case != "memory" } else { args.iter().any(|arg| arg == case) };
    let cases: [(&str, fn()); 6] = [
        ("start", start),
        ("lineitem", lineitem),
        ("upsert", upsert),
        ("files", files),
        ("running", running),
        ("memory", memory),
    ];
    println!("{:<34} {:>9} {:>9} {:>9} {:>8} {:>8}", "", "wall s", "cpu s", "peak MiB", "x wall", "x cpu");
    for (_, run) in cases.iter().filter(|(name, _)| wanted(name)) {
        run();
    }
}

/// `COPY` of files into a table, by DuckDB itself.
fn copy(database: &str, table: &str, glob: &str) {
    let connection = Connection::open(database).unwrap();
    connection.execute_batch("SET memory_limit = '1GiB'").unwrap();
    connection.execute_batch(&format!("COPY {table} FROM '{glob}' (HEADER)")).unwrap();
}

fn start() {
    let runs = (0..20).map(|_| measure(Command::new(longshore()).arg("--version"))).collect();
    print_row("start: `longshore --version`", &median(runs), None);
}

fn lineitem() {
    let csv = data("lineitem.csv");
    let check = |project: &Project| {
        let sums = project
            .query("SELECT count(*) || ' ' || sum(l_extendedprice) || ' ' || count(DISTINCT l_comment) FROM lineitem");
        assert!(sums.starts_with("6001215 229577310901.20 "), "{sums}");
        sums
    };
    let theirs = repeat(|| {
        let project = Project::new(LINEITEM, "lineitem", "append", "");
        let measured = project.copy("lineitem", &csv);
        (measured, check(&project))
    });
    let ours = repeat(|| {
        let project = Project::new(LINEITEM, "lineitem", "append", "");
        project.drop_file(&csv, "lineitem.csv");
        let measured = project.run_once();
        (measured, check(&project))
    });
    assert_eq!(theirs.1, ours.1, "both loaded the same");
    print_row("lineitem sf1: DuckDB COPY", &theirs.0, None);
    print_row("lineitem sf1: longshore append", &ours.0, Some(&theirs.0));
}

fn upsert() {
    let (base, change) = (data("orders-base.csv"), data("orders-change.csv"));
    let prepare = || {
        let project = Project::new(ORDERS, "orders", "upsert", "key = [\"id\"]");
        project.copy("orders", &base);
        project
    };
    let ours = repeat(|| {
        let project = prepare();
        project.drop_file(&change, "orders.csv");
        let measured = project.run_once();
        let counted = project.query("SELECT count(*) || ' ' || count(DISTINCT id) FROM orders");
        assert_eq!(counted, "1750000 1750000");
        (measured, counted)
    });
    let theirs = repeat(|| (prepare().copy("orders", &change), String::new()));
    print_row("500,000 rows: DuckDB COPY, no merge", &theirs.0, None);
    print_row("500,000 into 1.5 M: longshore upsert", &ours.0, Some(&theirs.0));
}

fn files() {
    let folder = data("files");
    let theirs = repeat(|| {
        let project = Project::new(LINEITEM, "lineitem", "append", "");
        (
            project.copy("lineitem", &folder.join("*.csv")),
            project.query("SELECT count(*) || ' ' || sum(l_extendedprice) FROM lineitem"),
        )
    });
    let ours = repeat(|| {
        let project = Project::new(LINEITEM, "lineitem", "append", "");
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            project.drop_file(&path, &path.file_name().unwrap().to_string_lossy());
        }
        let measured = project.run_once();
        let archived = walk(&project.folder.join("bucket/processed"));
        assert_eq!(archived, 5_000, "every file is archived");
        (measured, project.query("SELECT count(*) || ' ' || sum(l_extendedprice) FROM lineitem"))
    });
    assert_eq!(theirs.1, ours.1, "both loaded the same");
    print_row("5,000 x 50 KB: DuckDB COPY, one glob", &theirs.0, None);
    print_row("5,000 x 50 KB: longshore, archived", &ours.0, Some(&theirs.0));
}

/// What `longshore run` takes while nothing happens, and how soon a file that lands is in.
fn running() {
    const QUIET: Duration = Duration::from_secs(30);
    let project = Project::new(ORDERS, "orders", "append", "");
    let mut child = Command::new(longshore())
        .args(["run", "--log-level", "error"])
        .current_dir(&project.folder)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let (before, began) = (cpu_of(child.id()), Instant::now());
    std::thread::sleep(QUIET);
    let idle = Measured { wall: began.elapsed(), cpu: cpu_of(child.id()) - before, peak_mib: resident_of(child.id()) };
    print_row("running: nothing to do, 30 s", &idle, None);
    let latencies = (0..20)
        .map(|nth| {
            // Longer than the warehouse's file stays open.
            std::thread::sleep(Duration::from_millis(1_500));
            let began = Instant::now();
            let text = format!("id,customer,state,total,day\n{nth},1,new,1.50,2026-01-01\n");
            fs::write(project.folder.join(format!("bucket/pending/{nth}.csv")), text).unwrap();
            // It is archived after its rows are committed.
            while walk(&project.folder.join("bucket/processed")) <= nth {
                assert!(began.elapsed() < Duration::from_secs(30), "it is loaded");
                std::thread::sleep(Duration::from_millis(2));
            }
            Measured { wall: began.elapsed(), cpu: Duration::ZERO, peak_mib: resident_of(child.id()) }
        })
        .collect::<Vec<_>>();
    let slowest = latencies.iter().map(|measured| measured.wall).max().unwrap_or_default();
    print_row("running: from landing to archived", &median(latencies), None);
    println!("{:<34} {:>9.3}", "  the slowest of 20", slowest.as_secs_f64());
    Command::new("sh").args(["-c", &format!("kill {}", child.id())]).status().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(project.query("SELECT count(*) || '' FROM orders"), "20");
}

fn memory() {
    for (label, name) in [("100 MB", "lineitem-100mb.csv"), ("10 GB", "lineitem-10gb.csv")] {
        let project = Project::new(LINEITEM, "lineitem", "append", "");
        project.drop_file(&data(name), "lineitem.csv");
        print_row(&format!("memory: {label}, append"), &project.run_once(), None);
    }
}

/// A project in a folder of its own, with one table and one pipeline.
struct Project {
    folder: PathBuf,
}

impl Project {
    fn new(create: &str, table: &str, mode: &str, settings: &str) -> Self {
        let folder = cache().join("project");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(folder.join("bucket/pending")).unwrap();
        let config = format!(
            "[bucket]\nurl = \"./bucket\"\nsettle = \"0s\"\n[[pipeline]]\nname = \"{table}\"\nmatch = \"*.csv\"\ntable = \"{table}\"\nmode = \"{mode}\"\n{settings}\n"
        );
        fs::write(folder.join("longshore.toml"), config).unwrap();
        let project = Self { folder };
        project.open().execute_batch(create).unwrap();
        project
    }

    fn open(&self) -> Connection {
        Connection::open(self.folder.join("warehouse.duckdb")).unwrap()
    }

    fn query(&self, sql: &str) -> String {
        self.open().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// A hard link: what is measured is the load, not the copying of test data.
    fn drop_file(&self, path: &Path, name: &str) {
        fs::hard_link(path, self.folder.join("bucket/pending").join(name)).unwrap();
    }

    fn run_once(&self) -> Measured {
        measure(Command::new(longshore()).args(["run", "--once", "--log-level", "error"]).current_dir(&self.folder))
    }

    fn copy(&self, table: &str, files: &Path) -> Measured {
        let database = self.folder.join("warehouse.duckdb");
        measure(Command::new(std::env::current_exe().unwrap()).arg("duckdb-copy").arg(database).arg(table).arg(files))
    }
}
