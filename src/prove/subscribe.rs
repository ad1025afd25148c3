//! Tests of who may subscribe.

use super::report::names;
use super::{Difference, Unmocked};
use crate::config::{Expected, RuleTest, SessionIndex, SubscribeTest};
use crate::explain::{Person, Wish, wish};
use crate::reload::Rulebook;
use crate::shard::Verdict;

/// What came otherwise than the test says.
pub(super) fn differences(rulebook: &Rulebook, test: &RuleTest, case: &SubscribeTest) -> Vec<Difference> {
    let mocked = Unmocked::new(test);
    let respond = |query: &str, tenant: Option<&_>, binds: &_| mocked.answer(query, tenant, binds);
    let each = |session| wish(rulebook, &Person::from(session), &case.topic, &respond);
    let wishes: Vec<Wish> = test.sessions.iter().map(each).collect();
    let mut differences = mocked.into_differences();
    if !differences.is_empty() {
        return differences;
    }
    let rule = rulebook.topics.deciding(&case.topic).map(ToString::to_string);
    let by = rule.as_ref().map_or_else(
        || format!("no topic rule matches {}, so nobody may", case.topic),
        |rule| format!("the rule `{rule}` decides"),
    );
    let mut check = |about, expected: Option<&Expected<Vec<SessionIndex>>>, verdict: Verdict| {
        let Some(expected) = expected else { return };
        let of = wishes.iter().enumerate().filter(|(_, wish)| wish.verdict == verdict);
        let got: Vec<SessionIndex> = of.map(|(number, _)| SessionIndex(number)).collect();
        if got != expected.value {
            let mut notes = vec![by.clone()];
            for (number, wish) in wishes.iter().enumerate() {
                let is_same = expected.value.contains(&SessionIndex(number)) == (wish.verdict == verdict);
                if let (false, Some(error)) = (is_same, &wish.error) {
                    notes.push(format!("{}: the plugin failed: {error}", test.sessions[number].name));
                }
            }
            let (place, expected) = (expected.place.to_string(), names(test, &expected.value));
            differences.push(Difference { about, place, expected, got: names(test, &got), notes });
        }
    };
    check("allows", case.allows.as_ref(), Verdict::Allowed);
    check("unavailable", case.unavailable.as_ref(), Verdict::Unavailable);
    if let Some(expected) = case.rule.as_ref().filter(|expected| rule.as_deref() != Some(expected.value.as_str())) {
        differences.push(Difference {
            about: "rule",
            place: expected.place.to_string(),
            expected: expected.value.clone(),
            got: rule.unwrap_or_else(|| "no rule matches".to_owned()),
            notes: Vec::new(),
        });
    }
    differences
}
