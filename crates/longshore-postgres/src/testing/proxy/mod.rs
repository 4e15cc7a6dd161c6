//! A TCP proxy that breaks connections where a test says.
//!
//! It stands before a server and understands as much of the protocol as it takes to find a message.
//! Encryption is declined in the server's name, so that messages can be read. What happens depends on
//! bytes and messages alone, never on time.

mod fault;
mod link;
mod message;

use std::fmt;
use std::net::{Ipv4Addr, TcpListener as Listener};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use fault::{Fault, Moment, Pending, Side};

use super::{Server, port};

/// A proxy before a server. It ends with the value, and every connection through it.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<(Command, Sender<()>)>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("port", &self.port).finish_non_exhaustive()
    }
}

/// What all connections through a proxy look at.
struct Shared {
    server: u16,
    faults: Mutex<Vec<Arc<Pending>>>,
    delay: watch::Sender<Duration>,
}

#[derive(Debug, Clone, Copy)]
enum Command {
    Listen,
    Refuse,
    Cut,
    End,
}

impl Proxy {
    /// Starts a proxy before a server.
    pub fn start(server: &Server) -> Self {
        let (port, listener) = listen_somewhere();
        let shared =
            Arc::new(Shared { server: server.port(), faults: Mutex::default(), delay: watch::Sender::default() });
        let (commands, orders) = mpsc::unbounded_channel();
        // A thread and a runtime of its own, so that it works whatever the test's runtime does.
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(serve(port, listener, shared, orders));
            }
        });
        Self { port, shared, commands, thread: Some(thread) }
    }

    /// Its port at the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Has a fault happen at its next moment, once.
    pub fn at_next(&self, fault: Fault) -> Arc<Pending> {
        let pending = Arc::new(Pending::new(fault));
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&pending));
        pending
    }

    /// From now on holds every message, and every answer, for this long.
    pub fn delay(&self, delay: Duration) {
        self.shared.delay.send_replace(delay);
    }

    /// Refuses new connections until [`Proxy::accept`]. Those that are open stay.
    pub fn refuse(&self) {
        self.order(Command::Refuse);
    }

    /// Takes connections again.
    pub fn accept(&self) {
        self.order(Command::Listen);
    }

    /// Cuts every connection that is open.
    pub fn cut(&self) {
        self.order(Command::Cut);
    }

    /// Gives an order, and returns when it is carried out.
    fn order(&self, command: Command) {
        let (done, wait) = channel();
        if self.commands.send((command, done)).is_ok() {
            // The end carries no answer: the sender is dropped with the thread.
            wait.recv().ok();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.order(Command::End);
        if let Some(thread) = self.thread.take() {
            // It cannot do more harm than that the test fails, which it then does by itself.
            drop(thread.join());
        }
    }
}

fn listen_somewhere() -> (u16, Listener) {
    let mut ports = std::iter::repeat_with(port::free).take(10);
    ports.find_map(|port| Some((port, listen(port).ok()?))).expect("a free port stays free for a moment")
}

fn listen(port: u16) -> std::io::Result<Listener> {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes connections and orders until the end.
async fn serve(
    port: u16,
    listener: Listener,
    shared: Arc<Shared>,
    mut orders: mpsc::UnboundedReceiver<(Command, Sender<()>)>,
) {
    let mut listener = TcpListener::from_std(listener).ok();
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            client = accept(listener.as_ref()) => {
                links.spawn(link::run(client, Arc::clone(&shared)));
            }
            order = orders.recv() => {
                let Some((command, done)) = order else { return };
                match command {
                    Command::Listen => {
                        drop(listener.take());
                        listener = Some(listen(port).and_then(TcpListener::from_std).expect("the port is ours"));
                    }
                    Command::Refuse => drop(listener.take()),
                    Command::Cut => links.shutdown().await,
                    Command::End => return,
                }
                // Whoever gave the order may be gone.
                done.send(()).ok();
            }
            Some(_) = links.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((client, _)) = listener.accept().await {
            return client;
        }
    }
}
