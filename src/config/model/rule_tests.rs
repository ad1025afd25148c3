//! Rule tests: what a rulebook must make of an event, a wish to subscribe, or a token, with everything else given.
//!
//! Invariant: a test names queries, routes and patterns that the configuration has, and sessions that it has itself.

use std::sync::Arc;

use compact_str::CompactString;
use secrecy::SecretString;

use super::TokenIdentity;
use crate::config::place::Place;
use crate::event::{Scalar, Topic};
use crate::lookup::Rows;

/// One rule test.
#[derive(Clone, Debug)]
pub struct RuleTest {
    /// What it shows, in words. No two of a file are alike.
    pub name: String,
    /// Where its name stands.
    pub place: Place,
    /// What the database would say. A query that is not here is not expected to be asked: the test fails.
    pub queries: Vec<MockQuery>,
    /// Who is there, by name: a [`SessionIndex`] each.
    pub sessions: Vec<TestSession>,
    /// What happens, and what must come of it.
    pub case: TestCase,
}

/// One of a test's sessions, by its position in [`RuleTest::sessions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionIndex(pub usize);

/// A session of a test.
#[derive(Clone, Debug)]
pub struct TestSession {
    /// What the test calls it.
    pub name: CompactString,
    /// Where that stands.
    pub place: Place,
    /// Whose it is.
    pub identity: TokenIdentity,
    /// What it is subscribed to, whatever the topic rules say.
    pub topics: Vec<Topic>,
}

/// A query of a test, and what the database would say.
#[derive(Clone, Debug)]
pub struct MockQuery {
    /// Its name: one of the configuration's.
    pub name: CompactString,
    /// The first whose binds are all bound so counts. Where none does, the test fails.
    pub cases: Vec<MockCase>,
}

/// An answer, and when it is given.
#[derive(Clone, Debug)]
pub struct MockCase {
    /// What must be bound, `tenant` too where it is here. Values are compared as ids are: `7` and `"7"` are the same.
    pub with: Vec<(CompactString, Scalar)>,
    /// What is answered.
    pub answer: MockAnswer,
}

/// What the database would say.
#[derive(Clone, Debug, PartialEq)]
pub enum MockAnswer {
    /// These rows.
    Rows(Arc<Rows>),
    /// Nothing: it cannot be reached.
    Unavailable,
    /// It refuses the query.
    Failed,
}

/// What happens in a test, and what must come of it.
#[derive(Clone, Debug)]
pub enum TestCase {
    /// An event comes.
    Event(EventTest),
    /// Every session of the test wishes to subscribe to a topic.
    Subscribe(SubscribeTest),
    /// A client comes with a token.
    Token(TokenTest),
}

/// A test of what becomes of an event.
#[derive(Clone, Debug)]
pub struct EventTest {
    /// The published body: JSON.
    pub body: String,
    /// Where it stands.
    pub place: Place,
    /// The routing key that it comes with, where it comes by AMQP.
    pub routing_key: Option<String>,
    /// The headers that it comes with.
    pub headers: Vec<(CompactString, Scalar)>,
    /// What must come of it.
    pub expect: EventExpectation,
}

/// What must come of an event. What is not said may be anything; at least something is said.
#[derive(Clone, Debug, Default)]
pub struct EventExpectation {
    /// The routes that decide, in order.
    pub routes: Option<Expected<Vec<CompactString>>>,
    /// Exactly these sessions get it, each once. Sorted.
    pub reaches: Option<Expected<Vec<SessionIndex>>>,
    /// What these get for a payload: this JSON, whatever the order of its keys. They get the event.
    pub payloads: Vec<(SessionIndex, Expected<serde_json::Value>)>,
    /// Nobody gets it.
    pub dropped: Option<Expected<DropExpectation>>,
    /// Exactly these queries' answers are forgotten, each of them whole or some of its answers.
    pub forgets: Option<Expected<Vec<ForgetExpectation>>>,
    /// Exactly these sessions are disconnected. Sorted.
    pub disconnects: Option<Expected<Vec<SessionIndex>>>,
}

/// Something that a test expects, and where it says so.
#[derive(Clone, Debug)]
pub struct Expected<T> {
    /// What.
    pub value: T,
    /// Where.
    pub place: Place,
}

/// Why nobody gets an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropExpectation {
    /// For any reason.
    Somehow,
    /// For this one: what a plugin gave to `to:drop`, or a cause as metrics name it (`no_route`, `no_tenant`).
    Because(CompactString),
}

/// Whose answers are forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct ForgetExpectation {
    /// The query's name.
    pub query: CompactString,
    /// What was bound in them. Where it is not said, it may be anything.
    pub with: Option<Vec<(CompactString, Scalar)>>,
}

/// A test of who may subscribe.
#[derive(Clone, Debug)]
pub struct SubscribeTest {
    /// To what.
    pub topic: Topic,
    /// Where it stands.
    pub place: Place,
    /// Exactly these sessions may. Sorted.
    pub allows: Option<Expected<Vec<SessionIndex>>>,
    /// Exactly for these nobody can say: a query or a plugin has failed. Sorted.
    pub unavailable: Option<Expected<Vec<SessionIndex>>>,
    /// The pattern of the topic rule that decides, as the configuration writes it.
    pub rule: Option<Expected<String>>,
}

/// A test of whose token it is.
#[derive(Clone, Debug)]
pub struct TokenTest {
    /// The token.
    pub token: SecretString,
    /// Where it stands.
    pub place: Place,
    /// The address of who comes with it.
    pub remote: String,
    /// What must come of it.
    pub expect: Expected<TokenExpectation>,
}

/// What must come of a token.
#[derive(Clone, Debug)]
pub enum TokenExpectation {
    /// It is this user's. Attributes that are named must be so; there may be others.
    Identity(TokenIdentity),
    /// Nobody knows it.
    Denied,
    /// Nobody can say: what must be asked has failed.
    Unavailable,
}
