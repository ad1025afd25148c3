//! The thread of a lane: takes what comes, in batches, and does what the lane's state asks for.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use hashbrown::HashMap;
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, WeakSender};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::sleep_until;

use super::quarantine::{self, Run};
use super::state::{Ask, Effect, Lane, Ticket};
use super::{Addressed, Delivery, Handover, Mapping, Receipt, Word};
use crate::auth::Void;
use crate::event::{TenantId, UserId};
use crate::lookup::{Forgotten, LookupError};
use crate::observe::{LaneGauges, Metrics, RoutedOutcome};
use crate::reload::{Live, Rulebook};
use crate::route::Answer;
use crate::shard::{AuthorizeRequest, Interest, ShardId, ShardSet, Shards, ToShard};

/// Events taken at once: those of a burst share one wake of the lane.
const BATCH: usize = 128;

/// What each lane works with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LaneParts {
    /// The rulebook in force, for topics and for what is kept. An event brings its own.
    pub live: Live,
    /// Where events go.
    pub shards: Shards,
    /// Which of them have sessions of a tenant.
    pub interest: Arc<Interest>,
    /// Told what is void of what others keep: answers to queries that do not bind `:tenant`, and who is disconnected.
    /// Whoever listens must be quick: full, it makes lanes wait.
    pub forget: Option<Sender<Void>>,
    /// Where lookups run. A lane does no I/O itself.
    pub control: Handle,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Events that a lane's inbox holds. Full, it makes sources wait.
    pub events: NonZeroUsize,
    /// Requests to subscribe that it holds, and portions of what is reviewed. Full, it gives them back.
    pub requests: NonZeroUsize,
}

/// The ends of a lane's channels.
#[derive(Debug)]
pub(super) struct Inboxes {
    pub(super) events: Receiver<Delivery>,
    pub(super) requests: Receiver<AuthorizeRequest>,
    pub(super) words: Receiver<Word>,
}

/// Which of all lanes one is.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) index: usize,
    pub(super) mapping: Mapping,
    /// The ways to all of them.
    pub(super) lanes: Arc<[WeakSender<Word>]>,
}

/// A lane at work.
pub(super) struct Runner {
    pub(super) lane: Lane,
    seat: Seat,
    parts: LaneParts,
    /// All shards there are.
    all: ShardSet,
    lookups: JoinSet<Answer>,
    /// What the lookups under way are for.
    tickets: HashMap<Id, Ticket>,
    /// Where plugins run that take long.
    quarantine: Sender<Run>,
    /// How many runs it has not told the end of.
    running: usize,
    pub(super) effects: Vec<Effect>,
    gauges: LaneGauges,
    handed_over: Counter,
    nobody: Counter,
    /// Shards that were handed events and are to be woken, and the events' receipts: see [`finish`](Runner::finish).
    posted: ShardSet,
    receipts: Vec<Receipt>,
}

/// Starts a thread, named `lane-0` and so on, that ends when its inboxes are closed and nothing waits; and that of its
/// quarantine, which ends after it.
pub(super) fn spawn(seat: Seat, parts: LaneParts, inboxes: Inboxes) -> io::Result<[JoinHandle<()>; 2]> {
    // No I/O: the thread waits for words from others, and for the time to let go of something.
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let name = format!("lane-{}", seat.index);
    let (quarantine, ran, beside) = quarantine::spawn(seat.index, Arc::clone(&parts.metrics))?;
    let run = move || runtime.block_on(Runner::new(seat, parts, quarantine).run(inboxes, ran));
    Ok([std::thread::Builder::new().name(name).spawn(run)?, beside])
}

impl Runner {
    pub(super) fn new(seat: Seat, parts: LaneParts, quarantine: Sender<Run>) -> Self {
        Self {
            gauges: parts.metrics.lane(seat.index),
            handed_over: parts.metrics.routed(RoutedOutcome::handed_over),
            nobody: parts.metrics.routed(RoutedOutcome::nobody),
            lane: Lane::new(seat.mapping.lanes, Arc::clone(&parts.metrics)),
            seat,
            all: ShardSet::first(parts.shards.iter().count()),
            parts,
            lookups: JoinSet::new(),
            tickets: HashMap::new(),
            quarantine,
            running: 0,
            effects: Vec::new(),
            posted: ShardSet::default(),
            receipts: Vec::new(),
        }
    }

    async fn run(mut self, inboxes: Inboxes, mut ran: Receiver<Ticket>) {
        let Inboxes { mut events, mut requests, mut words } = inboxes;
        let mut batch = Vec::with_capacity(BATCH);
        let (mut events_open, mut requests_open) = (true, true);
        loop {
            self.finish();
            let due = self.lane.due();
            let idle = !events_open && !requests_open && self.lane.is_idle();
            tokio::select! {
                count = events.recv_many(&mut batch, BATCH), if events_open => {
                    events_open = count > 0;
                    let now = now();
                    self.adopt();
                    for delivery in batch.drain(..) {
                        self.lane.offer(delivery, now, &mut self.effects);
                        self.perform().await;
                    }
                }
                request = requests.recv(), if requests_open && self.lane.takes_requests() => match request {
                    Some(request) => {
                        let rulebook = self.adopt();
                        self.lane.authorize(request, &rulebook, now(), &mut self.effects);
                        self.perform().await;
                    }
                    None => requests_open = false,
                },
                Some(done) = self.lookups.join_next_with_id() => {
                    self.answered(done);
                    self.perform().await;
                }
                Some(ticket) = ran.recv(), if self.running > 0 => {
                    self.running -= 1;
                    self.lane.has_run(ticket, now(), &mut self.effects);
                    self.perform().await;
                }
                Some(word) = words.recv() => {
                    match word {
                        Word::Reviewed(word) => self.lane.reviewed(word, now(), &mut self.effects),
                        Word::Forget(word) => self.forget_for_all(&word),
                        // Whoever asked may have given up.
                        Word::Prepare(rulebook, plugin, ready) => {
                            drop(ready.send(self.lane.prepare(&rulebook, plugin, now())));
                        }
                        Word::Swapped(before) => self.swapped(before),
                    }
                    self.perform().await;
                }
                () = sleep_until(due.unwrap_or_else(now).into()), if due.is_some() && !idle => {
                    self.lane.tick(now(), &mut self.effects);
                    self.perform().await;
                }
                else => break,
            }
            self.gauges.set(self.lane.waiting(), self.lane.waiting_bytes());
        }
    }

    /// Does what the lane asked for, in order. Waits where a shard's inbox is full: so a shard that lags slows its
    /// sources down, not the memory of the process.
    pub(super) async fn perform(&mut self) {
        // What is done may lead to more, which then is done in its turn.
        while !self.effects.is_empty() {
            let mut effects = std::mem::take(&mut self.effects);
            for effect in effects.drain(..) {
                self.perform_one(effect).await;
            }
            if self.effects.is_empty() {
                self.effects = effects;
                return;
            }
        }
    }

    async fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::HandOver(handover) => self.hand_over(handover).await,
            Effect::Ask(ask) => self.ask(ask),
            Effect::Run(run) => self.run_beside(run),
            Effect::Authorized { shard, connection, verdicts } => {
                self.tell(shard, ToShard::Authorized(connection, verdicts)).await;
            }
            Effect::Review(order) => {
                let told = self.parts.interest.of(&order.tenant);
                for shard in told.iter() {
                    self.tell(shard, ToShard::Review(Arc::clone(&order))).await;
                }
                self.lane.review_sent(&order, told, now(), &mut self.effects);
            }
            Effect::ReviewOn { shard, order } => self.tell(shard, ToShard::ReviewOn(order)).await,
            Effect::Withdraw { shard, order } => self.tell(shard, ToShard::Withdraw(order)).await,
            Effect::Unsubscribe { shard, connection, topics } => {
                self.tell(shard, ToShard::Unsubscribe(connection, topics)).await;
            }
            Effect::Disconnect { tenant, users } => {
                let users: Arc<[UserId]> = users.into();
                // First: who comes back at once is asked for anew.
                self.tell_void(Void::Users { tenant: tenant.clone(), users: Arc::clone(&users) }).await;
                for shard in self.parts.interest.of(&tenant).iter() {
                    let (tenant, users) = (tenant.clone(), Arc::clone(&users));
                    self.tell(shard, ToShard::Disconnect { tenant, users }).await;
                }
            }
            Effect::ForgetForAll(word) => {
                self.forget_for_all(&word);
                self.tell_lanes(&word);
            }
            Effect::Forget(word) => self.tell_void(Void::Answers(word)).await,
        }
    }

    /// Sends a message to a shard. If its inbox is full, waits for room, after it has woken all shards that were
    /// posted to: one that sleeps would make no room, and no other shard's events wait for this one.
    async fn tell(&mut self, shard: ShardId, message: ToShard) {
        if let Err(message) = self.parts.shards.get(shard).try_send(message) {
            self.finish();
            self.parts.shards.get(shard).send(message).await;
        }
    }

    async fn tell_void(&mut self, void: Void) {
        // Without providers that keep anything, there is nobody to tell.
        let Some(others) = self.parts.forget.clone() else { return };
        if let Err(TrySendError::Full(void)) = others.try_send(void) {
            self.finish();
            others.send(void).await.ok();
        }
    }

    /// The rulebook in force now, which the lane knows from now on.
    fn adopt(&mut self) -> Arc<Rulebook> {
        let rulebook = self.parts.live.load();
        self.lane.adopt(&rulebook);
        rulebook
    }

    /// Another rulebook is in force. Where it is given which one was, what sessions have is judged again.
    fn swapped(&mut self, before: Option<Arc<Rulebook>>) {
        let rulebook = self.adopt();
        if let Some(before) = before {
            let tenants = self.tenants();
            self.lane.review_all(before, &rulebook, tenants, now(), &mut self.effects);
        }
    }

    /// The tenants of this lane that have sessions.
    fn tenants(&self) -> Vec<TenantId> {
        let Seat { index, mapping, .. } = &self.seat;
        let mut tenants = self.parts.interest.tenants();
        tenants.retain(|tenant| mapping.index(Some(tenant)) == *index);
        tenants
    }

    /// Answers are no longer good, whoever of this lane's tenants got them.
    fn forget_for_all(&mut self, word: &Forgotten) {
        let (tenants, rulebook) = (self.tenants(), self.adopt());
        self.lane.forget_for_all(word, &tenants, &rulebook, now(), &mut self.effects);
    }

    /// Tells the other lanes.
    fn tell_lanes(&self, word: &Forgotten) {
        let others = self.seat.lanes.iter().enumerate().filter(|(index, _)| *index != self.seat.index);
        for lane in others.filter_map(|(_, lane)| lane.upgrade()) {
            if let Err(TrySendError::Full(word)) = lane.try_send(Word::Forget(word.clone())) {
                // Two lanes do not wait for each other.
                self.parts.control.spawn(async move { lane.send(word).await.ok() });
            }
        }
    }

    async fn hand_over(&mut self, handover: Handover) {
        let (addressed, receipt) = handover.address(&self.parts.interest, self.all);
        let Some(Addressed { routed, shards }) = addressed else {
            self.nobody.inc();
            return;
        };
        self.handed_over.inc();
        for shard in shards.iter() {
            if let Err(message) = self.parts.shards.get(shard).post(ToShard::Deliver(Arc::clone(&routed))) {
                // Some of these shards have the event already, and sleep.
                self.posted = self.posted.union(shards);
                self.tell(shard, message).await;
            }
        }
        self.posted = self.posted.union(shards);
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

    fn ask(&mut self, Ask { ticket, tenant, queries, call }: Ask) {
        let lookup = async move {
            match &queries.lookups {
                Some(lookups) => lookups.run(call.query, tenant.as_ref(), &call.binds).await,
                None => Err(LookupError::Unavailable("no database is configured".to_owned())),
            }
        };
        let task = self.lookups.spawn_on(lookup, &self.parts.control);
        self.tickets.insert(task.id(), ticket);
    }

    fn run_beside(&mut self, run: Run) {
        match self.quarantine.try_send(run) {
            Ok(()) => self.running += 1,
            // Whoever waits for it learns that nobody has run it.
            Err(error) => self.lane.has_run(error.into_inner().ticket, now(), &mut self.effects),
        }
    }

    fn answered(&mut self, done: Result<(Id, Answer), JoinError>) {
        let (id, answer) = match done {
            Ok(done) => done,
            // It panicked, or the control runtime is ending. What waits for it must not wait for ever.
            Err(error) => (error.id(), Err(LookupError::Failed(format!("the lookup ended early: {error}")))),
        };
        if let Some(ticket) = self.tickets.remove(&id) {
            self.lane.answered(ticket, &answer, now(), &mut self.effects);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge: the lane's state gets its time from here")]
fn now() -> Instant {
    Instant::now()
}
