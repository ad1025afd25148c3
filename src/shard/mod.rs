//! Shards: single-threaded event loops, each the only owner of its sessions.

mod interest;
mod message;
mod sessions;

pub use interest::{Interest, ShardSet};
pub use message::{
    AuthenticateRequest, AuthorizeRequest, ConnectionKey, PublishRequest, Routed, ShardHandle, ShardId, Shards,
    ToShard, Verdict,
};
