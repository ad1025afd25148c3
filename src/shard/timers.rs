//! The timers of a shard: few kinds, one heap, and no timer for an idle session.

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

/// What is due when, for which connection. An entry whose connection has gone or moved on is passed over when it comes
/// up: nothing is searched for to be taken out.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, Due, u32, u32)>>);

impl Timers {
    pub(super) fn set(&mut self, at: Instant, due: Due, connection: ConnectionKey) {
        self.0.push(Reverse((at, due, connection.index, connection.generation)));
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
