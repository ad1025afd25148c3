//! What one lane counts its tenants' events by.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;

use super::frequent::Frequent;
use super::{Account, PERIOD, SHOWN_TENANTS, Tenants};
use crate::event::TenantId;

/// Tenants that are not shown and are looked at, for whether they have become busy. A tenant with a thousandth of the
/// lane's events is surely among them.
const CANDIDATES: usize = 1_000;

/// A lane's own view of the tenants. It locks what is shared only where who is shown has changed, and once a period.
pub struct Tally {
    tenants: Tenants,
    generation: u64,
    accounts: Arc<HashMap<TenantId, Arc<Account>>>,
    /// Of all that are not shown.
    rest: Arc<Account>,
    candidates: Frequent<TenantId>,
    period_ends: Option<Instant>,
}

impl Tally {
    pub(super) fn new(tenants: Tenants, rest: Arc<Account>) -> Self {
        let (generation, accounts) = tenants.accounts();
        Self { tenants, generation, accounts, rest, candidates: Frequent::new(CANDIDATES), period_ends: None }
    }

    /// Counts an event of this tenant, which came `now`, and answers where to count what becomes of it.
    pub fn event(&mut self, tenant: Option<&TenantId>, now: Instant) -> Arc<Account> {
        if self.period_ends.is_none_or(|end| end <= now) {
            self.end_period(now);
        }
        let account = tenant.and_then(|tenant| self.account(tenant)).unwrap_or_else(|| Arc::clone(&self.rest));
        account.event();
        account
    }

    fn account(&mut self, tenant: &TenantId) -> Option<Arc<Account>> {
        self.refresh();
        if let Some(account) = self.accounts.get(tenant) {
            return Some(Arc::clone(account));
        }
        if self.tenants.has_room() {
            self.tenants.claim_room(tenant);
            self.refresh();
            // Others may have taken the last place.
            if let Some(account) = self.accounts.get(tenant) {
                return Some(Arc::clone(account));
            }
        }
        self.candidates.add(tenant);
        None
    }

    fn end_period(&mut self, now: Instant) {
        let challengers = self.candidates.take(SHOWN_TENANTS);
        // Also where there are none: somebody has to say that the time is over.
        self.tenants.challenge(challengers, now);
        self.period_ends = Some(now + PERIOD);
    }

    fn refresh(&mut self) {
        if self.tenants.generation() != self.generation {
            (self.generation, self.accounts) = self.tenants.accounts();
        }
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally").field("generation", &self.generation).finish_non_exhaustive()
    }
}
