//! Decompressed bytes in, UTF-8 out, with a way back to the original bytes.
//!
//! UTF-8 passes through untouched and unchecked. Any other encoding is decoded piece by piece; a
//! sequence that is no text becomes the byte [`MALFORMED`], which UTF-8 never holds, so that the
//! row it lies in turns into a reject and never into a silent replacement character.
//!
//! Line ends are what original and decoded text share one to one, so that a record's original
//! bytes are found by its physical lines ([`Origin`]).

use std::cell::Cell;

use bytes::{Bytes, BytesMut};
use encoding_rs::{DecoderResult, Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE};

use crate::decompress::PIECE;

/// Stands in decoded text for a sequence that the object's encoding does not know.
pub(crate) const MALFORMED: u8 = 0xFF;

pub(crate) struct Transcoder {
    setting: Option<&'static Encoding>,
    /// Bytes held until the encoding is known.
    head: BytesMut,
    found: Option<Found>,
}

struct Found {
    encoding: &'static Encoding,
    mark: Bytes,
    /// `None`: UTF-8, passed through.
    decoder: Option<encoding_rs::Decoder>,
    origin: Origin,
}

impl Transcoder {
    pub(crate) fn new(setting: Option<&'static Encoding>) -> Self {
        Self { setting, head: BytesMut::new(), found: None }
    }

    /// The encoding, once it is known.
    pub(crate) fn encoding(&self) -> Option<&'static Encoding> {
        self.found.as_ref().map(|found| found.encoding)
    }

    /// The byte order mark found, empty if there is none.
    pub(crate) fn mark(&self) -> Bytes {
        self.found.as_ref().map_or_else(Bytes::new, |found| found.mark.clone())
    }

    /// The way back to original bytes; `None` for UTF-8, where text and original are the same.
    pub(crate) fn origin(&mut self) -> Option<&mut Origin> {
        self.found.as_mut().filter(|found| found.decoder.is_some()).map(|found| &mut found.origin)
    }

    /// As `origin`, to look only.
    pub(crate) fn origin_ref(&self) -> Option<&Origin> {
        self.found.as_ref().filter(|found| found.decoder.is_some()).map(|found| &found.origin)
    }

    /// Decodes a piece, or passes it on.
    pub(crate) fn decode(&mut self, piece: Bytes, last: bool) -> Bytes {
        let piece = match self.found {
            Some(_) => piece,
            None => match self.sniff(piece, last) {
                Some(rest) => rest,
                None => return Bytes::new(),
            },
        };
        let Some(found) = &mut self.found else {
            return Bytes::new();
        };
        match &mut found.decoder {
            None => piece,
            Some(decoder) => {
                found.origin.hold(&piece);
                decode(decoder, &piece, last).into()
            }
        }
    }

    /// Settles the encoding by mark or setting; gives the text after the mark.
    fn sniff(&mut self, piece: Bytes, last: bool) -> Option<Bytes> {
        let all = if self.head.is_empty() {
            piece
        } else {
            self.head.extend_from_slice(&piece);
            self.head.split().freeze()
        };
        if all.len() < 3 && !last {
            self.head.extend_from_slice(&all);
            return None;
        }
        // A mark beats the setting: as text of any other encoding it would be gibberish.
        let (encoding, mark) = Encoding::for_bom(&all).unwrap_or((self.setting.unwrap_or(UTF_8), 0));
        let decoder = (encoding != UTF_8).then(|| encoding.new_decoder_without_bom_handling());
        self.found = Some(Found { encoding, mark: all.slice(..mark), decoder, origin: Origin::new(encoding, mark) });
        Some(all.slice(mark..))
    }
}

/// Decodes a piece; the output grows with the input, which is at most [`PIECE`] or one push.
fn decode(decoder: &mut encoding_rs::Decoder, mut piece: &[u8], last: bool) -> Vec<u8> {
    let is_iso_2022_jp = decoder.encoding() == ISO_2022_JP;
    let mut out = Vec::new();
    let mut written = 0;
    loop {
        if out.len() - written < piece.len().min(PIECE) + 16 {
            out.resize(out.len() + piece.len() + piece.len() / 2 + 64, 0);
        }
        let (result, taken, given) = decoder.decode_to_utf8_without_replacement(piece, &mut out[written..], last);
        written += given;
        let eaten = taken.checked_sub(1).map(|at| piece[at]);
        piece = &piece[taken..];
        match result {
            DecoderResult::InputEmpty => break,
            DecoderResult::OutputFull => out.resize(out.len() * 2 + 64, 0),
            DecoderResult::Malformed(..) => {
                if out.len() - written < 2 {
                    out.resize(out.len() + 64, 0);
                }
                out[written] = MALFORMED;
                written += 1;
                // In its two-byte state ISO-2022-JP eats a line end as part of the bad sequence.
                if let (true, Some(end @ (b'\n' | b'\r'))) = (is_iso_2022_jp, eaten) {
                    out[written] = end;
                    written += 1;
                }
            }
        }
    }
    out.truncate(written);
    out
}

/// Original bytes of the lines that are not done with.
pub(crate) struct Origin {
    encoding: &'static Encoding,
    held: Vec<u8>,
    /// Offset of the first held byte in the decompressed object.
    byte: u64,
    /// Physical line on which the first held byte lies.
    line: u64,
    /// A line that was looked for last and where it begins: rejects come in order.
    cursor: Cell<(u64, usize)>,
}

impl Origin {
    fn new(encoding: &'static Encoding, mark: usize) -> Self {
        Self { encoding, held: Vec::new(), byte: mark as u64, line: 1, cursor: Cell::new((1, 0)) }
    }

    fn hold(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// Lets go of all lines before this one.
    pub(crate) fn release(&mut self, line: u64) {
        let start = self.line_start(line);
        self.byte += start as u64;
        self.line = self.line.max(line);
        self.held.drain(..start);
        self.cursor.set((self.line, 0));
    }

    /// Offset in the object of the first byte of a line.
    pub(crate) fn byte_of(&self, line: u64) -> u64 {
        self.byte + self.line_start(line) as u64
    }

    /// Original bytes of the lines from `first` to `last`, without the line end of the last.
    pub(crate) fn lines(&self, first: u64, last: u64) -> &[u8] {
        let start = self.line_start(first);
        let tail = &self.held[start..];
        let tail = &tail[..self.start_after(tail, last.saturating_sub(first) + 1)];
        &tail[..tail.len() - self.line_end_len(tail)]
    }

    /// Original bytes of the lines from `first` to `last`, line end of the last included.
    pub(crate) fn whole_lines(&self, first: u64, last: u64) -> &[u8] {
        &self.held[self.line_start(first)..self.line_start(last + 1)]
    }

    /// Original bytes from the first held line to the end of line `last`, line end included.
    pub(crate) fn through(&self, last: u64) -> &[u8] {
        &self.held[..self.line_start(last + 1)]
    }

    fn line_start(&self, line: u64) -> usize {
        let (mut from, mut at) = self.cursor.get();
        if line < from {
            (from, at) = (self.line, 0);
        }
        let start = at + self.start_after(&self.held[at..], line.saturating_sub(from));
        // At the very end the line may go on with a line feed that is not here yet.
        if start < self.held.len() {
            self.cursor.set((line.max(from), start));
        }
        start
    }

    /// Where the text begins that follows `count` line ends.
    fn start_after(&self, text: &[u8], count: u64) -> usize {
        let unit = self.unit();
        let (mut at, mut left) = (0, count);
        while left > 0 && at < text.len() {
            match self.unit_at(text, at) {
                b'\n' => left -= 1,
                b'\r' => {
                    left -= 1;
                    if at + unit < text.len() && self.unit_at(text, at + unit) == b'\n' {
                        at += unit;
                    }
                }
                _ => {}
            }
            at += unit;
        }
        at.min(text.len())
    }

    fn line_end_len(&self, text: &[u8]) -> usize {
        let unit = self.unit();
        let back = |units: usize| {
            text.len()
                .checked_sub(units * unit)
                .filter(|_| text.len().is_multiple_of(unit))
                .map(|at| self.unit_at(text, at))
        };
        match (back(1), back(2)) {
            (Some(b'\n'), Some(b'\r')) => 2 * unit,
            (Some(b'\n' | b'\r'), _) => unit,
            _ => 0,
        }
    }

    fn unit(&self) -> usize {
        if self.is_wide() { 2 } else { 1 }
    }

    fn is_wide(&self) -> bool {
        self.encoding == UTF_16LE || self.encoding == UTF_16BE
    }

    /// The unit at this offset if it is ASCII, else 0.
    fn unit_at(&self, text: &[u8], at: usize) -> u8 {
        if !self.is_wide() {
            return text[at];
        }
        match (text[at], text.get(at + 1)) {
            (low, Some(0)) if self.encoding == UTF_16LE => low,
            (0, Some(low)) if self.encoding == UTF_16BE => *low,
            _ => 0,
        }
    }
}
