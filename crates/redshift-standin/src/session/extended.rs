//! Statements by the extended protocol: plain SELECT and DML, with the same checks.

use std::collections::HashMap;

use bytes::{Buf, BufMut, BytesMut};

use super::errors::{described, tagged};
use super::run::aborted;
use super::{Ended, Session};
use crate::frame::{Frame, put_text, take_text};
use crate::gate::{self, Change, Plan};
use crate::refusal::Refusal;
use crate::token;

/// What was prepared and bound.
#[derive(Default)]
pub(super) struct Extended {
    statements: HashMap<String, Change>,
    /// Portals, by the statement that is bound.
    portals: HashMap<String, String>,
    /// The statement that was parsed or bound last.
    current: String,
    /// Messages of which the server behind owes an answer.
    owed: Vec<u8>,
    /// After an error all is skipped up to Sync.
    is_failed: bool,
    /// The transaction was begun for this statement alone.
    own: bool,
}

impl Session {
    pub(super) async fn extended(&mut self, frame: Frame) -> Result<(), Ended> {
        if frame.tag == b'S' {
            return self.sync().await;
        }
        if self.extended.is_failed {
            return Ok(());
        }
        let done = match frame.tag {
            b'P' => self.parse(&frame).await?,
            b'B' => self.bind(frame).await?,
            b'E' => self.run_portal(frame).await?,
            b'H' => {
                self.writer.flush().await?;
                Ok(())
            }
            _ => self.forward(frame).await?,
        };
        if let Err(refusal) = done {
            self.extended.is_failed = true;
            self.refuse(&refusal).await?;
        }
        Ok(())
    }

    async fn parse(&mut self, frame: &Frame) -> Result<Result<(), Refusal>, Ended> {
        let mut body = frame.body.clone();
        let (name, sql) = (take_text(&mut body), take_text(&mut body));
        if let Err(refusal) = super::run::fits(&sql) {
            return Ok(Err(refusal));
        }
        let keeps_backslash_n = self.shared.config.unknowns.backslash_n_reaches_copy;
        let words = match token::statements_with(&sql, keeps_backslash_n) {
            Ok(statements) if statements.len() == 1 => statements,
            Ok(_) => {
                return Ok(Err(Refusal::new("42601", "cannot insert multiple commands into a prepared statement")));
            }
            Err(refusal) => return Ok(Err(refusal)),
        };
        if self.upstream.status == b'E' {
            return Ok(Err(aborted()));
        }
        let change = match gate::plan(&words[0], &self.known()) {
            Ok(Plan::Rows(change)) if change.before.is_empty() => change,
            Ok(Plan::Rows(_)) => return Ok(Err(Refusal::not_modelled("REMOVE DUPLICATES by the extended protocol"))),
            Ok(_) if words[0].tokens.iter().any(|word| matches!(word, token::Token::Parameter(_))) => {
                return Ok(Err(Refusal::syntax("$1")));
            }
            Ok(_) => return Ok(Err(Refusal::not_modelled("this statement by the extended protocol"))),
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Err(refusal) = self.prepare(&change).await? {
            return Ok(Err(refusal));
        }
        if let Err(refusal) = self.check_columns(&change).await? {
            return Ok(Err(refusal));
        }
        let mut rewritten = BytesMut::with_capacity(change.sql.len() + body.remaining() + 64);
        put_text(&mut rewritten, &name);
        put_text(&mut rewritten, &change.sql);
        rewritten.put_slice(&body);
        self.extended.current.clone_from(&name);
        self.extended.statements.insert(name, change);
        self.forward(Frame::new(b'P', rewritten)).await
    }

    /// Outside of a transaction a statement has one of its own.
    async fn open(&mut self) -> Result<(), Ended> {
        if self.upstream.status == b'I' {
            self.begin().await?;
            self.extended.own = true;
        }
        Ok(())
    }

    /// What has to be done before the server behind looks at a statement, as it takes its snapshot then.
    async fn prepare(&mut self, change: &Change) -> Result<Result<(), Refusal>, Ended> {
        self.open().await?;
        if let Err(refusal) = self.claim(change).await? {
            return Ok(Err(refusal));
        }
        if change.asks_of_copy {
            self.tell_copy().await?;
        }
        Ok(Ok(()))
    }

    async fn bind(&mut self, frame: Frame) -> Result<Result<(), Refusal>, Ended> {
        let mut body = frame.body.clone();
        let (portal, statement) = (take_text(&mut body), take_text(&mut body));
        if let Some(change) = self.extended.statements.get(&statement).cloned()
            && let Err(refusal) = self.prepare(&change).await?
        {
            return Ok(Err(refusal));
        }
        self.extended.current.clone_from(&statement);
        self.extended.portals.insert(portal, statement);
        self.forward(frame).await
    }

    async fn run_portal(&mut self, frame: Frame) -> Result<Result<(), Refusal>, Ended> {
        self.open().await?;
        self.forward(frame).await
    }

    /// Sends a message on and passes on what it is answered.
    async fn forward(&mut self, frame: Frame) -> Result<Result<(), Refusal>, Ended> {
        if self.upstream.status == b'I' {
            self.open().await?;
        }
        let end: &[u8] = match frame.tag {
            b'P' => b"1",
            b'B' => b"2",
            b'C' => b"3",
            b'D' => b"Tn",
            _ => b"CIs",
        };
        self.extended.owed.push(frame.tag);
        self.upstream.writer.put(&frame).await?;
        self.upstream.writer.put(&Frame::new(b'H', Vec::new())).await?;
        self.upstream.writer.flush().await?;
        loop {
            let answer = self.upstream.reader.next().await?;
            let is_last = end.contains(&answer.tag);
            match answer.tag {
                b'E' => {
                    let change = self.extended.statements.get(&self.extended.current);
                    return Ok(Err(self.translated(&answer, change)));
                }
                b'T' => self.writer.put(&described(&answer, self.shared.super_type)).await?,
                b'C' => {
                    let counts_merge = self.shared.config.unknowns.merge_tag_has_count;
                    self.writer.put(&tagged(&answer, counts_merge)).await?;
                }
                b'S' | b'A' => {}
                _ => self.writer.put(&answer).await?,
            }
            if is_last {
                return Ok(Ok(()));
            }
        }
    }

    async fn sync(&mut self) -> Result<(), Ended> {
        self.settle_extended().await?;
        self.ready().await
    }

    /// Ends what was begun since the last Sync. A simple query does so too.
    pub(super) async fn settle_extended(&mut self) -> Result<(), Ended> {
        if !self.extended.owed.is_empty() {
            self.upstream.writer.put(&Frame::new(b'S', Vec::new())).await?;
            self.upstream.writer.flush().await?;
            while self.upstream.answer().await?.is_some() {}
            self.extended.owed.clear();
        }
        let failed = std::mem::take(&mut self.extended.is_failed);
        if std::mem::take(&mut self.extended.own) {
            if let Err(refusal) = self.end(!failed).await? {
                self.refuse(&refusal).await?;
            }
        } else if failed {
            self.break_block().await?;
        }
        self.extended.portals.clear();
        Ok(())
    }
}
