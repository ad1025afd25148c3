//! What the rules make of one event, without a server: decided by the very code of live delivery, and told so that
//! somebody who has never read it understands.
//!
//! `Rehearsal` is the event's way without threads, sockets and database: decode, decide, find the sessions. [`explain`]
//! puts beside it why it came like that. Rule tests ([`crate::prove`]) go by the same rehearsal.
//!
//! Invariant: nothing is decided here. Who gets an event is what [`RouteTable`](crate::route::RouteTable) and a shard's
//! own index say; the explanation is held against that by a test.
//! Invariant: no I/O. What queries would answer is given, or not known, and what is not known is not guessed.

mod answers;
mod audience;
mod conditions;
mod crowd;
mod human;
mod machines;
mod rehearsal;
mod story;
mod subscribing;
#[cfg(test)]
pub(crate) mod tests;
mod told;
pub(crate) mod words;

pub(crate) use self::answers::{Mocks, shown_binds, unbound};
pub(crate) use self::crowd::Crowd;
pub use self::crowd::Person;
pub(crate) use self::machines::{Logged, Machines};
pub use self::rehearsal::Published;
pub(crate) use self::rehearsal::Rehearsal;
pub use self::story::explain;
pub(crate) use self::story::{cause, shown_forget};
pub(crate) use self::subscribing::{Wish, wish};
pub use self::told::{
    ConditionTold, DecisionTold, EventTold, Explanation, LogTold, PartTold, QueryTold, Reaches, RouteTold, SessionTold,
};
