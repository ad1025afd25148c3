//! Requests to subscribe, and the queries that some of their topics need.
//!
//! Invariant: a request is answered once, when all its topics have their verdicts, in the order in which they were
//! asked for. No event ever waits for it.

use std::collections::VecDeque;

use hashbrown::HashMap;
use slab::Slab;

use super::state::{Ask, Effect, Ticket};
use crate::event::{TenantId, Topic};
use crate::reload::Rulebook;
use crate::route::{Call, Judgement, SessionView};
use crate::shard::{AuthorizeRequest, ConnectionKey, ShardId, Verdict};

/// Queries for topics that are under way at once, in one lane.
pub const AUTHORIZE_IN_FLIGHT: usize = 256;
/// Of those, a tenant's: it asks for many topics at its own cost.
pub const AUTHORIZE_TENANT_IN_FLIGHT: usize = 4;
/// Queries for topics of one tenant that wait for those. What it asks beyond is unavailable at once.
pub const AUTHORIZE_TENANT_WAITING: usize = 1_024;
/// Queries for topics that wait in one lane. From there on it reads no further requests, until some are under way.
pub const AUTHORIZE_WAITING: usize = 65_536;

/// The requests that wait for queries.
#[derive(Debug, Default)]
pub(super) struct Authorizer {
    requests: Slab<Open>,
    /// The tenants whose queries wait or are under way.
    lines: HashMap<TenantId, Line>,
    /// Those of them that may ask next, in turn.
    turns: VecDeque<TenantId>,
    waiting: usize,
    in_flight: usize,
}

/// One tenant's queries.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<(TopicTicket, Call)>,
    in_flight: usize,
    /// It stands among the turns.
    has_turn: bool,
}

/// A request of which some topics have no verdict yet.
#[derive(Debug)]
struct Open {
    shard: ShardId,
    connection: ConnectionKey,
    tenant: TenantId,
    /// What has no verdict yet stands as unavailable.
    verdicts: Vec<(Topic, Verdict)>,
    missing: usize,
}

/// Which topic of which request a query is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopicTicket {
    request: usize,
    topic: usize,
}

impl Authorizer {
    /// Whether another request may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.waiting < AUTHORIZE_WAITING
    }

    /// Whether no request waits.
    pub(super) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Takes a request: answers it, or asks what it needs.
    pub(super) fn take(&mut self, request: AuthorizeRequest, rulebook: &Rulebook, effects: &mut Vec<Effect>) {
        let AuthorizeRequest { shard, connection, user, tenant, attributes, topics } = request;
        let session = SessionView { user: &user, tenant: &tenant, attributes: &attributes };
        let room =
            AUTHORIZE_TENANT_WAITING.saturating_sub(self.lines.get(&tenant).map_or(0, |line| line.waiting.len()));
        let mut calls = Vec::new();
        let verdicts = topics.into_iter().enumerate().map(|(index, topic)| {
            let verdict = match rulebook.topics.judge(&session, &topic) {
                Judgement::Verdict(verdict) => verdict,
                Judgement::Ask(call) => {
                    if calls.len() < room {
                        calls.push((index, call));
                    }
                    Verdict::Unavailable
                }
            };
            (topic, verdict)
        });
        let verdicts: Vec<(Topic, Verdict)> = verdicts.collect();
        if calls.is_empty() {
            effects.push(Effect::Authorized { shard, connection, verdicts });
            return;
        }
        let missing = calls.len();
        let request = self.requests.insert(Open { shard, connection, tenant: tenant.clone(), verdicts, missing });
        self.waiting += missing;
        let line = self.lines.entry_ref(&tenant).or_default();
        line.waiting.extend(calls.into_iter().map(|(topic, call)| (TopicTicket { request, topic }, call)));
        self.line_up(tenant);
        self.ask(effects);
    }

    /// A query was answered, and this is what it means.
    pub(super) fn answered(&mut self, ticket: TopicTicket, verdict: Verdict, effects: &mut Vec<Effect>) {
        let Some(open) = self.requests.get_mut(ticket.request) else { return };
        let tenant = open.tenant.clone();
        open.verdicts[ticket.topic].1 = verdict;
        open.missing -= 1;
        if open.missing == 0 {
            let Open { shard, connection, verdicts, .. } = self.requests.remove(ticket.request);
            effects.push(Effect::Authorized { shard, connection, verdicts });
        }
        self.in_flight -= 1;
        if let Some(line) = self.lines.get_mut(&tenant) {
            line.in_flight -= 1;
        }
        self.line_up(tenant);
        self.ask(effects);
    }

    /// Gives a tenant its turn where it may ask, and forgets it where it has nothing to ask and to hear.
    fn line_up(&mut self, tenant: TenantId) {
        let Some(line) = self.lines.get_mut(&tenant) else { return };
        if line.waiting.is_empty() {
            if line.in_flight == 0 {
                self.lines.remove(&tenant);
            }
        } else if line.in_flight < AUTHORIZE_TENANT_IN_FLIGHT && !line.has_turn {
            line.has_turn = true;
            self.turns.push_back(tenant);
        }
    }

    /// Puts under way what there is room for, one of each tenant in turn.
    fn ask(&mut self, effects: &mut Vec<Effect>) {
        while self.in_flight < AUTHORIZE_IN_FLIGHT {
            let Some(tenant) = self.turns.pop_front() else { break };
            let Some(line) = self.lines.get_mut(&tenant) else { continue };
            line.has_turn = false;
            let Some((ticket, call)) = line.waiting.pop_front() else { continue };
            line.in_flight += 1;
            self.in_flight += 1;
            self.waiting -= 1;
            effects.push(Effect::Ask(Ask {
                ticket: Ticket::topic(ticket, tenant.clone(), call.query),
                tenant: Some(tenant.clone()),
                call,
            }));
            self.line_up(tenant);
        }
    }
}
