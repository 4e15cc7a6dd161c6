//! Statements by the simple protocol: gate, locks, isolation, and then the server behind.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::errors::{described, tagged};
use super::{Answer, Ended, Session};
use crate::faults::Fault;
use crate::frame::Frame;
use crate::gate::{self, Change, Ddl, Name, Plan, Verb};
use crate::isolation::Isolation;
use crate::locks::Strength;
use crate::refusal::Refusal;
use crate::token::{self, Words, ident, literal};

/// Which answers of the server behind the client gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Rows and the tag.
    All,
    /// None.
    Nothing,
}

impl Session {
    /// One message of the simple protocol: statements, each of which is a transaction of its own unless
    /// there is one already.
    pub(super) async fn simple(&mut self, sql: &str) -> Result<(), Ended> {
        sql.clone_into(&mut self.sent);
        match token::statements(sql) {
            Err(refusal) => self.fail(&refusal).await?,
            Ok(statements) if statements.is_empty() => self.writer.put(&Frame::new(b'I', Vec::new())).await?,
            Ok(statements) => {
                let is_one = self.shared.config.unknowns.batch_is_one_transaction
                    && statements.len() > 1
                    && self.upstream.status == b'I';
                if is_one {
                    self.begin().await?;
                }
                let mut failed = false;
                for words in &statements {
                    if let Err(refusal) = self.statement(words).await? {
                        self.fail(&refusal).await?;
                        failed = true;
                        break;
                    }
                }
                if is_one
                    && self.upstream.status != b'I'
                    && let Err(refusal) = self.end(!failed).await?
                {
                    self.refuse(&refusal).await?;
                }
            }
        }
        self.ready().await
    }

    /// Answers with an error, and has the transaction fail if there is one.
    pub(super) async fn fail(&mut self, refusal: &Refusal) -> Result<(), Ended> {
        self.break_block().await?;
        self.refuse(refusal).await
    }

    /// An error of ours is one for the transaction behind too.
    pub(super) async fn break_block(&mut self) -> Result<(), Ended> {
        if self.upstream.status == b'T' {
            let _failed_as_it_should: Result<_, _> = self.upstream.ask("stand-in: the statement was refused").await?;
        }
        if self.upstream.status == b'E' {
            // A transaction that failed gives its locks back at once.
            self.shared.transactions.end(self.id, false);
            self.shared.locks.release(self.id);
            self.hide().await;
        }
        Ok(())
    }

    async fn statement(&mut self, words: &Words) -> Answer<()> {
        self.shared.statements.fetch_add(1, Ordering::Relaxed);
        let plan = match gate::plan(words, &self.known()) {
            Ok(plan) => plan,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let is_end = matches!(plan, Plan::Commit | Plan::Rollback);
        if self.upstream.status == b'E' && !is_end {
            return Ok(Err(aborted()));
        }
        let fault = self.shared.faults.next(&token::join(words));
        match &fault {
            Some(Fault::CutBefore) => return Err(std::io::ErrorKind::ConnectionAborted.into()),
            Some(Fault::Delay(delay)) => tokio::time::sleep(*delay).await,
            _ => {}
        }
        if let Some(refusal) = fault.as_ref().and_then(Fault::refusal) {
            if is_end {
                // What fails at COMMIT is rolled back.
                if let Err(refusal) = self.end(false).await? {
                    return Ok(Err(refusal));
                }
            }
            return Ok(Err(refusal));
        }
        let done = self.execute(plan).await?;
        if matches!(fault, Some(Fault::CutAfter)) {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        Ok(done)
    }

    async fn execute(&mut self, plan: Plan) -> Answer<()> {
        match plan {
            Plan::Rows(change) => self.rows(change).await,
            Plan::Ddl(ddl) => self.ddl(ddl).await,
            Plan::Copy(statement) => self.copy(&statement).await,
            Plan::Begin => {
                if self.upstream.status == b'I' {
                    self.begin().await?;
                }
                self.complete("BEGIN").await
            }
            Plan::Commit => {
                let failed = self.upstream.status == b'E';
                match self.end(!failed).await? {
                    Ok(()) => self.complete(if failed { "ROLLBACK" } else { "COMMIT" }).await,
                    Err(refusal) => Ok(Err(refusal)),
                }
            }
            Plan::Rollback => match self.end(false).await? {
                Ok(()) => {
                    // A COPY that is rolled back was none.
                    (self.last_copy_id, self.last_copy_count) = self.last_copy_before;
                    self.complete("ROLLBACK").await
                }
                Err(refusal) => Ok(Err(refusal)),
            },
            Plan::Lock(names) => self.lock(names).await,
            Plan::Truncate(name) => self.truncate(name).await,
            Plan::Set(name, value) => self.set(name, value).await,
            Plan::Show(name) => {
                let value = self.settings.get(&name).cloned().unwrap_or_default();
                self.pass(&format!("SELECT {} AS {}", literal(&value), ident(&name)), Pass::All, false).await
            }
            Plan::Manage(sql) => {
                let tag = if sql.contains("standin.create_user") { Some("CREATE USER") } else { None };
                match tag {
                    None => self.pass(&sql, Pass::All, false).await,
                    Some(tag) => match self.pass(&sql, Pass::Nothing, false).await? {
                        Ok(()) => self.complete(tag).await,
                        Err(refusal) => Ok(Err(refusal)),
                    },
                }
            }
            Plan::Nothing { tag, in_block } => {
                if !in_block && self.upstream.status != b'I' {
                    let text = format!("{tag} cannot run inside a transaction block");
                    return Ok(Err(Refusal::new("25001", text)));
                }
                self.complete(tag).await
            }
        }
    }

    async fn complete(&mut self, tag: &str) -> Answer<()> {
        self.writer.put(&Frame::complete(tag)).await?;
        Ok(Ok(()))
    }

    /// Begins a transaction behind. Its snapshot is taken by its first statement.
    pub(super) async fn begin(&mut self) -> Result<(), Ended> {
        let _answer: Result<_, _> = self.upstream.ask("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        self.transaction = self.shared.number();
        self.temporary_before = self.temporary.clone();
        self.set_before = (self.settings.clone(), self.search_path.clone(), self.statement_timeout);
        self.last_copy_before = (self.last_copy_id, self.last_copy_count);
        Ok(())
    }

    /// Ends the transaction, and gives back its locks.
    pub(super) async fn end(&mut self, commit: bool) -> Answer<()> {
        let answer = self.upstream.ask(if commit { "COMMIT" } else { "ROLLBACK" }).await?;
        let is_committed = commit && answer.is_ok();
        if !is_committed {
            self.temporary = self.temporary_before.clone();
            (self.settings, self.search_path, self.statement_timeout) = self.set_before.clone();
        }
        self.shared.transactions.end(self.id, is_committed);
        self.shared.locks.release(self.id);
        self.hide().await;
        Ok(answer.map(|_| ()))
    }

    /// Runs what is given within the transaction, or in one of its own.
    async fn rows(&mut self, change: Change) -> Answer<()> {
        let own = self.upstream.status == b'I';
        if own {
            self.begin().await?;
        }
        let is_merge = matches!(change.target, Some((_, Verb::Merge)));
        let mut done = self.claim(&change).await?;
        let mut tag = None;
        if done.is_ok() {
            self.upstream.send(&change.sql).await?;
            done = self.relay(Pass::All, is_merge, own.then_some(&mut tag)).await?;
        }
        if own {
            let ended = self.end(done.is_ok()).await?;
            done = done.and(ended);
            if let (Ok(()), Some(tag)) = (&done, tag) {
                self.writer.put(&tag).await?;
            }
        }
        Ok(done)
    }

    /// Takes the locks of a statement, and notes what it reads and writes.
    pub(super) async fn claim(&mut self, change: &Change) -> Answer<()> {
        let mut reads = Vec::new();
        for name in &change.reads {
            reads.extend(self.identify(name).await);
        }
        let mut writes = Vec::new();
        if let Some((name, verb)) = &change.target {
            writes.extend(self.identify(name).await);
            let is_snapshot = self.shared.config.isolation == Isolation::Snapshot;
            let strength = if *verb == Verb::Insert && is_snapshot { Strength::Add } else { Strength::Write };
            if let Some(table) = writes.first().cloned() {
                if let Err(refusal) = self.acquire(&table, strength).await? {
                    return Ok(Err(refusal));
                }
                self.show(&table).await;
            }
        }
        for table in &reads {
            if let Err(refusal) = self.acquire(table, Strength::Read).await? {
                return Ok(Err(refusal));
            }
        }
        Ok(self.shared.transactions.touch(self.id, self.transaction, &reads, &writes))
    }

    /// Has the views tell of the transaction and of the statement that changes rows.
    async fn show(&mut self, table: &str) {
        let number = i64::try_from(self.transaction).unwrap_or_default();
        let process = i32::try_from(self.upstream.process()).unwrap_or_default();
        let (database, query) = (&self.shared.behind.database, self.shared.query());
        let sql = "WITH t AS (INSERT INTO standin.transactions
                VALUES ($1, $2, $3, $4, clock_timestamp() AT TIME ZONE 'UTC', $5))
            INSERT INTO standin.queries VALUES ($1, $6, $3, $4, $2, clock_timestamp() AT TIME ZONE 'UTC', $7)";
        let shown = self
            .shared
            .admin
            .execute(sql, &[&self.user, database, &number, &process, &table, &query, &self.sent])
            .await;
        self.is_shown = true;
        if let Err(error) = shown {
            tracing::debug!("a transaction is not told to the views: {error}");
        }
    }

    /// Has the views forget the transaction, which is at its end.
    pub(super) async fn hide(&mut self) {
        if !std::mem::take(&mut self.is_shown) {
            return;
        }
        let number = i64::try_from(self.transaction).unwrap_or_default();
        let sql = "DELETE FROM standin.transactions WHERE transaction_id = $1";
        if let Err(error) = self.shared.admin.execute(sql, &[&number]).await {
            tracing::debug!("a transaction is still told by the views: {error}");
        }
    }

    /// Waits for a lock as long as the statement may run.
    pub(super) async fn acquire(&mut self, table: &str, strength: Strength) -> Answer<()> {
        let shared = self.shared.clone();
        let patience = self.statement_timeout.unwrap_or(Duration::from_secs(3_600 * 24));
        tokio::select! {
            taken = shared.locks.acquire(self.id, table, strength) => Ok(taken),
            () = self.cancel.notified() => Ok(Err(self.cancelled())),
            () = tokio::time::sleep(patience) => Ok(Err(self.cancelled())),
        }
    }

    async fn ddl(&mut self, ddl: Ddl) -> Answer<()> {
        let own = self.upstream.status == b'I';
        if ddl.outside && !own {
            return Ok(Err(Refusal::new("25001", "ALTER TABLE APPEND cannot run inside a transaction block")));
        }
        if own {
            self.begin().await?;
        }
        let mut tag = None;
        let mut done = self.claim_ddl(&ddl).await?;
        for (nth, sql) in ddl.sql.iter().enumerate() {
            if done.is_err() {
                break;
            }
            self.upstream.send(sql).await?;
            let (pass, kept) = if nth == 0 { (Pass::All, Some(&mut tag)) } else { (Pass::Nothing, None) };
            done = self.relay(pass, false, kept).await?;
        }
        if done.is_ok() && ddl.is_temporary {
            self.temporary.extend(ddl.creates.iter().map(|name| name.name.clone()));
        }
        if own {
            let ended = self.end(done.is_ok()).await?;
            done = done.and(ended);
        }
        if let (Ok(()), Some(tag)) = (&done, tag) {
            let tag = if ddl.outside { Frame::complete("ALTER TABLE APPEND") } else { tag };
            self.writer.put(&tag).await?;
        }
        Ok(done)
    }

    async fn claim_ddl(&mut self, ddl: &Ddl) -> Answer<()> {
        let change = Change { reads: ddl.reads.clone(), ..Change::default() };
        if let Err(refusal) = self.claim(&change).await? {
            return Ok(Err(refusal));
        }
        for name in ddl.drops.iter().chain(&ddl.alters) {
            let Some(table) = self.identify(name).await else {
                if ddl.drops.contains(name) {
                    self.temporary.remove(&name.name);
                }
                continue;
            };
            if let Err(refusal) = self.acquire(&table, Strength::All).await? {
                return Ok(Err(refusal));
            }
            if let Err(refusal) =
                self.shared.transactions.touch(self.id, self.transaction, &[], std::slice::from_ref(&table))
            {
                return Ok(Err(refusal));
            }
            self.shared.transactions.change(self.id, &table);
        }
        if !ddl.is_temporary {
            for name in &ddl.creates {
                // A table that exists is not created, and is no news to others.
                if let Some(table) = self.identify(name).await
                    && !self.exists(&table).await
                {
                    self.shared.transactions.change(self.id, &table);
                }
            }
        }
        Ok(Ok(()))
    }

    async fn exists(&self, table: &str) -> bool {
        let (schema, name) = table.split_once('.').unwrap_or(("public", table));
        let sql = "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
        self.shared.admin.query(sql, &[&schema, &name]).await.is_ok_and(|rows| !rows.is_empty())
    }

    async fn lock(&mut self, names: Vec<Name>) -> Answer<()> {
        if self.upstream.status == b'I' {
            return self.complete("LOCK TABLE").await;
        }
        for name in names {
            if let Some(table) = self.identify(&name).await {
                if let Err(refusal) = self.acquire(&table, Strength::All).await? {
                    return Ok(Err(refusal));
                }
                if !self.exists(&table).await {
                    return Ok(Err(Refusal::new("42P01", format!("relation \"{}\" does not exist", name.name))));
                }
            }
        }
        self.complete("LOCK TABLE").await
    }

    /// TRUNCATE commits what went before it, and itself.
    async fn truncate(&mut self, name: Name) -> Answer<()> {
        if self.upstream.status == b'T' {
            if self.shared.config.unknowns.refuse_truncate_in_block {
                return Ok(Err(Refusal::not_modelled(
                    "TRUNCATE in a transaction, which it commits: this is switched off",
                )));
            }
            if let Err(refusal) = self.end(true).await? {
                return Ok(Err(refusal));
            }
        }
        let sql = vec![format!("TRUNCATE {}", name.sql())];
        self.ddl(Ddl { sql, alters: vec![name], ..Ddl::default() }).await
    }

    async fn set(&mut self, name: String, value: Option<String>) -> Answer<()> {
        let text = value.clone().unwrap_or_default();
        let sql = match name.as_str() {
            "statement_timeout" => {
                let milliseconds = text.parse::<u64>().unwrap_or_default();
                self.statement_timeout = (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
                Some(format!("SET statement_timeout TO {milliseconds}"))
            }
            "search_path" => {
                let path: Vec<String> = match &value {
                    None => vec!["public".to_owned()],
                    Some(path) => {
                        let names = path.split(',').map(|name| name.trim().trim_matches(['\'', '"']).to_owned());
                        names.filter(|name| name != "$user" && !name.is_empty()).collect()
                    }
                };
                let list = path.iter().map(|name| ident(name)).collect::<Vec<_>>().join(", ");
                self.search_path = path;
                Some(format!("SET search_path TO {}", if list.is_empty() { "''" } else { &list }))
            }
            "application_name" => Some(format!("SET application_name TO {}", literal(&text))),
            "timezone" | "datestyle" | "extra_float_digits" | "client_encoding" => Some(
                value
                    .as_ref()
                    .map_or(format!("SET {name} TO DEFAULT"), |value| format!("SET {name} TO {}", literal(value))),
            ),
            _ => None,
        };
        self.settings.insert(name, text);
        if let Some(sql) = sql
            && let Err(refusal) = self.pass(&sql, Pass::Nothing, false).await?
        {
            return Ok(Err(refusal));
        }
        self.complete("SET").await
    }

    /// Sends a statement as it is.
    async fn pass(&mut self, sql: &str, pass: Pass, is_merge: bool) -> Answer<()> {
        self.upstream.send(sql).await?;
        self.relay(pass, is_merge, None).await
    }

    /// Passes the answer on. The tag is kept back where the transaction is still to be committed.
    async fn relay(&mut self, pass: Pass, is_merge: bool, mut tag: Option<&mut Option<Frame>>) -> Answer<()> {
        let mut refusal = None;
        while let Some(frame) = self.upstream.answer().await? {
            match frame.tag {
                b'E' => refusal = Some(self.translated(&frame, is_merge)),
                b'T' if pass == Pass::All => self.writer.put(&described(&frame)).await?,
                b'C' if pass == Pass::All => match &mut tag {
                    Some(tag) => **tag = Some(tagged(&frame)),
                    None => self.writer.put(&tagged(&frame)).await?,
                },
                b'D' | b'N' if pass == Pass::All => self.writer.put(&frame).await?,
                _ => {}
            }
        }
        Ok(refusal.map_or(Ok(()), Err))
    }
}

/// The error for whatever is sent in a transaction that failed.
pub(super) fn aborted() -> Refusal {
    Refusal::new("25P02", "current transaction is aborted, commands ignored until end of transaction block")
}
