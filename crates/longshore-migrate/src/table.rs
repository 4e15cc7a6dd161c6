//! A table of texts, with the frame that Flyway draws.

use std::fmt::Write as _;

/// Draws a table; without rows, one line that says so.
pub(crate) fn table<const N: usize>(header: &[&str; N], rows: &[[&str; N]], empty: &str) -> String {
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at]).chain([header[at]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let rule = widths.iter().fold(String::from("+"), |rule, width| rule + &"-".repeat(width + 2) + "+");
    let line = |cells: &[&str; N]| {
        cells.iter().zip(widths).fold(String::from("|"), |mut line, (cell, width)| {
            // A line end in a cell would tear the frame.
            write!(line, " {:width$} |", cell.replace(['\n', '\r'], " ")).expect("a text has room");
            line
        })
    };
    let mut drawn = format!("{rule}\n{}\n{rule}\n", line(header));
    for row in rows {
        writeln!(drawn, "{}", line(row)).expect("a text has room");
    }
    if rows.is_empty() {
        let inside = rule.chars().count() - 4;
        writeln!(drawn, "| {empty:inside$} |").expect("a text has room");
    }
    drawn + &rule
}
