//! `pointsman test`: runs the rule tests.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::arguments::TestArguments;
use super::offline::offline;
use super::{Exit, Format, complain, junit};
use crate::config::ReadTests;
use crate::explain::words::counted;
use crate::prove::{Proof, Tested, prove};
use crate::reload::Compiled;

/// Routes that are named, of those that no test reaches.
const NAMED: usize = 20;

/// Runs the tests of a configuration whose names hold the filter.
pub(super) fn test(arguments: &TestArguments, out: &mut dyn Write, colour: bool) -> Exit {
    let file = arguments.config();
    let read = offline(&file, ReadTests::Always, |_| Ok(()), arguments.format, out, colour);
    let Compiled { config, rulebook, mut tests, .. } = match read {
        Ok((compiled, ())) => compiled,
        Err(exit) => return exit,
    };
    let all = tests.len();
    let mut is_missed = false;
    if let Some(filter) = &arguments.filter {
        tests.retain(|test| test.name.contains(filter.as_str()) || test.place.file().contains(filter.as_str()));
        is_missed = tests.is_empty();
        if is_missed {
            complain(&format!("none of the {all} tests has `{filter}` in its name or its file's name"));
        }
    }
    let proof = prove(&rulebook, &config.auth.providers, &tests);
    let is_fine = proof.holds() && !is_missed;
    if let Some(path) = &arguments.junit
        && let Err(error) = write_junit(path, &proof)
    {
        complain(&format!("cannot write {}: {error}", path.display()));
        return Exit::Environment;
    }
    let written = match arguments.format {
        // That there is none has been said.
        Format::Human if is_missed => Ok(()),
        Format::Human => human(&proof, arguments.filter.is_some(), out, colour),
        Format::Json => writeln!(out, "{}", to_json(&proof, is_fine)).and_then(|()| out.flush()),
    };
    // A reader that has gone away has the exit code still.
    written.ok();
    if is_fine { Exit::Fine } else { Exit::AtFault }
}

fn write_junit(path: &Path, proof: &Proof) -> io::Result<()> {
    std::fs::write(path, junit::junit(proof))
}

fn human(proof: &Proof, is_filtered: bool, out: &mut dyn Write, colour: bool) -> io::Result<()> {
    let paint = |code: &'static str| if colour { code } else { "" };
    let (green, red, dim, off) = (paint("\x1b[32m"), paint("\x1b[31m"), paint("\x1b[2m"), paint("\x1b[0m"));
    let mut file = "";
    for test in &proof.tested {
        if test.file != file {
            file = &test.file;
            writeln!(out, "{file}")?;
        }
        let (word, accent) = if test.passed() { ("ok", green) } else { ("FAIL", red) };
        writeln!(out, "  {accent}{word:4}{off}  {}  {dim}{}{off}", test.name, duration(test.took))?;
        for difference in &test.differences {
            writeln!(out, "{}", indented(&difference.to_string()))?;
        }
    }
    if !proof.tested.is_empty() {
        writeln!(out)?;
    }
    let failed = proof.failed().count();
    let passed = format!("{} passed", counted(proof.passed(), "test", "tests"));
    let failures = if failed > 0 { format!(", {red}{failed} failed{off}") } else { String::new() };
    writeln!(out, "{passed}{failures}, in {}", duration(proof.took()))?;
    // With some of the tests left out, what they reach is no news.
    if !is_filtered && proof.routes > 0 {
        let reached = proof.routes - proof.unreached.len();
        write!(out, "{reached} of {} reached", counted(proof.routes, "route", "routes"))?;
        if !proof.unreached.is_empty() {
            let named: Vec<&str> = proof.unreached.iter().take(NAMED).map(String::as_str).collect();
            let more = if proof.unreached.len() > NAMED { ", ..." } else { "" };
            write!(out, "; not by any test: {}{more}", named.join(", "))?;
        }
        writeln!(out)?;
    }
    if proof.tested.is_empty() {
        writeln!(out, "there are no rule tests: write some to tests/*.yaml beside the configuration")?;
    }
    out.flush()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("      {line}")).collect::<Vec<_>>().join("\n")
}

fn to_json(proof: &Proof, is_fine: bool) -> serde_json::Value {
    let test = |test: &Tested| {
        let differences: Vec<_> = test
            .differences
            .iter()
            .map(|difference| {
                json!({
                    "about": difference.about,
                    "place": difference.place,
                    "expected": difference.expected,
                    "got": difference.got,
                    "notes": difference.notes,
                })
            })
            .collect();
        json!({
            "name": test.name,
            "file": test.file,
            "line": test.line,
            "passed": test.passed(),
            "took_us": test.took.as_micros(),
            "differences": differences,
        })
    };
    json!({
        "ok": is_fine,
        "passed": proof.passed(),
        "failed": proof.failed().count(),
        "took_us": proof.took().as_micros(),
        "routes": proof.routes,
        "unreached": proof.unreached,
        "tests": proof.tested.iter().map(test).collect::<Vec<_>>(),
    })
}

fn duration(took: Duration) -> String {
    match took.as_micros() {
        micros @ 0..1_000 => format!("{micros} µs"),
        micros @ 1_000..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        micros => format!("{} ms", micros / 1_000),
    }
}
