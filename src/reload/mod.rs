//! The second path: from files to the rulebook in force.
//!
//! ```text
//! a changed file, SIGHUP, the API ─► Reloader ─► read twice alike ─► compile ─► prove ─► pools, providers
//!                                       ▲                                                      │
//!                   the start is the first change                    lanes prepare ◄───────────┘
//!                                                                          │
//!                                                 Live: one store ◄────────┘ ─► settings, pings, broker
//! ```
//!
//! [`Origin`] reads, and makes a rulebook that is proven ([`Ready`]); [`Reloader`] has that put into force
//! ([`Machinery`]), or keeps what was in force before and says why ([`Refusal`]).
//!
//! Invariant: what cannot come into force as a whole does not come into force at all.

mod history;
mod live;
mod machinery;
mod ready;
mod refusal;
mod reloader;
mod report;
mod rulebook;
mod sources;
mod watch;

pub use history::{Attempt, History, KEPT_ATTEMPTS, Outcome, Trigger};
pub use live::Live;
pub use machinery::{BrokerSlot, Fixed, Heart, Machinery, limit_clients, settings};
pub use ready::{Compiled, Origin, Ready};
pub use refusal::Refusal;
pub use reloader::{InForce, Reloader};
pub use rulebook::{Generation, Queries, Rulebook, Rules};
pub use sources::{ContentHash, Sources};
