//! Shards: single-threaded event loops, each the only owner of its sessions.

mod answers;
mod backlog;
mod connection;
mod interest;
mod leave;
mod message;
mod ping;
mod read;
mod review;
mod run;
mod sessions;
mod socket;
mod timers;
mod write;

pub use connection::Admission;
pub use interest::{Interest, ShardSet};
#[cfg(test)]
pub(crate) use message::test_pair;
pub use message::{
    AuthenticateRequest, AuthorizeRequest, ConnectionKey, PublishRequest, Review, Reviewed, Routed, ShardHandle,
    ShardId, Shards, Subscriber, ToShard, Verdict,
};
pub use run::{ShardParts, ShardSeat, ShardSettings};
pub use sessions::{SessionId, SessionView, Sessions};
