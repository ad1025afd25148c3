//! Plugins: Lua files that rules name, and what is handed to them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

use crate::config::place::{Place, SourceFile};

/// The plugins of a configuration, and what they may cost.
#[derive(Clone, Debug)]
pub struct Plugins {
    /// The files, by [`PluginId`]: each that a rule names, once.
    pub files: Vec<PluginFile>,
    /// CPU time of one call at most.
    pub budget: Duration,
    /// Bytes of one plugin's memory at most, in one thread.
    pub memory: usize,
    /// When a plugin that fails is put aside.
    pub breaker: Breaker,
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            budget: Duration::from_millis(10),
            memory: 8 << 20,
            breaker: Breaker { failures: 20, retry: Duration::from_secs(10) },
        }
    }
}

/// When a plugin that fails is put aside, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// After so many failures in a row. At least 1.
    pub failures: u32,
    /// For so long. Then one call tries it again.
    pub retry: Duration,
}

/// A plugin of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginId(pub u16);

/// One plugin's file, as it was read.
#[derive(Clone)]
pub struct PluginFile {
    /// What it is called in messages, logs and metrics: its path as rules name it, such as `tasks.lua`.
    pub name: CompactString,
    /// Where rules call it, by [`ScriptCall::site`].
    pub sites: Vec<PluginSite>,
    file: Arc<SourceFile>,
}

/// A place in the configuration that calls a plugin.
#[derive(Clone)]
pub struct PluginSite {
    /// Which of its hooks.
    pub hook: Hook,
    /// What it is handed: `with`, or an empty object.
    pub with: serde_json::Value,
    /// Where that stands.
    pub place: Place,
}

/// What a plugin can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// Who gets an event.
    Route,
    /// Whether a session may subscribe to a topic.
    Authorize,
    /// Whose token it is.
    Authenticate,
}

/// A rule's call of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptCall {
    /// Which one.
    pub plugin: PluginId,
    /// Which of the plugin's sites: what it is handed.
    pub site: usize,
}

/// What becomes of an event when a plugin fails on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The route decides, and nobody gets the event by it.
    #[default]
    Drop,
    /// As though the route did not hold: the next one is tried.
    Next,
}

impl Plugins {
    /// Whether whoever is called by this hook is the same in both: the files' texts, what they are handed, and what they
    /// may cost.
    pub fn same(&self, other: &Self, hook: Hook) -> bool {
        let called = |plugins: &Self| -> Vec<(CompactString, String, Vec<serde_json::Value>)> {
            let each = |file: &PluginFile| {
                let handed: Vec<_> = file.sites_of(hook).map(|site| site.with.clone()).collect();
                (!handed.is_empty()).then(|| (file.name.clone(), file.text().to_owned(), handed))
            };
            plugins.files.iter().filter_map(each).collect()
        };
        let (mine, others) = (called(self), called(other));
        let limits = |plugins: &Self| (plugins.budget, plugins.memory, plugins.breaker);
        mine == others && (mine.is_empty() || limits(self) == limits(other))
    }
}

impl PluginSite {
    /// The texts that stand in what the plugin is handed, one level deep: names of queries, it may be.
    pub(in crate::config) fn texts(&self) -> impl Iterator<Item = &str> {
        self.with.as_object().into_iter().flat_map(serde_json::Map::values).filter_map(serde_json::Value::as_str)
    }
}

impl Hook {
    /// Its name in a plugin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Authorize => "authorize",
            Self::Authenticate => "authenticate",
        }
    }
}

impl PluginFile {
    /// A plugin that was read from this file.
    pub(in crate::config) fn new(name: CompactString, file: Arc<SourceFile>) -> Self {
        Self { name, sites: Vec::new(), file }
    }

    /// A plugin of this text that stands in no file: for benchmarks and tests.
    pub fn of_text(name: &str, text: &str) -> Self {
        Self::new(name.into(), SourceFile::new(name.into(), name.to_owned(), text.to_owned()))
    }

    /// Has a rule call one of its hooks. Answers the site.
    pub fn call(&mut self, hook: Hook, with: serde_json::Value) -> usize {
        self.sites.push(PluginSite { hook, with, place: self.line(1) });
        self.sites.len() - 1
    }

    /// Where it is on the disk.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Where rules call this hook of it.
    pub fn sites_of(&self, hook: Hook) -> impl Iterator<Item = &PluginSite> {
        self.sites.iter().filter(move |site| site.hook == hook)
    }

    /// Its text.
    pub fn text(&self) -> &str {
        self.file.text()
    }

    /// The place of these bytes of it.
    pub(in crate::config) fn place(&self, range: std::ops::Range<usize>) -> Place {
        Place::new(&self.file, range)
    }

    /// One of its lines, counted from 1, for a diagnostic; the whole first one where there is no such line.
    pub fn line(&self, number: usize) -> Place {
        Place::new(&self.file, self.file.line(number.saturating_sub(1)))
    }
}

/// What a plugin is handed may come from the environment, and be a secret.
impl std::fmt::Debug for PluginSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { hook, with: _, place } = self;
        f.debug_struct("PluginSite").field("hook", hook).field("place", place).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for PluginFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginFile").field("name", &self.name).field("sites", &self.sites).finish_non_exhaustive()
    }
}
