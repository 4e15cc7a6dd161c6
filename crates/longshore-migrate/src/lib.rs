//! Versioned SQL migrations, a drop-in for Flyway: the same folder, the same history table, the same states.
//!
//! A [`Migrator`] puts two things side by side: the scripts of a project ([`script`]) and the rows of the history
//! table ([`history`]). [`state`] says what state each migration is in, [`validate`] whether both go together; the
//! commands follow from that. Either tool can go on where the other stopped.
//!
//! What is better here: a migration and its row are one transaction on one connection; `CREATE INDEX CONCURRENTLY`
//! does not hang; a script that runs outside of a transaction has its row, marked as failed, before its first
//! statement; `$1` and `e'…'` are read as the server reads them; what is never closed is an error with its line.
//!
//! Databases stand behind [`Database`], one session that runs SQL. This crate brings PostgreSQL and Amazon
//! Redshift; who has another hands it in.

mod checksum;
mod commands;
pub mod database;
pub mod dialect;
mod error;
pub mod event;
pub mod flyway;
pub mod history;
mod lexer;
mod migrator;
pub mod name;
mod placeholder;
mod run;
pub mod script;
pub mod settings;
pub mod split;
pub mod state;
mod table;
pub mod validate;
mod version;

pub use checksum::{checksum, decode};
pub use commands::{Applied, Baselined, Cleaned, Info, Migrated, Pending, Repaired, Shown, Validated};
pub use database::{Database, Engine, PostgresDatabase, Server, SqlError};
pub use error::{Error, ErrorKind};
pub use migrator::{Migrator, Observer, Touch};
pub use placeholder::{Placeholders, UnknownPlaceholder};
pub use settings::Settings;
pub use version::{MAX_VERSION, Version};
