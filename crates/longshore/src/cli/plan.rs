//! `longshore plan`: what would be loaded, and by which statements. Touches nothing.

use std::collections::HashMap;
use std::sync::Arc;

use clap::Args;
use longshore_warehouse::{EntryKind, Known};
use serde::Serialize;

use super::{Global, Outcome, Result, output};
use crate::config::{Config, Pipeline};
use crate::pipeline::plan::{Planned, Rules, Verdict, group, judge};
use crate::pipeline::target::Target;
use crate::pipeline::{Context, Job, Landed, discover, load};

/// Objects of a table that are judged at once.
const STRETCH: usize = 1_000;

#[derive(Debug, Args)]
pub(super) struct Plan {
    /// Print the statements that the next load of each pipeline would send, instead of the objects.
    /// For Redshift.
    #[arg(long)]
    sql: bool,
}

/// The next load of a pipeline.
#[derive(Debug, Serialize)]
struct NextLoad {
    pipeline: String,
    objects: Vec<String>,
    statements: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    key: String,
    size: Option<u64>,
    modified_at: Option<jiff::Timestamp>,
    pipeline: Option<String>,
    verdict: &'static str,
    why: Option<String>,
}

pub(super) async fn run(plan: Plan, global: &Global) -> Result {
    let (config, context) = global.open().await?;
    if plan.sql {
        return print_sql(&config, &context, global).await;
    }
    let found = discover::discover(&config.pipelines, None, &context).await?;
    let mut printer = Printer { is_json: global.json, lines: Vec::new(), counts: HashMap::new() };
    let mut faults: HashMap<usize, String> = HashMap::new();
    let mut lanes: Vec<usize> = found.spool.lanes()?.into_iter().map(|(lane, _)| lane).collect();
    lanes.dedup();
    for lane in lanes {
        let mut after = None;
        loop {
            let stretch = found.spool.next(lane, after.as_ref(), STRETCH)?;
            let Some((_, last)) = stretch.last() else {
                break;
            };
            after = Some(last.position());
            let mut by_pipeline: HashMap<usize, Vec<_>> = HashMap::new();
            for (pipeline, landed) in stretch {
                by_pipeline.entry(pipeline).or_default().push(Arc::new(landed));
            }
            for (at, objects) in by_pipeline {
                let pipeline = &config.pipelines[at];
                let known = match faults.get(&at) {
                    Some(why) => Err(why.clone()),
                    None => known(&objects, pipeline, &context).await,
                };
                let verdicts: Vec<(&'static str, Option<String>)> = match &known {
                    Err(why) => {
                        faults.insert(at, why.clone());
                        objects.iter().map(|_| ("wait", Some(why.clone()))).collect()
                    }
                    Ok(known) => judge(&objects, known, Rules { pipeline, keep: context.keep })
                        .into_iter()
                        .zip(&objects)
                        .map(|(verdict, landed)| in_words(&verdict, known, landed.key()))
                        .collect(),
                };
                for (landed, (verdict, why)) in objects.iter().zip(verdicts) {
                    printer.add(Line {
                        key: landed.key().to_owned(),
                        size: Some(landed.object.size),
                        modified_at: Some(landed.object.modified_at),
                        pipeline: Some(pipeline.name.clone()),
                        verdict,
                        why,
                    });
                }
            }
        }
    }
    let without_pipeline =
        |key: String, verdict, why| Line { key, size: None, modified_at: None, pipeline: None, verdict, why };
    for (key, at) in &found.settling {
        printer.add(without_pipeline(
            key.as_str().to_owned(),
            "wait",
            Some(format!("still being written; settled at {}", output::time(*at))),
        ));
    }
    for (key, names) in &found.ambiguous {
        printer.add(without_pipeline(
            key.as_str().to_owned(),
            "ambiguous",
            Some(format!("pipelines {}", names.join(" and "))),
        ));
    }
    for key in &found.unmatched.first {
        printer.add(without_pipeline(key.clone(), "unmatched", None));
    }
    for left_out in &found.left_out {
        printer.add(without_pipeline(left_out.name.clone(), "left out", Some(left_out.why.to_owned())));
    }
    printer.finish()?;
    let is_fine = faults.is_empty() && found.ambiguous.is_empty();
    Ok(if is_fine { Outcome::Done } else { Outcome::Incomplete })
}

/// What stands in printed statements for what only a load knows.
const NOT_YET_KNOWN: &str = "-- Filled in by a load itself: its id and time, the word after NULL AS, and in the rows for the ledger\n\
    -- the counts of rows and the content hashes, here 0 and NULL. It reads the fence's epoch anew. Secrets are left out.";

/// Prints the statements of the next load of each pipeline. What hinders one pipeline holds back no other.
async fn print_sql(config: &Config, context: &Context, global: &Global) -> Result {
    let found = discover::discover(&config.pipelines, None, context).await?;
    let (mut next, mut is_fine) = (Vec::new(), true);
    for (lane, at) in found.spool.lanes()? {
        match next_load(&found.spool, lane, at, &config.pipelines[at], context).await {
            Ok(load) => next.extend(load),
            Err(failure) => {
                is_fine = false;
                eprintln!("pipeline `{}`:", config.pipelines[at].name);
                failure.print();
            }
        }
    }
    if global.json {
        output::json(&next)?;
    } else {
        match next.is_empty() {
            true if is_fine => outln!("nothing waits"),
            true => {}
            false => outln!("{NOT_YET_KNOWN}"),
        }
        for load in &next {
            outln!(
                "-- pipeline `{}`: the next load, of {}",
                load.pipeline,
                output::counted(load.objects.len() as u64, "object")
            );
            load.statements.iter().for_each(|statement| outln!("{statement};"));
        }
    }
    Ok(if is_fine { Outcome::Done } else { Outcome::Incomplete })
}

/// The next load of a pipeline, however far down its objects wait.
async fn next_load(
    spool: &discover::Spool,
    lane: usize,
    at: usize,
    pipeline: &Pipeline,
    context: &Context,
) -> Result<Option<NextLoad>> {
    let (mut waiting, mut of_ledger, mut after) = (Vec::new(), Known::default(), None);
    loop {
        let stretch = spool.next(lane, after.as_ref(), STRETCH)?;
        let Some((_, last)) = stretch.last() else { break };
        after = Some(last.position());
        let objects: Vec<Arc<Landed>> =
            stretch.into_iter().filter(|(of, _)| *of == at).map(|(_, landed)| Arc::new(landed)).collect();
        if objects.is_empty() {
            continue;
        }
        of_ledger = known(&objects, pipeline, context).await.map_err(super::Failure::new)?;
        let verdicts = judge(&objects, &of_ledger, Rules { pipeline, keep: context.keep });
        waiting.extend(verdicts.into_iter().zip(objects).filter_map(|(verdict, landed)| match verdict {
            Verdict::Load { late } => Some(Planned { landed, late, superseded: false }),
            Verdict::Supersede => Some(Planned { landed, late: false, superseded: true }),
            _ => None,
        }));
        // One that is followed by another is whole.
        if group(waiting.clone(), pipeline).len() > 1 {
            break;
        }
    }
    let Some(load) = group(waiting, pipeline).into_iter().next() else { return Ok(None) };
    let target = Target::fit(pipeline, context.warehouse.describe(&pipeline.table).await?)?;
    let job = Job { pipeline, target: &target };
    Ok(Some(NextLoad {
        pipeline: pipeline.name.clone(),
        objects: load.objects.iter().map(|planned| planned.landed.key().to_owned()).collect(),
        statements: load::statements(&load, of_ledger, job, context).await?,
    }))
}

async fn known(objects: &[Arc<Landed>], pipeline: &Pipeline, context: &Context) -> std::result::Result<Known, String> {
    let candidates: Vec<_> = objects
        .iter()
        .map(|landed| longshore_warehouse::Candidate {
            identity: landed.identity,
            pipeline: pipeline.name.clone(),
            key: landed.key().to_owned(),
        })
        .collect();
    let described = context.warehouse.describe(&pipeline.table).await.map_err(|error| error.to_string())?;
    Target::fit(pipeline, described).map_err(|error| error.chain())?;
    context.warehouse.lookup(&pipeline.table, &candidates).await.map_err(|error| error.to_string())
}

fn in_words(verdict: &Verdict, known: &Known, key: &str) -> (&'static str, Option<String>) {
    match verdict {
        Verdict::Load { late: true } => ("late", Some("older than what is in: it is loaded and marked".to_owned())),
        Verdict::Load { late: false } if known.hashes.iter().any(|known| known.key == key) => {
            ("load", Some("the key was loaded before: a repeat if its bytes are the same".to_owned()))
        }
        Verdict::Load { late: false } => ("load", None),
        Verdict::Supersede => ("superseded", Some("a newer object is the table".to_owned())),
        Verdict::LateFails(latest) => ("late", Some(format!("older than `{}`: it fails", latest.key))),
        Verdict::Archive(entry) => ("archive-only", Some(format!("in since {}", output::time(entry.loaded_at)))),
        Verdict::Done(entry) if entry.kind == EntryKind::Failed => {
            ("failed", Some("`longshore retry KEY` loads it once more".to_owned()))
        }
        Verdict::Done(entry) => ("done", Some(format!("in since {}", output::time(entry.loaded_at)))),
    }
}

struct Printer {
    is_json: bool,
    lines: Vec<Line>,
    counts: HashMap<&'static str, u64>,
}

impl Printer {
    fn add(&mut self, line: Line) {
        *self.counts.entry(line.verdict).or_default() += 1;
        self.lines.push(line);
        if !self.is_json && self.lines.len() == 1_000 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let rows = self
            .lines
            .drain(..)
            .map(|line| {
                vec![
                    line.verdict.to_owned(),
                    line.key,
                    line.size.map(output::bytes).unwrap_or_default(),
                    line.pipeline.unwrap_or_default(),
                    line.why.unwrap_or_default(),
                ]
            })
            .collect();
        output::table(&["verdict", "object", "size", "pipeline", "why"], rows, "nothing waits");
    }

    fn finish(mut self) -> Result<()> {
        if self.is_json {
            return output::json(&self.lines);
        }
        if !self.lines.is_empty() || self.counts.is_empty() {
            self.flush();
        }
        Ok(())
    }
}
