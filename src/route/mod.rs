//! Rules, compiled: which event goes to whom, and who may subscribe to what.
//!
//! Invariant: pure. No I/O, no async, no clock; what must be asked of a database is answered as a [`Call`], and the
//! answers are handed in.

mod action;
mod anatomy;
mod audience;
mod index;
mod plan;
pub mod script;
mod table;
mod topics;

pub use action::Action;
pub use anatomy::{Drafted, RouteKind};
pub use plan::{Answer, Call, CallId, Decided, Decision, Outcome, Pending, Plan};
pub use table::{RouteId, RouteTable};
pub use topics::{Judgement, SessionView, TopicRules};

#[cfg(test)]
mod tests;
