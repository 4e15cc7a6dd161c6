//! Messages of the protocol, as far as the proxy has to know them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longer than any message of a test.
const LONGEST: u32 = 1 << 30;

const CANCEL: u32 = 80_877_102;
const ENCRYPT_TLS: u32 = 80_877_103;
const ENCRYPT_GSS: u32 = 80_877_104;

/// A message with its kind and length, as it goes over the wire.
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) bytes: Vec<u8>,
}

impl Message {
    /// What follows kind and length.
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[5..]
    }

    /// Reads the next message; `None` if there is none any more.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut kind = [0];
        if from.read(&mut kind).await? == 0 {
            return Ok(None);
        }
        let bytes = read_rest(from, kind.to_vec()).await?;
        Ok(Some(Self { kind: kind[0], bytes }))
    }
}

/// The first message of a connection, which has no kind.
pub(super) enum First {
    /// It asks for encryption.
    Encrypt,
    /// It has another connection cancelled.
    Cancel(Vec<u8>),
    /// It begins a session.
    Startup(Vec<u8>),
}

impl First {
    /// Reads it.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let bytes = read_rest(from, Vec::new()).await?;
        let code = bytes.get(4..8).and_then(|code| code.try_into().ok()).map_or(0, u32::from_be_bytes);
        Ok(match code {
            ENCRYPT_TLS | ENCRYPT_GSS => Self::Encrypt,
            CANCEL => Self::Cancel(bytes),
            _ => Self::Startup(bytes),
        })
    }
}

/// Reads a length and what it is the length of, behind what is there already.
async fn read_rest(from: &mut (impl AsyncRead + Unpin), mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    if !(4..LONGEST).contains(&length) {
        return Err(io::Error::other("what comes is not PostgreSQL's protocol"));
    }
    bytes.extend(length.to_be_bytes());
    let rest = u64::from(length - 4);
    let before = bytes.len() as u64;
    from.take(rest).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 - before < rest {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// The text up to the next zero byte, and what follows.
pub(super) fn text(body: &[u8]) -> (String, &[u8]) {
    let end = body.iter().position(|&byte| byte == 0).unwrap_or(body.len());
    (String::from_utf8_lossy(&body[..end]).into_owned(), body.get(end + 1..).unwrap_or_default())
}
