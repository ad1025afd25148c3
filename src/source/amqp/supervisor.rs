//! One connection after the other, for as long as it takes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::connection::{End, News};
use super::endpoint::{Endpoint, UrlError};
use super::feed::Feed;
use super::link::Link;
use super::plan::Topology;
use super::renewal::{same_url, warn_of};
use super::taps::Taps;
use super::told::Told;
use super::{BrokerState, Change};
use crate::config::{Amqp, WhenLost};
use crate::observe::Metrics;

/// Tries within one heartbeat while a queue is locked: two heartbeats after the loss at the latest the broker has noticed
/// it, and the next try should come soon after that.
const LOCKED_TRIES: u32 = 4;

/// What is known over all connections.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// As configured.
    pub(super) wanted: Amqp,
    /// What is declared and consumed, or was when there was a connection last.
    pub(super) current: Topology,
    /// The part that the connection adds to the names of its own queues.
    pub(super) part: String,
    pub(super) name: String,
    pub(super) feed: Feed,
    pub(super) taps: Taps,
    metrics: Arc<Metrics>,
    state: watch::Sender<BrokerState>,
    changes: mpsc::Receiver<Change>,
    pub(super) endpoints: Vec<Result<Endpoint, UrlError>>,
    /// Of each endpoint, what the log was told.
    told: Vec<Told>,
    /// Which endpoint is tried next, or is connected to.
    pub(super) turn: usize,
    backoff: Backoff,
    /// Since when there is no connection, after there was one.
    lost_at: Option<Instant>,
}

/// Starts the thread. The state says when it has ended.
pub(super) fn spawn(
    wanted: Amqp,
    instance: &str,
    feed: Feed,
    metrics: Arc<Metrics>,
    (state, changes): (watch::Sender<BrokerState>, mpsc::Receiver<Change>),
) -> io::Result<()> {
    // Made here, so that it cannot fail later.
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let endpoints: Vec<_> = wanted.urls.iter().map(Endpoint::parse).collect();
    let mut supervisor = Supervisor {
        current: Topology::of(&wanted),
        part: part(),
        wanted,
        name: format!("pointsman {instance}"),
        feed,
        taps: Taps::new(Arc::clone(&metrics), instance),
        metrics,
        state,
        changes,
        told: endpoints.iter().map(|_| Told::default()).collect(),
        endpoints,
        turn: 0,
        backoff: Backoff::default(),
        lost_at: None,
    };
    std::thread::Builder::new().name("amqp-supervisor".into()).spawn(move || {
        let end = runtime.block_on(supervisor.supervise());
        supervisor.enter(end);
    })?;
    Ok(())
}

impl Supervisor {
    async fn supervise(&mut self) -> BrokerState {
        loop {
            let End::Lost(fault, up) = self.round().await else { return BrokerState::Stopped };
            let reason = fault.to_string();
            if self.wanted.when_lost == WhenLost::Exit && !fault.passes() {
                tracing::error!(reason, "the broker is lost, and `when_lost` says exit");
                return BrokerState::GaveUp { reason };
            }
            let mut retry_in = self.backoff.lost(up.unwrap_or_default(), fastrand::f64());
            if let Some(heartbeat) = self.heartbeat().filter(|_| fault.passes()) {
                retry_in = retry_in.min(heartbeat / LOCKED_TRIES);
            }
            // The log comes last, so that whoever reads it finds it so.
            self.enter(BrokerState::Lost { reason: reason.clone(), retry_in });
            self.log(&reason, retry_in, up.is_some());
            let mut stop = self.feed.stop.clone();
            tokio::select! {
                biased;
                () = stop.requested() => return BrokerState::Stopped,
                // Perhaps it is what was wrong: the next try comes at once.
                Some(change) = self.changes.recv() => self.take_over(change),
                () = sleep(retry_in) => {}
            }
        }
    }

    /// The time between heartbeats to the endpoint that was tried last.
    fn heartbeat(&self) -> Option<Duration> {
        let all = self.endpoints.len();
        self.endpoints[(self.turn + all - 1) % all].as_ref().ok().map(Endpoint::heartbeat)
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

    /// While there is no connection: this is for the next one.
    fn take_over(&mut self, Change { amqp, done }: Change) {
        self.adopt(amqp);
        if self.lost_at.is_none() {
            // What never was declared is nothing to come back to.
            self.current = Topology::of(&self.wanted);
        }
        tracing::info!("the broker's configuration has changed: the next connection declares it");
        done.send(Ok(())).ok();
    }

    /// From now on this is wanted.
    pub(super) fn adopt(&mut self, amqp: Amqp) {
        if !same_urls(&amqp, &self.wanted) {
            self.endpoints = amqp.urls.iter().map(Endpoint::parse).collect();
            self.told = self.endpoints.iter().map(|_| Told::default()).collect();
            self.turn = 0;
        }
        self.wanted = amqp;
    }

    /// Tries the endpoints in turn, from the one that was good last, until one works; then until that is lost. Where
    /// none works, answers what was wrong with the last one.
    async fn round(&mut self) -> End {
        let mut end = End::Lost(UrlError::Unreadable.into(), None);
        let mut left = self.endpoints.len();
        while left > 0 {
            left -= 1;
            end = self.attempt().await;
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
            if let Ok(change) = self.changes.try_recv() {
                self.take_over(change);
                left = self.endpoints.len();
            }
        }
        end
    }

    /// Tries one endpoint. Where it does not take what is wanted, what was there before will do.
    async fn attempt(&mut self) -> End {
        let wanted = Topology::of(&self.wanted).named(&self.part);
        self.current = std::mem::take(&mut self.current).named(&self.part);
        let mut end = self.connection(wanted.clone()).await;
        if let End::Lost(fault, None) = &end
            && fault.is_refusal()
            && !self.current.plan(&wanted).is_empty()
        {
            let reason = fault.to_string();
            tracing::warn!(reason, "the broker refuses what has changed: what was declared before is tried");
            end = self.connection(self.current.clone()).await;
        }
        if let End::Lost(fault, up) = &end {
            // The broker may hold the queues of that connection for as long as it believes it to be alive. While nothing
            // of it is held, the names stay, so that the log does not have another reason with each try.
            if up.is_some() || fault.passes() {
                self.part = part();
            }
            if up.is_some() {
                self.lost_at = Some(Instant::now());
            }
        }
        end
    }

    /// One connection that declares this, from its beginning to its end.
    async fn connection(&mut self, topology: Topology) -> End {
        match self.link(self.turn, &topology, false) {
            Ok(link) => self.follow(link, topology).await,
            Err(fault) => End::Lost(fault, None),
        }
    }

    /// Follows a connection that declares this to its end, and changes what is to change meanwhile.
    async fn follow(&mut self, mut link: Link, topology: Topology) -> End {
        loop {
            match self.hear(&mut link).await {
                News::End(end) => return end,
                News::Up => break,
                _ => {}
            }
        }
        self.current = topology;
        self.up(&link);
        // Where it had to be content with what was there before.
        match self.renew(&mut link).await {
            Ok(unapplied) => warn_of(&unapplied),
            Err(end) => return end,
        }
        let mut stop = self.feed.stop.clone();
        loop {
            let news = tokio::select! {
                biased;
                () = stop.requested() => self.hear(&mut link).await,
                news = link.news() => news,
                Some(change) = self.changes.recv() => match self.change(&mut link, change).await {
                    Some(end) => return end,
                    None => continue,
                },
            };
            match news {
                News::End(end) => return end,
                news => self.tell(&link.endpoint, news),
            }
        }
    }

    /// What a connection says next that must be heeded. Has it stop when it is time for that.
    pub(super) async fn hear(&self, link: &mut Link) -> News {
        let mut stop = self.feed.stop.clone();
        loop {
            let news = tokio::select! {
                biased;
                () = stop.requested() => {
                    link.stop();
                    link.news().await
                }
                news = link.news() => news,
            };
            match news {
                news @ (News::Blocked(_) | News::Unblocked) => self.tell(&link.endpoint, news),
                news => return news,
            }
        }
    }

    /// It is connected, and consumes.
    pub(super) fn up(&self, link: &Link) {
        let broker = &link.endpoint;
        self.metrics.broker_connects().inc();
        self.enter(BrokerState::Consuming);
        // The log comes last, so that whoever reads it finds it so.
        if let Some(lost_at) = self.lost_at {
            tracing::info!(%broker, lost_for = ?lost_at.elapsed(), "connected to the broker again");
        } else {
            tracing::info!(%broker, "connected to the broker");
        }
    }

    fn tell(&self, broker: &Endpoint, news: News) {
        match news {
            News::Blocked(reason) => {
                self.enter(BrokerState::Blocked { reason: reason.clone() });
                tracing::warn!(
                    %broker,
                    reason,
                    "the broker blocks this connection: no more events come than `prefetch` lets out; free what it is \
                     short of there"
                );
            }
            News::Unblocked => {
                self.enter(BrokerState::Consuming);
                tracing::info!(%broker, "the broker blocks this connection no more");
            }
            _ => {}
        }
    }

    /// It stands so from now on.
    fn enter(&self, now: BrokerState) {
        self.metrics.broker_phase(now.phase());
        self.state.send_replace(now);
    }
}

/// Returns the random part that a connection adds to the names of its own queues.
pub(super) fn part() -> String {
    format!("{:08x}", fastrand::u32(..))
}

/// Whether both name the same brokers, in the same order, as the same users.
pub(super) fn same_urls(one: &Amqp, other: &Amqp) -> bool {
    one.urls.len() == other.urls.len() && one.urls.iter().zip(&other.urls).all(|(one, other)| same_url(one, other))
}
