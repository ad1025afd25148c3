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
use super::connection::{self, End, News};
use super::endpoint::{Endpoint, UrlError};
use super::fault::Fault;
use super::feed::Feed;
use super::told::Told;
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
    /// Of each endpoint, what the log was told.
    told: Vec<Told>,
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
    let endpoints: Vec<_> = amqp.urls.iter().map(Endpoint::parse).collect();
    let told = endpoints.iter().map(|_| Told::default()).collect();
    let backoff = Backoff::default();
    let mut supervisor =
        Supervisor { amqp, name, feed, metrics, state, endpoints, told, turn: 0, backoff, lost_at: None };
    std::thread::Builder::new().name("amqp".into()).spawn(move || {
        let end = supervisor.supervise(&between);
        enter(&supervisor.metrics, &supervisor.state, end);
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
            self.log(&reason, retry_in, up.is_some());
            enter(&self.metrics, &self.state, BrokerState::Lost { reason, retry_in });
            if between.block_on(self.stopped_within(retry_in)) {
                return BrokerState::Stopped;
            }
        }
    }

    /// Says that there is no connection, where that is news.
    fn log(&mut self, reason: &str, retry_in: Duration, was_up: bool) {
        if was_up {
            tracing::warn!(reason, ?retry_in, "the broker is lost");
        } else if !self.last_told().says(reason, Instant::now()) {
            tracing::debug!(reason, ?retry_in, "still no connection to the broker");
        } else if self.lost_at.is_some() {
            tracing::warn!(reason, ?retry_in, "still no connection to the broker");
        } else {
            tracing::warn!(reason, ?retry_in, "no connection to the broker");
        }
    }

    /// What was told of the endpoint that was tried last.
    fn last_told(&mut self) -> &mut Told {
        let all = self.told.len();
        &mut self.told[(self.turn + all - 1) % all]
    }

    async fn stopped_within(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.feed.stop.clone().requested()).await.is_ok()
    }

    /// Tries the endpoints in turn, from the one that was good last, until one works; then until that is lost. Where
    /// none works, answers what was wrong with the last one.
    fn round(&mut self) -> End {
        let mut end = End::Lost(UrlError::Unreadable.into(), None);
        for left in (0..self.endpoints.len()).rev() {
            end = self.attempt(self.turn);
            if let End::Lost(fault, _) = &end {
                self.metrics.broker_faults(fault.cause).inc();
            }
            match &end {
                End::Lost(fault, None) => {
                    self.turn = (self.turn + 1) % self.endpoints.len();
                    // The last one of them is told of by who asked.
                    let reason = fault.to_string();
                    if left > 0 && self.last_told().says(&reason, Instant::now()) {
                        tracing::warn!(reason, "no connection to this broker: the next one is tried");
                    }
                }
                End::Lost(_, Some(_)) => {
                    self.told.iter_mut().for_each(Told::forget);
                    break;
                }
                End::Stopped => break,
            }
        }
        end
    }

    fn attempt(&mut self, turn: usize) -> End {
        let endpoint = match &self.endpoints[turn] {
            Ok(endpoint) => endpoint,
            Err(error) => return End::Lost((*error).into(), None),
        };
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return End::Lost(Fault::local(error), None),
        };
        let tell = |news| self.tell(endpoint, news);
        let end = runtime.block_on(connection::run(endpoint, &self.amqp, &self.name, &self.feed, tell));
        runtime.shutdown_background();
        if let End::Lost(_, Some(_)) = end {
            self.lost_at = Some(Instant::now());
        }
        end
    }

    fn tell(&self, endpoint: &Endpoint, news: News) {
        let enter = |state| enter(&self.metrics, &self.state, state);
        // The log comes last, so that whoever reads it finds it so.
        match news {
            News::Up => {
                self.metrics.broker_connects().inc();
                enter(BrokerState::Consuming);
                if let Some(lost_at) = self.lost_at {
                    tracing::info!(broker = %endpoint, lost_for = ?lost_at.elapsed(), "connected to the broker again");
                } else {
                    tracing::info!(broker = %endpoint, "connected to the broker");
                }
            }
            News::Blocked(reason) => {
                enter(BrokerState::Blocked { reason: reason.clone() });
                tracing::warn!(
                    broker = %endpoint,
                    reason,
                    "the broker blocks this connection: no more events come than `prefetch` lets out; free what it is \
                     short of there"
                );
            }
            News::Unblocked => {
                enter(BrokerState::Consuming);
                tracing::info!(broker = %endpoint, "the broker blocks this connection no more");
            }
        }
    }
}

/// It stands so from now on.
fn enter(metrics: &Metrics, state: &watch::Sender<BrokerState>, now: BrokerState) {
    metrics.broker_phase(now.phase());
    state.send_replace(now);
}
