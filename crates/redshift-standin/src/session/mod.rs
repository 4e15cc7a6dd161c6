//! One client: what it sends, and what it is answered.

mod copy;
mod errors;
mod extended;
mod run;
mod sources;
mod startup;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::cancel::Cancel;
use crate::frame::{Frame, Reader, Writer};
use crate::gate::{Change, Known, Name};
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::token::literal;
use crate::upstream::Upstream;

/// Why a session ends before its client says so.
pub(crate) type Ended = io::Error;

/// An answer: the outer error ends the session, the inner one is the client's.
pub(crate) type Answer<T> = Result<Result<T, Refusal>, Ended>;

/// One client and the connection that it has behind.
pub(crate) struct Session {
    shared: Arc<Shared>,
    /// A number that no other session has.
    id: u64,
    user: String,
    reader: Reader<TcpStream>,
    writer: Writer<TcpStream>,
    upstream: Upstream,
    /// Names of its temporary tables.
    temporary: HashSet<String>,
    /// The same when the transaction began.
    temporary_before: HashSet<String>,
    search_path: Vec<String>,
    settings: BTreeMap<String, String>,
    statement_timeout: Option<Duration>,
    /// The three above as they were when the transaction began.
    set_before: (BTreeMap<String, String>, Vec<String>, Option<Duration>),
    /// Number of the transaction.
    transaction: u64,
    /// The views know the transaction.
    is_shown: bool,
    /// What the client sent last by the simple protocol, word by word.
    sent: String,
    last_copy_id: i64,
    last_copy_count: i64,
    /// Both as they were when the transaction began.
    last_copy_before: (i64, i64),
    /// The server behind takes rows.
    copy_is_open: bool,
    /// What the server behind was told of the two above.
    last_copy_told: Option<(i64, i64)>,
    cancel: Arc<Cancel>,
    extended: extended::Extended,
}

/// Talks to a client until it goes.
pub(crate) async fn serve(stream: TcpStream, shared: Arc<Shared>) -> Result<(), Ended> {
    let Some(mut session) = startup::start(stream, shared).await? else { return Ok(()) };
    let ended = session.listen().await;
    session.shared.transactions.end(session.id, false);
    session.shared.locks.release(session.id);
    session.hide().await;
    startup::forget(&session.shared, &session.upstream.key);
    ended
}

impl Session {
    async fn listen(&mut self) -> Result<(), Ended> {
        loop {
            let frame = tokio::select! {
                frame = self.reader.next() => frame?,
                () = self.upstream.ended() => {
                    let refusal = Refusal::new("57P01", "terminating connection due to administrator command");
                    self.writer.put(&Frame::error(&refusal, "FATAL")).await?;
                    return self.writer.flush().await;
                }
            };
            self.cancel.forget();
            match frame.tag {
                b'Q' => {
                    self.settle_extended().await?;
                    self.simple(&frame.first_text()).await?;
                }
                b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'S' => self.extended(frame).await?,
                b'X' => return Ok(()),
                _ => {
                    let refusal = Refusal::not_modelled(&format!("a message of type {}", char::from(frame.tag)));
                    self.refuse(&refusal).await?;
                    self.ready().await?;
                }
            }
        }
    }

    /// What the gate may be told.
    fn known(&self) -> Known {
        Known {
            mode: self.shared.config.mode,
            like_inherits_identity: self.shared.config.unknowns.like_inherits_identity,
            source_keys_may_repeat: self.shared.config.unknowns.source_keys_may_repeat,
            reading: self.shared.config.unknowns.reading.clone(),
        }
    }

    async fn refuse(&mut self, refusal: &Refusal) -> Result<(), Ended> {
        let is_told = refusal.sqlstate != "57014" || refusal.message.starts_with("Query");
        let refusal = if is_told { refusal.clone() } else { self.cancelled() };
        self.writer.put(&Frame::error(&refusal, "ERROR")).await
    }

    async fn ready(&mut self) -> Result<(), Ended> {
        self.writer.put(&Frame::ready(self.upstream.status)).await?;
        self.writer.flush().await
    }

    /// What locks and transactions know a table by; `None` for a temporary one, which is nobody else's.
    async fn identify(&self, name: &Name) -> Option<String> {
        if let Some(schema) = &name.schema {
            return Some(format!("{schema}.{}", name.name));
        }
        if self.temporary.contains(&name.name) {
            return None;
        }
        let path: Vec<&str> =
            self.search_path.iter().map(|place| if place == "$user" { &*self.user } else { place }).collect();
        let sql = "SELECT n.nspname::text FROM unnest($1::text[]) WITH ORDINALITY AS p (name, nth)
            JOIN pg_namespace n ON n.nspname = p.name
            LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = $2
            ORDER BY c.oid IS NULL, nth LIMIT 1";
        let rows = self.shared.admin.query(sql, &[&path, &name.name]).await;
        let schema = rows.ok().and_then(|rows| rows.first()?.try_get::<_, String>(0).ok());
        Some(format!("{}.{}", schema.as_deref().unwrap_or("public"), name.name))
    }

    /// Tells the server behind what the last COPY was, if it does not know.
    async fn tell_copy(&mut self) -> Result<(), Ended> {
        let now = (self.last_copy_id, self.last_copy_count);
        if self.last_copy_told == Some(now) {
            return Ok(());
        }
        let sql = format!(
            "SELECT set_config('standin.last_copy_id', '{}', false), set_config('standin.last_copy_count', '{}', false)",
            now.0, now.1
        );
        if self.upstream.ask(&sql).await?.is_ok() {
            self.last_copy_told = Some(now);
        }
        Ok(())
    }

    /// Whether names that may be functions are columns.
    async fn check_columns(&mut self, change: &Change) -> Answer<()> {
        for (table, column) in &change.columns {
            let sql = format!(
                "SELECT FROM pg_catalog.pg_attribute WHERE attrelid = {}::regclass AND attname = {} AND NOT attisdropped",
                literal(&table.sql()),
                literal(column)
            );
            match self.upstream.ask(&sql).await? {
                Err(refusal) => return Ok(Err(refusal)),
                Ok(rows) if rows.is_empty() => {
                    let text = format!("column {}.{column} does not exist", table.name);
                    return Ok(Err(Refusal::new("42703", text)));
                }
                Ok(_) => {}
            }
        }
        Ok(Ok(()))
    }
}
