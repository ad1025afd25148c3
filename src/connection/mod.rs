//! The life of one connection, as plain state: what waits to be written, and what a client's words lead to.
//!
//! Invariant: no sockets and no clock. A shard owns the connections and does what is decided here.

mod batch;
mod conversation;
mod outbox;

pub use batch::{Batch, Chain, Variants};
pub use conversation::{MAX_DENIALS, Reaction, Standing, TokenQuestion, TopicQuestion, react};
pub use outbox::{Outbox, Progress, Waiting};
