//! The connection to the PostgreSQL behind, one for each client.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::net::UnixStream;

use crate::frame::{Frame, Reader, Writer, put_text, split, take_text};
use crate::refusal::Refusal;

/// Where the server behind listens. It trusts whoever comes by its socket.
#[derive(Debug, Clone)]
pub(crate) struct Behind {
    /// The socket's path.
    pub(crate) socket: String,
    pub(crate) database: String,
}

/// A connection to the server behind.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) reader: Reader<UnixStream>,
    pub(crate) writer: Writer<UnixStream>,
    /// `I`: no transaction; `T`: in one; `E`: in one that failed.
    pub(crate) status: u8,
    /// Process and secret, for a cancel request.
    pub(crate) key: Bytes,
    /// Settings that it reported when it was connected.
    pub(crate) reported: Vec<(String, String)>,
}

/// What a statement of our own was answered.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

impl Upstream {
    /// Connects as this user.
    ///
    /// # Errors
    /// What the server says, or that it is not there.
    pub(crate) async fn connect(
        behind: &Behind,
        user: &str,
        settings: &[(&str, &str)],
    ) -> io::Result<Result<Self, Refusal>> {
        let stream = UnixStream::connect(&behind.socket).await?;
        let (mut reader, mut writer) = split(stream);
        let mut body = BytesMut::new();
        body.put_u32(196_608);
        for (name, value) in [
            ("user", user),
            ("database", behind.database.as_str()),
            ("client_encoding", "UTF8"),
            ("default_transaction_isolation", "repeatable read"),
        ]
        .into_iter()
        .chain(settings.iter().copied())
        {
            put_text(&mut body, name);
            put_text(&mut body, value);
        }
        body.put_u8(0);
        let mut whole = BytesMut::with_capacity(body.len() + 4);
        whole.put_u32(u32::try_from(body.len() + 4).unwrap_or_default());
        whole.put_slice(&body);
        writer.raw(&whole).await?;
        let (mut key, mut reported) = (Bytes::new(), Vec::new());
        loop {
            let mut frame = reader.next().await?;
            match frame.tag {
                b'E' => return Ok(Err(refusal_of(&frame))),
                b'S' => reported.push((take_text(&mut frame.body), take_text(&mut frame.body))),
                b'K' => key = frame.body,
                b'Z' => break,
                _ => {}
            }
        }
        Ok(Ok(Self { reader, writer, status: b'I', key, reported }))
    }

    /// Sends a statement.
    pub(crate) async fn send(&mut self, sql: &str) -> io::Result<()> {
        self.writer.put(&Frame::text(b'Q', sql)).await?;
        self.writer.flush().await
    }

    /// Returns once the server behind has ended the connection, while nothing is asked of it.
    pub(crate) async fn ended(&mut self) {
        while self.reader.next().await.is_ok_and(|frame| frame.tag != b'E') {}
    }

    /// The next message of an answer. `None` after its end.
    pub(crate) async fn answer(&mut self) -> io::Result<Option<Frame>> {
        loop {
            let frame = self.reader.next().await?;
            match frame.tag {
                b'Z' => {
                    self.status = frame.body.first().copied().unwrap_or(b'I');
                    return Ok(None);
                }
                // A change of a parameter, and what nobody listens to.
                b'S' | b'A' => {}
                _ => return Ok(Some(frame)),
            }
        }
    }

    /// Runs statements of our own.
    ///
    /// # Errors
    /// The inner one is the server's.
    pub(crate) async fn ask(&mut self, sql: &str) -> io::Result<Result<Rows, Refusal>> {
        self.send(sql).await?;
        let (mut rows, mut refusal) = (Vec::new(), None);
        while let Some(frame) = self.answer().await? {
            match frame.tag {
                b'D' => rows.push(frame.values()),
                b'E' => refusal = refusal.or_else(|| Some(refusal_of(&frame))),
                _ => {}
            }
        }
        Ok(refusal.map_or(Ok(rows), Err))
    }

    /// Has the server break off what it does for this connection.
    pub(crate) async fn cancel(socket: &str, key: &[u8]) -> io::Result<()> {
        let (mut reader, mut writer) = split(UnixStream::connect(socket).await?);
        let mut message = BytesMut::with_capacity(16);
        message.put_u32(16);
        message.put_u32(80_877_102);
        message.put_slice(key);
        writer.raw(&message).await?;
        // The server hangs up when it has passed the request on.
        while reader.next().await.is_ok() {}
        Ok(())
    }

    /// The number of the process that serves this connection.
    pub(crate) fn process(&self) -> u32 {
        self.key.first_chunk().map_or(0, |number| u32::from_be_bytes(*number))
    }
}

/// An error of the server behind.
pub(crate) fn refusal_of(frame: &Frame) -> Refusal {
    let field = |code| frame.field(code).unwrap_or_default();
    let refusal = Refusal::new(&field(b'C'), field(b'M'));
    match frame.field(b'D') {
        Some(detail) => refusal.detail(detail),
        None => refusal,
    }
}
