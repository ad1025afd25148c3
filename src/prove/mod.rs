//! Rule tests: whether a rulebook makes of events, wishes to subscribe and tokens what somebody has written down that it
//! must. Run by `pointsman test`, and before a rulebook comes into force.
//!
//! Invariant: a test sees nothing of another one, and nothing of the world: its sessions, what queries answer, and the
//! tokens are its own. A query that it says nothing of must not be asked.

mod event;
mod mocked;
mod proof;
mod report;
mod subscribe;
#[cfg(test)]
mod tests;
mod token;

use std::time::Instant;

use hashbrown::HashSet;

use self::mocked::Unmocked;
pub use self::proof::{Difference, Proof, Tested};
use crate::config::{Provider, RuleTest, TestCase};
use crate::reload::Rulebook;
use crate::runtime::let_pass;

/// Runs these tests, in order.
///
/// `providers` are the configuration's, for tests of tokens. What a plugin may take is bounded by its limits, and all
/// else is as fast as the event's way; 1,000 tests take some milliseconds.
pub fn prove(rulebook: &Rulebook, providers: &[Provider], tests: &[RuleTest]) -> Proof {
    let mut reached = HashSet::new();
    let tested: Vec<Tested> = tests
        .iter()
        .map(|test| {
            let_pass();
            #[expect(clippy::disallowed_methods, reason = "how long a test takes is told, and decides nothing")]
            let start = Instant::now();
            let differences = match &test.case {
                TestCase::Event(case) => {
                    let (routes, differences) = event::differences(rulebook, test, case);
                    reached.extend(routes);
                    differences
                }
                TestCase::Subscribe(case) => subscribe::differences(rulebook, test, case),
                TestCase::Token(case) => token::differences(rulebook, providers, test, case),
            };
            let (file, line) = (test.place.file().to_owned(), test.place.line());
            Tested { name: test.name.clone(), file, line, took: start.elapsed(), differences }
        })
        .collect();
    let unreached = rulebook.routes.ids().filter(|id| !reached.contains(id));
    let unreached = unreached.map(|id| rulebook.routes.name(id).to_owned()).collect();
    Proof { tested, routes: rulebook.routes.ids().len(), unreached }
}
