//! What state each migration is in: the history's rows and the scripts, side by side.
//!
//! A pure function of both; the rules and the names of the states are Flyway's.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use crate::history::{Row, RowKind, cut_description};
use crate::name::Kind;
use crate::script::Script;
use crate::settings::Target;
use crate::version::Version;

/// What a migration belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Runs once.
    Versioned,
    /// Runs whenever it changed.
    Repeatable,
    /// Takes the place of others.
    Baseline,
    /// Takes one back.
    Undo,
    /// A mark in the history.
    Mark,
}

impl Category {
    /// As `info` shows it; nothing for marks.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Versioned => "Versioned",
            Self::Repeatable => "Repeatable",
            Self::Baseline => "Baseline",
            Self::Undo => "Undo",
            Self::Mark => "",
        }
    }
}

/// The state of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits to be run.
    Pending,
    /// Its version is above the target.
    AboveTarget,
    /// Its version is below the baseline: it never runs.
    BelowBaseline,
    /// Its version is that of the baseline: it never runs.
    IgnoredBaseline,
    /// Its version is below one that is applied: it does not run.
    Ignored,
    /// The mark or script of a baseline.
    Baseline,
    /// It ran.
    Success,
    /// It failed.
    Failed,
    /// It failed, and its script is gone.
    FailedMissing,
    /// It failed, and no script is as new.
    FailedFuture,
    /// It ran, and its script is gone.
    Missing,
    /// It ran, and no script is as new.
    Future,
    /// It ran after a higher version.
    OutOfOrder,
    /// A repeatable whose script changed since.
    Outdated,
    /// A repeatable that ran again later.
    Superseded,
    /// It was taken back.
    Undone,
    /// It was declared to be no more.
    Deleted,
}

impl State {
    /// As `info` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::AboveTarget => "Above Target",
            Self::BelowBaseline => "Below Baseline",
            Self::IgnoredBaseline => "Ignored (Baseline)",
            Self::Ignored => "Ignored",
            Self::Baseline => "Baseline",
            Self::Success => "Success",
            Self::Failed => "Failed",
            Self::FailedMissing => "Failed (Missing)",
            Self::FailedFuture => "Failed (Future)",
            Self::Missing => "Missing",
            Self::Future => "Future",
            Self::OutOfOrder => "Out of Order",
            Self::Outdated => "Outdated",
            Self::Superseded => "Superseded",
            Self::Undone => "Undone",
            Self::Deleted => "Deleted",
        }
    }

    /// Whether a run ended badly.
    pub fn is_failed(self) -> bool {
        matches!(self, Self::Failed | Self::FailedMissing | Self::FailedFuture)
    }
}

/// A migration: a row of the history, a script, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its row.
    pub row: Option<Row>,
    /// Its script.
    pub script: Option<Script>,
    /// Its state.
    pub state: State,
}

impl Item {
    /// Its version; `None` for repeatables and marks.
    pub fn version(&self) -> Option<&Version> {
        match &self.row {
            Some(row) => row.version.as_ref(),
            None => self.script.as_ref().and_then(Script::version),
        }
    }

    /// Its description.
    pub fn description(&self) -> &str {
        match (&self.row, &self.script) {
            (Some(row), _) => &row.description,
            (None, Some(script)) => &script.description,
            (None, None) => "",
        }
    }

    /// What it belongs to.
    pub fn category(&self) -> Category {
        match (&self.row, &self.script) {
            (Some(row), _) => match &row.kind {
                RowKind::Baseline | RowKind::Schema | RowKind::Delete => Category::Mark,
                RowKind::SqlBaseline => Category::Baseline,
                RowKind::Undo(_) => Category::Undo,
                RowKind::Sql | RowKind::Other(_) if row.version.is_none() => Category::Repeatable,
                RowKind::Sql | RowKind::Other(_) => Category::Versioned,
            },
            (None, Some(script)) => match script.kind {
                Kind::Baseline(_) => Category::Baseline,
                Kind::Undo(_) => Category::Undo,
                Kind::Repeatable | Kind::Callback(_) => Category::Repeatable,
                Kind::Versioned(_) => Category::Versioned,
            },
            (None, None) => Category::Mark,
        }
    }

    /// The row's type, or the one that the script will have.
    pub fn kind(&self) -> &str {
        match (&self.row, &self.script) {
            (Some(row), _) => row.kind.as_str(),
            (None, Some(Script { kind: Kind::Baseline(_), .. })) => "SQL_BASELINE",
            _ => "SQL",
        }
    }
}

/// What decides besides rows and scripts.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Up to which version to go.
    pub target: &'a Target,
    /// Whether versions below the highest applied one run.
    pub out_of_order: bool,
}

/// All migrations with their states.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// In the order in which `info` shows them.
    pub items: Vec<Item>,
    /// The highest version that is applied, failed ones included.
    pub current: Option<Version>,
    /// The version of the baseline that is applied.
    pub baseline: Option<Version>,
}

impl Standing {
    /// What waits to be run, in order.
    pub fn pending(&self) -> impl Iterator<Item = &Script> {
        let is_pending = |item: &&Item| item.state == State::Pending && item.row.is_none();
        self.items.iter().filter(is_pending).filter_map(|item| item.script.as_ref())
    }

    /// A row that failed, and stands in the way.
    pub fn failed(&self) -> Option<&Item> {
        self.items.iter().find(|item| item.state.is_failed())
    }
}

/// Whether a later row took it back, or declared it to be no more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Undone,
    Deleted,
}

/// Puts rows, by rank, and scripts, in their order, side by side.
pub fn resolve(rows: &[Row], scripts: &[Script], rules: Rules<'_>) -> Standing {
    match rules.target {
        Target::Next => {
            let all = resolve_up_to(rows, scripts, None, rules.out_of_order);
            let next = all.pending().find_map(|script| script.version().cloned());
            let limit = next.or_else(|| all.current.clone());
            resolve_up_to(rows, scripts, limit.as_ref(), rules.out_of_order)
        }
        Target::Current => {
            let current = resolve_up_to(rows, scripts, None, rules.out_of_order).current;
            let none = Version::of_history("0");
            resolve_up_to(rows, scripts, Some(current.as_ref().unwrap_or(&none)), rules.out_of_order)
        }
        Target::Version { version, .. } => resolve_up_to(rows, scripts, Some(version), rules.out_of_order),
        Target::Latest => resolve_up_to(rows, scripts, None, rules.out_of_order),
    }
}

fn resolve_up_to(rows: &[Row], scripts: &[Script], target: Option<&Version>, out_of_order: bool) -> Standing {
    let marks = marks(rows);
    let applied = |at: usize| marks[at].is_none() && rows[at].kind.is_applied();
    let is_baseline = |row: &Row| matches!(row.kind, RowKind::Baseline | RowKind::SqlBaseline);
    let live: Vec<&Row> = (0..rows.len()).filter(|at| applied(*at)).map(|at| &rows[at]).collect();
    let highest = |rows: &mut dyn Iterator<Item = &Row>| rows.filter_map(|row| row.version.clone()).max();
    let last_applied = highest(&mut live.iter().copied());
    let baseline = highest(&mut live.iter().copied().filter(|row| is_baseline(row)));
    let baselines = scripts.iter().filter(|script| matches!(script.kind, Kind::Baseline(_)));
    let pending_baseline = if live.is_empty() {
        let within = |version: &&Version| target.is_none_or(|target| *version <= target);
        baselines.filter_map(Script::version).filter(within).max().cloned()
    } else {
        None
    };
    let runs = live.iter().filter(|row| row.version.is_none()).map(|row| (row.description.as_str(), *row));
    let view = View {
        rows,
        scripts,
        by_key: scripts.iter().map(|script| (key_of_script(script), script)).collect(),
        applied: live.iter().filter_map(|row| key_of_row(row)).collect(),
        // Rows come by rank: the last one stays.
        latest: runs.collect(),
        marks: &marks,
        is_new: live.is_empty(),
        target,
        out_of_order,
        last_applied: last_applied.as_ref(),
        applied_baseline: baseline.as_ref(),
        pending_baseline: pending_baseline.as_ref(),
        highest_script: scripts.iter().filter_map(Script::version).max(),
    };
    Standing { items: view.items(), current: last_applied.clone(), baseline: baseline.clone() }
}

/// For each row, whether a later one took it back or declared it to be no more.
fn marks(rows: &[Row]) -> Vec<Option<Mark>> {
    let mut marks: Vec<Option<Mark>> = vec![None; rows.len()];
    for (at, row) in rows.iter().enumerate() {
        let mark = match &row.kind {
            RowKind::Delete if row.success => Mark::Deleted,
            RowKind::Undo(_) if row.success => Mark::Undone,
            _ => continue,
        };
        let is_meant = |earlier: &Row| match (&row.version, &earlier.version) {
            (Some(version), Some(earlier)) => version == earlier,
            (None, None) => row.description == earlier.description,
            _ => false,
        };
        let meant =
            (0..at).rev().find(|at| marks[*at].is_none() && rows[*at].kind.is_applied() && is_meant(&rows[*at]));
        if let Some(meant) = meant {
            marks[meant] = Some(mark);
        }
    }
    marks
}

struct View<'a> {
    rows: &'a [Row],
    scripts: &'a [Script],
    by_key: HashMap<Key<'a>, &'a Script>,
    /// What has a row that is applied and not marked.
    applied: HashSet<Key<'a>>,
    /// The latest run of each repeatable, by its description.
    latest: HashMap<&'a str, &'a Row>,
    marks: &'a [Option<Mark>],
    /// Whether nothing is applied.
    is_new: bool,
    target: Option<&'a Version>,
    out_of_order: bool,
    last_applied: Option<&'a Version>,
    applied_baseline: Option<&'a Version>,
    pending_baseline: Option<&'a Version>,
    highest_script: Option<&'a Version>,
}

/// What makes row and script the same migration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key<'a> {
    Versioned(&'a Version),
    Baseline(&'a Version),
    Undo(&'a Version),
    /// By the description as the history holds it.
    Repeatable(Cow<'a, str>),
}

fn key_of_script(script: &Script) -> Key<'_> {
    match &script.kind {
        Kind::Versioned(version) => Key::Versioned(version),
        Kind::Baseline(version) => Key::Baseline(version),
        Kind::Undo(version) => Key::Undo(version),
        Kind::Repeatable | Kind::Callback(_) => Key::Repeatable(cut_description(&script.description).into()),
    }
}

fn key_of_row(row: &Row) -> Option<Key<'_>> {
    Some(match (&row.kind, &row.version) {
        (RowKind::Sql | RowKind::Other(_) | RowKind::Delete, Some(version)) => Key::Versioned(version),
        (RowKind::Sql | RowKind::Other(_) | RowKind::Delete, None) => Key::Repeatable(row.description.as_str().into()),
        (RowKind::SqlBaseline, Some(version)) => Key::Baseline(version),
        (RowKind::Undo(_), Some(version)) => Key::Undo(version),
        _ => return None,
    })
}

/// Whether a repeatable ran as it is now: with placeholders replaced, or as Flyway 4 counts.
fn is_unchanged(row: &Row, script: &Script) -> bool {
    row.checksum == Some(script.checksum) || row.checksum == Some(script.raw_checksum)
}

impl View<'_> {
    fn items(&self) -> Vec<Item> {
        let mut highest: Option<&Version> = None;
        let mut items = Vec::new();
        for (at, row) in self.rows.iter().enumerate() {
            let is_live = self.marks[at].is_none() && row.kind.is_applied();
            let mut is_out_of_order = false;
            if let Some(version) = row.version.as_ref().filter(|_| is_live) {
                is_out_of_order = highest.is_some_and(|highest| version <= highest);
                highest = highest.max(Some(version));
            }
            let script = key_of_row(row).and_then(|key| self.by_key.get(&key).copied());
            let state = self.state_of_row(at, row, script, is_out_of_order);
            items.push(Item { row: Some(row.clone()), script: script.cloned(), state });
        }
        let files = self.scripts.iter().filter(|script| !self.has_live_row(script));
        let files =
            files.map(|script| Item { row: None, script: Some(script.clone()), state: self.state_of_script(script) });
        let is_below = |item: &Item| matches!(item.state, State::BelowBaseline | State::IgnoredBaseline);
        let (mut below, above): (Vec<Item>, Vec<Item>) = files.partition(is_below);
        below.append(&mut items);
        below.extend(above);
        below
    }

    fn state_of_row(&self, at: usize, row: &Row, script: Option<&Script>, is_out_of_order: bool) -> State {
        match self.marks[at] {
            Some(Mark::Undone) => return State::Undone,
            Some(Mark::Deleted) => return State::Deleted,
            None => {}
        }
        match row.kind {
            RowKind::Delete | RowKind::Schema => return State::Success,
            RowKind::Undo(_) if row.success => return State::Success,
            RowKind::Baseline => return State::Baseline,
            _ => {}
        }
        let is_latest = self.is_latest_run(row);
        if script.is_none() && (row.version.is_some() || is_latest) {
            let is_missing =
                row.version.as_ref().is_none_or(|version| self.highest_script.is_some_and(|highest| version < highest));
            return match (is_missing, row.success) {
                (true, true) => State::Missing,
                (true, false) => State::FailedMissing,
                (false, true) => State::Future,
                (false, false) => State::FailedFuture,
            };
        }
        if !row.success {
            return State::Failed;
        }
        if row.kind == RowKind::SqlBaseline {
            return State::Baseline;
        }
        if row.version.is_none() {
            return match script {
                _ if !is_latest => State::Superseded,
                Some(script) if !is_unchanged(row, script) => State::Outdated,
                _ => State::Success,
            };
        }
        if is_out_of_order { State::OutOfOrder } else { State::Success }
    }

    /// Whether it is the last run of its repeatable.
    fn is_latest_run(&self, row: &Row) -> bool {
        row.version.is_none() && self.latest.get(row.description.as_str()).is_some_and(|latest| latest.rank == row.rank)
    }

    /// Whether a row speaks for the script, so that it is no migration of its own.
    fn has_live_row(&self, script: &Script) -> bool {
        match script.kind {
            Kind::Repeatable => self
                .latest
                .get(cut_description(&script.description).as_str())
                .is_some_and(|row| !row.success || is_unchanged(row, script)),
            _ => self.applied.contains(&key_of_script(script)),
        }
    }

    fn state_of_script(&self, script: &Script) -> State {
        let Some(version) = script.version() else {
            return State::Pending;
        };
        let is_baseline = matches!(script.kind, Kind::Baseline(_));
        let base = if self.is_new { self.pending_baseline } else { self.applied_baseline };
        if is_baseline && !self.is_new {
            return State::Ignored;
        }
        match base.map(|base| version.cmp(base)) {
            Some(Ordering::Less) => return State::BelowBaseline,
            Some(Ordering::Equal) if is_baseline => return State::Pending,
            Some(Ordering::Equal) => return State::IgnoredBaseline,
            _ => {}
        }
        if self.target.is_some_and(|target| version > target) {
            State::AboveTarget
        } else if !self.out_of_order && self.last_applied.is_some_and(|last| version < last) {
            State::Ignored
        } else {
            State::Pending
        }
    }
}

#[cfg(test)]
mod tests;
