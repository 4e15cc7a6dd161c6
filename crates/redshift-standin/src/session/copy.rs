//! COPY FROM S3: which objects, by which role, and their rows into the table in no order at all.

use std::fmt::Write as _;

use bytes::Bytes;
use tokio::time::Instant;

use super::sources::{Source, failed, service_text, sources};
use super::{Answer, Session};
use crate::copy::{self, Authorization, Column, LoadError, Statement, Type};
use crate::frame::Frame;
use crate::gate::{Change, Name, Verb};
use crate::objects::Objects;
use crate::refusal::Refusal;
use crate::server::Role;
use crate::token::{ident, literal};

/// Bytes of rows that are mixed before they go on.
const MIXED: usize = 64 << 20;

/// What one COPY goes by.
struct Load<'a> {
    table: &'a Name,
    statement: &'a Statement,
    columns: &'a [Column],
    objects: &'a Objects,
    query: i64,
    /// When it has to end.
    until: Option<Instant>,
}

/// What a COPY has done so far.
#[derive(Default)]
struct Progress {
    loaded: u64,
    bytes: u64,
    files: Vec<(String, u64)>,
    errors: Vec<(String, LoadError)>,
    rows: Vec<Box<str>>,
    buffered: usize,
}

impl Session {
    pub(super) async fn copy(&mut self, statement: &Statement) -> Answer<()> {
        let own = self.upstream.status == b'I';
        if own {
            self.begin().await?;
        }
        let done = self.load(statement).await?;
        if own {
            let ended = self.end(done.is_ok()).await?;
            if let (Ok(_), Err(refusal)) = (&done, ended) {
                return Ok(Err(refusal));
            }
        }
        match done {
            Ok(notices) => {
                for notice in notices {
                    self.writer.put(&Frame::info(&notice)).await?;
                }
                self.writer.put(&Frame::complete("COPY")).await?;
                Ok(Ok(()))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    async fn load(&mut self, statement: &Statement) -> Answer<Vec<String>> {
        let table = Name { schema: statement.table.schema.clone(), name: statement.table.name.clone() };
        if let Err(refusal) = crate::gate::of_users(table.schema.as_deref()) {
            return Ok(Err(refusal));
        }
        let change = Change { target: Some((table.clone(), Verb::Insert)), ..Change::default() };
        if let Err(refusal) = self.claim(&change).await? {
            return Ok(Err(refusal));
        }
        let columns = match self.columns(&table, statement).await? {
            Ok(columns) => columns,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let query = self.shared.query();
        let (objects, role) = match self.authorized(statement, query) {
            Ok(authorized) => authorized,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let until = self.deadline();
        let may_be_empty = self.shared.config.unknowns.prefix_may_be_empty;
        let found = sources(&objects, role.as_ref(), statement, query, may_be_empty);
        let sources = match self.unless_stopped(until, found).await.and_then(|found| found) {
            Ok(sources) => sources,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let load = Load { table: &table, statement, columns: &columns, objects: &objects, query, until };
        let mut progress = Progress::default();
        let mut done = self.read_all(&load, &sources, &mut progress).await?;
        if done.is_ok() {
            // All objects could be read: what fails now fails on data.
            (self.last_copy_id, self.last_copy_count) = (query, 0);
        }
        let limit = statement.options.max_error.max(1) as usize;
        if done.is_ok() && progress.errors.len() >= limit && !statement.options.ignore_all_errors {
            done = self.give_up_copy(&table).await?;
        } else if done.is_ok() {
            done = self.finish_copy(&table, statement, &columns, &mut progress).await?;
        }
        self.note(&table, statement, query, done.is_ok(), &progress).await;
        if let Err(refusal) = done {
            return Ok(Err(refusal));
        }
        if !statement.options.no_load {
            self.last_copy_count = i64::try_from(progress.loaded).unwrap_or(i64::MAX);
        }
        let mut notices = vec![format!(
            "Load into table '{}' completed, {} record(s) loaded successfully.",
            table.name, progress.loaded
        )];
        if !progress.errors.is_empty() {
            notices.push(format!(
                "Load into table '{}' completed, {} record(s) could not be loaded. Check 'stl_load_errors' system table for details.",
                table.name,
                progress.errors.len()
            ));
        }
        Ok(Ok(notices))
    }

    /// The columns that the fields of a file go to, in their order.
    async fn columns(&mut self, table: &Name, statement: &Statement) -> Answer<Vec<Column>> {
        let sql = format!(
            "SELECT a.attname, coalesce(col_description(a.attrelid, a.attnum)::json ->> 'type',
                format_type(a.atttypid, a.atttypmod)), a.attnotnull, a.attidentity, c.relkind,
                pg_has_role(c.relowner, 'USAGE'), has_table_privilege(c.oid, 'INSERT')
             FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
             WHERE a.attrelid = {}::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            literal(&table.sql())
        );
        let rows = match self.upstream.ask(&sql).await? {
            Ok(rows) => rows,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let text = |row: &[Option<String>], at: usize| row.get(at).cloned().flatten().unwrap_or_default();
        if rows.first().is_none_or(|row| text(row, 4) != "r") {
            return Ok(Err(Refusal::new("42809", format!("\"{}\" is not a table", table.name))));
        }
        if rows.first().is_some_and(|row| text(row, 6) != "t") {
            return Ok(Err(Refusal::new("42501", format!("permission denied for relation {}", table.name))));
        }
        if statement.options.stat_update.is_some() && rows.first().is_some_and(|row| text(row, 5) != "t") {
            return Ok(Err(Refusal::new("42501", format!("must be owner of relation {}", table.name))));
        }
        let mut all = Vec::new();
        for row in &rows {
            let Some(ty) = type_of(&text(row, 1)) else {
                return Ok(Err(Refusal::not_modelled(&format!("COPY into a column of type {}", text(row, 1)))));
            };
            all.push((Column { name: text(row, 0), ty, not_null: text(row, 2) == "t" }, text(row, 3)));
        }
        let explicit = statement.options.explicit_ids;
        let Some(names) = &statement.columns else {
            let has_identity = all.iter().any(|(_, identity)| identity == "a");
            if explicit && !has_identity {
                return Ok(Err(Refusal::new("42601", "EXPLICIT_IDS needs an identity column")));
            }
            let loaded = all.into_iter().filter(|(_, identity)| identity.is_empty() || (explicit && identity == "a"));
            return Ok(Ok(loaded.map(|(column, _)| column).collect()));
        };
        let mut chosen: Vec<Column> = Vec::new();
        let mut has_identity = false;
        for name in names {
            let Some((column, identity)) = all.iter().find(|(column, _)| column.name == *name) else {
                let text = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
                return Ok(Err(Refusal::new("42703", text)));
            };
            if chosen.iter().any(|other| other.name == *name) {
                return Ok(Err(Refusal::new("42701", format!("column \"{name}\" specified more than once"))));
            }
            if identity == "a" {
                if !explicit {
                    return Ok(Err(Refusal::new("42601", "cannot set an identity column to a value")));
                }
                has_identity = true;
            }
            chosen.push(column.clone());
        }
        if explicit && !has_identity {
            return Ok(Err(Refusal::new("42601", "EXPLICIT_IDS needs the identity column in the list of columns")));
        }
        Ok(Ok(chosen))
    }

    /// With whose rights objects are read.
    fn authorized(&self, statement: &Statement, query: i64) -> Result<(Objects, Option<Role>), Refusal> {
        let objects = &self.shared.objects;
        let region = statement.options.region.as_deref().unwrap_or_else(|| objects.region());
        if region != objects.region() {
            let text = "S3ServiceException:The bucket you are attempting to access must be addressed using the specified \
                 endpoint. Please send all future requests to this endpoint.,Status 301,Error PermanentRedirect";
            return Err(failed(text, 8001, "", query));
        }
        match &statement.authorization {
            Authorization::Keys { id, secret, token } => Ok((objects.with_keys(id, secret, token.as_deref()), None)),
            Authorization::DefaultRole => match self.shared.config.roles.first() {
                Some(role) => Ok((objects.clone(), Some(role.clone()))),
                None => Err(failed("No default IAM role is attached to the cluster", 8001, "", query)),
            },
            Authorization::Roles(chain) => {
                let known = |arn: &String| self.shared.config.roles.iter().find(|role| role.arn == *arn);
                let Some(role) =
                    chain.iter().map(known).collect::<Option<Vec<_>>>().and_then(|roles| roles.last().copied())
                else {
                    let text =
                        "S3ServiceException:Access Denied,Status 403,Error AccessDenied,Rid 0,ExtRid 0,CanRetry 1";
                    return Err(failed(text, 8001, "Listing bucket", query));
                };
                Ok((objects.clone(), Some(role.clone())))
            }
        }
    }

    async fn read_all(&mut self, load: &Load<'_>, sources: &[Source], progress: &mut Progress) -> Answer<()> {
        let mut found = false;
        for source in sources {
            let got = self.unless_stopped(load.until, load.objects.get(&source.bucket, &source.key)).await;
            let bytes = match got {
                Ok(Ok(bytes)) => bytes,
                Ok(Err(problem)) if problem.status == 404 && !source.mandatory => continue,
                Ok(Err(problem)) => {
                    let context = format!("S3 key being read : s3://{}/{}", source.bucket, source.key);
                    self.break_copy().await?;
                    return Ok(Err(failed(&service_text(&problem), 8001, &context, load.query)));
                }
                Err(stopped) => {
                    self.break_copy().await?;
                    return Ok(Err(stopped));
                }
            };
            found = true;
            progress.bytes += bytes.len() as u64;
            let url = format!("s3://{}/{}", source.bucket, source.key);
            let read = self.read_one(load.statement, load.columns, bytes, url, progress);
            if let Err(stopped) = self.unless_stopped(load.until, read).await {
                self.break_copy().await?;
                return Ok(Err(stopped));
            }
            if progress.buffered >= MIXED && !load.statement.options.no_load && progress.errors.is_empty() {
                if !self.copy_is_open {
                    if let Err(refusal) = self.open_copy(load.table, load.columns).await? {
                        return Ok(Err(refusal));
                    }
                    self.copy_is_open = true;
                }
                self.send_rows(progress).await?;
            }
        }
        let may_be_none = sources.is_empty() && !load.statement.options.manifest;
        if !found && !may_be_none {
            return Ok(Err(failed("No valid S3 object in manifest", 8001, "", load.query)));
        }
        Ok(Ok(()))
    }

    /// Reads one file, away from the threads that serve clients.
    async fn read_one(
        &self,
        statement: &Statement,
        columns: &[Column],
        bytes: Bytes,
        url: String,
        progress: &mut Progress,
    ) {
        let (columns, options) = (columns.to_vec(), statement.options.clone());
        let switches = self.shared.config.unknowns.reading.clone();
        let read = move || {
            let (mut rows, mut errors) = (Vec::new(), Vec::new());
            let lines = copy::read(
                &bytes,
                &columns,
                &options,
                &switches,
                &mut |values| rows.push(line(&values)),
                &mut |error| errors.push(error),
            );
            let lines = lines.unwrap_or_else(|error| {
                errors.push(error);
                0
            });
            (rows, errors, lines)
        };
        let Ok((rows, errors, lines)) = tokio::task::spawn_blocking(read).await else {
            tracing::error!("the reader of `{url}` panicked");
            let error = LoadError { code: 1200, message: "Unknown parse error".to_owned(), ..LoadError::default() };
            progress.errors.push((url, error));
            return;
        };
        progress.loaded += rows.len() as u64;
        progress.buffered += rows.iter().map(|row| row.len()).sum::<usize>();
        progress.rows.extend(rows);
        progress.errors.extend(errors.into_iter().map(|error| (url.clone(), error)));
        progress.files.push((url, lines));
    }

    async fn open_copy(&mut self, table: &Name, columns: &[Column]) -> Answer<()> {
        let list: Vec<String> = columns.iter().map(|column| ident(&column.name)).collect();
        self.upstream.send(&format!("COPY {} ({}) FROM STDIN", table.sql(), list.join(", "))).await?;
        match self.upstream.answer().await? {
            Some(frame) if frame.tag == b'G' => Ok(Ok(())),
            Some(frame) if frame.tag == b'E' => {
                let refusal = self.translated(&frame, None);
                while self.upstream.answer().await?.is_some() {}
                Ok(Err(refusal))
            }
            _ => Err(std::io::ErrorKind::InvalidData.into()),
        }
    }

    /// Sends what is buffered, mixed.
    async fn send_rows(&mut self, progress: &mut Progress) -> Result<(), super::Ended> {
        let mut random = fastrand::Rng::with_seed(self.shared.config.seed);
        random.shuffle(&mut progress.rows);
        let mut chunk = String::with_capacity(1 << 17);
        for row in progress.rows.drain(..) {
            chunk.push_str(&row);
            if chunk.len() > 1 << 16 {
                self.upstream.writer.put(&Frame::new(b'd', std::mem::take(&mut chunk).into_bytes())).await?;
            }
        }
        if !chunk.is_empty() {
            self.upstream.writer.put(&Frame::new(b'd', chunk.into_bytes())).await?;
        }
        progress.buffered = 0;
        self.upstream.writer.flush().await
    }

    async fn finish_copy(
        &mut self,
        table: &Name,
        statement: &Statement,
        columns: &[Column],
        progress: &mut Progress,
    ) -> Answer<()> {
        if statement.options.no_load {
            return Ok(Ok(()));
        }
        if !std::mem::take(&mut self.copy_is_open)
            && let Err(refusal) = self.open_copy(table, columns).await?
        {
            return Ok(Err(refusal));
        }
        self.send_rows(progress).await?;
        self.upstream.writer.put(&Frame::new(b'c', Vec::new())).await?;
        self.upstream.writer.flush().await?;
        self.drain_copy().await
    }

    /// Breaks a COPY off behind. Answers with Redshift's error for a load that failed.
    async fn give_up_copy(&mut self, table: &Name) -> Answer<()> {
        self.break_copy().await?;
        let view = match self.shared.config.mode {
            crate::Mode::Provisioned => "stl_load_errors",
            crate::Mode::Serverless => "sys_load_error_detail",
        };
        let text = format!("Load into table '{}' failed.  Check '{view}' system table for details.", table.name);
        Ok(Err(Refusal::new("XX000", text)))
    }

    /// Breaks a COPY off behind, if one is open.
    async fn break_copy(&mut self) -> Result<(), super::Ended> {
        if std::mem::take(&mut self.copy_is_open) {
            self.upstream.writer.put(&Frame::text(b'f', "the load failed")).await?;
            self.upstream.writer.flush().await?;
            let _as_it_should: Result<(), Refusal> = self.drain_copy().await?;
        }
        Ok(())
    }

    async fn drain_copy(&mut self) -> Answer<()> {
        let mut refusal = None;
        while let Some(frame) = self.upstream.answer().await? {
            if frame.tag == b'E' {
                refusal = Some(self.translated(&frame, None));
            }
        }
        Ok(refusal.map_or(Ok(()), Err))
    }

    /// Keeps what the views on loads show, outside of the client's transaction.
    async fn note(&self, table: &Name, statement: &Statement, query: i64, is_ok: bool, progress: &Progress) {
        let mut sql = String::new();
        let who = format!("{}, {query}", literal(&self.user));
        let session = format!("{}, {}, current_database()", self.transaction, self.upstream.process());
        let text = |text: &str| literal(&text.replace('\0', ""));
        for (url, error) in &progress.errors {
            let maybe = |value: &Option<String>| value.as_deref().map_or("NULL".to_owned(), text);
            let written = writeln!(
                sql,
                "INSERT INTO standin.load_errors VALUES ({who}, {session}, {}, standin.getdate(), {}, {}, {}, {}, {}, {}, {}, {}, {}, {});",
                crate::isolation::id_of(&table.name),
                text(url),
                error.line,
                maybe(&error.column),
                maybe(&error.column_type),
                maybe(&error.column_length),
                error.position,
                text(&error.raw_line),
                text(&error.raw_value),
                error.code,
                text(&error.message)
            );
            debug_assert!(written.is_ok());
        }
        for (url, lines) in &progress.files {
            let status = u8::from(!is_ok);
            sql.push_str(&format!(
                "INSERT INTO standin.load_files VALUES ({who}, {}, {lines}, {status}, standin.getdate());\n",
                text(url)
            ));
        }
        sql.push_str(&format!(
            "INSERT INTO standin.load_history VALUES ({who}, {session}, '{}', {}, standin.getdate(), standin.getdate(), {}, 'CSV',
                {}, {}, {}, {}, {}, {});",
            if is_ok { "completed" } else { "aborted" },
            text(&table.name),
            text(&statement.from),
            if is_ok { progress.loaded } else { 0 },
            progress.bytes,
            progress.files.len(),
            progress.bytes,
            progress.files.len(),
            progress.errors.len()
        ));
        if let Err(error) = self.shared.admin.batch_execute(&sql).await {
            tracing::error!("the views on loads could not be kept: {error}");
        }
    }
}

/// A row as the server behind takes it.
fn line(values: &[Option<String>]) -> Box<str> {
    let mut line = String::new();
    for (nth, value) in values.iter().enumerate() {
        if nth > 0 {
            line.push('\t');
        }
        match value {
            None => line.push_str("\\N"),
            Some(text) => {
                for c in text.chars() {
                    match c {
                        '\\' => line.push_str("\\\\"),
                        '\t' => line.push_str("\\t"),
                        '\n' => line.push_str("\\n"),
                        '\r' => line.push_str("\\r"),
                        c => line.push(c),
                    }
                }
            }
        }
    }
    line.push('\n');
    line.into_boxed_str()
}

/// A type by its name in the catalog.
fn type_of(name: &str) -> Option<Type> {
    let (word, sizes) = name.split_once('(').map_or((name, ""), |(word, rest)| (word, rest.trim_end_matches(')')));
    let mut sizes = sizes.split(',').filter_map(|size| size.trim().parse::<u32>().ok());
    Some(match word {
        "boolean" => Type::Boolean,
        "smallint" => Type::SmallInt,
        "integer" => Type::Integer,
        "bigint" => Type::BigInt,
        "numeric" => Type::Decimal {
            precision: u8::try_from(sizes.next()?).ok()?,
            scale: u8::try_from(sizes.next().unwrap_or_default()).ok()?,
        },
        "real" => Type::Real,
        "double precision" => Type::Double,
        "character" => Type::Char(sizes.next()?),
        "character varying" => Type::Varchar(sizes.next()?),
        "bpchar" => Type::Varchar(65_535),
        "date" => Type::Date,
        "time without time zone" => Type::Time,
        "time with time zone" => Type::TimeTz,
        "timestamp without time zone" => Type::Timestamp,
        "timestamp with time zone" => Type::TimestampTz,
        "super" => Type::Super,
        "binary varying" => Type::Varbyte(sizes.next()?),
        _ => return None,
    })
}
