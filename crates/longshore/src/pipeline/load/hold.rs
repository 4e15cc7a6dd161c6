//! Small objects are read whole, some at once, and held until they were judged.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use longshore_csv::{Batch, BindingSource};
use tokio::sync::watch;

use super::{Attempt, Loaded, Refusal};
use crate::pipeline::Error;
use crate::pipeline::plan::Planned;
use crate::pipeline::read::{Finished, Reader};
use crate::pipeline::rejects::Rejects;

/// Decoded bytes up to which an object of a group is held: its rows take some times as much.
const HELD_BYTES: u64 = 8 << 20;
/// Decoded bytes that the objects of a group hold together at most, where all are held.
const GROUP_HELD_BYTES: u64 = 24 << 20;
/// Decoded bytes that objects hold together at most while one before them is under way.
const WAITING_BYTES: u64 = 8 << 20;
/// Objects of a group that are read at once: enough to hide the latency of S3.
const READ_AHEAD: usize = 16;

/// An object that was read whole and is held.
pub(super) struct Held {
    pub(super) planned: Planned,
    pub(super) finished: Finished,
    pub(super) batches: Vec<Batch>,
    /// Room that it takes.
    pub(super) bytes: u64,
}

/// What came of reading an object of a group.
pub(super) enum Outcome {
    Held(Box<Held>),
    Refused(Box<Refusal>),
    TooLarge(Planned),
    Gone(String),
    Stuck(Error),
}

/// Room for what is held.
pub(super) enum Room {
    /// For all objects of a group together: what finds none leaves the group.
    ForAll(AtomicU64),
    /// For those that wait: what finds none waits too, unless it is next.
    ForNext(watch::Sender<Waiting>),
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bytes: u64,
    /// The object that is taken next. It never waits, so that all come to an end.
    next: usize,
}

impl Room {
    pub(super) fn for_all() -> Self {
        Self::ForAll(AtomicU64::new(0))
    }

    pub(super) fn for_next() -> Self {
        Self::ForNext(watch::Sender::default())
    }

    /// Takes room for the object at a place of the order; whether there is.
    async fn take(&self, at: usize, bytes: u64) -> bool {
        match self {
            Self::ForAll(held) => held.fetch_add(bytes, Ordering::Relaxed) + bytes <= GROUP_HELD_BYTES,
            Self::ForNext(waiting) => {
                let fits = |waiting: &Waiting| waiting.next == at || waiting.bytes + bytes <= WAITING_BYTES;
                // The sender is here, so that this ends with the condition.
                drop(waiting.subscribe().wait_for(fits).await);
                waiting.send_modify(|waiting| waiting.bytes += bytes);
                true
            }
        }
    }

    fn give_back(&self, bytes: u64) {
        match self {
            Self::ForAll(held) => drop(held.fetch_sub(bytes, Ordering::Relaxed)),
            Self::ForNext(waiting) => waiting.send_modify(|waiting| waiting.bytes -= bytes),
        }
    }

    /// The next object, which took so much room, is done with.
    pub(super) fn go_on(&self, bytes: u64) {
        self.give_back(bytes);
        if let Self::ForNext(waiting) = self {
            waiting.send_modify(|waiting| waiting.next += 1);
        }
    }
}

impl Outcome {
    /// Room that it takes.
    pub(super) fn bytes(&self) -> u64 {
        if let Self::Held(held) = self { held.bytes } else { 0 }
    }
}

impl Held {
    /// The columns that it binds; `None` where it has none, having nothing.
    pub(super) fn columns(&self) -> Option<&[usize]> {
        let binding = self.finished.binding.as_ref()?;
        (binding.source != BindingSource::Empty).then_some(&binding.columns)
    }
}

/// Reads objects in their order, some ahead.
pub(super) struct Reading<'a> {
    attempt: &'a Attempt<'a>,
    objects: &'a [Planned],
    room: &'a Room,
    begun: usize,
    under_way: FuturesOrdered<BoxFuture<'a, Result<Outcome, Error>>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(attempt: &'a Attempt<'a>, objects: &'a [Planned], room: &'a Room) -> Self {
        Self { attempt, objects, room, begun: 0, under_way: FuturesOrdered::new() }
    }

    /// What came of the next object; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Result<Outcome, Error>> {
        while self.under_way.len() < READ_AHEAD
            && let Some(planned) = self.objects.get(self.begun)
        {
            self.under_way.push_back(self.attempt.hold(self.begun, planned, self.room).boxed());
            self.begun += 1;
        }
        self.under_way.next().await
    }
}

impl Attempt<'_> {
    /// Reads an object whole, unless it is too large to hold beside what is held.
    async fn hold(&self, at: usize, planned: &Planned, room: &Room) -> Result<Outcome, Error> {
        let mut bytes = 0;
        let outcome = self.hold_in(at, planned, room, &mut bytes).await;
        match outcome {
            Ok(Outcome::Held(held)) => Ok(Outcome::Held(Box::new(Held { bytes, ..*held }))),
            other => {
                room.give_back(bytes);
                other
            }
        }
    }

    async fn hold_in(&self, at: usize, planned: &Planned, room: &Room, bytes: &mut u64) -> Result<Outcome, Error> {
        let landed = &planned.landed;
        if let Some(why) = self.misfit(landed)? {
            return Ok(Outcome::Refused(Box::new(Refusal::unread(landed, why))));
        }
        let opened = Reader::open(self.ctx, &landed.at, self.job.target).await;
        let mut reader = match opened {
            Ok(reader) => reader,
            Err(error) => return outcome(self.unreadable(landed, error, 0, Rejects::default())?),
        };
        let mut batches = Vec::new();
        loop {
            match reader.next(&self.ctx.progress).await {
                Ok(Some(batch)) => {
                    if self.is_spoiled(reader.rejects()) {
                        batches.clear();
                    } else {
                        batches.push(batch);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    let finished = reader.finish();
                    return outcome(self.unreadable(landed, error, finished.summary.records, finished.rejects)?);
                }
            }
            let more = reader.decoded_bytes() - *bytes;
            *bytes += more;
            if !room.take(at, more).await || *bytes > HELD_BYTES {
                return Ok(Outcome::TooLarge(planned.clone()));
            }
        }
        Ok(Outcome::Held(Box::new(Held { planned: planned.clone(), finished: reader.finish(), batches, bytes: 0 })))
    }

    /// Refuses an object that was read to its end, if it has to be.
    pub(super) fn judge(&self, outcome: Outcome) -> Outcome {
        let Outcome::Held(held) = outcome else { return outcome };
        match self.refuses(&held.planned.landed, &held.finished) {
            Some(why) => Outcome::Refused(Box::new(Refusal::new(&held.planned.landed, why, held.finished))),
            None => Outcome::Held(held),
        }
    }
}

fn outcome(loaded: Loaded) -> Result<Outcome, Error> {
    let gone = loaded.gone.into_iter().map(Outcome::Gone);
    let refused = loaded.refused.into_iter().map(|refusal| Outcome::Refused(Box::new(refusal)));
    let stuck = loaded.stuck.into_iter().map(Outcome::Stuck);
    gone.chain(refused).chain(stuck).next().ok_or_else(|| Error::environment("an object was neither read nor refused"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_object_waits_for_room_unless_it_is_next() {
        let room = Room::for_next();
        assert!(room.take(1, WAITING_BYTES).await);
        let mut late = Box::pin(room.take(2, 1));
        assert!(futures::poll!(&mut late).is_pending());
        assert!(room.take(0, HELD_BYTES).await, "the next never waits");
        room.go_on(HELD_BYTES);
        assert!(futures::poll!(&mut late).is_pending());
        room.go_on(WAITING_BYTES);
        assert!(late.await);
    }

    #[tokio::test]
    async fn what_finds_no_room_in_a_group_that_is_held_leaves_it() {
        let room = Room::for_all();
        assert!(room.take(0, GROUP_HELD_BYTES).await);
        assert!(!room.take(1, 1).await);
        room.give_back(1);
        room.give_back(1);
        assert!(room.take(1, 1).await);
    }
}
