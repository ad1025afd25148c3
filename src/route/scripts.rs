//! Whom rules ask that a plugin decides: lanes have machines for that, rule tests and explanations their own.

use super::script::{EventView, Routing, ScriptError, ScriptFailure};
use super::{Answer, Held, Progress, SessionView};
use crate::config::{QueryId, ScriptCall};
use crate::event::{Event, TenantId, Topic};

/// The plugins of one rulebook, to be called.
pub trait Scripts {
    /// The query that plugins know by this name.
    fn query(&self, name: &str) -> Option<QueryId>;

    /// Calls a `route` hook.
    fn route(&mut self, call: ScriptCall, event: &Event, view: &EventView) -> Progress<Routing>;

    /// Goes on with such a call, about this event.
    fn resume_route(
        &mut self,
        call: ScriptCall,
        event: &Event,
        held: Held<Routing>,
        answer: Answer,
    ) -> Progress<Routing>;

    /// Calls an `authorize` hook.
    fn authorize(&mut self, call: ScriptCall, session: &SessionView<'_>, topic: &Topic) -> Progress<bool>;

    /// Goes on with such a call, for a session of this tenant.
    fn resume_authorize(
        &mut self,
        call: ScriptCall,
        tenant: &TenantId,
        held: Held<bool>,
        answer: Answer,
    ) -> Progress<bool>;
}

/// For rules that call no plugin.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoScripts;

impl Scripts for NoScripts {
    fn query(&self, _: &str) -> Option<QueryId> {
        None
    }

    fn route(&mut self, _: ScriptCall, _: &Event, _: &EventView) -> Progress<Routing> {
        nobody()
    }

    fn resume_route(&mut self, _: ScriptCall, _: &Event, _: Held<Routing>, _: Answer) -> Progress<Routing> {
        nobody()
    }

    fn authorize(&mut self, _: ScriptCall, _: &SessionView<'_>, _: &Topic) -> Progress<bool> {
        nobody()
    }

    fn resume_authorize(&mut self, _: ScriptCall, _: &TenantId, _: Held<bool>, _: Answer) -> Progress<bool> {
        nobody()
    }
}

fn nobody<T>() -> Progress<T> {
    let message = "there is nobody who runs plugins".to_owned();
    Progress::Done(Err(ScriptError { kind: ScriptFailure::Error, line: None, message }))
}
