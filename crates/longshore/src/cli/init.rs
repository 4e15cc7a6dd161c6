//! `longshore init`: from a folder of CSV files to a working project.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::TryStreamExt;
use longshore_migrate::{Touch, Version};
use longshore_warehouse::{NewTable, TableName, Warehouse};
use serde::Serialize;

use super::migrate::{Place as Migrations, Told};
use super::{Failure, Global, Outcome, Result, output};
use crate::bucket::{Bucket, Directory, DirectoryConfig, Object};
use crate::config::{self, Config, ConfigError};
use crate::pipeline::{Context, discover};
use crate::project;
use crate::propose;
use crate::propose::feeds::{self, Csv, Feed, Feeds, Key, LeftOut};
use crate::propose::write::{self, Place};

/// The bucket that is proposed where there is none.
const BUCKET: &str = "./bucket";
/// The warehouse that is proposed.
const WAREHOUSE: &str = "duckdb:warehouse.duckdb";
/// What the first migration is called.
const FIRST: &str = "initial_tables";
/// Letters of a migration's name that are taken from the names of tables.
const LONGEST: usize = 60;
/// The version of what is there when the first migration is written.
const BEFORE: &str = "0";

#[derive(Debug, Args)]
pub(super) struct Init {
    /// Where the CSV files lie [default: what waits in the bucket, else this folder].
    folder: Option<PathBuf>,
    /// Create the bucket's folders and the tables, too. In a project that is there already, without
    /// FOLDER: write a migration for tables that are missing for what waits in the bucket, and apply it.
    #[arg(long)]
    apply: bool,
    /// Write over `longshore.toml`, and over a proposed migration that was never applied.
    #[arg(long)]
    force: bool,
    /// The bucket of the project: a directory or `s3://name` [default: ./bucket].
    #[arg(long, value_name = "URL")]
    bucket: Option<String>,
    /// The warehouse of the project.
    #[arg(long, value_name = "URL", default_value = WAREHOUSE)]
    warehouse: String,
    /// The role with which Redshift reads the staging bucket.
    #[arg(long, value_name = "ARN")]
    iam_role: Option<String>,
    /// The prefix through which rows travel to Redshift [default: `staging/` of a bucket in S3].
    #[arg(long, value_name = "URL")]
    staging: Option<String>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document<'a> {
    bucket: &'a str,
    warehouse: &'a str,
    pipelines: Vec<Proposed<'a>>,
    left_out: &'a [LeftOut],
    written: Vec<String>,
    applied: Option<&'a [Applied]>,
}

#[derive(Debug, Serialize)]
struct Proposed<'a> {
    name: &'a str,
    r#match: &'a str,
    table: String,
    files: &'a [String],
    bytes: u64,
    rows: u64,
    csv: &'a Csv,
    key: &'a Option<Key>,
    notes: &'a [String],
    columns: Vec<Column<'a>>,
    create_table: String,
}

#[derive(Debug, Serialize)]
struct Column<'a> {
    name: &'a str,
    nullable: bool,
}

/// A table that `--apply` saw to.
#[derive(Debug, Serialize)]
struct Applied {
    table: String,
    created: bool,
}

/// Where the files lie that are looked at, and what the project calls its bucket.
struct Source {
    bucket: Arc<dyn Bucket>,
    prefix: String,
    /// How people know it.
    name: String,
    place: Place,
    /// The folder whose files have to be copied into the bucket.
    to_copy: Option<PathBuf>,
}

impl Init {
    pub(super) async fn run(self, global: &Global) -> Result {
        if self.apply && !self.force && self.folder.is_none() && global.config.exists() {
            return create_missing(global).await;
        }
        self.suits_the_warehouse()?;
        let home = home(&global.config)?;
        self.refuse_to_overwrite(&global.config)?;
        let source = self.source(&home).await?;
        let found = feeds::find(source.bucket.as_ref(), &source.prefix).await?;
        if found.feeds.is_empty() {
            return Err(nothing(&source, &found));
        }
        let text = write::config(&source.place, &found.feeds);
        let config = parse(&text, &home, &global.config)?;
        let place = Migrations::of_project(&config, &[]).await?;
        let warehouse = project::open_warehouse(&config).await?;
        // A table that is there is left alone.
        let mut missing: Vec<&NewTable> = Vec::new();
        for feed in &found.feeds {
            match exists(warehouse.as_ref(), &feed.table.name).await {
                Ok(true) => {}
                Ok(false) => missing.push(&feed.table),
                Err(error) if self.apply => return Err(error),
                Err(_) => {
                    tracing::warn!("the warehouse cannot be asked which tables are there: `longshore check` says why");
                    missing = found.feeds.iter().map(|feed| &feed.table).collect();
                    break;
                }
            }
        }
        warehouse.release().await;
        let mut written = vec![global.config.clone()];
        let migration = match missing.is_empty() {
            true => None,
            false => Some((self.migration(&place, &missing).await?, write::tables(&missing, warehouse.as_ref()))),
        };
        if holds_password(&self.warehouse) {
            save_private(&global.config, &text)?;
        } else {
            save(&global.config, &text)?;
        }
        if let Some((path, text)) = &migration {
            save_migration(path, text)?;
            written.push(shown_beside(&global.config, path, &home));
        }
        let mut applied = None;
        if self.apply {
            make_folders(&config)?;
            let tables: Vec<&TableName> = found.feeds.iter().map(|feed| &feed.table.name).collect();
            let path = migration.as_ref().map(|(path, _)| path.as_path());
            let missing: Vec<&TableName> = missing.iter().map(|table| &table.name).collect();
            apply(&config).await?;
            applied = Some(outcome(path, &tables, &missing, warehouse.as_ref()).await?);
        }
        if global.json {
            print_json(&source, &found, warehouse.as_ref(), &written, applied.as_deref())?;
        } else {
            print(&source, &found, warehouse.as_ref());
            next(&source, &config, &written, applied.as_deref());
        }
        Ok(Outcome::Done)
    }

    /// Where the migration goes: a file of its own. A proposal that was never applied may be written over.
    async fn migration(&self, place: &Migrations, missing: &[&NewTable]) -> Result<PathBuf> {
        if self.force
            && let Some(path) = own_proposal(place).await
        {
            return Ok(path);
        }
        next_migration(place, missing)
    }

    fn refuse_to_overwrite(&self, config: &Path) -> Result<()> {
        if self.force || !config.exists() {
            return Ok(());
        }
        Err(Failure::new(format!("`{}` is there already", config.display()))
            .hint("`longshore init --apply` creates the tables that it lacks; `--force` writes the proposal over it; `--config OTHER/longshore.toml` writes into another folder"))
    }

    /// Finds out where the files lie.
    async fn source(&self, home: &Path) -> Result<Source> {
        let waiting = PathBuf::from(BUCKET).join("pending");
        let folder = match (&self.folder, &self.bucket) {
            (Some(folder), _) => folder.clone(),
            (None, Some(url)) => return self.bucket_itself(url, home).await,
            (None, None) if waiting.is_dir() => waiting,
            (None, None) => PathBuf::from("."),
        };
        let (folder, landing) = landing(&folder)?;
        let (url, to_copy) = match (&self.bucket, landing) {
            (Some(url), _) => (url.clone(), Some(folder.clone())),
            (None, Some(bucket)) => (relative(&bucket, home), None),
            (None, None) => (BUCKET.to_owned(), Some(folder.clone())),
        };
        let bucket = Directory::open(DirectoryConfig { path: folder.clone(), id: None, settle: Duration::ZERO })?;
        Ok(Source {
            bucket: Arc::new(bucket),
            prefix: String::new(),
            name: folder.display().to_string(),
            place: self.place(url),
            to_copy,
        })
    }

    /// The files that wait in the bucket itself.
    async fn bucket_itself(&self, url: &str, home: &Path) -> Result<Source> {
        let place = self.place(url.to_owned());
        let mut config = parse(&write::sections(&place), home, Path::new(config::FILE_NAME))?;
        without_settling(&mut config);
        let bucket = project::open_bucket(&config.bucket).await?;
        let prefix = config.bucket.prefixes.pending;
        Ok(Source { name: format!("{}/{prefix}", url.trim_end_matches('/')), bucket, prefix, place, to_copy: None })
    }

    fn place(&self, bucket: String) -> Place {
        let of_s3 = bucket.strip_prefix("s3://").map(|name| format!("s3://{}/staging/", name.trim_end_matches('/')));
        let staging = self.staging.clone().or(of_s3.filter(|_| self.is_redshift()));
        let settings = [("iam_role", self.iam_role.clone()), ("staging", staging)];
        let settings = settings.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Place { bucket, warehouse: self.warehouse.clone(), settings }
    }

    fn is_redshift(&self) -> bool {
        self.warehouse.starts_with("redshift:")
    }

    /// What only Redshift needs has to be there for it, and for it alone.
    fn suits_the_warehouse(&self) -> Result<()> {
        let is_given = self.iam_role.is_some() || self.staging.is_some();
        let has_bucket = self.bucket.as_deref().is_some_and(|bucket| bucket.starts_with("s3://"));
        if self.is_redshift() && (self.iam_role.is_none() || (self.staging.is_none() && !has_bucket)) {
            return Err(Failure::new("Redshift takes rows from a bucket in S3, which it reads with a role of its own")
                .hint("add `--iam-role arn:aws:iam::123456789012:role/NAME` and `--staging s3://BUCKET/staging/`"));
        }
        if is_given && !self.is_redshift() {
            return Err(Failure::new("`--iam-role` and `--staging` are for Redshift")
                .hint("leave them out, or add `--warehouse redshift://user@host:5439/database`"));
        }
        Ok(())
    }
}

/// The folder of the configuration, which is made if it is not there.
fn home(config: &Path) -> Result<PathBuf> {
    let config = std::path::absolute(config)?;
    let home = config.parent().map_or_else(PathBuf::new, Path::to_owned);
    std::fs::create_dir_all(&home).map_err(|error| cannot("create", &home, error))?;
    Ok(home)
}

/// The folder to look at, and the bucket if it is where that one's files land.
fn landing(folder: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
    let full = std::path::absolute(folder)?;
    if !full.is_dir() {
        let why = if full.exists() {
            format!("`{}` is no folder", folder.display())
        } else {
            format!("there is no folder `{}`", folder.display())
        };
        return Err(Failure::new(why).hint("name the folder that holds your CSV files, `longshore init FOLDER`"));
    }
    let full = full.canonicalize()?;
    if full.join("pending").is_dir() {
        return Ok((folder.join("pending"), Some(full)));
    }
    let is_pending = full.file_name().is_some_and(|name| name == "pending");
    let bucket = full.parent().filter(|_| is_pending).map(Path::to_owned);
    Ok((folder.to_owned(), bucket))
}

/// A folder as a configuration in `home` names it.
fn relative(folder: &Path, home: &Path) -> String {
    let home = home.canonicalize().unwrap_or_else(|_| home.to_owned());
    match folder.strip_prefix(&home) {
        Ok(inner) if inner.as_os_str().is_empty() => ".".to_owned(),
        Ok(inner) => format!("./{}", inner.display()),
        Err(_) => folder.display().to_string(),
    }
}

fn nothing(source: &Source, found: &Feeds) -> Failure {
    let why =
        found.left_out.iter().map(|one| format!("\n  `{}`: {}", one.file.escape_debug(), one.why)).collect::<String>();
    Failure::new(format!("there is no CSV file to propose a table from in `{}`{why}", source.name))
        .hint("`init` looks at files named .csv, .tsv or .txt, also with .gz, .zst or .bz2 behind; `longshore demo` shows a project with example data")
}

fn parse(text: &str, home: &Path, path: &Path) -> Result<Config> {
    Config::parse(text, home, &|name| std::env::var(name).ok())
        .map_err(|faults| ConfigError::Faults { path: path.to_owned(), faults }.into())
}

fn cannot(what: &str, path: &Path, error: std::io::Error) -> Failure {
    Failure::new(format!("cannot {what} `{}`: {error}", path.display()))
        .hint("see that this user may write there and that the disk has room")
}

/// Whether a URL holds a password itself, not the name of a variable with it.
fn holds_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    // A password written as it is may hold `?`, so the login is looked for first.
    let login = rest.rsplit_once('@').map(|(login, _)| login).filter(|login| !login.contains('/'));
    let login = login.and_then(|login| login.split_once(':')).map(|(_, password)| password);
    let parameters = rest.split_once('?').map_or("", |(_, parameters)| parameters);
    let parameter = parameters.split('&').find_map(|parameter| parameter.strip_prefix("password="));
    [login, parameter].into_iter().flatten().any(|password| !password.is_empty() && !password.starts_with("${"))
}

/// Writes a file with a password: at no time may others read it.
fn save_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let write = || {
        let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        // The mode above is for a new file; this one may have been there.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|error| cannot("write", path, error))?;
    tracing::warn!(
        "`{}` holds the password of the warehouse, and only this user may read it; better leave it out of the URL and \
         put it into `~/.pgpass` or PGPASSWORD, or write the name of a variable in its place: `${{NAME}}`",
        path.display()
    );
    Ok(())
}

fn save(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| cannot("write", path, error))
}

/// Whether a table is there.
async fn exists(warehouse: &dyn Warehouse, table: &TableName) -> Result<bool> {
    match warehouse.describe(table).await {
        Ok(_) => Ok(true),
        Err(error) if *error.kind() == longshore_warehouse::Kind::Missing => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Applies the project's migrations. What is there before the first of them counts as version 0, unless the
/// project says otherwise.
async fn apply(config: &Config) -> Result<()> {
    let place = Migrations::of_project(config, &[]).await?;
    if longshore_migrate::script::find(&place.settings)?.migrations.is_empty() {
        return Ok(());
    }
    let mut place = place;
    if !place.found.sets("baselineOnMigrate") && !place.found.sets("baselineVersion") {
        place.settings.baseline_on_migrate = true;
        place.settings.baseline_version = Version::of_history(BEFORE);
    }
    let mut told = Told;
    place.open(&mut told).await?.migrate().await?;
    Ok(())
}

/// Says of each table whether migrations created it. One that was written for tables which are not there afterwards is
/// taken away again.
async fn outcome(
    written: Option<&Path>,
    tables: &[&TableName],
    missing: &[&TableName],
    warehouse: &dyn Warehouse,
) -> Result<Vec<Applied>> {
    let mut applied: Vec<Applied> = Vec::new();
    for table in tables {
        let was_missing = missing.contains(table);
        if !exists(warehouse, table).await? {
            let Some(path) = written else { continue };
            std::fs::remove_file(path).map_err(|error| cannot("remove", path, error))?;
            return Err(Failure::new(format!(
                "the migration for `{table}` would not be applied by the project's settings, and was not kept"
            ))
            .hint("`longshore migrate info` shows what is; `target`, `baseline_version` and `locations` in `[migrate]` decide"));
        }
        let table = table.to_string();
        if !applied.iter().any(|one| one.table == table) {
            applied.push(Applied { table, created: was_missing });
        }
    }
    warehouse.release().await;
    Ok(applied)
}

/// Writes a migration for the tables that pipelines of a project lack, each by its oldest object that waits, and
/// applies it.
async fn create_missing(global: &Global) -> Result {
    let mut config = global.read()?;
    without_settling(&mut config);
    make_folders(&config)?;
    let context = project::look(&config).await?;
    let mut were_missing: Vec<&TableName> = Vec::new();
    for pipeline in &config.pipelines {
        if !exists(context.warehouse.as_ref(), &pipeline.table).await? {
            were_missing.push(&pipeline.table);
        }
    }
    context.warehouse.release().await;
    // What was written before goes first.
    apply(&config).await?;
    let waiting = oldest(&config, &context).await?;
    let (mut tables, mut unknown) = (Vec::new(), Vec::new());
    let mut missing: Vec<NewTable> = Vec::new();
    for (pipeline, object) in config.pipelines.iter().zip(waiting) {
        if missing.iter().any(|one| one.name == pipeline.table)
            || exists(context.warehouse.as_ref(), &pipeline.table).await?
        {
            tables.push(&pipeline.table);
            continue;
        }
        let proposal = match &object {
            Some(object) => propose::for_object(object, pipeline, &context).await,
            None => None,
        };
        match proposal {
            Some(proposal) => {
                tables.push(&pipeline.table);
                missing.push(proposal);
            }
            None => unknown.push((pipeline, object)),
        }
    }
    context.warehouse.release().await;
    let missing: Vec<&NewTable> = missing.iter().collect();
    let mut written = None;
    if !missing.is_empty() {
        let path = next_migration(&Migrations::of_project(&config, &[]).await?, &missing)?;
        let text = schemas(&config, &missing) + &write::tables(&missing, context.warehouse.as_ref());
        save_migration(&path, &text)?;
        written = Some(path);
        apply(&config).await?;
    }
    let applied = outcome(written.as_deref(), &tables, &were_missing, context.warehouse.as_ref()).await?;
    if global.json {
        output::json(&applied)?;
    } else {
        if let Some(path) = &written {
            outln!("wrote `{}`", shown(path, &config.folder));
        }
        print_applied(&applied);
    }
    for (pipeline, object) in &unknown {
        match object {
            Some(object) => {
                eprintln!("warning: no table for pipeline `{}`: `{}` cannot be read", pipeline.name, object.key)
            }
            None => eprintln!("warning: no table for pipeline `{}`: no file for it waits in the bucket", pipeline.name),
        }
    }
    Ok(if unknown.is_empty() { Outcome::Done } else { Outcome::Incomplete })
}

/// In DuckDB, whoever creates a table creates its schema too.
fn schemas(config: &Config, tables: &[&NewTable]) -> String {
    if !matches!(config.warehouse.engine, config::Engine::DuckDb { .. }) {
        return String::new();
    }
    let mut names: Vec<String> =
        tables.iter().filter_map(|table| Some(table.name.schema.as_ref()?.text.clone())).collect();
    names.sort();
    names.dedup();
    let ident = |name: &String| longshore_postgres::quote::ident(name);
    names.iter().map(|name| format!("CREATE SCHEMA IF NOT EXISTS {};\n", ident(name))).collect()
}

/// A proposal of an earlier `init` that waits to be applied, if the last script is one.
async fn own_proposal(place: &Migrations) -> Option<PathBuf> {
    let scripts = longshore_migrate::script::find(&place.settings).ok()?;
    let last = scripts.migrations.iter().rfind(|script| script.version().is_some())?.clone();
    let is_ours = std::fs::read_to_string(&last.path).is_ok_and(|text| text.starts_with(write::PROPOSED));
    if !is_ours {
        return None;
    }
    let mut told = Told;
    let pending = place.look(Touch::No, &mut told).await.ok()?.pending().await.ok()?;
    pending.pending.contains(&last.title()).then_some(last.path)
}

/// Where the next migration goes: the first location, the version above all others, the project's own way of naming.
fn next_migration(place: &Migrations, tables: &[&NewTable]) -> Result<PathBuf> {
    let settings = &place.settings;
    let scripts = longshore_migrate::script::find(settings)?;
    let is_plain = |location: &&String| !location.contains(['*', '?']);
    let Some(location) = settings.locations.iter().find(is_plain) else {
        return Err(Failure::new("no location of the migrations is a folder that a new one could go into")
            .hint("add one without `*` to `locations` in `[migrate]`"));
    };
    let folder = settings.folder.join(location.strip_prefix("filesystem:").unwrap_or(location));
    let naming = &settings.naming;
    let highest = scripts.migrations.iter().filter_map(|script| script.version()).max();
    let whole = |version: &Version| version.as_str().split('.').next().and_then(|part| part.parse::<u64>().ok());
    let (next, what) = match highest {
        None => (1, FIRST.to_owned()),
        Some(highest) => {
            let names: Vec<String> = tables.iter().map(|table| plain(&table.name.to_string())).collect();
            (whole(highest).unwrap_or_default() + 1, names.join("_").chars().take(LONGEST).collect())
        }
    };
    let suffix = naming.suffixes.first().map_or(".sql", String::as_str);
    Ok(folder.join(format!("{}{next}{}{what}{suffix}", naming.versioned, naming.separator)))
}

/// A name as a file may bear it.
fn plain(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    plain.split('_').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

/// Writes a migration; its folder is made if it is not there.
fn save_migration(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| cannot("create", folder, error))?;
    save(path, text)
}

/// A file below the project's folder, by a path that begins as that of the configuration does.
fn shown_beside(config: &Path, file: &Path, home: &Path) -> PathBuf {
    config.with_file_name(file.strip_prefix(home).unwrap_or(file))
}

/// Lets files be looked at that have only just been copied.
fn without_settling(config: &mut Config) {
    if let config::Place::Directory(directory) = &mut config.bucket.place {
        directory.settle = Duration::ZERO;
    }
}

/// The oldest object that waits for each pipeline.
async fn oldest(config: &Config, context: &Context) -> Result<Vec<Option<Object>>> {
    let pending = &context.prefixes.pending;
    let mut oldest: Vec<Option<Object>> = vec![None; config.pipelines.len()];
    let mut pages = context.bucket.list(pending);
    while let Some(page) = pages.try_next().await? {
        for object in page.objects {
            let key = object.key.as_str().strip_prefix(pending).unwrap_or_default();
            for at in discover::matching(&config.pipelines, key) {
                let is_older = |other: &Object| (object.modified_at, &object.key) < (other.modified_at, &other.key);
                if oldest[at].as_ref().is_none_or(is_older) {
                    oldest[at] = Some(object.clone());
                }
            }
        }
    }
    Ok(oldest)
}

fn print_applied(applied: &[Applied]) {
    for table in applied {
        if table.created {
            outln!("created the table `{}`", table.table);
        } else {
            outln!("left the table `{}` alone: it is there already", table.table);
        }
    }
}

fn make_folders(config: &Config) -> Result<()> {
    if let config::Place::Directory(directory) = &config.bucket.place {
        let pending = directory.path.join(&config.bucket.prefixes.pending);
        std::fs::create_dir_all(&pending).map_err(|error| cannot("create", &pending, error))?;
    }
    Ok(())
}

fn print_json(
    source: &Source,
    found: &Feeds,
    warehouse: &dyn Warehouse,
    written: &[PathBuf],
    applied: Option<&[Applied]>,
) -> Result<()> {
    let pipelines = found.feeds.iter().map(|feed| Proposed {
        name: &feed.name,
        r#match: &feed.pattern,
        table: feed.table.name.to_string(),
        files: &feed.files,
        bytes: feed.bytes,
        rows: feed.records,
        csv: &feed.csv,
        key: &feed.key,
        notes: &feed.notes,
        columns: feed
            .table
            .columns
            .iter()
            .map(|column| Column { name: &column.name, nullable: column.nullable })
            .collect(),
        create_table: warehouse.create_table_sql(&feed.table),
    });
    output::json(&Document {
        bucket: &source.place.bucket,
        warehouse: &source.place.warehouse,
        pipelines: pipelines.collect(),
        left_out: &found.left_out,
        written: written.iter().map(|path| path.display().to_string()).collect(),
        applied,
    })
}

/// Columns of a pipeline that are named one by one.
const NAMED: usize = 8;

fn print(source: &Source, found: &Feeds, warehouse: &dyn Warehouse) {
    outln!("found in `{}`:", source.name);
    for feed in &found.feeds {
        outln!("\n{}: {}", feed.name, write::counted(feed));
        outln!("  match    {}", feed.pattern);
        outln!("  columns  {}", columns(feed, warehouse));
        if let Some(key) = &feed.key {
            outln!("  key?     {}: see the comment in the configuration", key.column);
        }
        for note in &feed.notes {
            outln!("  note     {note}");
        }
    }
    if !found.left_out.is_empty() {
        outln!("\nleft out:");
        for one in &found.left_out {
            outln!("  {}: {}", one.file.escape_debug(), one.why);
        }
    }
}

/// Names and types of a table's columns, on one line.
fn columns(feed: &Feed, warehouse: &dyn Warehouse) -> String {
    let sql = warehouse.create_table_sql(&feed.table);
    let lines = sql.lines().filter_map(|line| line.strip_prefix("    "));
    let mut columns: Vec<String> = lines
        .map(|line| {
            let words: Vec<&str> = line.trim_end_matches(',').split_whitespace().collect();
            words.join(" ")
        })
        .collect();
    let more = columns.len().saturating_sub(NAMED);
    columns.truncate(NAMED);
    if more > 0 {
        columns.push(format!("and {more} more"));
    }
    columns.join(", ")
}

/// Says what was written and what to do next.
fn next(source: &Source, config: &Config, written: &[PathBuf], applied: Option<&[Applied]>) {
    outln!("");
    for path in written {
        outln!("wrote `{}`", path.display());
    }
    print_applied(applied.unwrap_or_default());
    let mut steps = Vec::new();
    if let Some(folder) = &source.to_copy {
        let from = folder.display();
        steps.push(match &config.bucket.place {
            config::Place::Directory(to) => {
                let to = to.path.join(&config.bucket.prefixes.pending);
                let to = shown(&to, &config.folder);
                match applied {
                    Some(_) => format!("cp -r {from}/. {to}"),
                    None => format!("mkdir -p {to} && cp -r {from}/. {to}"),
                }
            }
            config::Place::S3(to) => {
                format!("aws s3 cp --recursive {from} s3://{}/{}", to.bucket, config.bucket.prefixes.pending)
            }
        });
    }
    if applied.is_none() {
        steps.push("longshore init --apply      # creates the tables".to_owned());
    }
    steps.push("longshore check".to_owned());
    steps.push("longshore run --once".to_owned());
    outln!("\nnext, once you have read `{}`:", written[0].display());
    for step in steps {
        outln!("  {step}");
    }
}

/// A path as somebody in `home` writes it.
fn shown(path: &Path, home: &Path) -> String {
    let clean: PathBuf = path.components().collect();
    clean.strip_prefix(home).unwrap_or(&clean).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::holds_password;

    #[test]
    fn a_password_in_a_url_is_seen() {
        for url in [
            "postgres://me:secret@db/shop",
            "postgres://me:what?ever@db/shop",
            "postgres://db/shop?sslmode=require&password=x",
            "postgresql://me:a%40@h",
        ] {
            assert!(holds_password(url), "{url}");
        }
        for url in [
            "duckdb:warehouse.duckdb",
            "postgres://me@db:5432/shop",
            "postgres://db:5432/shop",
            "postgres://me:${PW}@db/shop",
            "postgres:///shop?host=/run/postgresql",
        ] {
            assert!(!holds_password(url), "{url}");
        }
    }
}
