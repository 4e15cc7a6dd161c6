//! `longshore check`: does everything that loading needs work? Every fault at once, with its cure.

use longshore_warehouse::{Finding, Severity};
use serde::Serialize;

use super::{Global, Outcome, Result, output};
use crate::config::Config;
use crate::journal::Journal;
use crate::pipeline::target::Target;
use crate::project;

#[derive(Debug, Serialize)]
struct Line<'a> {
    area: &'a str,
    state: &'static str,
    message: &'a str,
    cure: Option<&'a str>,
}

pub(super) async fn run(global: &Global) -> Result {
    let config = global.read()?;
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
    findings.push(("journal", journal(&config)));
    findings.extend(bucket(&config).await.into_iter().map(|finding| ("bucket", finding)));
    findings.extend(warehouse(&config).await.into_iter().map(|finding| ("warehouse", finding)));
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
            println!("{:<8} {area}: {}", word(finding.severity), finding.message);
            if let Some(cure) = finding.cure.as_ref().filter(|_| finding.severity != Severity::Fine) {
                println!("         hint: {}", cure.replace('\n', "\n         "));
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
        Ok(bucket) => bucket.check(&config.bucket.prefixes).await,
        Err(error) => {
            let error = crate::pipeline::Error::from(error);
            vec![fault(error.chain(), error.hint().map(str::to_owned))]
        }
    }
}

async fn warehouse(config: &Config) -> Vec<Finding> {
    let warehouse = project::open_warehouse(&config.warehouse);
    let tables: Vec<_> = config.pipelines.iter().map(|pipeline| pipeline.table.clone()).collect();
    let mut findings = warehouse.check(&tables).await;
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
