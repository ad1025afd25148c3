//! An audience in words, and why a session is in it or not.
//!
//! Invariant: in the order, and with the meaning, of `shard::Sessions::deliver`. A test holds both against each other.

use super::crowd::Person;
use super::rehearsal::Asked;
use super::{conditions, words};
use crate::event::{Clause, Keep, Payload, Scope, Topic, UserId};

/// A part of an audience, and the query that says whose sessions it is about, where one does.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) clause: Clause,
    pub(super) asked: Option<Asked>,
}

/// Whether a session is in a part of an audience.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// It is.
    In,
    /// It is not, for each of these reasons.
    Out(Vec<String>),
    /// It is, if this query names its user.
    If(String),
}

impl Part {
    /// Whether nobody knows what its query answers.
    pub(super) fn is_unknown(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.answer.is_none())
    }

    /// Whether it is about nobody at all: its query has named none.
    pub(super) fn names_nobody(&self) -> bool {
        self.clause.users.as_ref().is_some_and(smallvec::SmallVec::is_empty)
    }

    /// Whom it is about, without the scope: `subscribed to deal:42 or deal:*, and not of user 8`.
    pub(super) fn says(&self) -> String {
        let Clause { users, topics, attributes, except, payload: _ } = &self.clause;
        let mut all = Vec::new();
        if let Some(topics) = topics {
            all.push(format!("subscribed to {}", words::any_of(&with_wildcards(topics))));
        }
        match (&self.asked, users) {
            (Some(asked), _) if asked.answer.is_none() => {
                all.push(format!("of a user whom the query {} names", asked.query));
            }
            (Some(asked), Some(users)) => {
                all.push(format!("of {}, whom the query {} names", of_users(users), asked.query));
            }
            (None, Some(users)) => all.push(format!("of {}", of_users(users))),
            (_, None) => {}
        }
        all.extend(attributes.iter().flat_map(|wanted| wanted.iter()).map(conditions::attribute));
        if !except.is_empty() {
            all.push(format!("not of {}", of_users(except)));
        }
        if all.is_empty() { "all of them".to_owned() } else { all.join(", and ") }
    }

    /// What these get of the payload, where that is not the whole of it.
    pub(super) fn payload(&self) -> Option<String> {
        match &self.clause.payload {
            Payload::Whole => None,
            Payload::Own(own) => Some(format!("{} instead of the payload", String::from_utf8_lossy(own))),
            Payload::Part(filter) => {
                let fields = filter.fields().join(", ");
                Some(match filter.keep() {
                    Keep::Only => format!("of the payload only {fields}"),
                    Keep::Without => format!("the payload without {fields}"),
                })
            }
        }
    }

    /// What puts the session of this person, which is in it, there.
    pub(super) fn fits(&self, person: &Person) -> String {
        let Clause { users, topics, attributes, .. } = &self.clause;
        let mut all = Vec::new();
        if let Some(topics) = topics {
            let named = with_wildcards(topics);
            let own: Vec<&Topic> = person.topics.iter().filter(|topic| named.contains(topic)).collect();
            all.push(format!("is subscribed to {}", words::all_of(&own)));
        }
        match (&self.asked, users) {
            (Some(asked), _) => all.push(format!("is of user {}, whom the query {} names", person.user, asked.query)),
            (None, Some(_)) => all.push(format!("is of user {}", person.user)),
            (None, None) => {}
        }
        for wanted in attributes.iter().flat_map(|wanted| wanted.iter()) {
            all.push(format!("has the {} {}", wanted.name, words::value(person.attributes.get(&wanted.name))));
        }
        if all.is_empty() { "all of them get it".to_owned() } else { format!("it {}", words::all_of(&all)) }
    }

    /// Whether the session of this person, which the scope holds, is in it.
    pub(super) fn membership(&self, person: &Person) -> Membership {
        let Clause { users, topics, attributes, except, payload: _ } = &self.clause;
        let mut lacks = Vec::new();
        if let Some(topics) = topics {
            let looks_at = |topic: &Topic| person.topics.contains(topic) || person.topics.contains(&topic.wildcard());
            if !topics.iter().any(looks_at) {
                lacks.push(format!("it is not subscribed to {}", words::any_of(&with_wildcards(topics))));
            }
        }
        if !self.is_unknown() && users.as_ref().is_some_and(|users| !users.contains(&person.user)) {
            lacks.push(match &self.asked {
                Some(asked) => format!("the query {} does not name user {}", asked.query, person.user),
                None => {
                    format!("it is of user {}, not of {}", person.user, of_users(users.as_deref().unwrap_or_default()))
                }
            });
        }
        for wanted in attributes.iter().flat_map(|wanted| wanted.iter()) {
            let found = person.attributes.get(&wanted.name);
            if !wanted.matcher.holds(found) {
                let (name, found, wanted) = (&wanted.name, words::value(found), conditions::wanted_of(wanted));
                lacks.push(format!("its {name} is {found}, not {wanted}"));
            }
        }
        if except.contains(&person.user) {
            lacks.push(format!("it is of user {}, who is left out", person.user));
        }
        match &self.asked {
            _ if !lacks.is_empty() => Membership::Out(lacks),
            Some(asked) if asked.answer.is_none() => {
                Membership::If(format!("if the query {} names user {}", asked.query, person.user))
            }
            _ => Membership::In,
        }
    }
}

/// Whose sessions an audience is about.
pub(super) fn scope(scope: &Scope) -> String {
    match scope {
        Scope::Tenant(tenant) => format!("sessions of tenant {tenant}"),
        Scope::EveryTenant => "sessions of every tenant".to_owned(),
    }
}

/// The whole expression, of at least one part.
pub(super) fn expression(of: &Scope, parts: &[Part]) -> String {
    let scope = scope(of);
    match parts {
        [one] => format!("{scope}: {}", one.says()),
        many => {
            let many: Vec<String> = many.iter().map(|part| format!("({})", part.says())).collect();
            format!("{scope}: {}", many.join(" or "))
        }
    }
}

pub(super) fn of_users(users: &[UserId]) -> String {
    if users.len() == 1 { format!("user {}", users[0]) } else { format!("users {}", words::any_of(users)) }
}

/// The topics, and after each the wildcard that holds it too.
fn with_wildcards(topics: &[Topic]) -> Vec<Topic> {
    let mut all: Vec<Topic> = Vec::new();
    for topic in topics.iter().flat_map(|topic| [topic.clone(), topic.wildcard()]) {
        if !all.contains(&topic) {
            all.push(topic);
        }
    }
    all
}
