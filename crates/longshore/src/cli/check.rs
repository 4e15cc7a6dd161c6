//! `longshore check`: does everything that loading needs work? Every fault at once, with its cure.

use clap::Args;
use futures::TryStreamExt;
use longshore_warehouse::{Finding, Severity};
use serde::Serialize;

use super::{Global, Outcome, Result, output};
use crate::bucket::Bucket;
use crate::config::{After, Config, Matcher, Pipeline};
use crate::journal::Journal;
use crate::migrations::gate;
use crate::pipeline::target::Target;
use crate::project;

#[derive(Debug, Serialize)]
struct Line<'a> {
    area: &'a str,
    state: &'static str,
    message: &'a str,
    cure: Option<&'a str>,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Print the statements that create the ledger, for somebody who may run them, and check nothing.
    #[arg(long)]
    print_sql: bool,
}

pub(super) async fn run(check: Check, global: &Global) -> Result {
    let config = global.read()?;
    if check.print_sql {
        let sql = project::open_warehouse(&config).await?.ledger_sql().await?;
        match global.json {
            true => output::json(&serde_json::json!({ "ledger_sql": sql }))?,
            false => outln!("{}", sql.trim_end()),
        }
        return Ok(Outcome::Done);
    }
    let mut findings = vec![(
        "configuration",
        fine(format!("`{}`: {}", global.config.display(), output::counted(config.pipelines.len() as u64, "pipeline"))),
    )];
    if config.pipelines.is_empty() {
        findings.push((
            "configuration",
            Finding {
                severity: Severity::Warning,
                message: "there is no pipeline: nothing will be loaded".to_owned(),
                cure: Some("add a `[[pipeline]]`, or let `longshore init FOLDER` propose some".to_owned()),
            },
        ));
    }
    findings.extend(patterns(&config).into_iter().map(|finding| ("configuration", finding)));
    findings.push(("journal", journal(&config)));
    findings.extend(bucket(&config).await.into_iter().map(|finding| ("bucket", finding)));
    findings.extend(warehouse(&config).await.into_iter().map(|finding| ("warehouse", finding)));
    findings.extend(migrations(&config).await.map(|finding| ("migrations", finding)));
    let worst = findings.iter().map(|(_, finding)| finding.severity).max();
    if global.json {
        let lines: Vec<Line<'_>> = findings
            .iter()
            .map(|(area, finding)| Line {
                area,
                state: word(finding.severity),
                message: &finding.message,
                cure: finding.cure.as_deref(),
            })
            .collect();
        output::json(&lines)?;
    } else {
        for (area, finding) in &findings {
            outln!("{:<8} {area}: {}", word(finding.severity), finding.message);
            if let Some(cure) = finding.cure.as_ref().filter(|_| finding.severity != Severity::Fine) {
                outln!("         hint: {}", cure.replace('\n', "\n         "));
            }
        }
    }
    Ok(if worst == Some(Severity::Fault) { Outcome::Incomplete } else { Outcome::Done })
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Fine => "ok",
        Severity::Warning => "warning",
        Severity::Fault => "fault",
    }
}

fn fine(message: String) -> Finding {
    Finding { severity: Severity::Fine, message, cure: None }
}

fn fault(message: String, cure: Option<String>) -> Finding {
    Finding { severity: Severity::Fault, message, cure }
}

fn journal(config: &Config) -> Finding {
    match Journal::open(&config.journal) {
        Ok(journal) => fine(format!("`{}` can be written", journal.path().display())),
        Err(error) => {
            let error = crate::pipeline::Error::from(error);
            fault(error.chain(), error.hint().map(str::to_owned))
        }
    }
}

async fn bucket(config: &Config) -> Vec<Finding> {
    match project::open_bucket(&config.bucket).await {
        Ok(bucket) if config.bucket.after == After::Keep => vec![readable(bucket.as_ref(), config).await],
        Ok(bucket) => bucket.check(&config.bucket.prefixes).await,
        Err(error) => {
            let error = crate::pipeline::Error::from(error);
            vec![fault(error.chain(), error.hint().map(str::to_owned))]
        }
    }
}

/// What is left to check of a bucket that may not be changed.
async fn readable(bucket: &dyn Bucket, config: &Config) -> Finding {
    let pending = &config.bucket.prefixes.pending;
    match bucket.list(pending).try_next().await {
        Ok(_) => fine(format!("`{pending}` can be listed; nothing is written, as `after = \"keep\"` says")),
        Err(error) => {
            let error = crate::pipeline::Error::from(error);
            fault(error.chain(), error.hint().map(str::to_owned))
        }
    }
}

/// Patterns that can never match: keys are matched without `pending`.
fn patterns(config: &Config) -> Vec<Finding> {
    let pending = &config.bucket.prefixes.pending;
    let begins = |pipeline: &&Pipeline| matches!(&pipeline.matcher, Matcher::Glob(glob) if glob.glob().glob().starts_with(pending.as_str()));
    let warn = |pipeline: &Pipeline| Finding {
        severity: Severity::Warning,
        message: format!(
            "`match` of pipeline `{}` begins with `{pending}`, and keys are matched without it",
            pipeline.name
        ),
        cure: Some(format!("write `match = \"{}\"`", pipeline.matcher.pattern().trim_start_matches(pending.as_str()))),
    };
    config.pipelines.iter().filter(begins).map(warn).collect()
}

/// Whether the tables are as the project's scripts say; nothing where it has none.
async fn migrations(config: &Config) -> Option<Finding> {
    let waits = config.migrate.as_ref().is_none_or(|own| own.pause_loads);
    match gate::state(config).await {
        Ok(None) => None,
        Ok(Some(pending)) => Some(match gate::hindrance(&pending) {
            None => fine("all are applied".to_owned()),
            Some(error) => Finding {
                severity: if waits { Severity::Fault } else { Severity::Warning },
                message: error.chain(),
                cure: Some(if waits {
                    error.hint().unwrap_or_default().to_owned()
                } else {
                    "run `longshore migrate`".to_owned()
                }),
            },
        }),
        Err(error) => Some(fault(error.chain(), error.hint().map(str::to_owned))),
    }
}

async fn warehouse(config: &Config) -> Vec<Finding> {
    let warehouse = match project::open_warehouse(config).await {
        Ok(warehouse) => warehouse,
        Err(error) => return vec![fault(error.to_string(), error.hint().map(str::to_owned))],
    };
    let uses: Vec<_> =
        config.pipelines.iter().map(|pipeline| (pipeline.table.clone(), pipeline.mode.clone())).collect();
    let mut findings = warehouse.check(&uses).await;
    for pipeline in &config.pipelines {
        // What hinders the description was found above.
        let Ok(table) = warehouse.describe(&pipeline.table).await else {
            continue;
        };
        findings.push(match Target::fit(pipeline, table) {
            Ok(target) => fine(format!("pipeline `{}` fits {}", pipeline.name, target.table.name)),
            Err(error) => fault(error.chain(), error.hint().map(str::to_owned)),
        });
    }
    findings
}
