//! Bytes on the wire: frames out, client frames and commands in.
//!
//! Invariant: no sockets, no sessions. What is here turns bytes to values and back.

mod close;
mod command;
mod frame;
pub mod reply;
mod utf8;
mod ws;

pub use close::CloseReason;
pub use command::{Command, CommandError, Message};
pub use frame::{event_frame, text_frame};
pub use ws::{Incoming, Unfinished, WireError};
