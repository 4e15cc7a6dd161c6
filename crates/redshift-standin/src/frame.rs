//! Messages of PostgreSQL's protocol 3.0: a byte that says which, a length, and the rest.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadHalf, WriteHalf};

use crate::refusal::Refusal;

/// The longest message: Redshift's limit for a statement, and room for rows.
const LONGEST: usize = 64 << 20;

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) tag: u8,
    pub(crate) body: Bytes,
}

impl Frame {
    pub(crate) fn new(tag: u8, body: impl Into<Bytes>) -> Self {
        Self { tag, body: body.into() }
    }

    /// A message whose body is one text.
    pub(crate) fn text(tag: u8, text: &str) -> Self {
        let mut body = BytesMut::with_capacity(text.len() + 1);
        put_text(&mut body, text);
        Self::new(tag, body)
    }

    /// CommandComplete.
    pub(crate) fn complete(tag: &str) -> Self {
        Self::text(b'C', tag)
    }

    /// ReadyForQuery.
    pub(crate) fn ready(status: u8) -> Self {
        Self::new(b'Z', vec![status])
    }

    /// ErrorResponse.
    pub(crate) fn error(refusal: &Refusal, severity: &str) -> Self {
        Self::new(b'E', fields(severity, &refusal.sqlstate, &refusal.message, refusal.detail.as_deref()))
    }

    /// NoticeResponse of severity INFO.
    pub(crate) fn info(message: &str) -> Self {
        Self::new(b'N', fields("INFO", "00000", message, None))
    }

    /// The first text of the body.
    pub(crate) fn first_text(&self) -> String {
        let mut body = self.body.clone();
        take_text(&mut body)
    }

    /// A field of an error or a notice.
    pub(crate) fn field(&self, code: u8) -> Option<String> {
        let mut body = self.body.clone();
        while body.has_remaining() {
            let found = body.get_u8();
            if found == 0 {
                return None;
            }
            let text = take_text(&mut body);
            if found == code {
                return Some(text);
            }
        }
        None
    }

    /// The values of a DataRow, as texts.
    pub(crate) fn values(&self) -> Vec<Option<String>> {
        let mut body = self.body.clone();
        if body.remaining() < 2 {
            return Vec::new();
        }
        let count = body.get_u16();
        let mut values = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            if body.remaining() < 4 {
                break;
            }
            values.push(match usize::try_from(body.get_i32()) {
                Ok(length) if length <= body.remaining() => {
                    Some(String::from_utf8_lossy(&body.split_to(length)).into_owned())
                }
                _ => None,
            });
        }
        values
    }
}

fn fields(severity: &str, sqlstate: &str, message: &str, detail: Option<&str>) -> BytesMut {
    let mut body = BytesMut::new();
    for (code, text) in [(b'S', severity), (b'C', sqlstate), (b'M', message)] {
        body.put_u8(code);
        put_text(&mut body, text);
    }
    if let Some(detail) = detail {
        body.put_u8(b'D');
        put_text(&mut body, detail);
    }
    body.put_u8(0);
    body
}

/// Puts a text that ends with a zero byte.
pub(crate) fn put_text(body: &mut BytesMut, text: &str) {
    body.put_slice(text.replace('\0', "").as_bytes());
    body.put_u8(0);
}

/// Takes a text that ends with a zero byte.
pub(crate) fn take_text(body: &mut Bytes) -> String {
    let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
    let text = String::from_utf8_lossy(&body.split_to(end)).into_owned();
    if body.has_remaining() {
        body.advance(1);
    }
    text
}

/// Reads messages.
#[derive(Debug)]
pub(crate) struct Reader<S> {
    stream: ReadHalf<S>,
    buffer: BytesMut,
}

/// Writes messages.
#[derive(Debug)]
pub(crate) struct Writer<S: AsyncWrite> {
    stream: BufWriter<WriteHalf<S>>,
}

/// Both ends of a connection.
pub(crate) fn split<S: AsyncRead + AsyncWrite>(stream: S) -> (Reader<S>, Writer<S>) {
    let (read, write) = tokio::io::split(stream);
    (
        Reader { stream: read, buffer: BytesMut::with_capacity(1 << 16) },
        Writer { stream: BufWriter::with_capacity(1 << 16, write) },
    )
}

impl<S: AsyncRead> Reader<S> {
    async fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// The next message. May be dropped while it waits, and called again.
    pub(crate) async fn next(&mut self) -> io::Result<Frame> {
        self.fill(5).await?;
        let length = (&self.buffer[1..5]).get_u32() as usize;
        if !(4..=LONGEST).contains(&length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of an impossible length"));
        }
        self.fill(1 + length).await?;
        let mut whole = self.buffer.split_to(1 + length).freeze();
        let tag = whole.get_u8();
        whole.advance(4);
        Ok(Frame { tag, body: whole })
    }

    /// The first message of a client, which has no tag.
    pub(crate) async fn startup(&mut self) -> io::Result<Bytes> {
        self.fill(4).await?;
        let length = (&self.buffer[..4]).get_u32() as usize;
        if !(8..=10_000).contains(&length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a first message of an impossible length"));
        }
        self.fill(length).await?;
        let mut whole = self.buffer.split_to(length).freeze();
        whole.advance(4);
        Ok(whole)
    }
}

impl<S: AsyncWrite> Writer<S> {
    pub(crate) async fn put(&mut self, frame: &Frame) -> io::Result<()> {
        let length = u32::try_from(frame.body.len() + 4).map_err(|_| io::ErrorKind::InvalidData)?;
        self.stream.write_u8(frame.tag).await?;
        self.stream.write_u32(length).await?;
        self.stream.write_all(&frame.body).await
    }

    /// The first message to a server, or a byte without a frame.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.stream.flush().await
    }
}
