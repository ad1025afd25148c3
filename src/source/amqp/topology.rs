//! Exchanges, queues and bindings: declared as configured, on each connection anew.

use std::future::Future;

use lapin::options::{
    BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer, ExchangeKind};

use super::endpoint::Endpoint;
use super::fault::{Fault, Step};
use crate::config::{Binding, Exchange, Queue};
use crate::event::Scalar;

/// Declares exchanges, and declares and binds queues, each of these on a channel of its own, which comes back.
///
/// `asking` always holds what the broker was asked last, for whoever loses patience.
pub(super) async fn declare(
    connection: &Connection,
    exchanges: &[Exchange],
    queues: impl Iterator<Item = &Queue>,
    asking: &mut Asking<'_>,
) -> Result<Vec<Channel>, Fault> {
    let channel = asking.ask(Step::Opening, connection.create_channel()).await?;
    for exchange in exchanges {
        declare_exchange(asking, &channel, exchange).await?;
    }
    let mut channels = Vec::new();
    for queue in queues {
        let channel = asking.ask(Step::Opening, connection.create_channel()).await?;
        declare_queue(asking, &channel, queue).await?;
        for binding in &queue.bind {
            bind(asking, &channel, &queue.name, binding).await?;
        }
        channels.push(channel);
    }
    Ok(channels)
}

/// Declares an exchange, or checks that it is there.
pub(super) async fn declare_exchange(
    asking: &mut Asking<'_>,
    channel: &Channel,
    exchange: &Exchange,
) -> Result<(), Fault> {
    let step = Step::Exchange(exchange.name.clone());
    let kind = match exchange.kind.as_str() {
        "direct" => ExchangeKind::Direct,
        "fanout" => ExchangeKind::Fanout,
        "headers" => ExchangeKind::Headers,
        "topic" => ExchangeKind::Topic,
        other => ExchangeKind::Custom(short(other, &step)?.to_string()),
    };
    let options = ExchangeDeclareOptions {
        passive: exchange.passive,
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        nowait: false,
    };
    let (name, arguments) = (short(&exchange.name, &step)?, table(&exchange.arguments, &step)?);
    asking.ask(step, channel.exchange_declare(name, kind, options, arguments)).await
}

/// Declares a queue, or checks that it is there.
pub(super) async fn declare_queue(asking: &mut Asking<'_>, channel: &Channel, queue: &Queue) -> Result<(), Fault> {
    let step = Step::Queue(queue.name.clone());
    let options = QueueDeclareOptions {
        passive: queue.passive,
        durable: queue.durable,
        exclusive: queue.exclusive,
        auto_delete: queue.auto_delete,
        nowait: false,
    };
    let (name, arguments) = (short(&queue.name, &step)?, table(&queue.arguments, &step)?);
    asking.ask(step, channel.queue_declare(name, options, arguments)).await.map(drop)
}

/// Binds a queue.
pub(super) async fn bind(
    asking: &mut Asking<'_>,
    channel: &Channel,
    queue: &str,
    binding: &Binding,
) -> Result<(), Fault> {
    let step = Step::Binding(queue.to_owned(), binding.exchange.clone());
    let (queue, exchange) = (short(queue, &step)?, short(&binding.exchange, &step)?);
    let (key, arguments) = (short(&binding.routing_key, &step)?, table(&binding.arguments, &step)?);
    asking.ask(step, channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), arguments)).await
}

/// Takes a binding away. It may be away already, and its exchange too.
pub(super) async fn unbind(
    asking: &mut Asking<'_>,
    channel: &Channel,
    queue: &str,
    binding: &Binding,
) -> Result<(), Fault> {
    let step = Step::Unbinding(queue.to_owned(), binding.exchange.clone());
    let (queue, exchange) = (short(queue, &step)?, short(&binding.exchange, &step)?);
    let (key, arguments) = (short(&binding.routing_key, &step)?, table(&binding.arguments, &step)?);
    let unbound = async {
        match channel.queue_unbind(queue, exchange, key, arguments).await {
            Err(error) if Fault::is_absence(&error) => Ok(()),
            answer => answer,
        }
    };
    asking.ask(step, unbound).await
}

/// How many messages of a queue are ready, and how many consumers it has.
pub(super) async fn look(asking: &mut Asking<'_>, channel: &Channel, queue: &str) -> Result<(u32, u32), Fault> {
    let step = Step::Retiring(queue.to_owned());
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let name = short(queue, &step)?;
    let queue = asking.ask(step, channel.queue_declare(name, options, FieldTable::default())).await?;
    Ok((queue.message_count(), queue.consumer_count()))
}

/// Deletes a queue.
pub(super) async fn delete(asking: &mut Asking<'_>, channel: &Channel, queue: &str) -> Result<(), Fault> {
    let step = Step::Retiring(queue.to_owned());
    let name = short(queue, &step)?;
    asking.ask(step, channel.queue_delete(name, QueueDeleteOptions::default())).await.map(drop)
}

/// Starts to consume a queue.
pub(super) async fn consume(asking: &mut Asking<'_>, channel: &Channel, queue: &Queue) -> Result<Consumer, Fault> {
    let step = Step::Consuming(queue.name.clone());
    short(&queue.name, &step)?;
    asking.ask(step, start_consumer(channel, queue)).await
}

/// As [`consume`], for whoever says by himself what was asked: a queue that was declared, so that its name will do.
pub(super) async fn start_consumer(channel: &Channel, queue: &Queue) -> lapin::Result<Consumer> {
    if !queue.no_ack {
        channel.basic_qos(queue.prefetch, BasicQosOptions::default()).await?;
    }
    let options = BasicConsumeOptions { no_ack: queue.no_ack, ..BasicConsumeOptions::default() };
    // The broker chooses the consumer's tag.
    let tag = ShortString::default();
    channel.basic_consume(queue.name.as_str().into(), tag, options, FieldTable::default()).await
}

/// Who asks what of which broker.
pub(super) struct Asking<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) step: &'a mut Step,
}

impl Asking<'_> {
    pub(super) async fn ask<T>(
        &mut self,
        step: Step,
        answer: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Fault> {
        *self.step = step;
        answer.await.map_err(|error| Fault::refused(self.endpoint, self.step, &error))
    }
}

fn short(text: &str, step: &Step) -> Result<ShortString, Fault> {
    ShortString::try_new(text).map_err(|_| Fault::too_long(step))
}

fn table(arguments: &[(String, Scalar)], step: &Step) -> Result<FieldTable, Fault> {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(short(name, step)?, argument(value));
    }
    Ok(table)
}

/// An argument as the broker takes it: it accepts an integer of any width where it expects one.
fn argument(value: &Scalar) -> AMQPValue {
    match value {
        Scalar::Null => AMQPValue::Void,
        Scalar::Bool(value) => AMQPValue::Boolean(*value),
        Scalar::Int(value) => AMQPValue::LongLongInt(*value),
        Scalar::Float(value) => AMQPValue::Double(*value),
        Scalar::Text(text) => AMQPValue::LongString(text.as_str().into()),
    }
}

/// A header as rules see it. What has parts, or is not text, reads as nothing.
pub(super) fn header(value: &AMQPValue) -> Scalar {
    match value {
        AMQPValue::Boolean(value) => Scalar::Bool(*value),
        AMQPValue::ShortShortInt(value) => Scalar::Int((*value).into()),
        AMQPValue::ShortShortUInt(value) => Scalar::Int((*value).into()),
        AMQPValue::ShortInt(value) => Scalar::Int((*value).into()),
        AMQPValue::ShortUInt(value) => Scalar::Int((*value).into()),
        AMQPValue::LongInt(value) => Scalar::Int((*value).into()),
        AMQPValue::LongUInt(value) => Scalar::Int((*value).into()),
        AMQPValue::LongLongInt(value) => Scalar::Int(*value),
        AMQPValue::Timestamp(value) => {
            i64::try_from(*value).map_or_else(|_| Scalar::Text(value.to_string().into()), Scalar::Int)
        }
        AMQPValue::Float(value) => Scalar::Float((*value).into()),
        AMQPValue::Double(value) => Scalar::Float(*value),
        AMQPValue::ShortString(text) => Scalar::Text(text.as_str().into()),
        AMQPValue::LongString(text) => bytes(text.as_bytes()),
        AMQPValue::ByteArray(text) => bytes(text.as_slice()),
        AMQPValue::DecimalValue(_) | AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) | AMQPValue::Void => {
            Scalar::Null
        }
    }
}

fn bytes(text: &[u8]) -> Scalar {
    std::str::from_utf8(text).map_or(Scalar::Null, |text| Scalar::Text(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_go_out_as_they_came_in() {
        for value in [
            Scalar::Null,
            Scalar::Bool(true),
            Scalar::Int(-1),
            Scalar::Int(i64::MAX),
            Scalar::Float(0.5),
            Scalar::Text("lazy".into()),
        ] {
            assert_eq!(header(&argument(&value)), value);
        }
    }

    #[test]
    fn a_name_beyond_the_protocols_bound_is_a_fault() {
        let step = Step::Queue("q".into());
        assert!(short(&"x".repeat(255), &step).is_ok());
        let error = short(&"x".repeat(256), &step).unwrap_err();
        assert!(error.to_string().contains("255 bytes"), "{error}");
    }
}
