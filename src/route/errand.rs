//! Calls of plugins that are run elsewhere than where they come up: each leg of such a call is an errand.
//!
//! Invariant: what a leg came to is told once, by whoever ran it. A call of which a leg was not run has failed.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Answer;
use super::script::{Lookup, ScriptError, ScriptFailure, Step, Suspended, Vm};
use crate::config::ScriptCall;

/// How far a call came.
#[derive(Debug)]
#[must_use]
pub enum Progress<T> {
    /// It has ended.
    Done(Result<T, ScriptError>),
    /// It waits for rows.
    Asks(Lookup, Held<T>),
    /// It waits for somebody to run this.
    Away(Arc<Errand<T>>),
}

/// A call that waits. It may be dropped: then it never ends.
#[derive(Debug)]
pub enum Held<T> {
    /// For rows, here.
    Here(Suspended<T>),
    /// For an errand to be run.
    Away(Arc<Errand<T>>),
    /// For rows, where its errands are run.
    Parked(ScriptCall, Parked),
}

/// A leg of a call: to its end, or to its next question.
pub struct Errand<T> {
    /// Which plugin is called, and how.
    pub call: ScriptCall,
    leg: Leg<T>,
    came: OnceLock<Came<T>>,
}

/// What an errand is about.
pub enum Leg<T> {
    /// The call's beginning.
    First(First<T>),
    /// What was answered to its last question.
    Next(Parked, Answer),
}

/// Begins a call on a machine of its plugin.
pub type First<T> = Box<dyn Fn(&Vm) -> Step<T> + Send + Sync>;

/// The name of a call that waits where its errands are run. Once nobody holds it any more, the call may be dropped.
#[derive(Clone, Debug)]
pub struct Parked(Arc<u64>);

/// What came of an errand.
#[derive(Clone, Debug)]
pub struct Came<T> {
    /// How far the call came.
    pub how: Arrived<T>,
    /// CPU time that the leg took.
    pub took: Duration,
}

/// How far a call came that is run elsewhere.
#[derive(Clone, Debug)]
pub enum Arrived<T> {
    /// It has ended.
    Done(Result<T, ScriptError>),
    /// It waits for rows.
    Asks(Lookup, Parked),
}

impl<T> From<Step<T>> for Progress<T> {
    fn from(step: Step<T>) -> Self {
        match step {
            Step::Done(said) => Self::Done(said),
            Step::Asks(lookup, suspended) => Self::Asks(lookup, Held::Here(suspended)),
        }
    }
}

impl<T: Clone> Held<T> {
    /// Goes on with the answer, or, where it waited for an errand, with what came of that.
    pub fn resume(self, answer: Answer) -> Progress<T> {
        match self {
            Self::Here(suspended) => suspended.resume(answer).into(),
            Self::Parked(call, parked) => Progress::Away(Arc::new(Errand::new(call, Leg::Next(parked, answer)))),
            Self::Away(errand) => match errand.came().map(|came| came.how.clone()) {
                Some(Arrived::Done(said)) => Progress::Done(said),
                Some(Arrived::Asks(lookup, parked)) => Progress::Asks(lookup, Self::Parked(errand.call, parked)),
                None => {
                    let message = "nobody has run the plugin".to_owned();
                    Progress::Done(Err(ScriptError { kind: ScriptFailure::Error, line: None, message }))
                }
            },
        }
    }
}

impl<T> Errand<T> {
    /// A leg of this call, to be run.
    pub fn new(call: ScriptCall, leg: Leg<T>) -> Self {
        Self { call, leg, came: OnceLock::new() }
    }

    /// What is to be run.
    pub fn leg(&self) -> &Leg<T> {
        &self.leg
    }

    /// Tells what came of it. Only the first word counts.
    pub fn tell(&self, came: Came<T>) {
        self.came.set(came).ok();
    }

    /// What came of it, once it was run.
    pub fn came(&self) -> Option<&Came<T>> {
        self.came.get()
    }
}

impl Parked {
    /// A name with this number.
    pub fn new(number: u64) -> Self {
        Self(Arc::new(number))
    }

    /// The number.
    pub fn number(&self) -> u64 {
        *self.0
    }

    /// Whether somebody holds it, beside so many.
    pub fn is_held_beside(&self, holders: usize) -> bool {
        Arc::strong_count(&self.0) > holders
    }
}

impl<T> fmt::Debug for Errand<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand").field("call", &self.call).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Leg<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First(_) => f.write_str("First"),
            Self::Next(parked, answer) => f.debug_tuple("Next").field(parked).field(answer).finish(),
        }
    }
}
