//! `pointsman check`: whether a configuration could come into force. Touches nothing but its files.

use std::io::{self, Write};

use serde_json::json;

use super::Format;
use crate::config::{self, Config, ConfigFile, Diagnostics, LoadError};

/// The configuration could come into force.
const FINE: u8 = 0;
/// It could not.
const AT_FAULT: u8 = 1;
/// It cannot be read, or nobody reads what is said of it.
const ENVIRONMENT: u8 = 3;

/// What is known of a configuration.
struct Verdict {
    status: u8,
    diagnostics: Diagnostics,
    line: String,
}

/// Says what is wrong with a configuration, and whether it could come into force. Answers the exit code: 0 where it
/// could, 1 where not, 3 where it cannot be read.
pub fn check(file: &ConfigFile, format: Format, out: &mut dyn Write, colour: bool) -> u8 {
    let verdict = examine(file);
    let written = match format {
        Format::Human => human(&verdict, out, colour),
        Format::Json => json(&verdict, out),
    };
    if written.is_ok() { verdict.status } else { ENVIRONMENT }
}

fn examine(file: &ConfigFile) -> Verdict {
    match config::load(file, "check", &|name| std::env::var(name).ok()) {
        Ok(loaded) => Verdict {
            status: FINE,
            line: format!("{file} is fine: {}", contents(&loaded.config, &loaded.warnings)),
            diagnostics: loaded.warnings,
        },
        Err(LoadError::Invalid(diagnostics)) => {
            Verdict { status: AT_FAULT, line: format!("{file}: {}", faults(&diagnostics)), diagnostics }
        }
        Err(LoadError::Unreadable { source, .. }) => Verdict {
            status: ENVIRONMENT,
            line: format!("cannot read {file}: {source}"),
            diagnostics: Diagnostics::default(),
        },
    }
}

fn human(verdict: &Verdict, out: &mut dyn Write, colour: bool) -> io::Result<()> {
    verdict.diagnostics.render(out, colour)?;
    writeln!(out, "{}", verdict.line)?;
    out.flush()
}

fn json(verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    let mut diagnostics = verdict.diagnostics.to_json();
    if let (ENVIRONMENT, Some(list)) = (verdict.status, diagnostics.as_array_mut()) {
        list.push(json!({ "severity": "error", "message": verdict.line }));
    }
    writeln!(out, "{}", json!({ "ok": verdict.status == FINE, "diagnostics": diagnostics }))?;
    out.flush()
}

fn contents(config: &Config, warnings: &Diagnostics) -> String {
    let queries = config.database.as_ref().map_or(0, |database| database.queries.len());
    let mut parts = vec![
        counted(config.routes.len(), "route", "routes"),
        counted(config.topics.len(), "topic rule", "topic rules"),
        counted(queries, "query", "queries"),
    ];
    if warnings.warnings() > 0 {
        parts.push(counted(warnings.warnings(), "warning", "warnings"));
    }
    parts.join(", ")
}

fn faults(diagnostics: &Diagnostics) -> String {
    let errors = counted(diagnostics.errors(), "error", "errors");
    match diagnostics.warnings() {
        0 => errors,
        warnings => format!("{errors}, {}", counted(warnings, "warning", "warnings")),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
