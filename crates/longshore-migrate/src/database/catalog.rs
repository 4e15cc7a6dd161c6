//! What the catalog of a database tells, and the few statements that differ from engine to engine.

use super::{Database, Engine, SqlError};

/// The schema in which Longshore keeps its ledger: never one of a project's own.
pub(crate) const LEDGER: &str = "longshore";

/// Asks a database's catalog.
pub(crate) struct Catalog<'d> {
    database: &'d mut dyn Database,
    engine: Engine,
}

impl<'d> Catalog<'d> {
    pub(crate) fn of(database: &'d mut dyn Database) -> Self {
        let engine = database.server().engine;
        Self { database, engine }
    }

    async fn is_any(&mut self, sql: &str) -> Result<bool, SqlError> {
        let rows = self.database.query(sql).await?;
        Ok(rows.first().and_then(|row| row.first()?.as_deref()).is_some_and(|count| count != "0"))
    }

    async fn text(&mut self, sql: &str) -> Result<Option<String>, SqlError> {
        let rows = self.database.query(sql).await?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    pub(crate) async fn user(&mut self) -> Result<String, SqlError> {
        Ok(self.text("SELECT CAST(current_user AS VARCHAR)").await?.unwrap_or_default())
    }

    /// The schema in which new tables are made; `None` where the search path names none that exists. The one with the
    /// ledger is passed over, which a user of that name has first in the path.
    pub(crate) async fn current_schema(&mut self) -> Result<Option<String>, SqlError> {
        self.text(&match self.engine {
            Engine::Postgres => format!(
                "SELECT s FROM unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS path (s, n) \
                 WHERE s <> '{LEDGER}' ORDER BY n LIMIT 1"
            ),
            Engine::Redshift | Engine::DuckDb => "SELECT CAST(current_schema() AS VARCHAR)".to_owned(),
        })
        .await
    }

    /// The search path as SET takes it.
    pub(crate) async fn search_path(&mut self) -> Result<String, SqlError> {
        let sql = match self.engine {
            Engine::Postgres | Engine::Redshift => "SHOW search_path",
            Engine::DuckDb => "SELECT current_setting('search_path')",
        };
        Ok(self.text(sql).await?.unwrap_or_default())
    }

    pub(crate) async fn schema_exists(&mut self, schema: &str) -> Result<bool, SqlError> {
        let schema = self.engine.literal(schema);
        self.is_any(&match self.engine {
            Engine::Postgres | Engine::Redshift => {
                format!("SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = {schema}")
            }
            Engine::DuckDb => format!(
                "SELECT count(*) FROM duckdb_schemas() WHERE database_name = current_database() AND schema_name = {schema}"
            ),
        })
        .await
    }

    pub(crate) async fn table_exists(&mut self, schema: &str, table: &str) -> Result<bool, SqlError> {
        let (schema, table) = (self.engine.literal(schema), self.engine.literal(table));
        self.is_any(&match self.engine {
            Engine::Postgres => format!(
                "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = {schema} AND c.relname = {table}"
            ),
            Engine::Redshift => {
                format!("SELECT count(*) FROM svv_columns WHERE table_schema = {schema} AND table_name = {table}")
            }
            Engine::DuckDb => format!(
                "SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database() \
                 AND schema_name = {schema} AND table_name = {table}"
            ),
        })
        .await
    }

    pub(crate) async fn column_exists(&mut self, schema: &str, table: &str, column: &str) -> Result<bool, SqlError> {
        let (schema, table, column) =
            (self.engine.literal(schema), self.engine.literal(table), self.engine.literal(column));
        self.is_any(&match self.engine {
            Engine::Redshift => format!(
                "SELECT count(*) FROM svv_columns WHERE table_schema = {schema} AND table_name = {table} \
                 AND column_name = {column}"
            ),
            Engine::Postgres => format!(
                "SELECT count(*) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = {schema} AND c.relname = {table} AND a.attname = {column}"
            ),
            Engine::DuckDb => format!(
                "SELECT count(*) FROM duckdb_columns() WHERE database_name = current_database() \
                 AND schema_name = {schema} AND table_name = {table} AND column_name = {column}"
            ),
        })
        .await
    }

    /// Whether a schema that exists holds nothing. What an extension brought does not count.
    pub(crate) async fn is_empty(&mut self, schema: &str) -> Result<bool, SqlError> {
        let schema = self.engine.literal(schema);
        let sql = match self.engine {
            Engine::Postgres => format!(
                "SELECT count(*) FROM (SELECT c.oid FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 LEFT JOIN pg_catalog.pg_depend d ON d.objid = c.oid AND d.deptype = 'e' \
                 WHERE n.nspname = {schema} AND d.objid IS NULL AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') \
                 UNION ALL SELECT t.oid FROM pg_catalog.pg_type t \
                 JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
                 LEFT JOIN pg_catalog.pg_depend d ON d.objid = t.oid AND d.deptype = 'e' \
                 WHERE n.nspname = {schema} AND d.objid IS NULL AND t.typcategory NOT IN ('A', 'C') \
                 UNION ALL SELECT p.oid FROM pg_catalog.pg_proc p \
                 JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
                 LEFT JOIN pg_catalog.pg_depend d ON d.objid = p.oid AND d.deptype = 'e' \
                 WHERE n.nspname = {schema} AND d.objid IS NULL) AS x"
            ),
            Engine::Redshift => format!("SELECT count(*) FROM svv_columns WHERE table_schema = {schema}"),
            Engine::DuckDb => format!(
                "SELECT (SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = {schema}) \
                 + (SELECT count(*) FROM duckdb_views() WHERE database_name = current_database() AND schema_name = {schema} AND NOT internal) \
                 + (SELECT count(*) FROM duckdb_sequences() WHERE database_name = current_database() AND schema_name = {schema})"
            ),
        };
        Ok(!self.is_any(&sql).await?)
    }

    /// Statements that drop everything in a schema but what belongs to an extension, in an order that works.
    pub(crate) async fn drops(&mut self, schema: &str) -> Result<Vec<String>, SqlError> {
        let quoted = self.engine.ident(schema);
        let schema = self.engine.literal(schema);
        // Each query gives the statement's words and what they are about.
        let of_class = |kinds: &str, words: &str| {
            // The sequence of an identity column goes with it. A partitioned table depends on itself in that way.
            let kept = if kinds == "'S'" { "'e', 'i'" } else { "'e'" };
            format!(
                "SELECT '{words}', c.relname FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {schema} \
                 AND c.relkind IN ({kinds}) AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d \
                 WHERE d.objid = c.oid AND d.deptype IN ({kept})) ORDER BY c.relname"
            )
        };
        let of_duckdb = |function: &str, column: &str, words: &str, more: &str| {
            format!(
                "SELECT DISTINCT '{words}', {column} FROM {function}() WHERE database_name = current_database() \
                 AND schema_name = {schema} {more} ORDER BY {column}"
            )
        };
        let queries = match self.engine {
            Engine::Postgres => vec![
                of_class("'m'", "MATERIALIZED VIEW"),
                of_class("'v'", "VIEW"),
                of_class("'r', 'p'", "TABLE"),
                of_class("'f'", "FOREIGN TABLE"),
                format!(
                    "SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END, \
                     p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid) FROM pg_catalog.pg_proc p \
                     JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = {schema} \
                     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = p.oid AND d.deptype IN ('e', 'i')) \
                     ORDER BY p.proname"
                ),
                of_class("'S'", "SEQUENCE"),
                format!(
                    "SELECT 'COLLATION', c.collname FROM pg_catalog.pg_collation c \
                     JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace WHERE n.nspname = {schema} ORDER BY c.collname"
                ),
                format!(
                    "SELECT 'TEXT SEARCH CONFIGURATION', c.cfgname FROM pg_catalog.pg_ts_config c \
                     JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace WHERE n.nspname = {schema} ORDER BY c.cfgname"
                ),
                format!(
                    "SELECT CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.typname FROM pg_catalog.pg_type t \
                     JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
                     LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid WHERE n.nspname = {schema} \
                     AND t.typtype IN ('d', 'e', 'r', 'b', 'c') AND (t.typrelid = 0 OR c.relkind = 'c') \
                     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type e WHERE e.typarray = t.oid) \
                     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = t.oid AND d.deptype IN ('e', 'i')) \
                     ORDER BY t.typname"
                ),
            ],
            Engine::Redshift => {
                let of = |kind: &str, words: &str| {
                    format!(
                        "SELECT DISTINCT '{words}' AS words, table_name FROM svv_tables \
                         WHERE table_schema = {schema} AND table_type = '{kind}' ORDER BY table_name"
                    )
                };
                vec![of("VIEW", "VIEW"), of("BASE TABLE", "TABLE")]
            }
            Engine::DuckDb => vec![
                of_duckdb("duckdb_views", "view_name", "VIEW", "AND NOT internal"),
                of_duckdb("duckdb_tables", "table_name", "TABLE", ""),
                of_duckdb("duckdb_sequences", "sequence_name", "SEQUENCE", ""),
                of_duckdb("duckdb_functions", "function_name", "MACRO", "AND NOT internal AND function_type = 'macro'"),
                of_duckdb(
                    "duckdb_functions",
                    "function_name",
                    "MACRO TABLE",
                    "AND NOT internal AND function_type = 'table_macro'",
                ),
                of_duckdb("duckdb_types", "type_name", "TYPE", "AND NOT internal"),
            ],
        };
        let mut drops = Vec::new();
        for query in queries {
            for row in self.database.query(&query).await? {
                let mut fields = row.into_iter().flatten();
                let (Some(words), Some(name)) = (fields.next(), fields.next()) else { continue };
                let arguments = fields.next().map(|arguments| format!("({arguments})")).unwrap_or_default();
                let name = self.engine.ident(&name);
                // A cascade may have taken it along.
                drops.push(format!("DROP {words} IF EXISTS {quoted}.{name}{arguments} CASCADE"));
            }
        }
        Ok(drops)
    }
}
