//! Topics that sessions want, or have and are judged again: the queries that some of them need.
//!
//! Invariant: a request is done once, when all its topics have their verdicts, in the order in which they were asked
//! for. No event ever waits for a client's.
//! Invariant: a verdict on a client's request rests on nothing that was asked before somebody said that it is no longer
//! good.

use std::collections::VecDeque;
use std::time::Instant;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::answers::{Answers, Asked, Holder, Waiter};
use super::state::{Effect, Owner};
use crate::event::{TenantId, Topic};
use crate::lookup::Forget;
use crate::reload::Rulebook;
use crate::route::{Call, Judgement, SessionView, TopicRules};
use crate::shard::{AuthorizeRequest, ConnectionKey, ShardId, Verdict};

/// Queries for topics that are under way at once, in one lane.
pub const AUTHORIZE_IN_FLIGHT: usize = 256;
/// Of those, a tenant's: it asks for many topics at its own cost.
pub const AUTHORIZE_TENANT_IN_FLIGHT: usize = 4;
/// Queries for topics of one tenant that wait for those. What its clients ask beyond is unavailable at once.
pub const AUTHORIZE_TENANT_WAITING: usize = 1_024;
/// Queries for topics that wait in one lane. From there on it reads no further requests, until some are under way.
pub const AUTHORIZE_WAITING: usize = 65_536;

/// How often a topic is asked about anew because the answer was no longer good before it was used. Then it is
/// unavailable: a tenant whose rights change all the time shall not keep a client waiting for ever.
const ATTEMPTS: u8 = 4;

/// The requests that wait for queries.
#[derive(Debug, Default)]
pub(super) struct Authorizer {
    /// The tenants whose requests are open, or whose queries are under way.
    lines: HashMap<TenantId, Line>,
    /// Those of them that may ask next, in turn.
    turns: VecDeque<TenantId>,
    numbered: u64,
    waiting: usize,
    in_flight: usize,
    judged: Vec<Judged>,
}

/// Who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client that wants to subscribe.
    Client,
    /// A client that is subscribed, and has become somebody else.
    Changed,
    /// The review of this number.
    Review(u64),
}

/// A session's topics, all with their verdicts.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) origin: Origin,
    pub(super) tenant: TenantId,
    pub(super) shard: ShardId,
    pub(super) connection: ConnectionKey,
    pub(super) verdicts: Vec<(Topic, Verdict)>,
}

/// One tenant's requests.
#[derive(Debug, Default)]
struct Line {
    requests: HashMap<u64, Open>,
    waiting: VecDeque<TopicTicket>,
    in_flight: usize,
    /// It stands among the turns.
    has_turn: bool,
}

/// A request of which some topics have no verdict yet.
#[derive(Debug)]
struct Open {
    origin: Origin,
    shard: ShardId,
    connection: ConnectionKey,
    wanted: Vec<Wanted>,
    missing: usize,
}

#[derive(Debug)]
struct Wanted {
    topic: Topic,
    /// What has no verdict yet stands as unavailable.
    verdict: Verdict,
    /// What is asked about it. Kept until the request is done: the answer may turn out to be no longer good.
    call: Option<Call>,
    stage: Stage,
    attempt: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    UnderWay,
    Done,
}

/// Which topic of which request a query is for, and the how manieth time it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopicTicket {
    request: u64,
    topic: usize,
    attempt: u8,
}

impl Authorizer {
    /// Whether another request may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.waiting < AUTHORIZE_WAITING
    }

    /// Whether no request waits.
    pub(super) fn is_idle(&self) -> bool {
        self.lines.is_empty()
    }

    /// Takes what a client wants. It is done at once where nothing has to be asked.
    pub(super) fn take(&mut self, request: AuthorizeRequest, rulebook: &Rulebook, answers: &mut Answers, now: Instant) {
        let AuthorizeRequest { shard, connection, user, tenant, attributes, topics, has_them } = request;
        let session = SessionView { user: &user, tenant: &tenant, attributes: &attributes };
        let room =
            AUTHORIZE_TENANT_WAITING.saturating_sub(self.lines.get(&tenant).map_or(0, |line| line.waiting.len()));
        let mut unknown = 0;
        let wanted = topics.into_iter().map(|topic| match rulebook.topics.judge(&session, &topic) {
            Judgement::Run(_) => {
                Wanted { topic, verdict: Verdict::Unavailable, call: None, stage: Stage::Done, attempt: 0 }
            }
            Judgement::Verdict(verdict) => Wanted { topic, verdict, call: None, stage: Stage::Done, attempt: 0 },
            Judgement::Ask(call) => {
                let mut wanted = Wanted::asking(topic, call, &tenant, answers, now);
                if wanted.stage == Stage::Waiting {
                    unknown += 1;
                    if unknown > room {
                        (wanted.stage, wanted.call) = (Stage::Done, None);
                    }
                }
                wanted
            }
        });
        let wanted = wanted.collect();
        let origin = if has_them { Origin::Changed } else { Origin::Client };
        self.open(tenant, origin, shard, connection, wanted);
    }

    /// Takes what a session has and is judged again: each of these topics by this call.
    pub(super) fn review(
        &mut self,
        review: u64,
        tenant: &TenantId,
        (shard, connection): (ShardId, ConnectionKey),
        topics: Vec<(Topic, Call)>,
        answers: &mut Answers,
        now: Instant,
    ) {
        let wanted =
            topics.into_iter().map(|(topic, call)| Wanted::asking(topic, call, tenant, answers, now)).collect();
        self.open(tenant.clone(), Origin::Review(review), shard, connection, wanted);
    }

    /// A query was answered, and this is what it means.
    pub(super) fn answered(&mut self, tenant: &TenantId, ticket: TopicTicket, verdict: Verdict) {
        let Some(line) = self.lines.get_mut(tenant) else { return };
        let Some(open) = line.requests.get_mut(&ticket.request) else { return };
        let wanted = &mut open.wanted[ticket.topic];
        if wanted.stage != Stage::UnderWay || wanted.attempt != ticket.attempt {
            return;
        }
        (wanted.stage, wanted.verdict) = (Stage::Done, verdict);
        open.missing -= 1;
        if open.missing == 0 {
            self.close(tenant, ticket.request);
        }
    }

    /// A query that this tenant had under way for a topic has ended.
    pub(super) fn landed(&mut self, tenant: &TenantId) {
        self.in_flight -= 1;
        if let Some(line) = self.lines.get_mut(tenant) {
            line.in_flight -= 1;
        }
        self.line_up(tenant);
    }

    /// What was answered about this tenant's topics is no longer good: what clients wait for is asked anew.
    pub(super) fn forget(&mut self, tenant: &TenantId, forget: &Forget) {
        let Some(line) = self.lines.get_mut(tenant) else { return };
        let mut done = SmallVec::<[u64; 4]>::new();
        for (number, open) in &mut line.requests {
            // What is reviewed is reviewed again after this.
            if matches!(open.origin, Origin::Review(_)) {
                continue;
            }
            for (index, wanted) in open.wanted.iter_mut().enumerate() {
                let concerns = |call: &Call| forget.concerns(call.query, &call.binds);
                if wanted.stage == Stage::Waiting || !wanted.call.as_ref().is_some_and(concerns) {
                    continue;
                }
                let was_done = wanted.stage == Stage::Done;
                wanted.verdict = Verdict::Unavailable;
                if wanted.attempt + 1 == ATTEMPTS {
                    (wanted.stage, wanted.call) = (Stage::Done, None);
                    open.missing -= usize::from(!was_done);
                } else {
                    wanted.attempt += 1;
                    wanted.stage = Stage::Waiting;
                    open.missing += usize::from(was_done);
                    self.waiting += 1;
                    line.waiting.push_back(TopicTicket { request: *number, topic: index, attempt: wanted.attempt });
                }
            }
            if open.missing == 0 {
                done.push(*number);
            }
        }
        for number in done {
            self.close(tenant, number);
        }
        self.line_up(tenant);
    }

    /// As [`forget`](Self::forget), of all tenants.
    pub(super) fn forget_for_all(&mut self, forget: &Forget) {
        let tenants: Vec<TenantId> = self.lines.keys().cloned().collect();
        for tenant in &tenants {
            self.forget(tenant, forget);
        }
    }

    /// Gives up on all that a review wants to know: what has no verdict is unavailable.
    pub(super) fn abandon(&mut self, tenant: &TenantId, review: u64) {
        let Some(line) = self.lines.get(tenant) else { return };
        let of_review = line.requests.iter().filter(|(_, open)| open.origin == Origin::Review(review));
        let numbers: Vec<u64> = of_review.map(|(number, _)| *number).collect();
        for number in numbers {
            self.close(tenant, number);
        }
    }

    /// Puts under way what there is room for, one of each tenant in turn.
    pub(super) fn ask(&mut self, answers: &mut Answers, now: Instant, effects: &mut Vec<Effect>) {
        while self.in_flight < AUTHORIZE_IN_FLIGHT {
            let Some(tenant) = self.turns.pop_front() else { break };
            let Some(line) = self.lines.get_mut(&tenant) else { continue };
            line.has_turn = false;
            if let Some(ticket) = line.waiting.pop_front() {
                self.waiting -= 1;
                self.ask_about(&tenant, ticket, answers, now, effects);
            }
            self.line_up(&tenant);
        }
    }

    /// The requests that are done.
    pub(super) fn take_judged(&mut self) -> Vec<Judged> {
        std::mem::take(&mut self.judged)
    }

    fn ask_about(
        &mut self,
        tenant: &TenantId,
        ticket: TopicTicket,
        answers: &mut Answers,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(line) = self.lines.get_mut(tenant) else { return };
        let Some(open) = line.requests.get_mut(&ticket.request) else { return };
        let wanted = &mut open.wanted[ticket.topic];
        let Some(call) = wanted.call.as_ref().filter(|_| wanted.attempt == ticket.attempt) else { return };
        wanted.stage = Stage::UnderWay;
        let owner = Owner(Some(tenant.clone()));
        match answers.ask(&owner, call.clone(), Waiter::Topic(ticket), Holder::Line, true, now) {
            Asked::Known(answer) => self.answered(tenant, ticket, TopicRules::verdict(&answer)),
            Asked::Started(ask) => {
                line.in_flight += 1;
                self.in_flight += 1;
                effects.push(Effect::Ask(ask));
            }
            Asked::Joined | Asked::NoRoom(_) => {}
        }
    }

    fn open(
        &mut self,
        tenant: TenantId,
        origin: Origin,
        shard: ShardId,
        connection: ConnectionKey,
        wanted: Vec<Wanted>,
    ) {
        let is_missing = |wanted: &Wanted| wanted.stage == Stage::Waiting;
        let missing = wanted.iter().filter(|wanted| is_missing(wanted)).count();
        let open = Open { origin, shard, connection, wanted, missing };
        if missing == 0 {
            self.judged.push(open.judged(tenant));
            return;
        }
        self.numbered += 1;
        let request = self.numbered;
        let line = self.lines.entry_ref(&tenant).or_default();
        let waiting = open.wanted.iter().enumerate().filter(|(_, wanted)| is_missing(wanted));
        let tickets = waiting.map(|(topic, _)| TopicTicket { request, topic, attempt: 0 });
        match origin {
            Origin::Client | Origin::Changed => line.waiting.extend(tickets),
            // Events wait for it.
            Origin::Review(_) => tickets.rev().for_each(|ticket| line.waiting.push_front(ticket)),
        }
        self.waiting += missing;
        line.requests.insert(request, open);
        self.line_up(&tenant);
    }

    fn close(&mut self, tenant: &TenantId, request: u64) {
        let open = self.lines.get_mut(tenant).and_then(|line| line.requests.remove(&request));
        self.judged.extend(open.map(|open| open.judged(tenant.clone())));
        self.line_up(tenant);
    }

    /// Gives a tenant its turn where it may ask, and forgets it where it has nothing to ask and to hear.
    fn line_up(&mut self, tenant: &TenantId) {
        let Some(line) = self.lines.get_mut(tenant) else { return };
        if line.requests.is_empty() {
            self.waiting -= line.waiting.len();
            line.waiting.clear();
            if line.in_flight == 0 {
                self.lines.remove(tenant);
            }
        } else if !line.waiting.is_empty() && line.in_flight < AUTHORIZE_TENANT_IN_FLIGHT && !line.has_turn {
            line.has_turn = true;
            self.turns.push_back(tenant.clone());
        }
    }
}

impl Wanted {
    /// A topic that is decided by the answer to this call, which may be kept.
    fn asking(topic: Topic, call: Call, tenant: &TenantId, answers: &mut Answers, now: Instant) -> Self {
        let known = answers.known(&Owner(Some(tenant.clone())), &call, now);
        let (verdict, stage) = match known {
            Some(answer) => (TopicRules::verdict(&answer), Stage::Done),
            None => (Verdict::Unavailable, Stage::Waiting),
        };
        Self { topic, verdict, call: Some(call), stage, attempt: 0 }
    }
}

impl Open {
    fn judged(self, tenant: TenantId) -> Judged {
        let Self { origin, shard, connection, wanted, .. } = self;
        let verdicts = wanted.into_iter().map(|wanted| (wanted.topic, wanted.verdict)).collect();
        Judged { origin, tenant, shard, connection, verdicts }
    }
}
