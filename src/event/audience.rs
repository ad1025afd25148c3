//! Audiences: who shall get an event, as an expression that shards evaluate over their own sessions.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use compact_str::CompactString;
use smallvec::SmallVec;

use super::{Event, Matcher, PayloadFilter, TenantId, Topic, UserId};

/// Which sessions an event goes to: a scope, and in it the union of clauses. Where several clauses hold a session, the
/// first one says what it gets.
///
/// Invariant: an audience is made from an event, and its tenant is that event's own. There is no way to name another
/// tenant, so no rule and no script can reach one.
#[derive(Clone, Debug)]
pub struct Audience {
    scope: Scope,
    clauses: Vec<Clause>,
}

/// Whose sessions an audience is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of one tenant.
    Tenant(TenantId),
    /// Those of every tenant.
    EveryTenant,
}

/// The mark of a route that says `all_tenants: true`. Whoever holds one has read it in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct EveryTenant(());

/// One part of an audience: all that is given must hold. An empty clause is the whole scope.
#[derive(Clone, Debug, Default)]
pub struct Clause {
    /// Sessions of one of these users. An empty list is nobody.
    pub users: Option<SmallVec<[UserId; 1]>>,
    /// Sessions subscribed to one of these topics, by name or by wildcard. An empty list is nobody.
    pub topics: Option<SmallVec<[Topic; 1]>>,
    /// Sessions whose attributes match all of these.
    pub attributes: Option<Arc<[AttributeMatch]>>,
    /// But not the sessions of these users.
    pub except: SmallVec<[UserId; 1]>,
    /// What these sessions get.
    pub payload: Payload,
}

/// What those get who get an event.
#[derive(Clone, Debug, Default)]
pub enum Payload {
    /// The event's payload.
    #[default]
    Whole,
    /// What this keeps of it. Filters of one rulebook that keep the same are the same allocation.
    Part(Arc<PayloadFilter>),
    /// This instead, which is one JSON value.
    Own(Bytes),
}

/// A condition on one attribute of a session, such as `role: manager`.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeMatch {
    /// The attribute's name.
    pub name: CompactString,
    /// What its value must be.
    pub matcher: Matcher,
}

impl Payload {
    /// Whether both are the same bytes, of any one event.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole, Self::Whole) => true,
            (Self::Part(one), Self::Part(other)) => Arc::ptr_eq(one, other),
            (Self::Own(one), Self::Own(other)) => one == other,
            _ => false,
        }
    }

    /// The bytes of this for one event.
    pub fn of<'p>(&'p self, event: &'p Event) -> Cow<'p, [u8]> {
        match self {
            Self::Whole => Cow::Borrowed(event.payload()),
            Self::Part(filter) => Cow::Owned(filter.apply(event.payload())),
            Self::Own(own) => Cow::Borrowed(own),
        }
    }
}

impl EveryTenant {
    /// The mark, where the route's configuration asks for it.
    pub fn if_configured(all_tenants: bool) -> Option<Self> {
        all_tenants.then_some(Self(()))
    }
}

impl Audience {
    /// Sessions of the event's own tenant that one of `clauses` holds. `None` where the event names no tenant.
    pub fn of_tenant(event: &Event, clauses: Vec<Clause>) -> Option<Self> {
        let tenant = event.tenant()?.clone();
        Some(Self { scope: Scope::Tenant(tenant), clauses })
    }

    /// Every session of every tenant: for an event that names no tenant, or by a route with the explicit mark.
    pub fn everyone(event: &Event, mark: Option<EveryTenant>) -> Option<Self> {
        let allowed = event.tenant().is_none() || mark.is_some();
        allowed.then(|| Self { scope: Scope::EveryTenant, clauses: vec![Clause::default()] })
    }

    /// Whose sessions it is about.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Its parts, of which one must hold.
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }
}
