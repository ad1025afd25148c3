//! Whose queries may run at once: the connections are for all tenants, and one whose queries are slow shall not hold
//! them all.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use hashbrown::HashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::event::TenantId;

/// The shares of a pool: a tenant has a quarter at most, all tenants together three. The rest is for what has no tenant,
/// authentication above all. Of a single connection there are no parts.
#[derive(Debug)]
pub(super) struct Shares {
    each: usize,
    tenants: Semaphore,
    /// By tenant, while it has queries under way or waiting.
    own: Mutex<HashMap<TenantId, Weak<Semaphore>>>,
}

/// A place for one query, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    _of_all: SemaphorePermit<'a>,
    _own: OwnedSemaphorePermit,
}

impl Shares {
    /// The shares of so many connections.
    pub(super) fn new(connections: usize) -> Self {
        let quarter = connections / 4;
        Self {
            each: quarter.max(1),
            tenants: Semaphore::new((connections - quarter).max(1)),
            own: Mutex::new(HashMap::new()),
        }
    }

    /// Waits for a place. What has no tenant needs none.
    pub(super) async fn place(&self, tenant: Option<&TenantId>) -> Option<Place<'_>> {
        let own = self.own(tenant?);
        // First a tenant's own: its queries queue up behind each other, and not before those of others. An error means
        // that the semaphore was closed, which nobody does.
        let own = own.acquire_owned().await.ok()?;
        let of_all = self.tenants.acquire().await.ok()?;
        Some(Place { _of_all: of_all, _own: own })
    }

    fn own(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut table = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = table.get(tenant).and_then(Weak::upgrade) {
            return own;
        }
        // A table that is full is swept before it grows: it holds those that are at work, not those that have been.
        if table.len() == table.capacity() {
            table.retain(|_, own| own.strong_count() > 0);
        }
        let own = Arc::new(Semaphore::new(self.each));
        table.insert(tenant.clone(), Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    /// Whether there is a place at once.
    async fn place<'a>(shares: &'a Shares, name: &str) -> Option<Place<'a>> {
        timeout(Duration::ZERO, shares.place(Some(&tenant(name)))).await.ok().flatten()
    }

    #[tokio::test]
    async fn a_tenant_has_its_quarter_and_all_together_three() {
        let shares = Shares::new(8);
        let mut held = Vec::new();
        for name in ["a", "b", "c"] {
            held.push([place(&shares, name).await.unwrap(), place(&shares, name).await.unwrap()]);
            assert!(place(&shares, name).await.is_none(), "{name} has its share");
        }
        assert!(place(&shares, "d").await.is_none(), "what is left is not for tenants");
        assert!(shares.place(None).await.is_none(), "and what is not a tenant's needs no place");
        held.remove(0);
        assert!(place(&shares, "d").await.is_some());
    }

    #[tokio::test]
    async fn who_is_not_at_work_is_forgotten() {
        let shares = Shares::new(1);
        for number in 0..1_000 {
            place(&shares, &number.to_string()).await.unwrap();
        }
        assert!(shares.own.lock().unwrap().len() < 10);
    }
}
