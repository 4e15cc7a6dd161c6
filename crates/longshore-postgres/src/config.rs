//! Where to connect, as whom, and how: what a URL and the environment say, understood.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use crate::environment::{self, Environment};
use crate::parameter::Values;
use crate::pgpass::{self, Login};
use crate::socket::Keepalive;
use crate::tls::{Roots, SslMode, Trust};
use crate::{ConfigError, url};

/// The port of PostgreSQL.
const DEFAULT_PORT: u16 = 5432;

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
    /// Understands a `postgres://` or `postgresql://` URL. What it leaves open, libpq's environment
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
        let ssl_mode = word(values, "sslmode", SslMode::parse, SslMode::RULE)?;
        let trust = Trust::new(values, home.as_deref());
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
            password_file: text("passfile").map(PathBuf::from).or_else(|| Some(home?.join(".pgpass"))),
        })
    }

    /// Gives the connection a name that `pg_stat_activity` shows, instead of the one that the URL gives.
    #[must_use]
    pub fn application_name(mut self, name: &str) -> Self {
        self.application_name = Some(name.to_owned());
        self
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
                None => DEFAULT_PORT,
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
