//! One plugin in one thread: its machine, and what is told of it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::observe::{Metrics, ScriptMeter, Throttle};
use crate::reload::{Generation, Rulebook};
use crate::route::script::{LogLine, LogSink, Plugin, ScriptError, Step, Vm};

/// Lines of one plugin that a thread logs in a second.
const LINES: u64 = 100;
/// After so many runs it is looked again how much memory a machine holds.
const WEIGHED_EVERY: u32 = 64;

/// A plugin's machine.
pub(crate) struct Guest {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) generation: Generation,
    log: LogSink,
    /// None where it could not be made, or had no memory left: the next call makes it anew.
    vm: Option<Vm>,
    pub(crate) meter: ScriptMeter,
    runs: u32,
    /// Bytes that were counted for it.
    weighed: usize,
}

impl Guest {
    /// A plugin of this rulebook, without a machine yet.
    pub(crate) fn new(plugin: &Arc<Plugin>, rulebook: &Rulebook, metrics: &Metrics) -> Self {
        Self {
            plugin: Arc::clone(plugin),
            generation: rulebook.generation,
            log: log_sink(rulebook.generation),
            vm: None,
            meter: metrics.script(&plugin.name),
            runs: 0,
            weighed: 0,
        }
    }

    /// Makes its machine, where there is none.
    pub(crate) fn prepare(&mut self) -> Result<(), ScriptError> {
        made(&mut self.vm, &self.plugin, &self.log)?;
        self.weigh();
        Ok(())
    }

    /// Begins a call. Says too how long it took by the clock on the wall.
    pub(crate) fn begin<T>(&mut self, run: impl FnOnce(&Vm) -> Step<T>) -> (Step<T>, Duration) {
        let came = self.meter.timed(|| match made(&mut self.vm, &self.plugin, &self.log) {
            Ok(vm) => run(vm),
            Err(error) => Step::Done(Err(error)),
        });
        self.has_run();
        came
    }

    /// Goes on with a call.
    pub(crate) fn go_on<S>(&mut self, run: impl FnOnce() -> S) -> (S, Duration) {
        let came = self.meter.timed(run);
        self.has_run();
        came
    }

    fn has_run(&mut self) {
        if self.vm.as_ref().is_some_and(Vm::is_spent) {
            let (plugin, generation) = (self.plugin.name.as_str(), self.generation.0);
            tracing::warn!(plugin, generation, "a plugin has used up its memory: its VM is replaced");
            self.vm = None;
        }
        self.runs = self.runs.wrapping_add(1);
        if self.runs % WEIGHED_EVERY == 1 || self.vm.is_none() {
            self.weigh();
        }
    }

    /// Brings the metric of its memory up to date.
    fn weigh(&mut self) {
        let holds = self.vm.as_ref().map_or(0, Vm::used_memory);
        self.meter.memory(self.weighed, holds);
        self.weighed = holds;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.meter.memory(self.weighed, 0);
    }
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("plugin", &self.plugin.name).finish_non_exhaustive()
    }
}

/// A machine, which is made where there is none.
fn made<'m>(vm: &'m mut Option<Vm>, plugin: &Arc<Plugin>, log: &LogSink) -> Result<&'m Vm, ScriptError> {
    let there = match vm.take() {
        Some(there) => there,
        None => Vm::new(plugin, log)?,
    };
    Ok(vm.insert(there))
}

/// What a plugin logs, as lines of the program's log.
fn log_sink(generation: Generation) -> LogSink {
    let throttle = Throttle::of(LINES, Duration::from_secs(1));
    Rc::new(move |plugin: &Plugin, line: LogLine| {
        let Some(left_out) = throttle.admit() else { return };
        let LogLine { is_warning, line, text } = line;
        let (plugin, generation) = (plugin.name.as_str(), generation.0);
        if is_warning {
            tracing::warn!(plugin, line, generation, left_out, "{text}");
        } else {
            tracing::info!(plugin, line, generation, left_out, "{text}");
        }
    })
}
