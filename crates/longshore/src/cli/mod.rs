//! The command line: a file for each command.
//!
//! Data goes to standard output, everything else to standard error. Exit code 0: done; 1: something
//! is not in, or not as it should be; 2: it could not start.

#![allow(clippy::print_stderr, reason = "this is the room that prints")]

/// Prints a line on standard output; ends the process quietly if nobody reads it any more.
macro_rules! outln {
    ($($text:tt)*) => {
        $crate::cli::output::line(format_args!($($text)*))
    };
}

mod audit;
mod check;
mod demo;
mod init;
mod load;
mod loads;
mod migrate;
mod operate;
mod output;
mod plan;
mod rejects;
mod retry;
mod run;
mod status;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tracing::Level;

use crate::config::{Config, ConfigError, FILE_NAME};
use crate::pipeline::{Context, Error};
use crate::project::{self, OpenError, Project};
use crate::telemetry::LogFormat;

/// How long threads that were broken off are waited for at the end.
const LEAVE: Duration = Duration::from_secs(3);

/// Loads the CSV files that land in a bucket into warehouse tables, once.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", default_value = FILE_NAME, env = "LONGSHORE_CONFIG")]
    config: PathBuf,
    /// What to say on standard error: error, warn, info, debug, trace.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info", env = "LONGSHORE_LOG_LEVEL")]
    log_level: Level,
    /// How to say it.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", env = "LONGSHORE_LOG_FORMAT")]
    log_format: LogFormat,
    /// Print one JSON document on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at a folder of CSV files and propose a project: pipelines and tables.
    Init(init::Init),
    /// Show a real load, from files to table, in a folder of its own.
    Demo(demo::Demo),
    /// Check the configuration, connections, permissions and tables.
    Check(check::Check),
    /// Print what would be loaded, and touch nothing.
    Plan(plan::Plan),
    /// Keep tables current: look at the bucket by schedule and load what lands.
    Run(run::Run),
    /// Only load what is queued, beside others on the same journal.
    Worker(run::Worker),
    /// Only look at the bucket by schedule, and queue what lands.
    Scheduler,
    /// Load these objects.
    Load(load::Load),
    /// Say how things stand.
    Status,
    /// List loads, newest first.
    Loads(loads::Loads),
    /// Show the rows that did not fit.
    Rejects(rejects::Rejects),
    /// Load objects from quarantine once more, in their original place.
    Retry(retry::Retry),
    /// Let the loads of a pipeline wait.
    Pause(operate::PausePipeline),
    /// Let a paused pipeline go on.
    Resume(operate::Resume),
    /// Break tasks off, and leave their objects where they are.
    Cancel(operate::Cancel),
    /// Compare the archive and the bucket with the ledger.
    Audit,
    /// Apply the project's migrations: versioned SQL scripts, as Flyway does.
    Migrate(migrate::Migrate),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Something is not in, or not as it should be.
    Incomplete,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Incomplete => Self::FAILURE,
        }
    }
}

/// Why a command could not start, or not go on.
#[derive(Debug)]
pub struct Failure {
    error: Box<dyn std::error::Error + Send + Sync>,
    hint: Option<String>,
}

impl Failure {
    fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { error: error.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints a primary line, the causes, then a hint.
    pub fn print(&self) {
        eprintln!("error: {}", self.error);
        let mut source = self.error.source();
        while let Some(cause) = source {
            eprintln!("  caused by: {cause}");
            source = cause.source();
        }
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { error: Box::new(error), hint }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let hint = match &error {
            OpenError::Bucket(error) => error.hint().map(str::to_owned),
            _ => Some("see that this user may write there and that the disk has room".to_owned()),
        };
        Self { error: Box::new(error), hint }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let hint = match &error {
            ConfigError::Unreadable { .. } => {
                "`longshore init FOLDER` writes one from a folder of CSV files; `--config FILE` names another"
                    .to_owned()
            }
            ConfigError::Faults { .. } => "correct the file and run `longshore check`".to_owned(),
        };
        Self { error: Box::new(error), hint: Some(hint) }
    }
}

impl From<crate::journal::JournalError> for Failure {
    fn from(error: crate::journal::JournalError) -> Self {
        Error::from(error).into()
    }
}

impl From<longshore_queue::QueueError> for Failure {
    fn from(error: longshore_queue::QueueError) -> Self {
        Error::from(error).into()
    }
}

impl From<longshore_warehouse::WarehouseError> for Failure {
    fn from(error: longshore_warehouse::WarehouseError) -> Self {
        Error::from(error).into()
    }
}

impl From<crate::bucket::BucketError> for Failure {
    fn from(error: crate::bucket::BucketError) -> Self {
        Error::from(error).into()
    }
}

impl From<longshore_migrate::Error> for Failure {
    fn from(error: longshore_migrate::Error) -> Self {
        let hint = error.hint().map(str::to_owned);
        // The cause is in the text already, with the line of the script that it is about.
        Self { error: error.to_string().into(), hint }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

type Result<T = Outcome> = std::result::Result<T, Failure>;

/// What all commands share.
#[derive(Debug)]
struct Global {
    config: PathBuf,
    json: bool,
}

impl Global {
    fn read(&self) -> Result<Config> {
        Ok(Config::read(&self.config)?)
    }

    /// Opens the project to look at it.
    async fn open(&self) -> Result<(Config, Context)> {
        let config = self.read()?;
        let context = project::look(&config).await?;
        Ok((config, context))
    }

    /// Opens the project to load in it.
    async fn open_to_load(&self) -> Result<Project> {
        let show_progress = !self.json && std::io::stderr().is_terminal();
        Ok(Project::open(self.read()?, show_progress).await?)
    }
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// It could not start.
    pub fn run(self) -> Result {
        // The demo tells its own story, unless somebody asks for more.
        if !(matches!(self.command, Command::Demo(_)) && self.log_level == Level::INFO) {
            crate::telemetry::start(self.log_level, self.log_format);
        }
        let global = Global { config: self.config, json: self.json };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(dispatch(self.command, &global));
        // What was broken off may still be busy in a thread; it has nothing more to say.
        runtime.shutdown_timeout(LEAVE);
        outcome
    }
}

async fn dispatch(command: Command, global: &Global) -> Result {
    match command {
        Command::Init(init) => init.run(global).await,
        Command::Demo(demo) => demo.run(global).await,
        Command::Check(check) => check::run(check, global).await,
        Command::Plan(plan) => plan::run(plan, global).await,
        Command::Run(run) => run.run(global).await,
        Command::Worker(worker) => worker.run(global).await,
        Command::Scheduler => run::scheduler(global).await,
        Command::Pause(pause) => pause.run(global).await,
        Command::Resume(resume) => resume.run(global).await,
        Command::Cancel(cancel) => cancel.run(global).await,
        Command::Load(load) => load.run(global).await,
        Command::Status => status::run(global).await,
        Command::Loads(loads) => loads.run(global),
        Command::Rejects(rejects) => rejects.run(global),
        Command::Retry(retry) => retry.run(global).await,
        Command::Audit => audit::run(global).await,
        Command::Migrate(migrate) => migrate.run(global).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "longshore", &mut std::io::stdout());
            Ok(Outcome::Done)
        }
    }
}
