//! The timers of a shard: few kinds, one heap, and no timer for an idle session that does not expire.
//!
//! Invariant: the heap is bounded by what is connected, not by what has passed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::ConnectionKey;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The connection should be a session by now.
    Admission,
    /// The peer has had time enough to end a connection that is closing.
    Linger,
    /// The session may have expired.
    Expiry,
    /// Sockets may be accepted again.
    Accept,
}

/// Entries that are kept without a look at whose they are.
const FEW: usize = 1024;

/// What is due when, for which connection. An entry whose connection has gone is passed over when it comes up, or
/// swept out with its like when they are more than those of the living.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, Due, u32, u32)>>);

impl Timers {
    pub(super) fn set(&mut self, at: Instant, due: Due, connection: ConnectionKey) {
        self.0.push(Reverse((at, due, connection.index, connection.generation)));
    }

    /// Sweeps out entries of connections that are gone, where there are many beside `open` living ones. A connection
    /// has a few timers at most, so that it is due only after as many have been set again.
    pub(super) fn sweep(&mut self, open: usize, lives: impl Fn(ConnectionKey) -> bool) {
        if self.0.len() > 6 * open + FEW {
            self.0.retain(|Reverse((_, due, index, generation))| {
                *due == Due::Accept || lives(ConnectionKey { index: *index, generation: *generation })
            });
            self.0.shrink_to(FEW);
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes one that is due out.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Due, ConnectionKey)> {
        let Reverse((at, ..)) = self.0.peek()?;
        if *at > now {
            return None;
        }
        let Reverse((_, due, index, generation)) = self.0.pop()?;
        Some((due, ConnectionKey { index, generation }))
    }
}
