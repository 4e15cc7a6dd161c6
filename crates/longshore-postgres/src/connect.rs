//! Goes from host to host, and at each from hop to hop.

use std::error::Error;
use std::io;

use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::config::{ChannelBinding as Binding, SslMode as Negotiate, SslNegotiation};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::config::{ChannelBinding, Config, Role, Target};
use crate::connection::{Connection, Route};
use crate::socket::{self, Deadline, Socket};
use crate::tls::{self, Already, Encrypted, SslMode};
use crate::{ConnectError, Credential, Credentials, Hop};

/// Asks a server whether it speaks TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

impl Config {
    /// Connects to the first of the hosts that will have us.
    ///
    /// As with libpq, a host that refuses the login ends the search: the others would have to
    /// refuse it too.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        match self.source() {
            Some(credentials) => {
                let connected = self.with(self.fetch(credentials.as_ref()).await?).connect_as().await;
                connected.map_err(|error| match error.sqlstate() {
                    Some(code) if code.code().starts_with("28") => error
                        .cure("the login was fetched for this connection: look whether the server takes such logins"),
                    _ => error,
                })
            }
            None => self.connect_as().await,
        }
    }

    /// Fetches a login, within the time that a host has too.
    async fn fetch(&self, credentials: &dyn Credentials) -> Result<Credential, ConnectError> {
        let fetched = match self.connect_timeout {
            Some(limit) => tokio::time::timeout(limit, credentials.fetch()).await.map_err(|_| {
                let text = format!("no login for `{}` is given out within {} s", self.database, limit.as_secs());
                ConnectError::new(Hop::Login, text).transient()
            })?,
            None => credentials.fetch().await,
        };
        fetched.map_err(|error| {
            let failure = ConnectError::new(Hop::Login, format!("there is no login for `{}`", self.database));
            let failure = if error.is_transient() { failure.transient() } else { failure };
            let failure = match error.hint() {
                Some(hint) => failure.cure(hint),
                None => failure,
            };
            failure.because(error)
        })
    }

    /// Connects, user and password being known.
    async fn connect_as(&self) -> Result<Connection, ConnectError> {
        let mut failures = Vec::new();
        let rounds: &[Role] = match self.role {
            Role::PreferStandby => &[Role::Standby, Role::Any],
            ref role => std::slice::from_ref(role),
        };
        for &role in rounds {
            failures.clear();
            for target in &self.targets {
                match self.connect_to(target, role).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) if matches!(error.hop(), Hop::Login | Hop::Database) && !error.is_transient() => {
                        return Err(error);
                    }
                    Err(error) => failures.push(error),
                }
            }
        }
        Err(ConnectError::of_all(failures))
    }

    async fn connect_to(&self, target: &Target, role: Role) -> Result<Connection, ConnectError> {
        let deadline = Deadline::start(self.connect_timeout);
        let mode = self.ssl_mode(target);
        let connection = match mode {
            SslMode::Disable => self.attempt(target, mode, Encryption::None, deadline).await?,
            SslMode::Allow => match self.attempt(target, mode, Encryption::None, deadline).await {
                Err(plain) if refuses_login(&plain) => {
                    match self.attempt(target, mode, Encryption::Needed, deadline).await {
                        // No word about TLS, which nobody asked for.
                        Err(error) if error.hop() == Hop::Tls => return Err(plain),
                        other => other?,
                    }
                }
                other => other?,
            },
            SslMode::Prefer => match self.attempt(target, mode, Encryption::IfOffered, deadline).await {
                Err(encrypted)
                    if encrypted.hop() == Hop::Tls || (encrypted.was_encrypted() && refuses_login(&encrypted)) =>
                {
                    let plain = self.attempt(target, mode, Encryption::None, deadline).await;
                    plain.map_err(|_| encrypted)?
                }
                other => other?,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                self.attempt(target, mode, Encryption::Needed, deadline).await?
            }
        };
        deadline.keep(Hop::Role, target, check_role(&connection, target, role)).await??;
        Ok(connection)
    }

    /// One try, with encryption or without.
    async fn attempt(
        &self,
        target: &Target,
        mode: SslMode,
        encryption: Encryption,
        deadline: Deadline,
    ) -> Result<Connection, ConnectError> {
        let (channel, target_found) = self.open(target, mode, encryption, deadline).await?;
        let encrypted = matches!(channel, Channel::Encrypted(_));
        let route = Route { config: self.clone(), target: target_found, mode, encrypted };
        let opened = deadline.keep(Hop::Login, target, self.log_in(channel, route)).await?;
        if encrypted { opened.map_err(ConnectError::encrypted) } else { opened }
    }

    /// Opens a socket, and encrypts it if that is needed or offered. Returns with it where it leads,
    /// so that a second one leads to the same server.
    pub(crate) async fn open(
        &self,
        target: &Target,
        mode: SslMode,
        encryption: Encryption,
        deadline: Deadline,
    ) -> Result<(Channel, Target), ConnectError> {
        let (mut socket, address) = socket::open(self, target, deadline).await?;
        let found = Target { address, ..target.clone() };
        if encryption == Encryption::None {
            return Ok((Channel::Plain(socket), found));
        }
        match deadline
            .keep(Hop::Tls, target, ask_for_tls(&mut socket))
            .await?
            .map_err(|error| tls::broken(error, target))?
        {
            b'S' => {
                let handshake = tls::handshake(&self.trust, mode, target, socket);
                Ok((Channel::Encrypted(Box::new(deadline.keep(Hop::Tls, target, handshake).await??)), found))
            }
            b'N' if encryption == Encryption::IfOffered => Ok((Channel::Plain(socket), found)),
            b'N' => Err(tls::missing(mode, target)),
            _ => Err(ConnectError::new(Hop::Tls, format!("what answers at `{target}` is no PostgreSQL server"))
                .cure("correct host and port in the URL")),
        }
    }

    async fn log_in(&self, channel: Channel, route: Route) -> Result<Connection, ConnectError> {
        let mut settings = tokio_postgres::Config::new();
        settings.user(&self.user).dbname(&self.database).channel_binding(match self.channel_binding {
            ChannelBinding::Disable => Binding::Disable,
            ChannelBinding::Prefer => Binding::Prefer,
            ChannelBinding::Require => Binding::Require,
        });
        if let Some(name) = &self.application_name {
            settings.application_name(name);
        }
        if let Some(options) = &self.options {
            settings.options(options);
        }
        let password = self.password(&route.target);
        if let Some(password) = &password {
            settings.password(password.expose_secret());
        }
        let opened = match channel {
            Channel::Plain(socket) => {
                settings.ssl_mode(Negotiate::Disable);
                settings
                    .connect_raw(socket, NoTls)
                    .await
                    .map(|(client, driver)| Connection::new(client, driver, route.clone()))
            }
            Channel::Encrypted(stream) => {
                // What tokio-postgres would negotiate is behind us: it begins with the login.
                settings.ssl_mode(Negotiate::Require).ssl_negotiation(SslNegotiation::Direct);
                settings
                    .connect_raw(*stream, Already)
                    .await
                    .map(|(client, driver)| Connection::new(client, driver, route.clone()))
            }
        };
        opened.map_err(|error| self.refused(error, &route.target, password.is_some()))
    }

    /// Why a login failed.
    fn refused(&self, error: tokio_postgres::Error, target: &Target, has_password: bool) -> ConnectError {
        if let Some(refusal) = error.as_db_error() {
            return self.refused_by_server(refusal, target);
        }
        let cause = error.source();
        if let Some(broken) = cause.and_then(|cause| cause.downcast_ref::<io::Error>()) {
            // In TLS 1.3 a server refuses our certificate only now.
            if broken.get_ref().is_some_and(|cause| cause.is::<rustls::Error>()) {
                return ConnectError::new(Hop::Tls, format!("the server at `{target}` ends the encrypted connection"))
                    .cure("if it asks for a certificate of ours, give one as `sslcert=FILE&sslkey=FILE`")
                    .because(error);
            }
        }
        if !has_password && cause.is_some_and(|cause| cause.to_string() == "password missing") {
            return ConnectError::new(
                Hop::Login,
                format!("`{target}` asks for the password of `{}`, and there is none", self.user),
            )
            .cure("put it into `~/.pgpass` or `PGPASSWORD`");
        }
        if error.is_closed() || cause.is_some_and(|cause| cause.is::<io::Error>()) {
            return ConnectError::new(Hop::Login, format!("`{target}` ends the connection during the login"))
                .cure("look whether a PostgreSQL server is at this port, and into its log")
                .transient()
                .because(error);
        }
        let hint = match self.channel_binding {
            ChannelBinding::Require => "`channel_binding=require` needs TLS and a password by `scram-sha-256`",
            _ => "use a password by `scram-sha-256` or `md5`, or a certificate",
        };
        ConnectError::new(Hop::Login, format!("the login of `{}` at `{target}` fails", self.user))
            .cure(hint)
            .because(error)
    }

    /// Why the server refuses. Its own words are the cause.
    fn refused_by_server(&self, refusal: &DbError, target: &Target) -> ConnectError {
        let (user, database) = (&self.user, &self.database);
        let code = refusal.code();
        // Redshift says by its words what PostgreSQL says by a code of its own.
        let is_password = *code == SqlState::INVALID_PASSWORD
            || (code.code().starts_with("28") && refusal.message().contains("password authentication failed"));
        let error = if is_password {
            ConnectError::new(Hop::Login, format!("`{target}` does not take the password of `{user}`"))
                .cure("correct user and password: in the URL, in `PGPASSWORD` or in `~/.pgpass`")
        } else if refusal.message().contains("pg_hba.conf") {
            ConnectError::new(Hop::Login, format!("`{target}` does not let `{user}` into `{database}` from here")).cure(
                "add a line for it to the server's `pg_hba.conf`; \"no encryption\" asks for `sslmode=require` or more",
            )
        } else if code.code().starts_with("28") {
            ConnectError::new(Hop::Login, format!("`{target}` does not let `{user}` in"))
                .cure("correct user and password, or let somebody allow this login on the server")
        } else if *code == SqlState::INVALID_CATALOG_NAME {
            ConnectError::new(Hop::Database, format!("`{target}` has no database `{database}`"))
                .cure("create it, or correct its name in the URL")
        } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            ConnectError::new(Hop::Database, format!("`{user}` may not connect to `{database}` of `{target}`")).cure(
                format!("GRANT CONNECT ON DATABASE {} TO {}", crate::quote::ident(database), crate::quote::ident(user)),
            )
        } else if *code == SqlState::CANNOT_CONNECT_NOW {
            ConnectError::new(Hop::Login, format!("the server at `{target}` lets nobody in now")).transient()
        } else if *code == SqlState::TOO_MANY_CONNECTIONS {
            ConnectError::new(Hop::Login, format!("the server at `{target}` has too many connections"))
                .cure("end some, or raise its `max_connections` or the limit of the user or database")
                .transient()
        } else {
            let error = ConnectError::new(Hop::Database, format!("`{target}` does not open `{database}` for `{user}`"));
            // Connection exceptions, want of resources, intervention: they pass.
            let passes = ["08", "53", "57"].iter().any(|class| code.code().starts_with(class));
            if passes { error.transient() } else { error }
        };
        error.code(code.clone()).because(refusal.clone())
    }
}

/// Whether an attempt gets encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    None,
    IfOffered,
    Needed,
}

/// The way to a server, before the login.
pub(crate) enum Channel {
    Plain(Socket),
    Encrypted(Box<Encrypted>),
}

/// Whether the server refuses who we are, or how we come.
fn refuses_login(error: &ConnectError) -> bool {
    error.sqlstate().is_some_and(|code| code.code().starts_with("28"))
}

async fn ask_for_tls(socket: &mut Socket) -> io::Result<u8> {
    socket.write_all(&SSL_REQUEST).await?;
    socket.flush().await?;
    // Not a byte more: what follows belongs to the handshake.
    socket.read_u8().await
}

/// Whether the server is what `target_session_attrs` asks for.
async fn check_role(connection: &Connection, target: &Target, role: Role) -> Result<(), ConnectError> {
    let (question, wanted, what) = match role {
        Role::Any | Role::PreferStandby => return Ok(()),
        Role::ReadWrite => ("SHOW transaction_read_only", "off", "read-write"),
        Role::ReadOnly => ("SHOW transaction_read_only", "on", "read-only"),
        Role::Primary => ("SELECT pg_catalog.pg_is_in_recovery()", "f", "primary"),
        Role::Standby => ("SELECT pg_catalog.pg_is_in_recovery()", "t", "standby"),
    };
    let answer = connection.simple_query(question).await.map_err(|error| {
        ConnectError::new(Hop::Role, format!("`{target}` does not say whether it is {what}")).transient().because(error)
    })?;
    let found = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    if found == Some(wanted) {
        return Ok(());
    }
    // Another server may take over the role.
    Err(ConnectError::new(Hop::Role, format!("the server at `{target}` is not {what}"))
        .cure(format!("name one that is, or take `target_session_attrs={what}` out of the URL"))
        .transient())
}
