//! From the number of a row in a COPY back to object and line.
//!
//! The server names a row by its number. Lines of an object ascend, mostly by one, so they are kept
//! as runs of equal gaps: a few bytes for a regular object whatever its size, two bytes a row for one
//! without any regularity.

/// Bytes of runs that are kept unless told otherwise; past that lines are no longer known, only objects. Reached by some 30
/// million rows of irregular height.
const MOST_BYTES: usize = 64 << 20;

/// Object and line of every row that was written, in the order of writing.
#[derive(Debug)]
pub(crate) struct Lines {
    most_bytes: usize,
    spans: Vec<Span>,
    /// Pairs of gap and count, each a varint.
    runs: Vec<u8>,
    /// The run that still grows.
    gap: u64,
    count: u64,
    last: u64,
    rows: u64,
}

/// Rows of one object that follow each other.
#[derive(Debug)]
struct Span {
    object: u32,
    first_row: u64,
    /// Where its runs begin.
    at: usize,
    /// Whether lines are known from here on.
    is_known: bool,
}

/// Where a row came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) object: u32,
    pub(crate) line: Option<u64>,
}

impl Default for Lines {
    fn default() -> Self {
        Self::at_most(MOST_BYTES)
    }
}

impl Lines {
    /// Keeps so many bytes of runs.
    pub(crate) fn at_most(most_bytes: usize) -> Self {
        Self { most_bytes, spans: Vec::new(), runs: Vec::new(), gap: 0, count: 0, last: 0, rows: 0 }
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether there were none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds rows of one object.
    pub(crate) fn add(&mut self, object: u32, lines: &[u64]) {
        if self.spans.last().is_none_or(|span| span.object != object) {
            self.end_run();
            let is_known = self.runs.len() < self.most_bytes;
            self.spans.push(Span { object, first_row: self.rows, at: self.runs.len(), is_known });
            self.last = 0;
        }
        self.rows += lines.len() as u64;
        for &line in lines {
            let gap = line.saturating_sub(self.last);
            if gap == self.gap && self.count > 0 {
                self.count += 1;
            } else {
                self.end_run();
                (self.gap, self.count) = (gap, 1);
            }
            self.last = line;
        }
    }

    fn end_run(&mut self) {
        if self.count > 0 && self.runs.len() < self.most_bytes {
            varint(&mut self.runs, self.gap);
            varint(&mut self.runs, self.count);
        }
        self.count = 0;
    }

    /// Where a row came from; the first is 0.
    pub(crate) fn find(&self, row: u64) -> Option<Place> {
        if row >= self.rows {
            return None;
        }
        let index = self.spans.partition_point(|span| span.first_row <= row).checked_sub(1)?;
        let span = &self.spans[index];
        let line = span.is_known.then(|| self.line(index, row - span.first_row + 1)).flatten();
        Some(Place { object: span.object, line })
    }

    /// The line of a row of a span; the first is 1.
    fn line(&self, index: usize, mut row: u64) -> Option<u64> {
        let end = self.spans.get(index + 1).map(|next| next.at);
        let mut runs = &self.runs[self.spans[index].at..end.unwrap_or(self.runs.len())];
        let mut line = 0;
        while let (Some(gap), Some(count)) = (read(&mut runs), read(&mut runs)) {
            if row <= count {
                return Some(line + gap * row);
            }
            row -= count;
            line += gap * count;
        }
        // The last run of all still grows.
        let is_last = end.is_none() && self.runs.len() < self.most_bytes;
        is_last.then(|| line + self.gap * row)
    }
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn read(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_again() {
        let mut lines = Lines::default();
        let objects: Vec<Vec<u64>> = vec![
            (2..5_000).collect(),
            vec![],
            (0..300).map(|n| 2 + n * 3).collect(),
            (0..1_000_u64)
                .scan(1, |line, n| {
                    *line += 1 + n * n % 7;
                    Some(*line)
                })
                .collect(),
            vec![7],
        ];
        for (object, of) in objects.iter().enumerate() {
            for batch in of.chunks(97) {
                lines.add(object as u32, batch);
            }
        }
        let mut row = 0;
        for (object, of) in objects.iter().enumerate() {
            for &line in of {
                assert_eq!(lines.find(row), Some(Place { object: object as u32, line: Some(line) }), "{row}");
                row += 1;
            }
        }
        assert_eq!((lines.find(row), lines.rows()), (None, row));
    }

    #[test]
    fn regular_lines_take_no_room() {
        let mut lines = Lines::default();
        for batch in 0..1_000_u64 {
            lines.add(0, &(batch * 1_000 + 2..batch * 1_000 + 1_002).collect::<Vec<_>>());
        }
        assert!(lines.runs.len() < 16);
        assert_eq!(lines.find(999_999), Some(Place { object: 0, line: Some(1_000_001) }));
    }
}
