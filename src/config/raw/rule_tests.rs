//! Files of rule tests: a list of tests each.

use serde_json::{Value, json};

use super::read::{At, Entries, Field, FromNode, OneOrMany, Scalars, any_of, duplicates, map_of, wrong};
use super::scalars::{Literal, Text};
use super::secrets::{Secret, Values};
use super::section::{listed, section};
use super::tree::Tree;
use crate::config::diagnostics::{Diagnostics, did_you_mean};
use crate::config::node::{Kind, Node};

section! {
    /// A rule test: an event, a wish to subscribe, or a token, and what must come of it.
    RawRuleTest (Plain) {
        /// What it shows, in words.
        "name" name: Text = Required,
        /// An event that is published: its body, or the text of it.
        "event" event: Tree = Optional,
        /// What the event comes with by AMQP.
        "amqp" amqp: RawTestAmqp = Optional,
        /// A topic that each of the sessions wishes to subscribe to.
        "subscribe" subscribe: Text = Optional,
        /// A token that a client comes with.
        "token" token: Secret = Optional,
        /// The address of the client that comes with the token. Default: 127.0.0.1.
        "remote_addr" remote: Text = Optional,
        /// Who is there, by a name that `expect` calls them by.
        "sessions" sessions: Entries<RawTestSession> = Optional,
        /// What the database would say, by query. A query that is not here must not be asked.
        "queries" queries: Entries<RawMock> = Optional,
        /// What must come of it.
        "expect" expect: RawExpect = Required,
    }
    later []
}

section! {
    /// What an event comes with by AMQP.
    RawTestAmqp (Plain) {
        /// Its routing key.
        "routing_key" routing_key: Text = Optional,
        /// Its headers.
        "headers" headers: Scalars = Optional,
    }
    later []
}

section! {
    /// What must come of it. What is not said may be anything.
    RawExpect (Plain) {
        /// Of an event: the route that decides, or the list of those that do.
        "route" route: OneOrMany<Text> = Optional,
        /// Of an event: exactly these sessions get it.
        "reaches" reaches: RawSessionNames = Optional,
        /// Of an event: what sessions get for a payload.
        "payload" payload: Entries<Tree> = Optional,
        /// Of an event: nobody gets it. `true`, or why: a plugin's reason, or `no_route`, `no_tenant`.
        "dropped" dropped: Literal = Optional,
        /// Of an event: exactly these queries' answers are forgotten.
        "forgets" forgets: OneOrMany<RawForgets> = Optional,
        /// Of an event: exactly these sessions are disconnected.
        "disconnects" disconnects: RawSessionNames = Optional,
        /// Of a wish to subscribe: exactly these sessions may.
        "allows" allows: RawSessionNames = Optional,
        /// Of a wish to subscribe: exactly for these nobody can say, as what must be asked fails.
        "unavailable" unavailable: RawSessionNames = Optional,
        /// Of a wish to subscribe: the pattern of the rule that decides.
        "rule" rule: Text = Optional,
        /// Of a token: whose it is, with any attributes that count; or `denied`, or `unavailable`.
        "identity" identity: RawExpectedIdentity = Optional,
    }
    later []
}

section! {
    /// A query whose answers are forgotten.
    RawForgetsMap (Plain) {
        /// The query's name.
        "query" query: Text = Required,
        /// What was bound in them.
        "with" with: Scalars = Optional,
    }
    later []
}

section! {
    /// Answers of a query by what is bound.
    RawMockCases (Plain) {
        /// The first that fits what is bound is the answer.
        "cases" cases: Vec<At<RawMockCase>> = Required,
    }
    later []
}

section! {
    /// An answer, and what must be bound for it.
    RawMockCase (Plain) {
        /// What must be bound, `tenant` too where it is here. Without it, the case fits always.
        "with" with: Scalars = Optional,
        /// What is answered: a list of rows, `unavailable` or `failed`.
        "rows" rows: RawRows = Required,
    }
    later []
}

/// Sessions of the test: one name, or a list.
pub(in crate::config) type RawSessionNames = OneOrMany<Text>;

/// What the database says of a query: rows whatever is bound, or by what is bound.
pub(in crate::config) enum RawMock {
    Always(At<RawRows>),
    Cases(Vec<At<RawMockCase>>),
}

/// An answer of the database.
pub(in crate::config) enum RawRows {
    /// Maps from columns to values.
    Rows(Vec<At<Scalars>>),
    /// It cannot be reached.
    Unavailable,
    /// It refuses the query.
    Failed,
}

/// A query whose answers are forgotten.
pub(in crate::config) struct RawForgets {
    pub(in crate::config) query: Field<Text>,
    pub(in crate::config) with: Field<Scalars>,
}

/// A session of a test: whose it is, what it is subscribed to, and attributes of any name.
pub(in crate::config) struct RawTestSession {
    pub(in crate::config) user: Field<Literal>,
    pub(in crate::config) tenant: Field<Literal>,
    pub(in crate::config) topics: Field<OneOrMany<Text>>,
    pub(in crate::config) attributes: Vec<(At<String>, Field<Literal>)>,
}

/// Whose a token must be.
pub(in crate::config) enum RawExpectedIdentity {
    Of(RawTestSession),
    Denied,
    Unavailable,
}

const OUTAGES: [&str; 2] = ["unavailable", "failed"];

impl FromNode for RawRows {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.kind {
            Kind::Scalar(text) if text.text == OUTAGES[0] => Some(Self::Unavailable),
            Kind::Scalar(text) if text.text == OUTAGES[1] => Some(Self::Failed),
            Kind::Scalar(text) if !node.is_null() && !text.text.is_empty() => {
                let shown = node.shown();
                let message = format!("`{shown}` is no answer{}", did_you_mean(shown, OUTAGES));
                let help = "write a list of rows such as [{ user_id: 7 }], `unavailable` or `failed`";
                diagnostics.error(&node.place, message).help(help);
                None
            }
            Kind::List(_) => Vec::read(node, diagnostics).map(Self::Rows),
            _ => wrong(node, "a list of rows, `unavailable` or `failed`", diagnostics),
        }
    }

    fn schema() -> Value {
        any_of([json!({ "enum": OUTAGES }), Vec::<At<Scalars>>::schema()])
    }
}

impl FromNode for RawMock {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.kind {
            Kind::Map(_) => match RawMockCases::read(node, diagnostics)?.cases {
                Field::Given(cases) => Some(Self::Cases(cases.value)),
                Field::Missing | Field::Faulty => None,
            },
            _ => At::read(node, diagnostics).map(Self::Always),
        }
    }

    fn schema() -> Value {
        any_of([RawRows::schema(), RawMockCases::schema()])
    }
}

impl FromNode for RawForgets {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        if matches!(node.kind, Kind::Scalar(_)) {
            return Some(Self { query: Field::Given(At::read(node, diagnostics)?), with: Field::Missing });
        }
        let RawForgetsMap { query, with } = RawForgetsMap::read(node, diagnostics)?;
        Some(Self { query, with })
    }

    fn schema() -> Value {
        any_of([Text::schema(), RawForgetsMap::schema()])
    }
}

impl FromNode for RawTestSession {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let map = map_of(node, "a map of `user`, `tenant`, `topics` and attributes", diagnostics)?;
        duplicates(&map, Values::Plain, diagnostics);
        let mut session =
            Self { user: Field::Missing, tenant: Field::Missing, topics: Field::Missing, attributes: Vec::new() };
        for (key, value) in &map.entries {
            let name = key.text.as_str();
            match name {
                "user" => session.user = Field::read(value, diagnostics),
                "tenant" => session.tenant = Field::read(value, diagnostics),
                "topics" => session.topics = Field::read(value, diagnostics),
                // An attribute is a plain value. A list or a map is a key that was misspelt, or one slipped a level down.
                _ if matches!(value.kind, Kind::List(_) | Kind::Map(_)) => {
                    let meant = did_you_mean(name, ["topics"]);
                    let message =
                        format!("the attribute `{name}` is {}: attributes are plain values{meant}", value.what());
                    diagnostics.error(&key.place, message);
                    session.attributes.push((At { value: name.to_owned(), place: key.place.clone() }, Field::Faulty));
                }
                _ => {
                    let value = Field::read(value, diagnostics);
                    session.attributes.push((At { value: name.to_owned(), place: key.place.clone() }, value));
                }
            }
        }
        for (name, field) in [("user", &session.user), ("tenant", &session.tenant)] {
            if field.is_missing() {
                diagnostics.error(&node.place, format!("`{name}` is missing"));
            }
        }
        Some(session)
    }

    fn schema() -> Value {
        let id = |what: &str| json!({ "type": ["string", "integer"], "description": what });
        let mut topics = OneOrMany::<Text>::schema();
        topics["description"] = "What it is subscribed to.".into();
        json!({
            "type": "object",
            "properties": { "user": id("The user."), "tenant": id("The user's tenant."), "topics": topics },
            "required": ["user", "tenant"],
            "additionalProperties": Literal::schema(),
        })
    }
}

impl FromNode for RawExpectedIdentity {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        const WORDS: [&str; 2] = ["denied", "unavailable"];
        match &node.kind {
            Kind::Scalar(text) if text.text == WORDS[0] => Some(Self::Denied),
            Kind::Scalar(text) if text.text == WORDS[1] => Some(Self::Unavailable),
            Kind::Scalar(_) => {
                let shown = node.shown();
                let message = format!("`{shown}` is no identity{}", did_you_mean(shown, WORDS));
                let help = format!("write {{ user: 7, tenant: acme }}, or {}", listed(&WORDS).replace(" and ", " or "));
                diagnostics.error(&node.place, message).help(help);
                None
            }
            _ => RawTestSession::read(node, diagnostics).map(Self::Of),
        }
    }

    fn schema() -> Value {
        any_of([json!({ "enum": ["denied", "unavailable"] }), RawTestSession::schema()])
    }
}

/// The schema of a file of rule tests.
pub(in crate::config) fn tests_schema() -> Value {
    let mut schema = Vec::<At<RawRuleTest>>::schema();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Rule tests of Pointsman".into();
    schema
}
