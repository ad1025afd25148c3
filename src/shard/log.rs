//! Log lines that clients can cause: however many clients, a few in ten seconds, with a count of the others.

use std::time::Duration;

use crate::observe::Throttle;

const PERIOD: Duration = Duration::from_secs(10);
/// Lines of one kind in that time, if each tells of another client.
const CLIENTS: u64 = 5;

/// A throttle for each kind of line.
#[derive(Debug)]
pub(super) struct Log {
    /// Connections cannot be accepted or watched.
    pub(super) accept: Throttle,
    /// There is no room for a connection.
    pub(super) refused: Throttle,
    /// Events are dropped because an outbox is full.
    pub(super) dropped: Throttle,
    /// A client is too slow and is closed.
    pub(super) slow: Throttle,
    /// A client has gone.
    pub(super) gone: Throttle,
    /// An event closes a session.
    pub(super) disconnected: Throttle,
    /// A lane's inbox is full.
    pub(super) lane: Throttle,
}

impl Default for Log {
    fn default() -> Self {
        let one = || Throttle::new(PERIOD);
        let clients = || Throttle::of(CLIENTS, PERIOD);
        Self {
            accept: one(),
            refused: one(),
            dropped: one(),
            slow: clients(),
            gone: clients(),
            disconnected: clients(),
            lane: one(),
        }
    }
}
