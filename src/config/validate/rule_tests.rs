//! Rule tests: sessions, queries and routes that they name are there, and what they expect is of the kind of the test.

mod surroundings;

use compact_str::CompactString;
use hashbrown::HashMap;
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::config::diagnostics::{Diagnostics, did_you_mean};
use crate::config::model::{
    Config, DropExpectation, EventExpectation, EventTest, Expected, ForgetExpectation, RuleTest, SessionIndex,
    SubscribeTest, TestCase, TestSession, TokenExpectation, TokenTest,
};
use crate::config::place::Place;
use crate::config::raw::{
    At, Field, OneOrMany, RawExpect, RawExpectedIdentity, RawForgets, RawRuleTest, RawSessionNames, Scalars, Text, Tree,
};
use crate::event::Scalar;

pub(in crate::config) use self::surroundings::{identity, mocks, topic};

const KINDS: &str = "`event`, `subscribe` and `token`";
const EXAMPLE: &str = "write one of these:\n\
    event: { data: { type: deal.moved, tenant_id: acme } }\nsubscribe: \"deal:42\"\ntoken: demo-ann";

/// What tests refer to: names of the configuration. `None` where there is none, as it is faulty.
pub(in crate::config) struct Known<'c>(pub(in crate::config) Option<&'c Config>);

/// Names of a kind of thing.
type Names<'k> = Option<Vec<&'k str>>;

/// The tests of one file. Those that are faulty are left out, and reported.
pub(in crate::config) fn rule_tests(
    raw: &[At<RawRuleTest>],
    known: &Known<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<RuleTest> {
    let mut names: HashMap<&str, &Place> = HashMap::new();
    for test in raw {
        let Some(name) = test.value.name.given() else { continue };
        if let Some(first) = names.get(name.value.text.as_str()) {
            let message = format!("the test `{}` stands here a second time", name.shown());
            diagnostics.error(&name.place, message).help(format!("first at {first}; give each a name of its own"));
        } else {
            names.insert(&name.value.text, &name.place);
        }
    }
    raw.iter().filter_map(|test| rule_test(test, known, diagnostics)).collect()
}

fn rule_test(raw: &At<RawRuleTest>, known: &Known<'_>, diagnostics: &mut Diagnostics) -> Option<RuleTest> {
    let RawRuleTest { name, event, amqp, subscribe, token, remote, sessions, queries, expect } = &raw.value;
    let queries = surroundings::mocks(queries, known, diagnostics);
    let sessions = surroundings::sessions(sessions, diagnostics);
    let given = [place(event), place(subscribe), place(token)];
    if let Some(second) = given.into_iter().flatten().nth(1) {
        diagnostics.error(second, format!("a test has one of {KINDS}")).help("make it two tests");
        return None;
    }
    if event.is_missing() {
        not_here(amqp, "amqp", "event", diagnostics);
    }
    if token.is_missing() {
        not_here(remote, "remote_addr", "token", diagnostics);
    }
    let scope = Scope { sessions: sessions.as_deref(), known };
    let case = match (event, subscribe, token) {
        (Field::Given(event), ..) => {
            let (routing_key, headers) = match amqp {
                Field::Missing => (None, Some(Vec::new())),
                Field::Faulty => (None, None),
                Field::Given(amqp) => {
                    let headers = scalars(&amqp.value.headers);
                    (amqp.value.routing_key.value().map(|key| key.text.clone()), headers)
                }
            };
            let expect = scope.event(expect.given()?, diagnostics);
            let body = body(event, diagnostics);
            TestCase::Event(EventTest {
                body: body?,
                place: event.place.clone(),
                routing_key,
                headers: headers?,
                expect: expect?,
            })
        }
        (_, Field::Given(topic), _) => TestCase::Subscribe(scope.subscribe(topic, expect.given()?, diagnostics)?),
        (.., Field::Given(token)) => {
            let expect = of_token(expect.given()?, diagnostics)?;
            let remote = remote.value().map_or_else(|| "127.0.0.1".to_owned(), |remote| remote.text.clone());
            if token.value.0.expose_secret().is_empty() {
                diagnostics.error(&token.place, "the token is empty");
            }
            TestCase::Token(TokenTest { token: token.value.0.clone(), place: token.place.clone(), remote, expect })
        }
        (Field::Missing, Field::Missing, Field::Missing) => {
            diagnostics.error(&raw.place, format!("this test has none of {KINDS}")).help(EXAMPLE);
            return None;
        }
        _ => return None,
    };
    let name = name.given()?;
    Some(RuleTest {
        name: name.value.text.clone(),
        place: name.place.clone(),
        queries: queries?,
        sessions: sessions?,
        case,
    })
}

/// The body of an event: a map, or the text of one.
fn body(event: &At<Tree>, diagnostics: &mut Diagnostics) -> Option<String> {
    let text = match &event.value.0 {
        Value::String(text) => text.clone(),
        Value::Object(_) => return Some(event.value.0.to_string()),
        _ => {
            diagnostics.error(&event.place, "an event is a map, or the text of a JSON object");
            return None;
        }
    };
    match serde_json::from_str::<serde_json::Map<String, Value>>(&text) {
        Ok(_) => Some(text),
        Err(error) => {
            diagnostics.error(&event.place, format!("this text is no JSON object: {error}"));
            None
        }
    }
}

/// What a test's expectations refer to.
struct Scope<'t> {
    /// `None` where they are faulty.
    sessions: Option<&'t [TestSession]>,
    known: &'t Known<'t>,
}

impl Scope<'_> {
    fn event(&self, expect: &At<RawExpect>, diagnostics: &mut Diagnostics) -> Option<EventExpectation> {
        let RawExpect { route, reaches, payload, dropped, forgets, disconnects, allows, unavailable, rule, identity } =
            &expect.value;
        not_here(allows, "allows", "subscribe", diagnostics);
        not_here(unavailable, "unavailable", "subscribe", diagnostics);
        not_here(rule, "rule", "subscribe", diagnostics);
        not_here(identity, "identity", "token", diagnostics);
        let routes = expected(route, |at| self.routes(&at.value, diagnostics));
        let reaches = expected(reaches, |at| self.indexes(&at.value, diagnostics));
        let payloads = match payload {
            Field::Missing => Some(Vec::new()),
            Field::Faulty => None,
            Field::Given(payload) => {
                let each = |(name, value): &(At<String>, Field<Tree>)| {
                    let index = self.index(&name.value, &name.place, diagnostics);
                    let value = value.given()?;
                    Some((index?, Expected { value: value.value.0.clone(), place: value.place.clone() }))
                };
                let all: Vec<_> = payload.value.0.iter().map(each).collect();
                all.into_iter().collect()
            }
        };
        let dropped = expected(dropped, |at| match &at.value.value {
            Scalar::Bool(true) => Some(DropExpectation::Somehow),
            Scalar::Text(reason) if !reason.is_empty() => Some(DropExpectation::Because(reason.clone())),
            _ => {
                diagnostics
                    .error(&at.place, "`dropped` is true, or says why")
                    .help("leave it out where somebody gets it");
                None
            }
        });
        let forgets = expected(forgets, |at| {
            let all: Vec<_> = at.value.0.iter().map(|at| self.forgets(&at.value, diagnostics)).collect();
            all.into_iter().collect()
        });
        let disconnects = expected(disconnects, |at| self.indexes(&at.value, diagnostics));
        let (reaches, payloads, dropped) = (reaches?, payloads?, dropped?);
        if let (Some(dropped), Some(_)) = (&dropped, reaches.as_ref().filter(|reached| !reached.value.is_empty())) {
            diagnostics
                .error(&dropped.place, "an event that is dropped reaches nobody")
                .help("leave out one of the two");
        }
        for (index, payload) in &payloads {
            if reaches.as_ref().is_some_and(|reached| !reached.value.contains(index)) {
                let name = self.sessions.and_then(|all| all.get(index.0)).map_or("?", |session| session.name.as_str());
                diagnostics.error(&payload.place, format!("`{name}` gets a payload, and is not one of `reaches`"));
            }
        }
        let (routes, forgets, disconnects) = (routes?, forgets?, disconnects?);
        if says_nothing(&expect.value) {
            diagnostics
                .error(&expect.place, "this expects nothing")
                .help("write { route: NAME, reaches: [SESSION] }, or { dropped: true }");
        }
        Some(EventExpectation { routes, reaches, payloads, dropped, forgets, disconnects })
    }

    fn subscribe(
        &self,
        topic: &At<Text>,
        expect: &At<RawExpect>,
        diagnostics: &mut Diagnostics,
    ) -> Option<SubscribeTest> {
        let RawExpect { route, reaches, payload, dropped, forgets, disconnects, allows, unavailable, rule, identity } =
            &expect.value;
        only_of_events((route, reaches, payload), (dropped, forgets, disconnects), diagnostics);
        not_here(identity, "identity", "token", diagnostics);
        let name = surroundings::topic(topic, diagnostics);
        let allows = expected(allows, |at| self.indexes(&at.value, diagnostics));
        let unavailable = expected(unavailable, |at| self.indexes(&at.value, diagnostics));
        let rule = expected(rule, |at| {
            let text = at.value.text.as_str();
            is_known(text, &at.place, "topic rule", self.known.patterns().as_deref(), diagnostics)
                .then(|| text.to_owned())
        });
        let (allows, unavailable, rule) = (allows?, unavailable?, rule?);
        if says_nothing(&expect.value) {
            diagnostics
                .error(&expect.place, "this expects nothing")
                .help("write { allows: [SESSION] }, or [] for nobody");
        }
        if self.sessions.is_some_and(<[_]>::is_empty) {
            diagnostics
                .error(&topic.place, "there is no session that could subscribe")
                .help("add sessions: { ann: { user: 7, tenant: acme } }");
        }
        Some(SubscribeTest { topic: name?, place: topic.place.clone(), allows, unavailable, rule })
    }

    fn routes(&self, raw: &OneOrMany<Text>, diagnostics: &mut Diagnostics) -> Option<Vec<CompactString>> {
        let known = self.known.routes();
        let each = |at: &At<Text>| {
            let name = at.value.text.as_str();
            is_known(name, &at.place, "route", known.as_deref(), diagnostics).then(|| name.into())
        };
        let all: Vec<_> = raw.0.iter().map(each).collect();
        all.into_iter().collect()
    }

    fn forgets(&self, raw: &RawForgets, diagnostics: &mut Diagnostics) -> Option<ForgetExpectation> {
        let query = raw.query.given()?;
        let name = query.value.text.as_str();
        let is_known = is_known(name, &query.place, "query", self.known.queries().as_deref(), diagnostics);
        let with = match &raw.with {
            Field::Missing => Some(None),
            with => scalars(with).map(Some),
        };
        let with = with?;
        is_known.then(|| ForgetExpectation { query: name.into(), with })
    }

    /// The sessions of these names, sorted, each once.
    fn indexes(&self, names: &RawSessionNames, diagnostics: &mut Diagnostics) -> Option<Vec<SessionIndex>> {
        let all: Vec<_> = names.0.iter().map(|at| self.index(&at.value.text, &at.place, diagnostics)).collect();
        let mut indexes: Vec<SessionIndex> = all.into_iter().collect::<Option<_>>()?;
        indexes.sort_unstable();
        indexes.dedup();
        Some(indexes)
    }

    fn index(&self, name: &str, place: &Place, diagnostics: &mut Diagnostics) -> Option<SessionIndex> {
        let sessions = self.sessions?;
        let index = sessions.iter().position(|session| session.name == name);
        if index.is_none() {
            let names = sessions.iter().map(|session| session.name.as_str());
            let message = format!("there is no session `{name}` in this test{}", did_you_mean(name, names));
            diagnostics.error(place, message).help("name it in `sessions`");
        }
        index.map(SessionIndex)
    }
}

fn of_token(expect: &At<RawExpect>, diagnostics: &mut Diagnostics) -> Option<Expected<TokenExpectation>> {
    let RawExpect { route, reaches, payload, dropped, forgets, disconnects, allows, unavailable, rule, identity } =
        &expect.value;
    only_of_events((route, reaches, payload), (dropped, forgets, disconnects), diagnostics);
    not_here(allows, "allows", "subscribe", diagnostics);
    not_here(unavailable, "unavailable", "subscribe", diagnostics);
    not_here(rule, "rule", "subscribe", diagnostics);
    if identity.is_missing() {
        let help = "write identity: { user: 7, tenant: acme }, identity: denied or identity: unavailable";
        diagnostics.error(&expect.place, "`identity` is missing").help(help);
    }
    let at = identity.given()?;
    let value = match &at.value {
        RawExpectedIdentity::Denied => TokenExpectation::Denied,
        RawExpectedIdentity::Unavailable => TokenExpectation::Unavailable,
        RawExpectedIdentity::Of(raw) => {
            if let Some(topics) = raw.topics.given() {
                diagnostics.error(&topics.place, "a token says nothing of topics").help("test `subscribe` instead");
            }
            TokenExpectation::Identity(surroundings::identity(raw, diagnostics)?)
        }
    };
    Some(Expected { value, place: at.place.clone() })
}

impl Known<'_> {
    fn queries(&self) -> Names<'_> {
        let database = self.0?.database.as_ref();
        Some(database.map_or(&[][..], |database| &database.queries).iter().map(|query| query.name.as_str()).collect())
    }

    fn routes(&self) -> Names<'_> {
        Some(self.0?.routes.iter().map(|route| route.name.as_str()).collect())
    }

    fn patterns(&self) -> Option<Vec<String>> {
        Some(self.0?.topics.iter().map(|rule| rule.pattern.to_string()).collect())
    }
}

/// Whether something of this name is known, or nobody can tell. What is not is reported.
fn is_known<S: AsRef<str>>(
    name: &str,
    place: &Place,
    what: &str,
    names: Option<&[S]>,
    diagnostics: &mut Diagnostics,
) -> bool {
    let Some(names) = names else { return true };
    let is_known = names.iter().any(|known| known.as_ref() == name);
    if !is_known {
        let meant = did_you_mean(name, names.iter().map(AsRef::as_ref));
        diagnostics.error(place, format!("there is no {what} `{name}`{meant}"));
    }
    is_known
}

/// What an expectation that may be left out comes to: `Some(None)` where it is.
#[expect(clippy::option_option, reason = "whether it is right, and whether it is there")]
fn expected<T, U>(field: &Field<T>, validate: impl FnOnce(&At<T>) -> Option<U>) -> Option<Option<Expected<U>>> {
    super::optional_at(field, |at| validate(at).map(|value| Expected { value, place: at.place.clone() }))
}

fn only_of_events<A, B, C, D, E, F>(
    (route, reaches, payload): (&Field<A>, &Field<B>, &Field<C>),
    (dropped, forgets, disconnects): (&Field<D>, &Field<E>, &Field<F>),
    diagnostics: &mut Diagnostics,
) {
    not_here(route, "route", "event", diagnostics);
    not_here(reaches, "reaches", "event", diagnostics);
    not_here(payload, "payload", "event", diagnostics);
    not_here(dropped, "dropped", "event", diagnostics);
    not_here(forgets, "forgets", "event", diagnostics);
    not_here(disconnects, "disconnects", "event", diagnostics);
}

fn says_nothing(raw: &RawExpect) -> bool {
    let RawExpect { route, reaches, payload, dropped, forgets, disconnects, allows, unavailable, rule, identity } = raw;
    let of_events = route.is_missing() && reaches.is_missing() && payload.is_missing() && dropped.is_missing();
    let of_actions = forgets.is_missing() && disconnects.is_missing();
    of_events
        && of_actions
        && allows.is_missing()
        && unavailable.is_missing()
        && rule.is_missing()
        && identity.is_missing()
}

fn not_here<T>(field: &Field<T>, name: &str, kind: &str, diagnostics: &mut Diagnostics) {
    if let Some(at) = field.given() {
        diagnostics.error(&at.place, format!("`{name}` belongs to a test of `{kind}`, and this is none"));
    }
}

fn scalars(field: &Field<Scalars>) -> Option<Vec<(CompactString, Scalar)>> {
    match field {
        Field::Missing => Some(Vec::new()),
        Field::Faulty => None,
        Field::Given(all) => all
            .value
            .0
            .iter()
            .map(|(name, value)| Some((name.value.as_str().into(), value.value()?.value.clone())))
            .collect(),
    }
}

fn place<T>(field: &Field<T>) -> Option<&Place> {
    field.given().map(|at| &at.place)
}
