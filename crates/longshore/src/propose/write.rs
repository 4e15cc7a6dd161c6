//! Writes a proposal down: `longshore.toml` and a migration that creates the tables.

use std::fmt::Write as _;

use longshore_warehouse::{NewTable, Warehouse};

use super::feeds::Feed;

/// The place of a project, as its configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `[bucket] url`.
    pub bucket: String,
    /// `[warehouse] url`.
    pub warehouse: String,
    /// Further settings of `[warehouse]`.
    pub settings: Vec<(&'static str, String)>,
}

/// The text of `longshore.toml`.
pub fn config(place: &Place, feeds: &[Feed]) -> String {
    let mut text =
        format!("# Proposed by `longshore init`. Read it through, then run `longshore check`.\n\n{}", sections(place));
    for feed in feeds {
        text.push('\n');
        text.push_str(&pipeline(feed));
    }
    text
}

/// Bucket and warehouse.
pub fn sections(place: &Place) -> String {
    let settings: String = place.settings.iter().map(|(name, value)| format!("{name} = {}\n", quoted(value))).collect();
    format!("[bucket]\nurl = {}\n\n[warehouse]\nurl = {}\n{settings}", quoted(&place.bucket), quoted(&place.warehouse))
}

fn pipeline(feed: &Feed) -> String {
    let mut text = format!("# {}.\n", counted(feed));
    for note in &feed.notes {
        text.push_str(&comment(note));
    }
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<5} = {value}").expect("a text has room");
    };
    let head = "[[pipeline]]\n";
    line("name", quoted(&feed.name));
    line("match", quoted(&feed.pattern));
    line("table", quoted(&feed.table.name.to_string()));
    line("mode", "\"append\"".to_owned());
    if let Some(csv) = csv(feed) {
        line("csv", csv);
    }
    if let Some(columns) = column_rules(feed) {
        line("column", columns);
    }
    let mut text = text.replacen("name  =", &format!("{head}name  ="), 1);
    match &feed.key {
        Some(key) => {
            let name = quoted(&key.column);
            text.push_str(&if key.comes_again {
                format!("# {name} comes once in each file and again in later ones. If a later row replaces the\n# earlier one, write in place of `mode = \"append\"`:\n")
            } else {
                format!("# No two rows have the same {name}. If later files may bring a row again, changed, write in\n# place of `mode = \"append\"`:\n")
            });
            writeln!(text, "# mode = \"upsert\"\n# key  = [{name}]").expect("a text has room");
        }
        None => text.push_str("# Each file adds its rows. If each is the whole table anew: mode = \"replace\"\n"),
    }
    text
}

/// Files, rows and bytes in words.
pub fn counted(feed: &Feed) -> String {
    let files = match &feed.files[..] {
        [one] => format!("`{}`", one.escape_debug()),
        [first, rest @ ..] => format!("`{}` and {} more", first.escape_debug(), rest.len()),
        [] => "no file".to_owned(),
    };
    format!(
        "{files}: {} {}, {}",
        feed.records,
        if feed.records == 1 { "row" } else { "rows" },
        indicatif::HumanBytes(feed.bytes)
    )
}

fn comment(note: &str) -> String {
    note.lines().fold(String::new(), |text, line| text + "# " + line + "\n")
}

fn csv(feed: &Feed) -> Option<String> {
    let csv = &feed.csv;
    let mut settings = Vec::new();
    if csv.delimiter != ',' {
        settings.push(format!("delimiter = {}", quoted(&csv.delimiter.to_string())));
    }
    if csv.quote != '"' {
        settings.push(format!("quote = {}", quoted(&csv.quote.to_string())));
    }
    if !csv.header {
        settings.push("header = false".to_owned());
    }
    if csv.skip_lines > 0 {
        settings.push(format!("skip_lines = {}", csv.skip_lines));
    }
    if let Some(encoding) = csv.encoding {
        settings.push(format!("encoding = {}", quoted(&encoding.to_ascii_lowercase())));
    }
    if csv.decimal_comma_everywhere && !csv.decimal_comma.is_empty() {
        settings.push("decimal_comma = true".to_owned());
    }
    (!settings.is_empty()).then(|| format!("{{ {} }}", settings.join(", ")))
}

fn column_rules(feed: &Feed) -> Option<String> {
    let csv = &feed.csv;
    if csv.decimal_comma_everywhere || csv.decimal_comma.is_empty() {
        return None;
    }
    let rules: Vec<String> =
        csv.decimal_comma.iter().map(|name| format!("{} = {{ decimal_comma = true }}", quoted(name))).collect();
    Some(format!("{{ {} }}", rules.join(", ")))
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// How a proposed migration begins.
pub const PROPOSED: &str = "-- Proposed by `longshore init`";

/// The text of a migration that creates the tables.
pub fn tables(tables: &[&NewTable], warehouse: &dyn Warehouse) -> String {
    let mut text = ": types from every row of the files, with room to grow.\n-- Change it before `longshore migrate` applies it; later changes go into a file of their own, V2__add_note.sql.\n".to_owned();
    text.insert_str(0, PROPOSED);
    for table in tables {
        text.push('\n');
        text.push_str(&warehouse.create_table_sql(table));
        text.push('\n');
    }
    text
}
