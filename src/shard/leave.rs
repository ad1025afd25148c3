//! Leaving: clients are told when to come back and are closed, spread over the time that leaving may take.

use std::time::{Duration, Instant};

use super::ConnectionKey;
use super::connection::Phase;
use super::run::Shard;
use crate::wire::{CloseReason, reply};

/// When clients shall come back, in milliseconds from being told: spread, so that they do not all knock at once.
const RECONNECT_IN_MS: std::ops::Range<u64> = 500..3_000;

/// A shard on its way out.
#[derive(Debug)]
pub(super) struct Leaving {
    began: Instant,
    /// Over which the closes are spread. The rest of the time is for outboxes to empty.
    spread: Duration,
    /// When all that is left is dropped.
    end: Instant,
    targets: Vec<ConnectionKey>,
    told: usize,
    /// Where in its share of the time each one is told: so that few clients, one on each shard, do not all go at once,
    /// and whoever asks whether the process is ready hears that it leaves before it has left.
    phase: f64,
}

impl Leaving {
    /// When the next connection is to be told, or all shall have left.
    pub(super) fn next(&self) -> Instant {
        if self.told == self.targets.len() { self.end } else { self.due_at(self.told) }
    }

    fn due_at(&self, index: usize) -> Instant {
        let (index, count) = (u32::try_from(index).unwrap_or(u32::MAX), u32::try_from(self.targets.len()).unwrap_or(1));
        self.began + self.spread.mul_f64((f64::from(index) + self.phase) / f64::from(count.max(1)))
    }
}

impl Shard {
    /// Accepts no more and begins to leave within this time.
    pub(super) fn leave(&mut self, within: Duration) {
        if self.leaving.is_some() {
            return;
        }
        // Closing the socket refuses those who knock; the kernel gives them to nobody.
        self.listener = None;
        let targets = self.connections.iter().map(|(index, _)| self.key(index)).collect();
        self.leaving = Some(Leaving {
            began: self.now,
            spread: within.mul_f64(0.8),
            end: self.now + within,
            targets,
            told: 0,
            phase: fastrand::f64().mul_add(0.6, 0.3),
        });
    }

    /// Tells those whose turn it is.
    pub(super) fn leave_some(&mut self) {
        let Some(mut leaving) = self.leaving.take() else { return };
        while leaving.told < leaving.targets.len() && leaving.due_at(leaving.told) <= self.now {
            if let Some(index) = self.index(leaving.targets[leaving.told]) {
                self.tell_to_leave(index);
            }
            leaving.told += 1;
        }
        self.leaving = Some(leaving);
    }

    fn tell_to_leave(&mut self, index: usize) {
        match self.connections[index].phase {
            Phase::Guest { .. } | Phase::Session(_) => {
                self.say(index, &reply::restarting(fastrand::u64(RECONNECT_IN_MS)));
                self.close(index, CloseReason::Restarting);
            }
            // A publish under way is answered, and ends by that.
            Phase::Body(_) | Phase::Closing | Phase::Closed => {}
            Phase::Head => self.remove(index),
        }
    }

    /// Whether there is nothing left to do.
    pub(super) fn has_left(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| self.connections.is_empty() || leaving.end <= self.now)
    }
}
