//! Why something came otherwise than a test says, in the words of an explanation.

use std::collections::BTreeMap;

use crate::config::{EventTest, RuleTest, SessionIndex};
use crate::explain::{self, Explanation, PartTold, Person, Published, RouteTold};
use crate::reload::Rulebook;

/// Routes that did not hold and are told of.
const MOST_ROUTES: usize = 5;

/// The sessions of these numbers, by what the test calls them.
pub(super) fn names(test: &RuleTest, sessions: &[SessionIndex]) -> String {
    let names: Vec<&str> = sessions.iter().map(|SessionIndex(number)| test.sessions[*number].name.as_str()).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

/// The test's event, explained.
pub(super) fn again(rulebook: &Rulebook, published: &Published, test: &RuleTest) -> Option<Explanation> {
    let people: Vec<Person> = test.sessions.iter().map(Person::from).collect();
    explain::explain(rulebook, published, &people, &test.queries).ok()
}

/// What explains a difference.
pub(super) fn why(
    about: &str,
    told: Option<&Explanation>,
    test: &RuleTest,
    case: &EventTest,
    reached: &BTreeMap<usize, Vec<u8>>,
) -> Vec<String> {
    let Some(told) = told else { return Vec::new() };
    match about {
        "route" => routes(told, case),
        "reaches" => sessions(told, test, case, reached),
        "dropped" => {
            told.routes.iter().filter_map(|route| Some(format!("`{}`: {}", route.name, route.says.as_ref()?))).collect()
        }
        _ => Vec::new(),
    }
}

/// Why the routes that were expected do not hold.
fn routes(told: &Explanation, case: &EventTest) -> Vec<String> {
    let Some(expected) = &case.expect.routes else { return Vec::new() };
    let mut notes = Vec::new();
    for name in &expected.value {
        if told.not_tried.iter().any(|other| other == name) {
            notes.push(format!("`{name}` was not tried any more: `{}` had decided", told.decision.routes.join("`, `")));
        }
        let Some(route) = told.routes.iter().find(|route| route.name == *name && !route.holds) else { continue };
        for condition in route.conditions.iter().filter(|condition| !condition.holds) {
            let (field, found, wanted) = (&condition.field, &condition.found, &condition.wanted);
            notes.push(format!("`{name}` does not hold: {field} is {found}; wanted: {wanted}"));
        }
    }
    notes.truncate(MOST_ROUTES);
    notes
}

/// Why a session that was expected did not get the event, and one that was not did.
fn sessions(told: &Explanation, test: &RuleTest, case: &EventTest, reached: &BTreeMap<usize, Vec<u8>>) -> Vec<String> {
    let Some(expected) = &case.expect.reaches else { return Vec::new() };
    let mut notes = Vec::new();
    let mut is_nobodys = false;
    for (number, session) in told.sessions.iter().enumerate() {
        let (name, because) = (&test.sessions[number].name, &session.because);
        match (expected.value.contains(&SessionIndex(number)), reached.contains_key(&number)) {
            (true, false) if because.is_empty() => {
                is_nobodys = true;
                notes.push(format!("{name} does not get it, as nobody does"));
            }
            (true, false) => notes.push(format!("{name} does not get it: {}", because.join("; and "))),
            (false, true) => {
                let route = session.route.as_deref().unwrap_or("?");
                notes.push(format!("{name} gets it by `{route}`: {}", because.join("; ")));
            }
            (true, true) | (false, false) => {}
        }
    }
    if is_nobodys {
        notes.extend(nobody(told));
    }
    notes
}

/// Why nobody gets the event, by the routes of which no part says so of a session.
fn nobody(told: &Explanation) -> Vec<String> {
    if told.decision.routes.is_empty() {
        return vec![told.decision.says.clone()];
    }
    let says = |route: &RouteTold| {
        let said: Vec<String> = match route.parts.as_slice() {
            [] => route.says.iter().cloned().collect(),
            parts => parts.iter().filter(|part| !part.names_somebody).flat_map(PartTold::remarks).collect(),
        };
        (!said.is_empty()).then(|| format!("`{}`: {}", route.name, said.join("; ")))
    };
    told.routes.iter().filter_map(says).collect()
}
