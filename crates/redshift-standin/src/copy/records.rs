//! Cuts the text of a file into records and fields: CSV, or delimited without CSV.

use super::options::Options;
use super::reader::Switches;
use super::values::Fault;

/// One field of a record.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) bytes: Vec<u8>,
    pub(super) is_quoted: bool,
    /// It is the text that NULL AS names.
    pub(super) is_null: bool,
    /// Bytes from the start of the record.
    pub(super) position: u64,
}

/// One record: its fields, or why and where they could not be told apart.
pub(super) struct Record<'a> {
    pub(super) line: u64,
    pub(super) raw: &'a [u8],
    pub(super) fields: Result<Vec<Field>, (Fault, u64)>,
}

/// The records of a file, without its header.
pub(super) struct Records<'a> {
    text: &'a [u8],
    at: usize,
    lines: u64,
    options: &'a Options,
    switches: &'a Switches,
}

enum End {
    Field,
    Record,
}

impl<'a> Records<'a> {
    pub(super) fn new(text: &'a [u8], options: &'a Options, switches: &'a Switches) -> Self {
        let mut records = Self { text, at: 0, lines: 0, options, switches };
        for _ in 0..options.ignore_header {
            if records.at >= text.len() {
                break;
            }
            records.skip_line();
        }
        records
    }

    /// Lines seen so far, the header among them.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        self.lines += 1;
    }

    /// How many bytes end a line here; 0 where none ends. The end of the file ends one too.
    fn line_end(&self, at: usize) -> Option<usize> {
        match &self.text[at..] {
            [] => Some(0),
            [b'\n', ..] => Some(1),
            [b'\r', b'\n', ..] if self.switches.crlf_ends_lines => Some(2),
            _ => None,
        }
    }

    fn is_delimiter(&self, at: usize) -> bool {
        self.text[at..].starts_with(self.options.delimiter.as_bytes())
    }

    /// Moves behind a delimiter or an end of line, if one is here.
    fn end(&mut self) -> Option<End> {
        if let Some(size) = self.line_end(self.at) {
            self.at += size;
            Some(End::Record)
        } else if self.is_delimiter(self.at) {
            self.at += self.options.delimiter.len();
            Some(End::Field)
        } else {
            None
        }
    }

    fn fields(&mut self, start: usize) -> Result<Vec<Field>, (Fault, u64)> {
        let mut fields = Vec::new();
        loop {
            let position = (self.at - start) as u64;
            let read = if self.options.csv { self.csv_field() } else { self.plain_field() };
            let (mut field, end) = read.map_err(|fault| (fault, position))?;
            field.position = position;
            fields.push(field);
            if matches!(end, End::Record) {
                return Ok(fields);
            }
        }
    }

    fn csv_field(&mut self) -> Result<(Field, End), Fault> {
        let start = self.at;
        self.skip_blanks();
        let quote = self.options.quote;
        if self.text.get(self.at) == Some(&quote) {
            return self.quoted_field();
        }
        self.at = start;
        loop {
            let here = self.at;
            if let Some(end) = self.end() {
                let bytes = self.text[start..here].to_vec();
                let is_null = self.is_null(&bytes);
                return Ok((Field { bytes, is_quoted: false, is_null, position: 0 }, end));
            }
            if self.text[here] == quote {
                return Err(bad_quotes());
            }
            self.at += 1;
        }
    }

    /// Blanks between a delimiter and a quote do not count.
    fn skip_blanks(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t')) && !self.is_delimiter(self.at) {
            self.at += 1;
        }
    }

    fn quoted_field(&mut self) -> Result<(Field, End), Fault> {
        let quote = self.options.quote;
        let mut bytes = Vec::new();
        self.at += 1;
        loop {
            match self.text[self.at..] {
                [] => return Err(bad_quotes()),
                [first, second, ..] if first == quote && second == quote => {
                    bytes.push(quote);
                    self.at += 2;
                }
                [first, ..] if first == quote => break,
                [first, ..] => {
                    bytes.push(first);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        self.skip_blanks();
        let end = self.end().ok_or_else(bad_quotes)?;
        let is_null = self.switches.null_token_matches_quoted && self.is_null(&bytes);
        Ok((Field { bytes, is_quoted: true, is_null, position: 0 }, end))
    }

    fn plain_field(&mut self) -> Result<(Field, End), Fault> {
        if self.options.remove_quotes
            && let Some(quote @ (b'"' | b'\'')) = self.text.get(self.at).copied()
        {
            return self.dequoted_field(quote);
        }
        let start = self.at;
        let mut bytes = Vec::new();
        loop {
            let here = self.at;
            if let Some(end) = self.end() {
                let is_null = self.is_null(&self.text[start..here]);
                return Ok((Field { bytes, is_quoted: false, is_null, position: 0 }, end));
            }
            self.push_plain(&mut bytes);
        }
    }

    /// Takes one byte, or with ESCAPE the one that a backslash guards.
    fn push_plain(&mut self, bytes: &mut Vec<u8>) {
        if self.options.escape && self.text[self.at] == b'\\' && self.at + 1 < self.text.len() {
            self.at += 1;
        }
        bytes.push(self.text[self.at]);
        self.at += 1;
    }

    /// A field within marks that are taken off: it ends at a mark that a delimiter or the line's end follows.
    fn dequoted_field(&mut self, quote: u8) -> Result<(Field, End), Fault> {
        let mut bytes = Vec::new();
        self.at += 1;
        let start = self.at;
        loop {
            if self.line_end(self.at).is_some() {
                return Err(Fault::new(1214, "Delimiter not found: a quotation mark is not closed"));
            }
            if self.text[self.at] == quote {
                let here = self.at;
                self.at += 1;
                if let Some(end) = self.end() {
                    let is_null = self.switches.null_token_matches_quoted && self.is_null(&self.text[start..here]);
                    return Ok((Field { bytes, is_quoted: true, is_null, position: 0 }, end));
                }
                bytes.push(quote);
            } else {
                self.push_plain(&mut bytes);
            }
        }
    }

    fn is_null(&self, bytes: &[u8]) -> bool {
        !self.options.null_as.is_empty() && bytes == self.options.null_as.as_bytes()
    }
}

fn bad_quotes() -> Fault {
    Fault::new(1214, "Invalid quote formatting for CSV")
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        while self.options.ignore_blank_lines && self.text.get(self.at) == Some(&b'\n') {
            self.skip_line();
        }
        if self.at >= self.text.len() {
            return None;
        }
        let (start, line) = (self.at, self.lines + 1);
        let fields = self.fields(start);
        if fields.is_err() {
            let rest = &self.text[self.at..];
            self.at += rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        }
        let taken = &self.text[start..self.at];
        let ends = taken.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.lines += ends + u64::from(!taken.ends_with(b"\n"));
        let raw = taken.strip_suffix(b"\n").unwrap_or(taken);
        let raw = if self.switches.crlf_ends_lines { raw.strip_suffix(b"\r").unwrap_or(raw) } else { raw };
        Some(Record { line, raw, fields })
    }
}
