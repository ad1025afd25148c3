//! The process: signals that ask it to leave, the threads that must have ended before it does, and its descriptors.

mod cryptography;
mod descriptors;
mod instance;
mod panics;
mod signals;
mod threads;

pub use cryptography::cryptography;
pub use descriptors::{admin_connections, descriptor_limit, is_shortage, raise_descriptor_limit};
pub use instance::instance;
pub use panics::panics_abort;
pub use signals::{Hangups, Signals};
pub use threads::{Threads, give_way, let_pass};
