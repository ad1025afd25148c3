//! How many clients may be connected: as many as the configuration allows and the process has descriptors for.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::runtime::admin_connections;

/// Refused connections of a shard that may linger, so that their clients read why before they are closed.
pub(super) const LINGERING: usize = 8;
/// Descriptors that clients may not take, whatever the configuration, beside those of the admin listener: up to 64 for
/// requests to a provider of identities, the rest for brokers, files that are read, the watcher and the runtimes.
const OWN: usize = 148;
/// Descriptors of a shard, beside those of its clients: its listener, its poll, its waker, refused connections.
const PER_SHARD: usize = 3 + LINGERING;
/// Descriptors for each connection of the database's pool: SQLite opens up to three files for one, and while a reload
/// changes the database, two pools are open.
const PER_QUERY: usize = 3;

/// How many connections are open, over all shards, and how many may be.
#[derive(Debug)]
pub struct Admission {
    open: AtomicUsize,
    limit: AtomicUsize,
    /// Descriptors that the process may have.
    descriptors: usize,
    shards: usize,
}

impl Admission {
    /// Admits nobody before [limits](Self::set_limits) are set. The process may have so many descriptors.
    pub fn new(descriptors: usize, shards: usize) -> Self {
        Self { open: AtomicUsize::new(0), limit: AtomicUsize::new(0), descriptors, shards }
    }

    /// Bounds the connections of clients from now on: by `connections`, as configured, and by the descriptors that are
    /// left beside a pool of so many connections to the database. Those that are open stay. Warns if the descriptors
    /// are too few.
    pub fn set_limits(&self, connections: usize, pool: usize) {
        let room = room(self.descriptors, self.shards, pool);
        let limit = connections.min(room);
        let before = self.limit.swap(limit, Ordering::Relaxed);
        if limit < connections && limit != before {
            let (descriptors, kept) = (self.descriptors, self.descriptors - room);
            tracing::warn!(
                connections,
                descriptors,
                kept,
                "the process has descriptors for {room} clients, fewer than `limits.connections`: raise the limit of \
                 descriptors (`ulimit -n`, `LimitNOFILE=` of systemd) to {} or lower `limits.connections`",
                connections.saturating_add(reserve(usize::MAX, self.shards, pool)),
            );
        }
    }

    /// Counts one in. `false` if there is no room: a connection that is only told so takes nobody's place.
    pub(super) fn enter(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let room = |open: usize| (open < limit).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many of the process's descriptors clients may have. The rest is kept for all else: never more than half, so that
/// a process with few serves somebody.
fn room(descriptors: usize, shards: usize, pool: usize) -> usize {
    descriptors - reserve(descriptors, shards, pool).min(descriptors / 2)
}

fn reserve(descriptors: usize, shards: usize, pool: usize) -> usize {
    OWN + admin_connections(descriptors) + shards * PER_SHARD + pool * PER_QUERY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_all_else() {
        for (descriptors, shards, pool, expected) in [
            (200, 2, 10, 100),
            (1_024, 2, 10, 568),
            (1_024, 16, 100, 512),
            (20_000, 2, 10, 18_776),
            (1_048_576, 64, 10_000, 1_016_700),
            (0, 1, 0, 0),
        ] {
            assert_eq!(room(descriptors, shards, pool), expected, "{descriptors} descriptors");
        }
    }

    #[test]
    fn both_limits_hold_and_count_for_newcomers_alone() {
        let admission = Admission::new(200, 1);
        let enter = || (0..1_000).take_while(|_| admission.enter()).count();
        assert_eq!(enter(), 0, "before limits are set");
        admission.set_limits(3, 0);
        assert_eq!(enter(), 3, "as configured");
        admission.set_limits(1_000, 0);
        assert_eq!(enter(), 97, "as many as there are descriptors for");
        admission.set_limits(1, 0);
        admission.leave();
        assert_eq!(enter(), 0, "99 are still open");
    }
}
