//! What others build.

use std::sync::Arc;

use super::Rulebook;
use crate::config::Amqp;
use crate::lane::Lanes;
use crate::source::amqp::Broker;

pub(super) async fn prepare(_: &Lanes, _: &Arc<Rulebook>) -> Result<(), String> {
    Ok(())
}

pub(super) fn change(_: &Broker, _: Amqp) {}
