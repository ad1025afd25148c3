//! Pointsman from the outside: the built program, against real brokers, databases, browsers and clients.

mod amqp;
mod support;
