//! RabbitMQ: where events come from.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::event::Scalar;

/// RabbitMQ: where to connect, what to declare, what to consume.
#[derive(Clone, Debug)]
pub struct Amqp {
    /// `amqp://` or `amqps://` URLs, tried in turn. At least one.
    pub urls: Vec<SecretString>,
    /// For those that are `amqps://`.
    pub tls: AmqpTls,
    /// Declared on each connection.
    pub exchanges: Vec<Exchange>,
    /// Declared, bound and consumed on each connection. At least one.
    pub queues: Vec<Queue>,
    /// What to do when the connection is lost.
    pub when_lost: WhenLost,
}

/// TLS to the broker: files that are read for each connection, and were good when the configuration was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AmqpTls {
    /// CA certificates to trust, beside those whom the system trusts.
    pub ca: Option<PathBuf>,
    /// As whom to come, where the broker asks for a certificate.
    pub identity: Option<TlsIdentity>,
}

/// A certificate and its key: files, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    /// The certificate with its chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// An exchange to declare.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "these are AMQP's own words")]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// `direct`, `fanout`, `topic`, `headers`, or a plugin's type.
    pub kind: String,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Goes with its last binding.
    pub auto_delete: bool,
    /// Only other exchanges may publish to it.
    pub internal: bool,
    /// Must exist already: checked, not created.
    pub passive: bool,
    /// The broker's optional arguments.
    pub arguments: Vec<(String, Scalar)>,
}

/// A queue to declare, bind and consume.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "these are AMQP's own words")]
pub struct Queue {
    /// Its name, `{instance}` filled in.
    pub name: String,
    /// If given, each connection declares the queue by a name of its own: this, and a random part.
    pub stem: Option<String>,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Only this connection may use it, and it goes with the connection.
    pub exclusive: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// Must exist already: checked, not created.
    pub passive: bool,
    /// The broker's optional arguments.
    pub arguments: Vec<(String, Scalar)>,
    /// What it is bound to.
    pub bind: Vec<Binding>,
    /// How many deliveries may be out unacknowledged: 1 to 65,535.
    pub prefetch: u16,
    /// The broker waits for no acknowledgement; when lanes lag, the oldest waiting events are shed and counted.
    pub no_ack: bool,
}

/// A binding of a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The exchange, declared above or known to the broker.
    pub exchange: String,
    /// The routing key, or pattern for a topic exchange.
    pub routing_key: String,
    /// The broker's optional arguments: for a headers exchange.
    pub arguments: Vec<(String, Scalar)>,
}

/// What to do when the broker is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenLost {
    /// Connect again, with backoff and jitter, and declare everything anew.
    Reconnect,
    /// Exit with status 3, for a supervisor.
    Exit,
}
