//! The process: signals that ask it to leave, and the threads that must have ended before it does.

mod cryptography;
mod instance;
mod panics;
mod signals;
mod threads;

pub use cryptography::cryptography;
pub use instance::instance;
pub use panics::panics_abort;
pub use signals::{Hangups, Signals};
pub use threads::{Threads, give_way, let_pass};
