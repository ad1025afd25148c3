//! Why there is no connection, in words that say what to do about it.

use std::fmt;
use std::time::Duration;

use lapin::ErrorKind;

use super::endpoint::{Endpoint, UrlError};

/// Why a connection could not be made, or was lost. Never holds credentials.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The URL is no good.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The broker, or what answers in its place, took too long.
    #[error("no answer within {0:?} while {1}; is it a broker, is it paused or overloaded?")]
    Silent(Duration, String),
    /// What the broker, or the way to it, said.
    #[error("{text}")]
    Refused {
        /// What, why, and what to do.
        text: String,
        /// The queue is held by a connection that the broker will soon know to be dead. Never a reason to give up.
        locked: bool,
    },
    /// The consumer was cancelled by the broker.
    #[error("the broker cancelled the consumer of queue `{0}`: was the queue deleted?")]
    Cancelled(String),
    /// This process is short of something, or at fault itself.
    #[error("the fault is here: {0}")]
    Local(String),
}

/// What was asked of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// TCP, handshake, login, vhost.
    Connecting,
    /// Opening a channel.
    Opening,
    /// Declaring an exchange.
    Exchange(String),
    /// Declaring a queue.
    Queue(String),
    /// Binding a queue to an exchange.
    Binding(String, String),
    /// Starting to consume a queue.
    Consuming(String),
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

impl Fault {
    /// This step got no answer in this time.
    pub(super) fn silent(endpoint: &Endpoint, step: &Step, waited: Duration) -> Self {
        Self::Silent(waited, step.at(endpoint))
    }

    /// What went wrong in this step.
    pub(super) fn refused(endpoint: &Endpoint, step: &Step, error: &lapin::Error) -> Self {
        let at = step.at(endpoint);
        match error.kind() {
            ErrorKind::ProtocolError(broker) => {
                let said = broker.get_message().as_str().trim_end_matches('.');
                let text = format!("{at}: the broker says {said}{}", hint(endpoint, step, broker.get_id()));
                Self::Refused { text, locked: broker.get_id() == LOCKED }
            }
            ErrorKind::IOError(error) => Self::Refused { text: format!("{at}: {error}"), locked: false },
            _ => Self::Refused { text: format!("{at}: {error}"), locked: false },
        }
    }

    /// A name that is too long for the protocol.
    pub(super) fn too_long(step: &Step) -> Self {
        Self::Refused { text: format!("{step}: a name or key is longer than 255 bytes; shorten it"), locked: false }
    }

    /// Whether it goes by itself when the broker has noticed that our last connection is dead.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Refused { locked: true, .. })
    }
}

// What the broker's reply codes mean (AMQP 0-9-1, "constants").
const FORCED: u16 = 320;
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const LOCKED: u16 = 405;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

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
