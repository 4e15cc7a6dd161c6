//! The history table: Flyway's, column by column.

use crate::database::{Catalog, Database, Engine, SqlError};
use crate::version::Version;

/// Name of the table since Flyway 5.
pub const TABLE: &str = "flyway_schema_history";
/// The longest name with room for the ends of its indexes' names.
const LONGEST_NAME: usize = 57;
/// Name of the table up to Flyway 4.
pub const OLD_TABLE: &str = "schema_version";

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowKind {
    /// A script ran.
    Sql,
    /// A baseline script ran.
    SqlBaseline,
    /// The database was declared to be at a version; nothing ran.
    Baseline,
    /// Schemas were created.
    Schema,
    /// The migration of an earlier row is no more.
    Delete,
    /// A migration was taken back.
    Undo(String),
    /// A migration that was no SQL script (Java and the like).
    Other(String),
}

impl RowKind {
    fn read(text: &str) -> Self {
        match text {
            "SQL" => Self::Sql,
            "SQL_BASELINE" | "JDBC_BASELINE" | "SQL_STATE_SCRIPT" => Self::SqlBaseline,
            "BASELINE" | "INIT" => Self::Baseline,
            "SCHEMA" => Self::Schema,
            "DELETE" => Self::Delete,
            undo if undo.starts_with("UNDO_") => Self::Undo(undo.to_owned()),
            other => Self::Other(other.to_owned()),
        }
    }

    /// As the table holds it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Sql => "SQL",
            Self::SqlBaseline => "SQL_BASELINE",
            Self::Baseline => "BASELINE",
            Self::Schema => "SCHEMA",
            Self::Delete => "DELETE",
            Self::Undo(text) | Self::Other(text) => text,
        }
    }

    /// Whether something was applied: no mark, and nothing that takes another back.
    pub(crate) fn is_applied(&self) -> bool {
        !matches!(self, Self::Schema | Self::Delete | Self::Undo(_))
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Place in the order in which rows were written.
    pub rank: i64,
    /// `None` for repeatables and `SCHEMA`.
    pub version: Option<Version>,
    /// What the script's name says, cut to what the column holds.
    pub description: String,
    /// What the row is about.
    pub kind: RowKind,
    /// The script's path below its location.
    pub script: String,
    /// `None` where nothing was read.
    pub checksum: Option<i32>,
    /// Who ran it.
    pub installed_by: String,
    /// When, as the database tells it.
    pub installed_on: String,
    /// How long it took, in milliseconds.
    pub execution_ms: i64,
    /// Whether it came to its end.
    pub success: bool,
}

/// The history table of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// Whether it is there.
    pub exists: bool,
    engine: Engine,
}

impl History {
    /// Finds the table: the one that is configured, else the new name, else an existing one of Flyway 4.
    ///
    /// # Errors
    /// The catalog cannot be asked, or the table is one of Flyway 3.
    pub(crate) async fn find(
        database: &mut dyn Database,
        schema: &str,
        configured: Option<&str>,
    ) -> Result<Self, SqlError> {
        let engine = database.server().engine;
        let mut catalog = Catalog::of(database);
        let fold = |name: &str| if engine == Engine::Redshift { name.to_lowercase() } else { name.to_owned() };
        let (schema, of_project) = (fold(schema), fold(configured.unwrap_or(TABLE)));
        let found = |table: String, exists| Self { schema: schema.clone(), table, exists, engine };
        if catalog.table_exists(&schema, &of_project).await? {
            let is_one = catalog.column_exists(&schema, &of_project, "installed_rank").await?;
            if !is_one || catalog.column_exists(&schema, &of_project, "version_rank").await? {
                return Err(of_flyway_3(&of_project, &schema));
            }
            return Ok(found(of_project, true));
        }
        let is_old = configured.is_none() && catalog.column_exists(&schema, OLD_TABLE, "installed_rank").await?;
        if is_old && catalog.column_exists(&schema, OLD_TABLE, "version_rank").await? {
            return Err(of_flyway_3(OLD_TABLE, &schema));
        }
        if is_old {
            return Ok(found(OLD_TABLE.to_owned(), true));
        }
        if engine == Engine::Postgres && of_project.len() > LONGEST_NAME {
            return Err(SqlError {
                message: format!("`{of_project}` is too long for a history table: its indexes could not be told apart"),
                hint: Some(format!("give `table` in `[migrate]` a name of at most {LONGEST_NAME} bytes")),
                ..SqlError::default()
            });
        }
        Ok(found(of_project, false))
    }

    /// Whether Flyway 4 reads the table: it knows fewer kinds of rows, and raw checksums alone.
    pub fn is_old(&self) -> bool {
        self.table == OLD_TABLE
    }

    /// Schema and name in quotes, as Flyway writes them.
    pub fn quoted(&self) -> String {
        format!("{}.{}", self.engine.ident(&self.schema), self.engine.ident(&self.table))
    }

    /// The key of the advisory lock that Flyway takes in PostgreSQL: `Flyway` as a number, and Java's hash of the
    /// quoted name.
    pub fn lock_key(&self) -> i64 {
        let hash =
            self.quoted().encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
        77_431_708_279_161 + i64::from(hash)
    }

    /// The statements that create it.
    pub(crate) fn create(&self, tablespace: Option<&str>) -> Vec<String> {
        let (sort_key, now) = match self.engine {
            Engine::Redshift => (" SORTKEY", "getdate()"),
            Engine::Postgres => ("", "now()"),
            Engine::DuckDb => ("", "CAST(now() AS TIMESTAMP)"),
        };
        let constraint = self.engine.ident(&format!("{}_pk", self.table));
        let tablespace = tablespace.map(|name| format!(" TABLESPACE {}", self.engine.ident(name))).unwrap_or_default();
        // DuckDB adds no primary key to a table that is there.
        let (inside, outside) = match self.engine {
            Engine::DuckDb => (format!(",\n  CONSTRAINT {constraint} PRIMARY KEY (\"installed_rank\")"), None),
            _ => (
                String::new(),
                Some(format!(
                    "ALTER TABLE {} ADD CONSTRAINT {constraint} PRIMARY KEY (\"installed_rank\")",
                    self.quoted()
                )),
            ),
        };
        let table = format!(
            "CREATE TABLE {} (\n  \"installed_rank\" INT NOT NULL{sort_key},\n  \"version\" VARCHAR(50),\n  \
             \"description\" VARCHAR(200) NOT NULL,\n  \"type\" VARCHAR(20) NOT NULL,\n  \"script\" VARCHAR(1000) NOT NULL,\n  \
             \"checksum\" INTEGER,\n  \"installed_by\" VARCHAR(100) NOT NULL,\n  \
             \"installed_on\" TIMESTAMP NOT NULL DEFAULT {now},\n  \"execution_time\" INTEGER NOT NULL,\n  \
             \"success\" BOOLEAN NOT NULL{inside}\n){tablespace}",
            self.quoted()
        );
        let index = (self.engine == Engine::Postgres).then(|| {
            let name = self.engine.ident(&format!("{}_s_idx", self.table));
            format!("CREATE INDEX {name} ON {} (\"success\")", self.quoted())
        });
        [Some(table), outside, index].into_iter().flatten().collect()
    }

    /// Reads all rows, by rank.
    pub(crate) async fn rows(&self, database: &mut dyn Database) -> Result<Vec<Row>, SqlError> {
        if !self.exists {
            return Ok(Vec::new());
        }
        let columns = [
            "installed_rank",
            "version",
            "description",
            "type",
            "script",
            "checksum",
            "installed_by",
            "installed_on",
            "execution_time",
            "success",
        ];
        let columns: Vec<String> = columns.iter().map(|name| format!("\"{name}\"")).collect();
        let sql = format!("SELECT {} FROM {}", columns.join(", "), self.quoted());
        let mut rows: Vec<Row> = database.query(&sql).await?.into_iter().filter_map(read_row).collect();
        rows.sort_by_key(|row| row.rank);
        Ok(rows)
    }

    /// The statement that writes a row. `installed_on` is left to the column's default.
    pub(crate) fn insert(&self, row: &Row) -> String {
        let text = |text: &str| self.engine.literal(text);
        let or_null = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
        format!(
            "INSERT INTO {} (\"installed_rank\", \"version\", \"description\", \"type\", \"script\", \"checksum\", \
             \"installed_by\", \"execution_time\", \"success\") VALUES ({}, {}, {}, {}, {}, {}, {}, {}, {})",
            self.quoted(),
            row.rank,
            or_null(row.version.as_ref().map(|version| text(version.as_str()))),
            text(&row.description),
            text(row.kind.as_str()),
            text(&row.script),
            or_null(row.checksum.map(|checksum| checksum.to_string())),
            text(&row.installed_by),
            row.execution_ms,
            row.success,
        )
    }

    /// The statement that says that the script of a row came to its end.
    pub(crate) fn succeed(&self, rank: i64, execution_ms: i64) -> String {
        format!(
            "UPDATE {} SET \"success\" = true, \"execution_time\" = {execution_ms} WHERE \"installed_rank\" = {rank}",
            self.quoted()
        )
    }

    /// The statement that gives a row what its file says now.
    pub(crate) fn align(&self, rank: i64, description: &str, kind: &RowKind, checksum: i32) -> String {
        format!(
            "UPDATE {} SET \"description\" = {}, \"type\" = {}, \"checksum\" = {checksum} WHERE \"installed_rank\" = {rank}",
            self.quoted(),
            self.engine.literal(description),
            self.engine.literal(kind.as_str()),
        )
    }

    /// The statement that removes a row.
    pub(crate) fn remove(&self, rank: i64) -> String {
        format!("DELETE FROM {} WHERE \"installed_rank\" = {rank}", self.quoted())
    }
}

/// The error of a table that Flyway 4 and later do not write.
fn of_flyway_3(table: &str, schema: &str) -> SqlError {
    SqlError {
        message: format!("`{table}` in the schema `{schema}` is no history table of Flyway 4 or later"),
        hint: Some("let Flyway 4 convert it once, or name another table: `table` in `[migrate]`".to_owned()),
        ..SqlError::default()
    }
}

fn read_row(row: Vec<Option<String>>) -> Option<Row> {
    let mut fields = row.into_iter();
    let mut field = || fields.next().flatten();
    Some(Row {
        rank: field()?.parse().ok()?,
        version: field().map(|version| Version::of_history(&version)),
        description: field().unwrap_or_default(),
        kind: RowKind::read(&field().unwrap_or_default()),
        script: field().unwrap_or_default(),
        checksum: field().and_then(|checksum| checksum.parse().ok()),
        installed_by: field().unwrap_or_default(),
        installed_on: field().unwrap_or_default(),
        execution_ms: field().and_then(|time| time.parse().ok()).unwrap_or_default(),
        success: field().is_some_and(|success| success.starts_with(['t', 'T', '1'])),
    })
}

/// A description as its column holds it.
pub(crate) fn cut_description(text: &str) -> String {
    match text.chars().count() {
        0..=200 => text.to_owned(),
        _ => text.chars().take(197).collect::<String>() + "...",
    }
}

/// A path as its column holds it.
pub(crate) fn cut_script(text: &str) -> String {
    match text.chars().count() {
        0..=1000 => text.to_owned(),
        _ => "...".to_owned() + &text.chars().skip(3).take(997).collect::<String>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_flyways() {
        for (schema, table, key) in [
            ("public", TABLE, 77_433_833_903_597),
            ("public", OLD_TABLE, 77_430_801_598_678),
            ("app", TABLE, 77_431_436_970_681),
            ("lake", TABLE, 77_430_717_316_359),
        ] {
            let history =
                History { schema: schema.to_owned(), table: table.to_owned(), exists: true, engine: Engine::Postgres };
            assert_eq!(history.lock_key(), key, "{schema}.{table}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_as_flyway_cuts_it() {
        assert_eq!(cut_description(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(cut_description(&"é".repeat(201)), "é".repeat(197) + "...");
        assert_eq!(cut_script(&format!("abc{}", "x".repeat(998))), "...".to_owned() + &"x".repeat(997));
    }
}
