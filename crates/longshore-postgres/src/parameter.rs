//! The names of connection parameters, and which of them are honoured.

use std::collections::BTreeMap;

use crate::ConfigError;

/// Parameters that are honoured, each with libpq's environment variable for it.
pub(crate) const HONOURED: &[(&str, Option<&str>)] = &[
    ("application_name", Some("PGAPPNAME")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("dbname", Some("PGDATABASE")),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("keepalives", None),
    ("keepalives_count", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("options", Some("PGOPTIONS")),
    ("passfile", Some("PGPASSFILE")),
    ("password", Some("PGPASSWORD")),
    ("port", Some("PGPORT")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslmode", Some("PGSSLMODE")),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("tcp_user_timeout", None),
    ("user", Some("PGUSER")),
];

/// Parameters of libpq that mean something there and nothing here.
const OF_LIBPQ_ONLY: &[&str] = &[
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "scram_client_key",
    "scram_server_key",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkeylogfile",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
];

/// The honoured parameter of this name, or why there is none.
pub(crate) fn honoured(name: &str) -> Result<&'static str, ConfigError> {
    if let Some((known, _)) = HONOURED.iter().find(|(known, _)| *known == name) {
        return Ok(known);
    }
    if matches!(name, "service" | "servicefile") {
        return Err(ConfigError::Service { from: "the URL" });
    }
    if OF_LIBPQ_ONLY.contains(&name) {
        return Err(ConfigError::Unsupported { name: name.to_owned() });
    }
    let nearest = HONOURED.iter().map(|(known, _)| (strsim::damerau_levenshtein(known, name), *known)).min();
    Err(ConfigError::Unknown { name: name.to_owned(), nearest: nearest.map_or("sslmode", |(_, known)| known) })
}

/// Where a value was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the URL.
    Url,
    /// In this environment variable.
    Variable(&'static str),
}

/// What the server is, as the URL's scheme says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    #[default]
    Postgres,
    Redshift,
}

/// Values of parameters as they were found, not yet understood. Not `Debug`: one may be a password.
#[derive(Default)]
pub(crate) struct Values {
    dialect: Dialect,
    found: BTreeMap<&'static str, (String, Origin)>,
}

impl Values {
    /// None yet, for such a server.
    pub(crate) fn of(dialect: Dialect) -> Self {
        Self { dialect, ..Self::default() }
    }

    /// What the server is.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Sets a parameter; the last word counts.
    pub(crate) fn set(&mut self, name: &'static str, value: String, origin: Origin) {
        self.found.insert(name, (value, origin));
    }

    /// Returns whether there is a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.found.contains_key(name)
    }

    /// The value of a parameter. As with libpq, an empty one is none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.found.get(name).map(|(value, _)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A value that breaks a rule. The value itself stays out of it.
    pub(crate) fn fault(&self, name: &'static str, rule: &'static str) -> ConfigError {
        let place = match self.found.get(name) {
            Some((_, Origin::Variable(variable))) => format!("`{variable}`"),
            _ => format!("`{name}` in the URL"),
        };
        ConfigError::Value { place, rule }
    }
}
