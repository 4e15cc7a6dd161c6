//! Amazon Redshift, clusters and serverless.
//!
//! What it cannot do: enforce a key, number rows, or keep the order of what it reads, so all of that is done
//! here. It waits for nobody in the middle of a load: rows travel through a bucket as parts (`parts.rs`), COPY
//! brings them into a temporary table, and a short transaction into their table (`load.rs`). One writer per
//! table: a row of the ledger (`ledger.rs`) that every load changes first.
//!
//! An unqualified table is one of the schema `public`, whatever the role's search path says. Names fold to
//! lower case, in double quotes too.

mod check;
mod columns;
mod describe;
mod encode;
mod error;
mod ledger;
mod load;
mod manifest;
mod parts;
mod plan;
mod quote;
mod refusal;
mod sessions;
mod sql;
mod staging;
mod transaction;

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use longshore_postgres::Config;
use secrecy::SecretString;

use self::ledger::Ledger;
pub use self::staging::{Staged, Staging};
use crate::session::{Pool, Session};
use crate::{
    Begun, Candidate, Cursor, Entry, EntryKind, Finding, Kind, Known, LoadId, LoadSpec, Mode, NewTable, ObjectSpec,
    QualifiedName, Swept, Table, TableName, Tally, Warehouse, WarehouseError, entries,
};

/// What [`RedshiftConfig::slices`] should be where nobody knows better: the smallest clusters have 2 to 4.
pub const SLICES: u16 = 4;

/// What [`RedshiftConfig::hold`] should be: longer than most loads hold a fence, and than it takes to end the
/// session of a dead one. What was staged is kept that long.
pub const HOLD: Duration = Duration::from_secs(600);

/// The most that [`RedshiftConfig::slices`] may be.
pub const MOST_SLICES: u16 = 512;

/// Where the database and its staging bucket are, and how long to wait.
#[derive(Debug, Clone)]
pub struct RedshiftConfig {
    /// Where and as whom to connect.
    pub connect: Config,
    /// As whom Redshift reads the staging bucket.
    pub authorization: Authorization,
    /// Region of the staging bucket, where it is not Redshift's own.
    pub region: Option<String>,
    /// The bucket through which rows travel.
    pub staging: Arc<dyn Staging>,
    /// The prefix of all keys that are written there.
    pub prefix: String,
    /// The number of slices that read a load's parts at once ([`SLICES`]).
    pub slices: u16,
    /// How long to wait for a table's fence at a time.
    pub wait: Duration,
    /// How long to wait for it in all ([`HOLD`]).
    pub hold: Duration,
    /// How long the server may take for a short statement before it is given up.
    pub patience: Duration,
    /// A word, the same for all processes of one project and for no other project: what others staged is
    /// not swept away.
    pub project: String,
}

/// As whom Redshift reads the staging bucket.
#[derive(Clone)]
pub enum Authorization {
    /// A role by its ARN, a chain of roles with commas between them, or `default`.
    IamRole(String),
    /// Keys, which then stand in the statement that Redshift keeps for its administrators to read. For stores
    /// that no role reaches.
    Keys {
        /// Id of the access key.
        access_key_id: String,
        /// The secret key.
        secret_access_key: SecretString,
        /// Token of a session, with keys that live for a while.
        session_token: Option<SecretString>,
    },
}

impl Authorization {
    /// Who reads, without secrets, for messages.
    fn describe(&self) -> String {
        match self {
            Self::IamRole(role) if role == "default" => "the cluster's default role".to_owned(),
            Self::IamRole(role) => format!("the role `{role}`"),
            Self::Keys { access_key_id, .. } => format!("the keys of `{access_key_id}`"),
        }
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IamRole(role) => f.debug_tuple("IamRole").field(role).finish(),
            Self::Keys { .. } => f.write_str("Keys([redacted])"),
        }
    }
}

/// A Redshift database as a warehouse.
#[derive(Debug)]
pub struct Redshift {
    shared: Arc<Shared>,
}

/// What open loads share with their warehouse.
#[derive(Debug)]
struct Shared {
    pool: Arc<Pool>,
    config: RedshiftConfig,
    /// Tables whose ledger was there: it is not looked for before every load.
    ledgers: Mutex<HashSet<QualifiedName>>,
    /// Tables that this user was found to be allowed to load, with the mode.
    allowed: Mutex<HashSet<(QualifiedName, &'static str)>>,
}

fn has<T: Eq + Hash>(set: &Mutex<HashSet<T>>, value: &T) -> bool {
    set.lock().unwrap_or_else(PoisonError::into_inner).contains(value)
}

fn keep<T: Eq + Hash>(set: &Mutex<HashSet<T>>, value: T) {
    set.lock().unwrap_or_else(PoisonError::into_inner).insert(value);
}

impl Shared {
    /// Makes the ledger of a table where it is missing.
    async fn ensure_ledger(
        &self,
        session: &Session,
        table: &QualifiedName,
        ledger: &Ledger,
    ) -> Result<(), WarehouseError> {
        if !has(&self.ledgers, table) {
            ledger.ensure(session).await?;
            keep(&self.ledgers, table.clone());
        }
        Ok(())
    }

    /// Looks for the ledger again next time.
    fn forget_ledger(&self, table: &QualifiedName) {
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner).remove(table);
    }

    /// Refuses a load for which this user lacks a right, before anything is staged for it.
    async fn may_load(&self, session: &Session, table: &QualifiedName, mode: &Mode) -> Result<(), WarehouseError> {
        let allowed = (table.clone(), mode.as_str());
        if has(&self.allowed, &allowed) {
            return Ok(());
        }
        let missing = check::missing_rights(session, table, mode).await?;
        if missing.is_empty() {
            keep(&self.allowed, allowed);
            return Ok(());
        }
        let missing = missing.join(", ");
        Err(WarehouseError::new(
            Kind::AccessDenied,
            format!("this user may not {missing} on `{table}`, which `mode = \"{}\"` needs", mode.as_str()),
        )
        .cure(format!("GRANT {missing} ON {table} TO {}", user(session).await?)))
    }
}

/// The user of a session, as a statement names it. With a login by IAM nothing else knows who that is.
async fn user(session: &Session) -> Result<String, WarehouseError> {
    let answers = session.ask("SELECT current_user", || "asking who this user is".to_owned()).await?;
    Ok(longshore_postgres::quote::ident(answers.first().and_then(|answer| answer.value()).unwrap_or_default().trim()))
}

/// Names the right that a user lacks who may create no temporary table.
async fn without_temp(error: WarehouseError, session: &Session, shared: &Shared) -> WarehouseError {
    if *error.kind() != Kind::AccessDenied
        || !error.server_text().is_some_and(|text| text.contains("permission denied"))
    {
        return error;
    }
    let database = longshore_postgres::quote::ident(shared.config.connect.database());
    match user(session).await {
        Ok(user) => error.cure(format!("GRANT TEMP ON DATABASE {database} TO {user}")),
        Err(_) => error,
    }
}

impl Redshift {
    /// A warehouse in this database. Connects when there is work.
    pub fn new(config: RedshiftConfig) -> Self {
        let greeting = vec!["SET query_group TO 'longshore'".to_owned(), sql::timeout_sql(load::LONGEST)];
        let shared = Shared {
            pool: Pool::new(config.connect.clone(), config.patience, error::failed, greeting),
            config,
            ledgers: Mutex::new(HashSet::new()),
            allowed: Mutex::new(HashSet::new()),
        };
        Self { shared: Arc::new(shared) }
    }
}

/// The statements of a load, in their order.
fn script(
    config: &RedshiftConfig,
    spec: &LoadSpec,
    plan: &plan::Plan,
    ledger: &Ledger,
    epoch: i64,
) -> Result<Vec<String>, WarehouseError> {
    let statements = sql::Statements { plan, load_id: spec.load_id };
    let manifest = parts::manifest_key(&staging::of_load(&config.prefix, &config.project, spec.load_id));
    let url = config.staging.url(&manifest);
    let access = sql::access_sql(config, false);
    let tally = Tally { kind: EntryKind::Load, content_hash: None, rows_read: 0, rows_rejected: 0 };
    let nothing = vec![0; spec.objects.len()];
    let written = entries::entries(spec, &plan.table.table.name, &nothing, &vec![tally; spec.objects.len()])?;
    let newer_than = spec.mode.is_ordered().then_some(spec.seen_latest.as_ref());
    let mut script = vec![
        sql::name_sql(spec.load_id, &config.project),
        statements.create_stage(),
        sql::copy_sql(&statements.stage(), &url, &access, "<a word drawn for each load>"),
        sql::COPY_COUNT.to_owned(),
    ];
    script.extend(statements.create_last());
    script.extend([
        sql::timeout_sql(config.wait),
        "BEGIN".to_owned(),
        ledger.fence_sql(epoch, &crate::session::name_of(spec.load_id, &config.project)),
        sql::timeout_sql(load::LONGEST),
        ledger.fenced_sql(&spec.objects, newer_than),
    ]);
    script.extend(statements.count_rows());
    script.extend(statements.replace_rows(true));
    script.push(statements.insert_rows());
    script.extend(ledger.insert_sql(&written));
    script.extend(["COMMIT".to_owned(), statements.drop()]);
    Ok(script)
}

/// The lines in which rows travel to columns of these types, for tests; `None` where a value cannot be written.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub fn lines(types: &[&str], batch: &crate::RowBatch) -> Option<Vec<u8>> {
    let wires: Vec<_> = types.iter().map(|spelled| columns::kind(spelled).wire).collect::<Option<_>>()?;
    let null = encode::NullToken::of_tests();
    let mut chunk = encode::Chunk::default();
    encode::Columns::new(&wires, batch, None, &null).write(0, &mut chunk, usize::MAX).ok()?;
    Some(chunk.bytes)
}

#[async_trait]
impl Warehouse for Redshift {
    async fn describe(&self, table: &TableName) -> Result<Table, WarehouseError> {
        let describe = |session: Session| async {
            let described = describe::describe(&session, table).await;
            (session, described.map(|described| described.table))
        };
        self.shared.pool.with(describe).await
    }

    async fn lookup(&self, table: &TableName, candidates: &[Candidate]) -> Result<Known, WarehouseError> {
        let (name, ledger) = named(table);
        let lookup = |session: Session| async {
            let known = match self.has_ledger(&session, &name, &ledger).await {
                Ok(true) => self.or_forget(&name, ledger.lookup(&session, candidates).await),
                Ok(false) => Ok(Known::default()),
                Err(error) => Err(error),
            };
            (session, known)
        };
        self.shared.pool.with(lookup).await
    }

    async fn page(&self, table: &TableName, after: Option<&Cursor>) -> Result<Vec<Entry>, WarehouseError> {
        let (name, ledger) = named(table);
        let page = |session: Session| async {
            let page = match self.has_ledger(&session, &name, &ledger).await {
                Ok(true) => self.or_forget(&name, ledger.page(&session, after).await),
                Ok(false) => Ok(Vec::new()),
                Err(error) => Err(error),
            };
            (session, page)
        };
        self.shared.pool.with(page).await
    }

    /// Fences in `commit`, in every mode: until then no row has come near the table.
    async fn begin(&self, spec: LoadSpec) -> Result<Begun, WarehouseError> {
        load::begin(self.shared.clone(), spec).await
    }

    fn fences_late(&self) -> bool {
        true
    }

    fn takes_verbatim(&self) -> bool {
        true
    }

    /// With the table as it is now. Counts and the word for NULL are settled while the load runs.
    async fn statements(&self, spec: &LoadSpec) -> Result<Vec<String>, WarehouseError> {
        let look = |session: Session| async {
            let looked = async {
                let plan = plan::Plan::new(describe::describe(&session, &spec.table).await?, spec)?;
                let ledger = Ledger::of(&plan.table.table.name);
                let epoch = match ledger.find(&session).await? {
                    true => ledger.look(&session, &spec.objects).await?.epoch,
                    false => 0,
                };
                Ok((plan, ledger, epoch))
            };
            let looked = looked.await;
            (session, looked)
        };
        let (plan, ledger, epoch) = self.shared.pool.with(look).await?;
        let candidate = |object: &ObjectSpec| Candidate {
            identity: object.identity,
            pipeline: spec.pipeline.clone(),
            key: object.key.clone(),
        };
        let candidates: Vec<Candidate> = spec.objects.iter().map(candidate).collect();
        let mut statements = ledger.looks_sql(&candidates, &spec.objects);
        statements.extend(script(&self.shared.config, spec, &plan, &ledger, epoch)?);
        Ok(statements)
    }

    /// Removes what loads left in the staging bucket, and ends sessions that hold a fence. Temporary tables end
    /// with their sessions.
    async fn sweep(&self, live: &HashSet<LoadId>, before: Timestamp) -> Result<Swept, WarehouseError> {
        let config = &self.shared.config;
        let sweep = |session: Session| async {
            let ended = sessions::sweep(&session, &config.project, live, before).await;
            (session, ended)
        };
        let ended = self.shared.pool.with(sweep).await;
        let swept = staging::sweep(config.staging.as_ref(), &config.prefix, &config.project, live, before).await?;
        // What the server does not tell holds back nothing: a session that is left over ends some day.
        let backends = ended.unwrap_or_else(|error| {
            tracing::debug!("{error}");
            0
        });
        Ok(Swept { backends, ..swept })
    }

    async fn check(&self, uses: &[(TableName, Mode)]) -> Vec<Finding> {
        check::check(&self.shared, uses).await
    }

    async fn ledger_sql(&self) -> Result<String, WarehouseError> {
        let pool = &self.shared.pool;
        let user = match pool.has_fetched_user() {
            false => longshore_postgres::quote::ident(pool.user()),
            true => {
                let ask = |session: Session| async {
                    let user = user(&session).await;
                    (session, user)
                };
                pool.with(ask).await?
            }
        };
        Ok(ledger::sql(&user))
    }

    fn create_table_sql(&self, table: &NewTable) -> String {
        crate::sql::create_table_sql(&folded(table), columns::type_sql)
    }

    async fn release(&self) {
        self.shared.pool.release().await;
    }
}

impl Redshift {
    /// Whether a table has a ledger.
    async fn has_ledger(
        &self,
        session: &Session,
        table: &QualifiedName,
        ledger: &Ledger,
    ) -> Result<bool, WarehouseError> {
        Ok(has(&self.shared.ledgers, table) || ledger.find(session).await?)
    }

    /// Looks for a ledger again that turned out to be of no use.
    fn or_forget<T>(&self, table: &QualifiedName, used: Result<T, WarehouseError>) -> Result<T, WarehouseError> {
        used.inspect_err(|_| self.shared.forget_ledger(table))
    }
}

/// How the ledger knows a table.
fn named(table: &TableName) -> (QualifiedName, Ledger) {
    let name = quote::resolved(table);
    let ledger = Ledger::of(&name);
    (name, ledger)
}

/// A proposed table by the names that it will have.
fn folded(table: &NewTable) -> NewTable {
    let mut folded = table.clone();
    for column in &mut folded.columns {
        column.name = quote::folded(&column.name);
    }
    for ident in folded.name.schema.iter_mut().chain([&mut folded.name.name]) {
        ident.text = quote::folded(&ident.text);
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::parts::tests::Memory;
    use super::plan::tests::{orders, spec_of, upsert};
    use super::*;
    use crate::testing::conformance::object;

    fn config(authorization: Authorization) -> RedshiftConfig {
        RedshiftConfig {
            connect: Config::with_environment("redshift://loader@localhost/analytics", &|_| None).unwrap(),
            authorization,
            region: Some("us-east-2".to_owned()),
            staging: Arc::new(Memory::default()),
            prefix: "staging/".to_owned(),
            slices: SLICES,
            wait: Duration::from_secs(15),
            hold: HOLD,
            patience: Duration::from_secs(120),
            project: "acme".to_owned(),
        }
    }

    fn keys() -> Authorization {
        Authorization::Keys {
            access_key_id: "AKIA1".to_owned(),
            secret_access_key: "hunter2".into(),
            session_token: Some("hunter3".into()),
        }
    }

    fn script_of(mode: Mode, columns: &[&str], objects: usize, authorization: Authorization) -> Vec<String> {
        let mut spec = spec_of(mode, columns);
        spec.objects = (0..objects).map(|n| object(&format!("{n}.csv"), n as i64, &[]).spec).collect();
        let plan = plan::Plan::new(orders(), &spec).unwrap();
        let ledger = Ledger::of(&plan.table.table.name);
        script(&config(authorization), &spec, &plan, &ledger, 7).unwrap()
    }

    #[test]
    fn a_load_has_as_many_statements_for_many_objects_as_for_one() {
        // Before these come four that describe the table and look into its ledger.
        const BEFORE: usize = 4;
        let role = || Authorization::IamRole("arn:aws:iam::123456789012:role/longshore".to_owned());
        let append = || script_of(Mode::Append, &["id", "name"], 1, role());
        for (mode, columns) in [
            (Mode::Append, &["id", "name"][..]),
            (Mode::Replace, &["id", "name"]),
            (upsert(None), &["id", "name", "n"]),
            (upsert(None), &["id", "name"]),
            (upsert(Some("n")), &["id", "name", "n"]),
        ] {
            let one = script_of(mode.clone(), columns, 1, role());
            let many = script_of(mode, columns, 300, role());
            assert_eq!(one.len(), many.len());
            assert!(one.len() + BEFORE <= 20, "{}: {one:#?}", one.len());
        }
        let sql = append();
        assert_eq!(sql[0], "SET application_name TO 'longshore 0198c0de-0000-7000-8000-000000000001 acme'");
        assert!(sql[2].contains(
            "FROM 's3://bucket/staging/acme/0198c0de-0000-7000-8000-000000000001/load.manifest' \
             IAM_ROLE 'arn:aws:iam::123456789012:role/longshore' REGION 'us-east-2' MANIFEST FORMAT AS CSV ZSTD NULL AS"
        ));
        // The fence is the first statement of the transaction.
        let begin = sql.iter().position(|statement| statement == "BEGIN").unwrap();
        assert!(
            sql[begin - 1] == "SET statement_timeout TO 15000"
                && sql[begin + 1].starts_with("UPDATE \"longshore\".\"head_")
        );
        assert!(sql.iter().position(|s| s.starts_with("COPY ")).unwrap() < begin);
        assert!(!sql.iter().any(|statement| statement.contains("TRUNCATE") || statement.contains("now()")));
    }

    #[test]
    fn keys_are_shown_to_the_server_only() {
        let sql = script_of(Mode::Append, &["id"], 1, keys()).join("\n");
        assert!(sql.contains("ACCESS_KEY_ID 'AKIA1' SECRET_ACCESS_KEY '[redacted]' SESSION_TOKEN '[redacted]'"));
        let config = config(keys());
        assert!(!format!("{sql} {config:?} {:?}", Redshift::new(config.clone())).contains("hunter"));
        let sent = sql::access_sql(&config, true);
        assert_eq!(
            sent,
            "ACCESS_KEY_ID 'AKIA1' SECRET_ACCESS_KEY 'hunter2' SESSION_TOKEN 'hunter3' REGION 'us-east-2'"
        );
        let default = Authorization::IamRole("default".to_owned());
        assert!(script_of(Mode::Append, &["id"], 1, default)[2].contains(" IAM_ROLE default REGION "));
    }

    #[test]
    fn a_proposed_table_bears_folded_names() {
        let column =
            |name: &str| crate::NewColumn { name: name.to_owned(), ty: crate::ColumnType::Int64, nullable: true };
        let table =
            NewTable { name: "\"Orders\"".parse().unwrap(), columns: vec![column("PassengerId"), column("Name x")] };
        let sql = Redshift::new(config(keys())).create_table_sql(&table);
        assert_eq!(sql, "CREATE TABLE orders (\n    passengerid bigint,\n    \"name x\"    bigint\n);");
    }
}
