//! One object is streamed: its rows reach the warehouse while it is read.

use longshore_csv::Batch;
use longshore_warehouse::{EntryKind, Load, LoadId, WarehouseError, crash_point};

use super::{Attempt, Loaded, Opened, Part, Refusal, part};
use crate::pipeline::Error;
use crate::pipeline::fill::Filler;
use crate::pipeline::read::Reader;
use crate::pipeline::rejects::Rejects;

impl Attempt<'_> {
    /// Streams the one object that is to be read; the others get their entries.
    pub(super) async fn single(&self) -> Result<Loaded, Error> {
        let Some(planned) = self.plan.objects.iter().find(|object| !object.superseded) else {
            return self.entries_only().await;
        };
        let landed = &planned.landed;
        if let Some(why) = self.misfit(landed)? {
            return Ok(Loaded { refused: vec![Refusal::unread(landed, why)], ..Loaded::default() });
        }
        let opened = Reader::open(self.ctx, &landed.at, self.job.target).await;
        let mut reader = match opened {
            Ok(reader) => reader,
            Err(error) => return self.unreadable(landed, error, 0, Rejects::default()),
        };
        let mut stream: Option<Stream> = None;
        let mut written = 0;
        loop {
            let batch = match reader.next(&self.ctx.progress).await {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(error) => {
                    give_up(stream).await;
                    let finished = reader.finish();
                    return self.unreadable(landed, error, finished.summary.records, finished.rejects);
                }
            };
            // Once it is known that the object fails, it is read on only for its report.
            if self.is_spoiled(reader.rejects()) || self.brings_nothing(reader.binding()) {
                give_up(stream.take()).await;
                continue;
            }
            if batch.rows.num_rows() == 0 {
                continue;
            }
            if stream.is_none() {
                let columns =
                    reader.binding().map_or_else(Vec::new, |binding| self.job.target.loaded_columns(&binding.columns));
                match self.begin(&self.specs(&self.plan.objects), columns).await {
                    Ok(Opened::Open(load, load_id, loaded_at)) => {
                        crash_point("begin");
                        let filler = self.filler(landed, load_id, loaded_at);
                        let filler = filler.map_err(|error| self.unfillable(landed, error))?;
                        stream = Some(Stream { load, filler, load_id });
                    }
                    Ok(Opened::AlreadyIn) => return Ok(self.again()),
                    Err(error) => return Err(error.into()),
                }
            }
            if let Some(open) = &mut stream {
                let object = (self.plan.objects.len() - 1) as u32;
                if let Err(error) = open.write(object, batch).await {
                    give_up(stream).await;
                    return self.server_fault(landed, error, reader.finish());
                }
            }
            written += 1;
            if written == 2 {
                crash_point("mid-stream");
            }
        }
        let finished = reader.finish();
        if let Some(why) = self.refuses(landed, &finished) {
            give_up(stream).await;
            return Ok(Loaded { refused: vec![Refusal::new(landed, why, finished)], ..Loaded::default() });
        }
        let repeat = self.is_repeat(landed, &finished);
        if repeat {
            give_up(stream.take()).await;
        }
        let mut parts: Vec<Part> =
            self.plan.objects.iter().map(|planned| part(planned, EntryKind::Superseded)).collect();
        if let Some(last) = parts.last_mut() {
            last.kind = if repeat { EntryKind::Repeat } else { EntryKind::Load };
            last.finished = Some(finished);
        }
        let (load, load_id) = match stream {
            Some(stream) => (stream.load, stream.load_id),
            None => {
                let columns = self.columns_of(&parts);
                match self.begin(&self.specs(&self.plan.objects), columns).await? {
                    Opened::Open(load, load_id, _) => (load, load_id),
                    Opened::AlreadyIn => return Ok(self.again()),
                }
            }
        };
        match self.commit(load, load_id, &mut parts).await {
            Ok(committed) => Ok(self.committed(committed, parts)),
            Err(error) => {
                let last = parts.pop().and_then(|part| part.finished);
                match last {
                    Some(finished) => self.server_fault(landed, error, finished),
                    None => Err(error.into()),
                }
            }
        }
    }

    /// Writes entries for objects of which nothing is read.
    async fn entries_only(&self) -> Result<Loaded, Error> {
        let mut parts: Vec<Part> =
            self.plan.objects.iter().map(|planned| part(planned, EntryKind::Superseded)).collect();
        match self.begin(&self.specs(&self.plan.objects), self.all_columns()).await? {
            Opened::AlreadyIn => Ok(self.again()),
            Opened::Open(load, load_id, _) => {
                let committed = self.commit(load, load_id, &mut parts).await?;
                Ok(self.committed(committed, parts))
            }
        }
    }
}

/// An open load into which one object is streamed.
struct Stream {
    load: Box<dyn Load>,
    load_id: LoadId,
    filler: Filler,
}

impl Stream {
    async fn write(&mut self, object: u32, batch: Batch) -> Result<(), WarehouseError> {
        self.load.write(self.filler.fill(object, &batch)).await
    }
}

/// Rolls back what was begun. A rollback that fails leaves nothing either: the connection is gone.
async fn give_up(stream: Option<Stream>) {
    if let Some(stream) = stream
        && let Err(error) = stream.load.rollback().await
    {
        tracing::debug!(%error, "a rollback failed; the warehouse rolls back by itself");
    }
}
