//! Whole loads into PostgreSQL through the real binary, each beside `psql \copy` in the same run.
//!
//! `cargo bench -p longshore --bench postgres -- [CASE…]`: lineitem, upsert, files, tables, cold, memory.
//! A private server (shared_buffers 2GB, max_wal_size 8GB, fsync on) takes both. CPU is that of client
//! and server. Rows and sums are verified; medians of three runs are printed, and ratios. `memory`
//! writes 10 GB and is run only when it is named.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and ends at the first surprise")]

#[path = "../tests/s3/mod.rs"]
mod s3;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use longshore_postgres::testing::{Database, Options, Server};
use s3::MemoryS3;
use support::{Measured, cache, data, longshore, measure, print_row, repeat, walk, write};

const LINEITEM: &str = "CREATE TABLE lineitem (
  l_orderkey BIGINT NOT NULL, l_partkey BIGINT NOT NULL, l_suppkey BIGINT NOT NULL, l_linenumber INTEGER NOT NULL,
  l_quantity NUMERIC(15,2) NOT NULL, l_extendedprice NUMERIC(15,2) NOT NULL, l_discount NUMERIC(15,2) NOT NULL,
  l_tax NUMERIC(15,2) NOT NULL, l_returnflag CHAR(1) NOT NULL, l_linestatus CHAR(1) NOT NULL,
  l_shipdate DATE NOT NULL, l_commitdate DATE NOT NULL, l_receiptdate DATE NOT NULL,
  l_shipinstruct CHAR(25) NOT NULL, l_shipmode CHAR(10) NOT NULL, l_comment VARCHAR(44) NOT NULL)";
const ORDERS: &str =
    "CREATE TABLE orders (id BIGINT PRIMARY KEY, customer BIGINT, state TEXT, total NUMERIC(12,2), day DATE)";

/// A benchmark, on a server.
type Case = fn(&Server);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let ["write", name, path] = args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return write(name, Path::new(path));
    }
    let wanted = |case: &str| if args.is_empty() { case != "memory" } else { args.iter().any(|arg| arg == case) };
    let cases: [(&str, Case); 6] = [
        ("lineitem", lineitem),
        ("upsert", upsert),
        ("files", files),
        ("tables", tables),
        ("cold", cold),
        ("memory", memory),
    ];
    let durable = ["fsync", "synchronous_commit", "full_page_writes"];
    let options = durable.iter().fold(Options::default(), |options, name| options.set(name, "on"));
    let server = Server::start(options.set("shared_buffers", "2GB").set("max_wal_size", "8GB"));
    println!("load of the machine at the start: {}", fs::read_to_string("/proc/loadavg").unwrap().trim());
    println!("{:<40} {:>9} {:>9} {:>9} {:>8} {:>8}", "", "wall s", "cpu s", "peak MiB", "x wall", "x cpu");
    for (_, run) in cases.iter().filter(|(name, _)| wanted(name)) {
        run(&server);
    }
}

fn lineitem(server: &Server) {
    const SUMS: &str =
        "SELECT count(*) || ' ' || sum(l_extendedprice) || ' ' || count(DISTINCT l_comment) FROM lineitem";
    let csv = data("lineitem.csv");
    let check = |project: &Project<'_>| {
        let sums = project.query(SUMS);
        assert!(sums.starts_with("6001215 229577310901.20 "), "{sums}");
        sums
    };
    let theirs = repeat(|| {
        let project = Project::new(server, &[(LINEITEM, "lineitem", "append", "")]);
        let measured = project.psql(&copy("lineitem", &csv));
        (measured, check(&project))
    });
    let ready = ready(server, "lineitem.binary", &copy("lineitem", &csv), check);
    let ours = repeat(|| {
        let project = Project::new(server, &[(LINEITEM, "lineitem", "append", "")]);
        project.drop_file(&csv, "lineitem.csv");
        let measured = project.run_once();
        (measured, check(&project))
    });
    let from_s3 = repeat(|| {
        let store = MemoryS3::start();
        store.put("pending/lineitem.csv", fs::read(&csv).unwrap());
        let project = Project::new(server, &[(LINEITEM, "lineitem", "append", "")]).with_store(store);
        let measured = project.run_once();
        (measured, check(&project))
    });
    assert!([&ready, &ours, &from_s3].iter().all(|other| other.1 == theirs.1), "all loaded the same");
    print_row("lineitem sf1: psql \\copy", &theirs.0, None);
    print_row("lineitem sf1: psql, binary made before", &ready.0, Some(&theirs.0));
    print_row("lineitem sf1: longshore append", &ours.0, Some(&theirs.0));
    print_row("lineitem sf1: longshore append, from S3", &from_s3.0, Some(&theirs.0));
}

/// What no client can beat on one connection: psql sends a binary file that was made before, and nothing is parsed at
/// all. `script` loads the same rows.
fn ready(server: &Server, name: &str, script: &str, check: impl Fn(&Project<'_>) -> String) -> (Measured, String) {
    let binary = cache().join(name);
    repeat(|| {
        let project = Project::new(server, &[(LINEITEM, "lineitem", "append", "")]);
        if !binary.exists() {
            project.psql(script);
            project.psql(&format!("\\copy lineitem TO '{}' (FORMAT binary)\nTRUNCATE lineitem", binary.display()));
            project.server.sql("CHECKPOINT");
        }
        let measured = project.psql(&format!("\\copy lineitem FROM '{}' (FORMAT binary)", binary.display()));
        (measured, check(&project))
    })
}

fn upsert(server: &Server) {
    let (base, change) = (data("orders-base.csv"), data("orders-shuffled.csv"));
    let prepare = || {
        let project = Project::new(server, &[(ORDERS, "orders", "upsert", "key = [\"id\"]")]);
        project.psql(&copy("orders", &base));
        project.psql("VACUUM ANALYZE orders");
        project.server.sql("CHECKPOINT");
        project
    };
    let check = |project: &Project<'_>| {
        let sums = project.query("SELECT count(*) || ' ' || sum(total) || ' ' || sum(customer) FROM orders");
        assert!(sums.starts_with("1750000 "), "{sums}");
        sums
    };
    let theirs = repeat(|| {
        let project = prepare();
        let script = format!(
            "BEGIN;\nCREATE UNLOGGED TABLE staging (LIKE orders);\n{}\n\
             INSERT INTO orders SELECT * FROM staging ON CONFLICT (id) DO UPDATE SET customer = excluded.customer, \
             state = excluded.state, total = excluded.total, day = excluded.day;\nDROP TABLE staging;\nCOMMIT;",
            copy("staging", &change)
        );
        (project.psql(&script), check(&project))
    });
    let ours = repeat(|| {
        let project = prepare();
        project.drop_file(&change, "orders.csv");
        (project.run_once(), check(&project))
    });
    assert_eq!(theirs.1, ours.1, "both loaded the same");
    print_row("500,000 into 1.5 M: psql, ON CONFLICT", &theirs.0, None);
    print_row("500,000 into 1.5 M: longshore upsert", &ours.0, Some(&theirs.0));
}

fn files(server: &Server) {
    const SUMS: &str = "SELECT count(*) || ' ' || sum(l_extendedprice) FROM lineitem";
    let files = listed(&data("files"));
    let script = files.iter().map(|file| copy("lineitem", file)).collect::<Vec<_>>().join("\n");
    let theirs = repeat(|| {
        let project = Project::new(server, &[(LINEITEM, "lineitem", "append", "")]);
        (project.psql(&script), project.query(SUMS))
    });
    let ready = ready(server, "files.binary", &script, |project| project.query(SUMS));
    let ours = repeat(|| {
        let project = Project::new(server, &[(LINEITEM, "lineitem", "append", "")]);
        files.iter().for_each(|file| project.drop_file(file, &name_of(file)));
        let measured = project.run_once();
        assert_eq!(walk(&project.folder.join("bucket/processed")), 5_000, "every file is archived");
        (measured, project.query(SUMS))
    });
    assert!([&ready, &ours].iter().all(|other| other.1 == theirs.1), "all loaded the same");
    print_row("5,000 x 50 KB: psql, a \\copy per file", &theirs.0, None);
    print_row("5,000 x 50 KB: psql, one binary file", &ready.0, Some(&theirs.0));
    print_row("5,000 x 50 KB: longshore, archived", &ours.0, Some(&theirs.0));
}

fn tables(server: &Server) {
    const TABLES: usize = 20;
    let files: Vec<PathBuf> = listed(&data("files")).into_iter().take(1_000).collect();
    let names: Vec<String> = (0..TABLES).map(|nth| format!("t{nth:02}")).collect();
    let creates: Vec<String> = names.iter().map(|name| LINEITEM.replace("lineitem", name)).collect();
    let tables: Vec<_> = creates.iter().zip(&names).map(|(sql, name)| (&sql[..], &name[..], "append", "")).collect();
    let parts: Vec<String> =
        names.iter().map(|name| format!("SELECT count(*) AS n, sum(l_extendedprice) AS s FROM {name}")).collect();
    let sums = format!("SELECT sum(n) || ' ' || sum(s) FROM ({}) t", parts.join(" UNION ALL "));
    let theirs = repeat(|| {
        let project = Project::new(server, &tables);
        let copies = files.iter().enumerate().map(|(nth, file)| copy(&names[nth % TABLES], file));
        (project.psql(&copies.collect::<Vec<_>>().join("\n")), project.query(&sums))
    });
    // What no client can beat on two connections: of each table one binary file that was made before.
    let ready = repeat(|| {
        let project = Project::new(server, &tables);
        let copies = files.iter().enumerate().map(|(nth, file)| copy(&names[nth % TABLES], file));
        let binary = |name: &str| project.folder.join(format!("{name}.binary"));
        let made = names.iter().map(|name| format!("\\copy {name} TO '{}' (FORMAT binary)", binary(name).display()));
        let script: Vec<String> = copies.chain(made).chain([format!("TRUNCATE {};", names.join(", "))]).collect();
        project.psql(&script.join("\n"));
        project.server.sql("CHECKPOINT");
        let half = |names: &[String]| {
            let load = |name: &String| format!("\\copy {name} FROM '{}' (FORMAT binary)", binary(name).display());
            names.iter().map(load).collect::<Vec<_>>().join("\n")
        };
        let (first, second) = names.split_at(TABLES / 2);
        (project.psql_at_once([half(first), half(second)]), project.query(&sums))
    });
    let ours = repeat(|| {
        let project = Project::new(server, &tables);
        for (nth, file) in files.iter().enumerate() {
            project.drop_file(file, &format!("{}-{}", names[nth % TABLES], name_of(file)));
        }
        let measured = project.run_once();
        assert_eq!(walk(&project.folder.join("bucket/processed")), 1_000, "every file is archived");
        (measured, project.query(&sums))
    });
    assert!([&ready, &ours].iter().all(|other| other.1 == theirs.1), "all loaded the same");
    print_row("1,000 x 50 KB, 20 tables: psql", &theirs.0, None);
    print_row("1,000 x 50 KB: two psql, binary", &ready.0, Some(&theirs.0));
    print_row("1,000 x 50 KB, 20 tables: longshore", &ours.0, Some(&theirs.0));
}

/// One small file, from the start of the process.
fn cold(server: &Server) {
    let file = &listed(&data("files"))[0];
    let theirs = repeat(|| {
        let project = Project::new(server, &[(LINEITEM, "lineitem", "append", "")]);
        (project.psql(&copy("lineitem", file)), project.query("SELECT count(*) FROM lineitem"))
    });
    let ours = repeat(|| {
        let project = Project::new(server, &[(LINEITEM, "lineitem", "append", "")]);
        // The ledger is there after the first load of a project's life.
        project.drop_file(&listed(&data("files"))[1], "first.csv");
        project.run_once();
        project.drop_file(file, "second.csv");
        (project.run_once(), project.query("SELECT count(*) / 2 FROM lineitem"))
    });
    assert_eq!(theirs.1, ours.1, "both loaded the same");
    print_row("one file of 50 KB, cold: psql \\copy", &theirs.0, None);
    print_row("one file of 50 KB, cold: longshore", &ours.0, Some(&theirs.0));
}

fn memory(server: &Server) {
    for (label, name) in [("100 MB", "lineitem-100mb.csv"), ("10 GB", "lineitem-10gb.csv")] {
        let project = Project::new(server, &[(LINEITEM, "lineitem", "append", "")]);
        project.drop_file(&data(name), "lineitem.csv");
        print_row(&format!("memory: {label}, append"), &project.run_once(), None);
    }
}

/// What loads a file.
fn copy(table: &str, file: &Path) -> String {
    format!("\\copy {table} from '{}' (format csv, header)", file.display())
}

/// Files of a folder, by name.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap().to_string_lossy().into_owned()
}

/// A project in a folder of its own, with a database of its own.
struct Project<'s> {
    folder: PathBuf,
    database: Database<'s>,
    server: &'s Server,
    store: Option<MemoryS3>,
}

impl<'s> Project<'s> {
    /// With these tables: statement, name, mode and settings of the pipeline.
    fn new(server: &'s Server, tables: &[(&str, &str, &str, &str)]) -> Self {
        let folder = cache().join("project-postgres");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(folder.join("bucket/pending")).unwrap();
        let project = Self { folder, database: server.database(), server, store: None };
        project.configure("url = \"./bucket\"\nsettle = \"0s\"", tables);
        for (create, ..) in tables {
            project.psql(create);
        }
        server.sql("CHECKPOINT");
        project
    }

    fn configure(&self, bucket: &str, tables: &[(&str, &str, &str, &str)]) {
        let several = tables.len() > 1;
        let pipelines: Vec<String> = tables
            .iter()
            .map(|(_, name, mode, settings)| {
                let pattern = if several { format!("{name}-*.csv") } else { "*.csv".to_owned() };
                format!(
                    "[[pipeline]]\nname = \"{name}\"\nmatch = \"{pattern}\"\ntable = \"{name}\"\nmode = \"{mode}\"\n{settings}\n"
                )
            })
            .collect();
        let config =
            format!("[bucket]\n{bucket}\n[warehouse]\nurl = \"{}\"\n{}", self.database.url(), pipelines.join("\n"));
        fs::write(self.folder.join("longshore.toml"), config).unwrap();
    }

    /// With a bucket in this store, for the one table that it has.
    fn with_store(mut self, store: MemoryS3) -> Self {
        let bucket = format!(
            "url = \"s3://landing\"\nregion = \"us-east-2\"\nendpoint = \"{}\"\npath_style = true",
            store.endpoint()
        );
        self.configure(&bucket, &[(LINEITEM, "lineitem", "append", "")]);
        self.store = Some(store);
        self
    }

    fn query(&self, sql: &str) -> String {
        self.database.sql(sql).unwrap()
    }

    /// A hard link: what is measured is the load, not the copying of test data.
    fn drop_file(&self, path: &Path, name: &str) {
        fs::hard_link(path, self.folder.join("bucket/pending").join(name)).unwrap();
    }

    fn run_once(&self) -> Measured {
        let mut command = Command::new(longshore());
        command.args(["run", "--once", "--log-level", "error"]).current_dir(&self.folder);
        command.env("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY);
        self.with_the_server(|| measure(&mut command))
    }

    /// Runs a script in one session of psql.
    fn psql(&self, script: &str) -> Measured {
        let path = self.folder.join("script.sql");
        fs::write(&path, script).unwrap();
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&path).arg(self.database.url());
        self.with_the_server(|| measure(command.stdout(Stdio::null())))
    }

    /// Runs scripts, each in a session of psql of its own.
    fn psql_at_once<const N: usize>(&self, scripts: [String; N]) -> Measured {
        let sessions = scripts.iter().enumerate().map(|(nth, script)| {
            let path = self.folder.join(format!("script-{nth}.sql"));
            fs::write(&path, script).unwrap();
            format!("psql -X -q -v ON_ERROR_STOP=1 -f '{}' '{}' & ", path.display(), self.database.url())
        });
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{}wait", sessions.collect::<String>())]);
        self.with_the_server(|| measure(&mut command))
    }

    /// Adds what the server took.
    fn with_the_server(&self, run: impl FnOnce() -> Measured) -> Measured {
        let before = server_cpu(self.server);
        let mut measured = run();
        // A backend is counted whole once it is gone.
        let gone = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = ";
        let began = Instant::now();
        while self.server.sql(&format!("{gone}'{}'", self.database.name())).as_deref() != Some("0") {
            assert!(began.elapsed() < Duration::from_secs(30), "the sessions end");
            std::thread::sleep(Duration::from_millis(2));
        }
        measured.cpu += server_cpu(self.server).saturating_sub(before);
        measured
    }
}

/// CPU time of a server so far: its first process, those that it started, and those that ended.
fn server_cpu(server: &Server) -> Duration {
    let pid_file = fs::read_to_string(server.folder().join("data/postmaster.pid")).unwrap();
    let first: u32 = pid_file.lines().next().unwrap().trim().parse().unwrap();
    let mut ticks = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name, in parentheses, may hold blanks.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let number = |at: usize| fields[at].parse::<u64>().unwrap();
        if pid == first {
            ticks += number(11) + number(12) + number(13) + number(14);
        } else if number(1) == u64::from(first) {
            ticks += number(11) + number(12);
        }
    }
    Duration::from_millis(ticks * 10)
}
