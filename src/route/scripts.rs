//! Whom rules ask that a plugin decides: lanes have machines for that, rule tests and explanations their own.

use super::script::{EventView, Routing, ScriptError, ScriptFailure, Step, Suspended};
use super::{Answer, SessionView};
use crate::config::{QueryId, ScriptCall};
use crate::event::{Event, Topic};

/// The plugins of one rulebook, to be called.
pub trait Scripts {
    /// The query that plugins know by this name.
    fn query(&self, name: &str) -> Option<QueryId>;

    /// Calls a `route` hook.
    fn route(&mut self, call: ScriptCall, event: &Event, view: &EventView) -> Step<Routing>;

    /// Goes on with such a call.
    fn resume_route(&mut self, call: ScriptCall, suspended: Suspended<Routing>, answer: Answer) -> Step<Routing>;

    /// Calls an `authorize` hook.
    fn authorize(&mut self, call: ScriptCall, session: &SessionView<'_>, topic: &Topic) -> Step<bool>;

    /// Goes on with such a call.
    fn resume_authorize(&mut self, call: ScriptCall, suspended: Suspended<bool>, answer: Answer) -> Step<bool>;
}

/// For rules that call no plugin.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoScripts;

impl Scripts for NoScripts {
    fn query(&self, _: &str) -> Option<QueryId> {
        None
    }

    fn route(&mut self, _: ScriptCall, _: &Event, _: &EventView) -> Step<Routing> {
        nobody()
    }

    fn resume_route(&mut self, _: ScriptCall, _: Suspended<Routing>, _: Answer) -> Step<Routing> {
        nobody()
    }

    fn authorize(&mut self, _: ScriptCall, _: &SessionView<'_>, _: &Topic) -> Step<bool> {
        nobody()
    }

    fn resume_authorize(&mut self, _: ScriptCall, _: Suspended<bool>, _: Answer) -> Step<bool> {
        nobody()
    }
}

fn nobody<T>() -> Step<T> {
    let message = "there is nobody who runs plugins".to_owned();
    Step::Done(Err(ScriptError { kind: ScriptFailure::Error, line: None, message }))
}
