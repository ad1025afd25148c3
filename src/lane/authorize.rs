//! Topics that sessions want, or have and are judged again: those that have to wait for what queries answer.
//!
//! A tenant has at most some [`AUTHORIZE_TENANT_WAITING`] topics waiting for queries. Its further requests stand in its
//! [`RequestQueue`](super::request_queue::RequestQueue) until there is room, for 30 seconds at most.
//!
//! Invariant: a request is done once, when all its topics have their verdicts, in the order in which they were asked
//! for. No event ever waits for a client's.
//! Invariant: a verdict on a client's request rests on nothing that was asked before somebody said that it is no longer
//! good.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::answers::{Asked, Holder, Waiter};
use super::line::Line;
use super::quarantine::{Job, Run};
use super::request::{Judged, Open, Origin, TopicTicket};
use super::state::{Effect, Owner};
use super::wanted::{Means, Stage, Subject, TopicQuestion, Wanted};
use crate::config::Hook;
use crate::event::{TenantId, Topic};
use crate::lookup::Forgotten;
use crate::reload::Rulebook;
use crate::route::{Answer, Judgement};
use crate::shard::{ConnectionKey, ShardId};

/// Queries for topics that are under way at once, in one lane.
pub const AUTHORIZE_IN_FLIGHT: usize = 256;
/// Of those, a tenant's: it asks for many topics at its own cost.
pub const AUTHORIZE_TENANT_IN_FLIGHT: usize = 4;
/// Topics of one tenant that wait for those. From there on the tenant's requests are queued as they came.
pub const AUTHORIZE_TENANT_WAITING: usize = 1_024;
/// Topics that wait in one lane. From there on it reads no further requests until some queries are under way.
pub const AUTHORIZE_WAITING: usize = 65_536;
/// Topics of one client's request that may wait for queries. The others are unavailable: one request does not keep the lane
/// from reading those of other tenants.
const REQUEST_WAITING: usize = 4_096;
/// Topics of queued requests after which a lane ends its turn, so that events do not wait for a long queue.
const JUDGED_AT_ONCE: usize = 256;

/// How often a topic is asked about anew because the answer was no longer good before it was used. Then it is
/// unavailable: a tenant whose rights change all the time shall not keep a client waiting for ever.
const ATTEMPTS: u8 = 4;

/// The requests that wait for queries.
#[derive(Debug, Default)]
pub(super) struct Authorizer {
    /// The tenants whose requests are open, or whose queries are under way.
    pub(super) lines: HashMap<TenantId, Line>,
    /// Those of them that may ask next, in turn.
    turns: VecDeque<TenantId>,
    numbered: u64,
    waiting: usize,
    in_flight: usize,
    pub(super) judged: Vec<Judged>,
    /// Bytes of all queued requests.
    pub(super) queued_bytes: usize,
    /// When the last turn ended before all queued requests were judged that there is room for.
    unfinished: Option<Instant>,
    /// When queued requests are looked through next, while there are some.
    pub(super) sweep: Option<Instant>,
}

impl Authorizer {
    /// Whether another request may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.waiting < AUTHORIZE_WAITING
    }

    /// When [`ask`](Self::ask) is to be called again: because its last turn left queued requests that have room, or to
    /// refuse those that have waited too long.
    pub(super) fn due(&self) -> Option<Instant> {
        self.unfinished.or(self.sweep)
    }

    /// Whether no request waits.
    pub(super) fn is_idle(&self) -> bool {
        self.lines.is_empty()
    }

    /// Other rules are in force: what clients want is judged by them from the start.
    pub(super) fn take_anew(&mut self, rulebook: &Arc<Rulebook>, means: &mut Means<'_>) {
        let is_wanted = |_: &u64, open: &mut Open| matches!(open.origin, Origin::Client | Origin::Changed);
        let mut open: Vec<Open> = Vec::new();
        for line in self.lines.values_mut() {
            open.extend(line.requests.extract_if(is_wanted).map(|(_, open)| open));
            // What was to be asked for them takes nobody's room any more, their own least of all.
            let waiting = line.waiting.len();
            line.waiting.retain(|ticket| line.requests.contains_key(&ticket.request));
            self.waiting -= waiting - line.waiting.len();
        }
        for Open { origin, shard, connection, subject, wanted, .. } in open {
            let topics = wanted.into_iter().map(|wanted| wanted.topic).collect();
            let tenant = subject.tenant.clone();
            let subject = Subject { rulebook: Arc::clone(rulebook), ..subject };
            self.judge(origin, (shard, connection), subject, topics, means);
            self.line_up(&tenant);
        }
    }

    /// Takes what a session has and is judged again: these topics, as the rules say.
    pub(super) fn review(
        &mut self,
        origin: Origin,
        session: (ShardId, ConnectionKey),
        subject: Subject,
        topics: Vec<(Topic, Judgement)>,
        means: &mut Means<'_>,
    ) {
        let wanted = topics.into_iter().map(|(topic, judgement)| Wanted::new(topic, judgement, &subject, means));
        let wanted = wanted.collect();
        self.open(origin, session, subject, wanted);
    }

    pub(super) fn judge(
        &mut self,
        origin: Origin,
        session: (ShardId, ConnectionKey),
        subject: Subject,
        topics: Vec<Topic>,
        means: &mut Means<'_>,
    ) {
        let room = match origin {
            Origin::Client => REQUEST_WAITING,
            // Topics that cannot be checked soon are taken away.
            _ => AUTHORIZE_TENANT_WAITING
                .saturating_sub(self.lines.get(&subject.tenant).map_or(0, |line| line.waiting.len())),
        };
        let mut unknown = 0;
        let wanted = topics.into_iter().map(|topic| {
            let judgement = subject.rulebook.topics.judge(&subject.view(), &topic);
            let mut wanted = Wanted::new(topic, judgement, &subject, means);
            if wanted.stage == Stage::Waiting {
                unknown += 1;
                if unknown > room {
                    wanted.give_up();
                }
            }
            wanted
        });
        let wanted = wanted.collect();
        self.open(origin, session, subject, wanted);
    }

    /// A call was answered.
    pub(super) fn answered(&mut self, tenant: &TenantId, ticket: TopicTicket, answer: &Answer, means: &mut Means<'_>) {
        let Some(line) = self.lines.get_mut(tenant) else { return };
        let Some(open) = line.requests.get_mut(&ticket.request) else { return };
        let wanted = &mut open.wanted[ticket.topic];
        if wanted.stage != Stage::UnderWay || wanted.attempt != ticket.attempt {
            return;
        }
        wanted.answered(answer, &open.subject, means);
        if wanted.stage == Stage::Done {
            open.missing -= 1;
            if open.missing == 0 {
                self.close(tenant, ticket.request);
            }
            return;
        }
        // Its plugin has one more question.
        if let Origin::Swap(_) = open.origin {
            line.behind.push_front(ticket);
        } else {
            line.waiting.push_front(ticket);
            self.waiting += 1;
        }
        self.line_up(tenant);
    }

    /// A query that this tenant had under way for a topic has ended.
    pub(super) fn landed(&mut self, tenant: &TenantId) {
        self.in_flight -= 1;
        if let Some(line) = self.lines.get_mut(tenant) {
            line.in_flight -= 1;
        }
        self.line_up(tenant);
    }

    /// What was answered about this tenant's topics is no longer good: what clients wait for is judged anew.
    pub(super) fn forget(&mut self, tenant: &TenantId, forgotten: &Forgotten, means: &mut Means<'_>) {
        let Some(line) = self.lines.get_mut(tenant) else { return };
        let mut done = SmallVec::<[u64; 4]>::new();
        for (number, open) in &mut line.requests {
            // What is reviewed is reviewed again after this.
            if matches!(open.origin, Origin::Review(_) | Origin::Swap(_)) {
                continue;
            }
            for (index, wanted) in open.wanted.iter_mut().enumerate() {
                let was_missing = usize::from(wanted.stage != Stage::Done);
                if !wanted.forget(forgotten, ATTEMPTS, &open.subject, means) {
                    continue;
                }
                let is_missing = usize::from(wanted.stage != Stage::Done);
                open.missing = open.missing + is_missing - was_missing;
                if is_missing == 1 {
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
    pub(super) fn forget_for_all(&mut self, forgotten: &Forgotten, means: &mut Means<'_>) {
        let tenants: Vec<TenantId> = self.lines.keys().cloned().collect();
        for tenant in &tenants {
            self.forget(tenant, forgotten, means);
        }
    }

    /// Gives up on all that a review wants to know: what has no verdict is unavailable.
    pub(super) fn abandon(&mut self, tenant: &TenantId, review: Origin) {
        let Some(line) = self.lines.get(tenant) else { return };
        let of_review = line.requests.iter().filter(|(_, open)| open.origin == review);
        let numbers: Vec<u64> = of_review.map(|(number, _)| *number).collect();
        for number in numbers {
            self.close(tenant, number);
        }
    }

    /// Starts as many queries as there is room for, one of each tenant in turn. Queued requests are judged by this
    /// rulebook, a bounded number of them: see [`due`](Self::due).
    pub(super) fn ask(&mut self, rulebook: &Arc<Rulebook>, means: &mut Means<'_>, effects: &mut Vec<Effect>) {
        self.unfinished = None;
        self.sweep(means.now);
        let mut judged = 0;
        while self.in_flight < AUTHORIZE_IN_FLIGHT {
            if judged >= JUDGED_AT_ONCE {
                self.unfinished = (!self.turns.is_empty()).then_some(means.now);
                break;
            }
            let Some(tenant) = self.turns.pop_front() else { break };
            judged += self.judge_queued(&tenant, rulebook, means);
            let Some(line) = self.lines.get_mut(&tenant) else { continue };
            line.has_turn = false;
            if let Some(ticket) = line.next(&mut self.waiting) {
                self.ask_about(&tenant, ticket, means, effects);
            }
            self.line_up(&tenant);
        }
    }

    /// The requests that are done.
    pub(super) fn take_judged(&mut self) -> Vec<Judged> {
        std::mem::take(&mut self.judged)
    }

    fn ask_about(&mut self, tenant: &TenantId, ticket: TopicTicket, means: &mut Means<'_>, effects: &mut Vec<Effect>) {
        let Some(line) = self.lines.get_mut(tenant) else { return };
        let Some(open) = line.requests.get_mut(&ticket.request) else { return };
        let wanted = &mut open.wanted[ticket.topic];
        if wanted.stage != Stage::Waiting || wanted.attempt != ticket.attempt {
            return;
        }
        let Some(question) = wanted.question() else { return };
        wanted.stage = Stage::UnderWay;
        let (owner, rulebook) = (Owner(Some(tenant.clone())), &open.subject.rulebook);
        let whom = (Waiter::Topic(ticket), Holder::Line);
        let call = match question {
            TopicQuestion::Query(call) => call,
            TopicQuestion::Errand(errand) => {
                let mut scripts = means.machines.at(rulebook, means.now);
                if scripts.starts(Hook::Authorize, Some(tenant), &errand) {
                    line.in_flight += 1;
                    self.in_flight += 1;
                    let (ticket, rulebook) = (means.answers.run(&owner, whom, means.now), Arc::clone(rulebook));
                    effects.push(Effect::Run(Run { ticket, rulebook, job: Job::Authorize(errand) }));
                } else {
                    self.answered(tenant, ticket, &Ok(Arc::default()), means);
                }
                return;
            }
        };
        let queries = &rulebook.queries;
        match means.answers.ask(queries, &owner, call, whom, true, means.now) {
            Asked::Known(answer) => self.answered(tenant, ticket, &answer, means),
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
        origin: Origin,
        (shard, connection): (ShardId, ConnectionKey),
        subject: Subject,
        wanted: Vec<Wanted>,
    ) {
        let is_missing = |wanted: &Wanted| wanted.stage == Stage::Waiting;
        let missing = wanted.iter().filter(|wanted| is_missing(wanted)).count();
        let tenant = subject.tenant.clone();
        let open = Open { origin, shard, connection, subject, wanted, missing };
        if missing == 0 {
            self.judged.push(open.judged());
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
            Origin::Swap(_) => line.behind.extend(tickets),
        }
        if !matches!(origin, Origin::Swap(_)) {
            self.waiting += missing;
        }
        line.requests.insert(request, open);
        self.line_up(&tenant);
    }

    fn close(&mut self, tenant: &TenantId, request: u64) {
        let open = self.lines.get_mut(tenant).and_then(|line| line.requests.remove(&request));
        self.judged.extend(open.map(Open::judged));
        self.line_up(tenant);
    }

    /// Gives a tenant its turn where it may ask, and forgets it where it has nothing to ask and to hear.
    pub(super) fn line_up(&mut self, tenant: &TenantId) {
        let Some(line) = self.lines.get_mut(tenant) else { return };
        if line.requests.is_empty() {
            self.waiting -= line.waiting.len();
            line.waiting.clear();
            line.behind.clear();
        }
        if line.is_done() {
            self.lines.remove(tenant);
        } else if line.asks() && line.in_flight < AUTHORIZE_TENANT_IN_FLIGHT && !line.has_turn {
            line.has_turn = true;
            self.turns.push_back(tenant.clone());
        }
    }
}
