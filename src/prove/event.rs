//! Tests of what becomes of an event.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::report::{again, names, why};
use super::{Difference, Unmocked};
use crate::config::{DropExpectation, EventTest, Expected, ForgetExpectation, RuleTest, SessionIndex};
use crate::event::UserId;
use crate::explain::{Crowd, Person, Published, Rehearsal, cause, shown_binds, shown_forget};
use crate::lookup::Forget;
use crate::reload::Rulebook;
use crate::route::{Action, Outcome, RouteId};

/// What came to a test's sessions.
struct Came<'t> {
    rulebook: &'t Rulebook,
    test: &'t RuleTest,
    case: &'t EventTest,
    rehearsal: Rehearsal,
    reached: BTreeMap<usize, Vec<u8>>,
    differences: Vec<Difference>,
}

/// The routes that the event came to, and what came otherwise than the test says.
pub(super) fn differences(rulebook: &Rulebook, test: &RuleTest, case: &EventTest) -> (Vec<RouteId>, Vec<Difference>) {
    let published = Published {
        body: Bytes::copy_from_slice(case.body.as_bytes()),
        routing_key: case.routing_key.clone(),
        headers: case.headers.clone(),
    };
    let mocked = Unmocked::new(test);
    let respond = |query: &str, tenant: Option<&_>, binds: &_| mocked.answer(query, tenant, binds);
    let rehearsal = match Rehearsal::of(rulebook, &published, &respond, &Unmocked::otherwise()) {
        Ok(rehearsal) => rehearsal,
        Err(error) => {
            let place = case.place.to_string();
            let (expected, got) = ("an event".to_owned(), error.to_string());
            return (Vec::new(), vec![Difference { about: "event", place, expected, got, notes: Vec::new() }]);
        }
    };
    let people: Vec<Person> = test.sessions.iter().map(Person::from).collect();
    let reached = Crowd::new(&people).reached(&rehearsal.audiences(), rehearsal.decision.event());
    let routes = rehearsal.decision.decided().iter().map(|decided| decided.route).collect();
    let differences = mocked.into_differences();
    if !differences.is_empty() {
        // What it came to without these answers says nothing.
        return (routes, differences);
    }
    let mut came = Came { rulebook, test, case, rehearsal, reached, differences };
    came.check();
    if !came.differences.is_empty() {
        let told = again(rulebook, &published, test);
        for difference in &mut came.differences {
            difference.notes.extend(why(difference.about, told.as_ref(), test, case, &came.reached));
        }
    }
    (routes, came.differences)
}

impl Came<'_> {
    fn check(&mut self) {
        let expect = &self.case.expect;
        if let Some(routes) = &expect.routes {
            let decided = self.rehearsal.decision.decided();
            let got: Vec<&str> = decided.iter().map(|decided| self.rulebook.routes.name(decided.route)).collect();
            if got != routes.value.iter().map(compact_str::CompactString::as_str).collect::<Vec<_>>() {
                let got = if got.is_empty() { "no route holds".to_owned() } else { got.join(", ") };
                self.differ("route", routes, routes.value.join(", "), got);
            }
        }
        if let Some(reaches) = &expect.reaches {
            let got: Vec<SessionIndex> = self.reached.keys().map(|number| SessionIndex(*number)).collect();
            if got != reaches.value {
                let (expected, got) = (names(self.test, &reaches.value), names(self.test, &got));
                self.differ("reaches", reaches, expected, got);
            }
        }
        self.payloads();
        if let Some(dropped) = &expect.dropped {
            let why = cause(&self.rehearsal);
            let is_so = !self.rehearsal.decision.has_audience()
                && match &dropped.value {
                    DropExpectation::Somehow => true,
                    DropExpectation::Because(wanted) => why.as_deref() == Some(wanted.as_str()),
                };
            if !is_so {
                let expected = match &dropped.value {
                    DropExpectation::Somehow => "nobody gets it".to_owned(),
                    DropExpectation::Because(wanted) => format!("nobody gets it: {wanted}"),
                };
                let got = match why {
                    Some(why) => format!("nobody gets it: {why}"),
                    None if self.rehearsal.decision.has_audience() => "it has an audience".to_owned(),
                    None => "nobody gets it, as the route says".to_owned(),
                };
                self.differ("dropped", dropped, expected, got);
            }
        }
        self.forgets();
        self.disconnects();
    }

    fn payloads(&mut self) {
        for (SessionIndex(number), expected) in &self.case.expect.payloads {
            let name = &self.test.sessions[*number].name;
            let got = self.reached.get(number).map(|got| serde_json::from_slice::<serde_json::Value>(got));
            let shown = match &got {
                Some(Ok(got)) if *got == expected.value => continue,
                Some(Ok(got)) => format!("{name}: {got}"),
                Some(Err(error)) => format!("{name}: no JSON, {error}"),
                None => format!("{name} does not get the event"),
            };
            self.differ("payload", expected, format!("{name}: {}", expected.value), shown);
        }
    }

    fn forgets(&mut self) {
        let Some(expected) = &self.case.expect.forgets else { return };
        let got: Vec<&Forget> = self.actions(|action| match action {
            Action::Forget(forget) => Some(forget),
            Action::Disconnect(_) => None,
        });
        let is = |wanted: &ForgetExpectation, forget: &&Forget| {
            let query = self.rulebook.queries.by_name(&wanted.query);
            let binds = wanted.with.as_ref();
            query == Some(forget.query) && binds.is_none_or(|with| is_bound(with, forget))
        };
        let all = expected.value.iter().all(|wanted| got.iter().any(|forget| is(wanted, forget)));
        let none_else = got.iter().all(|forget| expected.value.iter().any(|wanted| is(wanted, forget)));
        if !(all && none_else) {
            let shown = expected.value.iter().map(|wanted| match &wanted.with {
                None => wanted.query.to_string(),
                Some(with) => format!("{} ({})", wanted.query, shown_binds(None, &with.iter().cloned().collect())),
            });
            let got: Vec<String> = got.iter().map(|forget| shown_forget(self.rulebook, forget)).collect();
            self.differ("forgets", expected, list(&shown.collect::<Vec<_>>()), list(&got));
        }
    }

    fn disconnects(&mut self) {
        let Some(expected) = &self.case.expect.disconnects else { return };
        let users: Vec<&UserId> = self
            .actions(|action| match action {
                Action::Disconnect(users) => Some(users),
                Action::Forget(_) => None,
            })
            .into_iter()
            .flatten()
            .collect();
        let tenant = self.rehearsal.decision.event().tenant();
        let sessions =
            self.test.sessions.iter().enumerate().filter(|(_, session)| {
                tenant == Some(&session.identity.tenant) && users.contains(&&session.identity.user)
            });
        let got: Vec<SessionIndex> = sessions.map(|(number, _)| SessionIndex(number)).collect();
        if got != expected.value {
            self.differ("disconnects", expected, names(self.test, &expected.value), names(self.test, &got));
        }
    }

    fn actions<'c, T>(&'c self, pick: impl Fn(&'c Action) -> Option<T>) -> Vec<T> {
        let outcomes = self.rehearsal.decision.decided().iter().map(|decided| &decided.outcome);
        outcomes.flat_map(Outcome::actions).filter_map(pick).collect()
    }

    fn differ<T>(&mut self, about: &'static str, of: &Expected<T>, expected: String, got: String) {
        let place = of.place.to_string();
        self.differences.push(Difference { about, place, expected, got, notes: Vec::new() });
    }
}

/// Whether exactly this is bound.
fn is_bound(with: &[(compact_str::CompactString, crate::event::Scalar)], forget: &Forget) -> bool {
    let same = |(name, value): &(compact_str::CompactString, crate::event::Scalar)| {
        let bound = forget.binds.iter().find(|(bound, _)| bound == name);
        bound.is_some_and(|(_, bound)| bound.as_value().text() == value.as_value().text())
    };
    with.len() == forget.binds.len() && with.iter().all(same)
}

fn list(all: &[String]) -> String {
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}
