//! Reads a TOML file setting by setting and keeps every fault with its line.
//!
//! The settings that a section is asked for are the settings that it knows: whatever else stands
//! in it is an unknown setting, and the nearest known one is suggested.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::nearest;

/// One fault of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// Line of the file, 1 the first; `None` where the fault is of no single line.
    pub line: Option<usize>,
    /// The setting with its section, `pipeline.orders.csv.delimiter`.
    pub setting: String,
    /// What is wrong with it.
    pub message: String,
    /// What to do about it.
    pub cure: Option<String>,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.setting.is_empty() {
            write!(f, "`{}`: ", self.setting)?;
        }
        f.write_str(&self.message)?;
        if let Some(cure) = &self.cure {
            write!(f, "; {cure}")?;
        }
        Ok(())
    }
}

/// The text of a file, the environment that it may name, and the faults found so far.
pub(super) struct Source<'a> {
    text: &'a str,
    env: &'a dyn Fn(&str) -> Option<String>,
    faults: RefCell<Vec<ConfigFault>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { text, env, faults: RefCell::default() }
    }

    /// Line of a byte offset, 1 the first.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|b| **b == b'\n').count()
    }

    pub(super) fn fault(&self, line: Option<usize>, setting: &str, message: String, cure: Option<String>) {
        self.faults.borrow_mut().push(ConfigFault { line, setting: setting.to_owned(), message, cure });
    }

    /// Ends the reading: the faults, by line.
    pub(super) fn into_faults(self) -> Vec<ConfigFault> {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|fault| fault.line);
        faults
    }

    /// Puts the environment's values in place of `${NAME}`.
    fn expand(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let tail = &rest[start + 2..];
            let end = tail.find('}').ok_or("`${` lacks its `}`")?;
            let name = &tail[..end];
            let value = (self.env)(name).ok_or_else(|| format!("the environment variable `{name}` is not set"))?;
            out.push_str(&value);
            rest = &tail[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// One table of the file.
pub(super) struct Section<'a> {
    source: &'a Source<'a>,
    path: String,
    table: Option<&'a DeTable<'a>>,
    span: Range<usize>,
    asked: RefCell<Vec<&'static str>>,
}

/// A value with its place.
pub(super) type Found<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Section<'a> {
    pub(super) fn root(source: &'a Source<'a>, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self { source, path: String::new(), table: Some(table.get_ref()), span: 0..0, asked: RefCell::default() }
    }

    fn over(&self, path: String, table: Option<&'a DeTable<'a>>, span: Range<usize>) -> Section<'a> {
        Section { source: self.source, path, table, span, asked: RefCell::default() }
    }

    /// Line at which the section stands.
    pub(super) fn line(&self) -> Option<usize> {
        self.table.map(|_| self.source.line(self.span.start))
    }

    /// Renames the section in messages, once its name is known.
    pub(super) fn named(mut self, path: String) -> Self {
        self.path = path;
        self
    }

    /// The setting's full name.
    pub(super) fn setting(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Looks a setting up and remembers that it is known.
    pub(super) fn get(&self, name: &'static str) -> Option<Found<'a>> {
        self.asked.borrow_mut().push(name);
        self.table?.get(name)
    }

    /// Notes a fault at a value.
    pub(super) fn fault_at(&self, found: Found<'_>, name: &str, message: impl Into<String>, cure: Option<String>) {
        let line = self.source.line(found.span().start);
        self.source.fault(Some(line), &self.setting(name), message.into(), cure);
    }

    /// Notes a fault of the section.
    pub(super) fn fault(&self, name: &str, message: impl Into<String>, cure: Option<String>) {
        let setting = if name.is_empty() { self.path.clone() } else { self.setting(name) };
        self.source.fault(self.line(), &setting, message.into(), cure);
    }

    /// Notes a fault of a setting, at its line if it is in the file.
    pub(super) fn fault_of(&self, name: &'static str, message: impl Into<String>, cure: Option<String>) {
        match self.table.and_then(|table| table.get(name)) {
            Some(found) => self.fault_at(found, name, message, cure),
            None => self.fault(name, message, cure),
        }
    }

    fn expected(&self, found: Found<'_>, name: &str, what: &str) {
        self.fault_at(found, name, format!("expected {what}, found {}", kind_of(found)), None);
    }

    /// The text of a value, with the environment's values in it.
    pub(super) fn text_of(&self, found: Found<'_>, name: &str, what: &str) -> Option<String> {
        let Some(text) = found.get_ref().as_str() else {
            self.expected(found, name, what);
            return None;
        };
        match self.source.expand(text) {
            Ok(text) => Some(text),
            Err(message) => {
                self.fault_at(found, name, message, Some("set it, or write the value here".to_owned()));
                None
            }
        }
    }

    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        let found = self.get(name)?;
        self.text_of(found, name, "a text in quotes")
    }

    pub(super) fn boolean(&self, name: &'static str) -> Option<bool> {
        let found = self.get(name)?;
        let value = found.get_ref().as_bool();
        if value.is_none() {
            self.expected(found, name, "`true` or `false`");
        }
        value
    }

    pub(super) fn count(&self, name: &'static str) -> Option<u64> {
        let found = self.get(name)?;
        let value = integer(found);
        if value.is_none() {
            self.expected(found, name, "a number that is not negative");
        }
        value
    }

    pub(super) fn number(&self, name: &'static str) -> Option<i64> {
        let found = self.get(name)?;
        let integer = found.get_ref().as_integer();
        let value = integer.and_then(|integer| i64::from_str_radix(integer.as_str(), integer.radix()).ok());
        if value.is_none() {
            self.expected(found, name, "a whole number");
        }
        value
    }

    /// A size in bytes: a number, or a text such as `"64 MiB"`.
    pub(super) fn size(&self, name: &'static str) -> Option<u64> {
        let found = self.get(name)?;
        let value = integer(found).or_else(|| parse_size(found.get_ref().as_str()?));
        if value.is_none() {
            self.expected(found, name, "a size such as `\"64 MiB\"`");
        }
        value
    }

    /// A span of time such as `"2s"`, `"500ms"`, `"1h 30m"`.
    pub(super) fn duration(&self, name: &'static str) -> Option<Duration> {
        let found = self.get(name)?;
        let parsed = match found.get_ref().as_str() {
            Some(text) => text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok()),
            None => integer(found).filter(|seconds| *seconds == 0).map(Duration::from_secs),
        };
        if parsed.is_none() {
            self.expected(found, name, "a span of time such as `\"2s\"` or `\"30m\"`");
        }
        parsed
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let found = self.get(name)?;
        let text = self.text_of(found, name, "a word in quotes")?;
        let value = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if value.is_none() {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
            self.fault_at(
                found,
                name,
                format!("`{text}` is none of {}", known.join(", ")),
                did_you_mean(&text, words.iter().map(|(w, _)| *w)),
            );
        }
        value
    }

    /// One text or a list of texts.
    pub(super) fn texts(&self, name: &'static str) -> Option<Vec<String>> {
        let found = self.get(name)?;
        match found.get_ref() {
            DeValue::Array(items) => items.iter().map(|item| self.text_of(item, name, "a list of texts")).collect(),
            _ => Some(vec![self.text_of(found, name, "a text or a list of texts")?]),
        }
    }

    /// A table inside this one; an absent one reads as empty.
    pub(super) fn section(&self, name: &'static str) -> Section<'a> {
        let path = self.setting(name);
        match self.get(name) {
            None => self.over(path, None, 0..0),
            Some(found) => self.section_of(found, name, path),
        }
    }

    pub(super) fn section_of(&self, found: Found<'a>, name: &str, path: String) -> Section<'a> {
        match found.get_ref() {
            DeValue::Table(table) => self.over(path, Some(table), found.span()),
            _ => {
                self.expected(found, name, "a table");
                self.over(path, None, found.span())
            }
        }
    }

    /// A list of tables, `[[name]]`.
    pub(super) fn sections(&self, name: &'static str) -> Vec<Section<'a>> {
        let Some(found) = self.get(name) else {
            return Vec::new();
        };
        match found.get_ref() {
            DeValue::Array(items) => items.iter().map(|item| self.section_of(item, name, self.setting(name))).collect(),
            _ => {
                self.fault_at(found, name, "expected a list of tables", Some(format!("write `[[{name}]]`")));
                Vec::new()
            }
        }
    }

    /// All entries of a table whose names are not ours.
    pub(super) fn entries(&self) -> Vec<(String, Found<'a>)> {
        let Some(table) = self.table else {
            return Vec::new();
        };
        table.iter().map(|(name, value)| (name.get_ref().to_string(), value)).collect()
    }

    /// Ends the section: what was not asked for is unknown.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        let asked = self.asked.borrow();
        for (name, _) in table.iter() {
            let text = name.get_ref().as_ref();
            if !asked.contains(&text) {
                let line = self.source.line(name.span().start);
                let cure = did_you_mean(text, asked.iter().copied())
                    .or_else(|| Some(format!("known here: {}", known(&asked))));
                self.source.fault(Some(line), &self.setting(text), "unknown setting".to_owned(), cure);
            }
        }
    }
}

/// The settings that were asked for, each once.
fn known(asked: &[&str]) -> String {
    let mut names: Vec<&str> = Vec::new();
    asked.iter().for_each(|name| {
        if !names.contains(name) {
            names.push(name);
        }
    });
    names.join(", ")
}

fn did_you_mean<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<String> {
    nearest(text, words).map(|word| format!("did you mean `{word}`?"))
}

fn integer(found: Found<'_>) -> Option<u64> {
    let integer = found.get_ref().as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn kind_of(found: Found<'_>) -> &'static str {
    match found.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Reads `64`, `64 KiB`, `1.5GB` …; a unit with `i` counts by 1,024, one without by 1,000.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    let bytes = number * factor as f64;
    (bytes.is_finite() && bytes < u64::MAX as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("64 MiB"), Some(64 << 20));
        assert_eq!(parse_size("1.5GB"), Some(1_500_000_000));
        assert_eq!(parse_size("12"), Some(12));
        for bad in ["", "x", "1 parsec", "-1", "1..2 MB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
