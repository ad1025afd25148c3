//! Writing: once a turn to each connection, and what becomes of one that does not take it.

use std::time::Duration;

use super::connection::Phase;
use super::run::Shard;
use super::timers::Due;
use crate::config::WhenFull;
use crate::connection::Progress;
use crate::observe::DropCause;
use crate::wire::CloseReason;

/// How long a peer may take, having got all, to end the connection too.
const LINGER: Duration = Duration::from_secs(2);

impl Shard {
    /// Writes what a connection got in this turn, and what waits from before.
    pub(super) fn write(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let chain = std::mem::take(&mut connection.chain);
        if connection.phase == Phase::Closed {
            return;
        }
        let before = connection.outbox.waiting();
        let progress = if connection.writable {
            connection.outbox.write(chain, &self.batch, &mut connection.socket)
        } else {
            connection.outbox.keep(chain, &self.batch);
            Ok(Progress::Blocked)
        };
        self.backlog.change(before, connection.outbox.waiting());
        let is_sent = match progress {
            Ok(Progress::Done) => connection.socket.catch_up(),
            Ok(Progress::Blocked) => Ok(false),
            Err(error) => Err(error),
        };
        let Ok(is_sent) = is_sent else { return self.remove(index) };
        connection.writable &= is_sent;
        match connection.phase {
            Phase::Closing if is_sent => match connection.socket.finish() {
                Ok(true) => {
                    // The peer reads to the end of the stream and ends it too; resetting it could lose what it has not
                    // read.
                    connection.phase = Phase::Closed;
                    self.timers.set(self.now + LINGER, Due::Linger, self.key(index));
                    // It may have ended already, in what was not read while it waited for an answer.
                    self.hear_again(index);
                }
                Ok(false) => connection.writable = false,
                Err(_) => self.remove(index),
            },
            Phase::Closing => {}
            _ if connection.outbox.is_over(self.settings.limits.outbox) => self.relieve(index),
            _ => {}
        }
    }

    /// More waits for a connection than may: the oldest events go, where the configuration says so, and else, or where
    /// that does not help, the connection does.
    fn relieve(&mut self, index: usize) {
        let limits = self.settings.limits.outbox;
        if limits.when_full == WhenFull::Disconnect {
            return self.close_too_slow(index);
        }
        let connection = &mut self.connections[index];
        let before = connection.outbox.waiting();
        let dropped = connection.outbox.shed(limits);
        self.backlog.change(before, connection.outbox.waiting());
        self.dropped.inc_by(dropped as u64);
        if dropped > 0
            && let Some(held_back) = self.log.dropped.admit_at(self.now)
        {
            let (shard, remote) = (self.id.index(), connection.remote);
            tracing::info!(shard, %remote, dropped, held_back, "a client is too slow: its oldest events are dropped");
        }
        if connection.outbox.is_over(limits) {
            self.close_too_slow(index);
        }
    }

    /// A connection that cannot take what it is sent: all of it is dropped but the close frame.
    fn close_too_slow(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let before = connection.outbox.waiting();
        connection.outbox.truncate();
        self.backlog.change(before, connection.outbox.waiting());
        self.parts.metrics.drops(DropCause::slow_client).inc();
        if let Some(held_back) = self.log.slow.admit_at(self.now) {
            let (shard, remote) = (self.id.index(), connection.remote);
            tracing::info!(shard, %remote, held_back, "a client is too slow and is closed");
        }
        self.close(index, CloseReason::TooSlow);
    }
}
