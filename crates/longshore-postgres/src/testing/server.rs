//! A PostgreSQL server for tests.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use tokio_postgres::SimpleQueryMessage;

use super::home::Home;
use super::{Authority, Certificate, Database, port};
use crate::{Config, quote};

/// The user whose databases tests get.
pub(super) const USER: &str = "longshore";

/// Its password.
pub(super) const PASSWORD: &str = "p@ss:w/rd";

/// A private PostgreSQL server. It ends with the value, or with the process.
///
/// It takes passwords (`scram-sha-256`) at a port of the loopback address, and trusts whoever comes by
/// its socket. It is quick rather than safe: nothing is forced to the disk.
#[derive(Debug)]
pub struct Server {
    name: String,
    port: AtomicU16,
    databases: AtomicU32,
    settings: String,
}

/// What a server of one's own has that others have not.
#[derive(Debug, Clone, Default)]
pub struct Options {
    settings: Vec<(String, String)>,
    rules: Vec<String>,
    certificate: Option<Certificate>,
    clients: Option<String>,
}

impl Options {
    /// Sets a parameter of `postgresql.conf`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a line before those of `pg_hba.conf`.
    #[must_use]
    pub fn rule(mut self, line: &str) -> Self {
        self.rules.push(line.to_owned());
        self
    }

    /// Has it speak TLS, with this certificate.
    #[must_use]
    pub fn certificate(mut self, certificate: &Certificate) -> Self {
        self.certificate = Some(certificate.clone());
        self
    }

    /// Has it know certificates of clients that this authority signed.
    #[must_use]
    pub fn clients_of(mut self, authority: &Authority) -> Self {
        self.clients = Some(authority.pem().to_owned());
        self
    }
}

impl Server {
    /// The server that all tests of this process share, started at first use.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Server> = LazyLock::new(|| Server::start(Options::default()));
        &SHARED
    }

    /// Starts a server of one's own: to stop it, or because of its settings.
    pub fn start(options: Options) -> Self {
        let home = Home::get();
        let name = home.create_server(None);
        let mut settings = String::from(
            "listen_addresses = '127.0.0.1'\nmax_connections = 200\nshared_buffers = 128MB\n\
             fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n",
        );
        for (name, value) in &options.settings {
            writeln!(settings, "{name} = '{}'", value.replace('\'', "''")).expect("a text grows");
        }
        let data = home.folder(&name).join("data");
        if let Some(Certificate { pem, key }) = &options.certificate {
            home.write(&data.join("server.crt"), pem);
            home.write(&data.join("server.key"), key);
            settings.push_str("ssl = on\n");
        }
        if let Some(pem) = &options.clients {
            home.write(&data.join("clients.crt"), pem);
            settings.push_str("ssl_ca_file = 'clients.crt'\n");
        }
        let mut rules = options.rules.join("\n");
        rules.push_str("\nlocal all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
        home.write(&data.join("pg_hba.conf"), &rules);

        let server = Self { name, port: AtomicU16::new(0), databases: AtomicU32::new(0), settings };
        server.start_at_a_free_port();
        server.role(USER, PASSWORD, "");
        server
    }

    /// Another server may take the port between the look at it and the start.
    fn start_at_a_free_port(&self) {
        for _ in 0..10 {
            let port = port::free();
            self.port.store(port, Ordering::Relaxed);
            let folder = self.folder();
            let socket = format!("port = {port}\nunix_socket_directories = '{}'\n", folder.display());
            let settings = format!("{}{socket}", self.settings);
            Home::get().write(&self.folder().join("data/postgresql.conf"), &settings);
            if Home::get().tell("start", &self.name).is_ok() {
                return;
            }
            if !self.log().contains("Address already in use") {
                break;
            }
        }
        panic!("the PostgreSQL server does not start:\n{}", self.log());
    }

    /// Starts it again after it was stopped or killed, at the port that it had.
    pub fn start_again(&self) {
        if let Err(said) = Home::get().tell("start", &self.name) {
            panic!("the PostgreSQL server does not start again: {said}\n{}", self.log());
        }
    }

    /// A server that follows this one. What this one says is committed, it has from now on too.
    #[must_use]
    pub fn standby(&self) -> Self {
        let name = Home::get().create_server(Some((&self.name, self.port())));
        let databases = AtomicU32::new(0);
        let standby = Self { name, port: AtomicU16::new(0), databases, settings: self.settings.clone() };
        standby.start_at_a_free_port();
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("SELECT pg_reload_conf()");
        standby
    }

    /// Has a standby take over.
    pub fn promote(&self) {
        if let Err(said) = Home::get().tell("promote", &self.name) {
            panic!("the PostgreSQL server does not take over: {said}\n{}", self.log());
        }
    }

    /// Stops it: what runs is broken off and rolled back, clients are told.
    pub fn stop(&self) {
        if let Err(said) = Home::get().tell("stop", &self.name) {
            panic!("the PostgreSQL server does not stop: {said}\n{}", self.log());
        }
    }

    /// Ends it as a crash does: at once. It recovers when it starts again.
    pub fn kill(&self) {
        if let Err(said) = Home::get().tell("kill", &self.name) {
            panic!("the PostgreSQL server does not end: {said}\n{}", self.log());
        }
    }

    /// Stops it and starts it again.
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    /// An empty database that is removed with the value.
    pub fn database(&self) -> Database<'_> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        Database::create(self, format!("test_{number}"))
    }

    /// Makes a user who may log in by a password. `more` are words for `CREATE ROLE`.
    pub fn role(&self, name: &str, password: &str, more: &str) {
        let (name, password) = (quote::ident(name), quote::literal(password));
        self.sql(&format!("CREATE ROLE {name} LOGIN PASSWORD {password} {more}"));
    }

    /// The port at the loopback address.
    pub fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    /// The folder of its socket.
    pub fn folder(&self) -> PathBuf {
        Home::get().folder(&self.name)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap_or_else(|error| error.to_string())
    }

    /// URL of the superuser, by the socket.
    pub fn admin_url(&self) -> String {
        self.admin_url_of("postgres")
    }

    pub(super) fn admin_url_of(&self, database: &str) -> String {
        let folder = self.folder().display().to_string().replace('%', "%25").replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/{database}", self.port())
    }

    /// Runs statements as superuser. Returns the first value of the last result.
    pub fn sql(&self, sql: &str) -> Option<String> {
        self.sql_in("postgres", sql)
    }

    /// The same in a database that it need not have made itself.
    pub fn sql_in(&self, database: &str, sql: &str) -> Option<String> {
        self.try_sql(database, sql).unwrap_or_else(|error| panic!("`{sql}` fails: {error}"))
    }

    /// Works within a runtime and without one.
    pub(super) fn try_sql(&self, database: &str, sql: &str) -> Result<Option<String>, Box<dyn Error + Send + Sync>> {
        let config = Config::with_environment(&self.admin_url_of(database), &|_| None)?;
        let ask = async {
            let connection = config.connect().await?;
            let answer = connection.simple_query(sql).await.map_err(|error| match error.as_db_error() {
                Some(refusal) => refusal.to_string().into(),
                None => Box::<dyn Error + Send + Sync>::from(error),
            })?;
            connection.close().await;
            let values = answer.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
                _ => None,
            });
            Ok(values.last().flatten())
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(ask)
            });
            thread.join().expect("asking the server does not panic")
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be stopped already, and a failing test is not to fail twice.
        drop(Home::get().tell("kill", &self.name));
        drop(Home::get().tell("remove", &self.name));
    }
}
