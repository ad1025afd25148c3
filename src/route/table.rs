//! The route table: routes in order, of which the first that holds decides.

use compact_str::CompactString;
use smallvec::SmallVec;

use super::Plan;
use super::action::{self, CompiledAction};
use super::audience::{CompiledAudience, Filters};
use super::index::{Conditions, Index};
use super::plan::{Calls, Draft, OpenClause, Outcome, Part};
use crate::config::{Route, RouteTarget};
use crate::event::{Audience, Decoder, Event, EveryTenant, Path};

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
}

#[derive(Debug)]
pub(super) enum Target {
    Everyone(Option<EveryTenant>),
    Tenant(Box<[CompiledAudience]>),
    Act(Box<[CompiledAction]>),
}

impl RouteId {
    /// Its position among the routes.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl RouteTable {
    /// Compiles the routes. What they read becomes slots of `decoder`.
    pub fn compile(routes: Vec<Route>, decoder: &mut Decoder) -> Self {
        let mut filters = Filters::default();
        let routes: Box<[CompiledRoute]> =
            routes.into_iter().map(|route| CompiledRoute::compile(route, decoder, &mut filters)).collect();
        let index = Index::new(routes.iter().map(|route| &*route.when));
        Self { routes, index }
    }

    /// The names of the routes, in order: that of a [`RouteId`] is at its [`index`](RouteId::index).
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.routes.iter().map(|route| route.name.as_str())
    }

    /// The name of one route.
    pub fn name(&self, route: RouteId) -> &str {
        &self.routes[route.index()].name
    }

    /// What the routes make of an event, which was decoded by the decoder that they were compiled with.
    pub fn decide(&self, event: Event) -> Plan {
        self.decide_among(self.index.candidates(&event), event)
    }

    /// Tries these routes, which are in order and leave none out that holds.
    fn decide_among(&self, candidates: impl Iterator<Item = u32>, event: Event) -> Plan {
        let (mut parts, mut calls) = (SmallVec::new(), Calls::default());
        for id in candidates.map(RouteId) {
            let route = &self.routes[id.index()];
            if !route.holds(&event) {
                continue;
            }
            parts.push(Part { route: id, draft: route.draft(&event, &mut calls) });
            if !route.go_on {
                break;
            }
        }
        Plan::new(event, parts, calls)
    }

    /// As [`decide`](Self::decide), by trying each route: what the index must agree with.
    #[cfg(test)]
    pub(super) fn decide_one_by_one(&self, event: Event) -> Plan {
        self.decide_among((0..).take(self.routes.len()), event)
    }

    /// How many routes are tried for an event at most.
    #[cfg(test)]
    pub(super) fn candidates(&self, event: &Event) -> usize {
        self.index.candidates(event).count()
    }
}

impl CompiledRoute {
    fn compile(route: Route, decoder: &mut Decoder, filters: &mut Filters) -> Self {
        let mut slot = |path: Path| decoder.slot(&path);
        let when = route.when.into_iter().map(|(path, matcher)| (slot(path), matcher.map(&mut slot))).collect();
        let target = match route.to {
            RouteTarget::Everyone => Target::Everyone(EveryTenant::if_configured(route.all_tenants)),
            RouteTarget::Audiences(rules) => {
                let compile = |rule| CompiledAudience::compile(rule, &mut slot, filters);
                Target::Tenant(rules.into_iter().map(compile).collect())
            }
            RouteTarget::Script(..) => Target::Act(Box::default()),
            RouteTarget::Act(rules) => {
                Target::Act(rules.into_iter().map(|rule| CompiledAction::compile(rule, &mut slot)).collect())
            }
        };
        Self { name: route.name, when, target, go_on: route.go_on }
    }

    fn holds(&self, event: &Event) -> bool {
        self.when.iter().all(|(slot, matcher)| matcher.matches(event.field(*slot), &mut |place| event.field(*place)))
    }

    /// The outcome for an event for which the route holds, or what has to be asked for it.
    fn draft(&self, event: &Event, calls: &mut Calls) -> Draft {
        let audiences = match &self.target {
            Target::Everyone(mark) => {
                let everyone = Audience::everyone(event, *mark);
                return Draft::Done(everyone.map_or(Outcome::EveryoneOfATenant, Outcome::Audience));
            }
            Target::Act(actions) => return Draft::Done(action::outcome(actions, event)),
            Target::Tenant(audiences) => audiences,
        };
        if event.tenant().is_none() && !audiences.is_empty() {
            return Draft::Done(Outcome::NoTenant);
        }
        let clauses: SmallVec<[OpenClause; 1]> =
            audiences.iter().filter_map(|audience| audience.draft(event, calls)).collect();
        if clauses.iter().any(OpenClause::is_open) {
            return Draft::Open(clauses);
        }
        Draft::Done(Outcome::of_tenant(event, clauses.into_iter().map(|open| open.clause).collect()))
    }
}
