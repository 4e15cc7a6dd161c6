//! Text in, ends of fields and records out.
//!
//! Bytes are looked at 64 at a time: each block becomes one bit mask per kind of byte
//! ([`crate::mask`]), and the masks say where fields end. Quotes open only at the beginning of a
//! field, which masks cannot know; they are taken to alternate, this is checked, and a block
//! where it does not hold is walked byte by byte. The outcome is the same for all texts, which a
//! property test asserts against a splitter that only walks.

use crate::mask::{BLOCK, Masks, Needles};

/// The bytes that shape a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    pub(crate) quote: Option<u8>,
    pub(crate) escape: Option<u8>,
}

/// One record: `count` fields, the ends of which begin at `first` in [`Tape::ends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// Where its first byte lies.
    pub(crate) start: u32,
    /// Line ends before it in the text.
    pub(crate) line: u32,
}

/// What was found in a text. Kept between texts for its memory.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    ends: Vec<u32>,
    len: usize,
    pub(crate) rows: Vec<Row>,
    /// Whether a quote was seen.
    pub(crate) has_quotes: bool,
    /// Whether a field in quotes may hold quotes or escapes.
    pub(crate) is_tricky: bool,
    /// Whether a NUL may be among the bytes.
    pub(crate) has_nul: bool,
    /// Bytes of the text that belong to whole records.
    pub(crate) consumed: usize,
    /// Line ends in those bytes.
    pub(crate) lines: u32,
}

impl Tape {
    /// Ends of all fields of all records.
    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends[..self.len]
    }

    /// Where a record ends, its line end excluded.
    pub(crate) fn row_end(&self, row: &Row) -> u32 {
        self.ends[(row.first + row.count - 1) as usize]
    }

    fn clear(&mut self) {
        self.len = 0;
        self.rows.clear();
        self.has_quotes = false;
        self.is_tricky = false;
        self.has_nul = false;
        self.consumed = 0;
        self.lines = 0;
    }

    fn push(&mut self, end: usize) {
        if self.len == self.ends.len() {
            self.grow();
        }
        self.ends[self.len] = end as u32;
        self.len += 1;
    }

    #[cold]
    fn grow(&mut self) {
        let len = self.ends.len() * 2 + 8 * BLOCK;
        self.ends.resize(len, 0);
    }
}

/// Where in a field the next byte lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At its first byte.
    Start,
    /// After its first byte, outside of quotes.
    Plain,
    /// Inside quotes.
    Quoted,
    /// After a quote that closed the field, unless another follows.
    Closed,
}

struct State {
    place: Place,
    /// Whether the last byte was a carriage return.
    after_cr: bool,
    /// Whether the last byte was an escape.
    escaped: bool,
    /// First field of the current record in the tape.
    first: usize,
    /// First byte of the current record.
    start: usize,
    /// Line ends before the current record, and before the current block.
    line: u32,
    lines: u32,
}

/// Splits the whole records of a text that begins with a record. With `at_end` the last record
/// needs no line end. Gives whether the text ends inside quotes (which then is its last,
/// unfinished record).
pub(crate) fn split(text: &[u8], dialect: Dialect, at_end: bool, tape: &mut Tape) -> bool {
    tape.clear();
    let needles = Needles::new(dialect.delimiter, dialect.quote, dialect.escape);
    let mut state =
        State { place: Place::Start, after_cr: false, escaped: false, first: 0, start: 0, line: 0, lines: 0 };
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let mut lows = crate::mask::Lows::new();
    for (index, block) in blocks.iter().enumerate() {
        let masks = needles.find(block, &mut lows);
        split_block(text, index * BLOCK, BLOCK, masks, dialect, &mut state, tape);
    }
    if !rest.is_empty() {
        let mut block = [b' '; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        let masks = needles.find(&block, &mut lows).keep(rest.len());
        let base = blocks.len() * BLOCK;
        split_block(text, base, rest.len(), masks, dialect, &mut state, tape);
    }
    tape.has_nul = lows.has_zero();
    tape.consumed = state.start.min(text.len());
    tape.lines = state.line;
    let inside = state.place == Place::Quoted;
    if at_end && !inside && tape.consumed < text.len() {
        tape.push(text.len());
        finish_row(text, text.len(), state.lines, &mut state, tape);
        tape.consumed = text.len();
        tape.lines = state.line;
    }
    tape.len = state.first;
    inside
}

/// Finds the ends in one block of `len` bytes at `base`.
#[inline(always)]
fn split_block(
    text: &[u8],
    base: usize,
    len: usize,
    masks: Masks,
    dialect: Dialect,
    state: &mut State,
    tape: &mut Tape,
) {
    // A line feed after a carriage return is part of the same line end.
    let after_cr = (masks.cr << 1) | u64::from(state.after_cr);
    let line_ends = masks.cr | (masks.lf & !after_cr);
    let mut separators = masks.delimiter | line_ends;
    // What a field may begin after.
    let mut starters = separators | masks.lf;
    let is_escaped_end = state.after_cr && state.place == Place::Plain;
    if masks.escape != 0 || state.escaped || is_escaped_end {
        return walk(text, base, len, dialect, state, tape);
    }
    if masks.quote != 0 || state.place == Place::Quoted {
        tape.has_quotes = true;
        let carried = if state.place == Place::Quoted { !0 } else { 0 };
        let inside = prefix_xor(masks.quote) ^ carried;
        let is_closed = state.place == Place::Closed;
        let may_open = is_closed || state.place == Place::Start;
        let before = ((starters | masks.quote) << 1) | u64::from(may_open);
        if masks.quote & inside & !before != 0 {
            return walk(text, base, len, dialect, state, tape);
        }
        // Two in a row are a quote in a quoted field, or an empty one.
        tape.is_tricky |= masks.quote & (masks.quote << 1 | u64::from(is_closed)) != 0;
        separators &= !inside;
        starters &= !inside;
        state.place =
            if inside >> (len - 1) & 1 == 1 { Place::Quoted } else { place_after(masks.quote, starters, len) };
    } else {
        state.place = place_after(0, starters, len);
    }
    state.after_cr = masks.cr >> (len - 1) & 1 == 1;
    emit(text, base, separators, line_ends, state, tape);
}

/// The place after the last byte of a block that ends outside of quotes.
#[inline(always)]
fn place_after(quotes: u64, starters: u64, len: usize) -> Place {
    if starters >> (len - 1) & 1 == 1 {
        Place::Start
    } else if quotes >> (len - 1) & 1 == 1 {
        Place::Closed
    } else {
        Place::Plain
    }
}

/// Writes the ends of a block to the tape.
#[inline(always)]
fn emit(text: &[u8], base: usize, separators: u64, line_ends: u64, state: &mut State, tape: &mut Tape) {
    if tape.ends.len() - tape.len < BLOCK {
        tape.grow();
    }
    let at = tape.len;
    if let Some(out) = tape.ends[at..].first_chunk_mut::<BLOCK>() {
        let mut bits = separators;
        let mut write = |from: usize, to: usize| {
            for slot in &mut out[from..to] {
                *slot = (base as u32).wrapping_add(bits.trailing_zeros());
                bits &= bits.wrapping_sub(1);
            }
        };
        let count = separators.count_ones() as usize;
        write(0, 8);
        if count > 8 {
            write(8, 16);
            if count > 16 {
                write(16, BLOCK);
            }
        }
        let mut ends = separators & line_ends;
        while ends != 0 {
            let bit = ends & ends.wrapping_neg();
            let below = bit | (bit - 1);
            tape.len = at + (separators & below).count_ones() as usize;
            let lines = state.lines + (line_ends & below).count_ones();
            finish_row(text, base + bit.trailing_zeros() as usize, lines, state, tape);
            ends &= ends - 1;
        }
        tape.len = at + count;
    }
    state.lines += line_ends.count_ones();
}

/// Ends a record at the line end at `end`; `lines` line ends come before what follows.
#[inline(always)]
fn finish_row(text: &[u8], end: usize, lines: u32, state: &mut State, tape: &mut Tape) {
    let count = tape.len - state.first;
    if count > 1 || end > state.start {
        tape.rows.push(Row {
            first: state.first as u32,
            count: count as u32,
            start: state.start as u32,
            line: state.line,
        });
    }
    state.first = tape.len;
    state.line = lines;
    state.start = end + 1;
    if text.get(end) == Some(&b'\r') && text.get(end + 1) == Some(&b'\n') {
        state.start += 1;
    }
}

/// Bit `i` of the outcome is the parity of the bits up to and including `i`.
#[inline(always)]
fn prefix_xor(bits: u64) -> u64 {
    let bits = bits ^ (bits << 1);
    let bits = bits ^ (bits << 2);
    let bits = bits ^ (bits << 4);
    let bits = bits ^ (bits << 8);
    let bits = bits ^ (bits << 16);
    bits ^ (bits << 32)
}

/// Finds the ends in one block byte by byte.
#[cold]
#[inline(never)]
fn walk(text: &[u8], base: usize, len: usize, dialect: Dialect, state: &mut State, tape: &mut Tape) {
    tape.has_quotes = true;
    tape.is_tricky = true;
    for at in base..base + len {
        let byte = text[at];
        let is_line_end = byte == b'\r' || (byte == b'\n' && !state.after_cr);
        let is_tail = byte == b'\n' && state.after_cr;
        state.after_cr = byte == b'\r';
        state.lines += u32::from(is_line_end);
        if is_tail {
            // The second half of a line end that was dealt with.
            if !matches!(state.place, Place::Start | Place::Quoted) || state.escaped {
                state.escaped = false;
                state.place = data(state.place);
            }
            continue;
        }
        if state.escaped {
            state.escaped = false;
            state.place = data(state.place);
            continue;
        }
        if dialect.escape == Some(byte) {
            state.escaped = true;
            state.place = data(state.place);
        } else if dialect.quote == Some(byte) {
            state.place = match state.place {
                Place::Start | Place::Closed => Place::Quoted,
                Place::Quoted => Place::Closed,
                Place::Plain => Place::Plain,
            };
        } else if state.place == Place::Quoted {
        } else if byte == dialect.delimiter {
            tape.push(at);
            state.place = Place::Start;
        } else if is_line_end {
            tape.push(at);
            finish_row(text, at, state.lines, state, tape);
            state.place = Place::Start;
        } else {
            state.place = Place::Plain;
        }
    }
}

/// The place after a byte that is data.
fn data(place: Place) -> Place {
    match place {
        Place::Quoted => Place::Quoted,
        _ => Place::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a splitter must find, found in the plainest way: the ends of each record's fields,
    /// where it starts, and the line ends before it.
    type Found = Vec<(Vec<usize>, usize, u32)>;

    fn plain_split(text: &[u8], dialect: Dialect) -> (Found, bool) {
        let mut found = Vec::new();
        let (mut ends, mut start, mut line, mut lines) = (Vec::new(), 0, 0, 0);
        let (mut in_quotes, mut at_start, mut was_closed) = (false, true, false);
        let mut at = 0;
        while at < text.len() {
            let byte = text[at];
            let is_crlf = byte == b'\r' && text.get(at + 1) == Some(&b'\n');
            let width = if is_crlf { 2 } else { 1 };
            let is_line_end = matches!(byte, b'\r' | b'\n');
            let closed = std::mem::take(&mut was_closed);
            let first = std::mem::take(&mut at_start);
            if dialect.escape == Some(byte) {
                // What is escaped is data, a line end of two bytes as a whole.
                let next = text.get(at + 1).copied();
                let is_end = matches!(next, Some(b'\r' | b'\n'));
                let is_pair = next == Some(b'\r') && text.get(at + 2) == Some(&b'\n');
                lines += u32::from(is_end);
                at += if is_pair { 3 } else { 2 };
                continue;
            }
            if dialect.quote == Some(byte) {
                if in_quotes {
                    in_quotes = false;
                    was_closed = true;
                } else {
                    in_quotes = first || closed;
                }
            } else if is_line_end {
                lines += 1;
                if !in_quotes {
                    ends.push(at);
                    if ends.len() > 1 || at > start {
                        found.push((std::mem::take(&mut ends), start, line));
                    }
                    ends.clear();
                    (start, line, at_start) = (at + width, lines, true);
                }
            } else if byte == dialect.delimiter && !in_quotes {
                ends.push(at);
                at_start = true;
            }
            at += width;
        }
        if start < text.len() && !in_quotes {
            ends.push(text.len());
            found.push((ends, start, line));
        }
        (found, in_quotes)
    }

    fn fast_split(text: &[u8], dialect: Dialect) -> (Found, bool) {
        let mut tape = Tape::default();
        let inside = split(text, dialect, true, &mut tape);
        let found = tape.rows.iter().map(|row| {
            let ends = &tape.ends()[row.first as usize..(row.first + row.count) as usize];
            let ends = ends.iter().map(|end| *end as usize).collect();
            (ends, row.start as usize, row.line)
        });
        (found.collect(), inside)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn it_finds_what_a_plain_splitter_finds(
            text in proptest::collection::vec(
                prop_oneof![
                    4 => Just(b','), 4 => Just(b'"'), 2 => Just(b'\n'), 1 => Just(b'\r'), 1 => Just(b'\\'), 8 => Just(b'x'),
                ],
                0..300,
            ),
            quote in proptest::option::weighted(0.9, Just(b'"')),
            escape in proptest::option::weighted(0.3, Just(b'\\')),
        ) {
            let dialect = Dialect { delimiter: b',', quote, escape };
            prop_assert_eq!(fast_split(&text, dialect), plain_split(&text, dialect));
        }

    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn it_finds_sound_quotes(
            fields in proptest::collection::vec("[a-z]{0,20}|\"([a-z,\n]|\"\"|\r\n){0,90}\"", 1..60),
            ends in proptest::collection::vec(prop_oneof![4 => Just(","), 1 => Just("\n"), 1 => Just("\r\n")], 60),
        ) {
            let text: String = fields.iter().zip(ends).flat_map(|(field, end)| [field.as_str(), end]).collect();
            let dialect = Dialect { delimiter: b',', quote: Some(b'"'), escape: None };
            prop_assert_eq!(fast_split(text.as_bytes(), dialect), plain_split(text.as_bytes(), dialect));
        }
    }
}
