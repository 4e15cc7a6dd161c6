//! Pushed bytes in, windows of whole records with their position out.
//!
//! A window is a stretch of decoded text, small enough for the cache, with the tape of its
//! fields. Text is not copied on its way from a push (or from the decompressor) to the window,
//! but for the record that lies across the border of two pieces.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::decompress::Decompressor;
use crate::split::{Dialect, Row, Tape, split};
use crate::transcode::Transcoder;
use crate::{ObjectFault, ObjectFaultKind, Options};

/// Bytes of a window, unless one record is longer: text and tape fit the second cache level.
const WINDOW: usize = 128 << 10;
/// Pieces below this are put together first.
const SMALL: usize = 32 << 10;
/// Bytes of the next piece that are copied to complete a record.
const STITCH: usize = 4 << 10;
/// Longest piece: offsets within it are 32 bits.
const LONGEST: usize = 1 << 30;
/// Text that is looked at to tell a text from a binary file.
const FIRST: usize = 1 << 10;

pub(crate) struct Records {
    decompressor: Decompressor,
    transcoder: Transcoder,
    dialect: Dialect,
    max_record: usize,
    skip_lines: u64,
    /// No more pushes come.
    ended: bool,
    /// No more pieces come.
    drained: bool,
    looked: bool,
    pieces: VecDeque<Bytes>,
    pieces_len: usize,
    /// Text without a record end, waiting for more.
    carry: Vec<u8>,
    /// The piece of which the end of `buffer` is a copy, and how much of it was copied.
    copied: Option<(Bytes, usize)>,
    /// Text being split, and where the window begins in it.
    buffer: Bytes,
    at: usize,
    end: usize,
    tape: Tape,
    /// Line at which the window begins, and its offset in the decoded text.
    line: u64,
    byte: u64,
    /// Mark, skipped lines and header record in the object's encoding.
    head: Vec<u8>,
    head_is_open: bool,
}

impl Records {
    pub(crate) fn new(options: &Options) -> Result<Self, ObjectFault> {
        Ok(Self {
            decompressor: Decompressor::new(options.compression, options.max_ratio)?,
            transcoder: Transcoder::new(options.encoding),
            dialect: Dialect {
                delimiter: options.delimiter,
                quote: options.quote,
                // An escape that is the quote says that quotes are doubled.
                escape: options.escape.filter(|_| options.escape != options.quote),
            },
            max_record: options.max_record.min(LONGEST),
            skip_lines: options.skip_lines,
            ended: false,
            drained: false,
            looked: false,
            pieces: VecDeque::new(),
            pieces_len: 0,
            carry: Vec::new(),
            copied: None,
            buffer: Bytes::new(),
            at: 0,
            end: 0,
            tape: Tape::default(),
            line: 1,
            byte: 0,
            head: Vec::new(),
            head_is_open: true,
        })
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.decompressor.push(bytes);
    }

    pub(crate) fn end(&mut self) {
        self.decompressor.end();
        self.ended = true;
    }

    /// Goes on to the next window; false if there is none before more bytes come, or after the
    /// end none at all.
    pub(crate) fn advance(&mut self) -> Result<bool, ObjectFault> {
        self.leave_window();
        loop {
            if self.at == self.buffer.len() && !self.next_buffer()? {
                return Ok(false);
            }
            self.look()?;
            if self.skip_lines > 0 {
                self.skip()?;
            } else if self.split()? {
                return Ok(true);
            }
        }
    }

    /// Passes over what the current window holds.
    fn leave_window(&mut self) {
        let consumed = self.tape.consumed;
        self.pass(consumed, self.tape.lines);
        self.tape.consumed = 0;
        self.tape.lines = 0;
        self.tape.rows.clear();
        if self.end == self.buffer.len() {
            self.keep_rest();
        }
        if !self.head_is_open
            && let Some(origin) = self.transcoder.origin()
        {
            origin.release(self.line);
        }
    }

    fn pass(&mut self, bytes: usize, lines: u32) {
        self.at += bytes;
        self.byte += bytes as u64;
        self.line += u64::from(lines);
    }

    /// Puts the unfinished record at the end of the buffer where it can grow.
    fn keep_rest(&mut self) {
        let rest = self.buffer.len() - self.at;
        match self.copied.take() {
            // It came from the piece that goes on behind it: nothing needs to be kept.
            Some((piece, copied)) if rest <= copied => {
                let piece = piece.slice(copied - rest..);
                self.pieces_len += rest;
                if let Some(front) = self.pieces.front_mut() {
                    *front = piece;
                } else {
                    self.pieces.push_front(piece);
                }
            }
            _ => self.carry.extend_from_slice(&self.buffer[self.at..]),
        }
        self.buffer = Bytes::new();
        self.at = 0;
        self.end = 0;
    }

    /// Takes up the next text to split; false if there is none yet.
    fn next_buffer(&mut self) -> Result<bool, ObjectFault> {
        let need = SMALL.max(2 * self.carry.len());
        loop {
            if self.carry.is_empty()
                && let Some(piece) = self.pieces.front()
                && (piece.len() >= SMALL || (self.drained && self.pieces.len() == 1))
            {
                self.pieces_len -= piece.len();
                self.buffer = self.pieces.pop_front().unwrap_or_default();
                return Ok(true);
            }
            if self.carry.len() + self.pieces_len >= need || self.drained {
                return Ok(self.stitch(need));
            }
            match self.decompressor.next()? {
                Some(piece) => self.take_piece(piece, false),
                None if self.ended => {
                    self.drained = true;
                    self.take_piece(Bytes::new(), true);
                }
                None => return Ok(false),
            }
        }
    }

    fn take_piece(&mut self, piece: Bytes, last: bool) {
        let mut text = self.transcoder.decode(piece, last);
        if self.head.is_empty() && self.head_is_open {
            self.head.extend_from_slice(&self.transcoder.mark());
        }
        self.pieces_len += text.len();
        while !text.is_empty() {
            self.pieces.push_back(text.split_to(text.len().min(LONGEST / 2)));
        }
    }

    /// Makes a buffer of the carried text and what follows it; false if there is nothing.
    fn stitch(&mut self, need: usize) -> bool {
        let mut text = std::mem::take(&mut self.carry);
        while let Some(piece) = self.pieces.front_mut() {
            if piece.len() > SMALL {
                let wanted = STITCH.max(2 * text.len()) - text.len();
                let count = wanted.min(piece.len());
                text.extend_from_slice(&piece[..count]);
                self.pieces_len -= count;
                self.copied = Some((piece.clone(), count));
                *piece = piece.slice(count..);
                break;
            }
            if text.len() >= need {
                break;
            }
            self.pieces_len -= piece.len();
            text.extend_from_slice(piece);
            self.pieces.pop_front();
        }
        if let Some((piece, count)) = &self.copied
            && piece.len() == *count
        {
            self.copied = None;
            self.pieces.pop_front();
        }
        self.buffer = text.into();
        !self.buffer.is_empty()
    }

    /// Whether no text comes after the buffer.
    fn is_last(&self) -> bool {
        self.drained && self.pieces.is_empty()
    }

    /// Splits a window of the buffer; false if it holds no whole record.
    fn split(&mut self) -> Result<bool, ObjectFault> {
        let mut size = WINDOW;
        loop {
            let (end, last) = self.window(size);
            self.end = end;
            let text = &self.buffer[self.at..end];
            let inside = split(text, self.dialect, last, &mut self.tape);
            self.check_lengths(text.len())?;
            if self.tape.consumed > 0 {
                return Ok(true);
            }
            if text.len() > self.max_record {
                return Err(self.too_long(0, text.len()));
            }
            if last && inside {
                return Err(self.unterminated(text));
            }
            if end == self.buffer.len() || self.is_at_lone_cr(end) {
                self.keep_rest();
                return Ok(false);
            }
            size *= 2;
        }
    }

    /// Where a window of about this size ends, and whether it ends the text. A carriage return is
    /// never its last byte, unless of the text: a line feed may follow.
    fn window(&self, size: usize) -> (usize, bool) {
        let len = self.buffer.len();
        let mut end = (self.at + size).min(len);
        if end == len && self.is_last() {
            return (end, true);
        }
        while end < len && self.buffer[end - 1] == b'\r' {
            end += 1;
        }
        if end == len && end > self.at && self.buffer[end - 1] == b'\r' {
            end -= 1;
        }
        (end, end == len && self.is_last())
    }

    /// Whether all that is left behind `end` is a carriage return that waits for more text.
    fn is_at_lone_cr(&self, end: usize) -> bool {
        end + 1 == self.buffer.len() && self.buffer[end] == b'\r'
    }

    fn check_lengths(&self, len: usize) -> Result<(), ObjectFault> {
        if len <= self.max_record {
            return Ok(());
        }
        for row in &self.tape.rows {
            let end = self.tape.row_end(row);
            if (end - row.start) as usize > self.max_record {
                return Err(self.too_long(row.start as usize, end as usize));
            }
        }
        Ok(())
    }

    /// Passes over physical lines, whatever stands in them.
    fn skip(&mut self) -> Result<(), ObjectFault> {
        let text = &self.buffer[self.at..];
        let last = self.is_last();
        let end = text.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let count = match end {
            Some(at) if text[at] == b'\r' && at + 1 == text.len() && !last => None,
            Some(at) if text[at..].starts_with(b"\r\n") => Some(at + 2),
            Some(at) => Some(at + 1),
            None if last => Some(text.len()),
            None => None,
        };
        if count.unwrap_or(text.len()) + self.head.len() > self.max_record {
            return Err(ObjectFault::new(
                ObjectFaultKind::RecordTooLong,
                format!("the lines to skip are longer than {} bytes (`max_record`)", self.max_record),
            )
            .at(self.line, self.mark_len() + self.byte)
            .cure("lower `skip_lines`, or raise `max_record`"));
        }
        let Some(count) = count else {
            self.keep_rest();
            return Ok(());
        };
        match self.transcoder.origin() {
            Some(origin) => {
                self.head.extend_from_slice(origin.through(self.line));
                origin.release(self.line + 1);
            }
            None => self.head.extend_from_slice(&text[..count]),
        }
        self.skip_lines -= 1;
        self.pass(count, 1);
        if self.at == self.buffer.len() {
            self.keep_rest();
        }
        Ok(())
    }

    /// Looks once at the first text for signs that it is none.
    fn look(&mut self) -> Result<(), ObjectFault> {
        if self.looked {
            return Ok(());
        }
        self.looked = true;
        let first = &self.buffer[..self.buffer.len().min(FIRST)];
        match crate::sniff::binary(first, self.transcoder.encoding()) {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    fn too_long(&self, start: usize, end: usize) -> ObjectFault {
        let text = &self.buffer[self.at + start..self.at + end];
        let lines = count_lines(&self.buffer[self.at..self.at + start]);
        let (offset, inner, quoted) = last_opening_quote(text, self.dialect);
        let line = self.line + lines + inner;
        let record = if quoted && inner > 0 {
            format!("; the record begins on line {}", self.line + lines)
        } else {
            String::new()
        };
        ObjectFault::new(
            ObjectFaultKind::RecordTooLong,
            format!(
                "a record is longer than {} bytes (`max_record`){}{record}",
                self.max_record,
                if quoted { ", a quote is open" } else { "" },
            ),
        )
        .at(line, self.byte_at(line, start + offset))
        .cure(if quoted {
            "close the quote, set `quote` to what the file uses, or raise `max_record`"
        } else {
            "check the line ends of the file, or raise `max_record`"
        })
    }

    fn unterminated(&self, text: &[u8]) -> ObjectFault {
        let (offset, inner, _) = last_opening_quote(text, self.dialect);
        let line = self.line + inner;
        let record = if inner > 0 { format!("; its record begins on line {}", self.line) } else { String::new() };
        ObjectFault::new(ObjectFaultKind::UnterminatedQuote, format!("a quoted field does not end{record}"))
            .at(line, self.byte_at(line, offset))
            .cure("upload the whole file, close the quote, or set `quote` to what the file uses")
    }

    /// Offset in the object of a byte of the window; in transcoded text, of its line.
    fn byte_at(&self, line: u64, offset: usize) -> u64 {
        match self.transcoder.origin_ref() {
            Some(origin) => origin.byte_of(line),
            None => self.mark_len() + self.byte + offset as u64,
        }
    }

    fn mark_len(&self) -> u64 {
        self.transcoder.mark().len() as u64
    }

    /// Text from the window's first byte to the end of the buffer, for loads beyond a field.
    pub(crate) fn text(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// The buffer in which the window lies, and at which offset.
    pub(crate) fn buffer(&self) -> (&Bytes, usize) {
        (&self.buffer, self.at)
    }

    pub(crate) fn tape(&self) -> &Tape {
        &self.tape
    }

    /// Bytes of the window that hold whole records.
    pub(crate) fn window_text(&self) -> &[u8] {
        &self.buffer[self.at..self.at + self.tape.consumed]
    }

    /// Offset of the window in the decoded text.
    pub(crate) fn decoded_offset(&self) -> u64 {
        self.byte
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Line at which the window begins.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Line of a row and its offset in the object.
    pub(crate) fn position(&self, row: &Row) -> (u64, u64) {
        let line = self.line + u64::from(row.line);
        (line, self.byte_at(line, row.start as usize))
    }

    /// Original bytes of a row, without its line end.
    pub(crate) fn raw(&self, row: &Row) -> Vec<u8> {
        let text = self.row_text(row);
        match self.transcoder.origin_ref() {
            None => text.to_vec(),
            Some(origin) => {
                let line = self.line + u64::from(row.line);
                origin.lines(line, line + count_lines(text)).to_vec()
            }
        }
    }

    /// Text of a row, without its line end.
    pub(crate) fn row_text(&self, row: &Row) -> &[u8] {
        &self.text()[row.start as usize..self.tape.row_end(row) as usize]
    }

    /// Says that this row is the header: adds its bytes to the head. `None`: there is none.
    pub(crate) fn close_head(&mut self, header: Option<&Row>) {
        self.head_is_open = false;
        let Some(row) = header else { return };
        let first = self.line + u64::from(row.line);
        let last = first + count_lines(self.row_text(row));
        let end = self.tape.row_end(row) as usize;
        let text = &self.buffer[self.at..];
        let line_end = match &text[end..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => 0,
        };
        match self.transcoder.origin_ref() {
            Some(origin) => self.head.extend_from_slice(origin.whole_lines(first, last)),
            None => self.head.extend_from_slice(&text[row.start as usize..end + line_end]),
        }
    }

    /// Mark, skipped lines and header, in the object's encoding.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(crate) fn encoding_name(&self) -> &'static str {
        self.transcoder.encoding().map_or("", |found| found.name())
    }

    pub(crate) fn bytes_out(&self) -> u64 {
        self.decompressor.bytes_out()
    }
}

/// Line ends in a text; CR, LF and CRLF are one each.
pub(crate) fn count_lines(text: &[u8]) -> u64 {
    let mut after_cr = false;
    let mut count = 0;
    for byte in text {
        count += u64::from(*byte == b'\r' || (*byte == b'\n' && !after_cr));
        after_cr = *byte == b'\r';
    }
    count
}

/// Offset of the quote that is still open at the end of a record's text and the line ends before
/// it; of the record's start if none is.
fn last_opening_quote(text: &[u8], dialect: Dialect) -> (usize, u64, bool) {
    let mut open = None;
    let (mut quoted, mut at_start, mut at) = (false, true, 0);
    while at < text.len() {
        let byte = text[at];
        if dialect.escape == Some(byte) {
            at += 2;
            at_start = false;
            continue;
        }
        if dialect.quote == Some(byte) {
            if quoted && text.get(at + 1) == Some(&byte) {
                at += 2;
                continue;
            }
            if quoted {
                quoted = false;
            } else if at_start {
                quoted = true;
                open = Some(at);
            }
            at_start = false;
        } else if !quoted {
            at_start = byte == dialect.delimiter;
        }
        at += 1;
    }
    match open.filter(|_| quoted) {
        Some(at) => (at, count_lines(&text[..at]), true),
        None => (0, 0, false),
    }
}
