//! The thread of a lane: takes what comes, in batches, and does what the lane's state asks for.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use hashbrown::HashMap;
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::Receiver;
use tokio::task::{Id, JoinError, JoinSet};

use super::state::{Ask, Effect, Lane, Ticket};
use super::{Addressed, Delivery, Handover, Receipt};
use crate::lookup::{LookupError, Lookups};
use crate::observe::Metrics;
use crate::reload::Live;
use crate::route::Answer;
use crate::shard::{AuthorizeRequest, Interest, ShardSet, Shards, ToShard};

/// Events taken at once: those of a burst share one wake of the lane.
const BATCH: usize = 128;

/// What each lane works with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LaneParts {
    /// The rulebook in force, for topics. An event brings its own.
    pub live: Live,
    /// Where events go.
    pub shards: Shards,
    /// Which of them have sessions of a tenant.
    pub interest: Arc<Interest>,
    /// Named queries, where there is a database.
    pub lookups: Option<Lookups>,
    /// Where lookups run. A lane does no I/O itself.
    pub control: Handle,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Events that a lane's inbox holds. Full, it makes sources wait.
    pub events: NonZeroUsize,
    /// Requests to subscribe that it holds. Full, it gives them back.
    pub requests: NonZeroUsize,
}

/// A lane at work.
struct Runner {
    lane: Lane,
    parts: LaneParts,
    /// All shards there are.
    all: ShardSet,
    lookups: JoinSet<Answer>,
    /// What the lookups under way are for.
    tickets: HashMap<Id, Ticket>,
    effects: Vec<Effect>,
    /// Shards that were handed events and are to be woken, and the events' receipts: see [`finish`](Runner::finish).
    posted: ShardSet,
    receipts: Vec<Receipt>,
}

/// Starts a thread that ends when both inboxes are closed and nothing waits.
pub(super) fn spawn(
    name: String,
    parts: LaneParts,
    events: Receiver<Delivery>,
    requests: Receiver<AuthorizeRequest>,
) -> io::Result<JoinHandle<()>> {
    // Neither I/O nor timers: the thread only waits for words from others.
    let runtime = Builder::new_current_thread().build()?;
    std::thread::Builder::new().name(name).spawn(move || runtime.block_on(Runner::new(parts).run(events, requests)))
}

impl Runner {
    fn new(parts: LaneParts) -> Self {
        Self {
            lane: Lane::new(Arc::clone(&parts.metrics)),
            all: ShardSet::first(parts.shards.iter().count()),
            parts,
            lookups: JoinSet::new(),
            tickets: HashMap::new(),
            effects: Vec::new(),
            posted: ShardSet::default(),
            receipts: Vec::new(),
        }
    }

    async fn run(mut self, mut events: Receiver<Delivery>, mut requests: Receiver<AuthorizeRequest>) {
        let mut batch = Vec::with_capacity(BATCH);
        let (mut events_open, mut requests_open) = (true, true);
        loop {
            self.finish();
            tokio::select! {
                count = events.recv_many(&mut batch, BATCH), if events_open => {
                    events_open = count > 0;
                    let now = now();
                    for delivery in batch.drain(..) {
                        self.lane.offer(delivery, now, &mut self.effects);
                        self.perform().await;
                    }
                }
                request = requests.recv(), if requests_open && self.lane.takes_requests() => match request {
                    Some(request) => {
                        self.lane.authorize(request, &self.parts.live.load(), &mut self.effects);
                        self.perform().await;
                    }
                    None => requests_open = false,
                },
                Some(done) = self.lookups.join_next_with_id() => {
                    self.answered(done);
                    self.perform().await;
                }
                else => break,
            }
        }
    }

    /// Does what the lane asked for, in order. Waits where a shard's inbox is full: so a shard that lags slows its
    /// sources down, not the memory of the process.
    async fn perform(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::HandOver(handover) => self.hand_over(handover).await,
                Effect::Ask(ask) => self.ask(ask),
                Effect::Authorized { shard, connection, verdicts } => {
                    self.parts.shards.get(shard).send(ToShard::Authorized(connection, verdicts)).await;
                }
            }
        }
        self.effects = effects;
    }

    async fn hand_over(&mut self, handover: Handover) {
        let (addressed, receipt) = handover.address(&self.parts.interest, self.all);
        if let Some(Addressed { routed, shards }) = addressed {
            for shard in shards.iter() {
                if let Err(word) = self.parts.shards.get(shard).post(ToShard::Deliver(Arc::clone(&routed))) {
                    // There is no room, and what is to come may take its time.
                    self.finish();
                    self.parts.shards.get(shard).send(word).await;
                }
            }
            self.posted = self.posted.union(shards);
        }
        self.receipts.push(receipt);
    }

    /// Wakes the shards that were handed something, and tells sources that those events are done.
    ///
    /// Once for all events that came together: each wake may take the core from this thread, where threads share one, and
    /// the shard would find one event where soon there are many.
    fn finish(&mut self) {
        for shard in std::mem::take(&mut self.posted).iter() {
            self.parts.shards.get(shard).wake();
        }
        self.receipts.clear();
    }

    fn ask(&mut self, Ask { ticket, tenant, call }: Ask) {
        let lookups = self.parts.lookups.clone();
        let lookup = async move {
            match lookups {
                Some(lookups) => lookups.run(call.query, tenant.as_ref(), &call.binds).await,
                None => Err(LookupError::Unavailable("no database is configured".to_owned())),
            }
        };
        let task = self.lookups.spawn_on(lookup, &self.parts.control);
        self.tickets.insert(task.id(), ticket);
    }

    fn answered(&mut self, done: Result<(Id, Answer), JoinError>) {
        let (id, answer) = match done {
            Ok(done) => done,
            // It panicked, or the control runtime is ending. What waits for it must not wait for ever.
            Err(error) => (error.id(), Err(LookupError::Failed(format!("the lookup ended early: {error}")))),
        };
        if let Some(ticket) = self.tickets.remove(&id) {
            self.lane.answered(ticket, answer, now(), &mut self.effects);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge: the lane's state gets its time from here")]
fn now() -> Instant {
    Instant::now()
}
