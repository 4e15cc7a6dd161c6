//! Connecting to what speaks PostgreSQL's protocol.
//!
//! A [`Config`] comes from a URL, completed by libpq's environment variables and password file, and
//! means what it means to `psql`. One thing differs: a server that is not on this machine has to
//! prove who it is (`sslmode=verify-full`) unless the URL says otherwise. [`Config::connect`] gives
//! a [`Connection`], or a [`ConnectError`] that names the hop that failed and the cure.
//!
//! A `redshift://` URL means the same, but for what Amazon Redshift does otherwise: its port, and that it
//! takes no settings at the login. Passwords that live for minutes come from [`Credentials`], which are
//! asked at each connection.
//!
//! What is asked over the connection is the caller's: this crate knows no table. It only lends
//! [`quote`] for names and texts that cannot be parameters.

mod config;
mod connect;
mod connection;
mod credentials;
mod environment;
mod error;
mod parameter;
mod pgpass;
pub mod quote;
mod socket;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
mod url;

pub use config::Config;
pub use connection::Connection;
pub use credentials::{Credential, Credentials, CredentialsError};
pub use error::{ConfigError, ConnectError, Hop};
