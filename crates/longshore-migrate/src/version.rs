//! Versions: numbers with dots between them, compared part by part.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The longest version that the history table holds, in characters.
pub const MAX_VERSION: usize = 50;

/// A version such as `1`, `1.10` or `2026.11.26`. Parts are numbers of any size; missing ones count as 0, so
/// that `1`, `1.0` and `01` are the same.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    /// Its parts without leading zeros; zeros at the end left out.
    parts: Vec<String>,
}

impl Version {
    /// Reads what stands in a file's name, with `_` or `.` between the parts.
    ///
    /// # Errors
    /// A part is no number, or it is longer than [`MAX_VERSION`]: the rule that was broken.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.replace('_', ".");
        if text.is_empty() {
            return Err("there is no version before the separator");
        }
        if !text.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err("a version is made of digits with `.` or `_` between them");
        }
        if text.len() > MAX_VERSION {
            return Err("a version has at most 50 characters");
        }
        Ok(Self::of_history(&text))
    }

    /// Takes what a history table holds, as it is: others may have written what [`Version::parse`] refuses.
    pub fn of_history(text: &str) -> Self {
        let mut parts: Vec<String> = text.split('.').map(|part| part.trim_start_matches('0').to_owned()).collect();
        while parts.last().is_some_and(String::is_empty) {
            parts.pop();
        }
        Self { text: text.to_owned(), parts }
    }

    /// The version as it is written: leading zeros are kept.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        // Of two numbers without leading zeros the longer one is greater.
        self.parts.iter().map(|part| (part.len(), part)).cmp(other.parts.iter().map(|part| (part.len(), part)))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts.hash(state);
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn versions_are_compared_part_by_part() {
        for (a, b) in [("1", "1.0"), ("1", "01"), ("010", "10"), ("1_2", "1.2"), ("1.0.0", "1"), ("0", "0.0")] {
            assert_eq!(version(a), version(b), "{a} {b}");
        }
        let order =
            ["0", "0.1", "1", "1.0.1", "1.2", "1.10", "2", "010", "20261126120000", "99999999999999999999999999999999"];
        for pair in order.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", "a", "5a", "4.", "4..5", "7 ", "-1", "+3", "٣", "latest", ".1"] {
            assert!(Version::parse(text).is_err(), "{text}");
        }
        assert!(Version::parse(&"1".repeat(50)).is_ok());
        assert!(Version::parse(&"1".repeat(51)).is_err());
    }

    #[test]
    fn a_version_keeps_its_text() {
        assert_eq!(version("010").as_str(), "010");
        assert_eq!(version("1_1").as_str(), "1.1");
    }
}
