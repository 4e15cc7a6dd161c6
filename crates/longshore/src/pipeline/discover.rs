//! Lists the bucket and keeps what was found on disk, in the order in which it takes effect.
//!
//! A million pending keys must not fill the memory: pages go into a temporary SQLite file as they
//! come, and are read back in order, a stretch at a time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures::TryStreamExt;
use jiff::Timestamp;
use longshore_warehouse::Position;
use rusqlite::{Connection, params};

use super::{Context, Error, Landed};
use crate::bucket::{LeftOut, Object, ObjectKey};
use crate::config::Pipeline;

/// What a listing found.
#[derive(Debug)]
pub struct Discovered {
    /// Objects of exactly one pipeline.
    pub spool: Spool,
    /// How many objects belong to no pipeline; some of their keys.
    pub unmatched: Counted,
    /// Objects of two or more pipelines: key and names.
    pub ambiguous: Vec<(ObjectKey, Vec<String>)>,
    /// What cannot be an object.
    pub left_out: Vec<LeftOut>,
    /// Objects that are still being written, with the time at which they may be whole.
    pub settling: Vec<(ObjectKey, Timestamp)>,
}

/// A number of things and the first of them.
#[derive(Debug, Default)]
pub struct Counted {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
}

/// Things named one by one before only their number is told.
const NAMED: usize = 1_000;

impl Counted {
    fn add(&mut self, key: &str) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(key.to_owned());
        }
    }
}

/// Lists everything under `pending` and matches it with the pipelines; `only` limits it to these
/// keys.
///
/// # Errors
/// The bucket cannot be listed, or there is no room for the spool.
pub async fn discover(pipelines: &[Pipeline], only: Option<&[ObjectKey]>, ctx: &Context) -> Result<Discovered, Error> {
    let mut found = Discovered::empty()?;
    let mut pages = ctx.bucket.list(&ctx.prefixes.pending);
    while let Some(page) = pages.try_next().await? {
        let wanted = |key: &ObjectKey| only.is_none_or(|only| only.contains(key));
        let objects = page.objects.into_iter().filter(|object| wanted(&object.key));
        found.sort(objects, pipelines, ctx)?;
        found.left_out.extend(page.left_out);
        found.settling.extend(page.settling.into_iter().filter(|(key, _)| wanted(key)));
    }
    Ok(found)
}

/// Looks up objects that just arrived, and matches them with the pipelines. They do not settle: it
/// is known that they are whole. Where one is of a table whose order matters, all that waits is
/// listed with it: an older object that nobody has seen yet goes before it.
///
/// # Errors
/// As [`discover`].
pub async fn arrived(pipelines: &[Pipeline], keys: &[ObjectKey], ctx: &Context) -> Result<Discovered, Error> {
    let relative = |key: &ObjectKey| key.as_str().strip_prefix(&ctx.prefixes.pending).map(str::to_owned);
    let minds_order = |at: &usize| pipelines[*at].mode.is_ordered();
    let is_ordered = keys.iter().filter_map(relative).any(|key| matching(pipelines, &key).iter().any(minds_order));
    let mut found = if is_ordered { discover(pipelines, None, ctx).await? } else { Discovered::empty()? };
    let mut objects = Vec::with_capacity(keys.len());
    for key in keys {
        objects.extend(ctx.bucket.head(key).await?);
    }
    found.sort(objects.into_iter(), pipelines, ctx)?;
    Ok(found)
}

impl Discovered {
    fn empty() -> Result<Self, Error> {
        Ok(Self {
            spool: Spool::open()?,
            unmatched: Counted::default(),
            ambiguous: Vec::new(),
            left_out: Vec::new(),
            settling: Vec::new(),
        })
    }

    fn sort(
        &mut self,
        objects: impl Iterator<Item = Object>,
        pipelines: &[Pipeline],
        ctx: &Context,
    ) -> Result<(), Error> {
        let lanes = lanes(pipelines);
        let mut matched = Vec::new();
        for object in objects {
            let relative = object.key.as_str().strip_prefix(ctx.prefixes.pending.as_str()).unwrap_or_default();
            match matching(pipelines, relative)[..] {
                [] => self.unmatched.add(object.key.as_str()),
                [pipeline] => matched.push((lanes[pipeline], pipeline, object)),
                ref several => {
                    let names = several.iter().map(|at| pipelines[*at].name.clone()).collect();
                    self.ambiguous.push((object.key, names));
                }
            }
        }
        self.spool.add(ctx.bucket.id(), &matched)
    }
}

/// The name by which tasks and leases know the table of a pipeline.
pub fn table_of(pipeline: &Pipeline) -> String {
    pipeline.table.to_string().to_lowercase()
}

/// The lane of each pipeline: those of one table share one.
pub fn lanes(pipelines: &[Pipeline]) -> Vec<usize> {
    let mut names: HashMap<String, usize> = HashMap::new();
    pipelines
        .iter()
        .map(|pipeline| {
            let next = names.len();
            *names.entry(table_of(pipeline)).or_insert(next)
        })
        .collect()
}

/// The pipelines that take a key, given without `pending`.
pub fn matching(pipelines: &[Pipeline], key: &str) -> Vec<usize> {
    (0..pipelines.len()).filter(|at| pipelines[*at].matcher.takes(key)).collect()
}

/// Pending objects with their pipelines, on disk.
#[derive(Debug)]
pub struct Spool {
    connection: Mutex<Connection>,
}

impl Spool {
    fn open() -> Result<Self, Error> {
        // An empty name is a temporary file of SQLite's own, removed when it is closed.
        let connection = Connection::open("")?;
        connection.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192;
             CREATE TABLE object (lane INTEGER, modified_us INTEGER, key TEXT, pipeline INTEGER, etag TEXT, size INTEGER,
               identity TEXT, payload TEXT, PRIMARY KEY (lane, modified_us, key)) WITHOUT ROWID, STRICT;",
        )?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    fn add(&self, bucket_id: &str, objects: &[(usize, usize, Object)]) -> Result<(), Error> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT OR IGNORE INTO object VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL)")?;
            for (lane, pipeline, object) in objects {
                insert.execute(params![
                    *lane as i64,
                    object.modified_at.as_microsecond(),
                    object.key.as_str(),
                    *pipeline as i64,
                    object.etag,
                    object.size as i64,
                    object.identity(bucket_id).to_string(),
                ])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Adds an object that is between two places.
    ///
    /// # Errors
    /// The spool cannot be written.
    pub fn add_landed(&self, lane: usize, pipeline: usize, landed: &Landed) -> Result<(), Error> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let task = landed.to_task();
        connection.execute(
            "INSERT OR IGNORE INTO object VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                lane as i64,
                landed.object.modified_at.as_microsecond(),
                landed.key(),
                pipeline as i64,
                landed.object.etag,
                landed.object.size as i64,
                task.identity,
                task.payload,
            ],
        )?;
        Ok(())
    }

    /// Whether it holds this very object.
    ///
    /// # Errors
    /// The spool cannot be read.
    pub fn holds(&self, lane: usize, landed: &Landed) -> Result<bool, Error> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select = connection.prepare_cached(
            "SELECT count(*) FROM object WHERE lane = ?1 AND modified_us = ?2 AND key = ?3 AND identity = ?4",
        )?;
        let count: i64 = select.query_row(
            params![lane as i64, landed.object.modified_at.as_microsecond(), landed.key(), landed.identity.to_string()],
            |row| row.get(0),
        )?;
        Ok(count > 0)
    }

    /// The next objects of a lane after a position, in order, each with its pipeline.
    ///
    /// # Errors
    /// The spool cannot be read.
    pub fn next(&self, lane: usize, after: Option<&Position>, limit: usize) -> Result<Vec<(usize, Landed)>, Error> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select = connection.prepare_cached(
            "SELECT pipeline, modified_us, key, etag, size, identity, payload FROM object
             WHERE lane = ?1 AND (modified_us, key) > (?2, ?3) ORDER BY modified_us, key LIMIT ?4",
        )?;
        let (modified_us, key) =
            after.map_or((i64::MIN, ""), |after| (after.modified_at.as_microsecond(), after.key.as_str()));
        let rows = select.query_map(params![lane as i64, modified_us, key, limit as i64], |row| {
            let object = Object {
                modified_at: Timestamp::from_microsecond(row.get(1)?).expect("the spool holds what a listing gave"),
                key: ObjectKey::new(row.get::<_, String>(2)?),
                etag: row.get(3)?,
                size: row.get::<_, i64>(4)? as u64,
            };
            Ok((row.get::<_, i64>(0)? as usize, object, row.get::<_, String>(5)?, row.get::<_, Option<String>>(6)?))
        })?;
        rows.map(|row| {
            let (pipeline, object, identity, payload) = row?;
            let identity = identity.parse().expect("the spool holds identities as they print");
            let landed = payload.and_then(|payload| Landed::from_payload(identity, &payload));
            Ok((pipeline, landed.unwrap_or_else(|| Landed::pending(object, identity))))
        })
        .collect()
    }

    /// Each lane with each of its pipelines that has objects.
    ///
    /// # Errors
    /// The spool cannot be read.
    pub fn lanes(&self) -> Result<Vec<(usize, usize)>, Error> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select =
            connection.prepare_cached("SELECT DISTINCT lane, pipeline FROM object ORDER BY lane, pipeline")?;
        let rows = select.query_map([], |row| Ok((row.get::<_, i64>(0)? as usize, row.get::<_, i64>(1)? as usize)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Last-modified of the oldest object.
    ///
    /// # Errors
    /// The spool cannot be read.
    pub fn oldest(&self) -> Result<Option<Timestamp>, Error> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest: Option<i64> = connection.query_row("SELECT min(modified_us) FROM object", [], |row| row.get(0))?;
        Ok(oldest.map(|us| Timestamp::from_microsecond(us).expect("the spool holds what a listing gave")))
    }

    /// Objects and bytes of all lanes.
    ///
    /// # Errors
    /// The spool cannot be read.
    pub fn size(&self) -> Result<(u64, u64), Error> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let size = connection.query_row("SELECT count(*), coalesce(sum(size), 0) FROM object", [], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
        })?;
        Ok(size)
    }
}
