//! What a client's message leads to: a plain function of what the connection is and what the client said.

use secrecy::SecretString;
use serde_json::value::RawValue;

use crate::config::Limits;
use crate::event::Topic;
use crate::wire::{Command, Message, reply};

/// Denials after which a connection is closed.
pub const MAX_DENIALS: u8 = 3;

/// What a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not authenticated.
    Guest {
        /// Whether a token may come in by message.
        by_message: bool,
    },
    /// A session, subscribed to so many topics.
    Session {
        /// How many.
        topics: usize,
    },
}

/// What to do about a message.
#[derive(Debug)]
pub enum Reaction {
    /// Say this.
    Reply(String),
    /// Ask whose token it is.
    Authenticate(SecretString, TokenQuestion),
    /// Ask whether the session may subscribe.
    Authorize(TopicQuestion),
    /// Take these subscriptions away, and say so.
    Unsubscribe(Vec<Topic>, Option<Box<RawValue>>),
}

/// What is remembered while a token is looked up.
#[derive(Debug, Default)]
pub struct TokenQuestion {
    /// Topics to subscribe to then, by the names given.
    pub topics: Vec<String>,
    /// The client asked for what it missed.
    pub wants_catch_up: bool,
    /// Comes back with the answer.
    pub reference: Option<Box<RawValue>>,
}

/// What is remembered while topics are authorized.
#[derive(Debug)]
pub struct TopicQuestion {
    /// The topics to ask about.
    pub topics: Vec<Topic>,
    /// Names that are no topic, and so are denied.
    pub invalid: Vec<String>,
    /// Comes back with the answer.
    pub reference: Option<Box<RawValue>>,
}

impl TopicQuestion {
    /// The question about these names, for a session with so many topics already. The error is for the client.
    pub fn new(mut names: Vec<String>, already: usize, limits: &Limits) -> Result<Self, String> {
        let mut seen = hashbrown::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        if already + names.len() > limits.topics {
            return Err(format!("too many topics: a session has at most {}", limits.topics));
        }
        let (mut topics, mut invalid) = (Vec::with_capacity(names.len()), Vec::new());
        for name in names {
            match Topic::new(name.as_str()) {
                Ok(topic) => topics.push(topic),
                Err(_) => invalid.push(name),
            }
        }
        Ok(Self { topics, invalid, reference: None })
    }
}

/// What a message leads to.
pub fn react(standing: Standing, message: Message, limits: &Limits) -> Reaction {
    let Message { command, reference } = message;
    let say =
        |error: &str, reference: &Option<Box<RawValue>>| Reaction::Reply(reply::error(error, reference.as_deref()));
    match (standing, command) {
        // A guest that speaks of anything but a token hears what is expected of it.
        (Standing::Guest { .. }, Err(error)) if error.is_without_token() => say(reply::NO_TOKEN, &reference),
        (_, Err(error)) => say(&error.to_string(), &reference),
        (Standing::Guest { by_message: false }, Ok(Command::Authenticate { .. })) => {
            say("a token is not accepted by message here", &reference)
        }
        (_, Ok(Command::Authenticate { token, topics, wants_catch_up })) => {
            Reaction::Authenticate(token, TokenQuestion { topics, wants_catch_up, reference })
        }
        (Standing::Guest { .. }, _) => say(reply::NO_TOKEN, &reference),
        (Standing::Session { topics }, Ok(Command::Subscribe(names))) => {
            match TopicQuestion::new(names, topics, limits) {
                Ok(question) => Reaction::Authorize(TopicQuestion { reference, ..question }),
                Err(error) => say(&error, &reference),
            }
        }
        (Standing::Session { .. }, Ok(Command::Unsubscribe(names))) => {
            let topics = names.into_iter().filter_map(|name| Topic::new(name.as_str()).ok()).collect();
            Reaction::Unsubscribe(topics, reference)
        }
        (Standing::Session { .. }, Ok(Command::Ping)) => Reaction::Reply(reply::pong(reference.as_deref())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{OutboxLimits, WhenFull};

    const LIMITS: Limits = Limits {
        event: 16 << 20,
        connections: 1,
        topics: 2,
        message: 100,
        outbox: OutboxLimits { messages: 1, bytes: 1, when_full: WhenFull::Disconnect },
    };
    const GUEST: Standing = Standing::Guest { by_message: true };

    /// What a message leads to, in short.
    fn check(standing: Standing, text: &str, expected: &str) {
        let said = match react(standing, Message::parse(text), &LIMITS) {
            Reaction::Reply(reply) => reply,
            Reaction::Authenticate(_, question) => format!("authenticate {:?}", question.topics),
            Reaction::Authorize(question) => format!("authorize {:?} {:?}", question.topics, question.invalid),
            Reaction::Unsubscribe(topics, _) => format!("unsubscribe {topics:?}"),
        };
        assert_eq!(said, expected, "{text}");
    }

    #[test]
    fn a_guest_can_only_say_who_it_is() {
        let error = |error: &str| format!(r#"{{"status":"error","error":"{error}"}}"#);
        check(GUEST, r#"{"access_token":"t","topics":["a"]}"#, r#"authenticate ["a"]"#);
        check(GUEST, r#"{"subscribe":["a"]}"#, &error("access_token not present"));
        check(GUEST, "{}", &error("access_token not present"));
        check(GUEST, r#"{"ping":1}"#, &error("access_token not present"));
        let together = "one command a message: access_token and ping stand together";
        check(GUEST, r#"{"access_token":"t","ping":1}"#, &error(together));
        check(GUEST, r#"{"subscribe":[],"ping":1}"#, &error("access_token not present"));
        check(GUEST, "hello", &error("a message is one JSON object"));
        check(GUEST, r#"{"access_token":7}"#, &error("access_token must be a string"));
        let elsewhere = Standing::Guest { by_message: false };
        check(elsewhere, r#"{"access_token":"t"}"#, &error("a token is not accepted by message here"));
    }

    #[test]
    fn a_session_asks_for_topics_within_its_bound() {
        let session = |topics| Standing::Session { topics };
        check(session(0), r#"{"subscribe":["a","b::c"]}"#, r#"authorize [Topic(a)] ["b::c"]"#);
        let error = r#"{"status":"error","error":"too many topics: a session has at most 2"}"#;
        check(session(1), r#"{"subscribe":["a","b"],"ref":7}"#, &error.replace('}', r#","ref":7}"#));
        check(session(1), r#"{"unsubscribe":["a",""]}"#, "unsubscribe [Topic(a)]");
        check(session(1), r#"{"ping":1,"ref":7}"#, r#"{"status":"ok","type":"system","message":"pong","ref":7}"#);
        check(session(1), r#"{"access_token":"t"}"#, "authenticate []");
        let unknown = "unknown command: expected access_token, subscribe, unsubscribe or ping";
        check(session(1), r#"{"x":1}"#, &format!(r#"{{"status":"error","error":"{unknown}"}}"#));
    }
}
