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
mod model;
mod node;
mod place;
mod raw;
mod validate;
mod variables;
mod yaml;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

pub use self::diagnostics::{Diagnostic, Diagnostics, Severity};
pub use self::file::{ConfigFile, embedded};
use self::files::Files;
pub use self::model::*;
use self::node::Kind;
pub use self::place::Place;
use self::raw::{At, FromNode, RawConfig};

/// A configuration that can come into force.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// What is probably not meant so.
    pub warnings: Diagnostics,
    /// All files that it was read from, the main one first.
    pub files: Vec<PathBuf>,
    /// Tells this content of all files from any other: 16 hexadecimal digits.
    pub hash: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The main file cannot be read.
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

/// Reads a configuration and all that it includes. `instance` is what `{instance}` in queues' names stands for;
/// `environment` answers what `${NAME}` holds.
///
/// Nothing but files is touched: no database, no broker, no listener.
pub fn load(
    file: &ConfigFile,
    instance: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, LoadError> {
    let mut diagnostics = Diagnostics::default();
    let mut files = Files::of(file);
    let config = read(file, instance, environment, &mut files, &mut diagnostics).map_err(|source| {
        let path = match file {
            ConfigFile::Disk(path) => path.clone(),
            ConfigFile::Embedded => PathBuf::from(file.to_string()),
        };
        LoadError::Unreadable { path, source }
    })?;
    let diagnostics = diagnostics.finish();
    match config {
        Some(config) if diagnostics.errors() == 0 => {
            let hash = files.hash();
            Ok(Loaded { config, warnings: diagnostics, files: files.into_paths(), hash })
        }
        _ => Err(LoadError::Invalid(diagnostics)),
    }
}

/// The JSON Schema of a configuration file, for editors.
pub fn schema() -> serde_json::Value {
    raw::root_schema()
}

/// `Err` where the main file cannot be read; `None` where something is wrong, which is then reported.
fn read(
    file: &ConfigFile,
    instance: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> io::Result<Option<Config>> {
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
    Ok(validate::validate(&raw.value, &raw.place, instance, files, diagnostics))
}
