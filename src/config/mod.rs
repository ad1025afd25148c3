//! From files to a validated configuration: raw (the file, mirrored) → validate → model.
//!
//! Reading goes by stages, each in its file: bytes (`files`), a tree that knows its places (`yaml`), variables filled in
//! (`variables`), several files made one (`include`), sections (`raw`), everything resolved (`validate`).
//!
//! Invariant: a [`Config`] exists only where nothing is wrong. All that is wrong is said at once.

mod diagnostics;
mod file;
mod files;
mod include;
mod lua;
mod model;
mod node;
mod place;
mod raw;
mod reading;
mod rule_tests;
mod situation;
mod validate;
mod variables;
mod yaml;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

pub use self::diagnostics::{Diagnostic, Diagnostics, Severity};
pub(crate) use self::diagnostics::{did_you_mean, similar};
pub use self::file::{ConfigFile, embedded};
use self::files::Files;
pub use self::model::*;
use self::node::Kind;
pub use self::place::Place;
use self::raw::{At, FromNode, RawConfig};
pub use self::reading::{LoadedFile, Sections, Watch};
pub use self::situation::{Given, Situation, situation};

/// A configuration that can come into force.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// What is probably not meant so.
    pub warnings: Diagnostics,
    /// All files that it was read from, the main one first.
    pub files: Vec<LoadedFile>,
    /// Tells this content of all files from any other: 16 hexadecimal digits.
    pub hash: String,
    /// Tells its sections from those of another reading.
    pub sections: Sections,
    /// The rule tests, by file: those beside the main file first, then those beside plugins. None where `reload.tests`
    /// is false.
    pub tests: Vec<RuleTest>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The main file cannot be read, or the system is short of what it takes to read this file.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was read is no valid configuration: at least one of these is an error.
    #[error("the configuration has {} error{}", .0.errors(), if .0.errors() == 1 { "" } else { "s" })]
    Invalid(Diagnostics),
}

/// One reading of a configuration, whatever came of it.
#[derive(Debug)]
pub struct Attempt {
    /// The configuration, or why there is none.
    pub result: Result<Loaded, LoadError>,
    /// What was looked at: while none of it changes, another attempt comes to the same.
    pub watch: Watch,
    /// Tells what was read from what another attempt read: 16 hexadecimal digits, those of [`Loaded::hash`].
    pub hash: String,
}

/// Whether rule tests are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadTests {
    /// Where the configuration does not say `reload.tests: false`.
    AsConfigured,
    /// In any case.
    Always,
}

/// Reads a configuration and all that it includes. `instance` is what `{instance}` in queues' names stands for;
/// `environment` answers what `${NAME}` holds.
///
/// Nothing but files is touched: no database, no broker, no listener.
pub fn load(
    file: &ConfigFile,
    instance: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, LoadError> {
    attempt(file, instance, environment, ReadTests::AsConfigured).result
}

/// As [`load`], and says what was looked at, so that a change of it can be noticed even where it was no configuration.
pub fn attempt(
    file: &ConfigFile,
    instance: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    tests: ReadTests,
) -> Attempt {
    let mut diagnostics = Diagnostics::default();
    let mut files = Files::of(file);
    let reading = read(file, instance, environment, tests, &mut files, &mut diagnostics);
    let diagnostics = diagnostics.finish();
    let (watch, hash) = (files.watch(), files.hash());
    if let Some((path, source)) = files.postponed() {
        return Attempt { result: Err(LoadError::Unreadable { path, source }), watch, hash };
    }
    let result = match reading {
        Err(source) => {
            let path = match file {
                ConfigFile::Disk(path) => path.clone(),
                ConfigFile::Embedded => PathBuf::from(file.to_string()),
            };
            Err(LoadError::Unreadable { path, source })
        }
        Ok(Some(Reading { config, sections, tests })) if diagnostics.errors() == 0 => {
            Ok(Loaded { config, warnings: diagnostics, files: files.read(), hash: hash.clone(), sections, tests })
        }
        Ok(_) => Err(LoadError::Invalid(diagnostics)),
    };
    Attempt { result, watch, hash }
}

/// The JSON Schema of a configuration file, for editors.
pub fn schema() -> serde_json::Value {
    raw::root_schema()
}

/// The JSON Schema of a file of rule tests.
pub fn tests_schema() -> serde_json::Value {
    raw::tests_schema()
}

/// What was read.
struct Reading {
    config: Config,
    sections: Sections,
    tests: Vec<RuleTest>,
}

/// `Err` where the main file cannot be read; `None` where something is wrong, which is then reported.
fn read(
    file: &ConfigFile,
    instance: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    tests: ReadTests,
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> io::Result<Option<Reading>> {
    let Some(source) = files.read_main(file, diagnostics)? else { return Ok(None) };
    let Some(mut root) = yaml::parse(&source, diagnostics) else { return Ok(None) };
    variables::expand(&mut root, environment, diagnostics);
    let whole = include::include(&mut root, files, environment, diagnostics);
    // An empty file lacks everything, and is told what.
    if !matches!(root.kind, Kind::Map(_)) && !root.is_null() {
        raw::hide(&root, diagnostics);
        let message = format!("expected a map of sections, found {}", root.what());
        diagnostics.error(&root.place, message).help("start with `event:`, `auth:` and `routes:`");
        return Ok(None);
    }
    let Some(mut raw) = At::<RawConfig>::read(&root, diagnostics) else { return Ok(None) };
    if !whole {
        raw.value.expect_more();
    }
    let mut sections = Sections::of(&root);
    let config = validate::validate(&raw.value, &raw.place, instance, files, diagnostics);
    let asked = tests == ReadTests::Always || raw.value.asks_for_tests();
    let tests = if asked { rule_tests::read(file, config.as_ref(), files, diagnostics) } else { Vec::new() };
    files.add_to(&mut sections);
    Ok(config.map(|config| Reading { config, sections, tests }))
}
