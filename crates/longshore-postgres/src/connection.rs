//! An open connection.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use crate::config::{Config, Target};
use crate::connect::{Channel, Encryption};
use crate::socket::Deadline;
use crate::tls::{Already, Lent, SslMode};
use crate::{ConnectError, Hop};

/// What is still under way gets this long to end when a connection is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// An open connection: a [`tokio_postgres::Client`] with the task that drives its socket.
///
/// Dropping it closes the socket at once, whatever is under way; the server then rolls back. A
/// server that is busy notices only when it is done: [`Connection::cancel`] stops it.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    driver: Driver,
    route: Route,
}

/// Where a connection leads, so that a second one can be made to the same server.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) config: Config,
    pub(crate) target: Target,
    pub(crate) mode: SslMode,
    pub(crate) encrypted: bool,
}

/// The task that drives a socket. The socket is its own, so it ends with the task.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    pub(crate) fn new<S, T>(client: Client, connection: tokio_postgres::Connection<S, T>, route: Route) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let name = route.target.to_string();
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer learns of it; who waits for nothing learns it here.
            if let Err(error) = connection.await {
                tracing::debug!(server = %name, error = %error, "the connection to `{name}` broke");
            }
        });
        Self { client, driver: Driver(driver), route }
    }

    /// Asks the server to break off what this connection does now. It may be done by then: that is no
    /// error. When this returns the server has passed the word on, so that it cannot hit what is
    /// asked next.
    pub async fn cancel(&self) -> Result<(), ConnectError> {
        let Route { config, target, mode, encrypted } = &self.route;
        let deadline = Deadline::start(config.connect_timeout);
        let encryption = if *encrypted { Encryption::Needed } else { Encryption::None };
        let (channel, _) = config.open(target, *mode, encryption, deadline).await?;
        let token = self.client.cancel_token();
        let sent = async {
            match channel {
                Channel::Plain(mut socket) => {
                    token.cancel_query_raw(&mut socket, NoTls).await?;
                    wait_for_end(&mut socket).await;
                }
                Channel::Encrypted(mut stream) => {
                    token.cancel_query_raw(Lent(&mut stream), Already).await?;
                    wait_for_end(&mut stream).await;
                }
            }
            Ok::<_, tokio_postgres::Error>(())
        };
        deadline.keep(Hop::Login, target, sent).await?.map_err(|error| {
            let message = format!("the request to cancel does not reach `{target}`");
            ConnectError::new(Hop::Login, message).transient().because(error)
        })
    }

    /// Says goodbye to the server and closes the socket. What is still under way gets some seconds.
    pub async fn close(self) {
        let Self { client, mut driver, .. } = self;
        drop(client);
        // Whether in time or not, the task ends here.
        drop(tokio::time::timeout(CLOSE_TIMEOUT, &mut driver.0).await);
    }
}

/// The server answers a request to cancel by closing the connection.
async fn wait_for_end(stream: &mut (impl AsyncRead + Unpin)) {
    // However it ends, it has ended.
    drop(stream.read(&mut [0]).await);
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
