//! Exchanges, queues and bindings: declared as configured, on each connection anew.

use std::future::Future;

use lapin::options::{
    BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer, ExchangeKind};

use super::endpoint::Endpoint;
use super::fault::{Fault, Step};
use crate::config::{Amqp, Exchange, Queue};
use crate::event::Scalar;

/// One queue that is consumed on a channel of its own.
#[derive(Debug)]
pub(super) struct Consumed {
    pub(super) channel: Channel,
    pub(super) consumer: Consumer,
}

/// Declares everything and starts to consume every queue, in the order of the configuration.
///
/// `step` always holds what the broker was asked last, for whoever loses patience.
pub(super) async fn declare(
    connection: &Connection,
    endpoint: &Endpoint,
    amqp: &Amqp,
    step: &mut Step,
) -> Result<Vec<Consumed>, Fault> {
    let mut asking = Asking { endpoint, step };
    let channel = asking.ask(Step::Opening, connection.create_channel()).await?;
    for exchange in &amqp.exchanges {
        declare_exchange(&mut asking, &channel, exchange).await?;
    }
    let mut all = Vec::with_capacity(amqp.queues.len());
    for queue in &amqp.queues {
        let channel = asking.ask(Step::Opening, connection.create_channel()).await?;
        declare_queue(&mut asking, &channel, queue).await?;
        let consumer = consume(&mut asking, &channel, queue).await?;
        all.push(Consumed { channel, consumer });
    }
    Ok(all)
}

async fn declare_exchange(asking: &mut Asking<'_>, channel: &Channel, exchange: &Exchange) -> Result<(), Fault> {
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

async fn declare_queue(asking: &mut Asking<'_>, channel: &Channel, queue: &Queue) -> Result<(), Fault> {
    let step = Step::Queue(queue.name.clone());
    let options = QueueDeclareOptions {
        passive: queue.passive,
        durable: queue.durable,
        exclusive: queue.exclusive,
        auto_delete: queue.auto_delete,
        nowait: false,
    };
    let (name, arguments) = (short(&queue.name, &step)?, table(&queue.arguments, &step)?);
    asking.ask(step, channel.queue_declare(name.clone(), options, arguments)).await?;
    for binding in &queue.bind {
        let step = Step::Binding(queue.name.clone(), binding.exchange.clone());
        let (exchange, key) = (short(&binding.exchange, &step)?, short(&binding.routing_key, &step)?);
        let arguments = table(&binding.arguments, &step)?;
        let bound = channel.queue_bind(name.clone(), exchange, key, QueueBindOptions::default(), arguments);
        asking.ask(step, bound).await?;
    }
    Ok(())
}

async fn consume(asking: &mut Asking<'_>, channel: &Channel, queue: &Queue) -> Result<Consumer, Fault> {
    let step = Step::Consuming(queue.name.clone());
    let name = short(&queue.name, &step)?;
    if !queue.no_ack {
        asking.ask(step.clone(), channel.basic_qos(queue.prefetch, BasicQosOptions::default())).await?;
    }
    let options = BasicConsumeOptions { no_ack: queue.no_ack, ..BasicConsumeOptions::default() };
    // The broker chooses the consumer's tag.
    let tag = ShortString::default();
    asking.ask(step, channel.basic_consume(name, tag, options, FieldTable::default())).await
}

/// Who asks what of which broker.
struct Asking<'a> {
    endpoint: &'a Endpoint,
    step: &'a mut Step,
}

impl Asking<'_> {
    async fn ask<T>(&mut self, step: Step, answer: impl Future<Output = lapin::Result<T>>) -> Result<T, Fault> {
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
