//! The virtual machines of a lane: one for each plugin that the rules of a generation call.
//!
//! Invariant: a machine serves one rulebook, and goes when nobody holds that rulebook any more. What it has kept is seen
//! by no other generation, and by no other lane.

use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::config::{Hook, PluginId, QueryId, ScriptCall};
use crate::event::{Event, TenantId, Topic};
use crate::observe::{Metrics, ScriptMeter, Throttle};
use crate::reload::{Generation, Rulebook};
use crate::route::script::{
    Breaker, Breakers, Change, Ending, EventView, LogLine, LogSink, Plugin, Routing, ScriptError, ScriptFailure, Step,
    Suspended, Vm,
};
use crate::route::{Answer, Scripts, SessionView};

/// Lines of one plugin that a lane logs in a second.
const LINES: u64 = 100;
/// How often it is looked whether generations have gone.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// After so many calls it is looked again how much memory a machine holds.
const WEIGHED_EVERY: u32 = 64;

/// The machines of a lane, by rulebook.
#[derive(Debug)]
pub(super) struct Machines {
    /// One, and for a short time after a change two or three.
    generations: Vec<OfRulebook>,
    swept: Option<Instant>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct OfRulebook {
    rulebook: Weak<Rulebook>,
    /// By [`PluginId`]: those that were called, or prepared.
    machines: Box<[Option<Machine>]>,
}

/// One plugin's machine.
struct Machine {
    plugin: Arc<Plugin>,
    generation: Generation,
    log: LogSink,
    /// None where it could not be made, or had no memory left: the next call makes it anew.
    vm: Option<Vm>,
    /// For events.
    route: Breaker,
    /// For what clients ask for, by their tenant: it puts aside neither events nor what other tenants' clients ask for.
    authorize: Breakers<TenantId>,
    meter: ScriptMeter,
    calls: u32,
    /// Bytes that were counted for it.
    weighed: usize,
}

/// The plugins of one rulebook, at this time.
#[derive(Debug)]
pub(super) struct OnMachines<'m> {
    machines: &'m mut Machines,
    rulebook: &'m Arc<Rulebook>,
    /// For whose clients; `None` for events.
    tenant: Option<&'m TenantId>,
    now: Instant,
}

impl Machines {
    /// None yet.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { generations: Vec::new(), swept: None, metrics }
    }

    /// Makes the machine of this plugin of a rulebook. An error says why it could not be made.
    pub(super) fn prepare(&mut self, rulebook: &Arc<Rulebook>, plugin: PluginId, now: Instant) -> Result<(), String> {
        self.sweep(now);
        let Some(machine) = self.machine(rulebook, plugin) else { return Ok(()) };
        let failed = |error| format!("the plugin `{}` cannot be prepared: {error}", machine.plugin.name);
        made(&mut machine.vm, &machine.plugin, &machine.log).map_err(failed)?;
        machine.weigh();
        Ok(())
    }

    /// The plugins of a rulebook, to be called now.
    pub(super) fn at<'m>(&'m mut self, rulebook: &'m Arc<Rulebook>, now: Instant) -> OnMachines<'m> {
        OnMachines { machines: self, rulebook, tenant: None, now }
    }

    /// When to look whether generations have gone that are not in force.
    pub(super) fn due(&self, in_force: &Weak<Rulebook>) -> Option<Instant> {
        let is_letting_go = self.generations.iter().any(OfRulebook::is_gone);
        let wait = if is_letting_go { Duration::ZERO } else { SWEEP_EVERY };
        let is_former = |of: &OfRulebook| !Weak::ptr_eq(&of.rulebook, in_force);
        (is_letting_go || self.generations.iter().any(is_former)).then_some(self.swept? + wait)
    }

    /// Lets go of a machine of a rulebook that nobody holds any more. Of one at a time: events go on between.
    pub(super) fn sweep(&mut self, now: Instant) {
        if let Some(at) = self.generations.iter().position(OfRulebook::is_gone) {
            let machines = &mut self.generations[at].machines;
            drop(machines.iter_mut().find_map(Option::take));
            if machines.iter().all(Option::is_none) {
                self.generations.remove(at);
            }
        }
        self.swept = Some(now);
    }

    /// `None` where the rulebook has no such plugin.
    fn machine(&mut self, rulebook: &Arc<Rulebook>, id: PluginId) -> Option<&mut Machine> {
        let known = self.generations.iter().position(|of| std::ptr::eq(of.rulebook.as_ptr(), Arc::as_ptr(rulebook)));
        let at = known.unwrap_or_else(|| {
            let machines = rulebook.plugins.iter().map(|_| None).collect();
            self.generations.push(OfRulebook { rulebook: Arc::downgrade(rulebook), machines });
            self.generations.len() - 1
        });
        let slot = self.generations[at].machines.get_mut(usize::from(id.0))?;
        let plugin = rulebook.plugins.get(usize::from(id.0))?;
        Some(slot.get_or_insert_with(|| Machine::new(plugin, rulebook, &self.metrics)))
    }
}

impl OfRulebook {
    fn is_gone(&self) -> bool {
        self.rulebook.strong_count() == 0
    }
}

impl<'m> OnMachines<'m> {
    /// To be called for clients of this tenant.
    pub(super) fn of(self, tenant: &'m TenantId) -> Self {
        Self { tenant: Some(tenant), ..self }
    }

    fn call<T>(&mut self, call: ScriptCall, hook: Hook, run: impl FnOnce(&Vm) -> Step<T>) -> Step<T> {
        let (now, tenant) = (self.now, self.tenant);
        // Some time from now on there may be something to let go of.
        self.machines.swept.get_or_insert(now);
        let Some(machine) = self.machines.machine(self.rulebook, call.plugin) else { return Step::Done(no_such()) };
        machine.meter.call(hook);
        let admitted = match tenant {
            None => machine.route.admit(now),
            Some(tenant) => machine.authorize.admit(tenant, now),
        };
        if !admitted {
            let message = format!("{} is put aside for a while, as it failed again and again", machine.plugin.name);
            machine.meter.failure(ScriptFailure::Breaker.name());
            return Step::Done(Err(ScriptError { kind: ScriptFailure::Breaker, line: None, message }));
        }
        let step = machine.meter.timed(|| match made(&mut machine.vm, &machine.plugin, &machine.log) {
            Ok(vm) => run(vm),
            Err(error) => Step::Done(Err(error)),
        });
        machine.came(&step, hook, tenant, now);
        step
    }

    fn resume<T>(&mut self, call: ScriptCall, hook: Hook, suspended: Suspended<T>, answer: Answer) -> Step<T> {
        let Some(machine) = self.machines.machine(self.rulebook, call.plugin) else { return Step::Done(no_such()) };
        let step = machine.meter.timed(|| suspended.resume(answer));
        machine.came(&step, hook, self.tenant, self.now);
        step
    }
}

impl Scripts for OnMachines<'_> {
    fn query(&self, name: &str) -> Option<QueryId> {
        self.rulebook.queries.by_name(name)
    }

    fn route(&mut self, call: ScriptCall, event: &Event, view: &EventView) -> Step<Routing> {
        self.call(call, Hook::Route, |vm| vm.route(call.site, event, view))
    }

    fn resume_route(&mut self, call: ScriptCall, suspended: Suspended<Routing>, answer: Answer) -> Step<Routing> {
        self.resume(call, Hook::Route, suspended, answer)
    }

    fn authorize(&mut self, call: ScriptCall, session: &SessionView<'_>, topic: &Topic) -> Step<bool> {
        self.call(call, Hook::Authorize, |vm| vm.authorize(call.site, session, topic))
    }

    fn resume_authorize(&mut self, call: ScriptCall, suspended: Suspended<bool>, answer: Answer) -> Step<bool> {
        self.resume(call, Hook::Authorize, suspended, answer)
    }
}

impl Machine {
    fn new(plugin: &Arc<Plugin>, rulebook: &Rulebook, metrics: &Metrics) -> Self {
        Self {
            plugin: Arc::clone(plugin),
            generation: rulebook.generation,
            log: log_sink(rulebook.generation),
            vm: None,
            route: Breaker::new(rulebook.breaker),
            authorize: Breakers::new(rulebook.breaker),
            meter: metrics.script(&plugin.name),
            calls: 0,
            weighed: 0,
        }
    }

    /// This came of a call: counts it, where it has ended, and puts aside what is to be put aside.
    fn came<T>(&mut self, step: &Step<T>, hook: Hook, tenant: Option<&TenantId>, now: Instant) {
        let Step::Done(said) = step else { return };
        let ending = match said {
            Ok(_) => Ending::Well,
            Err(ScriptError { kind: ScriptFailure::Lookup, .. }) => Ending::Neither,
            Err(_) => Ending::Badly,
        };
        if let Err(error) = said {
            self.meter.failure(error.kind.name());
        }
        let change = match tenant {
            None => self.route.ended(ending, now),
            Some(tenant) => self.authorize.ended(tenant, ending, now),
        };
        let (plugin, generation, hook_name) = (self.plugin.name.as_str(), self.generation.0, hook.name());
        let tenant_name = tenant.map(TenantId::as_str);
        match change {
            None => {}
            Some(Change::Opened) => {
                self.meter.put_aside(hook, 1);
                let why = said.as_ref().err().map(ToString::to_string);
                tracing::warn!(
                    plugin,
                    generation,
                    hook = hook_name,
                    tenant = tenant_name,
                    why,
                    "plugin put aside: it failed again and again"
                );
            }
            Some(Change::Closed) => {
                self.meter.put_aside(hook, -1);
                tracing::info!(plugin, generation, hook = hook_name, tenant = tenant_name, "plugin in use again");
            }
        }
        if self.vm.as_ref().is_some_and(Vm::is_spent) {
            tracing::warn!(plugin, generation, "a plugin has used up its memory and begins anew");
            self.vm = None;
        }
        self.calls = self.calls.wrapping_add(1);
        if self.calls % WEIGHED_EVERY == 1 || self.vm.is_none() {
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

impl Drop for Machine {
    fn drop(&mut self) {
        self.meter.memory(self.weighed, 0);
        self.meter.put_aside(Hook::Route, -i64::from(self.route.is_open()));
        self.meter.put_aside(Hook::Authorize, -i64::try_from(self.authorize.open()).unwrap_or_default());
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("plugin", &self.plugin.name).finish_non_exhaustive()
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

fn no_such<T>() -> Result<T, ScriptError> {
    let message = "the rulebook has no such plugin".to_owned();
    Err(ScriptError { kind: ScriptFailure::Error, line: None, message })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is an edge")]
mod tests {
    use super::*;
    use crate::auth::Attributes;
    use crate::config::{OnError, PluginFile, Plugins, Route, RouteTarget};
    use crate::event::{Path, Shape, UserId};
    use crate::reload::{Queries, Rules};

    fn rulebook(generation: u64, has_plugin: bool) -> Arc<Rulebook> {
        let mut file = PluginFile::of_text("p.lua", "return { route = function(event, to) to:tenant() end }");
        let call = ScriptCall { plugin: PluginId(0), site: 0 };
        file.call(Hook::Route, serde_json::json!({}));
        let (files, to) = if has_plugin {
            (vec![file], RouteTarget::Script(call, OnError::Drop))
        } else {
            (Vec::new(), RouteTarget::Everyone)
        };
        let routes = vec![Route { name: "r".into(), when: Vec::new(), to, all_tenants: false, go_on: false }];
        let event = Shape { payload: Path::parse("data").unwrap(), tenant: None, id: None, kind: None };
        let plugins = Plugins { files, ..Plugins::default() };
        let rules = Rules { event, routes, topics: Vec::new(), plugins };
        Arc::new(Rulebook::compile(Generation(generation), rules, Arc::new(Queries::default())).unwrap())
    }

    #[test]
    fn machines_go_with_their_rulebook_whether_the_next_one_has_any_or_not() {
        for has_plugin in [true, false] {
            let (mut machines, mut now) = (Machines::new(Arc::new(Metrics::new())), Instant::now());
            let first = rulebook(1, true);
            machines.prepare(&first, PluginId(0), now).unwrap();
            assert_eq!(machines.due(&Arc::downgrade(&first)), None, "an idle lane is not woken");
            let next = rulebook(2, has_plugin);
            if has_plugin {
                machines.prepare(&next, PluginId(0), now).unwrap();
            }
            drop(first);
            let in_force = Arc::downgrade(&next);
            now = machines.due(&in_force).expect("the first one's machines are still there");
            machines.sweep(now);
            assert_eq!(machines.generations.len(), usize::from(has_plugin));
            assert_eq!(machines.due(&in_force), None);
        }
    }

    #[test]
    fn what_one_tenants_clients_ask_for_puts_nobody_elses_aside() {
        let text = "return { authorize = function(session, topic) return 0 + topic > 0 end }";
        let mut file = PluginFile::of_text("p.lua", text);
        let call = ScriptCall { plugin: PluginId(0), site: 0 };
        file.call(Hook::Authorize, serde_json::json!({}));
        let event = Shape { payload: Path::parse("data").unwrap(), tenant: None, id: None, kind: None };
        let plugins = Plugins { files: vec![file], ..Plugins::default() };
        let rules = Rules { event, routes: Vec::new(), topics: Vec::new(), plugins };
        let rulebook = Arc::new(Rulebook::compile(Generation(1), rules, Arc::new(Queries::default())).unwrap());
        let (mut machines, mut now) = (Machines::new(Arc::new(Metrics::new())), Instant::now());
        let mut ask = |tenant: &str, topic: &str, now: Instant| {
            let (user, tenant) = (UserId::new("7").unwrap(), TenantId::new(tenant).unwrap());
            let session = SessionView { user: &user, tenant: &tenant, attributes: &Attributes::default() };
            let topic = Topic::new(topic).unwrap();
            match machines.at(&rulebook, now).of(&tenant).authorize(call, &session, &topic) {
                Step::Done(said) => said.map_err(|error| error.kind),
                Step::Asks(..) => unreachable!("it asks nothing"),
            }
        };
        let often = usize::try_from(rulebook.breaker.failures).unwrap();
        for tenant in 0..3 {
            for _ in 0..often {
                assert_eq!(ask(&format!("t{tenant}"), "bad", now), Err(ScriptFailure::Error));
            }
        }
        assert_eq!(ask("t0", "1", now), Err(ScriptFailure::Breaker));
        assert_eq!(ask("acme", "1", now), Ok(true));
        now += rulebook.breaker.retry;
        assert_eq!(ask("t0", "1", now), Ok(true));
        assert_eq!(ask("t1", "1", now), Ok(true));
        for _ in 0..often {
            assert_eq!(ask("t0", "bad", now), Err(ScriptFailure::Error), "it begins anew");
        }
        assert_eq!(ask("t0", "1", now), Err(ScriptFailure::Breaker));
    }
}
