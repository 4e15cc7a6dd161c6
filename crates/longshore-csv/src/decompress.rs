//! Raw bytes of an object in, decompressed bytes out, a bounded piece at a time.
//!
//! Nothing is expanded before it is asked for: pushed bytes wait compressed, and each call yields
//! at most [`PIECE`] bytes. Several gzip members, zstd frames or bzip2 streams in a row are one
//! text. Data that is cut off or damaged is a fault, never a shorter text.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use crate::{Compression, ObjectFault, ObjectFaultKind};

/// Decompressed bytes of one piece: fits the second cache level, many records long.
pub(crate) const PIECE: usize = 256 << 10;
/// Below this output no ratio is judged: small files of one repeated value are no bombs.
const RATIO_FREE: u64 = 1 << 20;
/// Largest zstd window, as a power of two: 64 MiB.
const ZSTD_WINDOW_LOG: u32 = 26;
/// The bytes that tell a bzip2 stream from a text that begins with `BZh`.
const MAGIC: usize = 10;

pub(crate) struct Decompressor {
    state: State,
    queue: VecDeque<Bytes>,
    ended: bool,
    max_ratio: u32,
    bytes_in: u64,
    bytes_out: u64,
}

enum State {
    Sniff,
    Plain,
    /// `None`: between two members.
    Gzip(Option<flate2::Decompress>),
    Zstd {
        decoder: ZstdDecoder<'static>,
        inside: bool,
    },
    /// `None`: between two streams.
    Bzip2(Option<bzip2::Decompress>),
}

impl Decompressor {
    pub(crate) fn new(compression: Option<Compression>, max_ratio: u32) -> Result<Self, ObjectFault> {
        let state = match compression {
            None => State::Sniff,
            Some(compression) => State::of(compression)?,
        };
        Ok(Self { state, queue: VecDeque::new(), ended: false, max_ratio, bytes_in: 0, bytes_out: 0 })
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queue.push_back(bytes);
        }
    }

    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Bytes given out so far.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// The next piece; `None` if there is none before more bytes come, or after the end none at
    /// all.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, ObjectFault> {
        if matches!(self.state, State::Sniff) {
            match self.sniff() {
                Some(compression) => self.state = State::of(compression)?,
                None => return Ok(None),
            }
        }
        if matches!(self.state, State::Plain) {
            let piece = self.queue.pop_front();
            self.bytes_out += piece.as_ref().map_or(0, |piece| piece.len() as u64);
            return Ok(piece);
        }
        let mut out = Vec::with_capacity(PIECE);
        match &mut self.state {
            State::Sniff | State::Plain => {}
            State::Gzip(member) => gunzip(member, &mut self.queue, &mut self.bytes_in, &mut out)?,
            State::Zstd { decoder, inside } => {
                unzstd(decoder, inside, &mut self.queue, &mut self.bytes_in, &mut out)?;
            }
            State::Bzip2(stream) => bunzip(stream, &mut self.queue, &mut self.bytes_in, &mut out)?,
        }
        self.bytes_out += out.len() as u64;
        if self.bytes_out > RATIO_FREE && self.bytes_out > self.bytes_in.saturating_mul(u64::from(self.max_ratio)) {
            return Err(too_dense(self.max_ratio));
        }
        if !out.is_empty() {
            return Ok(Some(out.into()));
        }
        if self.ended && self.queue.is_empty() && self.is_inside() {
            return Err(cut_off());
        }
        Ok(None)
    }

    /// Whether the bytes so far end in the middle of compressed data.
    fn is_inside(&self) -> bool {
        match &self.state {
            State::Sniff | State::Plain => false,
            State::Gzip(member) => member.is_some(),
            State::Zstd { inside, .. } => *inside,
            State::Bzip2(stream) => stream.is_some(),
        }
    }

    /// What the first bytes say; `None` until there are enough of them.
    fn sniff(&self) -> Option<Compression> {
        let mut head = Vec::with_capacity(MAGIC);
        for bytes in &self.queue {
            let room = MAGIC - head.len();
            head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        if head.len() < MAGIC && !self.ended {
            return None;
        }
        Some(by_magic(&head))
    }
}

impl State {
    fn of(compression: Compression) -> Result<Self, ObjectFault> {
        Ok(match compression {
            Compression::None => Self::Plain,
            Compression::Gzip => Self::Gzip(None),
            Compression::Bzip2 => Self::Bzip2(None),
            Compression::Zstd => {
                let mut decoder = ZstdDecoder::new().map_err(|_| damaged("zstd"))?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).map_err(|_| damaged("zstd"))?;
                Self::Zstd { decoder, inside: false }
            }
        })
    }
}

/// The compression that the first bytes of an object show.
pub(crate) fn by_magic(head: &[u8]) -> Compression {
    if head.starts_with(&[0x1F, 0x8B]) {
        return Compression::Gzip;
    }
    let is_skippable = head.len() >= 4 && (0x50..=0x5F).contains(&head[0]);
    if head.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) || (is_skippable && head[1..4] == [0x2A, 0x4D, 0x18]) {
        return Compression::Zstd;
    }
    let is_block = |magic: &[u8]| head.len() >= MAGIC && head[4..MAGIC] == *magic;
    if head.starts_with(b"BZh")
        && (is_block(&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59]) || is_block(&[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]))
    {
        return Compression::Bzip2;
    }
    Compression::None
}

/// The bytes at the front of the queue; `None` if it is empty.
fn front(queue: &mut VecDeque<Bytes>) -> Option<&mut Bytes> {
    while queue.front().is_some_and(Bytes::is_empty) {
        queue.pop_front();
    }
    queue.front_mut()
}

/// Takes `count` bytes off the front of the queue.
fn consume(queue: &mut VecDeque<Bytes>, count: usize, bytes_in: &mut u64) {
    if let Some(bytes) = queue.front_mut() {
        bytes.advance(count);
        if bytes.is_empty() {
            queue.pop_front();
        }
    }
    *bytes_in += count as u64;
}

fn gunzip(
    member: &mut Option<flate2::Decompress>,
    queue: &mut VecDeque<Bytes>,
    bytes_in: &mut u64,
    out: &mut Vec<u8>,
) -> Result<(), ObjectFault> {
    while out.len() < out.capacity() {
        let Some(input) = front(queue) else {
            return drain_gzip(member, out);
        };
        if member.is_none() {
            // Tapes and some uploaders pad with zeros after the last member.
            if input[0] == 0 {
                consume(queue, 1, bytes_in);
                continue;
            }
            *member = Some(flate2::Decompress::new_gzip(15));
        }
        let Some(inflate) = member else { continue };
        let (before_in, before_out) = (inflate.total_in(), out.len());
        let status = inflate.decompress_vec(input, out, flate2::FlushDecompress::None).map_err(|_| damaged("gzip"))?;
        let taken = (inflate.total_in() - before_in) as usize;
        if status == flate2::Status::StreamEnd {
            *member = None;
        } else if taken == 0 && out.len() == before_out {
            return Err(damaged("gzip"));
        }
        consume(queue, taken, bytes_in);
    }
    Ok(())
}

/// Takes what an inflater still holds after it has taken all of its input.
fn drain_gzip(member: &mut Option<flate2::Decompress>, out: &mut Vec<u8>) -> Result<(), ObjectFault> {
    if let Some(inflate) = member {
        let status = inflate.decompress_vec(&[], out, flate2::FlushDecompress::None).map_err(|_| damaged("gzip"))?;
        if status == flate2::Status::StreamEnd {
            *member = None;
        }
    }
    Ok(())
}

fn unzstd(
    decoder: &mut ZstdDecoder<'static>,
    inside: &mut bool,
    queue: &mut VecDeque<Bytes>,
    bytes_in: &mut u64,
    out: &mut Vec<u8>,
) -> Result<(), ObjectFault> {
    let room = out.capacity();
    let mut output = OutBuffer::around(out);
    loop {
        let empty = Bytes::new();
        let input = front(queue).map_or(empty, |bytes| bytes.clone());
        let before = output.pos();
        let mut source = InBuffer::around(&input);
        if input.is_empty() && !*inside {
            return Ok(());
        }
        let hint = decoder.run(&mut source, &mut output).map_err(|cause| not_zstd(&cause.to_string()))?;
        let taken = source.pos();
        *inside = hint != 0;
        consume(queue, taken, bytes_in);
        if output.pos() >= room || (taken == 0 && output.pos() == before) {
            return Ok(());
        }
    }
}

fn bunzip(
    stream: &mut Option<bzip2::Decompress>,
    queue: &mut VecDeque<Bytes>,
    bytes_in: &mut u64,
    out: &mut Vec<u8>,
) -> Result<(), ObjectFault> {
    while out.len() < out.capacity() {
        let empty = Bytes::new();
        let input = front(queue).map_or(empty, |bytes| bytes.clone());
        if stream.is_none() {
            if input.is_empty() {
                return Ok(());
            }
            *stream = Some(bzip2::Decompress::new(false));
        }
        let Some(decoder) = stream else { continue };
        let (before_in, before_out) = (decoder.total_in(), out.len());
        let status = decoder.decompress_vec(&input, out).map_err(|_| damaged("bzip2"))?;
        let taken = (decoder.total_in() - before_in) as usize;
        if status == bzip2::Status::StreamEnd {
            *stream = None;
        } else if taken == 0 && out.len() == before_out {
            return if input.is_empty() { Ok(()) } else { Err(damaged("bzip2")) };
        }
        consume(queue, taken, bytes_in);
    }
    Ok(())
}

fn damaged(format: &str) -> ObjectFault {
    ObjectFault::new(
        ObjectFaultKind::Compression,
        format!("the {format} data is damaged, or bytes follow it that are no {format} data"),
    )
    .cure("test the file with its own tool and upload it again")
}

fn not_zstd(cause: &str) -> ObjectFault {
    if cause.contains("memory") || cause.contains("indow") {
        return ObjectFault::new(ObjectFaultKind::Compression, "the zstd window is larger than 64 MiB")
            .cure("compress the file again without `--ultra` or `--long` over 26");
    }
    damaged("zstd")
}

fn cut_off() -> ObjectFault {
    ObjectFault::new(ObjectFaultKind::Compression, "the compressed data is cut off before its end")
        .cure("upload the whole file again")
}

fn too_dense(max_ratio: u32) -> ObjectFault {
    ObjectFault::new(
        ObjectFaultKind::Compression,
        format!("the data decompresses to more than {max_ratio} times its size"),
    )
    .cure("if the file is meant to be so, upload it uncompressed")
}
