//! `${name}` in a script, replaced wherever it stands, in comments and texts too.

use std::collections::BTreeMap;

use crate::split::newlines;

/// Values for names, and how names are marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholders {
    /// Values by their names in small letters.
    values: BTreeMap<String, String>,
    /// What stands before a name.
    pub prefix: String,
    /// What stands behind it.
    pub suffix: String,
}

/// A name without a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: the placeholder `{shown}` has no value")]
pub struct UnknownPlaceholder {
    /// The line on which it stands.
    pub line: usize,
    /// The placeholder as it is written.
    pub shown: String,
    /// Its name.
    pub name: String,
    /// The names that have a value.
    pub known: Vec<String>,
}

impl Default for Placeholders {
    fn default() -> Self {
        Self { values: BTreeMap::new(), prefix: "${".to_owned(), suffix: "}".to_owned() }
    }
}

impl Placeholders {
    /// Gives a name a value. Case does not count in names.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.to_lowercase(), value.into());
    }

    /// Puts values in the place of names. Values are not looked through again.
    ///
    /// # Errors
    /// A name has no value.
    pub fn replace(&self, text: &str) -> Result<String, UnknownPlaceholder> {
        if self.prefix.is_empty() || self.suffix.is_empty() {
            return Ok(text.to_owned());
        }
        let mut replaced = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(start) = text[at..].find(&self.prefix).map(|found| at + found) {
            let name_at = start + self.prefix.len();
            let Some(length) = text[name_at..].find(&self.suffix) else { break };
            let name = &text[name_at..name_at + length];
            let end = name_at + length + self.suffix.len();
            let Some(value) = self.values.get(&name.to_lowercase()) else {
                return Err(UnknownPlaceholder {
                    line: 1 + newlines(&text[..start]),
                    shown: text[start..end].chars().take(80).collect(),
                    name: name.chars().take(80).collect(),
                    known: self.values.keys().cloned().collect(),
                });
            };
            replaced.push_str(&text[at..start]);
            replaced.push_str(value);
            at = end;
        }
        replaced.push_str(&text[at..]);
        Ok(replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zebra() -> Placeholders {
        let mut placeholders = Placeholders::default();
        placeholders.set("tbl", "zebra");
        placeholders.set("Own", "${tbl}");
        placeholders
    }

    #[test]
    fn names_are_replaced_everywhere_in_any_case_and_values_are_final() {
        let replaced = zebra().replace("-- ${tbl}\nSELECT '${TBL}', ${own}, $1, ${tbl").unwrap();
        assert_eq!(replaced, "-- zebra\nSELECT 'zebra', ${tbl}, $1, ${tbl");
    }

    #[test]
    fn a_name_without_a_value_is_told_with_its_line() {
        let error = zebra().replace("a\nb ${tbl}\r\nc ${x}").unwrap_err();
        assert_eq!(error.to_string(), "line 3: the placeholder `${x}` has no value");
        assert_eq!(error.known, ["own", "tbl"]);
    }

    #[test]
    fn marks_can_be_others() {
        let mut placeholders = zebra();
        (placeholders.prefix, placeholders.suffix) = ("#[".to_owned(), "]".to_owned());
        assert_eq!(placeholders.replace("${x} #[tbl]").unwrap(), "${x} zebra");
    }
}
