//! The route table: routes in order, of which the first that holds decides.

use std::sync::Arc;

use compact_str::CompactString;
use smallvec::SmallVec;

use super::action::{self, CompiledAction};
use super::audience::{CompiledAudience, Filters};
use super::calls::{CALLS, CallId, Calls};
use super::index::{Conditions, Index};
use super::plan::{Asked, Draft, Part, Running};
use super::script::{EventView, Lookup, Plugin, Routing};
use super::{Answer, Call, Decided, Decision, Held, Outcome, Pending, Plan, Progress, Scripts};
use crate::config::{OnError, Route, RouteTarget, ScriptCall};
use crate::event::{Audience, Clause, Decoder, Event, EveryTenant, Path, Payload};
use crate::lookup::LookupError;

#[cfg(test)]
use super::NoScripts;

/// The compiled routes. They read events of the decoder that they were compiled with.
#[derive(Debug)]
pub struct RouteTable {
    pub(super) routes: Box<[CompiledRoute]>,
    index: Index,
}

/// A route of one table, by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub(super) u32);

#[derive(Debug)]
pub(super) struct CompiledRoute {
    pub(super) name: CompactString,
    pub(super) when: Box<Conditions>,
    pub(super) target: Target,
    pub(super) go_on: bool,
    /// Where it holds it decides by the event alone, and nothing else is tried.
    is_alone: bool,
}

#[derive(Debug)]
pub(super) enum Target {
    Everyone(Option<EveryTenant>),
    Tenant(Box<[CompiledAudience]>),
    Act(Box<[CompiledAction]>),
    Script(CompiledScript),
}

/// A script that a route asks whom it names.
#[derive(Debug)]
pub(super) struct CompiledScript {
    pub(super) call: ScriptCall,
    pub(super) on_error: OnError,
    /// What it sees of events.
    view: EventView,
    /// It may give some another payload.
    says_payload: bool,
}

impl RouteId {
    /// Its position among the routes.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl RouteTable {
    /// Compiles the routes. What they and the plugins that they call read becomes slots and parts of `decoder`.
    ///
    /// # Panics
    /// Where a route calls a plugin that is not among `plugins`, by [`PluginId`](crate::config::PluginId).
    pub fn compile(routes: Vec<Route>, plugins: &[Arc<Plugin>], decoder: &mut Decoder) -> Self {
        let mut filters = Filters::default();
        let routes: Box<[CompiledRoute]> =
            routes.into_iter().map(|route| CompiledRoute::compile(route, plugins, decoder, &mut filters)).collect();
        let index = Index::new(routes.iter().map(|route| &*route.when));
        Self { routes, index }
    }

    /// The names of the routes, in order: that of a [`RouteId`] is at its [`index`](RouteId::index).
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.routes.iter().map(|route| route.name.as_str())
    }

    /// The calls of plugins that the routes make.
    pub fn script_calls(&self) -> impl Iterator<Item = ScriptCall> {
        self.routes.iter().filter_map(|route| match &route.target {
            Target::Script(script) => Some(script.call),
            _ => None,
        })
    }

    /// Whether a route that failed left the event to those that follow it, as it says it does.
    pub fn leaves_to_others(&self, decided: &Decided) -> bool {
        let CompiledRoute { target, .. } = &self.routes[decided.route.index()];
        let is_next = matches!(target, Target::Script(CompiledScript { on_error: OnError::Next, .. }));
        is_next && matches!(decided.outcome, Outcome::ScriptFailed(_))
    }

    /// The name of one route.
    pub fn name(&self, route: RouteId) -> &str {
        &self.routes[route.index()].name
    }

    /// What the routes make of an event, which was decoded by the decoder that they were compiled with.
    pub fn decide(&self, event: Event, scripts: &mut dyn Scripts) -> Plan {
        self.decide_among(self.index.candidates(&event), event, scripts)
    }

    /// Answers those calls of a plan whose answer `known` has, those too that come up by that.
    pub fn with_known(
        &self,
        plan: Plan,
        scripts: &mut dyn Scripts,
        mut known: impl FnMut(&Call) -> Option<Answer>,
    ) -> Plan {
        let Plan::Waits(mut pending) = plan else { return plan };
        let mut next = 0;
        while let Some((id, call)) = pending.calls.unanswered(next) {
            next += 1;
            if let Some(answer) = call.and_then(&mut known) {
                self.answer(&mut pending, id, &answer, scripts);
            }
        }
        Plan::of(pending)
    }

    /// Takes the answer to a call of a plan. Only the first one counts. A script that waits for it goes on, and may have
    /// further questions.
    pub fn answer(&self, pending: &mut Pending, call: CallId, answer: &Answer, scripts: &mut dyn Scripts) {
        if !pending.calls.answer(call, answer) {
            return;
        }
        for index in 0..pending.parts.len() {
            let part = &mut pending.parts[index];
            let (route, Target::Script(script)) = (part.route, &self.routes[part.route.index()].target) else {
                continue;
            };
            let Some(Running { held, .. }) = part.draft.take_running(call) else { continue };
            let step = scripts.resume_route(script.call, &pending.event, held, answer.clone());
            part.draft = script.run(step, &pending.event, &mut pending.calls, scripts);
            if self.falls_through(route, &pending.parts[index].draft) {
                let rest = self.index.candidates(&pending.event).filter(|id| RouteId(*id) > route);
                self.attempt(rest, pending, scripts);
            }
        }
    }

    /// Tries these routes, which are in order and leave none out that holds.
    fn decide_among(&self, mut candidates: impl Iterator<Item = u32>, event: Event, scripts: &mut dyn Scripts) -> Plan {
        let first = candidates.find(|id| self.routes[RouteId(*id).index()].holds(&event));
        // What could wait is made for those alone that may have to, which most do not.
        if let Some(id) = first.map(RouteId)
            && let route = &self.routes[id.index()]
            && route.is_alone
            && let Draft::Done(outcome) = route.draft(id, &event, &mut Calls::default(), scripts).draft
        {
            return Plan::Decided(Decision::new(event, Decided { route: id, outcome }));
        }
        let candidates = first.into_iter().chain(candidates);
        let mut pending = Pending { event, parts: SmallVec::new(), calls: Calls::default(), foretold: Vec::new() };
        self.attempt(candidates, &mut pending, scripts);
        Plan::of(pending)
    }

    fn attempt(&self, mut candidates: impl Iterator<Item = u32>, pending: &mut Pending, scripts: &mut dyn Scripts) {
        while let Some(id) = candidates.next().map(RouteId) {
            let route = &self.routes[id.index()];
            if !route.holds(&pending.event) {
                continue;
            }
            let part = route.draft(id, &pending.event, &mut pending.calls, scripts);
            pending.parts.push(part);
            let [.., part] = &*pending.parts else { return };
            if route.go_on || self.falls_through(id, &part.draft) {
                continue;
            }
            if let (Draft::Runs(_), Target::Script(CompiledScript { on_error: OnError::Next, .. })) =
                (&part.draft, &route.target)
            {
                self.foretell(candidates, pending);
            }
            return;
        }
    }

    /// Whether a route that held and does not let others decide too leaves the event to them: its script has failed.
    fn falls_through(&self, route: RouteId, draft: &Draft) -> bool {
        let CompiledRoute { target, go_on, .. } = &self.routes[route.index()];
        let is_next = matches!(target, Target::Script(CompiledScript { on_error: OnError::Next, .. }));
        !go_on && is_next && matches!(draft, Draft::Done(Outcome::ScriptFailed(_)))
    }

    /// Notes what these routes do should they be tried, which nobody knows yet: what is no longer good by them is
    /// rather forgotten in vain than too late.
    fn foretell(&self, candidates: impl Iterator<Item = u32>, pending: &mut Pending) {
        for route in candidates.map(|id| &self.routes[RouteId(id).index()]) {
            if !route.holds(&pending.event) {
                continue;
            }
            match &route.target {
                Target::Act(actions) => {
                    pending.foretold.extend_from_slice(action::outcome(actions, &pending.event).actions());
                }
                // It may fail too.
                Target::Script(CompiledScript { on_error: OnError::Next, .. }) => continue,
                Target::Script(_) | Target::Everyone(_) | Target::Tenant(_) => {}
            }
            if !route.go_on {
                return;
            }
        }
    }

    /// As [`decide`](Self::decide), by trying each route: what the index must agree with.
    #[cfg(test)]
    pub(super) fn decide_one_by_one(&self, event: Event) -> Plan {
        self.decide_among((0..).take(self.routes.len()), event, &mut NoScripts)
    }

    /// How many routes are tried for an event at most.
    #[cfg(test)]
    pub(super) fn candidates(&self, event: &Event) -> usize {
        self.index.candidates(event).count()
    }
}

impl CompiledRoute {
    fn compile(route: Route, plugins: &[Arc<Plugin>], decoder: &mut Decoder, filters: &mut Filters) -> Self {
        let mut slot = |path: Path| decoder.slot(&path);
        let when = route.when.into_iter().map(|(path, matcher)| (slot(path), matcher.map(&mut slot))).collect();
        let target = match route.to {
            RouteTarget::Everyone => Target::Everyone(EveryTenant::if_configured(route.all_tenants)),
            RouteTarget::Audiences(rules) => {
                let compile = |rule| CompiledAudience::compile(rule, &mut slot, filters);
                Target::Tenant(rules.into_iter().map(compile).collect())
            }
            RouteTarget::Script(call, on_error) => {
                let plugin = &plugins[usize::from(call.plugin.0)];
                let view = plugin.view(decoder);
                Target::Script(CompiledScript { call, on_error, view, says_payload: plugin.says_payload() })
            }
            RouteTarget::Act(rules) => {
                Target::Act(rules.into_iter().map(|rule| CompiledAction::compile(rule, &mut slot)).collect())
            }
        };
        let asks = match &target {
            Target::Script(_) => true,
            Target::Tenant(audiences) => audiences.iter().any(CompiledAudience::asks),
            Target::Everyone(_) | Target::Act(_) => false,
        };
        Self { name: route.name, when, target, go_on: route.go_on, is_alone: !route.go_on && !asks }
    }

    fn holds(&self, event: &Event) -> bool {
        self.when.iter().all(|(slot, matcher)| matcher.matches(event.field(*slot), &mut |place| event.field(*place)))
    }

    /// What comes of an event for which the route holds, or what has to be asked for it.
    fn draft(&self, route: RouteId, event: &Event, calls: &mut Calls, scripts: &mut dyn Scripts) -> Part {
        let done = |outcome| Part { route, draft: Draft::Done(outcome), says_payload: false };
        let audiences = match &self.target {
            Target::Everyone(mark) => {
                let everyone = Audience::everyone(event, *mark);
                return done(everyone.map_or(Outcome::EveryoneOfATenant, Outcome::Audience));
            }
            Target::Act(actions) => return done(action::outcome(actions, event)),
            // Whomever it names, it would be nobody.
            Target::Script(_) if event.tenant().is_none() => return done(Outcome::NoTenant),
            Target::Script(script) => {
                let draft = script.run(scripts.route(script.call, event, &script.view), event, calls, scripts);
                // One that fails as though it did not hold says nothing.
                let says_payload = script.says_payload && script.on_error == OnError::Drop;
                return Part { route, draft, says_payload };
            }
            Target::Tenant(audiences) => audiences,
        };
        if event.tenant().is_none() && !audiences.is_empty() {
            return done(Outcome::NoTenant);
        }
        let (mut clauses, mut asked) = (Vec::with_capacity(audiences.len()), Vec::new());
        for audience in audiences {
            // Each is made where it stays.
            let position = clauses.len();
            clauses.resize_with(position + 1, Clause::default);
            let mut call = None;
            if audience.draft_in(&mut clauses[position], &mut call, event, calls).is_none() {
                clauses.truncate(position);
            }
            asked.extend(call.map(|call| Asked { clause: position, call }));
        }
        if asked.is_empty() {
            return done(Outcome::of_tenant(event, clauses));
        }
        let says_payload = clauses.iter().any(|clause| !matches!(clause.payload, Payload::Whole));
        Part { route, draft: Draft::Open(clauses, asked.into()), says_payload }
    }
}

impl CompiledScript {
    /// Follows a call of it until it has ended, or waits for an answer that is not there.
    fn run(&self, mut step: Progress<Routing>, event: &Event, calls: &mut Calls, scripts: &mut dyn Scripts) -> Draft {
        loop {
            let (Lookup { query, binds }, held) = match step {
                Progress::Done(said) => return Draft::Done(Outcome::of_script(event, said)),
                Progress::Asks(lookup, held) => (lookup, held),
                Progress::Away(errand) => {
                    let waits_for = calls.add_errand(Arc::clone(&errand));
                    return Draft::Runs(Box::new(Running { held: Held::Away(errand), waits_for }));
                }
            };
            let failed = |why: String| Err(LookupError::Failed(why));
            let answer = match scripts.query(&query) {
                None => failed(format!("no query is named `{query}`")),
                Some(_) if calls.is_full() => failed(format!("it asks more than {CALLS} questions about one event")),
                Some(query) => {
                    let waits_for = calls.add(Call { query, binds });
                    match calls.answer_of(waits_for) {
                        Some(answer) => answer.clone(),
                        None => return Draft::Runs(Box::new(Running { held, waits_for })),
                    }
                }
            };
            step = scripts.resume_route(self.call, event, held, answer);
        }
    }
}
