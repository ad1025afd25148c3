//! What the integration tests have, too: a real broker, and whoever cleans up after it.
#![expect(clippy::unwrap_used, dead_code, reason = "written for tests, of which this needs a part")]

#[path = "../it/support/generations.rs"]
pub(crate) mod generations;
#[path = "../it/support/keeper.rs"]
pub(crate) mod keeper;
#[path = "../it/support/rabbitmq.rs"]
pub(crate) mod rabbitmq;
