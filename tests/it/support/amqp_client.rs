//! A back end, and an administrator, at a broker.

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};

/// A connection that publishes with confirms.
#[derive(Debug)]
pub(crate) struct AmqpClient {
    channel: Channel,
    _connection: Connection,
}

impl AmqpClient {
    /// Connects to this vhost.
    pub(crate) async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, _connection: connection }
    }

    /// Publishes, and waits until the broker has it.
    pub(crate) async fn publish(&self, exchange: &str, routing_key: &str, body: impl AsRef<[u8]>) {
        self.publish_with(exchange, routing_key, body, &[]).await;
    }

    /// Publishes with headers, and waits until the broker has it.
    pub(crate) async fn publish_with(
        &self,
        exchange: &str,
        routing_key: &str,
        body: impl AsRef<[u8]>,
        headers: &[(&str, AMQPValue)],
    ) {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.clone());
        }
        let properties = BasicProperties::default().with_headers(table);
        let options = BasicPublishOptions::default();
        let sent = self.channel.basic_publish(exchange.into(), routing_key.into(), options, body.as_ref(), properties);
        let confirmation = sent.await.unwrap().await.unwrap();
        assert!(matches!(confirmation, Confirmation::Ack(_)), "{confirmation:?}");
    }

    /// Publishes all of these to a queue, and waits until the broker has them.
    pub(crate) async fn fill(&self, queue: &str, bodies: impl Iterator<Item = String>) {
        let mut confirmations = Vec::new();
        for body in bodies {
            let options = BasicPublishOptions::default();
            let properties = BasicProperties::default();
            let sent = self.channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), properties);
            confirmations.push(sent.await.unwrap());
        }
        for confirmation in confirmations {
            assert!(matches!(confirmation.await.unwrap(), Confirmation::Ack(_)));
        }
    }

    /// Declares a durable exchange.
    pub(crate) async fn declare_exchange(&self, name: &str, kind: ExchangeKind) {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        self.channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await.unwrap();
    }

    /// Deletes an exchange.
    pub(crate) async fn delete_exchange(&self, name: &str) {
        self.channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await.unwrap();
    }

    /// Declares a queue that is durable, or goes with the broker.
    pub(crate) async fn declare_queue(&self, name: &str, durable: bool) {
        let options = QueueDeclareOptions { durable, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(name.into(), options, FieldTable::default()).await.unwrap();
    }

    /// Binds a queue to a fanout exchange.
    pub(crate) async fn bind(&self, queue: &str, exchange: &str) {
        let options = QueueBindOptions::default();
        self.channel
            .queue_bind(queue.into(), exchange.into(), "".into(), options, FieldTable::default())
            .await
            .unwrap();
    }

    /// Takes a message, which must be there. Answers its body and properties.
    pub(crate) async fn take(&self, queue: &str) -> (Vec<u8>, BasicProperties) {
        let message = self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap();
        let delivery = message.unwrap_or_else(|| panic!("nothing is in {queue}")).delivery;
        (delivery.data, delivery.properties)
    }

    /// Deletes a queue.
    pub(crate) async fn delete_queue(&self, name: &str) {
        self.channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
    }

    /// How many messages of a queue are ready, and how many consumers it has.
    pub(crate) async fn queue(&self, name: &str) -> (u32, u32) {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare(name.into(), options, FieldTable::default()).await.unwrap();
        (queue.message_count(), queue.consumer_count())
    }
}
