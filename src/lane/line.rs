//! The requests of one tenant in one lane: those whose topics are being judged, and those that are queued.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::authorize::AUTHORIZE_TENANT_WAITING;
use super::request::{Open, TopicTicket};
use super::request_queue::RequestQueue;

/// One tenant's requests.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) requests: HashMap<u64, Open>,
    /// Requests that are to be judged when fewer topics wait.
    pub(super) queued: RequestQueue,
    /// Topics that wait for a query, and that a client or an event waits for.
    pub(super) waiting: VecDeque<TopicTicket>,
    /// Topics that wait for a query after a change of the rules. They take turns with the others.
    pub(super) behind: VecDeque<TopicTicket>,
    behind_is_next: bool,
    /// Queries under way.
    pub(super) in_flight: usize,
    /// Whether the tenant stands among the authorizer's turns.
    pub(super) has_turn: bool,
}

impl Line {
    /// Whether there is something to ask or to judge.
    pub(super) fn asks(&self) -> bool {
        !(self.waiting.is_empty() && self.behind.is_empty() && self.queued.is_empty())
    }

    /// Whether another request may be judged.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < AUTHORIZE_TENANT_WAITING
    }

    /// Whether nothing is left to ask, to judge, or to wait for.
    pub(super) fn is_done(&self) -> bool {
        self.requests.is_empty() && self.queued.is_empty() && self.in_flight == 0
    }

    /// Takes the topic that is to be asked about next. `waiting` counts the `waiting` topics of all lines.
    pub(super) fn next(&mut self, waiting: &mut usize) -> Option<TopicTicket> {
        let is_behind = self.waiting.is_empty() || (self.behind_is_next && !self.behind.is_empty());
        self.behind_is_next = !is_behind;
        if is_behind {
            return self.behind.pop_front();
        }
        *waiting -= 1;
        self.waiting.pop_front()
    }
}
