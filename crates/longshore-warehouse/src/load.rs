//! The traits that a driver implements, and what passes through them.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use arrow_array::{RecordBatch, StringViewArray, UInt64Array};
use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Candidate, Cursor, Entry, EntryKind, Finding, Generation, KnownHash, NewTable, ObjectId, Position, Table,
    TableName, WarehouseError,
};

/// A database that makes the rows of one load visible at once, or not at all.
///
/// # Contract
///
/// - Ledger and rows commit in one transaction.
/// - Repeatable by *identity and generation*: loading an object again adds no rows and answers
///   `AlreadyIn`.
/// - At most one load of a table is between its fence and its end, in this process and any other.
/// - Every identifier is quoted, every literal passed as a parameter or escaped.
/// - No method waits without a bound: what takes too long is [`crate::Kind::Busy`].
#[async_trait]
pub trait Warehouse: fmt::Debug + Send + Sync + 'static {
    /// Describes a table: columns with type, nullability, default, identity, generated; unique
    /// keys, foreign keys that point at it, triggers.
    ///
    /// # Errors
    /// [`crate::Kind::Missing`] where there is no such table.
    async fn describe(&self, table: &TableName) -> Result<Table, WarehouseError>;

    /// What the ledger knows of these candidates. Absence is a hint: only a fenced load proves it.
    async fn lookup(&self, table: &TableName, candidates: &[Candidate]) -> Result<Known, WarehouseError>;

    /// Ledger entries of a table in the order of [`Cursor`], at most [`PAGE_ENTRIES`] a call, for
    /// `audit` and for a journal that was lost. An empty page is the end.
    async fn page(&self, table: &TableName, after: Option<&Cursor>) -> Result<Vec<Entry>, WarehouseError>;

    /// Begins a load. Fences now where rows go straight into the target, else in
    /// [`Load::commit`]. Bounded wait: `Kind::Busy`.
    async fn begin(&self, spec: LoadSpec) -> Result<Begun, WarehouseError>;

    /// Whether a load holds up no other before [`Load::commit`], where its fence is. Then a load may be begun
    /// before all of its objects are known: the others join it ([`Load::join`]).
    fn fences_late(&self) -> bool {
        false
    }

    /// Whether rows are written as CSV again, so that the text of records is of use ([`RowBatch::verbatim`]).
    fn takes_verbatim(&self) -> bool {
        false
    }

    /// The statements that this load would send, its looks into the ledger first, for somebody who wants to
    /// read them; nothing is begun and nothing secret is in them.
    ///
    /// # Errors
    /// As [`Warehouse::begin`]; [`crate::Kind::Unsupported`] where a load is not a list of statements.
    async fn statements(&self, spec: &LoadSpec) -> Result<Vec<String>, WarehouseError> {
        let text = format!("a load of `{}` is no list of statements in this warehouse", spec.table);
        Err(WarehouseError::new(crate::Kind::Unsupported, text)
            .cure("`longshore plan` without `--sql` shows what would be loaded"))
    }

    /// Removes what loads that are not in `live` and began before `before` left behind, and ends
    /// their backends.
    async fn sweep(&self, live: &HashSet<LoadId>, before: Timestamp) -> Result<Swept, WarehouseError>;

    /// Tries what loading needs (reach the database, create or find the ledger, use the tables)
    /// and says, hop by hop, what works and what does not, for the modes in which tables are loaded.
    /// Finds; never fails.
    async fn check(&self, uses: &[(TableName, Mode)]) -> Vec<Finding>;

    /// The statements that create the ledger, for somebody who may, when this user may not. Connects only
    /// where nothing else says who this user is.
    async fn ledger_sql(&self) -> Result<String, WarehouseError>;

    /// The CREATE TABLE statement for a table that `init` proposes, in this warehouse's words.
    fn create_table_sql(&self, table: &NewTable) -> String;

    /// Lets go of what is held between loads (a file lock, idle connections), at once.
    async fn release(&self);
}

/// Entries in one answer of [`Warehouse::page`]: some 500 KiB of memory.
pub const PAGE_ENTRIES: usize = 1_000;

/// What [`Warehouse::begin`] answers.
pub enum Begun {
    /// The load is open.
    Open(Box<dyn Load>),
    /// These entries are in the ledger already: nothing was begun, plan again.
    AlreadyIn(Vec<Entry>),
}

/// One open load. Dropping it rolls back; after an error only [`Load::rollback`] is allowed.
///
/// # Contract
///
/// - All or nothing: until `commit` answers `Loaded`, no reader sees a row or an entry.
/// - An unknown outcome is an error of its own kind ([`crate::Kind::OutcomeUnknown`]), never a
///   guess.
#[async_trait]
pub trait Load: Send {
    /// Takes rows of `spec.objects[batch.object]`, lines ascending; returns when there is room.
    /// Batches of one object are not mixed with another's. The object is known good, or is alone
    /// in the load.
    ///
    /// # Errors
    /// Server faults that lie in the rows are [`crate::Kind::Rows`], with object, line and column
    /// as far as the server tells.
    async fn write(&mut self, batch: RowBatch) -> Result<(), WarehouseError>;

    /// Takes one more object into the load: it counts as the last of `spec.objects` from now on.
    ///
    /// # Errors
    /// [`crate::Kind::Unsupported`] where the objects have to be known when the load is begun
    /// ([`Warehouse::fences_late`]).
    fn join(&mut self, object: ObjectSpec) -> Result<(), WarehouseError> {
        let text = format!("`{}` comes after its load was begun: this is a bug in longshore", object.key);
        Err(WarehouseError::new(crate::Kind::Unsupported, text))
    }

    /// Fence, ledger check, dedupe, merge, compare counts with `tallies`, ledger, COMMIT.
    ///
    /// `tallies` has one element for each of `spec.objects`, in order, and for those that joined. Under the fence the table's
    /// latest position is compared with [`LoadSpec::seen_latest`] where the mode asks for it
    /// ([`Mode::is_ordered`]); if another load committed in between, the answer is `AlreadyIn`
    /// with the newer entry.
    ///
    /// # Errors
    /// `Kind::OutcomeUnknown`: begin again; the fenced check then answers `AlreadyIn`.
    async fn commit(self: Box<Self>, tallies: &[Tally]) -> Result<Committed, WarehouseError>;

    /// Gives the load up: nothing of it remains.
    async fn rollback(self: Box<Self>) -> Result<(), WarehouseError>;
}

/// What [`Load::commit`] answers.
#[derive(Debug)]
pub enum Committed {
    /// Rows and entries are in.
    Loaded(Receipt),
    /// Nothing was written: somebody else has these entries in, plan again.
    AlreadyIn(Vec<Entry>),
}

/// What the warehouse reports of a committed load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The load.
    pub load_id: LoadId,
    /// The entries as they were written, in the order of `spec.objects`.
    pub entries: Vec<Entry>,
    /// Rows of the target that an upsert changed or a replace removed (0 for append).
    pub rows_replaced: u64,
}

/// Identifies a load: a UUIDv7, so that ids sort by the time they were drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoadId(Uuid);

impl LoadId {
    /// Draws a new id.
    pub fn draw() -> Self {
        Self(Uuid::now_v7())
    }

    /// When it was drawn, to the millisecond; `None` for an id of another kind.
    pub fn drawn_at(&self) -> Option<Timestamp> {
        let (seconds, nanoseconds) = self.0.get_timestamp()?.to_unix();
        Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
    }
}

impl fmt::Display for LoadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for LoadId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// How rows enter the target table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Every row is added.
    Append,
    /// A row replaces the row of the same key, or is added.
    Upsert {
        /// Key columns of the target, at least one.
        key: Vec<String>,
        /// Column whose greater value wins (ties: the later row); `None`: the later row wins.
        order_by: Option<String>,
    },
    /// The object is the whole table.
    Replace,
}

impl Mode {
    /// The word for it in configuration and ledger.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Upsert { .. } => "upsert",
            Self::Replace => "replace",
        }
    }

    /// Whether objects must take effect in the order of their positions: replace, and upsert
    /// without `order_by`.
    pub const fn is_ordered(&self) -> bool {
        matches!(self, Self::Replace | Self::Upsert { order_by: None, .. })
    }
}

/// One load, as planned.
#[derive(Debug, Clone)]
pub struct LoadSpec {
    /// Its id, new for every attempt.
    pub load_id: LoadId,
    /// The target.
    pub table: TableName,
    /// The pipeline.
    pub pipeline: String,
    /// How rows enter.
    pub mode: Mode,
    /// The objects in the order in which they take effect. For `replace`: the older ones, then
    /// the one that is applied.
    pub objects: Vec<ObjectSpec>,
    /// Target columns that the batches carry, in the order of the batches' columns, each with the
    /// name as [`Table`] spells it. Columns of the target that are not named keep their value or
    /// get their default.
    pub columns: Vec<String>,
    /// Hash of the pipeline rules in force.
    pub rules_hash: String,
    /// The table's latest position when this was planned ([`Known::latest`]).
    pub seen_latest: Option<Position>,
    /// The time that the ledger gives for the load.
    pub loaded_at: Timestamp,
}

/// One object of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSpec {
    /// Its identity.
    pub identity: ObjectId,
    /// Which load of it this is.
    pub generation: Generation,
    /// The object from which it was derived, if it was.
    pub parent: Option<ObjectId>,
    /// Id of the bucket.
    pub bucket: String,
    /// Key when it was listed.
    pub key: String,
    /// ETag when it was listed.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
    /// Last-modified when it was listed.
    pub modified_at: Timestamp,
    /// Whether it is older than one already committed.
    pub late: bool,
    /// Where the archive will put it; `None` where it stays.
    pub archive_key: Option<String>,
}

/// What became of one object while it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// What its entry records. Only [`EntryKind::Load`] may have rows written.
    pub kind: EntryKind,
    /// BLAKE3 of the raw bytes as 64 hexadecimal digits; `None` where nothing was read.
    pub content_hash: Option<String>,
    /// Data records that the reader counted.
    pub rows_read: u64,
    /// Of those, rows that did not fit and were not written.
    pub rows_rejected: u64,
}

impl Tally {
    /// Rows that the warehouse was given.
    pub const fn rows_written(&self) -> u64 {
        self.rows_read - self.rows_rejected
    }
}

/// What the ledger knows, by [`Warehouse::lookup`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Entries of the candidates' identities, all generations.
    pub entries: Vec<Entry>,
    /// Contents that the candidates' pipelines once loaded from the candidates' keys (entries of
    /// kind `load`).
    pub hashes: Vec<KnownHash>,
    /// The greatest position among the table's entries of kind `load`.
    pub latest: Option<Position>,
}

/// Rows of one object.
///
/// The Arrow type of each column follows from the target's [`crate::ColumnType`]
/// ([`crate::ColumnType::arrow`]).
#[derive(Debug, Clone)]
pub struct RowBatch {
    /// Index into `spec.objects`.
    pub object: u32,
    /// Line of the object at which each row begins, ascending, 1 the first; as long as `rows`.
    pub lines: UInt64Array,
    /// The columns of `spec.columns`, in that order.
    pub rows: RecordBatch,
    /// For each row its line of a CSV of these columns, without line end, if it is known; else NULL. It is delimited by
    /// commas, no field is NULL, and a field stands in double quotes only if it is a text that is not empty and holds
    /// none; one without them holds none either, and has no blank at an end. Numbers have a digit on both sides of their
    /// point and none before it that is not needed; days and times are in ISO order with a blank between them, and times
    /// have seconds; booleans are `t` and `f`. With columns of other types there is none.
    pub verbatim: Option<StringViewArray>,
}

/// What [`Warehouse::sweep`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Staging tables or prefixes removed.
    pub staging: u64,
    /// Backends ended.
    pub backends: u64,
}

/// The generation of a first load.
pub const FIRST_GENERATION: Generation = 1;
