//! What a compiled route is made of, for those who explain what it made of an event.
//!
//! Invariant: nothing here decides. What is told is what the route itself reads and makes, and no second reading of the
//! rule.

use smallvec::SmallVec;

use super::audience::{Attributes, CompiledAudience, List, Users};
use super::calls::Calls;
use super::plan::users_of;
use super::table::Target;
use super::{Call, RouteId, RouteTable};
use crate::config::{OnError, ScriptCall};
use crate::event::{Clause, Event, Matcher, Slot, Template, UserId, Value};
use crate::lookup::Rows;

/// What a route asks for, to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Nothing: it is decided by the event alone. Also where nobody gets the event by it, but something is done.
    Fast,
    /// A query, for some of its audiences.
    Query,
    /// A plugin.
    Script(ScriptCall, OnError),
}

/// One audience of a route, and what it comes to for an event.
#[derive(Debug)]
pub struct Drafted {
    /// The part of the expression. `None` where it names nobody.
    pub clause: Option<Clause>,
    /// What is asked for its users.
    pub asks: Option<Call>,
    /// The fields that it needs and in which nothing stands that has a text.
    pub missing: Vec<Slot>,
}

/// The users whom rows name.
pub fn users_named(rows: &Rows) -> SmallVec<[UserId; 1]> {
    users_of(rows).collect()
}

impl RouteTable {
    /// All routes, in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = RouteId> + use<> {
        (0..u32::try_from(self.routes.len()).unwrap_or(u32::MAX)).map(RouteId)
    }

    /// The conditions of a route: all must hold.
    pub fn conditions(&self, route: RouteId) -> &[(Slot, Matcher<Slot>)] {
        &self.routes[route.index()].when
    }

    /// Whether the routes after this one are tried even where it holds.
    pub fn goes_on(&self, route: RouteId) -> bool {
        self.routes[route.index()].go_on
    }

    /// What a route asks for.
    pub fn kind(&self, route: RouteId) -> RouteKind {
        match &self.routes[route.index()].target {
            Target::Script(script) => RouteKind::Script(script.call, script.on_error),
            Target::Tenant(audiences) if audiences.iter().any(CompiledAudience::asks) => RouteKind::Query,
            Target::Everyone(_) | Target::Tenant(_) | Target::Act(_) => RouteKind::Fast,
        }
    }

    /// The audiences of a route about a tenant's sessions, and what each comes to for an event for which it holds.
    pub fn drafted(&self, route: RouteId, event: &Event) -> Vec<Drafted> {
        let Target::Tenant(audiences) = &self.routes[route.index()].target else { return Vec::new() };
        let each = |audience: &CompiledAudience| {
            let mut calls = Calls::default();
            let open = audience.draft(event, &mut calls);
            let asks = open.as_ref().and_then(|(_, asked)| *asked).and_then(|id| calls.get(id).cloned());
            Drafted { clause: open.map(|(clause, _)| clause), asks, missing: audience.missing(event) }
        };
        audiences.iter().map(each).collect()
    }
}

impl CompiledAudience {
    /// Whether a query says who its users are.
    pub(super) fn asks(&self) -> bool {
        matches!(self.users, Some(Users::Query(_)))
    }

    /// The fields that it names and that have no text in this event, each once.
    fn missing(&self, event: &Event) -> Vec<Slot> {
        let users = self.users.iter().flat_map(|users| match users {
            Users::List(list) => list.slots(),
            Users::Query(call) => call.with.iter().flat_map(|(_, template)| template.places()).copied().collect(),
        });
        let topics = self.topics.iter().flat_map(List::slots);
        let attributes = match &self.attributes {
            Attributes::Any | Attributes::Fixed(_) => Vec::new(),
            Attributes::Filled(conditions) => {
                conditions.iter().flat_map(|(_, matcher)| matcher.places()).copied().collect()
            }
        };
        let except = self.except.iter().flat_map(Template::places).copied();
        let mut missing = Vec::new();
        for slot in topics.chain(users).chain(attributes).chain(except) {
            let value = event.field(slot);
            let has_text = value.text().is_some() || matches!(value, Value::List(list) if !list.is_empty());
            if !has_text && !missing.contains(&slot) {
                missing.push(slot);
            }
        }
        missing
    }
}

impl List {
    fn slots(&self) -> Vec<Slot> {
        match self {
            Self::Each(templates) => templates.iter().flat_map(Template::places).copied().collect(),
            Self::Field(slot) => vec![*slot],
        }
    }
}
