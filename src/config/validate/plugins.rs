//! The `plugins` section, and what rules call of it: each file is read once, whatever number of rules name it.

use std::path::PathBuf;
use std::time::Duration;

use compact_str::CompactString;
use serde_json::json;

use super::{Queries, or};
use crate::config::diagnostics::Diagnostics;
use crate::config::files::{Files, plain};
use crate::config::lua;
use crate::config::model::{
    Breaker, Hook, PluginFile, PluginId, PluginSite, Plugins, Provider, Reload, ScriptCall, ScriptProvider,
};
use crate::config::place::Place;
use crate::config::raw::{At, Field, FileName, RawParameters, RawPlugins, RawReload, RawScriptProvider};

/// A call that takes longer holds up all that its thread decides.
const LONG_BUDGET: Duration = Duration::from_millis(100);
/// No call may take longer.
const LONGEST_BUDGET: Duration = Duration::from_secs(10);

/// The plugins that rules have named so far.
pub(super) struct Registry<'f> {
    files: &'f mut Files,
    dir: Dir,
    known: Vec<Known>,
}

/// Where plugins are.
enum Dir {
    /// Beside the file that names them.
    Beside,
    /// In this folder.
    Given(PathBuf),
    /// Nobody can tell: what the configuration says of it is faulty.
    Unknown,
}

/// A plugin's file, once it has been asked for.
struct Known {
    /// Its path without detours: two names of one file are one plugin.
    identity: PathBuf,
    /// `None` where it could not be read, which was reported: who names it too goes without.
    file: Option<PluginFile>,
}

pub(super) fn reload(raw: &Field<RawReload>) -> Reload {
    let Some(raw) = raw.value() else { return Reload::default() };
    let default = Reload::default();
    Reload { watch: or(&raw.watch, default.watch), tests: or(&raw.tests, default.tests) }
}

impl<'f> Registry<'f> {
    pub(super) fn new(raw: &Field<RawPlugins>, files: &'f mut Files) -> Self {
        let dir = match raw {
            Field::Missing => Dir::Beside,
            Field::Faulty => Dir::Unknown,
            Field::Given(at) => match &at.value.dir {
                Field::Missing => Dir::Beside,
                Field::Faulty => Dir::Unknown,
                Field::Given(dir) => Dir::Given(Files::beside_text(dir)),
            },
        };
        Self { files, dir, known: Vec::new() }
    }

    /// The files, for what of `auth` is no plugin.
    pub(super) fn files(&mut self) -> &mut Files {
        self.files.enter("auth");
        self.files
    }

    /// A rule's call of a plugin's hook.
    pub(super) fn call(
        &mut self,
        script: &At<FileName>,
        with: &Field<RawParameters>,
        hook: Hook,
        diagnostics: &mut Diagnostics,
    ) -> Option<ScriptCall> {
        let index = self.plugin(script, diagnostics)?;
        let parameters = match with {
            Field::Missing => json!({}),
            Field::Faulty => return None,
            Field::Given(with) => with.value.0.clone(),
        };
        let id = u16::try_from(index).ok().map(PluginId);
        let Some(plugin) = id else {
            diagnostics.error(&script.place, format!("more than {} plugins", u16::MAX));
            return None;
        };
        let file = self.known[index].file.as_mut()?;
        file.sites.push(PluginSite { hook, with: parameters, place: script.place.clone() });
        Some(ScriptCall { plugin, site: file.sites.len() - 1 })
    }

    /// A plugin that is asked for tokens.
    pub(super) fn provider(&mut self, raw: &At<RawScriptProvider>, diagnostics: &mut Diagnostics) -> Option<Provider> {
        let RawScriptProvider { plugin, with, cache } = &raw.value;
        let call = self.call(plugin.given()?, with, Hook::Authenticate, diagnostics)?;
        let cache = cache.value().map(|span| span.0).filter(|ttl| !ttl.is_zero());
        Some(Provider::Script(ScriptProvider { call, cache }))
    }

    /// All plugins that were named, and what they may cost. What they ask is held against the queries.
    pub(super) fn finish(
        self,
        raw: &Field<RawPlugins>,
        queries: &Queries,
        diagnostics: &mut Diagnostics,
    ) -> Option<Plugins> {
        for file in self.known.iter().filter_map(|known| known.file.as_ref()) {
            hold_against(queries, file, diagnostics);
        }
        let limits = limits(raw, diagnostics);
        let files: Option<Vec<_>> = self.known.into_iter().map(|known| known.file).collect();
        Some(Plugins { files: files?, ..limits? })
    }

    /// Where a plugin is among those that are known.
    fn plugin(&mut self, script: &At<FileName>, diagnostics: &mut Diagnostics) -> Option<usize> {
        let name = &script.value.text;
        if name.trim().is_empty() {
            diagnostics.error(&script.place, "`script` names no file").help("write the name of a Lua file: tasks.lua");
            return None;
        }
        let path = match &self.dir {
            Dir::Given(dir) => dir.join(name),
            Dir::Beside => Files::beside(script),
            Dir::Unknown => return None,
        };
        let identity = plain(&path);
        if let Some(index) = self.known.iter().position(|known| known.identity == identity) {
            return self.known[index].file.is_some().then_some(index);
        }
        self.files.enter("plugins");
        let source = self.files.read_script(path, script, diagnostics);
        let name: CompactString = name.as_str().into();
        let is_taken = self.known.iter().filter_map(|known| known.file.as_ref()).any(|file| file.name == name);
        let name = if is_taken { identity.to_string_lossy().as_ref().into() } else { name };
        self.known.push(Known { identity, file: source.map(|source| PluginFile::new(name, source)) });
        self.known.last()?.file.is_some().then_some(self.known.len() - 1)
    }
}

/// Holds what a plugin asks against the queries that there are: names that it writes out, and names that it is handed.
fn hold_against(queries: &Queries, file: &PluginFile, diagnostics: &mut Diagnostics) {
    let lua::Lookups { named, others } = lua::lookups(file.text());
    let of_a_tenant = |hook: Hook| hook != Hook::Authenticate;
    for lookup in named {
        let place = file.place(lookup.range);
        if !queries.knows(&lookup.name, &place, diagnostics) {
            continue;
        }
        let hooks = || file.sites.iter().map(|site| site.hook);
        if hooks().any(of_a_tenant) {
            queries.warn_of_leak(&lookup.name, &place, diagnostics);
        } else {
            queries.warn_of_no_tenant_yet(&lookup.name, &place, diagnostics);
        }
    }
    for site in file.sites.iter().filter(|site| others && of_a_tenant(site.hook)) {
        for name in site.texts() {
            queries.warn_of_leak(name, &site.place, diagnostics);
        }
    }
}

/// What plugins may cost. The files are none yet.
fn limits(raw: &Field<RawPlugins>, diagnostics: &mut Diagnostics) -> Option<Plugins> {
    let default = Plugins::default();
    let raw = match raw {
        Field::Missing => return Some(default),
        Field::Faulty => return None,
        Field::Given(raw) => &raw.value,
    };
    let budget = raw.budget.value().map_or(default.budget, |span| span.0);
    if let Some(given) = raw.budget.given() {
        if budget > LONGEST_BUDGET {
            let message = format!("`{}` is too long: at most {LONGEST_BUDGET:?}", given.place.shown());
            diagnostics.error(&given.place, message).help("a plugin decides one event, while others wait");
            return None;
        }
        if budget > LONG_BUDGET {
            let message = "one call that takes so long holds up the events of many tenants";
            diagnostics
                .warning(&given.place, message)
                .help("10ms is long for a plugin; ask a query for what takes time");
        }
    }
    let breaker = raw.breaker.value();
    let failures = breaker.and_then(|breaker| breaker.failures.value());
    let retry = breaker.and_then(|breaker| breaker.retry.value());
    Some(Plugins {
        files: Vec::new(),
        budget,
        memory: raw.memory.value().map_or(default.memory, |size| size.0),
        breaker: Breaker {
            failures: failures.map_or(default.breaker.failures, |number| u32::try_from(number.0).unwrap_or(u32::MAX)),
            retry: retry.map_or(default.breaker.retry, |span| span.0),
        },
    })
}

/// `with` and `on_error` say something where there is a script.
pub(super) fn belongs_to_script<T>(field: &Field<T>, name: &str, diagnostics: &mut Diagnostics) {
    let place: Option<&Place> = field.given().map(|at| &at.place);
    if let Some(place) = place {
        diagnostics.error(place, format!("`{name}` belongs to `script`, and there is none"));
    }
}
