//! What waits in all outboxes of a shard: counted by what changes, so that nobody has to look at all of them.

use crate::connection::Waiting;
use crate::observe::Metrics;

/// The sum over a shard's outboxes.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    sum: Waiting,
    /// What the metrics have been told.
    told: Waiting,
}

impl Backlog {
    /// One outbox has come from `before` to `after`.
    pub(super) fn change(&mut self, before: Waiting, after: Waiting) {
        self.sum.messages = self.sum.messages + after.messages - before.messages;
        self.sum.bytes = self.sum.bytes + after.bytes - before.bytes;
    }

    /// Tells the metrics what has changed.
    pub(super) fn tell(&mut self, metrics: &Metrics) {
        if self.sum != self.told {
            metrics.outbox_messages().inc_by(difference(self.sum.messages, self.told.messages));
            metrics.outbox_bytes().inc_by(difference(self.sum.bytes, self.told.bytes));
            self.told = self.sum;
        }
    }
}

/// What a gauge changes by.
pub(super) fn difference(now: usize, before: usize) -> i64 {
    let wide = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    wide(now) - wide(before)
}
