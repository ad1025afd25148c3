//! What is counted by tenant: for the busiest ones by name, and for all others together.
//!
//! There may be any number of tenants, and a metric must not grow with them. So a fixed number of places is shown. While
//! there are free ones, whoever comes takes one; after that a tenant gets in by having been more than twice as busy, over a
//! whole period, as the least busy one shown, which then goes. A series that has gone is gone, and is not added to the others': what
//! had been counted once would look like new traffic. One that comes back starts at zero, which Prometheus reads as the
//! restart of a counter. So each series is right for as long as it lasts, and `sum(rate(...))` is right throughout.
//!
//! Invariant: a series never decreases. Memory depends on how many places there are and whose sessions are connected,
//! not on how many tenants have ever been. On an event's way there is no lock: a lane counts by a [`Tally`] of its own,
//! which locks only where who is shown changes.

mod frequent;
mod shown;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use self::shown::Shown;
use crate::event::TenantId;

pub use self::tally::Tally;

/// Tenants that are shown by name.
pub const SHOWN_TENANTS: usize = 50;
/// How often it is looked whether others have become busier than those.
const PERIOD: Duration = Duration::from_mins(1);

/// What is counted of one tenant while it is shown, or of all others.
#[derive(Debug, Default)]
pub struct Account {
    events: AtomicU64,
    deliveries: AtomicU64,
    drops: AtomicU64,
}

/// What there is to show of one tenant, or, without a name, of all others and of what belongs to none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Whose.
    pub tenant: Option<TenantId>,
    /// Events that came in.
    pub events: u64,
    /// Frames handed to connections.
    pub deliveries: u64,
    /// Events that were dropped.
    pub drops: u64,
    /// Sessions that are connected.
    pub sessions: u64,
}

/// All tenants. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tenants(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Counts changes of who is shown, so that tallies notice them.
    generation: AtomicU64,
    full: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shown: Shown,
    /// The accounts of those that are shown, as tallies take them.
    accounts: Arc<HashMap<TenantId, Arc<Account>>>,
    /// What each tally counts of all others.
    rest: Vec<Arc<Account>>,
    /// Sessions by tenant, shown or not: so many as are connected now.
    sessions: HashMap<TenantId, u64>,
    all_sessions: u64,
    period_ends: Option<Instant>,
}

impl Account {
    /// So many frames of its events were handed to connections.
    pub fn delivered(&self, frames: u64) {
        self.deliveries.fetch_add(frames, Ordering::Relaxed);
    }

    /// One of its events was dropped.
    pub fn dropped(&self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }

    fn event(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}

impl Tenants {
    /// What one lane counts by.
    pub fn tally(&self) -> Tally {
        let rest = Arc::new(Account::default());
        self.state().rest.push(Arc::clone(&rest));
        Tally::new(self.clone(), rest)
    }

    /// A session of this tenant has come.
    pub fn joined(&self, tenant: &TenantId) {
        let mut state = self.state();
        *state.sessions.entry_ref(tenant).or_default() += 1;
        state.all_sessions += 1;
        self.claim(&mut state, tenant);
    }

    /// A session of this tenant has gone.
    pub fn left(&self, tenant: &TenantId) {
        let mut state = self.state();
        let Some(sessions) = state.sessions.get_mut(tenant) else { return };
        *sessions -= 1;
        if *sessions == 0 {
            state.sessions.remove(tenant);
        }
        state.all_sessions -= 1;
    }

    /// What there is to show: the tenants by name, in order, and then the rest.
    pub fn read(&self) -> Vec<Reading> {
        let state = self.state();
        let mut others = state.all_sessions;
        let mut readings: Vec<Reading> = Vec::with_capacity(SHOWN_TENANTS + 1);
        for (tenant, account) in state.accounts.iter() {
            let sessions = state.sessions.get(tenant).copied().unwrap_or_default();
            others -= sessions;
            readings.push(Reading::of(Some(tenant.clone()), [account], sessions));
        }
        readings.sort_unstable_by(|a, b| a.tenant.cmp(&b.tenant));
        readings.push(Reading::of(None, &state.rest, others));
        readings
    }

    fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    fn has_room(&self) -> bool {
        !self.0.full.load(Ordering::Relaxed)
    }

    /// The accounts of those that are shown, and which generation that is.
    fn accounts(&self) -> (u64, Arc<HashMap<TenantId, Arc<Account>>>) {
        let state = self.state();
        (self.generation(), Arc::clone(&state.accounts))
    }

    /// Shows this tenant from now on, where there is room.
    fn claim(&self, state: &mut State, tenant: &TenantId) {
        if self.has_room() && state.shown.claim(tenant) {
            self.changed(state);
        }
    }

    fn claim_room(&self, tenant: &TenantId) {
        self.claim(&mut self.state(), tenant);
    }

    /// A tally's busiest tenants of a period, with their events, which are not shown.
    fn challenge(&self, challengers: Vec<(TenantId, u64)>, now: Instant) {
        let mut state = self.state();
        if state.period_ends.is_none_or(|end| end <= now) {
            if state.period_ends.is_some() {
                state.shown.end_period();
            }
            state.period_ends = Some(now + PERIOD);
        }
        let mut changed = false;
        for (tenant, events) in challengers {
            changed |= state.shown.challenge(&tenant, events);
        }
        if changed {
            self.changed(&mut state);
        }
    }

    fn changed(&self, state: &mut State) {
        state.accounts = Arc::new(state.shown.accounts());
        self.0.full.store(state.shown.is_full(), Ordering::Relaxed);
        self.0.generation.fetch_add(1, Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    fn of<'a>(tenant: Option<TenantId>, accounts: impl IntoIterator<Item = &'a Arc<Account>>, sessions: u64) -> Self {
        let mut reading = Self { tenant, events: 0, deliveries: 0, drops: 0, sessions };
        for account in accounts {
            reading.events += account.events();
            reading.deliveries += account.deliveries.load(Ordering::Relaxed);
            reading.drops += account.drops.load(Ordering::Relaxed);
        }
        reading
    }
}
