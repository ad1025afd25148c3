//! Pointsman: events to the people who are looking at the data.

pub mod admin;
pub mod auth;
pub mod cli;
pub mod config;
pub mod connection;
pub mod event;
pub mod heartbeat;
pub mod lane;
pub mod listen;
pub mod lookup;
pub mod observe;
pub mod reload;
pub mod route;
pub mod shard;
pub mod source;
pub mod wire;
