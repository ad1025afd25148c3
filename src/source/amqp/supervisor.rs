//! One connection after the other, for as long as it takes.
//!
//! Invariant: each connection runs on an event loop of its own that ends with it, so that nothing of a connection
//! outlives it. The client library's own threads and sockets end only with the event loop that they were made on: one
//! that waits for a silent peer would stay for ever.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::Instant;

use super::BrokerState;
use super::backoff::Backoff;
use super::connection::{self, End};
use super::endpoint::{Endpoint, UrlError};
use super::fault::Fault;
use super::feed::Feed;
use crate::config::{Amqp, WhenLost};
use crate::observe::Metrics;

/// What is known over all connections.
struct Supervisor {
    amqp: Amqp,
    name: String,
    feed: Feed,
    metrics: Arc<Metrics>,
    state: watch::Sender<BrokerState>,
    endpoints: Vec<Result<Endpoint, UrlError>>,
    /// Which endpoint is tried next.
    turn: usize,
    backoff: Backoff,
    /// Since when there is no connection, after there was one.
    lost_at: Option<Instant>,
}

/// Starts the thread. The state says when it has ended.
pub(super) fn spawn(
    amqp: Amqp,
    name: String,
    feed: Feed,
    metrics: Arc<Metrics>,
    state: watch::Sender<BrokerState>,
) -> io::Result<()> {
    // For the time between connections. Made here, so that it cannot fail later.
    let between = Builder::new_current_thread().enable_time().build()?;
    let endpoints = amqp.urls.iter().map(Endpoint::parse).collect();
    let backoff = Backoff::default();
    let mut supervisor = Supervisor { amqp, name, feed, metrics, state, endpoints, turn: 0, backoff, lost_at: None };
    std::thread::Builder::new().name("amqp".into()).spawn(move || {
        let end = supervisor.supervise(&between);
        supervisor.state.send_replace(end);
    })?;
    Ok(())
}

impl Supervisor {
    fn supervise(&mut self, between: &Runtime) -> BrokerState {
        loop {
            let End::Lost(fault, up) = self.round() else { return BrokerState::Stopped };
            let reason = fault.to_string();
            if self.amqp.when_lost == WhenLost::Exit && !fault.passes() {
                tracing::error!(reason, "the broker is lost, and `when_lost` says exit");
                return BrokerState::GaveUp { reason };
            }
            let retry_in = self.backoff.lost(up.unwrap_or_default(), fastrand::f64());
            match self.lost_at {
                Some(_) if up.is_some() => tracing::warn!(reason, ?retry_in, "the broker is lost"),
                Some(_) => tracing::warn!(reason, ?retry_in, "still no connection to the broker"),
                None => tracing::warn!(reason, ?retry_in, "no connection to the broker"),
            }
            self.state.send_replace(BrokerState::Lost { reason, retry_in });
            if between.block_on(self.stopped_within(retry_in)) {
                return BrokerState::Stopped;
            }
        }
    }

    async fn stopped_within(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.feed.stop.clone().requested()).await.is_ok()
    }

    /// Tries the endpoints in turn, from the one that was good last, until one works; then until that is lost. Where
    /// none works, answers what was wrong with the last one.
    fn round(&mut self) -> End {
        let mut end = End::Lost(Fault::Url(UrlError::Unreadable), None);
        for _ in 0..self.endpoints.len() {
            end = self.attempt(self.turn);
            match end {
                End::Lost(_, None) => self.turn = (self.turn + 1) % self.endpoints.len(),
                End::Stopped | End::Lost(_, Some(_)) => break,
            }
        }
        end
    }

    fn attempt(&mut self, turn: usize) -> End {
        let endpoint = match &self.endpoints[turn] {
            Ok(endpoint) => endpoint,
            Err(error) => return End::Lost(Fault::Url(*error), None),
        };
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return End::Lost(Fault::Local(error.to_string()), None),
        };
        let up = || {
            self.metrics.broker_connects().inc();
            self.metrics.broker_connected().set(1);
            self.state.send_replace(BrokerState::Consuming);
            // Last, so that whoever reads it finds it so.
            if let Some(lost_at) = self.lost_at {
                tracing::info!(broker = %endpoint, lost_for = ?lost_at.elapsed(), "connected to the broker again");
            } else {
                tracing::info!(broker = %endpoint, "connected to the broker");
            }
        };
        let end = runtime.block_on(connection::run(endpoint, &self.amqp, &self.name, &self.feed, up));
        runtime.shutdown_background();
        self.metrics.broker_connected().set(0);
        if let End::Lost(_, Some(_)) = end {
            self.lost_at = Some(Instant::now());
        }
        end
    }
}
