//! What is told of an event: the shape that programs get as JSON, and that is written out for people.
//!
//! Fields are only ever added. Texts are for people, and may be worded otherwise; everything that a program decides by
//! is a word of its own.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

/// What the rules make of one event.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The event.
    pub event: EventTold,
    /// What came of it.
    pub decision: DecisionTold,
    /// The routes that were tried, in order, up to the one that decided.
    pub routes: Vec<RouteTold>,
    /// Those that were not, as one before them had decided.
    pub not_tried: Vec<String>,
    /// The queries that are asked.
    pub queries: Vec<QueryTold>,
    /// What plugins wrote to the log.
    pub log: Vec<LogTold>,
    /// The sessions that were given, in their order.
    pub sessions: Vec<SessionTold>,
    /// How long it took from bytes to decision, in microseconds.
    pub took_us: u128,
}

/// The event.
#[derive(Debug, Serialize)]
pub struct EventTold {
    /// Whose it is.
    pub tenant: Option<String>,
    /// What the application calls it.
    pub id: Option<Box<RawValue>>,
    /// What kind of event it is.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What clients get, unless their audience says otherwise.
    pub payload: Box<RawValue>,
}

/// What came of an event.
#[derive(Debug, Serialize)]
pub struct DecisionTold {
    /// `sent`, `acted`, `nobody`, `dropped`, or `depends` on queries whose answer is not known.
    pub outcome: &'static str,
    /// Why it was dropped: `no_route`, what the route that held came to, or the reason that a plugin gave.
    pub cause: Option<String>,
    /// The routes that held.
    pub routes: Vec<String>,
    /// The same in a sentence.
    pub says: String,
}

/// A route that was tried.
#[derive(Debug, Serialize)]
pub struct RouteTold {
    /// Its name.
    pub name: String,
    /// `fast_path`, `query` or `script`, as `check` says.
    pub kind: &'static str,
    /// The plugin that it asks.
    pub plugin: Option<String>,
    /// Whether all of its conditions hold.
    pub holds: bool,
    /// The routes after it are tried even where it holds.
    pub goes_on: bool,
    /// Its conditions.
    pub conditions: Vec<ConditionTold>,
    /// What it came to, where it holds: `audience`, `nobody`, `no_tenant`, `everyone_of_a_tenant`, `action`,
    /// `lookup_failed`, `script_failed`, `dropped`, or `depends`.
    pub outcome: Option<&'static str>,
    /// Whose sessions its audience is about.
    pub scope: Option<String>,
    /// The same in words: the audience as an expression.
    pub says: Option<String>,
    /// The parts of the audience: a session of which one holds gets the event.
    pub parts: Vec<PartTold>,
}

/// A condition of a route.
#[derive(Debug, Serialize)]
pub struct ConditionTold {
    /// The field.
    pub field: String,
    /// What stands there.
    pub found: String,
    /// What the condition asks for.
    pub wanted: String,
    /// Whether it holds.
    pub holds: bool,
}

/// A part of an audience.
#[derive(Debug, Serialize)]
pub struct PartTold {
    /// Whom it is about.
    pub says: String,
    /// What these get of the payload, where that is not the whole of it.
    pub payload: Option<String>,
    /// Fields that it needs and in which nothing stands.
    pub missing: Vec<String>,
    /// Whether it is about anybody.
    pub names_somebody: bool,
}

/// A query that is asked.
#[derive(Debug, Serialize)]
pub struct QueryTold {
    /// Its name.
    pub query: String,
    /// What is bound, `tenant` too.
    pub binds: serde_json::Map<String, serde_json::Value>,
    /// The rows that it was given as its answer.
    pub rows: Option<Vec<serde_json::Map<String, serde_json::Value>>>,
    /// Why it has none.
    pub error: Option<String>,
    /// Whether it was given an answer at all.
    pub answered: bool,
    /// The same in words.
    #[serde(skip)]
    pub says: String,
}

/// A line that a plugin wrote to the log.
#[derive(Debug, Serialize)]
pub struct LogTold {
    /// `info` or `warn`.
    pub level: &'static str,
    /// Which plugin.
    pub plugin: String,
    /// Its line.
    pub line: Option<usize>,
    /// What it says.
    pub text: String,
}

/// Whether a session gets an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reaches {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// That depends on a query whose answer is not known.
    Depends,
}

/// What comes to a session.
#[derive(Debug, Serialize)]
pub struct SessionTold {
    /// What it is called.
    pub name: String,
    /// The user.
    pub user: String,
    /// The user's tenant.
    pub tenant: String,
    /// Whether it gets the event.
    pub gets_it: Reaches,
    /// By which route, where it does.
    pub route: Option<String>,
    /// By which part of the expression, or which parts it fails.
    pub because: Vec<String>,
    /// What it gets.
    pub payload: Option<Box<RawValue>>,
    /// What is odd about the session itself.
    pub notes: Vec<String>,
    /// Whether it gets the event as the words say. Live delivery's own answer is `gets_it`.
    #[serde(skip)]
    pub by_words: Reaches,
}

impl Explanation {
    /// How long it took from bytes to decision.
    pub(super) fn took(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.took_us).unwrap_or(u64::MAX))
    }
}
