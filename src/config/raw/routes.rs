//! The rules of `routes`.

use serde_json::{Value, json};

use super::condition::RawConditions;
use super::database::RawQueryCall;
use super::plugins::RawParameters;
use super::read::{At, FromNode, OneOrMany, Scalars, any_of};
use super::scalars::{Literal, Text};
use super::secrets::FileName;
use super::section::{choice, section};
use crate::config::diagnostics::{Diagnostics, did_you_mean};
use crate::config::node::{Kind, Node};

section! {
    /// Which event goes to whom.
    RawRoute (Plain) {
        /// Its name; no two are alike.
        "name" name: Text = Required,
        /// What must hold of the event, by field path. Without it the route applies always.
        "when" when: RawConditions = Optional,
        /// To whom.
        "to" to: RawTarget = Optional,
        /// What to do, instead of sending it to anybody.
        "do" actions: OneOrMany<RawAction> = Optional,
        /// A plugin that says to whom, by its hook `route`: a Lua file.
        "script" script: FileName = Optional,
        /// What the plugin is handed: a map of anything.
        "with" with: RawParameters = Optional,
        /// What becomes of an event on which the plugin fails: `drop`, or `next`, which tries the routes that follow.
        /// Default: drop.
        "on_error" on_error: RawOnError = Optional,
        /// `everyone` may be meant even for an event that names a tenant. Default: false.
        "all_tenants" all_tenants: bool = Optional,
        /// Later routes are tried also. Default: false.
        "continue" go_on: bool = Optional,
    }
    later []
}

choice! {
    /// What becomes of an event on which a plugin fails.
    RawOnError {
        /// The route decides, and nobody gets the event by it.
        "drop" Drop,
        /// The routes that follow are tried.
        "next" Next,
    }
    later []
}

/// To whom a route sends.
pub(in crate::config) enum RawTarget {
    /// Every session of every tenant.
    Everyone,
    /// Sessions that one of these holds.
    Audiences(Vec<At<RawAudience>>),
}

section! {
    /// Sessions of the event's tenant for which all of this holds.
    RawAudience (Plain) {
        /// All of the tenant.
        "tenant" tenant: bool = Optional,
        /// Those of this user: a template.
        "user" user: Literal = Optional,
        /// Those of these users: a list of templates, a field path to an array, or a query.
        "users" users: RawUsers = Optional,
        /// Those subscribed to this topic: a template.
        "topic" topic: Literal = Optional,
        /// Those subscribed to any of these topics: a list of templates, or a field path to an array.
        "topics" topics: RawNames = Optional,
        /// Those whose attributes match.
        "where" attributes: RawConditions = Optional,
        /// But not those of this user: a template, or a list of them.
        "except_user" except: OneOrMany<Literal> = Optional,
        /// What these get of the payload: all of it where this is left out. Where several audiences hold a session, the
        /// first one's counts.
        "payload" payload: RawPayload = Optional,
    }
    later []
}

section! {
    /// A part of the payload: `only` some fields, or all `without` some. A field is named by its path within the
    /// payload, such as `title` or `actor.name`. A path applies to each element of an array that it passes.
    RawPayload (Plain) {
        /// These are kept, and nothing else is. What is no object and no array has no fields and is left out; a whole
        /// payload of that kind becomes `{}`.
        "only" only: Vec<At<Text>> = Optional,
        /// These are left out, and all else is kept.
        "without" without: Vec<At<Text>> = Optional,
    }
    later []
}

section! {
    /// What an event leads to beside being sent.
    RawAction (Plain) {
        /// A query whose answers are no longer good: they are asked anew, and so is who may stay subscribed by it.
        "forget" forget: Text = Optional,
        /// Which of its answers, by what was bound: templates, or plain values. Without it, all of the tenant's.
        "with" with: Scalars = Optional,
        /// Users of the tenant whose connections are closed.
        "disconnect" disconnect: RawDisconnect = Optional,
    }
    later []
}

section! {
    /// Whose connections are closed.
    RawDisconnect (Plain) {
        /// Those of this user: a template.
        "user" user: Literal = Optional,
        /// Those of these users: a list of templates, or a field path to an array.
        "users" users: RawNames = Optional,
    }
    later []
}

/// A list of texts that an audience names.
pub(in crate::config) enum RawNames {
    /// One text: a field path, or a template.
    One(At<Literal>),
    /// Templates.
    Each(Vec<At<Literal>>),
}

/// The users that an audience names.
pub(in crate::config) enum RawUsers {
    /// By id.
    Names(RawNames),
    /// The rows of a query.
    Query(At<RawQueryCall>),
}

impl FromNode for RawTarget {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.kind {
            Kind::Scalar(text) if text.text == "everyone" => Some(Self::Everyone),
            Kind::Scalar(_) => {
                let shown = node.shown();
                let message = format!("`{shown}` is no audience{}", did_you_mean(shown, ["everyone"]));
                let help = "write `everyone`, { tenant: true }, { user: \"...\" } or { topic: \"...\" }";
                diagnostics.error(&node.place, message).help(help);
                None
            }
            _ => OneOrMany::read(node, diagnostics).map(|audiences| Self::Audiences(audiences.0)),
        }
    }

    fn schema() -> Value {
        any_of([json!({ "const": "everyone" }), OneOrMany::<RawAudience>::schema()])
    }
}

impl FromNode for RawNames {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.kind {
            Kind::List(_) => Vec::read(node, diagnostics).map(Self::Each),
            _ => At::read(node, diagnostics).map(Self::One),
        }
    }

    fn schema() -> Value {
        OneOrMany::<Literal>::schema()
    }
}

impl FromNode for RawUsers {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.kind {
            Kind::Map(map) if !map.is_unquoted_template() => At::read(node, diagnostics).map(Self::Query),
            _ => RawNames::read(node, diagnostics).map(Self::Names),
        }
    }

    fn schema() -> Value {
        any_of([RawNames::schema(), RawQueryCall::schema()])
    }
}
