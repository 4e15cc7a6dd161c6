//! Where to connect, as whom, and how: what a URL and the environment say, understood.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::environment::{self, Environment};
use crate::parameter::{Dialect, Values};
use crate::pgpass::{self, Login};
use crate::socket::Keepalive;
use crate::tls::{Roots, SslMode, Trust};
use crate::{ConfigError, Credential, Credentials, url};

/// The port of PostgreSQL.
const POSTGRES_PORT: u16 = 5432;

/// The port of Redshift.
const REDSHIFT_PORT: u16 = 5439;

/// A host is given up after this. A server that answers at all does so within a second; a name
/// server that is down takes some more to be given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Directories in which servers put their socket: Debian's and Fedora's, then PostgreSQL's own.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Where to connect, as whom, and how.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) targets: Vec<Target>,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) application_name: Option<String>,
    pub(crate) options: Option<String>,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) role: Role,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) user_timeout: Option<Duration>,
    pub(crate) trust: Trust,
    ssl_mode: Option<SslMode>,
    password: Option<SecretString>,
    credentials: Option<Arc<dyn Credentials>>,
    password_file: Option<PathBuf>,
}

/// One server to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its name: what errors call it, and what its certificate has to be for.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) address: Address,
    /// Its port.
    pub(crate) port: u16,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// Behind a name that has to be resolved.
    Name(String),
    /// At an address of the network.
    Ip(IpAddr),
    /// At a socket in this directory.
    Directory(PathBuf),
}

impl Target {
    /// Whether it is on this machine.
    fn is_local(&self) -> bool {
        match &self.address {
            Address::Name(name) => name.eq_ignore_ascii_case("localhost"),
            Address::Ip(ip) => ip.is_loopback(),
            Address::Directory(_) => true,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// What the server has to be (`target_session_attrs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl Role {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "any" => Self::Any,
            "read-write" => Self::ReadWrite,
            "read-only" => Self::ReadOnly,
            "primary" => Self::Primary,
            "standby" => Self::Standby,
            "prefer-standby" => Self::PreferStandby,
            _ => return None,
        })
    }
}

/// Whether the login has to be bound to the encrypted channel (`channel_binding`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

impl Config {
    /// Understands a `postgres://`, `postgresql://` or `redshift://` URL. What it leaves open, libpq's environment
    /// variables say, and for the password `~/.pgpass`.
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        Self::with_environment(url, &|name| std::env::var(name).ok())
    }

    /// As [`Config::from_url`], with variables that are looked up here. `HOME` is one of them.
    pub fn with_environment(url: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut values = url::parse(url)?;
        environment::complete(&mut values, environment)?;
        Self::understand(&values, environment)
    }

    fn understand(values: &Values, environment: &Environment<'_>) -> Result<Self, ConfigError> {
        let home = environment("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let text = |name| values.get(name).map(str::to_owned);
        let user = match text("user") {
            Some(user) => user,
            None => whoami::username().map_err(|_| ConfigError::NoUser)?,
        };
        if values.dialect() == Dialect::Redshift {
            takes_no_settings(values)?;
        }
        let ssl_mode = word(values, "sslmode", SslMode::parse, SslMode::RULE)?;
        // The file of the user is for PostgreSQL servers; Redshift's certificates are by public authorities.
        let is_redshift = values.dialect() == Dialect::Redshift;
        let trust = Trust::new(values, home.as_deref().filter(|_| !is_redshift));
        if matches!(trust.roots, Roots::System) && ssl_mode.is_some_and(|mode| mode != SslMode::VerifyFull) {
            return Err(values.fault("sslmode", "with `sslrootcert=system` it has to be `verify-full`"));
        }
        Ok(Self {
            targets: targets(values)?,
            database: text("dbname").unwrap_or_else(|| user.clone()),
            user,
            application_name: text("application_name"),
            options: text("options"),
            channel_binding: word(values, "channel_binding", channel_binding, "`disable`, `prefer` or `require`")?
                .unwrap_or(ChannelBinding::Prefer),
            role: word(
                values,
                "target_session_attrs",
                Role::parse,
                "`any`, `read-write`, `read-only`, `primary`, `standby` or `prefer-standby`",
            )?
            .unwrap_or(Role::Any),
            connect_timeout: match number::<i64>(values, "connect_timeout", "a number of seconds; 0 is no limit")? {
                None => Some(CONNECT_TIMEOUT),
                Some(seconds) => u64::try_from(seconds).ok().filter(|&limit| limit > 0).map(Duration::from_secs),
            },
            keepalive: Keepalive::new(values)?,
            user_timeout: crate::socket::user_timeout(values)?,
            trust,
            ssl_mode,
            password: values.get("password").map(Into::into),
            credentials: None,
            password_file: text("passfile").map(PathBuf::from).or_else(|| Some(home?.join(".pgpass"))),
        })
    }

    /// Gives the connection a name that `pg_stat_activity` shows, instead of the one that the URL gives.
    #[must_use]
    pub fn application_name(mut self, name: &str) -> Self {
        self.application_name = Some(name.to_owned());
        self
    }

    /// Has user and password fetched for every connection, instead of those that the URL gives.
    #[must_use]
    pub fn credentials(mut self, credentials: Arc<dyn Credentials>) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Whether user and password are fetched for every connection.
    pub fn fetches_login(&self) -> bool {
        self.credentials.is_some()
    }

    /// Who is asked for user and password.
    pub(crate) fn source(&self) -> Option<&Arc<dyn Credentials>> {
        self.credentials.as_ref()
    }

    /// The same with this login, which is final.
    pub(crate) fn with(&self, login: Credential) -> Self {
        Self { user: login.user, password: Some(login.password), credentials: None, ..self.clone() }
    }

    /// The database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// As whom it connects, unless credentials say another user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Says where it connects and as whom, without secrets: `user@host:port/database`.
    pub fn describe(&self) -> String {
        let hosts = self.targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        format!("{}@{hosts}/{}", self.user, self.database)
    }

    /// How much encryption a server gets and has to give. A server of this machine may go without;
    /// any other has to prove who it is, unless the URL says otherwise.
    pub(crate) fn ssl_mode(&self, target: &Target) -> SslMode {
        match self.ssl_mode {
            // Like libpq: there is nobody between a socket of this machine and its server.
            _ if matches!(target.address, Address::Directory(_)) => SslMode::Disable,
            Some(mode) => mode,
            None if matches!(self.trust.roots, Roots::System) || !target.is_local() => SslMode::VerifyFull,
            None => SslMode::Prefer,
        }
    }

    /// The password for a server: as given, else as its file has it now.
    pub(crate) fn password(&self, target: &Target) -> Option<SecretString> {
        if let Some(password) = &self.password {
            return Some(password.clone());
        }
        let usual = |directory: &Path| SOCKET_DIRECTORIES.iter().any(|usual| directory == Path::new(usual));
        let host = match &target.address {
            Address::Directory(directory) if usual(directory) => "localhost",
            _ => &target.name,
        };
        let login = Login { host, port: target.port, database: &self.database, user: &self.user };
        pgpass::look_up(self.password_file.as_deref()?, &login)
    }
}

/// Redshift ends a connection that begins with a setting which it does not know, and has no standbys.
fn takes_no_settings(values: &Values) -> Result<(), ConfigError> {
    if values.get("options").is_some() {
        return Err(values.fault("options", "Redshift takes no settings at the login"));
    }
    if values.get("target_session_attrs").is_some_and(|word| word != "any") {
        return Err(values.fault("target_session_attrs", "Redshift has no standbys to choose from"));
    }
    Ok(())
}

/// The servers in the order in which they are tried.
fn targets(values: &Values) -> Result<Vec<Target>, ConfigError> {
    let list = |name| values.get(name).map(|list: &str| list.split(',').collect::<Vec<_>>());
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = addresses.as_ref().or(hosts.as_ref()).map_or(1, Vec::len);
    if hosts.as_ref().is_some_and(|hosts| hosts.len() != count) {
        return Err(values.fault("hostaddr", "it has to have as many entries as `host`"));
    }
    if ports.as_ref().is_some_and(|ports| ports.len() != 1 && ports.len() != count) {
        return Err(values.fault("port", "there has to be one port, or as many as there are hosts"));
    }
    let entry = |list: &Option<Vec<&str>>, at: usize| {
        let list = list.as_ref()?;
        list.get(at).or(list.first()).map(|entry| entry.trim().to_owned()).filter(|entry| !entry.is_empty())
    };
    (0..count)
        .map(|at| {
            let port = match entry(&ports, at) {
                None if values.dialect() == Dialect::Redshift => REDSHIFT_PORT,
                None => POSTGRES_PORT,
                Some(port) => port
                    .parse()
                    .ok()
                    .filter(|&port| port > 0)
                    .ok_or_else(|| values.fault("port", "a port is a number from 1 to 65535"))?,
            };
            target(values, entry(&hosts, at), entry(&addresses, at), port)
        })
        .collect()
}

fn target(values: &Values, host: Option<String>, ip: Option<String>, port: u16) -> Result<Target, ConfigError> {
    let address = match (ip, &host) {
        (Some(ip), _) => {
            Address::Ip(ip.parse().map_err(|_| values.fault("hostaddr", "an entry is an address in numbers"))?)
        }
        (None, None) => Address::Directory(usual_directory(port)),
        (None, Some(host)) if host.starts_with('/') => Address::Directory(PathBuf::from(host)),
        (None, Some(host)) if host.contains('@') => {
            return Err(values.fault("host", "a host has no `@` (in a password write it as %40)"));
        }
        (None, Some(host)) => IpAddr::from_str(host).map_or_else(|_| Address::Name(host.clone()), Address::Ip),
    };
    let name = host.unwrap_or_else(|| match &address {
        Address::Name(name) => name.clone(),
        Address::Ip(ip) => ip.to_string(),
        Address::Directory(directory) => directory.display().to_string(),
    });
    Ok(Target { name, address, port })
}

/// The directory in which a server of this machine has its socket.
fn usual_directory(port: u16) -> PathBuf {
    let has_socket = |directory: &&str| Path::new(directory).join(format!(".s.PGSQL.{port}")).exists();
    let found = SOCKET_DIRECTORIES.iter().find(|directory| has_socket(directory));
    PathBuf::from(*found.unwrap_or(&SOCKET_DIRECTORIES[0]))
}

fn channel_binding(word: &str) -> Option<ChannelBinding> {
    Some(match word {
        "disable" => ChannelBinding::Disable,
        "prefer" => ChannelBinding::Prefer,
        "require" => ChannelBinding::Require,
        _ => return None,
    })
}

/// A parameter that is one of some words.
fn word<T>(
    values: &Values,
    name: &'static str,
    parse: impl Fn(&str) -> Option<T>,
    rule: &'static str,
) -> Result<Option<T>, ConfigError> {
    values.get(name).map(|word| parse(word).ok_or_else(|| values.fault(name, rule))).transpose()
}

/// A parameter that is a number.
pub(crate) fn number<T: FromStr>(
    values: &Values,
    name: &'static str,
    rule: &'static str,
) -> Result<Option<T>, ConfigError> {
    word(values, name, |number| number.trim().parse().ok(), rule)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// What a URL means with these variables and no others.
    fn with(url: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::with_environment(url, &|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn good(url: &str) -> Config {
        with(url, &[]).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// The error and its hint, in one line.
    fn fault(url: &str, variables: &[(&str, &str)]) -> String {
        let error = with(url, variables).err().unwrap_or_else(|| panic!("{url} is taken"));
        error.hint().map_or(error.to_string(), |hint| format!("{error} ({hint})"))
    }

    #[test]
    fn the_url_wins_over_the_environment() {
        let variables = [
            ("PGHOST", "env-host"),
            ("PGPORT", "1"),
            ("PGUSER", "env-user"),
            ("PGPASSWORD", "env-password"),
            ("PGDATABASE", "env-database"),
            ("PGAPPNAME", "env-name"),
            ("PGOPTIONS", "-c a=b"),
            ("PGCONNECT_TIMEOUT", "3"),
            ("PGSSLMODE", "disable"),
            ("PGTARGETSESSIONATTRS", "standby"),
            ("PGCHANNELBINDING", "require"),
        ];
        let config = with("postgres://", &variables).expect("good");
        assert_eq!(config.describe(), "env-user@env-host:1/env-database");
        assert_eq!(config.password(&config.targets[0]).expect("given").expose_secret(), "env-password");
        assert_eq!(config.application_name.as_deref(), Some("env-name"));
        assert_eq!(config.options.as_deref(), Some("-c a=b"));
        assert_eq!(config.connect_timeout, Some(Duration::from_secs(3)));
        assert_eq!(config.ssl_mode(&config.targets[0]), SslMode::Disable);
        assert_eq!((config.role, config.channel_binding), (Role::Standby, ChannelBinding::Require));

        let config = with("postgres://u:p@h:2/d?sslmode=require&connect_timeout=0", &variables).expect("good");
        assert_eq!(config.describe(), "u@h:2/d");
        assert_eq!(config.password(&config.targets[0]).expect("given").expose_secret(), "p");
        assert_eq!(config.connect_timeout, None);
        assert_eq!(config.ssl_mode(&config.targets[0]), SslMode::Require);
    }

    #[test]
    fn what_nobody_says_has_defaults() {
        let config = good("postgres://u@h");
        assert_eq!(config.describe(), "u@h:5432/u");
        assert_eq!(config.connect_timeout, Some(Duration::from_secs(15)));
        assert_eq!(config.user_timeout, Some(Duration::from_secs(60)));
        assert_eq!(
            format!("{:?}", config.keepalive),
            "Some(Keepalive { idle: Some(60s), interval: Some(10s), count: Some(3) })"
        );
        assert!(config.password(&config.targets[0]).is_none());
        let me = good("postgres://");
        assert_eq!(me.user, whoami::username().expect("somebody"));
        assert!(matches!(me.targets[0].address, Address::Directory(_)), "{:?}", me.targets);
    }

    #[test]
    fn servers_elsewhere_have_to_prove_who_they_are() {
        let mode = |url| {
            let config = good(url);
            config.ssl_mode(&config.targets[0])
        };
        assert_eq!(mode("postgres://u@db.example.com"), SslMode::VerifyFull);
        assert_eq!(mode("postgres://u@10.0.0.7"), SslMode::VerifyFull);
        assert_eq!(mode("postgres://u@localhost?hostaddr=10.0.0.7"), SslMode::VerifyFull);
        assert_eq!(mode("postgres://u@db.example.com?sslmode=prefer"), SslMode::Prefer);
        for local in ["postgres://u@localhost", "postgres://u@127.0.0.2", "postgres://u@[::1]"] {
            assert_eq!(mode(local), SslMode::Prefer, "{local}");
        }
        assert_eq!(mode("postgres://u@localhost?sslrootcert=system"), SslMode::VerifyFull);
        assert_eq!(mode("postgres://u@%2Ftmp?sslmode=verify-full"), SslMode::Disable);
    }

    #[test]
    fn hosts_addresses_and_ports_go_together() {
        let targets =
            |url| good(url).targets.iter().map(|target| format!("{target} {:?}", target.address)).collect::<Vec<_>>();
        assert_eq!(targets("postgres://u@a:1,b:2"), [r#"a:1 Name("a")"#, r#"b:2 Name("b")"#]);
        assert_eq!(targets("postgres://u@a,b?port=7"), [r#"a:7 Name("a")"#, r#"b:7 Name("b")"#]);
        assert_eq!(targets("postgres://u@a:1,b"), [r#"a:1 Name("a")"#, r#"b:5432 Name("b")"#]);
        assert_eq!(targets("postgres://u@a?hostaddr=10.0.0.7"), ["a:5432 Ip(10.0.0.7)"]);
        assert_eq!(
            targets("postgres://u@?hostaddr=10.0.0.7,::1"),
            ["10.0.0.7:5432 Ip(10.0.0.7)", "[::1]:5432 Ip(::1)"]
        );
        assert_eq!(targets("postgres://u@[2001:db8::1]:7"), ["[2001:db8::1]:7 Ip(2001:db8::1)"]);
        assert_eq!(targets("postgres://u@%2Frun%2Fpg:7"), [r#"/run/pg:7 Directory("/run/pg")"#]);
    }

    #[test]
    fn faults_name_their_place_and_rule() {
        for (url, said) in [
            (
                "postgres://u@h?sslmode=full",
                "`sslmode` in the URL breaks the rule: `disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`",
            ),
            (
                "postgres://u@h?sslmode=require&sslrootcert=system",
                "`sslmode` in the URL breaks the rule: with `sslrootcert=system` it has to be `verify-full`",
            ),
            ("postgres://u@h:70000", "`port` in the URL breaks the rule: a port is a number from 1 to 65535"),
            (
                "postgres://u@a,b?port=1,2,3",
                "`port` in the URL breaks the rule: there has to be one port, or as many as there are hosts",
            ),
            (
                "postgres://u@a,b?hostaddr=::1",
                "`hostaddr` in the URL breaks the rule: it has to have as many entries as `host`",
            ),
            ("postgres://u@h?hostaddr=db", "`hostaddr` in the URL breaks the rule: an entry is an address in numbers"),
            (
                "postgres://u@h?connect_timeout=soon",
                "`connect_timeout` in the URL breaks the rule: a number of seconds; 0 is no limit",
            ),
            (
                "postgres://u@h?keepalives_idle=-1",
                "`keepalives_idle` in the URL breaks the rule: a number of seconds; 0 leaves it to the system",
            ),
            (
                "postgres://u@h?tcp_user_timeout=1s",
                "`tcp_user_timeout` in the URL breaks the rule: a number of milliseconds; 0 leaves it to the system",
            ),
            (
                "postgres://u@h?target_session_attrs=rw",
                "`target_session_attrs` in the URL breaks the rule: `any`, `read-write`, `read-only`, `primary`, `standby` or `prefer-standby`",
            ),
            (
                "postgres://u@h?channel_binding=yes",
                "`channel_binding` in the URL breaks the rule: `disable`, `prefer` or `require`",
            ),
            (
                "postgres://u@h?service=x",
                "the URL asks for a connection service, which is not supported here (write host, port, database and user into the URL instead)",
            ),
        ] {
            assert_eq!(fault(url, &[]), said, "{url}");
        }
        assert_eq!(
            fault("postgres://u@h", &[("PGSSLMODE", "on")]),
            "`PGSSLMODE` breaks the rule: `disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`"
        );
        assert_eq!(
            fault("postgres://u@h", &[("PGSERVICE", "prod")]),
            "`PGSERVICE` asks for a connection service, which is not supported here (write host, port, database and user into the URL instead)"
        );
    }

    #[test]
    fn a_redshift_url_has_its_own_port_and_public_authorities() {
        let config = good("redshift://loader@cluster.example.com/analytics");
        assert_eq!(config.describe(), "loader@cluster.example.com:5439/analytics");
        assert_eq!(config.ssl_mode(&config.targets[0]), SslMode::VerifyFull);
        let config = with("redshift://u@h", &[("HOME", "/home/u")]).expect("good");
        assert!(matches!(config.trust.roots, Roots::Usual(None)), "{:?}", config.trust);
        let config = good("redshift://u@h:1?sslrootcert=/ca.pem");
        assert!(matches!(&config.trust.roots, Roots::File(path) if path == Path::new("/ca.pem")));
        let config = good("redshift://u@localhost/d");
        assert_eq!(config.ssl_mode(&config.targets[0]), SslMode::Prefer);
        assert_eq!(good("redshift://u@h?sslmode=require").ssl_mode(&config.targets[0]), SslMode::Require);
    }

    #[test]
    fn a_redshift_url_takes_no_settings() {
        assert_eq!(
            fault("redshift://u@h?options=-c%20a%3Db", &[]),
            "`options` in the URL breaks the rule: Redshift takes no settings at the login"
        );
        assert_eq!(
            fault("redshift://u@h", &[("PGOPTIONS", "-c a=b")]),
            "`PGOPTIONS` breaks the rule: Redshift takes no settings at the login"
        );
        assert_eq!(
            fault("redshift://u@h?target_session_attrs=read-write", &[]),
            "`target_session_attrs` in the URL breaks the rule: Redshift has no standbys to choose from"
        );
    }

    #[test]
    fn fetched_credentials_replace_those_of_the_url() {
        let config = with("redshift://u:old@h/d", &[]).expect("good");
        let login = Credential { user: "IAM:loader".to_owned(), password: "hunter2".into() };
        let config = config.with(login);
        assert_eq!(config.user(), "IAM:loader");
        assert_eq!(
            config.password(&config.targets[0]).map(|p| p.expose_secret().to_owned()).as_deref(),
            Some("hunter2")
        );
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn nothing_shows_the_password() {
        let config = with("postgres://u:hunter2@h/d", &[("PGPASSWORD", "hunter2")]).expect("good");
        assert!(!format!("{config:?} {config:#?} {}", config.describe()).contains("hunter2"));
        let misplaced = fault("postgres://u:hunter2/x@h", &[]);
        assert!(!misplaced.contains("hunter2"), "{misplaced}");
        let misplaced = fault("postgres://u:hunter2/x", &[]);
        assert!(!misplaced.contains("hunter2"), "{misplaced}");
    }
}
