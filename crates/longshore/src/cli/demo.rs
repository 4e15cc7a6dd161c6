//! `longshore demo`: a real load in a folder of its own.
//!
//! Everything runs through the code of the commands that it names; only the example data and the
//! words in between are the demo's.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use longshore_warehouse::Warehouse;
use longshore_warehouse::duckdb::{DuckDb, DuckDbConfig};

use super::migrate::{Place, Told};
use super::rejects::Rejects;
use super::run::Run;
use super::{Failure, Global, Outcome, Result, output};
use crate::config::{Config, Engine, FILE_NAME};

/// Says that a folder is the demo's own, which may be written anew.
const MARK: &str = ".longshore-demo";
/// What a demo leaves in its folder.
const OURS: [&str; 8] = [
    MARK,
    FILE_NAME,
    "migrations",
    "bucket",
    "warehouse.duckdb",
    "warehouse.duckdb.wal",
    "warehouse.duckdb.tmp",
    ".longshore",
];

const CONFIG: &str = include_str!("../../../../examples/shop/longshore.toml");
const TABLES: &str = include_str!("../../../../examples/shop/migrations/V1__initial_tables.sql");

/// A file of the example: its name, what is in it, and a word on it.
type Example = (&'static str, &'static str, &'static str);

macro_rules! example {
    ($name:literal, $word:literal) => {
        ($name, include_str!(concat!("../../../../examples/shop/bucket/pending/", $name)), $word)
    };
}

/// In the order in which they land.
const FILES: [Example; 6] = [
    example!("orders-2025-11-01.csv", "3 orders"),
    example!("customers-2025-11-01.csv", "4 customers"),
    example!("orders-2025-11-02.csv", "2 orders, one note over two lines"),
    example!("orders-2025-11-03.csv", "4 orders, two of them broken"),
    example!("customers-2025-11-03.csv", "1 customer corrected, 1 new"),
    example!("stock-2025-11-03.csv", "4 articles, one broken; 5 such rows are allowed"),
];

/// The file that is broken, and the words in it that are put right.
const BROKEN: &str = "orders-2025-11-03.csv";
const CORRECTIONS: [(&str, &str); 2] = [("2025-11-31", "2025-11-30"), (",twelve,", ",12.00,")];

/// Headings and queries that show the tables.
const TABLES_SHOWN: [(&[&str], &str); 3] = [
    (&["orders", "sum of total", "last day"], "SELECT count(*), sum(total), max(ordered_on) FROM orders"),
    (
        &["customer_id", "name", "postcode", "newsletter"],
        "SELECT customer_id, name, postcode, newsletter FROM customers ORDER BY customer_id",
    ),
    (&["articles", "pieces", "sum of weights"], "SELECT count(*), sum(pieces), sum(weight) FROM stock"),
];

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The folder: made if it is not there, written anew if it is an earlier demo's.
    #[arg(default_value = "longshore-demo")]
    folder: PathBuf,
}

impl Demo {
    pub(super) async fn run(self, _: &Global) -> Result {
        let folder = &self.folder;
        prepare(folder)?;
        let project = Global { config: folder.join(FILE_NAME), json: false };
        let config = project.read()?;
        let Engine::DuckDb { path, memory_limit, threads } = config.warehouse.engine.clone() else {
            return Err(Failure::new("the demo shows DuckDB"));
        };
        let warehouse = DuckDb::new(DuckDbConfig { path, memory_limit, threads, wait: config.warehouse.wait });

        outln!("A shop's files have landed in `{}`:\n", folder.join("bucket/pending").display());
        for (name, _, word) in FILES {
            outln!("  {name:<26} {word}");
        }
        outln!("\nThree tables are to take them: orders (append), customers (upsert), stock (replace).");

        step("longshore migrate", "create the tables: migrations/V1__initial_tables.sql");
        migrate(&project).await?;

        step("longshore run --once", "load what waits");
        run(&project).await?;
        outln!(
            "\nA file is in, or it is not. Only `stock` may lose rows, up to 5: they are kept aside.\nThe tables now:\n"
        );
        show(&warehouse, &TABLES_SHOWN).await?;

        let key = format!("pending/{BROKEN}");
        step(&format!("longshore rejects {key}"), "why one file is not in");
        Rejects::of(&key).run(&project)?;

        step("longshore run --once", "again: every row is in once, so nothing happens");
        run(&project).await?;

        let corrected = corrected();
        land(folder, BROKEN, &corrected, SystemTime::now())?;
        outln!("\nThe two rows are put right, and the file is dropped into `pending/` again.");
        step("longshore run --once", "only the corrected file is new");
        run(&project).await?;
        outln!("");
        show(&warehouse, &TABLES_SHOWN[..1]).await?;

        ending(folder, &config);
        Ok(Outcome::Done)
    }
}

/// Makes the folder and writes the project into it.
fn prepare(folder: &Path) -> Result<()> {
    clear(folder)?;
    let pending = folder.join("bucket/pending");
    let write = |path: &Path, text: &str| std::fs::write(path, text).map_err(|error| cannot("write", path, error));
    std::fs::create_dir_all(&pending).map_err(|error| cannot("create", &pending, error))?;
    write(&folder.join(MARK), "This folder is written anew by `longshore demo`.\n")?;
    write(&folder.join(FILE_NAME), CONFIG)?;
    let migrations = folder.join("migrations");
    std::fs::create_dir_all(&migrations).map_err(|error| cannot("create", &migrations, error))?;
    write(&migrations.join("V1__initial_tables.sql"), TABLES)?;
    // Last-modified is the order in which files take effect.
    let first = SystemTime::now() - Duration::from_secs(3600);
    for (nth, (name, text, _)) in (0_u64..).zip(FILES) {
        land(folder, name, text, first + Duration::from_secs(60 * nth))?;
    }
    Ok(())
}

/// Removes what an earlier demo left; refuses a folder that is somebody else's.
fn clear(folder: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot("open", folder, error)),
    };
    let names: Vec<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .map_err(|error| cannot("read", folder, error))?;
    if !names.is_empty() && !names.iter().any(|name| name == MARK) {
        return Err(Failure::new(format!("`{}` holds other files: the demo leaves them alone", folder.display()))
            .hint("give it a folder of its own, `longshore demo FOLDER`"));
    }
    for name in OURS.iter().filter(|name| names.iter().any(|found| found == **name)) {
        let path = folder.join(name);
        let is_folder = std::fs::symlink_metadata(&path).is_ok_and(|data| data.is_dir());
        let removed = if is_folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(|error| cannot("remove", &path, error))?;
    }
    Ok(())
}

fn cannot(what: &str, path: &Path, error: io::Error) -> Failure {
    Failure::new(format!("cannot {what} `{}`: {error}", path.display()))
        .hint("give it a folder that this user may write, `longshore demo FOLDER`")
}

/// Drops a file into `pending/`.
fn land(folder: &Path, name: &str, text: &str, at: SystemTime) -> Result<()> {
    let path = folder.join("bucket/pending").join(name);
    let file = std::fs::write(&path, text)
        .and_then(|()| std::fs::File::options().append(true).open(&path))
        .and_then(|file| file.set_modified(at));
    file.map_err(|error| cannot("write", &path, error))
}

fn corrected() -> String {
    let broken = FILES.iter().find(|(name, ..)| *name == BROKEN);
    let text = broken.map_or_else(String::new, |(_, text, _)| (*text).to_owned());
    CORRECTIONS.iter().fold(text, |text, (wrong, right)| text.replace(wrong, right))
}

fn step(command: &str, why: &str) {
    outln!("\n$ {command}    # {why}");
}

/// Applies the migration, and shows that it is applied.
async fn migrate(project: &Global) -> Result<()> {
    let place = Place::of(&project.config, &[]).await?;
    let mut told = Told;
    let done = place.open(&mut told).await?.migrate().await?;
    let migrations = output::counted(done.migrations_executed as u64, "migration");
    outln!("{migrations} applied, now at version {}", done.target_schema_version.unwrap_or_default());
    Ok(())
}

/// One pass. That something fails is part of the story.
async fn run(project: &Global) -> Result<()> {
    Run::once().run(project).await.map(|_| ())
}

/// Prints what these queries give.
async fn show(warehouse: &DuckDb, tables: &[(&[&str], &str)]) -> Result<()> {
    for (at, (header, sql)) in tables.iter().enumerate() {
        let rows = warehouse.query(sql).await?;
        let cells = rows.into_iter().map(|row| {
            let cells = row.into_iter();
            cells.map(Option::unwrap_or_default).collect()
        });
        if at > 0 {
            outln!("");
        }
        output::table(header, cells.collect(), "no rows");
    }
    // The commands that follow open the file themselves.
    warehouse.release().await;
    Ok(())
}

fn ending(folder: &Path, config: &Config) {
    outln!("\nThis was real. Look around in `{}`:\n", folder.display());
    outln!("  bucket/processed/    files that are loaded");
    outln!("  bucket/failed/       the broken file, with a report of each row");
    outln!("  bucket/rejected/     the row of stock that did not fit, with its report");
    outln!("  {FILE_NAME:<20} {} pipelines", config.pipelines.len());
    outln!("\nGo on there with `cd {}`:\n", folder.display());
    outln!("  longshore check      does everything work?");
    outln!("  longshore status     how things stand");
    outln!("  longshore audit      is every archived file in the ledger?");
    outln!("\nOr with files of your own: `longshore init FOLDER`");
}
