//! `[migrate]`: the settings of the project's migrations, by Flyway's names in small letters.

use longshore_migrate::Settings;
use longshore_migrate::settings::{KEYS, Shape, snake};

use super::reader::Section;

/// The settings of the project's migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrateConfig {
    /// Flyway's keys and values, in the order of its list.
    pub settings: Vec<(String, String)>,
    /// Whether scripts are written for Redshift: words that only it knows are left out elsewhere.
    pub is_redshift: bool,
    /// Whether loading waits while migrations are pending.
    pub pause_loads: bool,
}

/// Reads the section; `None` where it is not there, or at fault.
pub(super) fn read(section: Section<'_>) -> Option<MigrateConfig> {
    let is_there = section.line().is_some();
    let mut settings = Vec::new();
    let mut tried = Settings::default();
    for (key, shape) in KEYS.iter().filter(|(_, shape)| !matches!(shape, Shape::Login | Shape::NoMeaning)) {
        let name = name_of(key);
        let value = match shape {
            Shape::Switch => section.boolean(name).map(|value| value.to_string()),
            Shape::Number => section.number(name).map(|value| value.to_string()),
            Shape::List => section.texts(name).map(|values| values.join(",")),
            _ => section.text(name),
        };
        let Some(value) = value else { continue };
        match tried.set(key, &value) {
            Ok(_) => settings.push(((*key).to_owned(), value)),
            Err(error) => section.fault_of(name, error.message, error.hint),
        }
    }
    let placeholders = section.section("placeholders");
    for (name, found) in placeholders.entries() {
        if let Some(value) = placeholders.text_of(found, &name, "a text in quotes") {
            settings.push((format!("placeholders.{name}"), value));
        }
    }
    let dialect = section.choice("dialect", &[("redshift", true), ("native", false)]);
    let pause_loads = section.boolean("pause_loads");
    section.finish();
    is_there.then(|| MigrateConfig {
        settings,
        is_redshift: dialect.unwrap_or(false),
        pause_loads: pause_loads.unwrap_or(true),
    })
}

/// A key's name here, kept for the whole run: sections remember the names that they are asked for.
fn name_of(key: &str) -> &'static str {
    use std::collections::HashMap;
    use std::sync::LazyLock;
    static NAMES: LazyLock<HashMap<&'static str, String>> =
        LazyLock::new(|| KEYS.iter().map(|(key, _)| (*key, snake(key))).collect());
    NAMES.get(key).map_or("", String::as_str)
}
