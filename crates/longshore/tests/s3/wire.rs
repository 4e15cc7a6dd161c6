//! Connections that can be cut from within a request.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::S3Result;
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::S3ServiceBuilder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::operations::Operations;
use super::{ACCESS_KEY, SECRET_KEY, Shared};

/// Serves until it is told to stop.
pub(super) fn serve(shared: Arc<Shared>, address: mpsc::Sender<SocketAddr>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        address.send(listener.local_addr().unwrap()).unwrap();
        tokio::select! {
            () = accept(shared, listener) => {}
            _ = stopped => {}
        }
    });
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).ok();
        let cut = Arc::new(AtomicBool::new(false));
        let operations = Operations { shared: Arc::clone(&shared), cut: Arc::clone(&cut) };
        connections.spawn(async move {
            let mut service = S3ServiceBuilder::new(operations);
            service.set_auth(OneLogin);
            let io = TokioIo::new(Wire { stream, cut });
            // A connection that was cut ends with an error: that is what it was cut for.
            Builder::new(TokioExecutor::new()).serve_connection(io, service.build()).await.ok();
        });
    }
}

/// Knows one access key.
struct OneLogin;

#[async_trait::async_trait]
impl S3Auth for OneLogin {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match access_key {
            ACCESS_KEY => Ok(SecretKey::from(SECRET_KEY)),
            _ => Err(s3s::s3_error!(InvalidAccessKeyId, "The access key does not exist in our records.")),
        }
    }
}

/// A connection that writes nothing more once it is cut.
struct Wire {
    stream: TcpStream,
    cut: Arc<AtomicBool>,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.cut.load(Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
