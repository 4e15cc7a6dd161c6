//! The way to a server: names, addresses, sockets, and how long a silent peer is believed.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use crate::config::{Address, Config, Target, number};
use crate::parameter::Values;
use crate::{ConfigError, ConnectError, Hop};

/// A silent connection is probed after this: below the 5 minutes after which usual firewalls and
/// load balancers forget it.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// Time between probes that get no answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Probes without answer after which the peer is dead.
const KEEPALIVE_COUNT: u32 = 3;
/// What was sent has to be acknowledged within this. The system's own patience is some 15 minutes.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// How a silent peer is probed. What is `None` is left to the operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keepalive {
    idle: Option<Duration>,
    interval: Option<Duration>,
    count: Option<u32>,
}

impl Keepalive {
    /// What the parameters say; `None` if there are to be no probes.
    pub(crate) fn new(values: &Values) -> Result<Option<Self>, ConfigError> {
        const SECONDS: &str = "a number of seconds; 0 leaves it to the system";
        if number::<u8>(values, "keepalives", "1 for probes, 0 for none")? == Some(0) {
            return Ok(None);
        }
        let seconds = |name, default| {
            let given = number::<u32>(values, name, SECONDS)?.map(u64::from).map(Duration::from_secs);
            Ok::<_, ConfigError>(Some(given.unwrap_or(default)).filter(|given| !given.is_zero()))
        };
        Ok(Some(Self {
            idle: seconds("keepalives_idle", KEEPALIVE_IDLE)?,
            interval: seconds("keepalives_interval", KEEPALIVE_INTERVAL)?,
            count: Some(
                number(values, "keepalives_count", "a number of probes; 0 leaves it to the system")?
                    .unwrap_or(KEEPALIVE_COUNT),
            )
            .filter(|&count| count > 0),
        }))
    }

    fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        let mut settings = TcpKeepalive::new();
        if let Some(idle) = self.idle {
            settings = settings.with_time(idle);
        }
        if let Some(interval) = self.interval {
            settings = settings.with_interval(interval);
        }
        if let Some(count) = self.count {
            settings = settings.with_retries(count);
        }
        socket.set_tcp_keepalive(&settings)
    }
}

/// How long what was sent may stay without acknowledgement; `None` leaves it to the system.
pub(crate) fn user_timeout(values: &Values) -> Result<Option<Duration>, ConfigError> {
    let given = number::<u32>(values, "tcp_user_timeout", "a number of milliseconds; 0 leaves it to the system")?;
    let given = given.map(u64::from).map(Duration::from_millis).unwrap_or(USER_TIMEOUT);
    Ok(Some(given).filter(|given| !given.is_zero()))
}

/// A byte stream, whatever it goes through.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open socket of either kind.
pub(crate) type Socket = Box<dyn Stream>;

/// The time by which a host has to be connected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    limit: Duration,
}

impl Deadline {
    /// It begins to run.
    pub(crate) fn start(limit: Option<Duration>) -> Self {
        Self { at: limit.map(|limit| Instant::now() + limit), limit: limit.unwrap_or_default() }
    }

    /// A part of what is left, so that each of several addresses has its turn.
    fn share(self, among: usize) -> Self {
        let share = |at: Instant| {
            let now = Instant::now();
            now + (at - now) / u32::try_from(among).unwrap_or(u32::MAX)
        };
        Self { at: self.at.map(share), ..self }
    }

    /// Waits for a step, but no longer than this.
    pub(crate) async fn keep<T>(
        self,
        hop: Hop,
        target: &Target,
        step: impl Future<Output = T>,
    ) -> Result<T, ConnectError> {
        let Some(at) = self.at else { return Ok(step.await) };
        tokio::time::timeout_at(at, step).await.map_err(|_| {
            let seconds = self.limit.as_secs();
            let (message, hint) = match hop {
                Hop::Dns => (
                    format!("the name `{}` is not resolved within {seconds} s", target.name),
                    "look at this machine's name server",
                ),
                Hop::Tcp => (
                    format!("nobody answers at `{target}` within {seconds} s"),
                    "look for a firewall or a route that is missing, and at host and port",
                ),
                _ => (
                    format!("no answer comes from `{target}` within {seconds} s"),
                    "look whether a PostgreSQL server is at this port, and what it is busy with",
                ),
            };
            ConnectError::new(hop, message).cure(hint).transient()
        })
    }
}

/// Opens a socket to a server, and tells by which address, so that a second one goes to the same.
pub(crate) async fn open(
    config: &Config,
    target: &Target,
    deadline: Deadline,
) -> Result<(Socket, Address), ConnectError> {
    match &target.address {
        Address::Directory(directory) => {
            let path = directory.join(format!(".s.PGSQL.{}", target.port));
            let opened = deadline.keep(Hop::Tcp, target, UnixStream::connect(&path)).await?;
            let stream = opened.map_err(|error| socket_refused(&path, error))?;
            Ok((Box::new(stream), target.address.clone()))
        }
        Address::Ip(ip) => open_tcp(config, target, SocketAddr::new(*ip, target.port), deadline).await,
        Address::Name(name) => {
            let resolved =
                deadline.keep(Hop::Dns, target, tokio::net::lookup_host((name.as_str(), target.port))).await?;
            let addresses: Vec<SocketAddr> = resolved.map_err(|error| unresolved(name, error))?.collect();
            let mut failure = unresolved(name, io::Error::other("the name has no address"));
            for (at, &address) in addresses.iter().enumerate() {
                match open_tcp(config, target, address, deadline.share(addresses.len() - at)).await {
                    Ok(opened) => return Ok(opened),
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        }
    }
}

async fn open_tcp(
    config: &Config,
    target: &Target,
    address: SocketAddr,
    deadline: Deadline,
) -> Result<(Socket, Address), ConnectError> {
    let opened = deadline.keep(Hop::Tcp, target, TcpStream::connect(address)).await?;
    let stream = opened.and_then(|stream| configure(config, &stream).map(|()| stream));
    let stream = stream.map_err(|error| refused(target, error))?;
    Ok((Box::new(stream), Address::Ip(address.ip())))
}

fn configure(config: &Config, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if let Some(keepalive) = &config.keepalive {
        keepalive.apply(&socket)?;
    }
    #[cfg(target_os = "linux")]
    if let Some(timeout) = config.user_timeout {
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    Ok(())
}

fn unresolved(name: &str, error: io::Error) -> ConnectError {
    // The resolver does not tell a name that does not exist from one that it cannot ask for.
    ConnectError::new(Hop::Dns, format!("the name `{name}` cannot be resolved"))
        .cure("correct the host in the URL, or look at this machine's name server")
        .transient()
        .because(error)
}

fn refused(target: &Target, error: io::Error) -> ConnectError {
    let error_is = error.kind();
    let (message, hint) = match error_is {
        io::ErrorKind::ConnectionRefused => {
            (format!("nothing listens at `{target}`"), "start the server, or correct host and port in the URL")
        }
        _ => (format!("`{target}` cannot be reached"), "look at the network between, and at host and port in the URL"),
    };
    ConnectError::new(Hop::Tcp, message).cure(hint).transient().because(error)
}

fn socket_refused(path: &Path, error: io::Error) -> ConnectError {
    let failure = ConnectError::new(Hop::Tcp, format!("no server can be reached at the socket `{}`", path.display()));
    let failure = match error.kind() {
        io::ErrorKind::PermissionDenied => failure.cure("run this as a user who may use the socket"),
        // While a server starts, its socket is not there yet.
        _ => failure.cure("start the server, or name its host in the URL").transient(),
    };
    failure.because(error)
}
