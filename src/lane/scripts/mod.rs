//! The virtual machines of a lane: one for each plugin that the rules of a generation call.
//!
//! Invariant: a machine serves one rulebook, and goes when nobody holds that rulebook any more. What it has kept is seen
//! by no other generation, and by no other lane.
//! Invariant: where a plugin takes long for a tenant, its calls for that tenant do not run here: see [`suspects`].

mod generations;
mod guest;
mod suspects;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use self::suspects::{LONG, Suspects};
use crate::config::{Hook, PluginId, QueryId, ScriptCall};
use crate::event::{Event, TenantId, Topic};
use crate::observe::{Metrics, Throttle};
use crate::reload::Rulebook;
use crate::route::script::{
    Breakers, Change, Ending, EventView, Plugin, Routing, ScriptError, ScriptFailure, Step, Vm, thread_time,
};
use crate::route::{Answer, Arrived, Came, Errand, First, Held, Leg, Progress, Scripts, SessionView};

pub(super) use self::generations::Generations;
pub(super) use self::guest::Guest;

/// How long a plugin's CPU time is measured once the clock on the wall has said that a run of it took long: that may have
/// had to wait for a core.
const MEASURED: Duration = Duration::from_secs(1);
/// How often the same is logged.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// The machines of a lane, by rulebook.
#[derive(Debug)]
pub(super) struct Machines {
    generations: Generations<Machine>,
    metrics: Arc<Metrics>,
}

/// One plugin on the lane.
#[derive(Debug)]
struct Machine {
    guest: Guest,
    /// By tenant: what is in one tenant's events makes it fail for that tenant alone.
    route: Breakers<TenantId>,
    /// A failing `authorize` does not suspend `route`.
    authorize: Breakers<TenantId>,
    suspects: Suspects,
    measured_until: Option<Instant>,
    log: Throttle,
}

/// For whom a hook is called.
#[derive(Clone, Copy, Debug)]
struct Whom<'t> {
    hook: Hook,
    tenant: &'t TenantId,
    now: Instant,
}

/// The plugins of one rulebook, at this time.
#[derive(Debug)]
pub(super) struct OnMachines<'m> {
    machines: &'m mut Machines,
    rulebook: &'m Arc<Rulebook>,
    now: Instant,
}

impl Machines {
    /// None yet.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { generations: Generations::new(), metrics }
    }

    /// Makes the machine of this plugin of a rulebook. An error says why it could not be made.
    pub(super) fn prepare(&mut self, rulebook: &Arc<Rulebook>, plugin: PluginId, now: Instant) -> Result<(), String> {
        self.sweep(now);
        let Some(Machine { guest, .. }) = self.machine(rulebook, plugin) else { return Ok(()) };
        guest.prepare().map_err(|error| format!("the plugin `{}` cannot be prepared: {error}", guest.plugin.name))
    }

    /// The plugins of a rulebook, to be called now.
    pub(super) fn at<'m>(&'m mut self, rulebook: &'m Arc<Rulebook>, now: Instant) -> OnMachines<'m> {
        OnMachines { machines: self, rulebook, now }
    }

    /// When to look whether generations have gone that are not in force.
    pub(super) fn due(&self, in_force: &Weak<Rulebook>) -> Option<Instant> {
        self.generations.due(in_force)
    }

    /// Lets go of a machine of a rulebook that nobody holds any more.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.generations.sweep(now);
    }

    /// `None` where the rulebook has no such plugin.
    fn machine(&mut self, rulebook: &Arc<Rulebook>, id: PluginId) -> Option<&mut Machine> {
        self.generations.get(rulebook, id, |plugin| Machine::new(plugin, rulebook, &self.metrics))
    }
}

impl OnMachines<'_> {
    /// An errand of a call is to be run now. `false` where it is not, and has its answer: the plugin is put aside.
    pub(super) fn starts<T>(&mut self, hook: Hook, tenant: Option<&TenantId>, errand: &Errand<T>) -> bool {
        let Leg::First(_) = errand.leg() else { return true };
        // Only what has a tenant is asked of plugins.
        let machine = tenant.zip(self.machines.machine(self.rulebook, errand.call.plugin));
        let admitted = machine.map_or_else(
            || Err(no_such()),
            |(tenant, machine)| {
                machine.admit(Whom { hook, tenant, now: self.now })?;
                machine.guest.meter.quarantined();
                Ok(())
            },
        );
        let Err(error) = admitted else { return true };
        errand.tell(Came { how: Arrived::Done(Err(error)), took: Duration::ZERO });
        false
    }

    /// Calls a hook, or leaves it to somebody else.
    fn call<T>(
        &mut self,
        call: ScriptCall,
        hook: Hook,
        tenant: &TenantId,
        run: impl FnOnce(&Vm) -> Step<T>,
        leave: impl FnOnce() -> First<T>,
    ) -> Progress<T> {
        let whom = Whom { hook, tenant, now: self.now };
        self.machines.generations.stir(self.now);
        let Some(machine) = self.machines.machine(self.rulebook, call.plugin) else {
            return Progress::Done(Err(no_such()));
        };
        if machine.suspects.has(tenant, self.now) {
            return Progress::Away(Arc::new(Errand::new(call, Leg::First(leave()))));
        }
        match machine.admit(whom) {
            Ok(()) => machine.run(whom, |guest| guest.begin(run)),
            Err(error) => Progress::Done(Err(error)),
        }
    }

    fn resume<T: Clone>(
        &mut self,
        call: ScriptCall,
        hook: Hook,
        tenant: &TenantId,
        held: Held<T>,
        answer: Answer,
    ) -> Progress<T> {
        let whom = Whom { hook, tenant, now: self.now };
        let Some(machine) = self.machines.machine(self.rulebook, call.plugin) else {
            return Progress::Done(Err(no_such()));
        };
        let held = match held {
            Held::Here(suspended) => return machine.run(whom, |guest| guest.go_on(|| suspended.resume(answer))),
            Held::Away(_) | Held::Parked(..) => held,
        };
        if let Held::Away(errand) = &held
            && let Some(came) = errand.came()
            && came.took > LONG
        {
            machine.took_long(whom, came.took, false);
        }
        let progress = held.resume(answer);
        machine.came(&progress, whom);
        progress
    }
}

impl Scripts for OnMachines<'_> {
    fn query(&self, name: &str) -> Option<QueryId> {
        self.rulebook.queries.by_name(name)
    }

    fn route(&mut self, call: ScriptCall, event: &Event, view: &EventView) -> Progress<Routing> {
        let Some(tenant) = event.tenant() else { return Progress::Done(Err(no_such())) };
        let leave = || -> First<Routing> {
            let (event, view) = (event.clone(), view.clone());
            Box::new(move |vm| vm.route(call.site, &event, &view))
        };
        self.call(call, Hook::Route, tenant, |vm| vm.route(call.site, event, view), leave)
    }

    fn resume_route(
        &mut self,
        call: ScriptCall,
        event: &Event,
        held: Held<Routing>,
        answer: Answer,
    ) -> Progress<Routing> {
        let Some(tenant) = event.tenant() else { return Progress::Done(Err(no_such())) };
        self.resume(call, Hook::Route, tenant, held, answer)
    }

    fn authorize(&mut self, call: ScriptCall, session: &SessionView<'_>, topic: &Topic) -> Progress<bool> {
        let leave = || -> First<bool> {
            let (user, tenant, topic) = (session.user.clone(), session.tenant.clone(), topic.clone());
            let attributes = session.attributes.clone();
            Box::new(move |vm| {
                let session = SessionView { user: &user, tenant: &tenant, attributes: &attributes };
                vm.authorize(call.site, &session, &topic)
            })
        };
        self.call(call, Hook::Authorize, session.tenant, |vm| vm.authorize(call.site, session, topic), leave)
    }

    fn resume_authorize(
        &mut self,
        call: ScriptCall,
        tenant: &TenantId,
        held: Held<bool>,
        answer: Answer,
    ) -> Progress<bool> {
        self.resume(call, Hook::Authorize, tenant, held, answer)
    }
}

impl Machine {
    fn new(plugin: &Arc<Plugin>, rulebook: &Rulebook, metrics: &Metrics) -> Self {
        Self {
            guest: Guest::new(plugin, rulebook, metrics),
            route: Breakers::new(rulebook.breaker),
            authorize: Breakers::new(rulebook.breaker),
            suspects: Suspects::default(),
            measured_until: None,
            log: Throttle::new(LOG_EVERY),
        }
    }

    /// Counts a call, and answers why it may not be made, where it may not.
    fn admit(&mut self, Whom { hook, tenant, now }: Whom<'_>) -> Result<(), ScriptError> {
        self.guest.meter.call(hook);
        if self.breakers(hook).admit(tenant, now) {
            return Ok(());
        }
        let Guest { meter, plugin, .. } = &self.guest;
        meter.failure(ScriptFailure::Breaker.name());
        let message = format!("{} is put aside for this tenant for a while, as it failed again and again", plugin.name);
        Err(ScriptError { kind: ScriptFailure::Breaker, line: None, message })
    }

    fn breakers(&mut self, hook: Hook) -> &mut Breakers<TenantId> {
        match hook {
            Hook::Route => &mut self.route,
            Hook::Authorize | Hook::Authenticate => &mut self.authorize,
        }
    }

    /// Runs the plugin, on this thread.
    fn run<T>(&mut self, whom: Whom<'_>, run: impl FnOnce(&mut Guest) -> (Step<T>, Duration)) -> Progress<T> {
        let before = self.measured_until.is_some_and(|until| whom.now < until).then(thread_time);
        let (step, took) = run(&mut self.guest);
        if took > LONG {
            let by_guard = matches!(&step, Step::Done(Err(ScriptError { kind: ScriptFailure::Budget, .. })));
            match before.map(|before| thread_time().saturating_sub(before)) {
                Some(measured) if measured > LONG => self.took_long(whom, measured, true),
                Some(_) => {}
                // Its CPU time is what it was stopped for.
                None if by_guard => self.took_long(whom, took, true),
                None => self.measured_until = Some(whom.now + MEASURED),
            }
        }
        let progress = step.into();
        self.came(&progress, whom);
        progress
    }

    /// A run took long, here or elsewhere: the next ones for this tenant run elsewhere, for a while.
    fn took_long(&mut self, Whom { hook, tenant, now }: Whom<'_>, took: Duration, on_lane: bool) {
        if !self.suspects.took(tenant, took, on_lane, now) {
            return;
        }
        let Some(left_out) = self.log.admit() else { return };
        tracing::warn!(
            plugin = self.guest.plugin.name.as_str(),
            generation = self.guest.generation.0,
            hook = hook.name(),
            tenant = tenant.as_str(),
            ?took,
            left_out,
            "plugin takes long: for this tenant it runs beside the others' events for a while"
        );
    }

    /// This came of a call: counts it, where it has ended, and puts aside what is to be put aside.
    fn came<T>(&mut self, progress: &Progress<T>, Whom { hook, tenant, now }: Whom<'_>) {
        let Progress::Done(said) = progress else { return };
        let ending = match said {
            Ok(_) => Ending::Well,
            // It was not called.
            Err(ScriptError { kind: ScriptFailure::Breaker, .. }) => return,
            Err(ScriptError { kind: ScriptFailure::Lookup, .. }) => Ending::Neither,
            Err(_) => Ending::Badly,
        };
        let change = self.breakers(hook).ended(tenant, ending, now);
        let Guest { meter, plugin, generation, .. } = &self.guest;
        if let Err(error) = said {
            meter.failure(error.kind.name());
        }
        let (plugin, generation, hook_name) = (plugin.name.as_str(), generation.0, hook.name());
        let tenant = tenant.as_str();
        match change {
            None => {}
            Some(Change::Opened) => {
                meter.put_aside(hook, 1);
                let why = said.as_ref().err().map(ToString::to_string);
                tracing::warn!(
                    plugin,
                    generation,
                    hook = hook_name,
                    tenant,
                    why,
                    "plugin put aside: it failed again and again"
                );
            }
            Some(Change::Closed) => {
                meter.put_aside(hook, -1);
                tracing::info!(plugin, generation, hook = hook_name, tenant, "plugin in use again");
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let meter = &self.guest.meter;
        for (hook, breakers) in [(Hook::Route, &self.route), (Hook::Authorize, &self.authorize)] {
            meter.put_aside(hook, -i64::try_from(breakers.open()).unwrap_or_default());
        }
    }
}

fn no_such() -> ScriptError {
    let message = "the rulebook has no such plugin".to_owned();
    ScriptError { kind: ScriptFailure::Error, line: None, message }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is an edge")]
mod tests {
    use super::*;
    use crate::auth::Attributes;
    use crate::config::{OnError, PluginFile, Plugins, Route, RouteTarget};
    use crate::event::{Path, Shape, UserId};
    use crate::reload::{Generation, Queries, Rules};

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
        let rules = Rules { event, largest_event: usize::MAX, routes, topics: Vec::new(), plugins };
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
        let rules = Rules { event, largest_event: usize::MAX, routes: Vec::new(), topics: Vec::new(), plugins };
        let rulebook = Arc::new(Rulebook::compile(Generation(1), rules, Arc::new(Queries::default())).unwrap());
        let (mut machines, mut now) = (Machines::new(Arc::new(Metrics::new())), Instant::now());
        let mut ask = |tenant: &str, topic: &str, now: Instant| {
            let (user, tenant) = (UserId::new("7").unwrap(), TenantId::new(tenant).unwrap());
            let session = SessionView { user: &user, tenant: &tenant, attributes: &Attributes::default() };
            let topic = Topic::new(topic).unwrap();
            match machines.at(&rulebook, now).authorize(call, &session, &topic) {
                Progress::Done(said) => said.map_err(|error| error.kind),
                other => unreachable!("it asks nothing: {other:?}"),
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
