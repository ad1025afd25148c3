//! Pointsman: events to the people who are looking at the data.

pub mod auth;
pub mod config;
pub mod event;
pub mod lane;
pub mod lookup;
pub mod observe;
pub mod reload;
pub mod route;
pub mod shard;
pub mod source;
pub mod wire;
