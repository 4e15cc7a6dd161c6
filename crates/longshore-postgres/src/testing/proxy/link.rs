//! One connection through the proxy.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Shared;
use super::fault::{Fault, Moment, Pending, Side};
use super::message::{First, Message, text};

/// Bytes that begin no message.
const GARBAGE: [u8; 64] = [0xff; 64];

/// Carries a connection until an end is closed or a fault cuts it.
pub(super) async fn run(client: TcpStream, shared: Arc<Shared>) {
    // However it ends, both sockets are closed now.
    drop(carry(client, &shared).await);
}

async fn carry(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let first = loop {
        match First::read(&mut client).await? {
            First::Encrypt => client.write_all(b"N").await?,
            other => break other,
        }
    };
    let mut server = TcpStream::connect(("127.0.0.1", shared.server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let startup = match first {
        First::Startup(bytes) => bytes,
        First::Cancel(bytes) => {
            server.write_all(&bytes).await?;
            // The server has passed the word on when it closes.
            drop(server.read(&mut [0]).await);
            return Ok(());
        }
        First::Encrypt => unreachable!("the loop goes on"),
    };

    let link = Link { shared, state: Mutex::new(State::begin()), open: watch::Sender::new(true) };
    let (client_in, mut client_out) = client.split();
    let (server_in, mut server_out) = server.split();
    let forth = async {
        // The first thing that the server says asks for a password: that is the answer.
        link.forth(&Moment::Connect, None, &startup, &mut server_out).await?;
        let mut from = BufReader::new(client_in);
        while let Some(message) = Message::read(&mut from).await? {
            link.client_says(&message, &mut server_out).await?;
        }
        Ok(())
    };
    let back = async {
        let mut from = BufReader::new(server_in);
        while let Some(message) = Message::read(&mut from).await? {
            link.server_says(&message, &mut client_out).await?;
        }
        // The server went instead of answering.
        link.finish_withheld(&mut client_out).await
    };
    tokio::select! {
        ended = forth => ended,
        ended = back => ended,
    }
}

/// What both directions of a connection know.
struct Link<'a> {
    shared: &'a Shared,
    state: Mutex<State>,
    /// Whether anything goes through.
    open: watch::Sender<bool>,
}

/// How far the conversation has come.
struct State {
    /// Rounds that the client has asked for; each ends with the server's `ReadyForQuery`.
    asked: u64,
    /// Rounds that have ended.
    answered: u64,
    /// Whether the last round was asked for by a `Sync`.
    by_sync: bool,
    /// Whether the server takes data for a COPY. It disregards a `Sync` then.
    copying: bool,
    /// SQL of prepared statements, and of portals, by name.
    statements: HashMap<String, String>,
    portals: HashMap<String, String>,
    withheld: Option<Withheld>,
}

/// An answer that does not reach the client.
#[derive(Clone)]
struct Withheld {
    pending: Arc<Pending>,
    /// The round that it is the answer of; `None` for whatever comes next.
    round: Option<u64>,
}

impl Link<'_> {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a message of the client's, and passes it on if nothing is to happen.
    async fn client_says(&self, message: &Message, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let moment = self.state().moment(message);
        match moment {
            Some((moment, round)) => self.forth(&moment, Some(round), &message.bytes, to).await,
            None => self.pass(Side::Client, &message.bytes, to).await,
        }
    }

    /// Passes on a message at which something may happen.
    async fn forth(
        &self,
        moment: &Moment,
        round: Option<u64>,
        bytes: &[u8],
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        if let Some(pending) = self.take_fault(moment) {
            match pending.fault() {
                Fault::CutBefore(_) => return Err(cut(&pending)),
                Fault::Stall(_) => {
                    self.open.send_replace(false);
                    pending.happens();
                    pending.released().await;
                    self.open.send_replace(true);
                }
                Fault::CutAfter(_) | Fault::Garbage(_) => {
                    self.state().withheld = Some(Withheld { pending, round });
                }
                Fault::CutAfterBytes(..) => unreachable!("it has no moment"),
            }
        }
        self.pass(Side::Client, bytes, to).await
    }

    /// Passes on an answer, unless it is withheld.
    async fn server_says(&self, message: &Message, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let (withheld, ended) = self.state().answer(message.kind);
        if withheld {
            return if ended { self.finish_withheld(to).await } else { Ok(()) };
        }
        self.pass(Side::Server, &message.bytes, to).await
    }

    /// The withheld answer is complete.
    async fn finish_withheld(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let Some(withheld) = self.state().withheld.take() else { return Ok(()) };
        if matches!(withheld.pending.fault(), Fault::Garbage(_)) {
            withheld.pending.happens();
            to.write_all(&GARBAGE).await?;
            to.shutdown().await?;
        }
        Err(cut(&withheld.pending))
    }

    /// The fault whose moment this is, which then is no longer waiting.
    fn take_fault(&self, now: &Moment) -> Option<Arc<Pending>> {
        let mut faults = self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let at = faults.iter().position(|pending| match pending.fault() {
            Fault::CutBefore(when) | Fault::CutAfter(when) | Fault::Stall(when) | Fault::Garbage(when) => {
                match (when, now) {
                    (Moment::Run(text), Moment::Run(sql)) => sql.contains(text.as_str()),
                    _ => when == now,
                }
            }
            Fault::CutAfterBytes(..) => false,
        })?;
        Some(faults.remove(at))
    }

    /// Lets bytes through, as far as they go.
    async fn pass(&self, side: Side, bytes: &[u8], to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        self.open.subscribe().wait_for(|open| *open).await.expect("the sender is here");
        let delay = *self.shared.delay.borrow();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let (count, cutting) = self.count(side, bytes.len());
        to.write_all(&bytes[..count]).await?;
        match cutting {
            Some(pending) => {
                pending.happens();
                // Orderly, so that what was let through arrives.
                to.shutdown().await?;
                Err(cut(&pending))
            }
            None => Ok(()),
        }
    }

    /// How many of these bytes go through, and the fault that cuts the connection then.
    fn count(&self, side: Side, bytes: usize) -> (usize, Option<Arc<Pending>>) {
        let mut faults = self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner);
        for at in 0..faults.len() {
            if !matches!(faults[at].fault(), Fault::CutAfterBytes(which, _) if *which == side) {
                continue;
            }
            if let (count, true) = faults[at].let_through(bytes) {
                return (count, Some(faults.remove(at)));
            }
        }
        (bytes, None)
    }
}

impl State {
    /// A connection begins with a round of its own, the login.
    fn begin() -> Self {
        Self {
            asked: 1,
            answered: 0,
            by_sync: false,
            copying: false,
            statements: HashMap::new(),
            portals: HashMap::new(),
            withheld: None,
        }
    }

    /// Follows what the client says. Returns the moment, if the message is one, and the round in which
    /// the server answers it.
    fn moment(&mut self, message: &Message) -> Option<(Moment, u64)> {
        let body = message.body();
        // What a `Sync` ends is answered when that has come.
        let of_data = if self.by_sync { self.asked + 1 } else { self.asked };
        match message.kind {
            b'Q' => {
                self.asked += 1;
                self.by_sync = false;
                Some((Moment::Run(text(body).0), self.asked))
            }
            b'P' => {
                let (name, rest) = text(body);
                self.statements.insert(name, text(rest).0);
                None
            }
            b'B' => {
                let (portal, rest) = text(body);
                let sql = self.statements.get(&text(rest).0).cloned().unwrap_or_default();
                self.portals.insert(portal, sql);
                None
            }
            b'E' => {
                let sql = self.portals.get(&text(body).0).cloned().unwrap_or_default();
                Some((Moment::Run(sql), self.asked + 1))
            }
            b'S' if !self.copying => {
                self.asked += 1;
                self.by_sync = true;
                None
            }
            b'd' => Some((Moment::CopyData, of_data)),
            b'c' => {
                self.copying = false;
                Some((Moment::CopyDone, of_data))
            }
            b'f' => {
                self.copying = false;
                None
            }
            _ => None,
        }
    }

    /// Follows what the server says. Returns whether that is withheld, and whether the withheld answer
    /// is complete with it.
    fn answer(&mut self, kind: u8) -> (bool, bool) {
        let withheld = match &self.withheld {
            Some(Withheld { round: None, .. }) => return (true, true),
            Some(Withheld { round: Some(round), .. }) => self.answered + 1 >= *round,
            None => false,
        };
        match kind {
            b'Z' => self.answered += 1,
            b'G' => {
                self.copying = true;
                // The `Sync` that came with the COPY is disregarded too; one follows the data.
                if self.by_sync {
                    self.asked -= 1;
                }
            }
            _ => {}
        }
        // By `CopyInResponse` the server says that it is the client's turn.
        (withheld, matches!(kind, b'Z' | b'G'))
    }
}

/// A fault happens: both ends are closed.
fn cut(pending: &Pending) -> io::Error {
    pending.happens();
    io::Error::other("cut by a fault")
}
