//! Pointsman from the outside: the built program, against real brokers, databases, browsers and clients.
#![expect(clippy::unwrap_used, clippy::match_wild_err_arm, reason = "a test that cannot go on fails where it stands")]

mod admin;
mod amqp;
mod broker;
mod broker_lost;
mod checking;
mod clients;
mod commands;
mod delivery;
mod drain;
mod hostile;
mod ordering;
<<<<<<< HEAD
mod production;
=======
mod payload;
>>>>>>> main
mod routing;
mod simulation;
mod support;
mod wire;
