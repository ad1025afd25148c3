//! What the tests share: the program under test, and the real parts around it.
#![expect(dead_code, unreachable_pub, reason = "a harness has a word more than today's tests say")]

pub mod client;
pub mod http;
pub mod process;
pub mod server;
pub mod tools;
