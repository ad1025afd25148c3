//! A rulebook for commands that run nothing: from files, with no database behind its queries.

use std::io::Write;
use std::sync::Arc;

use super::{Exit, check};
use crate::config::{self, Config, ConfigFile, Diagnostics, LoadError, Loaded, Provider, ReadTests, RuleTest};
use crate::reload::{Generation, Queries, Rulebook, Rules};

/// What the files come to.
pub(super) struct Offline {
    pub(super) rulebook: Rulebook,
    /// For tests of tokens.
    pub(super) providers: Vec<Provider>,
    /// The rule tests.
    pub(super) tests: Vec<RuleTest>,
}

/// Reads a configuration, and hands what else is made of it to `more`. What is wrong is said on `out`.
pub(super) fn offline<T>(
    file: &ConfigFile,
    tests: ReadTests,
    more: impl FnOnce(&Config) -> Result<T, Diagnostics>,
    out: &mut dyn Write,
    colour: bool,
) -> Result<(Offline, T), Exit> {
    let read = config::attempt(file, "offline", &|name| std::env::var(name).ok(), tests).result;
    let made = read.and_then(|loaded| {
        let more = more(&loaded.config).map_err(LoadError::Invalid)?;
        Ok((compile(loaded).map_err(LoadError::Invalid)?, more))
    });
    made.map_err(|error| check::refuse(file, error, out, colour))
}

fn compile(loaded: Loaded) -> Result<Offline, Diagnostics> {
    let Loaded { config, tests, .. } = loaded;
    let Config { event, routes, topics, plugins, auth, database, .. } = config;
    let queries = database.map_or_else(Arc::default, |database| Arc::from(database.queries));
    let queries = Arc::new(Queries { epoch: 0, queries, lookups: None });
    let rules = Rules { event, routes, topics, plugins };
    let rulebook = Rulebook::compile(Generation(1), rules, queries)?;
    Ok(Offline { rulebook, providers: auth.providers, tests })
}
