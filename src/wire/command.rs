//! What a client says: one JSON object a message.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A client's message.
#[derive(Debug)]
pub struct Message {
    /// What it asks for.
    pub command: Result<Command, CommandError>,
    /// Its `ref`, which comes back with the answer: any JSON value, as it was written.
    pub reference: Option<Box<RawValue>>,
}

/// What a client asks for.
#[derive(Debug)]
pub enum Command {
    /// `access_token`: who the client is.
    Authenticate {
        /// The token.
        token: SecretString,
        /// Topics to subscribe to at once, by the names given.
        topics: Vec<String>,
        /// Whether the client asked for what it missed.
        wants_catch_up: bool,
    },
    /// `subscribe`: topics, by the names given.
    Subscribe(Vec<String>),
    /// `unsubscribe`: topics, by the names given.
    Unsubscribe(Vec<String>),
    /// `ping`
    Ping,
}

/// Why a message is no command. The text goes to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Not JSON, or no object.
    #[error("a message is one JSON object")]
    NotAnObject,
    /// An object with no command in it.
    #[error("unknown command: expected access_token, subscribe, unsubscribe or ping")]
    Unknown,
    /// More than one command.
    #[error("one command a message: {0} and {1} stand together")]
    TwoCommands(&'static str, &'static str),
    /// A command with a value of another type.
    #[error("{0} must be {1}")]
    Type(&'static str, &'static str),
}

impl CommandError {
    /// Whether the message was understood so far that it is known to give no token.
    pub fn is_without_token(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::TwoCommands(first, _) => *first != "access_token",
            Self::NotAnObject | Self::Type(..) => false,
        }
    }
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    access_token: Option<&'a RawValue>,
    #[serde(borrow)]
    subscribe: Option<&'a RawValue>,
    #[serde(borrow)]
    unsubscribe: Option<&'a RawValue>,
    #[serde(borrow)]
    ping: Option<&'a RawValue>,
    #[serde(borrow)]
    topics: Option<&'a RawValue>,
    #[serde(borrow)]
    last_event_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "ref")]
    reference: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Message {
    /// Reads a text message. Unknown keys beside a command are let pass, so that clients may be newer than the server.
    pub fn parse(text: &str) -> Self {
        // A struct can be read from an array also, by position: no client means that.
        let raw = text.trim_ascii_start().starts_with('{').then(|| serde_json::from_str::<Raw<'_>>(text).ok());
        let Some(raw) = raw.flatten() else {
            return Self { command: Err(CommandError::NotAnObject), reference: None };
        };
        Self { command: raw.command(), reference: raw.reference.map(RawValue::to_owned) }
    }
}

impl Raw<'_> {
    fn command(&self) -> Result<Command, CommandError> {
        let given = [
            ("access_token", self.access_token),
            ("subscribe", self.subscribe),
            ("unsubscribe", self.unsubscribe),
            ("ping", self.ping),
        ];
        let mut given = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let (name, value) = given.next().ok_or(CommandError::Unknown)?;
        if let Some((other, _)) = given.next() {
            return Err(CommandError::TwoCommands(name, other));
        }
        match name {
            "access_token" => Ok(Command::Authenticate {
                token: serde_json::from_str::<String>(value.get())
                    .map_err(|_| CommandError::Type("access_token", "a string"))?
                    .into(),
                topics: self.topics.map_or(Ok(Vec::new()), |topics| names("topics", topics))?,
                wants_catch_up: self.last_event_id.is_some(),
            }),
            "subscribe" => names("subscribe", value).map(Command::Subscribe),
            "unsubscribe" => names("unsubscribe", value).map(Command::Unsubscribe),
            _ => Ok(Command::Ping),
        }
    }
}

fn names(key: &'static str, value: &RawValue) -> Result<Vec<String>, CommandError> {
    match serde_json::from_str(value.get()) {
        Ok(OneOrMany::One(name)) => Ok(vec![name]),
        Ok(OneOrMany::Many(names)) => Ok(names),
        Err(_) => Err(CommandError::Type(key, "a list of topics")),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn commands_are_read() {
        let parse = |text| Message::parse(text);
        let message = parse(r#" {"access_token":"t","topics":["a","b"],"last_event_id":7,"ref":{"n":1}}"#);
        let Ok(Command::Authenticate { token, topics, wants_catch_up }) = message.command else { panic!() };
        assert_eq!((token.expose_secret(), topics, wants_catch_up), ("t", vec!["a".into(), "b".into()], true));
        assert_eq!(message.reference.unwrap().get(), r#"{"n":1}"#);
        let Ok(Command::Subscribe(topics)) = parse(r#"{"subscribe":"a","new":1}"#).command else { panic!() };
        assert_eq!(topics, ["a"]);
        assert!(
            matches!(parse(r#"{"unsubscribe":[]}"#).command, Ok(Command::Unsubscribe(topics)) if topics.is_empty())
        );
        assert!(matches!(parse(r#"{"ping":1}"#).command, Ok(Command::Ping)));
    }

    #[test]
    fn what_is_no_command_says_why() {
        for (text, error) in [
            ("", CommandError::NotAnObject),
            ("hello", CommandError::NotAnObject),
            ("[\"t\"]", CommandError::NotAnObject),
            ("{\"ping\":1", CommandError::NotAnObject),
            ("{\"ping\":1}{}", CommandError::NotAnObject),
            ("{}", CommandError::Unknown),
            ("{\"access_token\":null}", CommandError::Unknown),
            ("{\"publish\":1}", CommandError::Unknown),
            ("{\"access_token\":7}", CommandError::Type("access_token", "a string")),
            ("{\"subscribe\":[1]}", CommandError::Type("subscribe", "a list of topics")),
            ("{\"subscribe\":[],\"ping\":1}", CommandError::TwoCommands("subscribe", "ping")),
        ] {
            assert_eq!(Message::parse(text).command.unwrap_err(), error, "{text}");
        }
    }
}
