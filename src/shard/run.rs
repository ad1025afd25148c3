//! The event loop of one shard.
//!
//! One turn: wait for sockets or words → read what came in → take the words that wait → what is due → write once to each
//! connection that gets something. Everything that a turn does is bounded, so that no client and no burst keeps the
//! others waiting.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use mio::net::TcpListener;
use mio::{Events, Interest as Readiness, Poll, Token, Waker};
use prometheus_client::metrics::counter::Counter;
use slab::Slab;
use tokio::sync::{mpsc, watch};

use super::backlog::Backlog;
use super::connection::Connection;
use super::leave::Leaving;
use super::log::Log;
use super::message::Bell;
use super::ping::Pings;
use super::review::UnderReview;
use super::timers::{Due, Timers};
use super::{
    Admission, AuthenticateRequest, ConnectionKey, Interest, PublishRequest, Sessions, ShardHandle, ShardId, ToShard,
};
use crate::auth::Comeback;
use crate::config::Limits;
use crate::connection::Batch;
use crate::lane::Lanes;
use crate::listen::Door;
use crate::observe::{DropCause, Metrics, ShardGauges};
use crate::tls::Acceptor;

const LISTENER: Token = Token(usize::MAX);
const BELL: Token = Token(usize::MAX - 1);
/// Words that may wait for a shard: a full inbox makes lanes wait, and they their sources.
const INBOX: usize = 1024;
/// Words taken in one turn, so that what they lead to is written before more is taken.
const WORDS: usize = 256;
/// Frames given out in one turn, after which it is written too.
const FRAMES: usize = 1 << 16;
/// Sockets looked at in one turn: each is read once.
const EVENTS: usize = 256;
/// Of those that had more to say than a turn allows, as many are heard in the next one.
const AGAIN: usize = 64;
/// Handshakes of TLS that go on in one turn: each costs the time of some hundred events.
const HANDSHAKES: usize = 8;
/// Bytes read at once, into one buffer for all connections.
const READ_BYTES: usize = 64 * 1024;

/// What may change while a shard runs. It counts for whatever comes from then on, on connections that exist too.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    /// Bounds on clients.
    pub limits: Limits,
    /// What the listener offers.
    pub door: Door,
    /// A connection that is not a session by then is closed.
    pub deadline: Duration,
    /// How often sessions are pinged.
    pub ping_every: Duration,
    /// Says when clients come back whose tokens cannot be asked for.
    pub comeback: Comeback,
}

/// What a shard is given to run with.
#[derive(Debug)]
pub struct ShardParts {
    /// What is in force, now and from now on: a shard looks at the beginning of each turn.
    pub settings: watch::Receiver<Arc<ShardSettings>>,
    /// Asked for topics.
    pub lanes: Lanes,
    /// Asked for tokens.
    pub auth: mpsc::Sender<AuthenticateRequest>,
    /// Given what the demo page publishes.
    pub publish: mpsc::Sender<PublishRequest>,
    /// Told which tenants have sessions here.
    pub interest: Arc<Interest>,
    /// Makes sessions of TLS, where clients are to speak it.
    pub tls: Option<Acceptor>,
    /// Counts connections, over all shards.
    pub admission: Arc<Admission>,
    /// Told what happens.
    pub metrics: Arc<Metrics>,
}

/// A shard's inbox, made before the shard: lanes must know where to send before shards can know whom to ask.
#[derive(Debug)]
pub struct ShardSeat {
    id: ShardId,
    poll: Poll,
    inbox: mpsc::Receiver<ToShard>,
    bell: Arc<Bell>,
    handle: ShardHandle,
}

impl ShardSeat {
    /// A seat for the shard of this id.
    pub fn new(id: ShardId) -> io::Result<Self> {
        let poll = Poll::new()?;
        let bell = Arc::new(Bell::new(Waker::new(poll.registry(), BELL)?));
        let (sender, inbox) = mpsc::channel(INBOX);
        let handle = ShardHandle::new(sender, Arc::clone(&bell));
        Ok(Self { id, poll, inbox, bell, handle })
    }

    /// The way in.
    pub fn handle(&self) -> ShardHandle {
        self.handle.clone()
    }

    /// Starts the shard on a thread of its own, accepting from `listener`. The thread ends when the shard has left.
    pub fn start(self, listener: std::net::TcpListener, mut parts: ShardParts) -> io::Result<JoinHandle<()>> {
        let mut listener = TcpListener::from_std(listener);
        self.poll.registry().register(&mut listener, LISTENER, Readiness::READABLE)?;
        let name = format!("shard-{}", self.id.index());
        let settings = Arc::clone(&parts.settings.borrow_and_update());
        std::thread::Builder::new().name(name).spawn(move || {
            Shard {
                id: self.id,
                poll: self.poll,
                inbox: self.inbox,
                bell: self.bell,
                listener: Some(listener),
                connections: Slab::new(),
                accepted: 0,
                lingering: 0,
                sessions: Sessions::default(),
                batch: Batch::default(),
                backlog: Backlog::default(),
                dropped: parts.metrics.drops(DropCause::outbox_full),
                log: Log::default(),
                timers: Timers::default(),
                pings: Pings::default(),
                reviews: Vec::new(),
                leaving: None,
                crowded: false,
                handshakes: HANDSHAKES,
                resting: false,
                again: VecDeque::new(),
                buffer: vec![0; READ_BYTES],
                written: Vec::new(),
                now: now(),
                gauges: parts.metrics.shard(self.id.index()),
                settings,
                parts,
            }
            .run();
        })
    }
}

/// One shard: the only owner of its connections and sessions.
pub(super) struct Shard {
    pub(super) id: ShardId,
    pub(super) poll: Poll,
    inbox: mpsc::Receiver<ToShard>,
    bell: Arc<Bell>,
    pub(super) listener: Option<TcpListener>,
    pub(super) connections: Slab<Connection>,
    /// Connections accepted so far: each one's generation.
    pub(super) accepted: u32,
    /// Connections that are refused, and still have to read why: at most [`LINGERING`](super::admission::LINGERING).
    pub(super) lingering: usize,
    pub(super) sessions: Sessions,
    pub(super) batch: Batch,
    /// What waits in the outboxes of all connections.
    pub(super) backlog: Backlog,
    /// Events that were dropped because an outbox was full.
    pub(super) dropped: Counter,
    pub(super) log: Log,
    pub(super) timers: Timers,
    pub(super) pings: Pings,
    pub(super) reviews: Vec<UnderReview>,
    pub(super) leaving: Option<Leaving>,
    /// More connections may wait to be accepted.
    crowded: bool,
    /// How many handshakes of TLS may go on in this turn.
    pub(super) handshakes: usize,
    /// Accepting pauses, as there is no descriptor left.
    pub(super) resting: bool,
    /// Connections that have more to read than a turn allows.
    pub(super) again: VecDeque<ConnectionKey>,
    pub(super) buffer: Vec<u8>,
    /// When the events of this turn were received.
    pub(super) written: Vec<Instant>,
    /// The time of this turn.
    pub(super) now: Instant,
    gauges: ShardGauges,
    /// What is in force in this turn.
    pub(super) settings: Arc<ShardSettings>,
    pub(super) parts: ShardParts,
}

impl Shard {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut more = false;
        while !self.has_left() {
            let timeout = if more { Some(Duration::ZERO) } else { self.timeout() };
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A process that serves a part of its clients looks healthy and is not: a supervisor starts a whole one.
                Err(error) => {
                    tracing::error!(shard = self.id.index(), %error, "the shard cannot poll, and the process ends");
                    std::process::abort();
                }
            }
            self.now = now();
            self.handshakes = HANDSHAKES;
            if self.parts.settings.has_changed().unwrap_or(false) {
                self.settings = Arc::clone(&self.parts.settings.borrow_and_update());
            }
            // First: whoever sends from now on rings again.
            self.bell.silence();
            for event in &events {
                match event.token() {
                    LISTENER => self.crowded = !self.resting,
                    BELL => {}
                    Token(index) => self.ready(index, event),
                }
            }
            if self.crowded {
                self.crowded = !self.accept();
            }
            for _ in 0..self.again.len().min(AGAIN) {
                let next = self.again.pop_front();
                if let Some(index) = next.and_then(|key| self.index(key)) {
                    self.connections[index].queued = false;
                    self.resume(index);
                }
            }
            more = self.listen_to_words();
            while let Some((due, key)) = self.timers.take_due(self.now) {
                self.fire(due, key);
            }
            self.ping_some();
            self.leave_some();
            self.flush();
            self.gauges.set(self.sessions.len(), self.sessions.subscribed());
            let (connections, timers) = (&self.connections, &mut self.timers);
            timers.sweep(connections.len(), |key| is_at(connections, key));
            more |= self.crowded || !self.again.is_empty() || self.pings.is_pending();
        }
    }

    /// The connection of this key, where it is still the one that was meant.
    pub(super) fn index(&self, key: ConnectionKey) -> Option<usize> {
        is_at(&self.connections, key).then_some(key.index as usize)
    }

    /// Takes words from the inbox. `true` where more may wait.
    fn listen_to_words(&mut self) -> bool {
        for _ in 0..WORDS {
            let Ok(word) = self.inbox.try_recv() else { return false };
            match word {
                ToShard::Deliver(routed) => {
                    let frames = self.batch.event(routed.frames());
                    let (batch, connections) = (&mut self.batch, &mut self.connections);
                    let before = batch.len();
                    self.sessions.deliver(routed.audiences(), |index, clause| {
                        if let Some(connection) = connections.get_mut(index as usize) {
                            batch.link(index, &mut connection.chain, frames.at(routed.frame_of(clause)));
                        }
                    });
                    let reached = self.batch.len() - before;
                    if reached > 0 {
                        self.written.push(routed.received());
                        self.parts.metrics.deliveries().inc_by(reached as u64);
                        routed.account().delivered(reached as u64);
                    }
                }
                ToShard::Authenticated(key, outcome) => self.authenticated(key, outcome),
                ToShard::Authorized(key, verdicts) => self.authorized(key, &verdicts),
                ToShard::Published(key, status, body) => self.published(key, status, &body),
                ToShard::Review(order) => self.review(order),
                ToShard::ReviewOn(order) => self.review_on(&order),
                ToShard::Withdraw(order) => self.withdraw(&order),
                ToShard::Unsubscribe(key, topics) => self.unsubscribe(key, topics),
                ToShard::Disconnect { tenant, users } => self.disconnect(&tenant, &users),
                ToShard::Ping { tenant, last_event_id } => {
                    self.pings.begin(&self.sessions, &self.connections, tenant.as_ref(), last_event_id.as_ref());
                }
                ToShard::Drain(within) => self.leave(within),
            }
            if self.batch.len() > FRAMES {
                return true;
            }
        }
        true
    }

    /// Writes once to each connection that gets something in this turn.
    fn flush(&mut self) {
        // Closing a connection for being too slow gives it a last frame, and so touches it again: the list may grow.
        let mut at = 0;
        while let Some(index) = self.batch.touched(at) {
            self.write(index as usize);
            at += 1;
        }
        self.batch.clear();
        self.backlog.tell(&self.parts.metrics);
        if !self.written.is_empty() {
            let now = now();
            for received in self.written.drain(..) {
                self.parts.metrics.latency().observe(now.saturating_duration_since(received), 1);
            }
        }
    }

    fn fire(&mut self, due: Due, key: ConnectionKey) {
        if due == Due::Accept {
            (self.resting, self.crowded) = (false, true);
            return;
        }
        let Some(index) = self.index(key) else { return };
        match due {
            Due::Admission => self.admission_is_due(index),
            Due::Linger => self.remove(index),
            Due::Expiry => self.expiry_is_due(index),
            Due::Accept => {}
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let next = self.timers.next().into_iter().chain(self.leaving.as_ref().map(Leaving::next)).min()?;
        Some(next.saturating_duration_since(now()))
    }
}

fn is_at(connections: &Slab<Connection>, key: ConnectionKey) -> bool {
    connections.get(key.index as usize).is_some_and(|connection| connection.generation == key.generation)
}

#[expect(clippy::disallowed_methods, reason = "the edge: a shard's time enters here")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the edge: providers give the end of a session in the world's time")]
pub(super) fn wall_clock() -> SystemTime {
    SystemTime::now()
}
