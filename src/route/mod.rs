//! Rules, compiled: which event goes to whom, and who may subscribe to what.
//!
//! Invariant: pure. No I/O, no async, no clock; what must be asked of a database is answered as a [`Call`], and the
//! answers are handed in. What a plugin decides is asked of [`Scripts`].

mod action;
mod anatomy;
mod audience;
mod calls;
mod errand;
mod index;
mod plan;
pub mod script;
mod scripts;
mod table;
mod topics;

pub use action::Action;
pub use anatomy::{Drafted, RouteKind, users_named};
pub use calls::{CallId, Question};
pub use errand::{Arrived, Came, Errand, First, Held, Leg, Parked, Progress};
pub use plan::{Answer, Call, Decided, Decision, Outcome, Pending, Plan};
pub use scripts::{NoScripts, Scripts};
pub use table::{RouteId, RouteTable};
pub use topics::{Judgement, SessionView, TopicRules};

#[cfg(test)]
mod tests;
