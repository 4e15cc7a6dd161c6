//! Which row Redshift could not read.
//!
//! A COPY outside of transactions leaves its errors in the server's tables, where the same session finds
//! them: part, line and column. From there the way leads back to object and line.

use std::time::Duration;

use tokio_postgres::error::DbError;

use super::error;
use super::parts::{Parts, Place};
use super::plan::Plan;
use crate::lines::Lines;
use crate::session::Session;
use crate::{Kind, LoadSpec, WarehouseError};

/// How long the server may take to note an error where sessions find it.
const NOTED: Duration = Duration::from_secs(1);

/// The COPY that failed, and the session that ran it.
pub(super) const LAST_COPY: &str = "SELECT pg_last_copy_id(), pg_backend_pid()";

/// What the server noted of it.
fn details_sql(query: i64, session: i64) -> String {
    format!(
        "SELECT trim(file_name), line_number, trim(column_name), error_code, trim(error_message) \
         FROM sys_load_error_detail WHERE query_id = {query} AND session_id = {session} ORDER BY line_number LIMIT 1"
    )
}

/// One row of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Detail {
    file: String,
    line: i64,
    column: String,
    code: i64,
    message: String,
}

/// The error for rows that could not be read.
pub(super) async fn refused(
    session: &Session,
    plan: &Plan,
    spec: &LoadSpec,
    parts: &Parts,
    lines: &Lines,
    refusal: &DbError,
) -> WarehouseError {
    let mut detail = read(session).await;
    if matches!(detail, Ok(None)) {
        tokio::time::sleep(NOTED).await;
        detail = read(session).await;
    }
    let detail = detail.unwrap_or_else(|error| {
        tracing::debug!("the server does not say which row it refused: {error}");
        None
    });
    explained(plan, spec, parts, lines, detail, refusal.message())
}

async fn read(session: &Session) -> Result<Option<Detail>, WarehouseError> {
    let doing = || "looking for the row that was refused".to_owned();
    let answers = session.ask(LAST_COPY, doing).await?;
    let row = answers.first().and_then(|answer| answer.rows.first());
    let number = |index| row.and_then(|row| row.get(index)).and_then(|text| text.trim().parse::<i64>().ok());
    let (Some(query), Some(process)) = (number(0), number(1)) else { return Ok(None) };
    let answers = session.ask(&details_sql(query, process), doing).await?;
    Ok(answers.first().and_then(|answer| answer.rows.first()).map(|row| {
        let text = |index| row.get(index).unwrap_or_default().trim().to_owned();
        let number = |index| text(index).parse().unwrap_or_default();
        Detail { file: text(0), line: number(1), column: text(2), code: number(3), message: text(4) }
    }))
}

fn explained(
    plan: &Plan,
    spec: &LoadSpec,
    parts: &Parts,
    lines: &Lines,
    detail: Option<Detail>,
    refusal: &str,
) -> WarehouseError {
    let detail = detail.unwrap_or_default();
    // What the server could not get from the bucket it notes as a load error too.
    if let Some((kind, why, cure)) = error::of_store(&detail.message) {
        let failed =
            WarehouseError::new(kind, format!("staging rows for `{}`: {why}", spec.table)).server(detail.message);
        return match cure {
            Some(cure) => failed.cure(cure),
            None => failed,
        };
    }
    let place = parts.find(&detail.file, detail.line);
    let (object, line) = match place {
        Some(Place::Row(row)) => lines.find(row).map_or((None, None), |place| (Some(place.object), place.line)),
        Some(Place::Between(first, last)) => {
            let of = |row| lines.find(row).map(|place| place.object);
            (of(first).filter(|object| Some(*object) == of(last)), None)
        }
        None => (None, None),
    };
    let object = object.or((spec.objects.len() == 1).then_some(0));
    let index = detail.column.strip_prefix('c').and_then(|index| index.parse::<usize>().ok());
    let column = index.filter(|index| *index < plan.layout.columns.len()).map(|index| plan.name(index).to_owned());
    let mut place = match (object.and_then(|object| spec.objects.get(object as usize)), line) {
        (Some(object), Some(line)) => format!("line {line} of `{}`", object.key),
        (Some(object), None) => format!("a row of `{}`", object.key),
        (None, _) => format!("a row for `{}`", spec.table),
    };
    if let Some(column) = &column {
        place.push_str(&format!(", column `{column}`"));
    }
    let said = if detail.message.is_empty() { refusal.trim() } else { &detail.message };
    WarehouseError::new(Kind::Rows { object, line, column }, format!("{place}: {}", reason(detail.code)))
        .server(format!("{said} (load error {})", detail.code))
}

/// What a load error means.
fn reason(code: i64) -> &'static str {
    match code {
        1202 | 1203 => "the row has not as many fields as the table has columns",
        1204 | 1222 => "a value that is too long or out of the type's range",
        1205 => "not a date that the column can hold",
        1206 => "not a timestamp that the column can hold",
        1207 => "not a whole number",
        1208 | 1209 => "not a number that the column can hold",
        1210 => "not a boolean",
        1213 => "NULL in a column that takes none",
        1215 | 1220 => "a character that the column cannot hold",
        1218 => "a NUL character",
        1224 => "not a JSON document that a SUPER can hold",
        _ => "a value that the column cannot hold",
    }
}

/// Whether a failed COPY is about rows.
pub(super) fn is_of_rows(refusal: &DbError) -> bool {
    error::is_load_error(refusal.message())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::encode::Chunk;
    use super::super::parts::tests::Memory;
    use super::super::plan::tests::{orders, spec_of};
    use super::*;
    use crate::testing::conformance::object;
    use crate::{Mode, ObjectSpec};

    fn spec() -> LoadSpec {
        let objects: Vec<ObjectSpec> = [object("a.csv", 1, &[]), object("b.csv", 2, &[])].map(|o| o.spec).to_vec();
        LoadSpec { objects, ..spec_of(Mode::Append, &["id", "name"]) }
    }

    #[tokio::test]
    async fn a_load_error_leads_back_to_object_and_line() {
        let (spec, mut lines) = (spec(), Lines::default());
        let plan = Plan::new(orders(), &spec).unwrap();
        lines.add(0, &[2, 3]);
        lines.add(1, &[2, 4, 9]);
        let mut parts = Parts::new(Arc::new(Memory::default()), "s/".to_owned(), 4);
        let chunk = Chunk { bytes: b"0,2\n0,3\n1,2\n1,4\n1,9\n".to_vec(), rows: 5, has_breaks: false };
        parts.take(chunk, 0).await.unwrap();
        let detail = Detail {
            file: "s3://bucket/s/part-00000.csv.zst".to_owned(),
            line: 4,
            column: "c1".to_owned(),
            code: 1204,
            message: "String length exceeds DDL length".to_owned(),
        };
        let error = explained(&plan, &spec, &parts, &lines, Some(detail), "Load into table 't' failed.");
        let kind = Kind::Rows { object: Some(1), line: Some(4), column: Some("name".to_owned()) };
        assert_eq!(*error.kind(), kind);
        assert_eq!(
            error.to_string(),
            "line 4 of `b.csv`, column `name`: a value that is too long or out of the type's range"
        );
        assert!(error.server_text().is_some_and(|text| text.contains("DDL length")));
        // What lies in the bucket's rights is no fault of the rows.
        let message = "COPY with MANIFEST parameter requires full path of an Amazon S3 object.".to_owned();
        let detail = Detail { code: 8001, message, ..Detail::default() };
        let error = explained(&plan, &spec, &parts, &lines, Some(detail), "Load into table 't' failed.");
        assert_eq!(*error.kind(), Kind::AccessDenied);
        // Where the server says nothing, nothing is guessed.
        let error = explained(&plan, &spec, &parts, &lines, None, "Load into table 't' failed.");
        assert_eq!(*error.kind(), Kind::Rows { object: None, line: None, column: None });
    }

    #[test]
    fn the_server_is_asked_by_numbers() {
        assert!(details_sql(7, 9).contains("WHERE query_id = 7 AND session_id = 9"));
    }
}
