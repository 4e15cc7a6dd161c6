//! Ends sessions of dead loads that hold a fence.
//!
//! A process that was killed closes its connection, and the server rolls back. Where a machine vanished, or the
//! network between, the server may not learn of it for hours: its session keeps the fence. `svv_transactions`
//! tells every user which transactions of theirs hold locks, and `sys_query_history` what those ran; the fence
//! bears the name of its load as a comment. Whoever is not alive is ended, which a user may do to sessions of
//! their own.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::session::{Answer, Session, load_of};
use crate::{LoadId, WarehouseError};

/// What a fence is found by.
const MARK: &str = "/* fence of ";

/// Transactions that hold locks: number and process.
const HOLDERS: &str = "SELECT DISTINCT xid, pid FROM svv_transactions WHERE granted";

/// The comment of the fence of a load, by the name of its session.
pub(super) fn tag(load: &str) -> String {
    format!("{MARK}{load} */")
}

/// The load of a project whose fence a statement is.
fn fence_of(sql: &str, project: &str) -> Option<LoadId> {
    let (_, rest) = sql.split_once(MARK)?;
    load_of(rest.split_once(" */")?.0, project)
}

/// The fences that transactions ran.
fn fences_sql(transactions: &[i64]) -> String {
    let numbers: Vec<String> = transactions.iter().map(i64::to_string).collect();
    format!(
        "SELECT DISTINCT transaction_id, session_id, trim(query_text) FROM sys_query_history \
         WHERE transaction_id IN ({}) AND query_text LIKE '%{MARK}%'",
        numbers.join(", ")
    )
}

/// Ends the sessions that hold a fence for loads of this project that are not alive and began before `before`.
/// Returns how many.
pub(super) async fn sweep(
    session: &Session,
    project: &str,
    live: &HashSet<LoadId>,
    before: Timestamp,
) -> Result<u64, WarehouseError> {
    let doing = || "looking for sessions of dead loads".to_owned();
    let holders = numbers(&session.ask(HOLDERS, doing).await?);
    if holders.is_empty() {
        return Ok(0);
    }
    let transactions: Vec<i64> = holders.iter().map(|(transaction, _)| *transaction).collect();
    let answers = session.ask(&fences_sql(&transactions), doing).await?;
    let texts = rows(&answers).iter().map(|row| row.get(2).unwrap_or_default());
    let mut ended = 0;
    for (holder, text) in numbers(&answers).iter().zip(texts) {
        let Some(load_id) = fence_of(text, project).filter(|_| holders.contains(holder)) else { continue };
        if live.contains(&load_id) || load_id.drawn_at().is_none_or(|drawn_at| drawn_at >= before) {
            continue;
        }
        let end = format!("SELECT pg_terminate_backend({})", holder.1);
        match session.ask(&end, || format!("ending the session of the load `{load_id}`")).await {
            Ok(_) => ended += 1,
            Err(error) => tracing::debug!("{error}"),
        }
    }
    Ok(ended)
}

fn rows(answers: &[Answer]) -> &[tokio_postgres::SimpleQueryRow] {
    answers.first().map(|answer| answer.rows.as_slice()).unwrap_or_default()
}

/// The first two columns, which are numbers.
fn numbers(answers: &[Answer]) -> Vec<(i64, i64)> {
    let number =
        |row: &tokio_postgres::SimpleQueryRow, at| row.get(at).and_then(|text| text.trim().parse().ok()).unwrap_or(-1);
    rows(answers).iter().map(|row| (number(row, 0), number(row, 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_that_of_its_load_and_project() {
        let load_id = LoadId::draw();
        let sql = format!("UPDATE x SET y = 1 WHERE y = 0 {}", tag(&crate::session::name_of(load_id, "acme")));
        assert_eq!(fence_of(&sql, "acme"), Some(load_id));
        assert_eq!(fence_of(&sql, "another"), None);
        assert_eq!(fence_of("UPDATE x SET y = 1", "acme"), None);
        assert!(fences_sql(&[7, 9]).contains("IN (7, 9)"));
    }
}
