//! A database for one test.

use super::Server;
use super::server::{PASSWORD, USER};
use crate::quote;

/// An empty database of its own. It is removed with the value, whoever is still connected.
#[derive(Debug)]
pub struct Database<'a> {
    server: &'a Server,
    name: String,
}

impl<'a> Database<'a> {
    pub(super) fn create(server: &'a Server, name: String) -> Self {
        server.sql(&format!("CREATE DATABASE {} OWNER {}", quote::ident(&name), quote::ident(USER)));
        Self { server, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server that it is in.
    pub fn server(&self) -> &'a Server {
        self.server
    }

    /// URL of its owner, who is no superuser, with the password.
    pub fn url(&self) -> String {
        self.url_at(self.server.port())
    }

    /// The same, by another port: that of a [`Proxy`](super::Proxy).
    pub fn url_at(&self, port: u16) -> String {
        let password = PASSWORD.replace('@', "%40").replace(':', "%3A").replace('/', "%2F");
        format!("postgres://{USER}:{password}@127.0.0.1:{port}/{}", self.name)
    }

    /// URL of the superuser, by the server's socket.
    pub fn admin_url(&self) -> String {
        self.server.admin_url_of(&self.name)
    }

    /// Runs statements in it as superuser. Returns the first value of the last result.
    pub fn sql(&self, sql: &str) -> Option<String> {
        self.server.sql_in(&self.name, sql)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // The server may be stopped by now.
        drop(self.server.try_sql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", quote::ident(&self.name))));
    }
}
