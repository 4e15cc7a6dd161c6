//! The statements of a load.
//!
//! Rows are staged in temporary tables of the load's session: `c0`, `c1` … in the order of the batches, of
//! the target's own types, so that keys are compared as the target compares them. Before them, where
//! [`Plan::is_numbered`] says so, `_ls_file` is the index of the object and `_ls_row` the line of it at which
//! the row begins.

use secrecy::ExposeSecret;

use super::plan::Plan;
use super::quote::{ident, literal};
use super::{Authorization, RedshiftConfig};
use crate::{LoadId, Mode};

/// The session's statements that bound what comes next.
pub(super) fn timeout_sql(limit: std::time::Duration) -> String {
    format!("SET statement_timeout TO {}", limit.as_millis().max(1))
}

/// Names the session, as the server's list of sessions shows it.
pub(super) fn name_sql(load_id: LoadId, project: &str) -> String {
    format!("SET application_name TO {}", literal(&crate::session::name_of(load_id, project)))
}

/// Who reads the bucket, and where it is; the keys themselves only if they are `shown`.
pub(super) fn access_sql(config: &RedshiftConfig, shown: bool) -> String {
    let secret = |text: &str| literal(if shown { text } else { "[redacted]" });
    let mut sql = match &config.authorization {
        Authorization::IamRole(role) if role == "default" => "IAM_ROLE default".to_owned(),
        Authorization::IamRole(role) => format!("IAM_ROLE {}", literal(role)),
        Authorization::Keys { access_key_id, secret_access_key, session_token } => {
            let mut keys = format!(
                "ACCESS_KEY_ID {} SECRET_ACCESS_KEY {}",
                literal(access_key_id),
                secret(secret_access_key.expose_secret())
            );
            if let Some(token) = session_token {
                keys.push_str(&format!(" SESSION_TOKEN {}", secret(token.expose_secret())));
            }
            keys
        }
    };
    if let Some(region) = &config.region {
        sql.push_str(&format!(" REGION {}", literal(region)));
    }
    sql
}

/// The COPY of a manifest into a table of our own.
pub(super) fn copy_sql(table: &str, manifest_url: &str, access: &str, null: &str) -> String {
    format!(
        "COPY {table} FROM {} {access} MANIFEST FORMAT AS CSV ZSTD NULL AS {} DATEFORMAT 'auto' TIMEFORMAT 'auto' \
         ROUNDEC COMPUPDATE OFF STATUPDATE OFF",
        literal(manifest_url),
        literal(null)
    )
}

/// The rows that the last COPY of the session took.
pub(super) const COPY_COUNT: &str = "SELECT pg_last_copy_count()";

/// The statements about one load's rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statements<'a> {
    pub(super) plan: &'a Plan,
    pub(super) load_id: LoadId,
}

impl Statements<'_> {
    /// The table of all rows.
    pub(super) fn stage(&self) -> String {
        ident(&format!("ls_stage_{}", self.load_id).replace('-', ""))
    }

    /// The table of the rows that win over others of their key.
    fn last(&self) -> String {
        ident(&format!("ls_last_{}", self.load_id).replace('-', ""))
    }

    /// Where the rows lie that are brought in.
    fn source(&self) -> String {
        if self.is_upsert() { self.last() } else { self.stage() }
    }

    fn is_upsert(&self) -> bool {
        matches!(self.plan.mode, Mode::Upsert { .. })
    }

    fn target(&self) -> String {
        self.plan.table.sql()
    }

    /// How staged rows are spread: as those of the target, where its column is loaded.
    fn spread(&self) -> String {
        let distkey = self.plan.table.distkey();
        match self.plan.layout.columns.iter().position(|at| Some(*at) == distkey) {
            Some(index) => format!("DISTSTYLE KEY DISTKEY (\"c{index}\")"),
            None => "DISTSTYLE EVEN".to_owned(),
        }
    }

    fn indexes(&self) -> std::ops::Range<usize> {
        0..self.plan.layout.columns.len()
    }

    /// The staged columns.
    fn staged(&self, alias: &str) -> String {
        self.indexes().map(|index| format!("{alias}\"c{index}\"")).collect::<Vec<_>>().join(", ")
    }

    /// The loaded columns of the target.
    fn names(&self) -> String {
        self.indexes().map(|index| ident(self.plan.name(index))).collect::<Vec<_>>().join(", ")
    }

    /// The columns that are no key, as `assigned`.
    fn rest(&self, assigned: impl Fn(usize) -> String) -> String {
        self.indexes()
            .filter(|index| !self.plan.layout.key.contains(index))
            .map(assigned)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The target's row `t` and the staged row `s` have the same key.
    fn on_key(&self, target: &str, staged: &str) -> String {
        let key = self.plan.layout.key.iter();
        let pairs = key.map(|index| format!("{target}.{} = {staged}.\"c{index}\"", ident(self.plan.name(*index))));
        pairs.collect::<Vec<_>>().join(" AND ")
    }

    /// The first column of the key, which no row lacks.
    fn first_of_key(&self) -> String {
        ident(self.plan.layout.key.first().map_or("", |index| self.plan.name(*index)))
    }

    /// Whether the target's row is newer than the staged one; NULL is the oldest of all.
    fn is_newer(&self, target: &str, staged: &str) -> Option<String> {
        let index = self.plan.layout.order_by?;
        let (old, new) = (format!("{target}.{}", ident(self.plan.name(index))), format!("{staged}.\"c{index}\""));
        Some(format!("({old} IS NOT NULL AND ({new} IS NULL OR {new} < {old}))"))
    }

    /// Makes the table of all rows: only the loaded columns, without defaults and numbering.
    pub(super) fn create_stage(&self) -> String {
        let numbers = ["\"_ls_file\" INTEGER NOT NULL", "\"_ls_row\" BIGINT NOT NULL"].map(str::to_owned);
        let numbers = numbers.into_iter().filter(|_| self.plan.is_numbered());
        let columns = self.plan.layout.columns.iter().enumerate().map(|(index, at)| {
            let takes_null = self.plan.table.table.columns[*at].nullable && !self.plan.layout.key.contains(&index);
            let null = if takes_null { "" } else { " NOT NULL" };
            format!("\"c{index}\" {}{null}", self.plan.table.details[*at].kind.staged_as)
        });
        format!(
            "CREATE TEMP TABLE {} ({}) {}",
            self.stage(),
            numbers.chain(columns).collect::<Vec<_>>().join(", "),
            self.spread()
        )
    }

    /// Makes the table of the rows that win over others of their key.
    pub(super) fn create_last(&self) -> Option<String> {
        if !self.is_upsert() {
            return None;
        }
        let key = self.plan.layout.key.iter().map(|index| format!("\"c{index}\"")).collect::<Vec<_>>().join(", ");
        let newest =
            self.plan.layout.order_by.map_or_else(String::new, |index| format!("\"c{index}\" DESC NULLS LAST, "));
        let columns = format!("\"_ls_file\", \"_ls_row\", {}", self.staged(""));
        Some(format!(
            "CREATE TEMP TABLE {} {} AS SELECT {columns} FROM (SELECT {columns}, ROW_NUMBER() OVER (PARTITION BY {key} \
             ORDER BY {newest}\"_ls_file\" DESC, \"_ls_row\" DESC) AS \"_ls_rank\" FROM {}) AS x WHERE \"_ls_rank\" = 1",
            self.last(),
            self.spread(),
            self.stage()
        ))
    }

    /// Per object: rows that won over others of their key; of those, rows that lose to every row of the
    /// target with their key; of the rest, rows whose key the target has.
    pub(super) fn count_rows(&self) -> Option<String> {
        if !self.is_upsert() {
            return None;
        }
        let last = self.last();
        if self.plan.may_renew() {
            return Some(format!("SELECT \"_ls_file\", count(*), 0, 0 FROM {last} GROUP BY \"_ls_file\""));
        }
        let here = format!("t.{} IS NOT NULL", self.first_of_key());
        let is_lost = match self.is_newer("t", "l") {
            Some(newer) => format!("min(CASE WHEN {here} AND {newer} THEN 1 ELSE 0 END)"),
            None => "min(0)".to_owned(),
        };
        Some(format!(
            "SELECT \"_ls_file\", count(*), sum(\"_ls_lost\"), sum(CASE WHEN \"_ls_lost\" = 0 THEN \"_ls_here\" ELSE 0 END) \
             FROM (SELECT l.\"_ls_file\", l.\"_ls_row\", {is_lost} AS \"_ls_lost\", \
             max(CASE WHEN {here} THEN 1 ELSE 0 END) AS \"_ls_here\" \
             FROM {last} l LEFT JOIN {} t ON {} GROUP BY l.\"_ls_file\", l.\"_ls_row\") AS x GROUP BY \"_ls_file\"",
            self.target(),
            self.on_key("t", "l")
        ))
    }

    /// Makes room for the rows that come, or changes those that are there. Its count is that of rows replaced.
    pub(super) fn replace_rows(&self, has_rows: bool) -> Option<String> {
        let (target, source) = (self.target(), self.source());
        match &self.plan.mode {
            Mode::Append => None,
            // Never TRUNCATE: it commits.
            Mode::Replace => Some(format!("DELETE FROM {target}")),
            Mode::Upsert { .. } if !has_rows => None,
            Mode::Upsert { .. } if self.plan.may_renew() => {
                Some(format!("DELETE FROM {target} USING {source} WHERE {}", self.on_key(&target, &source)))
            }
            Mode::Upsert { .. } if self.plan.is_only_key() => None,
            Mode::Upsert { .. } => {
                let set = self.rest(|index| format!("{} = l.\"c{index}\"", ident(self.plan.name(index))));
                let guard = self.is_newer(&target, "l").map_or_else(String::new, |newer| format!(" AND NOT {newer}"));
                Some(format!("UPDATE {target} SET {set} FROM {source} l WHERE {}{guard}", self.on_key(&target, "l")))
            }
        }
    }

    /// Brings rows in that are not there.
    pub(super) fn insert_rows(&self) -> String {
        let (target, source, names) = (self.target(), self.source(), self.names());
        if self.is_upsert() && !self.plan.may_renew() {
            return format!(
                "INSERT INTO {target} ({names}) SELECT {} FROM {source} l LEFT JOIN {target} t ON {} WHERE t.{} IS NULL",
                self.staged("l."),
                self.on_key("t", "l"),
                self.first_of_key()
            );
        }
        format!("INSERT INTO {target} ({names}) SELECT {} FROM {source}", self.staged(""))
    }

    /// Removes the temporary tables.
    pub(super) fn drop(&self) -> String {
        let last = if self.is_upsert() { format!(", {}", self.last()) } else { String::new() };
        format!("DROP TABLE {}{last}", self.stage())
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{orders, spec_of, upsert};
    use super::*;

    const STAGE: &str = "\"ls_stage_0198c0de000070008000000000000001\"";
    const LAST: &str = "\"ls_last_0198c0de000070008000000000000001\"";

    fn plan(mode: Mode, columns: &[&str]) -> (Plan, LoadId) {
        let spec = spec_of(mode, columns);
        (Plan::new(orders(), &spec).unwrap(), spec.load_id)
    }

    fn expect(found: &str, expected: &str) {
        assert_eq!(found, expected.replace("STAGE", STAGE).replace("LAST", LAST));
    }

    #[test]
    fn append_copies_then_inserts() {
        let (plan, load_id) = plan(Mode::Append, &["name", "id"]);
        let sql = Statements { plan: &plan, load_id };
        expect(
            &sql.create_stage(),
            "CREATE TEMP TABLE STAGE (\"c0\" VARCHAR(128), \"c1\" BIGINT) DISTSTYLE KEY DISTKEY (\"c1\")",
        );
        assert_eq!((sql.create_last(), sql.count_rows(), sql.replace_rows(true)), (None, None, None));
        expect(
            &sql.insert_rows(),
            "INSERT INTO \"public\".\"orders\" (\"name\", \"id\") SELECT \"c0\", \"c1\" FROM STAGE",
        );
        expect(&sql.drop(), "DROP TABLE STAGE");
    }

    #[test]
    fn an_upsert_of_all_columns_deletes_and_inserts() {
        let (plan, load_id) = plan(upsert(None), &["id", "name", "n"]);
        let sql = Statements { plan: &plan, load_id };
        expect(
            &sql.create_stage(),
            "CREATE TEMP TABLE STAGE (\"_ls_file\" INTEGER NOT NULL, \"_ls_row\" BIGINT NOT NULL, \
             \"c0\" BIGINT NOT NULL, \"c1\" VARCHAR(128), \"c2\" INTEGER) DISTSTYLE KEY DISTKEY (\"c0\")",
        );
        expect(
            &sql.create_last().unwrap(),
            "CREATE TEMP TABLE LAST DISTSTYLE KEY DISTKEY (\"c0\") AS SELECT \"_ls_file\", \"_ls_row\", \"c0\", \"c1\", \"c2\" \
             FROM (SELECT \"_ls_file\", \"_ls_row\", \"c0\", \"c1\", \"c2\", ROW_NUMBER() OVER (PARTITION BY \"c0\" \
             ORDER BY \"_ls_file\" DESC, \"_ls_row\" DESC) AS \"_ls_rank\" FROM STAGE) AS x WHERE \"_ls_rank\" = 1",
        );
        expect(&sql.count_rows().unwrap(), "SELECT \"_ls_file\", count(*), 0, 0 FROM LAST GROUP BY \"_ls_file\"");
        expect(
            &sql.replace_rows(true).unwrap(),
            "DELETE FROM \"public\".\"orders\" USING LAST WHERE \"public\".\"orders\".\"id\" = LAST.\"c0\"",
        );
        expect(
            &sql.insert_rows(),
            "INSERT INTO \"public\".\"orders\" (\"id\", \"name\", \"n\") SELECT \"c0\", \"c1\", \"c2\" FROM LAST",
        );
        assert_eq!(sql.replace_rows(false), None);
        expect(&sql.drop(), "DROP TABLE STAGE, LAST");
    }

    #[test]
    fn an_upsert_of_some_columns_keeps_the_others() {
        let (plan, load_id) = plan(upsert(None), &["id", "name"]);
        let sql = Statements { plan: &plan, load_id };
        expect(
            &sql.count_rows().unwrap(),
            "SELECT \"_ls_file\", count(*), sum(\"_ls_lost\"), sum(CASE WHEN \"_ls_lost\" = 0 THEN \"_ls_here\" ELSE 0 END) \
             FROM (SELECT l.\"_ls_file\", l.\"_ls_row\", min(0) AS \"_ls_lost\", \
             max(CASE WHEN t.\"id\" IS NOT NULL THEN 1 ELSE 0 END) AS \"_ls_here\" FROM LAST l \
             LEFT JOIN \"public\".\"orders\" t ON t.\"id\" = l.\"c0\" GROUP BY l.\"_ls_file\", l.\"_ls_row\") AS x \
             GROUP BY \"_ls_file\"",
        );
        expect(
            &sql.replace_rows(true).unwrap(),
            "UPDATE \"public\".\"orders\" SET \"name\" = l.\"c1\" FROM LAST l WHERE \"public\".\"orders\".\"id\" = l.\"c0\"",
        );
        expect(
            &sql.insert_rows(),
            "INSERT INTO \"public\".\"orders\" (\"id\", \"name\") SELECT l.\"c0\", l.\"c1\" FROM LAST l \
             LEFT JOIN \"public\".\"orders\" t ON t.\"id\" = l.\"c0\" WHERE t.\"id\" IS NULL",
        );
    }

    #[test]
    fn order_by_guards_the_target() {
        let (plan, load_id) = plan(upsert(Some("n")), &["id", "name", "n"]);
        let sql = Statements { plan: &plan, load_id };
        assert!(sql.create_last().unwrap().contains("ORDER BY \"c2\" DESC NULLS LAST, \"_ls_file\" DESC"));
        let newer = |t: &str| format!("({t}.\"n\" IS NOT NULL AND (l.\"c2\" IS NULL OR l.\"c2\" < {t}.\"n\"))");
        let count = sql.count_rows().unwrap();
        assert!(count.contains(&format!("min(CASE WHEN t.\"id\" IS NOT NULL AND {} THEN 1 ELSE 0 END)", newer("t"))));
        expect(
            &sql.replace_rows(true).unwrap(),
            &format!(
                "UPDATE \"public\".\"orders\" SET \"name\" = l.\"c1\", \"n\" = l.\"c2\" FROM LAST l \
                 WHERE \"public\".\"orders\".\"id\" = l.\"c0\" AND NOT {}",
                newer("\"public\".\"orders\"")
            ),
        );
    }

    #[test]
    fn all_columns_of_a_key_have_to_agree() {
        let mode = Mode::Upsert { key: vec!["id".to_owned(), "name".to_owned()], order_by: None };
        let (plan, load_id) = plan(mode, &["id", "name"]);
        let sql = Statements { plan: &plan, load_id };
        assert!(sql.create_last().unwrap().contains("PARTITION BY \"c0\", \"c1\""));
        assert_eq!(sql.replace_rows(true), None);
        assert!(sql.insert_rows().ends_with("ON t.\"id\" = l.\"c0\" AND t.\"name\" = l.\"c1\" WHERE t.\"id\" IS NULL"));
    }

    #[test]
    fn a_replace_deletes_all() {
        let (plan, load_id) = plan(Mode::Replace, &["name"]);
        let sql = Statements { plan: &plan, load_id };
        assert!(sql.create_stage().ends_with("\"c0\" VARCHAR(128)) DISTSTYLE EVEN"));
        assert_eq!(sql.replace_rows(false).unwrap(), "DELETE FROM \"public\".\"orders\"");
        expect(&sql.insert_rows(), "INSERT INTO \"public\".\"orders\" (\"name\") SELECT \"c0\" FROM STAGE");
    }

    #[test]
    fn a_copy_names_one_manifest() {
        let sql = copy_sql("\"t\"", "s3://b/it's/load.manifest", "IAM_ROLE 'arn' REGION 'us-east-2'", "token");
        assert_eq!(
            sql,
            "COPY \"t\" FROM 's3://b/it''s/load.manifest' IAM_ROLE 'arn' REGION 'us-east-2' MANIFEST FORMAT AS CSV ZSTD \
             NULL AS 'token' DATEFORMAT 'auto' TIMEFORMAT 'auto' ROUNDEC COMPUPDATE OFF STATUPDATE OFF"
        );
    }
}
