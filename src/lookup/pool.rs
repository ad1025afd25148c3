//! The connections to a database server.
//!
//! sqlx has a pool of its own, which SQLite uses. For a server on a network it does not do: it tries for the whole of a
//! call's time where a connection is refused, and says no more then than that it took too long; it hands a connection
//! that somebody gave up on back by asking the server whether it is done, which a server that hangs never answers; and
//! it cannot say whether a connection is new, so that nobody knows whether a second try is worth while.
//!
//! Invariant: only a connection that has answered all that it was asked is given back. Any other one is closed when
//! its lease ends, however that ends, and the server stops what it does for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::Pool as Settings;
use crate::observe::Metrics;

/// Connections of one kind.
pub(super) struct Pool<C> {
    settings: Settings,
    /// One for each connection that may be in use. Fair: who comes first is served first.
    places: Arc<Semaphore>,
    /// The one that was used last is the last: it is taken first, and those at the front grow old.
    idle: Mutex<Vec<Held<C>>>,
    counts: Arc<Counts>,
}

/// The right to one connection, and the connection where there is one.
pub(super) struct Lease<C> {
    pool: Arc<Pool<C>>,
    held: Option<Held<C>>,
    _place: OwnedSemaphorePermit,
}

struct Held<C> {
    connection: C,
    opened: Instant,
    /// When it was given back.
    rested: Instant,
    seat: Seat,
}

struct Counts {
    /// Connections that there are, in use or not.
    live: AtomicUsize,
    idle: Gauge,
    used: Gauge,
}

/// Counts a connection while it is there.
struct Seat {
    counts: Arc<Counts>,
    used: bool,
}

impl<C> Pool<C> {
    /// No connections yet.
    pub(super) fn new(settings: Settings, metrics: &Metrics) -> Self {
        let (idle, used) = (metrics.database_connections("idle"), metrics.database_connections("used"));
        Self {
            places: Arc::new(Semaphore::new(settings.max as usize)),
            idle: Mutex::new(Vec::new()),
            counts: Arc::new(Counts { live: AtomicUsize::new(0), idle, used }),
            settings,
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many connections there are.
    pub(super) fn live(&self) -> usize {
        self.counts.live.load(Ordering::Relaxed)
    }

    /// Waits for a place, and takes a connection that is idle where there is one.
    pub(super) async fn lease(self: &Arc<Self>) -> Lease<C> {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("it is never closed");
        let now = Instant::now();
        let mut idle = self.idle();
        let fresh = |held: &Held<C>| now.duration_since(held.opened) < self.settings.max_lifetime;
        let mut held = idle.pop().filter(fresh);
        if let Some(held) = &mut held {
            held.seat.is_used(true);
        }
        drop(idle);
        Lease { pool: Arc::clone(self), held, _place: place }
    }

    /// A place for one connection more, where fewer are there than `min`, or `anyway`, and a place is free.
    pub(super) fn lease_for_more(self: &Arc<Self>, anyway: bool) -> Option<Lease<C>> {
        let wanted = anyway || self.live() < self.settings.min as usize;
        let place = wanted.then(|| Arc::clone(&self.places).try_acquire_owned().ok())??;
        Some(Lease { pool: Arc::clone(self), held: None, _place: place })
    }

    /// Takes out those that have been there or idle for too long, for the caller to close.
    pub(super) fn take_old(&self) -> Vec<C> {
        let now = Instant::now();
        let mut spare = self.live().saturating_sub(self.settings.min as usize);
        let mut is_old = |held: &mut Held<C>| {
            let outlived = now.duration_since(held.opened) >= self.settings.max_lifetime;
            let superfluous = spare > 0 && now.duration_since(held.rested) >= self.settings.idle_timeout;
            spare -= usize::from(superfluous && !outlived);
            outlived || superfluous
        };
        self.idle().extract_if(.., |held| is_old(held)).map(|held| held.connection).collect()
    }

    /// Drops all that are idle: the server has gone, and has taken them with it.
    pub(super) fn forget_idle(&self) {
        let gone = std::mem::take(&mut *self.idle());
        drop(gone);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Held<C>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Lease<C> {
    /// The connection, where there is one.
    pub(super) fn connection(&mut self) -> Option<&mut C> {
        self.held.as_mut().map(|held| &mut held.connection)
    }

    /// Takes this new connection, in the place of any that it has.
    pub(super) fn fill(&mut self, connection: C) -> &mut C {
        let now = Instant::now();
        let seat = Seat::new(Arc::clone(&self.pool.counts));
        &mut self.held.insert(Held { connection, opened: now, rested: now, seat }).connection
    }

    /// Closes the connection and keeps the place.
    pub(super) fn drop_connection(&mut self) {
        self.held = None;
    }

    /// Gives the connection back. It must have answered all that it was asked.
    pub(super) fn give_back(mut self) {
        if let Some(mut held) = self.held.take() {
            held.rested = Instant::now();
            held.seat.is_used(false);
            self.pool.idle().push(held);
        }
    }
}

impl Seat {
    fn new(counts: Arc<Counts>) -> Self {
        counts.live.fetch_add(1, Ordering::Relaxed);
        counts.used.inc();
        Self { counts, used: true }
    }

    fn is_used(&mut self, used: bool) {
        if self.used != used {
            self.gauge().dec();
            self.used = used;
            self.gauge().inc();
        }
    }

    fn gauge(&self) -> &Gauge {
        if self.used { &self.counts.used } else { &self.counts.idle }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.gauge().dec();
        self.counts.live.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{advance, timeout};

    use super::*;

    fn pool(max: u32, min: u32) -> Arc<Pool<u32>> {
        let (idle_timeout, max_lifetime) = (Duration::from_secs(10), Duration::from_secs(100));
        let settings = Settings { max, min, timeout: Duration::from_secs(1), idle_timeout, max_lifetime };
        Arc::new(Pool::new(settings, &Metrics::new()))
    }

    /// Live, idle, used.
    fn counts(pool: &Pool<u32>) -> [i64; 3] {
        [i64::try_from(pool.live()).unwrap(), pool.counts.idle.get(), pool.counts.used.get()]
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_given_back_is_used_again_and_any_other_one_is_closed() {
        let pool = pool(2, 0);
        let mut lease = pool.lease().await;
        assert_eq!(lease.connection(), None);
        lease.fill(1);
        assert_eq!(counts(&pool), [1, 0, 1]);
        lease.give_back();
        assert_eq!(counts(&pool), [1, 1, 0]);
        let mut lease = pool.lease().await;
        assert_eq!(lease.connection(), Some(&mut 1));
        drop(lease);
        assert_eq!(counts(&pool), [0, 0, 0]);
        assert_eq!(pool.lease().await.connection(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_as_many_places_as_connections_at_most() {
        let pool = pool(2, 0);
        let (one, _two) = (pool.lease().await, pool.lease().await);
        assert!(timeout(Duration::from_secs(1), pool.lease()).await.is_err());
        drop(one);
        pool.lease().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_idle_or_old_is_taken_out_but_for_the_fewest() {
        let pool = pool(4, 1);
        let mut leases = Vec::new();
        for number in 0..3 {
            let mut lease = pool.lease().await;
            lease.fill(number);
            leases.push(lease);
        }
        for lease in leases {
            lease.give_back();
            advance(Duration::from_secs(4)).await;
        }
        assert_eq!(pool.take_old(), [0], "the others were used in the last ten seconds");
        advance(Duration::from_secs(20)).await;
        assert_eq!(pool.take_old(), [1], "one is kept");
        assert!(pool.lease_for_more(false).is_none());
        advance(Duration::from_secs(100)).await;
        assert_eq!(pool.lease().await.connection(), None, "it has lived too long");
        assert!(pool.lease_for_more(false).is_some());
    }
}
