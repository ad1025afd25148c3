//! Requests to subscribe, and the queries that some of their topics need.
//!
//! Invariant: a request is answered once, when all its topics have their verdicts, in the order in which they were
//! asked for. No event ever waits for it.

use std::collections::VecDeque;

use slab::Slab;

use super::state::{Ask, Effect, Ticket};
use crate::event::{TenantId, Topic};
use crate::reload::Rulebook;
use crate::route::{Call, Judgement, SessionView};
use crate::shard::{AuthorizeRequest, ConnectionKey, ShardId, Verdict};

/// Queries for topics that are under way at once, in one lane.
pub const AUTHORIZE_IN_FLIGHT: usize = 256;
/// Queries for topics that wait for those. From there on a lane reads no further requests, until some are under way.
pub const AUTHORIZE_WAITING: usize = 4_096;

/// The requests that wait for queries.
#[derive(Debug, Default)]
pub(super) struct Authorizer {
    requests: Slab<Open>,
    waiting: VecDeque<(TopicTicket, Call)>,
    in_flight: usize,
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
        self.waiting.len() < AUTHORIZE_WAITING
    }

    /// Whether no request waits.
    pub(super) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Takes a request: answers it, or asks what it needs.
    pub(super) fn take(&mut self, request: AuthorizeRequest, rulebook: &Rulebook, effects: &mut Vec<Effect>) {
        let AuthorizeRequest { shard, connection, user, tenant, attributes, topics } = request;
        let session = SessionView { user: &user, tenant: &tenant, attributes: &attributes };
        let mut calls = Vec::new();
        let verdicts = topics.into_iter().enumerate().map(|(index, topic)| {
            let verdict = match rulebook.topics.judge(&session, &topic) {
                Judgement::Verdict(verdict) => verdict,
                Judgement::Ask(call) => {
                    calls.push((index, call));
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
        let request = self.requests.insert(Open { shard, connection, tenant, verdicts, missing: calls.len() });
        self.waiting.extend(calls.into_iter().map(|(topic, call)| (TopicTicket { request, topic }, call)));
        self.ask(effects);
    }

    /// A query was answered, and this is what it means.
    pub(super) fn answered(&mut self, ticket: TopicTicket, verdict: Verdict, effects: &mut Vec<Effect>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(open) = self.requests.get_mut(ticket.request) {
            open.verdicts[ticket.topic].1 = verdict;
            open.missing -= 1;
            if open.missing == 0 {
                let Open { shard, connection, verdicts, .. } = self.requests.remove(ticket.request);
                effects.push(Effect::Authorized { shard, connection, verdicts });
            }
        }
        self.ask(effects);
    }

    /// Puts under way what there is room for.
    fn ask(&mut self, effects: &mut Vec<Effect>) {
        while self.in_flight < AUTHORIZE_IN_FLIGHT {
            let Some((ticket, call)) = self.waiting.pop_front() else { break };
            let tenant = self.requests[ticket.request].tenant.clone();
            self.in_flight += 1;
            effects.push(Effect::Ask(Ask {
                ticket: Ticket::topic(ticket, tenant.clone(), call.query),
                tenant: Some(tenant),
                call,
            }));
        }
    }
}
