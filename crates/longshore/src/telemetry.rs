//! Where log lines go: standard error, as a person or a machine reads them.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::progress;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line, with the ids of tasks, loads and objects.
    Json,
}

/// Starts logging at this level, for our own crates; others log warnings only.
pub(crate) fn start(level: Level, format: LogFormat) {
    let directives = format!(
        "warn,longshore={level},longshore_csv={level},longshore_migrate={level},longshore_queue={level},longshore_warehouse={level},\
         aws_config=error,aws_smithy_runtime=error,aws_sdk_s3=error"
    );
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(directives)).with_writer(|| BesideTheBar);
    // A second start (in tests) keeps the first.
    let started = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).try_init(),
        LogFormat::Text => builder.event_format(Lines { color: io::stderr().is_terminal() }).try_init(),
    };
    drop(started);
}

/// Standard error, without tearing a progress bar.
struct BesideTheBar;

impl Write for BesideTheBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        progress::beside(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// One line an event: the level where it is worth a word, then the message. Fields are in the
/// message already.
struct Lines {
    color: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (word, color) = match *event.metadata().level() {
            Level::ERROR => ("error: ", "\x1b[1;31m"),
            Level::WARN => ("warning: ", "\x1b[1;33m"),
            Level::INFO => ("", ""),
            Level::DEBUG => ("debug: ", "\x1b[2m"),
            Level::TRACE => ("trace: ", "\x1b[2m"),
        };
        if self.color {
            write!(writer, "{color}{word}\x1b[0m")?
        } else {
            writer.write_str(word)?
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        writeln!(writer, "{}", message.0)
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
