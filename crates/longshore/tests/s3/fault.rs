//! What goes wrong, and when.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

/// Which requests a fault befalls.
#[derive(Debug, Clone)]
pub(crate) struct On {
    operation: Option<&'static str>,
    key: Option<String>,
    after: usize,
    times: usize,
}

impl On {
    /// Every request of this operation, as S3 calls it: `GetObject`, `CopyObject` …
    pub(crate) fn every(operation: &'static str) -> Self {
        Self { operation: Some(operation), ..Self::any() }
    }

    /// Every request.
    pub(crate) fn any() -> Self {
        Self { operation: None, key: None, after: 0, times: usize::MAX }
    }

    /// The first request of this operation.
    pub(crate) fn first(operation: &'static str) -> Self {
        Self { times: 1, ..Self::every(operation) }
    }

    /// Only those for this key.
    pub(crate) fn key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// Passes over so many first.
    pub(crate) fn after(self, after: usize) -> Self {
        Self { after, ..self }
    }

    /// Only so many.
    pub(crate) fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }
}

/// What happens in place of the answer, or before it.
#[derive(Clone)]
pub(crate) enum Fault {
    /// An error: status and code.
    Answer(u16, &'static str),
    /// An error with the region where the bucket is.
    Redirect(&'static str),
    /// A body that breaks off after so many bytes.
    Truncate(usize),
    /// A body that stops after so many bytes, and neither goes on nor ends.
    Stall(usize),
    /// The request is carried out, its answer is lost, the connection is gone.
    LoseAnswer,
    /// The connection is gone before anything happens.
    Reset,
    /// Something else happens first.
    Before(Arc<dyn Fn() + Send + Sync>),
    /// Waits until it is let go.
    Hold(Arc<Notify>),
    /// Waits a while.
    Delay(std::time::Duration),
    /// An ETag that belongs to nobody.
    WrongETag,
}

impl Fault {
    /// Something else happens first.
    pub(crate) fn before(action: impl Fn() + Send + Sync + 'static) -> Self {
        Self::Before(Arc::new(action))
    }
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) operation: &'static str,
    pub(crate) key: String,
}

/// Faults to come, and requests that came.
#[derive(Default)]
pub(super) struct Script {
    rules: Mutex<Vec<(On, Fault)>>,
    requests: Mutex<Vec<Request>>,
    pub(super) ranges: Mutex<Vec<Option<String>>>,
    pub(super) changed: Notify,
    pub(super) stopped: AtomicBool,
}

impl Script {
    pub(super) fn add(&self, on: On, fault: Fault) {
        self.rules.lock().unwrap().push((on, fault));
    }

    pub(super) fn clear(&self) {
        self.rules.lock().unwrap().clear();
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Notes a request and says what befalls it.
    pub(super) fn note(&self, operation: &'static str, key: &str) -> Vec<Fault> {
        self.requests.lock().unwrap().push(Request { operation, key: key.to_owned() });
        self.changed.notify_waiters();
        self.changed.notify_one();
        let mut rules = self.rules.lock().unwrap();
        let matching = rules.iter_mut().filter(|(on, _)| {
            on.operation.is_none_or(|wanted| wanted == operation)
                && on.key.as_deref().is_none_or(|wanted| wanted == key)
        });
        let mut faults = Vec::new();
        for (on, fault) in matching {
            if on.after > 0 {
                on.after -= 1;
            } else if on.times > 0 {
                on.times -= 1;
                faults.push(fault.clone());
            }
        }
        faults
    }
}
