//! The state of a lane, and what happens in it: without threads, I/O and clock.
//!
//! Invariant: events of one tenant are handed over in the order in which they were offered, and an event that waits
//! holds up its own tenant alone.

use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;

use super::authorize::{Authorizer, TopicTicket};
use super::delivery::{Delivery, Receipt};
use super::handover::Handover;
use super::ledger::Ledger;
use super::queue::{Queue, Turn, Waiting};
use crate::config::QueryId;
use crate::event::{TenantId, Topic};
use crate::observe::{Metrics, Tally};
use crate::reload::Rulebook;
use crate::route::{Answer, Call, CallId, Plan, TopicRules};
use crate::shard::{AuthorizeRequest, ConnectionKey, ShardId, Verdict};

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
    queues: HashMap<Owner, Queue>,
    /// How many events wait in them.
    waiting: usize,
    /// The bytes of their bodies.
    waiting_bytes: usize,
    /// How many have ever had to wait.
    numbered: u64,
    authorizer: Authorizer,
    ledger: Ledger,
    tally: Tally,
}

/// Whose events stand in one line. Those of no tenant are one tenant's more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Owner(Option<TenantId>);

/// What is to be done now, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Hand this event to the shards.
    HandOver(Handover),
    /// Ask this, and tell the lane the answer.
    Ask(Ask),
    /// Tell the shard what the session may subscribe to.
    Authorized {
        /// Which shard.
        shard: ShardId,
        /// Which session.
        connection: ConnectionKey,
        /// The topics, in the order in which they were asked for.
        verdicts: Vec<(Topic, Verdict)>,
    },
}

/// A query to run.
#[derive(Debug)]
#[must_use = "a lane waits for the answer to each of its questions"]
pub struct Ask {
    /// What the answer is handed in with.
    pub ticket: Ticket,
    /// What is bound as `:tenant`: the event's or the session's own.
    pub tenant: Option<TenantId>,
    /// The query.
    pub call: Call,
}

/// What a query is for. Each is used once.
#[derive(Debug)]
pub struct Ticket(For);

#[derive(Debug)]
enum For {
    Event { owner: Owner, number: u64, call: CallId },
    Topic { ticket: TopicTicket, tenant: TenantId, query: QueryId },
}

impl Ticket {
    pub(super) fn topic(ticket: TopicTicket, tenant: TenantId, query: QueryId) -> Self {
        Self(For::Topic { ticket, tenant, query })
    }
}

impl Lane {
    /// A lane in which nothing waits.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            queues: HashMap::new(),
            waiting: 0,
            waiting_bytes: 0,
            numbered: 0,
            authorizer: Authorizer::default(),
            tally: metrics.tenants().tally(),
            ledger: Ledger::new(metrics),
        }
    }

    /// Takes an event. `now` is for logs alone.
    pub fn offer(&mut self, delivery: Delivery, now: Instant, effects: &mut Vec<Effect>) {
        let Delivery { event, rulebook, receipt } = delivery;
        let owner = Owner(event.tenant().cloned());
        let account = self.tally.event(event.tenant(), now);
        let size = event.size();
        let plan = rulebook.routes.decide(event);
        if !self.has_waiting(&owner)
            && let Plan::Decided(decision) = plan
        {
            settle(&mut self.ledger, Turn { decision, rulebook, receipt, account }, now, effects);
            return;
        }
        let receipt = if self.waiting < UNSETTLED_WAITING { receipt } else { Receipt::none() };
        self.numbered += 1;
        self.waiting += 1;
        self.waiting_bytes += size;
        let queue = self.queues.entry(owner.clone()).or_default();
        queue.push(Waiting { number: self.numbered, size, plan, rulebook, receipt, account });
        if queue.len() > TENANT_WAITING {
            self.shed(&owner, now, effects);
        } else if self.waiting > LANE_WAITING || self.waiting_bytes > LANE_WAITING_BYTES {
            self.shed_longest(now, effects);
        }
        self.advance(&owner, now, effects);
    }

    /// Takes the answer to an [`Ask`]. `now` is for logs alone.
    pub fn answered(&mut self, ticket: Ticket, answer: Answer, now: Instant, effects: &mut Vec<Effect>) {
        match ticket.0 {
            For::Event { owner, number, call } => {
                if let Some(queue) = self.queues.get_mut(&owner) {
                    queue.answered(number, call, answer);
                }
                self.advance(&owner, now, effects);
            }
            For::Topic { ticket, tenant, query } => {
                if let Err(error) = &answer {
                    self.ledger.unanswered(&tenant, query, error, now);
                }
                self.authorizer.answered(ticket, TopicRules::verdict(&answer), effects);
            }
        }
    }

    /// Takes a request to subscribe, to be judged by this rulebook.
    pub fn authorize(&mut self, request: AuthorizeRequest, rulebook: &Rulebook, effects: &mut Vec<Effect>) {
        self.authorizer.take(request, rulebook, effects);
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
        self.queues.is_empty() && self.authorizer.is_idle()
    }

    fn has_waiting(&self, owner: &Owner) -> bool {
        !self.queues.is_empty() && self.queues.get(owner).is_some_and(|queue| queue.len() > 0)
    }

    /// Hands over what has its turn in this tenant's queue, and puts calls under way that have room now.
    fn advance(&mut self, owner: &Owner, now: Instant, effects: &mut Vec<Effect>) {
        let Some(queue) = self.queues.get_mut(owner) else { return };
        loop {
            let size = queue.oldest_size();
            let Some(turn) = queue.pop_decided() else { break };
            self.waiting -= 1;
            self.waiting_bytes -= size;
            settle(&mut self.ledger, turn, now, effects);
        }
        while let Some((number, call_id, call)) = queue.next_call() {
            let ticket = Ticket(For::Event { owner: owner.clone(), number, call: call_id });
            effects.push(Effect::Ask(Ask { ticket, tenant: owner.0.clone(), call }));
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
    if decision.has_audience() {
        effects.push(Effect::HandOver(Handover::new(decision, receipt, account)));
    }
}
