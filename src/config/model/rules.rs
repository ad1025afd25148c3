//! The rules themselves: who may subscribe to what, and which event goes to whom.

use compact_str::CompactString;

use super::{OnError, QueryCall, QueryId, ScriptCall};
use crate::event::{Matcher, Path, PayloadFilter, Template, TopicPattern};

/// Who may subscribe to the topics of a pattern.
#[derive(Clone, Debug)]
pub struct TopicRule {
    /// Which topics.
    pub pattern: TopicPattern,
    /// Who.
    pub allow: TopicAllow,
}

/// The condition of a topic rule.
#[derive(Clone, Debug)]
pub enum TopicAllow {
    /// Everyone.
    Always,
    /// Nobody.
    Never,
    /// Sessions for which all of these hold.
    When(Vec<(TopicPlace, Matcher<TopicPlace>)>),
    /// Sessions for which the query answers a row.
    Query(QueryCall<TopicPlace>),
    /// Sessions that a plugin allows.
    Script(ScriptCall),
}

/// What a topic rule can refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicPlace {
    /// The part of the topic that the pattern caught, by its position among the captures.
    Capture(usize),
    /// `session.user`
    User,
    /// `session.tenant`
    Tenant,
    /// `session.NAME`: an attribute.
    Attribute(CompactString),
}

/// Which event goes to whom.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name; no two are alike.
    pub name: CompactString,
    /// All must hold; an empty list always does.
    pub when: Vec<(Path, Matcher<Path>)>,
    /// To whom.
    pub to: RouteTarget,
    /// `everyone` may be meant even for an event that names a tenant.
    pub all_tenants: bool,
    /// Later routes are tried also.
    pub go_on: bool,
}

/// To whom a route sends.
#[derive(Clone, Debug)]
pub enum RouteTarget {
    /// Every session of every tenant.
    Everyone,
    /// Sessions of the event's tenant that one of these holds. Empty: nobody.
    Audiences(Vec<AudienceRule>),
    /// Nobody: this is done instead, in order.
    Act(Vec<ActionRule>),
    /// Whom a plugin names.
    Script(ScriptCall, OnError),
}

/// What an event leads to beside being sent.
#[derive(Clone, Debug)]
pub enum ActionRule {
    /// What a query has answered is no longer good.
    Forget(ForgetRule),
    /// The connections of these users of the tenant are closed.
    Disconnect(ListRule),
}

/// Which answers of a query are no longer good.
#[derive(Clone, Debug)]
pub struct ForgetRule {
    /// Which query.
    pub query: QueryId,
    /// What was bound in them: of some of the query's binds, or all. One that cannot be filled narrows nothing.
    pub with: Vec<(CompactString, Template<Path>)>,
    /// They are a tenant's own: the query binds `:tenant`.
    pub of_tenant: bool,
}

/// One audience of a route: all that is given must hold. With nothing given it is the whole tenant.
#[derive(Clone, Debug, Default)]
pub struct AudienceRule {
    /// `user`, `users`
    pub users: Option<UsersRule>,
    /// `topic`, `topics`
    pub topics: Option<ListRule>,
    /// `where`: attributes and what they must match.
    pub attributes: Vec<(CompactString, Matcher<Path>)>,
    /// `except_user`: a template, or several. One that cannot be filled takes nobody away.
    pub except: Vec<Template<Path>>,
    /// `payload`: what these get of it. `None` is the whole.
    pub payload: Option<PayloadFilter>,
}

/// A list of texts that an audience names.
#[derive(Clone, Debug)]
pub enum ListRule {
    /// Each a template; one that cannot be filled names nothing.
    Each(Vec<Template<Path>>),
    /// A path to an array, or to one value.
    Field(Path),
}

/// The users that an audience names.
#[derive(Clone, Debug)]
pub enum UsersRule {
    /// By id.
    List(ListRule),
    /// The first column of a query's rows.
    Query(QueryCall<Path>),
}
