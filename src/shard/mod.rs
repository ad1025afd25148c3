//! Shards: single-threaded event loops, each the only owner of its sessions.

mod admission;
mod answers;
mod backlog;
mod connection;
mod interest;
mod leave;
mod log;
mod message;
mod ping;
mod read;
mod review;
mod run;
mod sessions;
mod socket;
mod timers;
mod write;

pub use admission::Admission;
pub use interest::{Interest, ShardSet};
pub use message::{
    AuthenticateRequest, AuthorizeRequest, ConnectionKey, PublishRequest, Review, Reviewed, Routed, ShardHandle,
    ShardId, Shards, Subscriber, ToShard, Verdict,
};
#[cfg(test)]
pub(crate) use message::{test_pair, test_sleeper};
pub use run::{ShardParts, ShardSeat, ShardSettings};
pub use sessions::{SessionId, SessionView, Sessions};
