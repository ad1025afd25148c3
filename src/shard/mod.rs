//! Shards: single-threaded event loops, each the only owner of its sessions.

mod interest;
mod message;

pub use interest::{Interest, ShardSet};
pub use message::{
    AuthenticateRequest, AuthorizeRequest, ConnectionKey, PublishRequest, Routed, ShardHandle, ShardId, Shards,
    ToShard, Verdict,
};

#[cfg(test)]
pub(crate) use message::test_pair;
