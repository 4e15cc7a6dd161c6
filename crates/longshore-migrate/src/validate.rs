//! Whether the history and the scripts go together.

use crate::history::{RowKind, cut_description};
use crate::name::Kind;
use crate::settings::Pattern;
use crate::state::{Category, Item, Standing, State};

/// One migration that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Its version; `None` for repeatables.
    pub version: Option<String>,
    /// Its description.
    pub description: String,
    /// Its script, where there is one.
    pub path: Option<String>,
    /// Flyway's name for the fault.
    pub code: &'static str,
    /// What does not fit.
    pub message: String,
    /// What to do about it.
    pub cure: String,
}

/// Lists every migration that does not fit. `migrate` passes over what is pending, and runs it. A history of Flyway 4
/// (`is_old`) has other cures.
pub fn validate(standing: &Standing, patterns: &[Pattern], is_migrate: bool, is_old: bool) -> Vec<Invalid> {
    standing
        .items
        .iter()
        .filter(|item| !matches!(item.state, State::Undone | State::AboveTarget | State::Deleted))
        .filter(|item| !patterns.iter().any(|pattern| pattern.matches(item.category(), item.state)))
        .filter_map(|item| {
            let (code, message, mut cure) = fault(item, standing, is_migrate)?;
            if is_old && code.ends_with("NOT_RESOLVED") {
                cure = "bring the script back; or pass over it with `ignore_migration_patterns = [\"*:missing\"]`: a history of Flyway 4 cannot mark it as deleted";
            }
            Some(Invalid {
                version: item.version().map(|version| version.as_str().to_owned()),
                description: item.description().to_owned(),
                path: item.script.as_ref().map(|script| script.path.display().to_string()),
                code,
                message,
                cure: cure.to_owned(),
            })
        })
        .collect()
}

/// `version 2 (add x)`, or `the repeatable migration `x``.
fn named(item: &Item) -> String {
    match item.version() {
        Some(version) => format!("version {version} ({})", item.description()),
        None => format!("the repeatable migration `{}`", item.description()),
    }
}

fn fault(item: &Item, standing: &Standing, is_migrate: bool) -> Option<(&'static str, String, &'static str)> {
    let name = named(item);
    if item.state.is_failed() {
        let code = if item.version().is_some() { "FAILED_VERSIONED_MIGRATION" } else { "FAILED_REPEATABLE_MIGRATION" };
        return Some((
            code,
            format!("{name} failed when it ran"),
            "complete or take back by hand what it left half done, then run `longshore migrate repair`",
        ));
    }
    match item.state {
        State::Missing | State::Future => {
            let code = if item.version().is_some() {
                "APPLIED_VERSIONED_MIGRATION_NOT_RESOLVED"
            } else {
                "APPLIED_REPEATABLE_MIGRATION_NOT_RESOLVED"
            };
            return Some((
                code,
                format!("{name} is applied, and there is no script of it"),
                "bring the script back; or, if it was removed on purpose, run `longshore migrate repair` to mark it as deleted",
            ));
        }
        State::Ignored if item.category() != Category::Baseline => {
            return Some((
                "RESOLVED_VERSIONED_MIGRATION_NOT_APPLIED",
                format!("{name} is below the version of the database, and was never applied"),
                "give it a higher version; or set `out_of_order = true` to run it; or `ignore_migration_patterns = [\"*:ignored\"]` to pass over it",
            ));
        }
        State::Pending if !is_migrate => {
            let code = if item.version().is_some() {
                "RESOLVED_VERSIONED_MIGRATION_NOT_APPLIED"
            } else {
                "RESOLVED_REPEATABLE_MIGRATION_NOT_APPLIED"
            };
            return Some((code, format!("{name} waits to be applied"), "run `longshore migrate`"));
        }
        State::Outdated if !is_migrate => {
            return Some((
                "OUTDATED_REPEATABLE_MIGRATION",
                format!("{name} changed since it ran"),
                "run `longshore migrate`",
            ));
        }
        _ => {}
    }
    changed(item, standing, &name)
}

/// What differs between an applied version and its script.
fn changed(item: &Item, standing: &Standing, name: &str) -> Option<(&'static str, String, &'static str)> {
    const CURE: &str = "bring the script back as it was and write the change as a new version; or, if only the text changed, run \
                        `longshore migrate repair`";
    let (row, script) = (item.row.as_ref()?, item.script.as_ref()?);
    let version = row.version.as_ref()?;
    if row.kind == RowKind::Delete || standing.baseline.as_ref().is_some_and(|baseline| version <= baseline) {
        return None;
    }
    let differ = |what: &str, applied: &str, local: &str| {
        format!("the {what} of {name} differs: applied {applied}, in `{}` now {local}", script.path.display())
    };
    let kind = if matches!(script.kind, Kind::Baseline(_)) { "SQL_BASELINE" } else { "SQL" };
    if row.kind.as_str() != kind {
        return Some(("TYPE_MISMATCH", differ("type", row.kind.as_str(), kind), CURE));
    }
    if let Some(checksum) = row.checksum.filter(|checksum| *checksum != script.checksum) {
        let message = differ("checksum", &checksum.to_string(), &script.checksum.to_string());
        return Some(("CHECKSUM_MISMATCH", message, CURE));
    }
    let description = cut_description(&script.description);
    if row.description != description {
        let quoted = |text: &str| format!("`{text}`");
        return Some((
            "DESCRIPTION_MISMATCH",
            differ("description", &quoted(&row.description), &quoted(&description)),
            CURE,
        ));
    }
    None
}
