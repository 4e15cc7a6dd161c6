//! Statements by the simple protocol: gate, locks, isolation, and then the server behind.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::errors::{described, origins, tagged};
use super::{Answer, Ended, Session};
use crate::faults::Fault;
use crate::frame::Frame;
use crate::gate::{self, Change, Ddl, Name, Plan, Verb};
use crate::isolation::Isolation;
use crate::locks::Strength;
use crate::refusal::Refusal;
use crate::token::{self, Words, ident, literal};

/// The longest statement, in bytes.
const LONGEST: usize = 16 << 20;

/// Whether a statement is short enough.
pub(super) fn fits(sql: &str) -> Result<(), Refusal> {
    if sql.len() <= LONGEST {
        return Ok(());
    }
    let text = format!("Statement is too large. Statement Size: {} bytes. Maximum Allowed: {LONGEST} bytes", sql.len());
    Err(Refusal::new("54001", text))
}

/// Where tables are looked for if nothing else is said.
pub(super) fn default_path() -> Vec<String> {
    vec!["$user".to_owned(), "public".to_owned()]
}

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
        let keeps_backslash_n = self.shared.config.unknowns.backslash_n_reaches_copy;
        match fits(sql).and_then(|()| token::statements_with(sql, keeps_backslash_n)) {
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
                if let Err(refusal) = self.roll_back().await? {
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
            // Outside of a transaction there is nothing to end.
            Plan::Commit if self.upstream.status == b'I' => self.complete("COMMIT").await,
            Plan::Rollback if self.upstream.status == b'I' => self.complete("ROLLBACK").await,
            Plan::Commit if self.upstream.status == b'T' => match self.end(true).await? {
                Ok(()) => self.complete("COMMIT").await,
                Err(refusal) => Ok(Err(refusal)),
            },
            Plan::Commit | Plan::Rollback => match self.roll_back().await? {
                Ok(()) => self.complete("ROLLBACK").await,
                Err(refusal) => Ok(Err(refusal)),
            },
            Plan::Lock(names) => self.lock(names).await,
            Plan::Truncate(name) => self.truncate(name).await,
            Plan::Set(name, value) => self.set(name, value).await,
            Plan::Show(name) => {
                let known = gate::SETTINGS.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
                let value = self.settings.get(&name).map_or(known, String::as_str);
                self.pass(&format!("SELECT {} AS {}", literal(value), ident(&name)), Pass::All).await
            }
            Plan::Manage(sql) => {
                let tag = if sql.contains("standin.create_user") { Some("CREATE USER") } else { None };
                match tag {
                    None => self.pass(&sql, Pass::All).await,
                    Some(tag) => match self.pass(&sql, Pass::Nothing).await? {
                        Ok(()) => self.complete(tag).await,
                        Err(refusal) => Ok(Err(refusal)),
                    },
                }
            }
            Plan::Nothing { tag, in_block, table } => {
                if !in_block && self.upstream.status != b'I' {
                    let text = format!("{tag} cannot run inside a transaction block");
                    return Ok(Err(Refusal::new("25001", text)));
                }
                if let Some(table) = table {
                    let sql = format!("SELECT standin.must_exist({})", literal(&table.sql()));
                    if let Err(refusal) = self.upstream.ask(&sql).await? {
                        return Ok(Err(refusal));
                    }
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
        // A cancel request that comes late may hit this one.
        for _ in 0..3 {
            if self.upstream.ask("BEGIN ISOLATION LEVEL REPEATABLE READ").await?.is_ok() {
                break;
            }
        }
        self.transaction = self.shared.number();
        self.temporary_before = self.temporary.clone();
        self.set_before = (self.settings.clone(), self.search_path.clone(), self.statement_timeout);
        self.last_copy_before = (self.last_copy_id, self.last_copy_count);
        Ok(())
    }

    /// Ends the transaction, and gives back its locks.
    pub(super) async fn end(&mut self, commit: bool) -> Answer<()> {
        let mut answer = self.upstream.ask(if commit { "COMMIT" } else { "ROLLBACK" }).await?;
        while self.upstream.status != b'I' {
            // A cancel request that comes late hit it.
            let again = self.upstream.ask("ROLLBACK").await?;
            answer = if commit { answer } else { again };
        }
        let is_committed = commit && answer.is_ok();
        if !is_committed {
            self.temporary = self.temporary_before.clone();
            (self.settings, self.search_path, self.statement_timeout) = self.set_before.clone();
            self.last_copy_told = None;
        }
        self.shared.transactions.end(self.id, is_committed);
        self.shared.locks.release(self.id);
        self.hide().await;
        Ok(answer.map(|_| ()))
    }

    /// Ends the client's transaction. A COPY in it was none.
    async fn roll_back(&mut self) -> Answer<()> {
        let done = self.end(false).await?;
        (self.last_copy_id, self.last_copy_count) = self.last_copy_before;
        Ok(done)
    }

    /// Runs what is given within the transaction, or in one of its own.
    async fn rows(&mut self, change: Change) -> Answer<()> {
        let own = self.upstream.status == b'I';
        if own {
            self.begin().await?;
        }
        let mut tag = None;
        let mut done = self.change(&change, own.then_some(&mut tag)).await?;
        if own {
            let ended = self.end(done.is_ok()).await?;
            done = done.and(ended);
            if let (Ok(()), Some(tag)) = (&done, tag) {
                self.writer.put(&tag).await?;
            }
        }
        Ok(done)
    }

    /// Locks, checks, and the statement itself.
    async fn change(&mut self, change: &Change, tag: Option<&mut Option<Frame>>) -> Answer<()> {
        let mut done = self.claim(change).await?;
        if done.is_ok() && change.asks_of_copy {
            self.tell_copy().await?;
        }
        if done.is_ok() {
            done = self.check_columns(change).await?;
        }
        for sql in &change.before {
            if done.is_ok() {
                self.upstream.send(sql).await?;
                done = self.relay(Pass::Nothing, Some(change), None).await?;
            }
        }
        if done.is_err() {
            return Ok(done);
        }
        self.upstream.send(&change.sql).await?;
        self.relay(Pass::All, Some(change), tag).await
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
        let until = self.deadline();
        let taken = self.unless_stopped(until, shared.locks.acquire(self.id, table, strength)).await;
        Ok(taken.and_then(|taken| taken))
    }

    /// When a statement that begins now has to end.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.statement_timeout.map(|limit| Instant::now() + limit)
    }

    /// Does something, unless the client cancels or the time is up.
    pub(super) async fn unless_stopped<T>(
        &self,
        until: Option<Instant>,
        work: impl Future<Output = T>,
    ) -> Result<T, Refusal> {
        let up = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            done = work => Ok(done),
            () = self.cancel.asked() => Err(self.cancelled()),
            () = up => Err(self.cancelled()),
        }
    }

    async fn ddl(&mut self, ddl: Ddl) -> Answer<()> {
        let own = self.upstream.status == b'I';
        if let Some(what) = ddl.outside
            && !own
        {
            return Ok(Err(Refusal::new("25001", format!("{what} cannot run inside a transaction block"))));
        }
        if own {
            self.begin().await?;
        }
        let mut tag = None;
        let mut done = self.claim_ddl(&ddl).await?;
        let mut carried = None;
        if let (Ok(()), Some((name, query))) = (&done, &ddl.carries) {
            match self.origins(name, query).await? {
                Ok(sql) => carried = Some(sql),
                Err(refusal) => done = Err(refusal),
            }
        }
        for (nth, sql) in ddl.sql.iter().enumerate() {
            let is_told = nth == 0 && ddl.tag.is_none();
            if done.is_ok() {
                self.upstream.send(sql).await?;
                let (pass, kept) = if is_told { (Pass::All, Some(&mut tag)) } else { (Pass::Nothing, None) };
                done = self.relay(pass, None, kept).await?;
            }
            if let (Ok(()), Some(sql)) = (&done, carried.take()) {
                self.upstream.send(&sql).await?;
                done = self.relay(Pass::Nothing, None, None).await?;
            }
        }
        if done.is_ok() {
            self.keep_temporary(&ddl);
        }
        if own {
            let ended = self.end(done.is_ok()).await?;
            done = done.and(ended);
        }
        let tag = ddl.tag.map(Frame::complete).or(tag);
        if let (Ok(()), Some(tag)) = (&done, tag) {
            self.writer.put(&tag).await?;
        }
        Ok(done)
    }

    /// The statement that gives a table from a query the types of the columns that it comes from.
    async fn origins(&mut self, table: &Name, query: &str) -> Answer<String> {
        self.upstream.send(&format!("SELECT * FROM ({query}) AS x LIMIT 0")).await?;
        let (mut found, mut refusal) = (Vec::new(), None);
        while let Some(frame) = self.upstream.answer().await? {
            match frame.tag {
                b'T' => found = origins(&frame),
                b'E' => refusal = Some(self.translated(&frame, None)),
                _ => {}
            }
        }
        if let Some(refusal) = refusal {
            return Ok(Err(refusal));
        }
        let found = serde_json::json!(found).to_string();
        Ok(Ok(format!("SELECT standin.carry({}, {})", literal(&table.sql()), literal(&found))))
    }

    /// Notes which temporary tables there are now.
    fn keep_temporary(&mut self, ddl: &Ddl) {
        let is_renamed = ddl.renames && ddl.alters.iter().all(|name| self.is_temporary(name));
        if is_renamed {
            for name in &ddl.alters {
                self.temporary.remove(&name.name);
            }
        }
        if ddl.is_temporary || is_renamed {
            self.temporary.extend(ddl.creates.iter().map(|name| name.name.clone()));
        }
    }

    fn is_temporary(&self, name: &Name) -> bool {
        name.schema.is_none() && self.temporary.contains(&name.name)
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
        let is_own = ddl.is_temporary || (ddl.renames && ddl.alters.iter().all(|name| self.is_temporary(name)));
        if !is_own {
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
        let is_block = self.upstream.status != b'I';
        for name in names {
            let Some(table) = self.identify(&name).await else { continue };
            let is_known = self.exists(&table).await;
            if is_known && !self.may_lock(&table).await {
                return Ok(Err(Refusal::new("42501", format!("permission denied for relation {}", name.name))));
            }
            if is_block && let Err(refusal) = self.acquire(&table, Strength::All).await? {
                return Ok(Err(refusal));
            }
            // Not known to others: of this transaction, or not there.
            if !self.exists(&table).await {
                let sql = format!("SELECT standin.must_exist({})", literal(&name.sql()));
                if let Err(refusal) = self.upstream.ask(&sql).await? {
                    return Ok(Err(refusal));
                }
            }
        }
        self.complete("LOCK TABLE").await
    }

    /// Whether this user may change rows of the table, without which it cannot be locked.
    async fn may_lock(&self, table: &str) -> bool {
        let (schema, name) = table.split_once('.').unwrap_or(("public", table));
        let sql = "SELECT has_table_privilege($3, c.oid, 'UPDATE, DELETE, TRUNCATE')
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
        let rows = self.shared.admin.query(sql, &[&schema, &name, &self.user]).await;
        rows.is_ok_and(|rows| rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)))
    }

    /// TRUNCATE commits what went before it, and itself.
    async fn truncate(&mut self, name: Name) -> Answer<()> {
        if self.upstream.status == b'T' {
            if self.shared.config.unknowns.refuse_truncate_in_block {
                return Ok(Err(Refusal::not_modelled(
                    "TRUNCATE in a transaction, which it commits: this is switched off",
                )));
            }
            // What it cannot do it does not commit for.
            let may = format!("SELECT standin.may_truncate({})", literal(&name.sql()));
            if let Err(refusal) = self.upstream.ask(&may).await? {
                return Ok(Err(refusal));
            }
            if let Err(refusal) = self.end(true).await? {
                return Ok(Err(refusal));
            }
            let done = self.truncate_alone(name).await?;
            if done.is_ok() && self.shared.config.unknowns.truncate_leaves_block_open {
                self.begin().await?;
            }
            return Ok(done);
        }
        self.truncate_alone(name).await
    }

    async fn truncate_alone(&mut self, name: Name) -> Answer<()> {
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
                    None => default_path(),
                    Some(path) => {
                        let names = path.split(',').map(|name| name.trim().trim_matches(['\'', '"']).to_owned());
                        names.filter(|name| !name.is_empty()).collect()
                    }
                };
                let list = path.iter().map(|name| ident(name)).collect::<Vec<_>>().join(", ");
                self.search_path = path;
                Some(format!("SET search_path TO {}", if list.is_empty() { "''" } else { &list }))
            }
            "application_name" => Some(format!("SET application_name TO {}", literal(&text))),
            "timezone" | "datestyle" | "extra_float_digits" => Some(
                value
                    .as_ref()
                    .map_or(format!("SET {name} TO DEFAULT"), |value| format!("SET {name} TO {}", literal(value))),
            ),
            _ => None,
        };
        match value {
            Some(value) => self.settings.insert(name, value),
            None => self.settings.remove(&name),
        };
        if let Some(sql) = sql
            && let Err(refusal) = self.pass(&sql, Pass::Nothing).await?
        {
            return Ok(Err(refusal));
        }
        self.complete("SET").await
    }

    /// Sends a statement as it is.
    async fn pass(&mut self, sql: &str, pass: Pass) -> Answer<()> {
        self.upstream.send(sql).await?;
        self.relay(pass, None, None).await
    }

    /// Passes the answer on. The tag is kept back where the transaction is still to be committed.
    async fn relay(&mut self, pass: Pass, change: Option<&Change>, mut tag: Option<&mut Option<Frame>>) -> Answer<()> {
        let mut refusal = None;
        let counts_merge = self.shared.config.unknowns.merge_tag_has_count;
        let is_merge = change.is_some_and(|change| !change.before.is_empty());
        while let Some(frame) = self.upstream.answer().await? {
            match frame.tag {
                b'E' => refusal = Some(self.translated(&frame, change)),
                b'T' if pass == Pass::All => self.writer.put(&described(&frame, self.shared.super_type)).await?,
                b'C' if pass == Pass::All => {
                    let told = tagged(&if is_merge { of_merge(&frame) } else { frame }, counts_merge);
                    match &mut tag {
                        Some(tag) => **tag = Some(told),
                        None => self.writer.put(&told).await?,
                    }
                }
                b'D' | b'N' if pass == Pass::All => self.writer.put(&frame).await?,
                _ => {}
            }
        }
        Ok(refusal.map_or(Ok(()), Err))
    }
}

/// The tag of the last statement that a MERGE stands for, as its own.
fn of_merge(frame: &Frame) -> Frame {
    let tag = frame.first_text();
    Frame::complete(&format!("MERGE {}", tag.rsplit(' ').next().unwrap_or_default()))
}

/// The error for whatever is sent in a transaction that failed.
pub(super) fn aborted() -> Refusal {
    Refusal::new("25P02", "current transaction is aborted, commands ignored until end of transaction block")
}
