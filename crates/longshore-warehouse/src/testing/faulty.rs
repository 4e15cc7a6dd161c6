//! A warehouse that wraps a real one and does what a script says.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::{
    Begun, Candidate, Committed, Cursor, Entry, Finding, Kind, Known, Load, LoadId, LoadSpec, Mode, NewTable,
    ObjectSpec, RowBatch, Swept, Table, TableName, Tally, Warehouse, WarehouseError,
};

/// A call of the boundary at which something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// [`Warehouse::describe`].
    Describe,
    /// [`Warehouse::lookup`].
    Lookup,
    /// [`Warehouse::page`].
    Page,
    /// [`Warehouse::begin`].
    Begin,
    /// [`Load::write`].
    Write,
    /// [`Load::commit`].
    Commit,
    /// [`Load::rollback`].
    Rollback,
}

/// What happens at a step. Each is used up by one call.
#[derive(Debug, Clone)]
pub enum Mishap {
    /// The call answers an error of this kind and does nothing; a `commit` rolls back.
    Refuse(Kind),
    /// The commit is really done, but its answer is lost: [`Kind::OutcomeUnknown`]. At any other
    /// step: the call is really done, and answers [`Kind::Unreachable`].
    FailAfterCommit,
    /// The call waits until the test says go on ([`Held::release`]).
    Hold(Held),
    /// The call takes this much longer, by tokio's clock.
    Slow(Duration),
    /// Nothing: this call goes through, so that a later one can be meant.
    Pass,
}

/// A call that is held up.
#[derive(Debug, Clone)]
pub struct Held(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    reached: Semaphore,
    released: Semaphore,
}

impl Held {
    fn new() -> Self {
        Self(Arc::new(Gate { reached: Semaphore::new(0), released: Semaphore::new(0) }))
    }

    /// Waits until the call has come to where it is held.
    pub async fn reached(&self) {
        if let Ok(permit) = self.0.reached.acquire().await {
            permit.forget();
        }
    }

    /// Lets the call go on.
    pub fn release(&self) {
        self.0.released.add_permits(1);
    }

    async fn hold(&self) {
        self.0.reached.add_permits(1);
        if let Ok(permit) = self.0.released.acquire().await {
            permit.forget();
        }
    }
}

/// Wraps a warehouse and does what a script says; without a script it is the warehouse.
///
/// # Examples
///
/// ```no_run
/// # use std::sync::Arc;
/// # use longshore_warehouse::testing::{FaultyWarehouse, Mishap, Step};
/// # fn example(real: Arc<dyn longshore_warehouse::Warehouse>) {
/// let warehouse = FaultyWarehouse::new(real);
/// warehouse.script(Step::Commit, Mishap::FailAfterCommit);
/// # }
/// ```
pub struct FaultyWarehouse {
    inner: Arc<dyn Warehouse>,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    mishaps: HashMap<Step, VecDeque<Mishap>>,
    calls: HashMap<Step, usize>,
}

impl fmt::Debug for FaultyWarehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyWarehouse").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl FaultyWarehouse {
    /// Wraps a warehouse.
    pub fn new(inner: Arc<dyn Warehouse>) -> Self {
        Self { inner, script: Arc::default() }
    }

    /// Adds what happens at the next call of this step that has no mishap yet.
    pub fn script(&self, step: Step, mishap: Mishap) {
        lock(&self.script).mishaps.entry(step).or_default().push_back(mishap);
    }

    /// Holds up the next call of this step that has no mishap yet.
    pub fn hold(&self, step: Step) -> Held {
        let held = Held::new();
        self.script(step, Mishap::Hold(held.clone()));
        held
    }

    /// How often a step was called.
    pub fn calls(&self, step: Step) -> usize {
        lock(&self.script).calls.get(&step).copied().unwrap_or_default()
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is left to do after the mishaps that come before a call.
enum After {
    Nothing,
    LoseTheAnswer,
}

async fn before(script: &Mutex<Script>, step: Step) -> Result<After, WarehouseError> {
    let mishap = {
        let mut script = lock(script);
        *script.calls.entry(step).or_default() += 1;
        script.mishaps.get_mut(&step).and_then(VecDeque::pop_front)
    };
    match mishap {
        None | Some(Mishap::Pass) => {}
        Some(Mishap::Refuse(kind)) => {
            return Err(WarehouseError::new(kind, format!("{step:?} is refused by the script")));
        }
        Some(Mishap::FailAfterCommit) => return Ok(After::LoseTheAnswer),
        Some(Mishap::Hold(held)) => held.hold().await,
        Some(Mishap::Slow(duration)) => tokio::time::sleep(duration).await,
    }
    Ok(After::Nothing)
}

fn lost(kind: Kind) -> WarehouseError {
    WarehouseError::new(kind, "the answer is lost by the script")
}

#[async_trait]
impl Warehouse for FaultyWarehouse {
    async fn describe(&self, table: &TableName) -> Result<Table, WarehouseError> {
        let after = before(&self.script, Step::Describe).await?;
        let answer = self.inner.describe(table).await;
        or_lost(after, answer)
    }

    async fn lookup(&self, table: &TableName, candidates: &[Candidate]) -> Result<Known, WarehouseError> {
        let after = before(&self.script, Step::Lookup).await?;
        let answer = self.inner.lookup(table, candidates).await;
        or_lost(after, answer)
    }

    async fn page(&self, table: &TableName, cursor: Option<&Cursor>) -> Result<Vec<Entry>, WarehouseError> {
        let after = before(&self.script, Step::Page).await?;
        let answer = self.inner.page(table, cursor).await;
        or_lost(after, answer)
    }

    async fn begin(&self, spec: LoadSpec) -> Result<Begun, WarehouseError> {
        let after = before(&self.script, Step::Begin).await?;
        let begun = or_lost(after, self.inner.begin(spec).await)?;
        Ok(match begun {
            Begun::Open(inner) => Begun::Open(Box::new(FaultyLoad { inner, script: self.script.clone() })),
            already => already,
        })
    }

    fn fences_late(&self) -> bool {
        self.inner.fences_late()
    }

    fn takes_verbatim(&self) -> bool {
        self.inner.takes_verbatim()
    }

    async fn sweep(&self, live: &HashSet<LoadId>, before: Timestamp) -> Result<Swept, WarehouseError> {
        self.inner.sweep(live, before).await
    }

    async fn check(&self, uses: &[(TableName, Mode)]) -> Vec<Finding> {
        self.inner.check(uses).await
    }

    async fn ledger_sql(&self) -> Result<String, WarehouseError> {
        self.inner.ledger_sql().await
    }

    async fn statements(&self, spec: &LoadSpec) -> Result<Vec<String>, WarehouseError> {
        self.inner.statements(spec).await
    }

    fn create_table_sql(&self, table: &NewTable) -> String {
        self.inner.create_table_sql(table)
    }

    async fn release(&self) {
        self.inner.release().await;
    }
}

fn or_lost<T>(after: After, answer: Result<T, WarehouseError>) -> Result<T, WarehouseError> {
    match after {
        After::Nothing => answer,
        After::LoseTheAnswer => answer.and(Err(lost(Kind::Unreachable))),
    }
}

struct FaultyLoad {
    inner: Box<dyn Load>,
    script: Arc<Mutex<Script>>,
}

#[async_trait]
impl Load for FaultyLoad {
    async fn write(&mut self, batch: RowBatch) -> Result<(), WarehouseError> {
        let after = before(&self.script, Step::Write).await?;
        let answer = self.inner.write(batch).await;
        or_lost(after, answer)
    }

    fn join(&mut self, object: ObjectSpec) -> Result<(), WarehouseError> {
        self.inner.join(object)
    }

    async fn commit(self: Box<Self>, tallies: &[Tally]) -> Result<Committed, WarehouseError> {
        let after = match before(&self.script, Step::Commit).await {
            Ok(after) => after,
            Err(error) => {
                self.inner.rollback().await?;
                return Err(error);
            }
        };
        let answer = self.inner.commit(tallies).await;
        match after {
            After::Nothing => answer,
            After::LoseTheAnswer => answer.and(Err(lost(Kind::OutcomeUnknown))),
        }
    }

    async fn rollback(self: Box<Self>) -> Result<(), WarehouseError> {
        let after = before(&self.script, Step::Rollback).await?;
        let answer = self.inner.rollback().await;
        or_lost(after, answer)
    }
}
