//! What `check`, `init` and `sweep` ask of DuckDB.

use std::time::SystemTime;

use jiff::Timestamp;

use super::connect::{Holder, Lease};
use super::{columns, ledger};
use crate::{Finding, Severity, Swept, TableName, WarehouseError};

fn fine(message: String) -> Finding {
    Finding { severity: Severity::Fine, message, cure: None }
}

fn warning(message: String, cure: &str) -> Finding {
    Finding { severity: Severity::Warning, message, cure: Some(cure.to_owned()) }
}

/// The finding for a hop that failed.
pub(super) fn fault(error: &WarehouseError) -> Finding {
    Finding { severity: Severity::Fault, message: error.to_string(), cure: error.hint().map(str::to_owned) }
}

/// The least memory with which a load of a wide table was seen to get by.
const SMALL_MEMORY: u64 = 256 << 20;

/// Tries what loading needs; the file is open by now.
pub(super) fn check(lease: &Lease, tables: &[TableName], memory_limit: u64) -> Vec<Finding> {
    let mut findings =
        vec![fine(format!("the database file `{}` can be opened and written", lease.holder().path().display()))];
    if memory_limit < SMALL_MEMORY {
        findings.push(warning(
            format!(
                "DuckDB may use {} MiB of memory, which is little: large loads spill to disk or fail",
                memory_limit >> 20
            ),
            "raise `memory_limit` in `[warehouse]`; the default is 1 GiB",
        ));
    }
    findings.push(ledger_finding(lease));
    for table in tables {
        table_findings(lease, table, &mut findings);
    }
    findings
}

fn ledger_finding(lease: &Lease) -> Finding {
    match ledger::find(lease.connection()) {
        Ok(true) => fine("the ledger `longshore.ledger` is there".to_owned()),
        Ok(false) => match ledger::ensure(lease) {
            Ok(()) => fine("the ledger `longshore.ledger` was created".to_owned()),
            Err(error) => fault(&error),
        },
        Err(error) => fault(&error),
    }
}

fn table_findings(lease: &Lease, table: &TableName, findings: &mut Vec<Finding>) {
    let described = match columns::describe(lease.connection(), table) {
        Ok(described) => described,
        Err(error) => return findings.push(fault(&error)),
    };
    findings.push(fine(format!("the table `{table}` is there, with {} columns", described.table.columns.len())));
    if !described.table.unique_keys.is_empty() {
        findings.push(warning(
            format!(
                "`{table}` has a primary key, a unique constraint or a unique index: DuckDB keeps it in memory and changes it row by \
                 row (500,000 rows into 1,500,000 cost 22 to 48 CPU seconds with one and 1.5 without)"
            ),
            "drop it: `mode = \"upsert\"` keeps keys unique without one",
        ));
    }
}

/// Removes spill files of processes that died. While we hold the file's lock no other process can
/// be using the folder, so what is older than our hold belongs to nobody.
pub(super) fn sweep(holder: &Holder, before: Timestamp) -> Swept {
    let mut swept = Swept::default();
    let Some(held) = holder.open_for() else {
        return swept;
    };
    let Some(opened) = SystemTime::now().checked_sub(held) else {
        return swept;
    };
    let limit = opened.min(before.into());
    let mut folder = holder.path().as_os_str().to_owned();
    folder.push(".tmp");
    let Ok(files) = std::fs::read_dir(&folder) else {
        return swept;
    };
    for file in files.flatten() {
        let is_spill = file.file_name().to_string_lossy().starts_with("duckdb_temp_");
        let is_old = file.metadata().and_then(|data| data.modified()).is_ok_and(|modified| modified < limit);
        if !(is_spill && is_old) {
            continue;
        }
        match std::fs::remove_file(file.path()) {
            Ok(()) => swept.staging += 1,
            Err(error) => tracing::debug!("removing `{}`: {error}", file.path().display()),
        }
    }
    swept
}
