//! Pointsman from the outside: the built program, against real brokers, databases, browsers and clients.
#![expect(clippy::unwrap_used, clippy::match_wild_err_arm, reason = "a test that cannot go on fails where it stands")]

mod admin;
mod amqp;
mod auth_cache;
mod auth_http;
mod auth_jwt;
mod broker;
mod broker_lost;
mod checking;
mod clients;
mod commands;
mod databases;
mod delivery;
mod deployment;
mod descriptors;
mod drain;
mod durable_queue;
mod hostile;
mod metrics;
mod ordering;
mod outbox;
mod payload;
mod probes;
mod production;
mod reload;
mod rights;
mod routing;
mod rule_tests;
mod runaways;
mod shown;
mod simulation;
mod support;
mod tls;
mod wire;
