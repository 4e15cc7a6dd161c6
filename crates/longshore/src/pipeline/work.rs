//! Works on the objects of one task: looks again at what is to be done with each, and does it.
//!
//! What was queued is only a hint. Whatever a crash left half done is finished here, under the lease
//! of the table.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use longshore_warehouse::{Candidate, EntryKind, Kind, Known};

use super::plan::{self, LoadPlan, Planned, Rules, Verdict};
use super::summary::Summary;
use super::target::Target;
use super::{Context, Error, Job, Landed, Train, archive, load, quarantine};
use crate::bucket::{Claim, Moved, ObjectKey};
use crate::config::Pipeline;
use crate::propose;

/// Brings in objects of one pipeline, given in their order. Returns faults that lie in single objects
/// and hold back no other: those objects stay where they are.
///
/// # Errors
/// A transient fault or one of the surroundings: what is not in yet stays where it is. Doing it
/// again is safe.
pub async fn work(
    pipeline: &Pipeline,
    objects: Vec<Landed>,
    ctx: &Context,
    summary: &mut Summary,
) -> Result<Vec<Error>, Error> {
    settle_claims(pipeline, &objects, ctx).await?;
    ctx.gate.pass().await?;
    let target = Arc::new(target(pipeline, &objects, ctx).await?);
    let pipeline = Arc::new(pipeline.clone());
    let objects = objects
        .into_iter()
        .map(|landed| Planned { landed: Arc::new(landed), late: false, superseded: false })
        .collect();
    bring_in(&pipeline, &target, objects, ctx, summary).await
}

/// The target of a pipeline.
///
/// # Errors
/// It is missing (the cure proposes a table), or does not fit the pipeline's settings.
async fn target(pipeline: &Pipeline, objects: &[Landed], ctx: &Context) -> Result<Target, Error> {
    match ctx.warehouse.describe(&pipeline.table).await {
        Ok(table) => Target::fit(pipeline, table),
        Err(error) => {
            let is_missing = *error.kind() == Kind::Missing;
            let error = Error::from(error);
            match objects.first().filter(|_| is_missing) {
                Some(oldest) => {
                    let proposal = propose::for_object(&oldest.at, pipeline, ctx).await;
                    Err(propose::into_cure(error, proposal, ctx))
                }
                None => Err(error),
            }
        }
    }
}

/// Settles what a crash left of these objects between two places: one that is in the ledger goes on
/// to its archive key, any other goes back.
async fn settle_claims(pipeline: &Pipeline, objects: &[Landed], ctx: &Context) -> Result<(), Error> {
    for claim in ctx.bucket.claims().await? {
        if !objects.iter().any(|landed| landed.identity == claim.identity) {
            continue;
        }
        let candidate =
            Candidate { identity: claim.identity, pipeline: pipeline.name.clone(), key: claim.key.as_str().to_owned() };
        let known = match ctx.warehouse.lookup(&pipeline.table, &[candidate]).await {
            Ok(known) => known,
            // A table that is not there has no entries.
            Err(error) if *error.kind() == Kind::Missing => Known::default(),
            Err(error) => return Err(error.into()),
        };
        let entries = known.entries.into_iter().filter(|entry| entry.kind != EntryKind::Failed);
        match entries.max_by_key(|entry| entry.generation) {
            Some(entry) => {
                let to = archive::place_of(&entry, ctx);
                let otherwise = ObjectKey::new(archive::with_identity(&to, claim.identity));
                let moved = ctx.bucket.finish_claim(&claim, &ObjectKey::new(to), &otherwise).await?;
                let Moved::To(key) = moved else { continue };
                if claim.key.as_str().starts_with(&ctx.prefixes.failed) {
                    quarantine::remove_report(&claim.key, ctx).await?;
                }
                let archived = (entry.identity, entry.generation, key.as_str().to_owned());
                ctx.journal.record_archived(&[archived], Timestamp::now())?;
                tracing::info!(object.key = claim.key.as_str(), "finished the archiving of `{}`", claim.key);
            }
            None => put_back(&claim, ctx).await?,
        }
    }
    Ok(())
}

/// Puts a claimed object back to its old key.
///
/// # Errors
/// The bucket refuses.
pub async fn put_back(claim: &Claim, ctx: &Context) -> Result<(), Error> {
    if ctx.bucket.unclaim(claim).await? == Moved::Changed {
        tracing::warn!(
            object.key = claim.key.as_str(),
            "`{}` has a new object in its place: the old one stays claimed until the new one is gone",
            claim.key
        );
    }
    Ok(())
}

/// What the ledger knows of these objects.
///
/// # Errors
/// The warehouse cannot be asked.
pub async fn look_up(objects: &[Planned], job: Job<'_>, ctx: &Context) -> Result<Known, Error> {
    let candidates: Vec<Candidate> = objects
        .iter()
        .map(|planned| Candidate {
            identity: planned.landed.identity,
            pipeline: job.pipeline.name.clone(),
            key: planned.landed.key().to_owned(),
        })
        .collect();
    Ok(ctx.warehouse.lookup(&job.pipeline.table, &candidates).await?)
}

/// Plans, loads, and plans again what has to be.
async fn bring_in(
    pipeline: &Arc<Pipeline>,
    target: &Arc<Target>,
    objects: Vec<Planned>,
    ctx: &Context,
    summary: &mut Summary,
) -> Result<Vec<Error>, Error> {
    let mut stuck = Vec::new();
    let job = Job { pipeline, target };
    let mut train = Train::new(pipeline, target, ctx);
    let mut queue: VecDeque<Vec<Planned>> = VecDeque::from([objects]);
    // Each round brings at least one object to its end, unless another process is at the same
    // objects; then a few rounds are enough to see what it did.
    let mut rounds = 4 * queue[0].len() + 8;
    while let Some(objects) = queue.pop_front() {
        if objects.is_empty() {
            continue;
        }
        let known = look_up(&objects, job, ctx).await?;
        let mut plans = VecDeque::from(carry_out(job, objects, &known, ctx, &mut stuck, summary).await?);
        let mut known = Some(known);
        while let Some(plan) = plans.pop_front() {
            rounds = rounds.checked_sub(1).ok_or_else(|| {
                let message = format!("another process keeps loading the objects of pipeline `{}`", job.pipeline.name);
                Error::environment(message).cure("let one longshore work on this bucket, or wait for the next pass")
            })?;
            let mut done = train.run(plan, plans.front(), known.take()).await?;
            summary.add(&done);
            stuck.append(&mut done.stuck);
            if !done.apart.is_empty() || !done.again.is_empty() {
                let rest = plans.drain(..).flat_map(|plan: LoadPlan| plan.objects);
                let mut next = done.apart;
                next.push(done.again.into_iter().chain(rest).collect());
                for objects in next.into_iter().rev() {
                    queue.push_front(objects);
                }
            }
        }
    }
    stuck.extend(train.end().await?);
    Ok(stuck)
}

/// Does what needs no load, and returns the loads.
async fn carry_out(
    job: Job<'_>,
    objects: Vec<Planned>,
    known: &Known,
    ctx: &Context,
    stuck: &mut Vec<Error>,
    summary: &mut Summary,
) -> Result<Vec<LoadPlan>, Error> {
    let landed: Vec<Arc<Landed>> = objects.iter().map(|planned| Arc::clone(&planned.landed)).collect();
    let rules = Rules { pipeline: job.pipeline, keep: ctx.keep };
    let (mut to_archive, mut entries, mut to_load) = (Vec::new(), Vec::new(), Vec::new());
    for (landed, verdict) in landed.iter().zip(plan::judge(&landed, known, rules)) {
        let planned = |late, superseded| Planned { landed: Arc::clone(landed), late, superseded };
        match verdict {
            Verdict::Load { late } => to_load.push(planned(late, false)),
            Verdict::Supersede => to_load.push(planned(false, true)),
            Verdict::Done(_) => {}
            Verdict::Archive(entry) => {
                to_archive.push(Arc::clone(landed));
                entries.push(*entry);
            }
            Verdict::LateFails(latest) => {
                let refusal = load::late(landed, &latest, job);
                summary.failed.push(landed.key().to_owned());
                super::refuse(refusal, job, ctx).await?;
            }
        }
    }
    if !to_archive.is_empty() {
        let unmoved = super::finish(&to_archive, &entries, ctx).await?;
        summary.objects_archived += (to_archive.len() - unmoved.len()) as u64;
        stuck.extend(unmoved);
    }
    Ok(plan::group(to_load, job.pipeline))
}
