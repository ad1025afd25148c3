//! The database of a test: what it says, and nothing else.

use std::cell::RefCell;

use super::Difference;
use crate::config::RuleTest;
use crate::event::TenantId;
use crate::explain::{Mocks, shown_binds};
use crate::lookup::{Binds, LookupError};
use crate::route::Answer;

/// Answers by a test's `queries`, and notes what is asked beyond.
pub(super) struct Unmocked<'t> {
    test: &'t RuleTest,
    asked: RefCell<Vec<Difference>>,
}

impl<'t> Unmocked<'t> {
    pub(super) fn new(test: &'t RuleTest) -> Self {
        Self { test, asked: RefCell::default() }
    }

    /// What the database says.
    pub(super) fn answer(&self, query: &str, tenant: Option<&TenantId>, binds: &Binds) -> Option<Answer> {
        self.say(query, tenant, binds, || shown_binds(tenant, binds))
    }

    /// As [`answer`](Self::answer), and what is bound, which may be or hold a token, is not shown.
    pub(super) fn answer_secretly(&self, query: &str, tenant: Option<&TenantId>, binds: &Binds) -> Option<Answer> {
        let names = || binds.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        self.say(query, tenant, binds, names)
    }

    fn say(&self, query: &str, tenant: Option<&TenantId>, binds: &Binds, shown: impl Fn() -> String) -> Option<Answer> {
        let mocks = Mocks(&self.test.queries);
        let answer = mocks.answer(query, tenant, binds);
        if answer.is_none() {
            let note = if mocks.names(query) {
                format!("none of the `cases` of `{query}` fits what is bound")
            } else {
                format!("say what it answers: queries: {{ {query}: [{{ COLUMN: VALUE }}] }}, or [] for no rows")
            };
            let difference = Difference {
                about: "queries",
                place: self.test.place.to_string(),
                expected: "no query but those that the test answers".to_owned(),
                got: format!("{query} was asked with {}", shown()),
                notes: vec![note],
            };
            let mut asked = self.asked.borrow_mut();
            if !asked.contains(&difference) {
                asked.push(difference);
            }
        }
        answer
    }

    /// What a query is taken to answer that the test says nothing of. It fails for that in any case.
    pub(super) fn otherwise() -> Answer {
        Err(LookupError::Unavailable("the test does not say what it answers".to_owned()))
    }

    /// What was asked that the test says nothing of.
    pub(super) fn into_differences(self) -> Vec<Difference> {
        self.asked.into_inner()
    }
}
