//! Plugins.

use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use crate::config::Hook;
use crate::observe::LatencyHistogram;

#[derive(Debug)]
pub(super) struct ScriptMetrics {
    calls: Family<ByHook, Counter>,
    failures: Family<ByKind, Counter>,
    time: Family<ByPlugin, LatencyHistogram>,
    put_aside: Family<ByHook, Gauge>,
    quarantined: Family<ByPlugin, Counter>,
    memory: Family<ByPlugin, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPlugin {
    plugin: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByHook {
    plugin: String,
    hook: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    plugin: String,
    kind: &'static str,
}

/// What is counted of one plugin. Those of one name count together.
#[derive(Debug)]
pub struct ScriptMeter {
    plugin: String,
    failures: Family<ByKind, Counter>,
    /// By [`index`].
    calls: [Counter; 3],
    put_aside: [Gauge; 3],
    quarantined: Counter,
    time: LatencyHistogram,
    memory: Gauge,
}

impl ScriptMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self {
            calls: Family::default(),
            failures: Family::default(),
            time: Family::default(),
            put_aside: Family::default(),
            quarantined: Family::default(),
            memory: Family::default(),
        };
        r.register("plugin_calls", "Calls of this plugin, by hook", own.calls.clone());
        r.register(
            "plugin_failures",
            "Calls of this plugin that failed: error, budget, memory, lookup, or breaker while it is put aside",
            own.failures.clone(),
        );
        r.register_with_unit(
            "plugin_run",
            "Time that a run of this plugin takes its thread, from a call or an answer to its end or next question",
            Unit::Seconds,
            own.time.clone(),
        );
        r.register(
            "plugin_put_aside",
            "Tenants, or for authenticate addresses, for which a thread has put this hook of the plugin aside, because it failed again and again",
            own.put_aside.clone(),
        );
        r.register(
            "plugin_quarantined",
            "Calls of this plugin that ran beside the lane, for tenants for which it takes long",
            own.quarantined.clone(),
        );
        r.register_with_unit(
            "plugin_memory",
            "What the virtual machines of this plugin hold, all threads together",
            Unit::Bytes,
            own.memory.clone(),
        );
        own
    }
}

impl Metrics {
    /// Where a plugin is counted.
    pub fn script(&self, plugin: &str) -> ScriptMeter {
        let of = &self.scripts;
        let by_hook = |hook: Hook| ByHook { plugin: plugin.to_owned(), hook: hook.name() };
        let by_plugin = ByPlugin { plugin: plugin.to_owned() };
        let hooks = [Hook::Route, Hook::Authorize, Hook::Authenticate];
        ScriptMeter {
            plugin: plugin.to_owned(),
            failures: of.failures.clone(),
            calls: hooks.map(|hook| of.calls.get_or_create_owned(&by_hook(hook))),
            put_aside: hooks.map(|hook| of.put_aside.get_or_create_owned(&by_hook(hook))),
            quarantined: of.quarantined.get_or_create_owned(&by_plugin),
            time: of.time.get_or_create_owned(&by_plugin),
            memory: of.memory.get_or_create_owned(&by_plugin),
        }
    }
}

impl ScriptMeter {
    /// A call of this hook.
    pub fn call(&self, hook: Hook) {
        self.calls[index(hook)].inc();
    }

    /// A call that failed: `error`, `budget`, `memory`, `lookup`, `breaker`.
    pub fn failure(&self, kind: &'static str) {
        self.failures.get_or_create_owned(&ByKind { plugin: self.plugin.clone(), kind }).inc();
    }

    /// How many calls have failed like this.
    pub fn failures(&self, kind: &'static str) -> u64 {
        self.failures.get_or_create_owned(&ByKind { plugin: self.plugin.clone(), kind }).get()
    }

    /// Runs the plugin, and answers how long that took.
    #[expect(clippy::disallowed_methods, reason = "an edge: what scripts take is told, and decides nothing")]
    pub fn timed<T>(&self, run: impl FnOnce() -> T) -> (T, Duration) {
        let begun = Instant::now();
        let came = run();
        let took = begun.elapsed();
        self.time.observe(took, 1);
        (came, took)
    }

    /// A call that does not run on the lane.
    pub fn quarantined(&self) {
        self.quarantined.inc();
    }

    /// How many have not run on the lane.
    pub fn is_quarantined(&self) -> u64 {
        self.quarantined.get()
    }

    /// In one thread more, or less, this hook is put aside.
    pub fn put_aside(&self, hook: Hook, change: i64) {
        self.put_aside[index(hook)].inc_by(change);
    }

    /// In how many threads this hook is put aside.
    pub fn is_put_aside(&self, hook: Hook) -> i64 {
        self.put_aside[index(hook)].get()
    }

    /// Bytes that all its machines hold.
    pub fn held(&self) -> i64 {
        self.memory.get()
    }

    /// A machine of it that held so many bytes now holds so many.
    pub fn memory(&self, held: usize, holds: usize) {
        let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.memory.inc_by(signed(holds) - signed(held));
    }
}

fn index(hook: Hook) -> usize {
    match hook {
        Hook::Route => 0,
        Hook::Authorize => 1,
        Hook::Authenticate => 2,
    }
}
