//! Logs: `tracing` to stderr, for people on a terminal and as JSON otherwise.

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::SubscriberBuilder;

/// The variable that filters the log, in the syntax of `tracing`: `info`, `warn,pointsman::source=debug`.
pub const FILTER_VARIABLE: &str = "POINTSMAN_LOG";

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogStyle {
    /// For people where stderr is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Why there can be no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not understood.
    #[error("{FILTER_VARIABLE} is no log filter, such as `debug` or `warn,pointsman::source=debug`: {0}")]
    Filter(ParseError),
}

/// Starts the log of this process. Where one is running already, it goes on.
pub fn start(style: LogStyle) -> Result<(), LogError> {
    let asked = env::var(FILTER_VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let asked = asked.as_deref().unwrap_or("info");
    // The AMQP client logs each loss several times over, and the pool each wait: who asks them says it, and once. Their
    // own words are there for who asks by their names.
    let filter = EnvFilter::try_new(format!("lapin=off,sqlx=error,{asked}")).map_err(LogError::Filter)?;
    let terminal = io::stderr().is_terminal();
    // A log that cannot be written must not end the program, so its own complaint about that is silenced.
    let builder: SubscriberBuilder<_, _, _, _> = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
        .log_internal_errors(false)
        .with_env_filter(filter);
    let human = match style {
        LogStyle::Auto => terminal,
        LogStyle::Human => true,
        LogStyle::Json => false,
    };
    let started = if human {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    };
    // It fails only where a subscriber is in force: a test's.
    started.ok();
    Ok(())
}
