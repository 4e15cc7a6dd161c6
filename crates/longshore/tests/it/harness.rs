//! A project in a folder of its own: a bucket, a warehouse (DuckDB, a database of a private PostgreSQL
//! server, or Redshift's stand-in), a configuration, and the real binary to run in it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use longshore_postgres::testing::{Database, Server};
use regex::Regex;
use tempfile::TempDir;
use tokio_postgres::SimpleQueryMessage;

use crate::redshift::{self, Cluster};
use crate::s3::{MemoryS3, Settings};

/// The binary under test.
pub(crate) const LONGSHORE: &str = env!("CARGO_BIN_EXE_longshore");
/// Last-modified of the first object that is dropped; each further one is a minute younger.
const FIRST_DROP: &str = "2026-01-02T00:00:00Z";

/// A project: bucket, warehouse, configuration, journal.
pub(crate) struct Project {
    folder: TempDir,
    store: Option<MemoryS3>,
    database: Option<Database<'static>>,
    cluster: Option<Cluster>,
    drops: Cell<u64>,
    /// What processes that were started say; not in the project's own folder.
    said: TempDir,
    starts: Cell<u64>,
}

/// Where the objects of a project lie, and where their rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum On {
    /// A directory and DuckDB.
    Directory,
    /// S3 and DuckDB.
    S3,
    /// A directory and PostgreSQL.
    Postgres,
    /// S3 and Redshift's stand-in.
    Redshift,
}

/// What a run of the binary left.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Project {
    /// A project with a directory as its bucket, and these pipelines.
    pub(crate) fn new(pipelines: &str) -> Self {
        let project = Self::empty(None, None);
        project.configure("", pipelines);
        project
    }

    /// A project with a directory as its bucket and a database of its own as its warehouse.
    pub(crate) fn on_postgres(pipelines: &str) -> Self {
        let project = Self::empty(None, Some(Server::shared().database()));
        project.configure("", pipelines);
        project
    }

    /// A project with a bucket in memory and a stand-in for Redshift that reads from it.
    pub(crate) fn on_redshift(pipelines: &str) -> Self {
        let mut project = Self::empty(Some(MemoryS3::start()), None);
        project.cluster = Some(Cluster::start(project.store()));
        project.configure("", pipelines);
        project
    }

    /// A project with a bucket of the store in memory.
    pub(crate) fn on_s3(settings: Settings, pipelines: &str) -> Self {
        let project = Self::empty(Some(MemoryS3::with(settings)), None);
        project.configure("", pipelines);
        project
    }

    /// A project with either.
    pub(crate) fn on(place: On, pipelines: &str) -> Self {
        match place {
            On::Directory => Self::new(pipelines),
            On::S3 => Self::on_s3(Settings::default(), pipelines),
            On::Postgres => Self::on_postgres(pipelines),
            On::Redshift => Self::on_redshift(pipelines),
        }
    }

    fn empty(store: Option<MemoryS3>, database: Option<Database<'static>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("bucket/pending")).unwrap();
        Self {
            folder,
            store,
            database,
            cluster: None,
            drops: Cell::new(0),
            said: tempfile::tempdir().unwrap(),
            starts: Cell::new(0),
        }
    }

    /// Writes the configuration anew, with further settings of the bucket.
    pub(crate) fn configure(&self, bucket: &str, pipelines: &str) {
        let place = match &self.store {
            None => "url = \"./bucket\"\nsettle = \"0s\"".to_owned(),
            Some(store) => format!(
                "url = \"s3://landing\"\nregion = \"us-east-2\"\nendpoint = \"{}\"\npath_style = true",
                store.endpoint()
            ),
        };
        let warehouse = match (&self.database, &self.cluster) {
            (None, Some(cluster)) => redshift::settings(cluster),
            (None, None) => "threads = 2\nmemory_limit = \"256 MiB\"".to_owned(),
            (Some(database), _) => format!("url = \"{}\"", database.url()),
        };
        self.write_config(&format!(
            "[bucket]\n{place}\n{bucket}\n\n[warehouse]\nwait = \"2s\"\n{warehouse}\n\n{pipelines}\n"
        ));
    }

    /// Writes this text as the configuration.
    pub(crate) fn write_config(&self, text: &str) {
        std::fs::write(self.path("longshore.toml"), text).unwrap();
    }

    /// A path in the project's folder.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// The store in memory.
    pub(crate) fn store(&self) -> &MemoryS3 {
        self.store.as_ref().expect("this project's bucket is a directory")
    }

    /// Drops an object into `pending/`, a minute younger than the one before. Returns its key.
    pub(crate) fn drop(&self, name: &str, body: impl AsRef<[u8]>) -> String {
        let first: Timestamp = FIRST_DROP.parse().unwrap();
        let nth = self.drops.replace(self.drops.get() + 1);
        self.drop_at(name, body, &(first + Duration::from_secs(60 * nth)).to_string())
    }

    /// Drops an object with this last-modified.
    pub(crate) fn drop_at(&self, name: &str, body: impl AsRef<[u8]>, modified_at: &str) -> String {
        let key = format!("pending/{name}");
        self.put(&key, body, modified_at);
        key
    }

    /// Puts an object under a key, wherever that is.
    pub(crate) fn put(&self, key: &str, body: impl AsRef<[u8]>, modified_at: &str) {
        let modified = SystemTime::from(modified_at.parse::<Timestamp>().unwrap());
        if let Some(store) = &self.store {
            return store.put_at(key, body.as_ref().to_vec(), modified);
        }
        let path = self.path("bucket").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A new file, as a program that drops one makes it: another inode, another identity.
        let beside = path.with_file_name(".beside");
        std::fs::write(&beside, body).unwrap();
        std::fs::File::options().append(true).open(&beside).unwrap().set_modified(modified).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    /// The bytes of an object.
    pub(crate) fn body(&self, key: &str) -> Option<Vec<u8>> {
        match &self.store {
            Some(store) => store.body(key).map(Vec::from),
            None => std::fs::read(self.path("bucket").join(key)).ok(),
        }
    }

    /// The text of an object, which is there.
    pub(crate) fn text(&self, key: &str) -> String {
        String::from_utf8(self.body(key).unwrap_or_else(|| panic!("there is no `{key}`"))).unwrap()
    }

    /// Removes an object.
    pub(crate) fn remove(&self, key: &str) {
        match &self.store {
            Some(store) => store.remove(key),
            None => std::fs::remove_file(self.path("bucket").join(key)).unwrap(),
        }
    }

    /// Every key of the bucket as it is, ours and theirs.
    pub(crate) fn raw_keys(&self) -> Vec<String> {
        match &self.store {
            Some(store) => store.keys(),
            None => files(&self.path("bucket")),
        }
    }

    /// Every key of the bucket, with words in place of today and of digits of an identity.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.raw_keys().iter().map(|key| in_words(key)).collect();
        keys.sort();
        keys
    }

    /// The one key that, in words, is this.
    pub(crate) fn key(&self, words: &str) -> String {
        let mut keys = self.raw_keys();
        keys.retain(|key| in_words(key) == words);
        assert_eq!(keys.len(), 1, "`{words}` among {:?}", self.keys());
        keys.remove(0)
    }

    /// Runs the binary.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    /// Runs the binary with these variables in its environment.
    pub(crate) fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        Ran::from(self.command(arguments).envs(variables.iter().copied()).output().unwrap())
    }

    /// One pass that is to bring everything in.
    pub(crate) fn load(&self) -> Ran {
        self.run(&["run", "--once"]).exits(0)
    }

    /// One pass after which something is not in.
    pub(crate) fn load_some(&self) -> Ran {
        self.run(&["run", "--once"]).exits(1)
    }

    /// The binary, not yet run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(LONGSHORE);
        self.prepare(&mut command);
        command.args(arguments);
        command
    }

    /// Starts the binary, to work until it is told to end.
    pub(crate) fn start(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Process {
        let nth = self.starts.replace(self.starts.get() + 1);
        let said = self.said.path().join(format!("{nth}.txt"));
        let file = std::fs::File::create(&said).unwrap();
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(file);
        Process { child: command.spawn().unwrap(), said }
    }

    /// Waits until the keys of the bucket, in words, are these.
    #[track_caller]
    pub(crate) fn until_keys(&self, keys: &[&str]) {
        until(|| self.keys() == keys, || format!("{keys:?}; there are {:?}", self.keys()));
    }

    /// Gives a command the folder and the environment of this project.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("TMPDIR", std::env::temp_dir())
            .stdin(Stdio::null());
        if let Some(store) = &self.store {
            let ours = store.environment();
            command.envs(ours.into_iter().filter(|(name, _)| *name != "AWS_ENDPOINT_URL"));
        }
    }

    /// The database of a project with PostgreSQL.
    pub(crate) fn database(&self) -> &Database<'static> {
        self.database.as_ref().expect("a project with PostgreSQL")
    }

    /// The stand-in of a project with Redshift.
    pub(crate) fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().expect("a project with Redshift")
    }

    /// URL of a server with the warehouse.
    fn server_url(&self) -> Option<String> {
        let database = self.database.as_ref().map(Database::url);
        database.or_else(|| self.cluster.as_ref().map(Cluster::url))
    }

    /// Opens the DuckDB file. No run of the binary gets in while it is open.
    pub(crate) fn warehouse(&self) -> duckdb::Connection {
        duckdb::Connection::open(self.path("warehouse.duckdb")).unwrap()
    }

    /// Runs statements in the warehouse.
    pub(crate) fn sql(&self, statements: &str) {
        match self.server_url() {
            // By the user who loads: the tables are theirs.
            Some(url) => drop(simple_query(&url, statements)),
            None => self.warehouse().execute_batch(statements).unwrap(),
        }
    }

    /// The same by a superuser.
    pub(crate) fn sql_as_superuser(&self, statements: &str) {
        self.database.as_ref().unwrap().sql(statements);
    }

    /// The rows of a query, each as its texts with `|` between them; NULL is `-`.
    pub(crate) fn rows(&self, query: &str) -> Vec<String> {
        if let Some(url) = self.server_url() {
            return rows_of_postgres(&url, query);
        }
        let connection = self.warehouse();
        let mut statement = connection.prepare(&format!("SELECT COLUMNS(*)::VARCHAR FROM ({query})")).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut texts = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let count = row.as_ref().column_count();
            let cell = |at| row.get::<_, Option<String>>(at).unwrap().unwrap_or_else(|| "-".to_owned());
            texts.push((0..count).map(cell).collect::<Vec<_>>().join("|"));
        }
        texts
    }

    /// The single value of a query.
    pub(crate) fn value(&self, query: &str) -> String {
        self.rows(query).join(",")
    }

    /// The ledger: key, generation, kind, rows read, loaded, rejected, duplicate, superseded, late.
    pub(crate) fn ledger(&self) -> Vec<String> {
        let Some(ledger) = self.ledger_table() else { return Vec::new() };
        self.rows(&format!(
            "SELECT key, generation, kind, rows_read, rows_loaded, rows_rejected, rows_duplicate, rows_superseded,
               CASE WHEN late THEN 'late' ELSE 'on time' END
             FROM {ledger} ORDER BY ALL",
        ))
    }

    /// All entries, as a table of a query; `None` where there is no ledger yet.
    pub(crate) fn ledger_table(&self) -> Option<String> {
        let tables = self.rows(
            "SELECT table_name FROM information_schema.tables
             WHERE table_schema = 'longshore' AND table_name LIKE 'ledger%' ORDER BY table_name",
        );
        let each: Vec<String> = tables.iter().map(|table| format!("SELECT * FROM longshore.{table}")).collect();
        (!each.is_empty()).then(|| format!("({}) AS entries", each.join(" UNION ALL ")))
    }

    /// Every file of the project with its bytes and last-modified, to see whether anything changed.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
        let mut found = BTreeMap::new();
        for file in files(self.folder.path()) {
            let path = self.path(&file);
            let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
            found.insert(file, (std::fs::read(path).unwrap(), modified));
        }
        found
    }
}

/// The rows of a query, as [`Project::rows`] has them; `ORDER BY ALL` is DuckDB's word for all columns.
fn rows_of_postgres(url: &str, query: &str) -> Vec<String> {
    let query = match query.strip_suffix("ORDER BY ALL") {
        None => query.to_owned(),
        Some(unordered) => {
            let columns = simple_query(url, &format!("SELECT * FROM ({unordered}) q LIMIT 0"));
            let Some(SimpleQueryMessage::RowDescription(columns)) = columns.first() else { panic!("no columns") };
            let places: Vec<String> = (1..=columns.len()).map(|place| place.to_string()).collect();
            format!("{unordered} ORDER BY {}", places.join(", "))
        }
    };
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let cells = (0..row.len()).map(|at| row.get(at).unwrap_or("-"));
            Some(cells.collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    simple_query(url, &query).iter().filter_map(row).collect()
}

fn simple_query(url: &str, sql: &str) -> Vec<SimpleQueryMessage> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = longshore_postgres::Config::from_url(url).unwrap().connect().await.unwrap();
        let answer = connection.simple_query(sql).await.unwrap_or_else(|error| panic!("`{sql}` fails: {error:?}"));
        connection.close().await;
        answer
    })
}

/// A process that works until it is told to end; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    /// What it says.
    said: PathBuf,
}

impl Process {
    /// Waits until it says something.
    #[track_caller]
    pub(crate) fn until_it_says(&self, part: &str) {
        until(|| self.said().contains(part), || format!("`{part}` in:\n{}", self.said()));
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Sends it a signal, by the name that `kill` takes: the shell's own, as a bare machine has no other.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill {name} {}", self.child.id())]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end. Returns its exit code.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> Option<i32> {
        let mut status = None;
        until(
            || {
                status = self.child.try_wait().unwrap();
                status.is_some()
            },
            || "the process ends".to_owned(),
        );
        status.unwrap().code()
    }

    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to end, and waits for that.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal("-TERM");
        assert_eq!(self.ends(), Some(0), "{}", self.said());
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.kill();
        }
    }
}

/// Waits until something holds, for as long as a busy machine may take.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool, what: impl Fn() -> String) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain for {}", what());
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// Insists on an exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Insists on something that is said on standard error.
    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "`{part}` is not in:\n{}", self.stderr);
        self
    }

    /// Insists that something is not said.
    #[track_caller]
    pub(crate) fn never_says(self, part: &str) -> Self {
        assert!(!self.stderr.contains(part), "`{part}` is in:\n{}", self.stderr);
        self
    }

    /// Insists on something that is printed.
    #[track_caller]
    pub(crate) fn prints(self, part: &str) -> Self {
        assert!(self.stdout.contains(part), "`{part}` is not in:\n{}", self.stdout);
        self
    }

    /// The one JSON document that is printed.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}:\n{}\n{}", self.stdout, self.stderr))
    }
}

/// Every regular file under a folder, relative to it, sorted; none if there is no folder.
pub(crate) fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path.strip_prefix(root).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}

/// A text with words in place of what differs from run to run: dates of the archive, digits of an
/// identity, load ids.
pub(crate) fn in_words(text: &str) -> String {
    static WORDS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [
            (r"processed/\d{4}/\d\d/\d\d/", "processed/<today>/"),
            (r"\.[0-9a-f]{16}\.g", ".<id>.g"),
            (r"-[0-9a-f]{8}(\.|$)", "-<id>$1"),
            (r"\b[0-9a-f]{64}\b", "<identity>"),
            (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<load>"),
        ]
        .into_iter()
        .map(|(pattern, word)| (Regex::new(pattern).unwrap(), word))
        .collect()
    });
    WORDS.iter().fold(text.to_owned(), |text, (pattern, word)| pattern.replace_all(&text, *word).into_owned())
}

/// A CSV of an integer and a text: `id,name` and rows `1,n1` …
pub(crate) fn numbered(ids: impl IntoIterator<Item = u64>) -> String {
    ids.into_iter().fold("id,name\n".to_owned(), |text, id| text + &format!("{id},n{id}\n"))
}
