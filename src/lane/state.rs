//! The state of a lane, and what happens in it: without threads, I/O and clock.
//!
//! Invariant: events of one tenant are handed over in the order in which they were offered, and an event that waits
//! holds up its own tenant alone.
//! Invariant: what an event says is no longer good is used for no event of its tenant that is offered later, and no
//! session gets such an event by a subscription that rests on it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::answers::{Answers, Asked, Holder, Landed, Waiter};
use super::authorize::Authorizer;
use super::delivery::{Delivery, Receipt};
use super::handover::Handover;
use super::ledger::Ledger;
use super::quarantine::{Job, Run};
use super::queue::{Queue, Turn, Waiting};
use super::review::Reviews;
use super::scripts::Machines;
use super::swap::Swap;
use super::wanted::Means;
use crate::config::Hook;
use crate::event::{TenantId, Topic, UserId};
use crate::lookup::Forgotten;
use crate::observe::{Metrics, Tally};
use crate::reload::{Queries, Rulebook};
use crate::route::{Action, Answer, Call, Plan, Question};
use crate::shard::{ConnectionKey, Review, ShardId, Verdict};

/// Events of one tenant that may wait. Beyond, the oldest of them is dropped.
///
/// Large, since a burst of events that a healthy database answers in its turn shall lose none; and bounded, since one
/// that does not answer shall not make the others wait, which is what holding up the source would do.
pub const TENANT_WAITING: usize = 8_192;
/// Events of one lane that may wait. Beyond, the oldest of the tenant with most of them is dropped.
pub const LANE_WAITING: usize = 32_768;
/// Bytes of their bodies.
pub const LANE_WAITING_BYTES: usize = 64 << 20;

/// Events of one lane that may wait and hold up their acknowledgement. Beyond, an event that must wait is settled with
/// its source at once: what the broker lets be out unacknowledged is for all tenants, and one whose queries are slow
/// shall not use it up.
pub const UNSETTLED_WAITING: usize = 64;

/// A lane.
#[derive(Debug)]
pub struct Lane {
    /// Those of whom events wait, or queries are under way.
    pub(super) queues: HashMap<Owner, Queue>,
    /// How many events wait in them.
    waiting: usize,
    /// The bytes of their bodies.
    waiting_bytes: usize,
    /// How many have ever had to wait.
    numbered: u64,
    pub(super) answers: Answers,
    pub(super) authorizer: Authorizer,
    pub(super) reviews: Reviews,
    pub(super) swap: Swap,
    pub(super) machines: Machines,
    /// The rulebook in force, by which what sessions have is judged again.
    pub(super) in_force: Option<Arc<Rulebook>>,
    pub(super) ledger: Ledger,
    tally: Tally,
}

/// Whose events stand in one line. Those of no tenant are one tenant's more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner(pub(super) Option<TenantId>);

/// What is to be done now, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Hand this event to the shards.
    HandOver(Handover),
    /// Ask this, and tell the lane the answer.
    Ask(Ask),
    /// Have a [`Quarantine`](super::Quarantine) run this, and tell the lane that it [has](Lane::has_run).
    Run(Run),
    /// Tell the shard what the session may subscribe to.
    Authorized {
        /// Which shard.
        shard: ShardId,
        /// Which session.
        connection: ConnectionKey,
        /// The topics, in the order in which they were asked for.
        verdicts: Vec<(Topic, Verdict)>,
    },
    /// Ask the shards that have sessions of its tenant who is subscribed, and tell the lane which those are.
    Review(Arc<Review>),
    /// Let the shard say more of that.
    ReviewOn {
        /// Which shard.
        shard: ShardId,
        /// Of which review.
        order: Arc<Review>,
    },
    /// Have the shard take away all subscriptions of a review that it has not said, or that it said last.
    Withdraw {
        /// Which shard.
        shard: ShardId,
        /// Of which review.
        order: Arc<Review>,
    },
    /// Take these subscriptions of a session away, for these reasons.
    Unsubscribe {
        /// Which shard.
        shard: ShardId,
        /// Which session.
        connection: ConnectionKey,
        /// The topics. No verdict says that it is allowed.
        topics: Vec<(Topic, Verdict)>,
    },
    /// Have the connections of these users closed.
    Disconnect {
        /// Whose users.
        tenant: TenantId,
        /// Which of them.
        users: Vec<UserId>,
    },
    /// Have all lanes forget this, whosever answers they are.
    ForgetForAll(Forgotten),
    /// Tell those outside of lanes who keep answers that some are no longer good.
    Forget(Forgotten),
}

/// A query to run.
#[derive(Debug)]
#[must_use = "a lane waits for the answer to each of its questions"]
pub struct Ask {
    /// What the answer is handed in with.
    pub ticket: Ticket,
    /// What is bound as `:tenant`: the event's or the session's own.
    pub tenant: Option<TenantId>,
    /// Whom to ask.
    pub queries: Arc<Queries>,
    /// The query, one of those.
    pub call: Call,
}

/// What an answer is handed in with. Each is used once.
#[derive(Debug)]
pub struct Ticket(pub(super) u64);

impl Lane {
    /// A lane in which nothing waits, one of so many.
    pub fn new(lanes: NonZeroUsize, metrics: Arc<Metrics>) -> Self {
        Self {
            queues: HashMap::new(),
            waiting: 0,
            waiting_bytes: 0,
            numbered: 0,
            answers: Answers::new(lanes, Arc::clone(&metrics)),
            authorizer: Authorizer::default(),
            tally: metrics.tenants().tally(),
            reviews: Reviews::of_rights(),
            swap: Swap::default(),
            machines: Machines::new(Arc::clone(&metrics)),
            in_force: None,
            ledger: Ledger::new(metrics),
        }
    }

    /// Takes an event.
    pub fn offer(&mut self, delivery: Delivery, now: Instant, effects: &mut Vec<Effect>) {
        let Delivery { event, rulebook, receipt } = delivery;
        let owner = Owner(event.tenant().cloned());
        let account = self.tally.event(event.tenant(), now);
        let size = event.size();
        let plan = rulebook.routes.decide(event, &mut self.machines.at(&rulebook, now));
        // Before anything of it is asked, and before its turn.
        let review = self.forget(&owner, &plan, &rulebook, now, effects);
        let mut scripts = self.machines.at(&rulebook, now);
        let known = |call: &Call| self.answers.known(&rulebook.queries, &owner, call, now);
        let plan = rulebook.routes.with_known(plan, &mut scripts, known);
        match plan {
            Plan::Decided(decision) if !self.is_busy(&owner) => {
                settle(&mut self.ledger, Turn { decision, rulebook, receipt, account }, now, effects);
            }
            plan => {
                let receipt = if self.waiting < UNSETTLED_WAITING { receipt } else { Receipt::none() };
                self.numbered += 1;
                let waiting = Waiting { number: self.numbered, size, plan, rulebook, receipt, account };
                self.wait(&owner, waiting, now, effects);
            }
        }
        self.hold(&owner, review);
    }

    /// Takes the answer to an [`Ask`].
    pub fn answered(&mut self, ticket: Ticket, answer: &Answer, now: Instant, effects: &mut Vec<Effect>) {
        let Some(Landed { owner, query, holder, waiters }) = self.answers.land(ticket, answer, now) else { return };
        match (holder, &owner.0) {
            (Holder::Line, Some(tenant)) => self.authorizer.landed(tenant),
            (Holder::Run, _) => drop(self.queues.get_mut(&owner).map(|queue| queue.set_runs(false))),
            (Holder::Queue | Holder::Line, _) => drop(self.queues.get_mut(&owner).map(Queue::landed)),
        }
        let mut for_topics = false;
        for waiter in waiters {
            match (waiter, &owner.0) {
                (Waiter::Event { number, call }, _) => {
                    if let Some(queue) = self.queues.get_mut(&owner) {
                        queue.answered(number, call, answer, &mut self.machines, now);
                    }
                }
                (Waiter::Topic(ticket), Some(tenant)) => {
                    for_topics = true;
                    let Self { authorizer, answers, machines, ledger, .. } = self;
                    authorizer.answered(tenant, ticket, answer, &mut Means { answers, machines, ledger, now });
                }
                // Topics are always a tenant's.
                (Waiter::Topic(_), None) => {}
            }
        }
        if let (true, Err(error), Some(tenant)) = (for_topics, answer, &owner.0) {
            self.ledger.unanswered(tenant, &query, error, now);
        }
        self.settle_requests(now, effects);
        self.advance(&owner, now, effects);
    }

    /// Takes the word that a [`Run`] was done.
    pub fn has_run(&mut self, ticket: Ticket, now: Instant, effects: &mut Vec<Effect>) {
        self.answered(ticket, &Ok(Arc::default()), now, effects);
    }

    /// Whether the lane takes another request to subscribe: see [`AUTHORIZE_WAITING`](super::AUTHORIZE_WAITING).
    pub fn takes_requests(&self) -> bool {
        self.authorizer.has_room()
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// The bytes of their bodies.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether nothing waits and no answer is missing.
    pub fn is_idle(&self) -> bool {
        self.queues.is_empty() && self.authorizer.is_idle() && self.reviews.is_idle() && self.swap.is_idle()
    }

    fn is_busy(&self, owner: &Owner) -> bool {
        !self.queues.is_empty() && self.queues.get(owner).is_some_and(Queue::is_busy)
    }

    /// Events that come from now on wait for a review.
    pub(super) fn hold(&mut self, owner: &Owner, review: Option<u64>) {
        if let Some(review) = review {
            self.queues.entry_ref(owner).or_default().hold(self.numbered, review);
        }
    }

    /// Puts an event into its tenant's queue.
    fn wait(&mut self, owner: &Owner, waiting: Waiting, now: Instant, effects: &mut Vec<Effect>) {
        self.waiting += 1;
        self.waiting_bytes += waiting.size;
        let queue = self.queues.entry_ref(owner).or_default();
        queue.push(waiting);
        if queue.len() > TENANT_WAITING {
            self.shed(owner, now, effects);
        } else if self.waiting > LANE_WAITING || self.waiting_bytes > LANE_WAITING_BYTES {
            self.shed_longest(now, effects);
        }
        self.advance(owner, now, effects);
    }

    /// Hands over what has its turn in this tenant's queue, and puts calls under way that have room now.
    pub(super) fn advance(&mut self, owner: &Owner, now: Instant, effects: &mut Vec<Effect>) {
        let Self { queues, answers, machines, .. } = self;
        let Some(queue) = queues.get_mut(owner) else { return };
        loop {
            let size = queue.oldest_size();
            if let Some(turn) = queue.pop_decided() {
                self.waiting -= 1;
                self.waiting_bytes -= size;
                settle(&mut self.ledger, turn, now, effects);
                continue;
            }
            let Some((number, id, question)) = queue.next_question() else { break };
            // An event that has questions waits.
            let Some(rulebook) = queue.rulebook_of(number) else { continue };
            let waiter = Waiter::Event { number, call: id };
            let call = match question {
                Question::Query(call) => call,
                Question::Errand(_) if queue.runs() => {
                    queue.put_back(number, id, question);
                    break;
                }
                Question::Errand(errand) => {
                    if machines.at(&rulebook, now).starts(Hook::Route, owner.0.as_ref(), &errand) {
                        queue.set_runs(true);
                        let ticket = answers.run(owner, (waiter, Holder::Run), now);
                        effects.push(Effect::Run(Run { ticket, rulebook, job: Job::Route(errand) }));
                    } else {
                        queue.answered(number, id, &Ok(Arc::default()), machines, now);
                    }
                    continue;
                }
            };
            match answers.ask(&rulebook.queries, owner, call, (waiter, Holder::Queue), queue.has_room(), now) {
                Asked::Known(answer) => queue.answered(number, id, &answer, machines, now),
                Asked::Joined => {}
                Asked::Started(ask) => {
                    queue.started();
                    effects.push(Effect::Ask(ask));
                }
                Asked::NoRoom(call) => {
                    queue.put_back(number, id, Question::Query(call));
                    break;
                }
            }
        }
        if queue.is_idle() {
            self.queues.remove(owner);
        }
    }

    /// Drops the oldest event of this tenant.
    fn shed(&mut self, owner: &Owner, now: Instant, effects: &mut Vec<Effect>) {
        if let Some(shed) = self.queues.get_mut(owner).and_then(Queue::shed) {
            self.waiting -= 1;
            self.waiting_bytes -= shed.size;
            // Nobody keeps a connection because too many events wait.
            shed.plan.actions().for_each(|action| act(action, owner.0.as_ref(), effects));
            self.ledger.shed(owner.0.as_ref(), &shed.account, now);
        }
        self.advance(owner, now, effects);
    }

    /// Drops the oldest event of the tenant of which most wait; among equals, of the one that has waited longest.
    fn shed_longest(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        // Looks at all tenants that wait, which are as many as events at most: only a lane that is full pays this.
        let longest = self.queues.iter().max_by_key(|(_, queue)| (queue.len(), std::cmp::Reverse(queue.oldest())));
        if let Some(owner) = longest.map(|(owner, _)| owner.clone()) {
            self.shed(&owner, now, effects);
        }
    }
}

/// Counts a decision, and hands the event over where somebody may get it. Else it is done with, and so its receipt.
fn settle(ledger: &mut Ledger, turn: Turn, now: Instant, effects: &mut Vec<Effect>) {
    let Turn { decision, rulebook, receipt, account } = turn;
    ledger.decided(&decision, &rulebook, &account, now);
    // After the event itself, should it go to those who are to leave.
    let mut last = SmallVec::<[Effect; 1]>::new();
    decision.actions().for_each(|action| act(action, decision.event().tenant(), &mut last));
    if decision.has_audience() {
        effects.push(Effect::HandOver(Handover::new(decision, receipt, account)));
    }
    effects.extend(last);
}

/// What an action leads to in its event's turn. What is to be forgotten was forgotten when the event came.
fn act(action: &Action, tenant: Option<&TenantId>, effects: &mut impl Extend<Effect>) {
    if let (Action::Disconnect(users), Some(tenant)) = (action, tenant) {
        effects.extend([Effect::Disconnect { tenant: tenant.clone(), users: users.to_vec() }]);
    }
}
