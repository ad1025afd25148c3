use std::fs;
use std::path::Path;

use super::*;

/// A configuration with nothing wrong, to which a case adds.
const BASE: &str = "\
event: { payload: data, tenant: data.tenant_id }
auth: { providers: [{ tokens: { t0ken: { user: 1, tenant: acme, role: manager } } }] }
routes: [{ name: all, to: { tenant: true } }]
";

fn environment(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some("hunter2".to_owned()),
        "PORT" => Some("8081".to_owned()),
        "LISTEN" => Some("hunter2:x".to_owned()),
        "QUERY" => Some("hunter2_query".to_owned()),
        "OPEN" => Some("{hunter2".to_owned()),
        "YES" => Some("true".to_owned()),
        "INJECT" => Some("x\ndemo: true".to_owned()),
        _ => None,
    }
}

/// Writes the files into a folder of their own, and loads the first.
fn load_files(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Loaded, LoadError>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let loaded = load(&ConfigFile::Disk(folder.path().join(files[0].0)), "host-1", &environment);
    (folder, loaded)
}

/// What is said of these files, for people.
fn said(files: &[(&str, &str)]) -> String {
    let (folder, loaded) = load_files(files);
    let diagnostics = match &loaded {
        Ok(loaded) => &loaded.warnings,
        Err(LoadError::Invalid(diagnostics)) => diagnostics,
        Err(error) => panic!("{error}"),
    };
    let mut out = Vec::new();
    diagnostics.render(&mut out, false).unwrap();
    let said = String::from_utf8(out).unwrap();
    let json = diagnostics.to_json().to_string();
    for secret in ["hunter2", "s3cret", "t0ken"] {
        assert!(!said.contains(secret), "a secret is shown:\n{said}");
        assert!(!json.contains(secret), "a secret is shown: {json}");
    }
    said.replace(&format!("{}/", folder.path().display()), "")
}

fn config(text: &str) -> Config {
    let (_, loaded) = load_files(&[("c.yaml", text)]);
    match loaded {
        Ok(loaded) => loaded.config,
        Err(LoadError::Invalid(_)) => panic!("{}", said(&[("c.yaml", text)])),
        Err(error) => panic!("{error}"),
    }
}

mod accepted;
mod amqp_tls;
mod anything;
mod bounds;
mod embedded_default;
mod faults;
mod including;
mod plugins;
mod reading;
mod rule_tests;
mod schema_agrees;
mod tls;
mod whole_language;
