//! Rows of one object that do not fit: the first of them in full, all of them as a CSV.

use std::collections::BTreeMap;
use std::io::{self, Write};

use longshore_csv::Reject;
use tempfile::NamedTempFile;

/// Rejects that a report lists; the rest is counted.
pub const LISTED: usize = 1_000;

/// Rejects of one object.
#[derive(Debug, Default)]
pub struct Rejects {
    /// The first of them.
    pub listed: Vec<Reject>,
    /// How many there are.
    pub count: u64,
    /// How many break each rule of each column.
    pub by_rule: BTreeMap<(String, &'static str), u64>,
    file: Option<io::BufWriter<NamedTempFile>>,
}

impl Rejects {
    /// Adds rejects of an object with this header.
    ///
    /// # Errors
    /// There is no room on disk.
    pub fn add(&mut self, header: &[u8], rejects: Vec<Reject>) -> io::Result<()> {
        if self.file.is_none() {
            let mut file = io::BufWriter::new(NamedTempFile::new()?);
            file.write_all(header)?;
            self.file = Some(file);
        }
        for reject in rejects {
            self.count += 1;
            for fault in &reject.faults {
                let column = fault.column.clone().unwrap_or_default();
                *self.by_rule.entry((column, fault.rule.as_str())).or_default() += 1;
            }
            if let Some(file) = &mut self.file {
                file.write_all(&reject.raw)?;
                file.write_all(b"\n")?;
            }
            if self.listed.len() < LISTED {
                self.listed.push(reject);
            }
        }
        Ok(())
    }

    /// The CSV of all rejects, with the object's header: it can be corrected and dropped again.
    ///
    /// # Errors
    /// There is no room on disk.
    pub fn csv(&mut self) -> io::Result<Option<&std::path::Path>> {
        match &mut self.file {
            None => Ok(None),
            Some(file) => {
                file.flush()?;
                Ok(Some(file.get_ref().path()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use longshore_csv::{FieldFault, Rule};

    use super::*;

    fn reject(line: u64, raw: &[u8]) -> Reject {
        let fault = |column: &str, rule| FieldFault { column: Some(column.to_owned()), rule, message: "x".to_owned() };
        Reject {
            line,
            record: line,
            byte: 0,
            faults: vec![fault("a", Rule::Type), fault("b", Rule::NotNull)],
            raw: raw.to_vec(),
        }
    }

    #[test]
    fn without_rejects_there_is_no_file() {
        assert!(Rejects::default().csv().unwrap().is_none());
    }

    #[test]
    fn all_rejects_are_in_the_file_in_their_original_bytes() {
        let mut rejects = Rejects::default();
        rejects.add(b"h\xe9ader\r\n", vec![reject(2, b"1;\xff\0")]).unwrap();
        rejects.add(b"h\xe9ader\r\n", vec![reject(3, b"\"a\nb\"")]).unwrap();
        let path = rejects.csv().unwrap().unwrap().to_owned();
        assert_eq!(std::fs::read(path).unwrap(), b"h\xe9ader\r\n1;\xff\0\n\"a\nb\"\n");
    }

    #[test]
    fn the_first_are_listed_and_all_are_counted_by_column_and_rule() {
        let mut rejects = Rejects::default();
        for line in 0..LISTED as u64 + 5 {
            rejects.add(b"", vec![reject(line, b"x")]).unwrap();
        }
        assert_eq!(rejects.listed.len(), LISTED);
        assert_eq!(rejects.count, LISTED as u64 + 5);
        let by_rule: Vec<_> = rejects.by_rule.into_iter().collect();
        let all = LISTED as u64 + 5;
        assert_eq!(by_rule, [(("a".to_owned(), "type"), all), (("b".to_owned(), "not-null"), all)]);
    }
}
