//! Pointsman from the outside: the built program, against real brokers, databases, browsers and clients.

#![expect(clippy::unwrap_used, reason = "a test fails by it, and clippy does not know that helpers of tests are tests")]

mod amqp;
mod support;
