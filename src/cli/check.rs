//! `pointsman check`: whether a configuration could come into force. Touches nothing but its files.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::ways::Ways;
use super::{Exit, Format};
use crate::config::{Config, ConfigFile, Diagnostics, ReadTests};
use crate::explain::words::counted;
use crate::reload::{Origin, Refusal};

/// What is known of a configuration.
struct Verdict {
    exit: Exit,
    diagnostics: Diagnostics,
    /// How its rules decide, where it is fine.
    ways: Option<Ways>,
    line: String,
}

/// Says what is wrong with a configuration, and whether it could come into force.
pub(super) fn check(file: &ConfigFile, format: Format, out: &mut dyn Write, colour: bool) -> Exit {
    let environment = |name: &str| std::env::var(name).ok();
    let origin = Origin { file: file.clone(), instance: "check".into(), environment };
    let verdict = match origin.compile(ReadTests::AsConfigured) {
        Ok(loaded) => Verdict {
            exit: Exit::Fine,
            line: format!("{file} is fine: {}", contents(&loaded.config, &loaded.warnings)),
            ways: Some(Ways::of(&loaded.config)),
            diagnostics: loaded.warnings,
        },
        Err(refusal) => refused(file, refusal),
    };
    let written = match format {
        Format::Human => human(&verdict, out, colour),
        Format::Json => json(&to_json(&verdict), out),
    };
    // A reader that has gone away has the exit code still.
    written.ok();
    verdict.exit
}

/// Says on `out` why a configuration does not come into force: to programs what [`check`] says, and `error` in one line.
pub(super) fn refuse(file: &ConfigFile, refusal: Refusal, format: Format, out: &mut dyn Write, colour: bool) -> Exit {
    if let (Refusal::Tests(proof), Format::Human) = (&refusal, format) {
        for failed in proof.failed() {
            // Whoever does not read it has the exit code still.
            writeln!(out, "{failed}\n").ok();
        }
    }
    let verdict = refused(file, refusal);
    let written = match format {
        Format::Human => human(&verdict, out, colour),
        Format::Json => {
            let mut said = to_json(&verdict);
            said["error"] = verdict.line.as_str().into();
            json(&said, out)
        }
    };
    written.ok();
    verdict.exit
}

fn refused(file: &ConfigFile, refusal: Refusal) -> Verdict {
    let exit = if refusal.is_about_the_files() { Exit::AtFault } else { Exit::Environment };
    match refusal {
        Refusal::Invalid(diagnostics) | Refusal::Plugins(diagnostics) => {
            Verdict { exit, ways: None, line: format!("{file}: {}", faults(&diagnostics)), diagnostics }
        }
        refusal => Verdict { exit, ways: None, line: refusal.to_string(), diagnostics: Diagnostics::default() },
    }
}

fn human(verdict: &Verdict, out: &mut dyn Write, colour: bool) -> io::Result<()> {
    verdict.diagnostics.render(out, colour)?;
    if let Some(ways) = &verdict.ways {
        ways.human(out)?;
    }
    writeln!(out, "{}", verdict.line)?;
    out.flush()
}

fn json(said: &Value, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{said}")?;
    out.flush()
}

fn to_json(verdict: &Verdict) -> Value {
    let mut diagnostics = verdict.diagnostics.to_json();
    if let (Exit::Environment, Some(list)) = (verdict.exit, diagnostics.as_array_mut()) {
        list.push(json!({ "severity": "error", "message": verdict.line }));
    }
    let mut said = json!({ "ok": verdict.exit == Exit::Fine, "diagnostics": diagnostics });
    if verdict.diagnostics.left_out() > 0 {
        said["diagnostics_left_out"] = json!(verdict.diagnostics.left_out());
    }
    if let Some(ways) = &verdict.ways {
        ways.add_to(&mut said);
    }
    said
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: &str, format: Format) -> (u8, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.yaml");
        std::fs::write(&path, text).unwrap();
        let mut out = Vec::new();
        let status = check(&ConfigFile::Disk(path), format, &mut out, false);
        (status.code(), String::from_utf8(out).unwrap().replace(&format!("{}/", folder.path().display()), ""))
    }

    const FINE_TEXT: &str = "event: { tenant: t }\n\
        auth: { providers: [{ tokens: { a: { user: 1, tenant: x } } }] }\n\
        routes: [{ name: a, to: everyone }, { name: b, to: everyone }]\n";

    #[test]
    fn the_verdict_says_what_there_is() {
        let (status, said) = check_text(FINE_TEXT, Format::Human);
        assert_eq!(status, 0);
        assert!(said.starts_with("warning: never tried"), "{said}");
        assert!(said.ends_with("\nx.yaml is fine: 2 routes, 0 topic rules, 0 queries, 1 warning\n"), "{said}");
        let (status, said) = check_text(&format!("{FINE_TEXT}demo: 1\ndrain: x\n"), Format::Human);
        assert_eq!(status, 1);
        assert!(said.ends_with("\nx.yaml: 2 errors, 1 warning\n"), "{said}");
    }

    #[test]
    fn it_says_how_each_rule_decides() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.yaml");
        let text = "event: { tenant: t }\n\
            auth: { providers: [{ tokens: { a: { user: 1, tenant: x } } }, { script: a.lua }, { script: c.lua }] }\n\
            database: { url: \"sqlite::memory:\", queries: { q: { sql: \"SELECT 1 WHERE 1 = :tenant\" } } }\n\
            topics: [{ match: \"deal:{id}\", allow: { query: q } }, { match: b, script: b.lua }]\n\
            routes: [{ name: \"a\\tb\", when: { x: 1 }, script: a.lua }, { name: c, to: everyone }]\n";
        std::fs::write(&path, text).unwrap();
        let plugin = "return { route = function() lookup('q') end, authorize = function() return true end,\n\
            authenticate = function() end }";
        std::fs::write(folder.path().join("a.lua"), plugin).unwrap();
        std::fs::write(folder.path().join("c.lua"), "return { authenticate = function() end }").unwrap();
        std::fs::write(folder.path().join("b.lua"), plugin.replace("lookup('q')", "")).unwrap();
        let said = |format| {
            let mut out = Vec::new();
            assert_eq!(check(&ConfigFile::Disk(path.clone()), format, &mut out, false), Exit::Fine);
            String::from_utf8(out).unwrap().replace(&format!("{}/", folder.path().display()), "")
        };
        insta::assert_snapshot!(said(Format::Human).replace(char::REPLACEMENT_CHARACTER, "?"), @r"
        routes:
          a?b        script a.lua, which asks q
          c          fast path
        topics:
          deal:{id}  query q
          b          script b.lua
        providers:
          2          script a.lua, which asks q
          3          script c.lua
        x.yaml is fine: 2 routes, 2 topic rules, 1 query
        ");
        insta::assert_snapshot!(said(Format::Json), @r#"{"diagnostics":[],"ok":true,"providers":[{"number":2,"queries":["q"],"script":"a.lua","way":"script"},{"number":3,"queries":[],"script":"c.lua","way":"script"}],"routes":[{"name":"a\tb","queries":["q"],"script":"a.lua","way":"script"},{"name":"c","queries":[],"script":null,"way":"fast_path"}],"topics":[{"match":"deal:{id}","queries":["q"],"script":null,"way":"query"},{"match":"b","queries":[],"script":"b.lua","way":"script"}]}"#);
    }

    #[test]
    fn programs_get_one_object() {
        for (text, status, ok, count) in [(FINE_TEXT, 0, true, 1), ("a: [", 1, false, 1)] {
            let (found, said) = check_text(text, Format::Json);
            let said: serde_json::Value = serde_json::from_str(&said).unwrap();
            assert_eq!((found, said["ok"].as_bool()), (status, Some(ok)), "{said}");
            assert_eq!(said["diagnostics"].as_array().unwrap().len(), count, "{said}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_fault_of_the_configuration() {
        for format in [Format::Human, Format::Json] {
            let mut out = Vec::new();
            assert_eq!(check(&ConfigFile::Disk("/nowhere/x.yaml".into()), format, &mut out, false), Exit::Environment);
            assert!(String::from_utf8(out).unwrap().contains("cannot read /nowhere/x.yaml"));
        }
    }
}
