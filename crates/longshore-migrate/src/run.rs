//! Runs one script, and writes its row.
//!
//! Inside a transaction, script and row are one. Outside, the row is written first, marked as failed, and set right
//! after the last statement: whoever dies in between leaves a history that tells the truth.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::database::{Engine, SqlError};
use crate::dialect::{self, Transactional};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::history::{Row, RowKind, cut_description, cut_script};
use crate::migrator::Migrator;
use crate::name::Kind;
use crate::script::{Script, without_value};
use crate::split;

/// Tries of a migration whose transaction loses against another one.
const TRIES: u32 = 5;
/// Pause before the second of them; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);
/// Lines of a statement that an error shows.
const SHOWN_LINES: usize = 12;

/// A statement, ready to run.
#[derive(Debug)]
pub(crate) struct Ready {
    sql: String,
    data: Option<String>,
    /// Lines of the file: that of the first word, and that on which the text begins.
    line: usize,
    first_line: usize,
    transactional: Transactional,
    /// Whether it has words that only Redshift knows.
    has_redshift_words: bool,
}

/// What a script is for, as errors call it.
fn called(script: &Script) -> &'static str {
    if matches!(script.kind, Kind::Callback(_)) { "the callback" } else { "migration" }
}

/// How a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// In one transaction with its row.
    Inside,
    /// Statement by statement.
    Outside,
}

/// What came of a migration.
pub(crate) enum Ran {
    /// It is applied.
    Applied(Box<Row>),
    /// Somebody else was faster: look again.
    Raced,
}

impl Migrator<'_> {
    /// Reads a script, replaces its placeholders and cuts it into statements.
    pub(crate) fn ready(&self, script: &Script) -> Result<Vec<Ready>, Error> {
        let mut text = script.read(self.settings)?;
        if script.replaces_placeholders(self.settings) {
            text = self.placeholders(script).replace(&text).map_err(|unknown| without_value(&script.path, &unknown))?;
        }
        let statements = split::split(&text, self.engine).map_err(|error| {
            Error::new(ErrorKind::Scripts, format!("`{}`, {error}", script.path.display()))
                .cure("close it, and run the same command again")
        })?;
        let server = self.database.server();
        let mut ready = Vec::with_capacity(statements.len());
        for statement in statements {
            let mut sql = text[statement.range.clone()].to_owned();
            let mut has_redshift_words = false;
            if self.engine != Engine::Redshift {
                let plain = dialect::without_redshift_words(&sql);
                has_redshift_words = !plain.removed.is_empty();
                if has_redshift_words && self.settings.strip_redshift {
                    tracing::debug!(
                        "`{}`, line {}: left out {}",
                        script.path.display(),
                        statement.line,
                        plain.removed.join(", ")
                    );
                    match plain.text {
                        Some(text) => sql = text,
                        None => continue,
                    }
                    has_redshift_words = false;
                }
            }
            ready.push(Ready {
                transactional: dialect::transactional(&sql, server),
                data: statement.data.map(|data| text[data].to_owned()),
                line: statement.line,
                first_line: statement.first_line,
                has_redshift_words,
                sql,
            });
        }
        Ok(ready)
    }

    /// Whether a script runs in a transaction.
    pub(crate) fn how(&self, script: &Script, statements: &[Ready]) -> Result<How, Error> {
        let wanted = script.own.execute_in_transaction.unwrap_or(self.settings.execute_in_transaction);
        let first = |kind: Transactional| statements.iter().find(|statement| statement.transactional == kind);
        if !wanted {
            return Ok(How::Outside);
        }
        match (first(Transactional::No), first(Transactional::Yes)) {
            (Some(outside), Some(inside)) if !self.settings.mixed => Err(Error::new(
                ErrorKind::Scripts,
                format!(
                    "`{}` mixes statements: the one on line {} cannot run in a transaction, the one on line {} should",
                    script.path.display(),
                    outside.line,
                    inside.line
                ),
            )
            .cure("put them into two files; or set `mixed = true`, and nothing is taken back when one fails")),
            (Some(_), _) => Ok(How::Outside),
            (None, _) if first(Transactional::Itself).is_some() => Ok(How::Outside),
            _ => Ok(How::Inside),
        }
    }

    /// The row of a script.
    fn row(&self, script: &Script, rank: i64, started: Instant, success: bool) -> Row {
        let kind = if matches!(script.kind, Kind::Baseline(_)) { RowKind::SqlBaseline } else { RowKind::Sql };
        // Flyway 4 knows raw checksums alone.
        let checksum = if self.history.is_old() { script.raw_checksum } else { script.checksum };
        Row {
            rank,
            version: script.version().cloned(),
            description: cut_description(&script.description),
            kind,
            script: cut_script(&script.script),
            checksum: Some(checksum),
            installed_by: self.installed_by(),
            installed_on: String::new(),
            execution_ms: milliseconds(started),
            success,
        }
    }

    pub(crate) fn installed_by(&self) -> String {
        self.settings.installed_by.clone().unwrap_or_else(|| self.user.clone())
    }

    /// Runs a migration and writes its row. `rows` is the history as it was read.
    pub(crate) async fn run_migration(&mut self, script: &Script, rows: &[Row], remark: &str) -> Result<Ran, Error> {
        let statements = self.ready(script)?;
        let how = self.how(script, &statements)?;
        let title = script.title();
        let what = if script.version().is_some() { "to version" } else { "with repeatable migration" };
        let outside = if how == How::Outside { " [non-transactional]" } else { "" };
        self.say(&format!("Migrating schema {} {what} \"{title}\"{remark}{outside}", self.schema_shown()));
        self.remark(&format!("{}{outside}", script.script));
        for statement in &statements {
            if self.engine == Engine::Redshift && statement.transactional == Transactional::Itself {
                self.observer.warning(&format!(
                    "`{}`, line {}: the statement ends the transaction that it runs in, so that this migration is not all or nothing",
                    script.path.display(),
                    statement.line
                ));
            }
        }
        let mut tries = 1;
        loop {
            self.reset_session().await.map_err(|error| Error::database("setting the search path", error))?;
            let result = match how {
                How::Inside => self.run_inside(script, &statements, rows).await,
                How::Outside => self.run_outside(script, &statements, rows).await,
            };
            match result {
                Ok(ran) => return Ok(ran),
                Err(Failed { error, is_conflict: true, .. }) if tries < TRIES => {
                    tracing::debug!("{error}; trying again");
                    tokio::time::sleep(PAUSE * 2u32.pow(tries - 1)).await;
                    tries += 1;
                }
                Err(failed) => {
                    if let Err(error) = self.fire(Event::AFTER_EACH_MIGRATE_ERROR).await {
                        self.observer.warning(&error.to_string());
                    }
                    return Err(failed.error);
                }
            }
        }
    }

    async fn run_inside(&mut self, script: &Script, statements: &[Ready], rows: &[Row]) -> Result<Ran, Failed> {
        let started = Instant::now();
        self.write("BEGIN").await.map_err(|error| Failed::of("beginning a transaction", error))?;
        let ran = async {
            if !self.is_ours(rows).await? {
                return Ok(None);
            }
            let row = self.run_in_transaction(script, statements, rows, started).await?;
            Ok(Some(row))
        }
        .await;
        match ran {
            Ok(Some(row)) => {
                self.observer.passed("before COMMIT");
                match self.write("COMMIT").await {
                    Ok(()) => {
                        self.observer.passed("after COMMIT");
                        Ok(Ran::Applied(Box::new(row)))
                    }
                    Err(error) => Err(self.not_committed(script, error).await),
                }
            }
            Ok(None) => {
                self.roll_back().await;
                Ok(Ran::Raced)
            }
            Err(failed) => {
                self.roll_back().await;
                Err(failed)
            }
        }
    }

    /// Runs a script and writes its row in a transaction that is open.
    pub(crate) async fn run_in_transaction(
        &mut self,
        script: &Script,
        statements: &[Ready],
        rows: &[Row],
        started: Instant,
    ) -> Result<Row, Failed> {
        self.fire_inside(Event::BEFORE_EACH_MIGRATE, How::Inside).await?;
        if !self.settings.skip_executing_migrations {
            self.run_statements(script, statements, How::Inside).await?;
        }
        self.fire_inside(Event::AFTER_EACH_MIGRATE, How::Inside).await?;
        self.observer.passed("before row");
        let row = self.row(script, next_rank(rows), started, true);
        self.find_history().await.map_err(|error| Failed::of("writing the history", error))?;
        let insert = self.history.insert(&row);
        self.write(&insert).await.map_err(|error| Failed::of("writing the history", error))?;
        Ok(row)
    }

    /// On Redshift, locks the history table by a DELETE of nothing and looks whether it still is as it was read.
    /// Elsewhere the session has a lock.
    pub(crate) async fn is_ours(&mut self, rows: &[Row]) -> Result<bool, Failed> {
        if self.engine != Engine::Redshift {
            return Ok(true);
        }
        let lock = format!("DELETE FROM {} WHERE FALSE", self.history.quoted());
        self.write(&lock).await.map_err(|error| Failed::of("locking the history table", error))?;
        if self.dry.is_some() {
            return Ok(true);
        }
        let now = self.history.rows(self.database.as_mut()).await;
        let now = now.map_err(|error| Failed::of("reading the history", error))?;
        Ok(now.iter().map(|row| (row.rank, row.success)).eq(rows.iter().map(|row| (row.rank, row.success))))
    }

    async fn run_outside(&mut self, script: &Script, statements: &[Ready], rows: &[Row]) -> Result<Ran, Failed> {
        let started = Instant::now();
        let row = self.row(script, next_rank(rows), started, false);
        self.write("BEGIN").await.map_err(|error| Failed::of("beginning a transaction", error))?;
        let wrote = async {
            if !self.is_ours(rows).await? {
                return Ok(false);
            }
            let insert = self.history.insert(&row);
            self.write(&insert).await.map_err(|error| Failed::of("writing the history", error))?;
            self.write("COMMIT").await.map_err(|error| Failed::of("writing the history", error))?;
            Ok(true)
        }
        .await;
        match wrote {
            Ok(true) => self.observer.passed("after first row"),
            Ok(false) => {
                self.roll_back().await;
                return Ok(Ran::Raced);
            }
            Err(failed) => {
                self.roll_back().await;
                return Err(failed);
            }
        }
        let ran = async {
            self.fire_inside(Event::BEFORE_EACH_MIGRATE, How::Outside).await?;
            if !self.settings.skip_executing_migrations {
                self.run_statements(script, statements, How::Outside).await?;
            }
            self.fire_inside(Event::AFTER_EACH_MIGRATE, How::Outside).await
        }
        .await;
        if let Err(mut failed) = ran {
            // A transaction that the script itself began may be open.
            if statements.iter().any(|statement| statement.transactional == Transactional::Itself) {
                self.roll_back().await;
            }
            failed.is_conflict = false;
            return Err(failed);
        }
        self.observer.passed("before last row");
        let execution_ms = milliseconds(started);
        let succeed = self.history.succeed(row.rank, execution_ms);
        let writing = |error| Failed { is_conflict: false, ..Failed::of("writing the history", error) };
        if leaves_transaction_open(statements, self.engine) {
            // What the script began and left open is made to last before its row says so.
            self.write("COMMIT").await.map_err(writing)?;
        }
        self.find_history().await.map_err(writing)?;
        self.write(&succeed).await.map_err(writing)?;
        Ok(Ran::Applied(Box::new(Row { execution_ms, success: true, ..row })))
    }

    async fn run_statements(&mut self, script: &Script, statements: &[Ready], how: How) -> Result<(), Failed> {
        for (at, statement) in statements.iter().enumerate() {
            self.fire_inside(Event::BEFORE_EACH_MIGRATE_STATEMENT, how).await?;
            self.observer.passed("statement");
            if let Err(error) = self.run_statement(statement).await {
                if how == How::Outside && !error.is_lost {
                    let fired = self.fire_inside(Event::AFTER_EACH_MIGRATE_STATEMENT_ERROR, how).await;
                    if let Err(failed) = fired {
                        self.observer.warning(&failed.error.to_string());
                    }
                }
                return Err(self.failed(script, statements, at, error, how));
            }
            self.fire_inside(Event::AFTER_EACH_MIGRATE_STATEMENT, how).await?;
        }
        Ok(())
    }

    async fn run_statement(&mut self, statement: &Ready) -> Result<(), SqlError> {
        match (&statement.data, &mut self.dry) {
            (Some(data), Some(script)) => {
                let end = if data.ends_with("\r\n") { "\r\n" } else { "\n" };
                write!(script, "{};\n{data}\\.{end}", statement.sql).expect("a text has room");
                Ok(())
            }
            (Some(data), None) => self.database.copy_in(&statement.sql, data).await,
            (None, _) => self.write(&statement.sql).await,
        }
    }

    pub(crate) async fn roll_back(&mut self) {
        if self.dry.is_none()
            && let Err(error) = self.database.execute("ROLLBACK").await
        {
            // Without a session there is nothing to take back: the server does it.
            tracing::debug!("rolling back: {error}");
        }
    }

    /// Whether a COMMIT without an answer has happened cannot be known from here.
    async fn not_committed(&mut self, script: &Script, error: SqlError) -> Failed {
        let is_conflict = error.is_transient && !error.is_lost;
        if error.is_lost {
            let error = Error::new(
                ErrorKind::Migration,
                format!(
                    "the connection broke while `{}` was committed: it is applied whole with its row, or not at all",
                    script.path.display()
                ),
            )
            .cure("run the same command again: the history tells")
            .because(error);
            return Failed { error, is_conflict: false };
        }
        self.roll_back().await;
        let error =
            Error::new(ErrorKind::Migration, format!("`{}` could not be committed: {error}", script.path.display()))
                .cure("nothing of it is applied; run the same command again")
                .because(error);
        Failed { error, is_conflict }
    }

    /// What a failed statement is told by: file, line, statement, the server's words, and what is left behind.
    fn failed(&self, script: &Script, statements: &[Ready], at: usize, error: SqlError, how: How) -> Failed {
        let statement = &statements[at];
        let line = error.line.map_or(statement.line, |line| statement.first_line + line - 1);
        let mut message = format!(
            "{} `{}` failed at line {line}, in statement {} of {}: {error}\n",
            called(script),
            script.path.display(),
            at + 1,
            statements.len()
        );
        self.show(&mut message, script, statement, line);
        let is_callback = matches!(script.kind, Kind::Callback(_));
        let begins = statements[..at].iter().any(|statement| statement.transactional == Transactional::Itself);
        let left = match how {
            _ if is_callback => "what it did itself is taken back, as far as it ran in a transaction".to_owned(),
            How::Inside => "nothing of it is applied".to_owned(),
            How::Outside if at == 0 => {
                "it ran outside of a transaction; nothing before this statement was to be applied".to_owned()
            }
            How::Outside if begins => format!(
                "it ran outside of a transaction of ours: of the statements before this one ({at}) those stay applied that the script committed itself"
            ),
            How::Outside => {
                format!("it ran outside of a transaction: the statements before this one ({at}) stay applied")
            }
        };
        write!(message, "{left}").expect("a text has room");
        let code = error.code.as_deref().unwrap_or_default();
        let cure = if statement.has_redshift_words {
            let engine = self.engine.name();
            format!(
                "{engine} does not know words that only Amazon Redshift knows (DISTKEY, SORTKEY, ENCODE …): set `dialect = \"redshift\"` in `[migrate]` to have them left out"
            )
        } else if statement.sql.trim_start().starts_with('\\') {
            "lines that begin with a backslash are commands of psql, not SQL: take them out".to_owned()
        } else if how == How::Inside && matches!(code, "25001" | "2D000") {
            format!(
                "let it run outside of a transaction: `executeInTransaction=false` in a file `{}.conf` beside it",
                script.script
            )
        } else if how == How::Inside && error.is_transient {
            "run the same command again".to_owned()
        } else if let Some(hint) = &error.hint {
            hint.clone()
        } else {
            match how {
                How::Inside => "correct the script and run the same command again".to_owned(),
                How::Outside => "complete or take back by hand what is half done, run `longshore migrate repair`, then correct the script and run the same command again".to_owned(),
            }
        };
        let is_conflict = error.is_transient && !error.is_lost && how == How::Inside;
        Failed { error: Error::new(ErrorKind::Migration, message).cure(cure).because(error), is_conflict }
    }

    /// Shows the lines of a statement as the file has them: values of placeholders may be secrets.
    fn show(&self, message: &mut String, script: &Script, statement: &Ready, line: usize) {
        let Ok(text) = script.read(self.settings) else { return };
        let first = statement.first_line;
        let count = statement.sql.lines().count().max(line.saturating_sub(first) + 1);
        // The fault is shown with what stands before it.
        let start = first.max((line + 1).saturating_sub(SHOWN_LINES));
        let end = (first + count).min(start + SHOWN_LINES);
        for (number, text) in
            (1..).zip(text.lines()).skip_while(|(number, _)| *number < start).take_while(|(number, _)| *number < end)
        {
            let mark = if number == line { '>' } else { ' ' };
            writeln!(message, "  {mark} {number:>4} | {text}").expect("a text has room");
        }
        if first + count > end {
            writeln!(message, "         | …").expect("a text has room");
        }
    }

    /// Makes sure that the history can be written, whatever a script made of role and schema.
    async fn find_history(&mut self) -> Result<(), SqlError> {
        match self.engine {
            Engine::DuckDb => self.reset_session().await,
            Engine::Postgres | Engine::Redshift => self.reset_role().await,
        }
    }

    /// Runs the scripts of an event as part of what runs now.
    pub(crate) async fn fire_inside(&mut self, event: Event, how: How) -> Result<(), Failed> {
        for script in self.callbacks(event) {
            let statements = self.ready(&script).map_err(|error| Failed { error, is_conflict: false })?;
            for (at, statement) in statements.iter().enumerate() {
                if let Err(error) = self.run_statement(statement).await {
                    return Err(self.failed(&script, &statements, at, error, how));
                }
            }
        }
        Ok(())
    }

    /// Runs a script of an event in a transaction of its own, if its statements allow one.
    pub(crate) async fn run_callback(&mut self, script: &Script, event: Event) -> Result<(), Error> {
        let statements = self.ready(script)?;
        if statements.is_empty() {
            return Ok(());
        }
        let how = self.how(script, &statements)?;
        self.remark(&format!("{} ({})", script.script, event.name()));
        if self.schema_is_there || self.history.exists {
            self.reset_session().await.map_err(|error| Error::database("setting the search path", error))?;
        }
        let begun = how == How::Inside;
        if begun {
            self.write("BEGIN").await.map_err(|error| Error::database("beginning a transaction", error))?;
        }
        for (at, statement) in statements.iter().enumerate() {
            if let Err(error) = self.run_statement(statement).await {
                let failed = self.failed(script, &statements, at, error, how);
                self.roll_back().await;
                return Err(failed.error);
            }
        }
        if begun {
            self.write("COMMIT")
                .await
                .map_err(|error| Error::database(&format!("ending `{}`", script.path.display()), error))?;
        }
        Ok(())
    }
}

/// Why a migration is not applied.
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// Whether it lost against another transaction, and nothing of it is left.
    pub(crate) is_conflict: bool,
}

impl Failed {
    pub(crate) fn of(doing: &str, error: SqlError) -> Self {
        let is_conflict = error.is_transient && !error.is_lost;
        Self { error: Error::database(doing, error).of_migration(), is_conflict }
    }
}

/// The rank of the next row.
pub(crate) fn next_rank(rows: &[Row]) -> i64 {
    rows.last().map_or(1, |row| row.rank + 1)
}

pub(crate) fn milliseconds(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX).min(i64::from(i32::MAX))
}

/// Whether a script that begins and ends transactions itself leaves one open.
fn leaves_transaction_open(statements: &[Ready], engine: Engine) -> bool {
    let last = statements.iter().rev().find(|statement| statement.transactional == Transactional::Itself);
    let words: Vec<String> = last.map(|statement| split::words(&statement.sql, engine).collect()).unwrap_or_default();
    let is_chained = words.iter().enumerate().any(|(at, word)| word == "CHAIN" && (at == 0 || words[at - 1] != "NO"));
    is_chained || matches!(words.first().map(String::as_str), Some("BEGIN" | "START"))
}
