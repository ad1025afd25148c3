//! The events ping: tells sessions the newest event's id, and finds peers that are no longer there.
//!
//! With each goes a ping of the WebSocket protocol, which every client's library answers by itself. A connection of
//! which nothing was heard between one ping and the next is dead, but not before it had time to answer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use slab::Slab;

use super::connection::Connection;
use super::run::Shard;
use super::{ConnectionKey, Sessions};
use crate::event::{EventId, TenantId};
use crate::wire::{reply, text_frame};

/// Connections pinged in one turn, so that events do not wait behind the pings of many.
const PINGS: usize = 256;
/// How long a peer may take to answer, however closely pings follow on each other: a page that is busy, or a telephone
/// between two cells, is not dead.
const PATIENCE: Duration = Duration::from_secs(10);
/// An empty ping frame (RFC 6455, 5.5.2).
const PING_FRAME: &[u8] = &[0x89, 0];

/// Pings that are under way.
#[derive(Debug, Default)]
pub(super) struct Pings(VecDeque<Round>);

#[derive(Debug)]
struct Round {
    frame: Bytes,
    targets: Vec<ConnectionKey>,
}

impl Pings {
    /// Begins a ping of a tenant's sessions, or of all.
    pub(super) fn begin(
        &mut self,
        sessions: &Sessions,
        connections: &Slab<Connection>,
        tenant: Option<&TenantId>,
        last_event_id: Option<&EventId>,
    ) {
        let key = |index: u32| ConnectionKey { index, generation: connections[index as usize].generation };
        let targets: Vec<_> = sessions.connections(tenant).into_iter().map(key).collect();
        if !targets.is_empty() {
            let ping = text_frame(&reply::events_ping(last_event_id));
            self.0.push_back(Round { frame: [&ping, PING_FRAME].concat().into(), targets });
        }
    }

    /// Whether a ping is under way.
    pub(super) fn is_pending(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Shard {
    /// Pings the next few.
    pub(super) fn ping_some(&mut self) {
        let mut left = PINGS;
        while let Some(mut round) = self.pings.0.pop_front() {
            let rest = round.targets.len().saturating_sub(left);
            let some = round.targets.split_off(rest);
            left -= some.len();
            for key in some {
                self.ping(key, &round.frame);
            }
            if !round.targets.is_empty() {
                self.pings.0.push_front(round);
                return;
            }
        }
    }

    fn ping(&mut self, key: ConnectionKey, frame: &Bytes) {
        let Some(index) = self.index(key) else { return };
        let connection = &mut self.connections[index];
        if connection.is_closing() {
            return;
        }
        // What it sends is not read while it waits for an answer; and a ping that follows closely on another one, as
        // where a database was slow to say the newest id, is no time to have answered in.
        let waits = connection.question.is_some();
        let patience = PATIENCE.max(self.settings.ping_every / 2);
        let had_time = |at: Instant| self.now.saturating_duration_since(at) >= patience;
        let asked = connection.pinged.is_some_and(had_time);
        if asked && !connection.heard && !waits {
            if let Some(held_back) = self.log.gone.admit_at(self.now) {
                let (shard, remote) = (self.id.index(), connection.remote);
                tracing::info!(shard, %remote, held_back, "a client has gone without a word");
            }
            return self.remove(index);
        }
        if connection.heard {
            (connection.pinged, connection.heard) = (Some(self.now), false);
        }
        self.send(index, frame.clone());
    }
}
