//! The open connections of the admin listener, and which of them is closed to make room for another.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{AbortHandle, Id, JoinSet};

/// Stands for "a request is under way" where a number says since when a connection is idle.
const BUSY: u64 = 0;

/// The tasks of open connections. A task is one connection; when the task ends, its socket is closed.
#[derive(Debug)]
pub(super) struct Connections {
    tasks: JoinSet<()>,
    open: HashMap<Id, (Idle, AbortHandle)>,
    clock: Arc<AtomicU64>,
}

/// Whether one connection is idle, and since when. A connection is idle unless a handler works on its request: while the
/// head of a request comes in, while a response is written, and between requests.
#[derive(Clone, Debug)]
pub(super) struct Idle {
    /// The clock's number at the time when the connection became idle, or [`BUSY`].
    since: Arc<AtomicU64>,
    /// Counts how often any connection became idle, so that a lower number is an earlier time.
    clock: Arc<AtomicU64>,
}

/// A handler works on a request of this connection, until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Idle);

impl Connections {
    /// No connection.
    pub(super) fn new() -> Self {
        Self { tasks: JoinSet::new(), open: HashMap::new(), clock: Arc::new(AtomicU64::new(BUSY)) }
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// Serves one more. It is idle until it says otherwise.
    pub(super) fn add<F: Future<Output = ()> + Send + 'static>(&mut self, serve: impl FnOnce(Idle) -> F) {
        let idle = Idle { since: Arc::default(), clock: Arc::clone(&self.clock) };
        idle.begin();
        let task = self.tasks.spawn(serve(idle.clone()));
        self.open.insert(task.id(), (idle, task));
    }

    /// Closes the connection that has been idle longest. `false` if none is idle.
    pub(super) fn close_most_idle(&mut self) -> bool {
        let idle = self.open.iter().filter_map(|(id, (idle, _))| Some((idle.since()?, *id)));
        let Some((_, id)) = idle.min_by_key(|(since, _)| *since) else { return false };
        // It no longer counts, although its task ends a moment later.
        if let Some((_, task)) = self.open.remove(&id) {
            task.abort();
        }
        true
    }

    /// Waits until one has ended. Never returns while none is open.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => drop(self.open.remove(&id)),
            Some(Err(error)) => {
                self.open.remove(&error.id());
                if !error.is_cancelled() {
                    tracing::error!(%error, listener = "admin", "a connection's task failed");
                }
            }
            None => std::future::pending().await,
        }
    }
}

impl Idle {
    /// A handler begins to work on a request.
    pub(super) fn busy(&self) -> Busy {
        self.since.store(BUSY, Ordering::Relaxed);
        Busy(self.clone())
    }

    fn begin(&self) {
        self.since.store(self.clock.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn since(&self) -> Option<u64> {
        Some(self.since.load(Ordering::Relaxed)).filter(|since| *since != BUSY)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.begin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that wait for a request without end, and what each of them holds while it is open.
    fn open(count: usize) -> (Connections, Vec<(Idle, Arc<()>)>) {
        let (mut connections, mut held) = (Connections::new(), Vec::new());
        for _ in 0..count {
            let socket = Arc::new(());
            connections.add(|idle| {
                held.push((idle, Arc::clone(&socket)));
                async move {
                    let open = socket;
                    std::future::pending::<()>().await;
                    drop(open);
                }
            });
        }
        (connections, held)
    }

    #[tokio::test]
    async fn the_connection_that_has_been_idle_longest_is_closed_and_a_busy_one_is_not() {
        let (mut connections, held) = open(4);
        // The first has a request under way. The second had one, so it has been idle for the shortest time.
        let busy = held[0].0.busy();
        drop(held[1].0.busy());
        for expected in [2, 3, 1] {
            let before = connections.count();
            assert!(connections.close_most_idle());
            assert_eq!(connections.count(), before - 1);
            connections.ended().await;
            assert_eq!(Arc::strong_count(&held[expected].1), 1, "{expected} is closed");
        }
        assert!(!connections.close_most_idle(), "the last one is busy");
        drop(busy);
        assert!(connections.close_most_idle() && connections.count() == 0);
    }
}
