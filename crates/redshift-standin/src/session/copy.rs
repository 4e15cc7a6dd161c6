//! COPY FROM S3: which objects, by which role, and their rows into the table in no order at all.

use std::fmt::Write as _;

use bytes::Bytes;

use super::{Answer, Session};
use crate::copy::{self, Authorization, Column, LoadError, Statement, Type};
use crate::frame::Frame;
use crate::gate::{Change, Name, Verb};
use crate::objects::{Objects, Problem};
use crate::refusal::Refusal;
use crate::server::Role;
use crate::token::{ident, literal};

/// Bytes of rows that are mixed before they go on.
const MIXED: usize = 64 << 20;

/// An object to read.
struct Source {
    bucket: String,
    key: String,
    mandatory: bool,
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
        let sources = match sources(&objects, role.as_ref(), statement, query).await {
            Ok(sources) => sources,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.last_copy_id = query;
        self.last_copy_count = 0;
        let mut progress = Progress::default();
        let mut done = self.read_all(&table, statement, &columns, &objects, &sources, query, &mut progress).await?;
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
                pg_has_role(c.relowner, 'USAGE')
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

    #[expect(clippy::too_many_arguments, reason = "the parts of one COPY, used nowhere else")]
    async fn read_all(
        &mut self,
        table: &Name,
        statement: &Statement,
        columns: &[Column],
        objects: &Objects,
        sources: &[Source],
        query: i64,
        progress: &mut Progress,
    ) -> Answer<()> {
        let mut is_open = false;
        let mut found = false;
        for source in sources {
            let bytes = match objects.get(&source.bucket, &source.key).await {
                Ok(bytes) => bytes,
                Err(problem) if problem.status == 404 && !source.mandatory => continue,
                Err(problem) => {
                    let context = format!("S3 key being read : s3://{}/{}", source.bucket, source.key);
                    if is_open {
                        let _left: Result<(), Refusal> = self.give_up_copy(table).await?;
                    }
                    return Ok(Err(failed(&service_text(&problem), 8001, &context, query)));
                }
            };
            found = true;
            progress.bytes += bytes.len() as u64;
            let url = format!("s3://{}/{}", source.bucket, source.key);
            self.read_one(statement, columns, bytes, url, progress).await;
            if progress.buffered >= MIXED && !statement.options.no_load && progress.errors.is_empty() {
                if !is_open {
                    if let Err(refusal) = self.open_copy(table, columns).await? {
                        return Ok(Err(refusal));
                    }
                    is_open = true;
                    self.copy_is_open = true;
                }
                self.send_rows(progress).await?;
            }
        }
        if !found {
            return Ok(Err(failed("No valid S3 object in manifest", 8001, "", query)));
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
                let refusal = self.translated(&frame, false);
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
        if std::mem::take(&mut self.copy_is_open) {
            self.upstream.writer.put(&Frame::text(b'f', "the load failed")).await?;
            self.upstream.writer.flush().await?;
            let _as_it_should: Result<(), Refusal> = self.drain_copy().await?;
        }
        let view = match self.shared.config.mode {
            crate::Mode::Provisioned => "stl_load_errors",
            crate::Mode::Serverless => "sys_load_error_detail",
        };
        let text = format!("Load into table '{}' failed.  Check '{view}' system table for details.", table.name);
        Ok(Err(Refusal::new("XX000", text)))
    }

    async fn drain_copy(&mut self) -> Answer<()> {
        let mut refusal = None;
        while let Some(frame) = self.upstream.answer().await? {
            if frame.tag == b'E' {
                refusal = Some(self.translated(&frame, false));
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
        for (url, error) in progress.errors.iter().take(1_000) {
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

/// The objects that are to be read.
async fn sources(
    objects: &Objects,
    role: Option<&Role>,
    statement: &Statement,
    query: i64,
) -> Result<Vec<Source>, Refusal> {
    let (bucket, key) = location(&statement.from)
        .ok_or_else(|| Refusal::new("42601", format!("invalid S3 path \"{}\"", statement.from)))?;
    let denied =
        || "S3ServiceException:Access Denied,Status 403,Error AccessDenied,Rid 0,ExtRid 0,CanRetry 1".to_owned();
    if role.is_some_and(|role| !role.can_list) {
        return Err(failed(&denied(), 8001, "Listing bucket", query));
    }
    if !statement.options.manifest {
        let listed = objects
            .list(&bucket, &key)
            .await
            .map_err(|problem| failed(&service_text(&problem), 8001, "Listing bucket", query))?;
        if listed.is_empty() {
            return Err(failed(&format!("The specified S3 prefix '{key}' does not exist"), 8001, "", query));
        }
        if role.is_some_and(|role| !role.can_get) {
            return Err(failed(&denied(), 8001, &format!("S3 key being read : {}", statement.from), query));
        }
        let source = |key: String| Source { bucket: bucket.clone(), key, mandatory: true };
        return Ok(listed.into_iter().map(|object| source(object.key)).collect());
    }
    let needs_path =
        || Refusal::new("XX000", "COPY with MANIFEST parameter requires full path of an Amazon S3 object.");
    if role.is_some_and(|role| !role.can_get) || key.is_empty() || key.ends_with('/') {
        return Err(block(needs_path(), 8001, "", query));
    }
    let bytes = objects.get(&bucket, &key).await.map_err(|problem| {
        if problem.status == 404 && problem.code == "NoSuchKey" {
            return block(needs_path(), 8001, "", query);
        }
        failed(&format!("Problem reading manifest file - {}", service_text(&problem)), 8001, &statement.from, query)
    })?;
    entries(&bytes).ok_or_else(|| {
        failed(&format!("Problem reading manifest file - {} is not a valid manifest", statement.from), 8001, "", query)
    })
}

/// The entries of a manifest. Other keys than `url` and `mandatory` are looked over.
fn entries(bytes: &[u8]) -> Option<Vec<Source>> {
    let manifest: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let entries = manifest.get("entries")?.as_array()?;
    let source = |entry: &serde_json::Value| {
        let (bucket, key) = location(entry.get("url")?.as_str()?)?;
        let mandatory = match entry.get("mandatory") {
            None => false,
            Some(value) => value.as_bool()?,
        };
        Some(Source { bucket, key, mandatory })
    };
    entries.iter().map(source).collect()
}

fn location(url: &str) -> Option<(String, String)> {
    let (bucket, key) = url.strip_prefix("s3://")?.split_once('/').unwrap_or((url.strip_prefix("s3://")?, ""));
    (!bucket.is_empty()).then(|| (bucket.to_owned(), key.to_owned()))
}

fn service_text(problem: &Problem) -> String {
    format!(
        "S3ServiceException:{},Status {},Error {},Rid 0,ExtRid 0,CanRetry 1",
        problem.message, problem.status, problem.code
    )
}

/// An error before the load begins, with the block that Redshift puts into its detail.
fn failed(text: &str, code: u32, context: &str, query: i64) -> Refusal {
    block(Refusal::new("XX000", text), code, context, query)
}

fn block(refusal: Refusal, code: u32, context: &str, query: i64) -> Refusal {
    let rule = "-----------------------------------------------";
    let detail = format!(
        "\n  {rule}\n  error:  {}\n  code:      {code}\n  context:   {context}\n  query:     {query}\n  \
         location:  s3_utility.cpp:568\n  process:   padbmaster [pid=29509]\n  {rule}\n",
        refusal.message
    );
    refusal.detail(detail)
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
