//! Why there is no connection, in words that say what to do about it.

use std::fmt;
use std::io;
use std::time::Duration;

use lapin::ErrorKind;
use rustix::io::Errno;

use super::endpoint::{Endpoint, UrlError};
use super::tls;
use crate::observe::BrokerFault;

/// Why a connection could not be made, or was lost. Never holds credentials.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Fault {
    pub(super) cause: BrokerFault,
    /// What, why, and what to do.
    text: String,
}

/// What was asked of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// TCP, TLS, handshake, login, vhost.
    Connecting,
    /// Opening a channel.
    Opening,
    /// Declaring an exchange.
    Exchange(String),
    /// Declaring a queue.
    Queue(String),
    /// Binding a queue to an exchange.
    Binding(String, String),
    /// Taking away a binding of a queue to an exchange.
    Unbinding(String, String),
    /// Starting to consume a queue.
    Consuming(String),
    /// Ending to consume a queue for good.
    Retiring(String),
    /// Consuming a queue.
    Consumed(String),
    /// Consuming, whichever queue it was.
    Connected,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Opening => f.write_str("opening a channel"),
            Self::Exchange(name) => write!(f, "declaring exchange `{name}`"),
            Self::Queue(name) => write!(f, "declaring queue `{name}`"),
            Self::Binding(queue, exchange) => write!(f, "binding queue `{queue}` to exchange `{exchange}`"),
            Self::Unbinding(queue, exchange) => {
                write!(f, "taking away a binding of queue `{queue}` to exchange `{exchange}`")
            }
            Self::Retiring(name) => write!(f, "giving up queue `{name}`"),
            Self::Consuming(name) => write!(f, "starting to consume queue `{name}`"),
            Self::Consumed(name) => write!(f, "consuming queue `{name}`"),
            Self::Connected => f.write_str("consuming"),
        }
    }
}

impl Step {
    fn at(&self, endpoint: &Endpoint) -> String {
        let preposition = if *self == Self::Connecting { "to" } else { "at" };
        format!("{self} {preposition} {endpoint}")
    }
}

impl From<UrlError> for Fault {
    fn from(error: UrlError) -> Self {
        Self { cause: BrokerFault::url, text: error.to_string() }
    }
}

impl Fault {
    /// This step got no answer in this time.
    pub(super) fn silent(endpoint: &Endpoint, step: &Step, waited: Duration) -> Self {
        let text = format!(
            "no answer within {waited:?} while {}; is it a broker, is it paused or overloaded?",
            step.at(endpoint)
        );
        Self { cause: BrokerFault::silent, text }
    }

    /// The broker cancelled the consumer of this queue.
    pub(super) fn cancelled(queue: &str) -> Self {
        let text = format!("the broker cancelled the consumer of queue `{queue}`: was the queue deleted?");
        Self { cause: BrokerFault::cancelled, text }
    }

    /// This process is short of something, or at fault itself.
    pub(super) fn local(what: impl fmt::Display) -> Self {
        Self { cause: BrokerFault::local, text: format!("the fault is here: {what}") }
    }

    /// What the configuration says of TLS cannot be done.
    pub(super) fn tls(what: impl fmt::Display) -> Self {
        Self { cause: BrokerFault::tls, text: what.to_string() }
    }

    /// A name that is too long for the protocol.
    pub(super) fn too_long(step: &Step) -> Self {
        let text = format!("{step}: a name or key is longer than 255 bytes; shorten it");
        Self { cause: BrokerFault::topology, text }
    }

    /// Queue that is read from a place of one's own: a stream.
    pub(super) fn stream(queue: &str) -> Self {
        let text = format!(
            "queue `{queue}` is a stream, and `prefetch` and `no_ack` of one that is being read stay as they are until \
             the next connection to the broker; restart, or have the connection closed there"
        );
        Self { cause: BrokerFault::topology, text }
    }

    /// Whether the broker says that there is no such thing.
    pub(super) fn is_absence(error: &lapin::Error) -> bool {
        matches!(error.kind(), ErrorKind::ProtocolError(broker) if broker.get_id() == NOT_FOUND)
    }

    /// Whether it is about what is declared, and not about the connection: what was declared before may do still.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.cause, BrokerFault::topology | BrokerFault::permission)
    }

    /// What went wrong in this step.
    pub(super) fn refused(endpoint: &Endpoint, step: &Step, error: &lapin::Error) -> Self {
        let at = step.at(endpoint);
        let (cause, what) = match error.kind() {
            ErrorKind::ProtocolError(broker) => {
                let said = broker.get_message().as_str().trim_end_matches('.');
                let code = broker.get_id();
                (cause(step, code), format!("the broker says {said}{}", hint(endpoint, step, code)))
            }
            ErrorKind::IOError(error) => network(endpoint, step, error),
            ErrorKind::MissingHeartbeatError => {
                let what = "no heartbeat came in time; the broker is paused or overloaded, or the way to it is dead";
                (BrokerFault::heartbeat, what.to_owned())
            }
            ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_) => {
                let what = format!(
                    "what answers there does not speak AMQP 0-9-1 ({error}); is it another program's port, or one for \
                     TLS, which wants `amqps://`?"
                );
                (BrokerFault::protocol, what)
            }
            _ => (BrokerFault::network, error.to_string()),
        };
        Self { cause, text: format!("{at}: {what}") }
    }

    /// Whether it goes by itself when the broker has noticed that our last connection is dead.
    pub(super) fn passes(&self) -> bool {
        self.cause == BrokerFault::locked
    }
}

/// What the system said, or TLS.
fn network(endpoint: &Endpoint, step: &Step, error: &io::Error) -> (BrokerFault, String) {
    if let Some(what) = tls::explain(endpoint, error) {
        return (BrokerFault::tls, what);
    }
    let text = error.to_string();
    let (cause, hint) = match error.kind() {
        _ if matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE)) => {
            (BrokerFault::local, "; raise the limit on descriptors (`ulimit -n`), or lower `limits.connections`")
        }
        io::ErrorKind::ConnectionRefused => (BrokerFault::refused, "; does a broker run there, and is it this port?"),
        // The system's resolver has no kind of its own.
        _ if text.starts_with("failed to lookup address") => {
            (BrokerFault::unresolved, "; is the host's name right in `amqp.url`, and can this machine resolve it?")
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => {
            let hint = match step {
                Step::Connecting if endpoint.tls() => "; is this a broker's port for TLS?",
                Step::Connecting => "; is this a broker's port, and not one for TLS, which wants `amqps://`?",
                _ => "; the broker has gone, or something on the way to it ended the connection",
            };
            (BrokerFault::cut, hint)
        }
        _ => (BrokerFault::network, ""),
    };
    (cause, format!("{text}{hint}"))
}

// What the broker's reply codes mean (AMQP 0-9-1, "constants").
const FORCED: u16 = 320;
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const LOCKED: u16 = 405;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

fn cause(step: &Step, code: u16) -> BrokerFault {
    match (code, step) {
        (FORCED, _) => BrokerFault::closed,
        (ACCESS_REFUSED, Step::Connecting) => BrokerFault::credentials,
        (ACCESS_REFUSED, _) => BrokerFault::permission,
        (NOT_FOUND | PRECONDITION_FAILED, _) => BrokerFault::topology,
        (LOCKED, _) => BrokerFault::locked,
        (NOT_ALLOWED, Step::Connecting) => BrokerFault::vhost,
        _ => BrokerFault::protocol,
    }
}

/// What to do about it, where that is known.
fn hint(endpoint: &Endpoint, step: &Step, code: u16) -> String {
    let (user, vhost) = (endpoint.user(), endpoint.vhost());
    match (code, step) {
        (ACCESS_REFUSED, Step::Connecting) => {
            "; check the user name and password in `amqp.url`, and that the user may log in from this machine".into()
        }
        (ACCESS_REFUSED, _) => format!(
            "; give the user of `amqp.url` the rights to configure, write and read: \
             rabbitmqctl set_permissions -p {vhost} {user} '.*' '.*' '.*'"
        ),
        (NOT_ALLOWED, Step::Connecting) if vhost.is_empty() => {
            "; the URL ends in `/`, which names a vhost without a name: leave the `/` away for the default vhost".into()
        }
        (NOT_ALLOWED, Step::Connecting) => {
            format!("; the path of `amqp.url` names the vhost: is `{vhost}` right, and may the user `{user}` enter it?")
        }
        (PRECONDITION_FAILED, Step::Exchange(_) | Step::Queue(_)) => {
            "; it exists with other properties: configure it as it is, or say `passive: true`, or delete it at the \
             broker"
                .into()
        }
        (NOT_FOUND, Step::Exchange(_) | Step::Queue(_)) => {
            "; create it at the broker, or leave `passive: true` away".into()
        }
        (NOT_FOUND, Step::Binding(..)) => {
            "; list the exchange under `amqp.exchanges`, or create it at the broker".into()
        }
        (LOCKED, _) => {
            "; another connection holds it: our own that has just been lost, or that of another process that was \
             given the same name"
                .into()
        }
        (FORCED, _) => "; it is shutting down, or somebody closed the connection there".into(),
        _ => String::new(),
    }
}
