//! Which shards have sessions of a tenant: the one table that shards write and lanes read.
//!
//! The only lock on an event's way. It is written when a shard's first session of a tenant comes and its last one goes,
//! and read once an event. A shard writes it before the session is told that it is connected, so that an event
//! published after that reaches it.

use std::sync::{PoisonError, RwLock};

use hashbrown::HashMap;

use super::ShardId;
use crate::event::TenantId;

/// The table.
#[derive(Debug, Default)]
pub struct Interest(RwLock<HashMap<TenantId, ShardSet>>);

/// A set of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(u64);

impl Interest {
    /// The shards that have sessions of this tenant.
    pub fn of(&self, tenant: &TenantId) -> ShardSet {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(tenant).copied().unwrap_or_default()
    }

    /// All tenants that have sessions.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// A shard has its first session of this tenant.
    pub fn join(&self, shard: ShardId, tenant: &TenantId) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.entry_ref(tenant).or_default().0 |= shard.bit();
    }

    /// A shard's last session of this tenant has gone.
    pub fn leave(&self, shard: ShardId, tenant: &TenantId) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = table.get_mut(tenant) {
            set.0 &= !shard.bit();
            if set.0 == 0 {
                table.remove(tenant);
            }
        }
    }
}

impl ShardSet {
    /// The first `count` shards, of at most [`ShardId::MAX`].
    pub fn first(count: usize) -> Self {
        Self(ShardId::first(count).fold(0, |set, shard| set | shard.bit()))
    }

    /// The shards of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The shards, in order.
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        ShardId::first(usize::from(ShardId::MAX)).filter(move |shard| self.0 & shard.bit() != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_known_while_a_shard_has_its_sessions() {
        let (interest, acme) = (Interest::default(), TenantId::new("acme").unwrap());
        let (first, last) = (ShardId::new(0), ShardId::new(ShardId::MAX - 1));
        interest.join(first, &acme);
        interest.join(last, &acme);
        assert_eq!(interest.of(&acme).iter().collect::<Vec<_>>(), [first, last]);
        interest.leave(first, &acme);
        interest.leave(last, &acme);
        assert!(interest.of(&acme).is_empty());
        assert_eq!(interest.tenants(), []);
    }
}
