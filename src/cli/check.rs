//! `pointsman check`: whether a configuration could come into force. Touches nothing but its files.

use std::io::{self, Write};

use serde_json::json;

use super::{Exit, Format};
use crate::config::{self, Config, ConfigFile, Diagnostics, LoadError};

/// What is known of a configuration.
struct Verdict {
    exit: Exit,
    diagnostics: Diagnostics,
    line: String,
}

/// Says what is wrong with a configuration, and whether it could come into force.
pub fn check(file: &ConfigFile, format: Format, out: &mut dyn Write, colour: bool) -> Exit {
    let verdict = match config::load(file, "check", &|name| std::env::var(name).ok()) {
        Ok(loaded) => Verdict {
            exit: Exit::Fine,
            line: format!("{file} is fine: {}", contents(&loaded.config, &loaded.warnings)),
            diagnostics: loaded.warnings,
        },
        Err(error) => refused(file, error),
    };
    let written = match format {
        Format::Human => human(&verdict, out, colour),
        Format::Json => json(&verdict, out),
    };
    // A reader that has gone away has the exit code still.
    written.ok();
    verdict.exit
}

/// Says on `out` why a configuration does not come into force.
pub(super) fn refuse(file: &ConfigFile, error: LoadError, out: &mut dyn Write, colour: bool) -> Exit {
    let verdict = refused(file, error);
    human(&verdict, out, colour).ok();
    verdict.exit
}

fn refused(file: &ConfigFile, error: LoadError) -> Verdict {
    match error {
        LoadError::Invalid(diagnostics) => {
            Verdict { exit: Exit::AtFault, line: format!("{file}: {}", faults(&diagnostics)), diagnostics }
        }
        LoadError::Unreadable { source, .. } => Verdict {
            exit: Exit::Environment,
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
    if let (Exit::Environment, Some(list)) = (verdict.exit, diagnostics.as_array_mut()) {
        list.push(json!({ "severity": "error", "message": verdict.line }));
    }
    writeln!(out, "{}", json!({ "ok": verdict.exit == Exit::Fine, "diagnostics": diagnostics }))?;
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
