//! What others build.

use crate::config::Amqp;
use crate::source::amqp::Broker;

pub(super) fn change(_: &Broker, _: Amqp) {}
