//! The `amqp` section.

use super::read::{At, OneOrMany, Scalars};
use super::scalars::{Number, Text};
use super::secrets::SecretUrl;
use super::section::{choice, section};

section! {
    /// The broker: where to connect, what to declare, what to consume.
    RawAmqp (Secret) {
        /// `amqp://user:password@host:5672/vhost`, `amqps://` for TLS, or a list, tried in turn.
        "url" url: OneOrMany<SecretUrl> = Required,
        /// For `amqps://`: whom to trust beside those whom the system trusts, and as whom to come.
        "tls" tls: RawAmqpTls = Optional,
        /// Exchanges to declare.
        "exchanges" exchanges: Vec<At<RawExchange>> = Optional,
        /// Queues to declare, bind and consume.
        "queues" queues: Vec<At<RawQueue>> = Required,
        /// What to do when the connection is lost. Default: reconnect.
        "when_lost" when_lost: RawWhenLost = Optional,
    }
    later []
}

section! {
    /// TLS to the broker. The files are read for each connection, so that renewed ones are picked up.
    RawAmqpTls (Plain) {
        /// A file of CA certificates (PEM) to trust, beside those whom the system trusts.
        "ca" ca: Text = Optional,
        /// The client certificate with its chain (PEM), where the broker asks for one.
        "cert" cert: Text = Optional,
        /// Its private key (PEM).
        "key" key: Text = Optional,
    }
    later []
}

choice! {
    /// What to do when the connection is lost.
    RawWhenLost {
        /// Connect again, with backoff and jitter, and declare everything anew.
        "reconnect" Reconnect,
        /// Exit with status 3, for a supervisor.
        "exit" Exit,
    }
    later []
}

section! {
    /// An exchange to declare.
    RawExchange (Plain) {
        /// Its name.
        "name" name: Text = Required,
        /// `direct`, `fanout`, `topic`, `headers`, or the type of one of the broker's plugins.
        "type" kind: Text = Required,
        /// It survives a restart of the broker. Default: true.
        "durable" durable: bool = Optional,
        /// It goes with its last binding. Default: false.
        "auto_delete" auto_delete: bool = Optional,
        /// Only other exchanges may publish to it. Default: false.
        "internal" internal: bool = Optional,
        /// It must exist already: it is checked, not created. Default: false.
        "passive" passive: bool = Optional,
        /// Optional arguments of the broker.
        "arguments" arguments: Scalars = Optional,
    }
    later []
}

section! {
    /// A queue to declare, bind and consume.
    RawQueue (Plain) {
        /// Its name. `{instance}` is the host name and a random part, or `--instance`. An exclusive queue whose name holds
        /// `{instance}` has a further random part with each connection: the broker may keep the queue of a lost connection
        /// locked until it misses that connection's heartbeats.
        "name" name: Text = Required,
        /// It survives a restart of the broker. Default: false.
        "durable" durable: bool = Optional,
        /// Only this connection may use it, and it goes with the connection. Default: false.
        "exclusive" exclusive: bool = Optional,
        /// It goes with its last consumer. Default: false.
        "auto_delete" auto_delete: bool = Optional,
        /// It must exist already: it is checked, not created. Default: false.
        "passive" passive: bool = Optional,
        /// Optional arguments of the broker, such as `x-max-length`.
        "arguments" arguments: Scalars = Optional,
        /// What it is bound to.
        "bind" bind: Vec<At<RawBinding>> = Optional,
        /// How many deliveries may be out unacknowledged. A delivery is acknowledged when the shards have its event or
        /// nobody gets it, and before that if many events of its lane wait for queries. Default: 1000.
        "prefetch" prefetch: Number<1, 65_535> = Optional,
        /// The broker waits for no acknowledgement. Default: false.
        "no_ack" no_ack: bool = Optional,
    }
    later []
}

section! {
    /// A binding of a queue.
    RawBinding (Plain) {
        /// The exchange, declared above or known to the broker.
        "exchange" exchange: Text = Required,
        /// The routing key, or a pattern for a topic exchange. Default: "".
        "routing_key" routing_key: Text = Optional,
        /// Optional arguments: what a headers exchange looks at.
        "arguments" arguments: Scalars = Optional,
    }
    later []
}
