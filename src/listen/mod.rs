//! The door for clients: sockets to accept on, and what an HTTP request on one of them wants.

mod bind;
mod demo;
mod head;
mod host;
mod response;

pub use bind::bind;
pub use head::{Action, Door, HEAD_BYTES, read_head};
pub use host::is_loopback;
pub use response::{Status, response};
