//! Which tenants are shown by name: decided here, without clock and lock.
//!
//! Invariant: at most [`SHOWN_TENANTS`] at once. Whoever is shown keeps one account until it is shown no longer, and
//! gets a fresh one should it come back.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Account, SHOWN_TENANTS};
use crate::event::TenantId;

/// Those that are shown.
#[derive(Debug, Default)]
pub(super) struct Shown(HashMap<TenantId, Place>);

#[derive(Debug, Default)]
struct Place {
    account: Arc<Account>,
    /// Events until the last period's end.
    seen: u64,
    /// How busy it is: the events of a period, smoothed over the last ones. `None` before the first one has ended.
    busy: Option<u64>,
}

impl Shown {
    /// Shows this tenant where there is room and it is not shown. Whether that is so.
    pub(super) fn claim(&mut self, tenant: &TenantId) -> bool {
        let comes = !self.is_full() && !self.0.contains_key(tenant);
        if comes {
            self.0.insert(tenant.clone(), Place::default());
        }
        comes
    }

    /// A period has ended.
    pub(super) fn end_period(&mut self) {
        for place in self.0.values_mut() {
            let events = place.account.events();
            let now = events - std::mem::replace(&mut place.seen, events);
            place.busy = Some(place.busy.map_or(now, |before| (before + now).div_ceil(2)));
        }
    }

    /// A tenant that is not shown had so many events in the last period: it is shown from now on where there is room, or
    /// where the least busy of those shown has been less than half as busy: two that are about as busy as each other shall
    /// not take each other's place at every turn.
    pub(super) fn challenge(&mut self, tenant: &TenantId, events: u64) -> bool {
        if self.0.contains_key(tenant) {
            return false;
        }
        if self.is_full() {
            // Among equals, the last by name: so that it does not depend on the order of a hash table.
            let least = self.0.iter().min_by(|a, b| a.1.now_busy().cmp(&b.1.now_busy()).then_with(|| b.0.cmp(a.0)));
            let Some((least, _)) = least.filter(|(_, place)| place.now_busy().saturating_mul(2) < events) else {
                return false;
            };
            let least = least.clone();
            self.0.remove(&least);
        }
        self.0.insert(tenant.clone(), Place { busy: Some(events), ..Place::default() });
        true
    }

    /// Whether there is no room.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= SHOWN_TENANTS
    }

    /// All that are shown.
    pub(super) fn accounts(&self) -> HashMap<TenantId, Arc<Account>> {
        self.0.iter().map(|(tenant, place)| (tenant.clone(), Arc::clone(&place.account))).collect()
    }
}

impl Place {
    /// As busy as it has been, and as it is in the period that has begun.
    fn now_busy(&self) -> u64 {
        self.busy.unwrap_or_default().max(self.account.events() - self.seen)
    }
}
