//! RabbitMQ as a source: the only home of the AMQP client.
//!
//! One thread of its own supervises a connection, which has another. When that is lost it is given up with everything
//! that belongs to it, event loop, sockets and threads, and a new one is made from nothing: connect, declare, consume.
//! There is no half-dead connection to repair, and nothing of the old one, an acknowledgement least of all, can reach the
//! new one.
//!
//! A change of the configuration is a plan of steps, done on the connection that is there; one to another broker or
//! vhost makes the new connection first, and leaves the old one in order.
//!
//! Invariant: no credentials in states, errors and logs.

mod acknowledged;
mod acknowledging;
mod acks;
mod backlog;
mod backoff;
mod change;
mod connection;
mod crew;
mod endpoint;
mod fault;
mod feed;
mod handed;
mod line;
mod link;
mod plan;
mod proof;
mod renewal;
mod supervisor;
mod taps;
mod tls;
mod told;
mod topology;
mod unacknowledged;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_compat::Compat;
use secrecy::SecretString;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::endpoint::UrlError;
use self::feed::{Feed, Stop};
use super::Intake;
use crate::config::Amqp;
use crate::observe::{BrokerPhase, Metrics};

/// The source that runs. It stops when this is dropped.
#[derive(Debug)]
pub struct Broker {
    stop: watch::Sender<bool>,
    state: watch::Receiver<BrokerState>,
    changes: mpsc::Sender<Change>,
}

/// Another configuration, and who wants to know what became of it.
#[derive(Debug)]
struct Change {
    amqp: Amqp,
    done: oneshot::Sender<Result<(), Vec<String>>>,
}

/// How it stands with the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerState {
    /// The first connection is being made.
    Connecting,
    /// All is well.
    Consuming,
    /// Connected and consuming, but the broker is short of something and takes nothing from this connection:
    /// acknowledgements wait, so that no more events come than the prefetch lets out.
    Blocked {
        /// Of what, in the broker's words.
        reason: String,
    },
    /// Not connected. This also holds while the next try is under way.
    Lost {
        /// Why, and what to do about it.
        reason: String,
        /// How long after the loss the next try began, or will.
        retry_in: Duration,
    },
    /// Not connected, and `when_lost: exit` says that this is the end: the program should end with status 3.
    GaveUp {
        /// Why, and what to do about it.
        reason: String,
    },
    /// Stopped, as asked.
    Stopped,
}

impl BrokerState {
    fn phase(&self) -> BrokerPhase {
        match self {
            Self::Connecting => BrokerPhase::connecting,
            Self::Consuming => BrokerPhase::consuming,
            Self::Blocked { .. } => BrokerPhase::blocked,
            Self::Lost { .. } => BrokerPhase::lost,
            Self::GaveUp { .. } => BrokerPhase::gave_up,
            Self::Stopped => BrokerPhase::stopped,
        }
    }
}

/// Starts to consume all that `amqp` says, on a thread of its own, and goes on until stopped.
///
/// The broker knows the connection as `pointsman` and `instance`. Fails where no thread can be started; a broker that
/// cannot be reached is a matter of the [state](Broker::state).
pub fn start(amqp: Amqp, instance: &str, intake: Intake, metrics: Arc<Metrics>) -> io::Result<Broker> {
    make_fallback_runtime()?;
    let (stop, stopping) = watch::channel(false);
    let (telling, state) = watch::channel(BrokerState::Connecting);
    metrics.broker_phase(BrokerPhase::connecting);
    let feed = Feed::new(intake, &metrics, Stop::new(stopping));
    // One at a time; who comes with another waits.
    let (changes, changing) = mpsc::channel(1);
    supervisor::spawn(amqp, instance, feed, metrics, (telling, changing))?;
    Ok(Broker { stop, state, changes })
}

/// Makes the runtime that the client library otherwise makes when it first loses a connection, once in the life of the
/// process. It panics if there are no descriptors for it then.
fn make_fallback_runtime() -> io::Result<()> {
    // On a thread without a runtime, as the library does it.
    let thread = std::thread::Builder::new().spawn(|| {
        // Fails with an error if there are too few descriptors now.
        drop(Builder::new_current_thread().enable_all().build()?);
        drop(Compat::new(()));
        Ok(())
    })?;
    thread.join().unwrap_or_else(|_panic| Err(io::Error::other("the AMQP client could not make its runtime")))
}

/// Whether this can be a broker's URL.
pub fn check_url(url: &SecretString) -> Result<(), UrlError> {
    endpoint::Endpoint::parse(url).map(drop)
}

impl Broker {
    /// How it stands with the broker, now and from now on.
    pub fn state(&self) -> watch::Receiver<BrokerState> {
        self.state.clone()
    }

    /// Waits until the broker is given up (`when_lost: exit`), for ever where that does not happen, and says why.
    pub async fn given_up(&self) -> String {
        let mut state = self.state.clone();
        let end = state.wait_for(|state| matches!(state, BrokerState::GaveUp { .. })).await;
        if let Ok(BrokerState::GaveUp { reason }) = end.as_deref() {
            return reason.clone();
        }
        drop(end);
        std::future::pending().await
    }

    /// Goes on as this says, and says what of it could not be applied, and what to do about that. The rest is applied:
    /// the connection stays, and so do queues that do not change.
    ///
    /// - A changed `prefetch` or `no_ack` is a new consumer of the same queue.
    /// - A queue that is configured no longer and goes with this process is emptied first; others stay at the broker.
    /// - What is the same broker and vhost in the same way stays connected; other credentials, and other files for TLS,
    ///   are tried by a connection beside, and used from the next one on.
    /// - Another broker or vhost is connected to first, and left alone where that does not work; when all is declared
    ///   there, the queues of the old one are left in order.
    ///
    /// While there is no connection, all of it is for the next one to declare, and nothing is wrong. One that is refused
    /// what is new then goes on with what was declared before.
    ///
    /// Takes some seconds at most for each thing that the broker does not answer.
    pub async fn change(&self, amqp: Amqp) -> Result<(), Vec<String>> {
        let over = || vec!["the source of events has ended: nothing of `amqp` can change any more".to_owned()];
        let (done, outcome) = oneshot::channel();
        self.changes.send(Change { amqp, done }).await.map_err(|_ended| over())?;
        outcome.await.unwrap_or_else(|_ended| Err(over()))
    }

    /// Stops consuming, acknowledges what lanes still finish, and closes the connection: returns when that is done,
    /// after some 4 seconds at most.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let over = |state: &BrokerState| matches!(state, BrokerState::Stopped | BrokerState::GaveUp { .. });
        // An error means that the thread has ended, too.
        self.state.clone().wait_for(over).await.ok();
    }
}
