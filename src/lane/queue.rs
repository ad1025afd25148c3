//! The events of one tenant that wait: for queries, or behind events that do.
//!
//! Invariant: events leave in the order in which they came.
//! Invariant: an event that came after a hold does not leave before the hold's review has ended.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::Receipt;
use super::scripts::Machines;
use crate::observe::Account;
use crate::reload::Rulebook;
use crate::route::{Answer, CallId, Decision, Plan, Question};

/// Queries of one tenant's events that are under way at once. Enough for a backlog to drain in a row. How many
/// of them run at once is the database's to say, which has a share for each tenant.
pub const TENANT_IN_FLIGHT: usize = 4;

/// An event that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Counts the lane's waiting events: a later one has a higher number.
    pub(super) number: u64,
    /// Bytes of its body.
    pub(super) size: usize,
    pub(super) plan: Plan,
    pub(super) rulebook: Arc<Rulebook>,
    pub(super) receipt: Receipt,
    /// Where its tenant's events are counted.
    pub(super) account: Arc<Account>,
}

/// An event whose turn has come, with what was decided.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) decision: Decision,
    pub(super) rulebook: Arc<Rulebook>,
    pub(super) receipt: Receipt,
    pub(super) account: Arc<Account>,
}

/// The queue of one tenant.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// Questions that are not under way yet, in the order of their events.
    unasked: VecDeque<(u64, CallId, Question)>,
    in_flight: usize,
    /// A plugin runs for one of its events, beside the lane. One at a time: where it fails, the next ones may not be run.
    runs: bool,
    /// By both numbers in order. Two at most: for the review that is under way, and for the one that is to follow.
    holds: VecDeque<Hold>,
}

/// Events of a higher number wait for this review.
#[derive(Debug)]
struct Hold {
    after: u64,
    review: u64,
}

impl Waiting {
    /// Adds what it has to ask to those calls, which are in the order of their events.
    fn line_up(&mut self, unasked: &mut VecDeque<(u64, CallId, Question)>) {
        let Plan::Waits(pending) = &mut self.plan else { return };
        for (id, question) in pending.take_calls() {
            let at = unasked.partition_point(|(number, ..)| *number <= self.number);
            unasked.insert(at, (self.number, id, question));
        }
    }

    fn is_decided(&self) -> bool {
        match &self.plan {
            Plan::Decided(_) => true,
            Plan::Waits(pending) => pending.is_answered(),
        }
    }
}

impl Queue {
    /// How many events wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no event waits, none would have to, and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0 && !self.runs && self.holds.is_empty()
    }

    /// Whether an event that comes now has to wait, whatever it needs.
    pub(super) fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || !self.holds.is_empty()
    }

    /// Events of a higher number than this wait until the review has ended.
    pub(super) fn hold(&mut self, after: u64, review: u64) {
        // What waits for a review already, waits for it from the first word on: one that widens it adds nothing.
        if self.holds.back().is_none_or(|hold| hold.review != review) {
            self.holds.push_back(Hold { after, review });
        }
    }

    /// A review has ended. They end in order.
    pub(super) fn release(&mut self, review: u64) {
        while self.holds.front().is_some_and(|hold| hold.review <= review) {
            self.holds.pop_front();
        }
    }

    /// The bytes of the event that has waited longest.
    pub(super) fn oldest_size(&self) -> usize {
        self.waiting.front().map_or(0, |waiting| waiting.size)
    }

    /// The number of the event that has waited longest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.waiting.front().map(|waiting| waiting.number)
    }

    pub(super) fn push(&mut self, mut waiting: Waiting) {
        waiting.line_up(&mut self.unasked);
        self.waiting.push_back(waiting);
    }

    /// The next event whose turn has come.
    pub(super) fn pop_decided(&mut self) -> Option<Turn> {
        let is_held = |number| self.holds.front().is_some_and(|hold| number > hold.after);
        self.waiting.front().filter(|waiting| waiting.is_decided() && !is_held(waiting.number))?;
        let Waiting { plan, rulebook, receipt, account, .. } = self.waiting.pop_front()?;
        let decision = match plan {
            Plan::Decided(decision) => decision,
            Plan::Waits(pending) => pending.finish(),
        };
        Some(Turn { decision, rulebook, receipt, account })
    }

    /// Gives the oldest event up. Its queries that are under way are answered into the void.
    pub(super) fn shed(&mut self) -> Option<Waiting> {
        let shed = self.waiting.pop_front()?;
        while self.unasked.front().is_some_and(|(number, ..)| *number == shed.number) {
            self.unasked.pop_front();
        }
        Some(shed)
    }

    /// The next question that is neither answered nor asked, with the number of its event.
    pub(super) fn next_question(&mut self) -> Option<(u64, CallId, Question)> {
        self.unasked.pop_front()
    }

    /// The rulebook of the event of this number.
    pub(super) fn rulebook_of(&self, number: u64) -> Option<Arc<Rulebook>> {
        let at = self.waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()?;
        self.waiting.get(at).map(|waiting| Arc::clone(&waiting.rulebook))
    }

    /// There is no room for this question, which was the next one.
    pub(super) fn put_back(&mut self, number: u64, id: CallId, question: Question) {
        self.unasked.push_front((number, id, question));
    }

    /// Whether another query may be put under way.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight < TENANT_IN_FLIGHT
    }

    /// Whether a plugin runs for it, beside the lane.
    pub(super) fn runs(&self) -> bool {
        self.runs
    }

    /// A plugin runs, or has.
    pub(super) fn set_runs(&mut self, runs: bool) {
        self.runs = runs;
    }

    /// A query was put under way.
    pub(super) fn started(&mut self) {
        self.in_flight += 1;
    }

    /// A query that was under way has ended.
    pub(super) fn landed(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A call of the event of this number was answered. A plugin that waits for it goes on, and may ask more.
    pub(super) fn answered(
        &mut self,
        number: u64,
        call: CallId,
        answer: &Answer,
        machines: &mut Machines,
        now: Instant,
    ) {
        let place = self.waiting.binary_search_by_key(&number, |waiting| waiting.number);
        let Some(waiting) = place.ok().and_then(|at| self.waiting.get_mut(at)) else { return };
        if let Plan::Waits(pending) = &mut waiting.plan {
            let mut scripts = machines.at(&waiting.rulebook, now);
            waiting.rulebook.routes.answer(pending, call, answer, &mut scripts);
            waiting.line_up(&mut self.unasked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_whose_rights_change_all_the_time_has_two_holds_at_most() {
        let mut queue = Queue::default();
        queue.hold(0, 1);
        for number in 1..10_000 {
            queue.hold(number, 2);
        }
        assert_eq!(queue.holds.len(), 2);
        queue.release(1);
        assert_eq!(queue.holds.front().map(|hold| hold.after), Some(1), "from the first word on");
        queue.release(2);
        assert!(queue.is_idle());
    }
}
