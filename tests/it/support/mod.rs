//! What the tests share: the program under test, and the real parts around it.

pub(crate) mod amqp_client;
pub(crate) mod keeper;
pub(crate) mod process;
pub(crate) mod rabbitmq;
