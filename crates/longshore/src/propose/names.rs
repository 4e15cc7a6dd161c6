//! Names of columns, tables and pipelines, from what files are called and what stands in headers.

use std::collections::HashSet;

/// The name of a column that has none of its own; `at` counts from 0.
pub(super) fn numbered(at: usize) -> String {
    format!("column_{}", at + 1)
}

/// Whether every name of a header can be a column's name: none is blank, none comes twice.
pub(super) fn are_sound(names: &[String]) -> bool {
    columns(names) == names
}

/// The columns for the names of a header: as they are, but blank and doubled ones are numbered.
pub(super) fn columns(names: &[String]) -> Vec<String> {
    let mut seen: HashSet<String> = HashSet::new();
    let all: HashSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let mut columns = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        let is_sound = !name.trim().is_empty() && !name.chars().any(char::is_control);
        let name = if is_sound && seen.insert(name.to_lowercase()) {
            name.clone()
        } else {
            free(&numbered(at), |name| seen.contains(name) || all.contains(name))
        };
        seen.insert(name.to_lowercase());
        columns.push(name);
    }
    columns
}

/// `name`, or `name_2`, `name_3` … if it is taken.
pub(super) fn free(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut candidate = name.to_owned();
    let mut count = 1;
    while is_taken(&candidate) {
        count += 1;
        candidate = format!("{name}_{count}");
    }
    candidate
}

/// A plain lower-case identifier from any text; empty if nothing is left of it.
pub(super) fn identifier(text: &str) -> String {
    let mut name = String::new();
    for char in text.chars().flat_map(char::to_lowercase) {
        if char.is_alphanumeric() {
            name.push(char);
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_end_matches('_');
    if name.starts_with(char::is_numeric) { format!("t_{name}") } else { name.to_owned() }
}

/// Whether a column of this name may well be the key of a table of that name.
pub(super) fn may_be_key(column: &str, table: &str, is_first: bool) -> bool {
    let plain = |text: &str| -> String {
        text.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (column, table) = (plain(column), plain(table));
    let one = table.strip_suffix('s').unwrap_or(&table);
    let names = ["id", "uuid", "key", "nr", "no", "number", "code"];
    let is_of_table =
        |prefix: &str| !prefix.is_empty() && column.strip_prefix(prefix).is_some_and(|rest| names.contains(&rest));
    ["id", "uuid", "key"].contains(&column.as_str())
        || is_of_table(one)
        || is_of_table(&table)
        || (is_first && (column.ends_with("id") || column == "column1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Vec<String> {
        columns(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn blank_and_doubled_names_are_numbered() {
        assert_eq!(of(&["Id", "Order Total", "größe"]), ["Id", "Order Total", "größe"]);
        assert_eq!(of(&["id", "", "ID", " "]), ["id", "column_2", "column_3", "column_4"]);
        assert_eq!(of(&["", "column_1"]), ["column_1_2", "column_1"]);
    }

    #[test]
    fn identifiers_are_plain() {
        assert_eq!(identifier("Kaggle Titanic--data"), "kaggle_titanic_data");
        assert_eq!(identifier("2024"), "t_2024");
        assert_eq!(identifier("--"), "");
    }

    #[test]
    fn keys_are_known_by_their_names() {
        assert!(may_be_key("id", "orders", false));
        assert!(may_be_key("Order_ID", "orders", false));
        assert!(may_be_key("PassengerId", "titanic", true));
        assert!(!may_be_key("customer_id", "orders", false));
        assert!(!may_be_key("paid", "orders", false));
    }
}
