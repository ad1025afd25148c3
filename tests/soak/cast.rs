//! Who and what there is: tenants with their users, topics and records, and the queue that each tenant's events take.

/// Customers. Half of their events go by either queue.
pub(crate) const TENANTS: u8 = 8;
/// Of each tenant.
pub(crate) const USERS: u8 = 10;
/// Of each tenant.
pub(crate) const TOPICS: u8 = 20;
/// Of each tenant.
pub(crate) const RECORDS: u8 = 20;

/// How a tenant's events come to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// As shipped: the queue is the connection's own and goes with it, so what is published meanwhile is lost.
    Live,
    /// Durable: it outlives a lost connection and the broker itself, so nothing may be lost, and nothing come twice.
    Kept,
}

/// Users of one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserSet(u16);

impl Queue {
    /// That of a tenant.
    pub(crate) fn of(tenant: u8) -> Self {
        if tenant < TENANTS / 2 { Self::Live } else { Self::Kept }
    }

    /// Its name, and its routing key.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Kept => "kept",
        }
    }
}

impl UserSet {
    /// Some of them, as chance will.
    pub(crate) fn random(rng: &mut fastrand::Rng) -> Self {
        Self(rng.u16(..1 << USERS))
    }

    /// Who may see a record at the beginning.
    pub(crate) fn initial(tenant: u8, record: u8) -> Self {
        Self::random(&mut fastrand::Rng::with_seed(u64::from(tenant) << 8 | u64::from(record)))
    }

    pub(crate) fn has(self, user: u8) -> bool {
        self.0 & (1 << user) != 0
    }

    pub(crate) fn users(self) -> impl Iterator<Item = u8> {
        (0..USERS).filter(move |user| self.has(*user))
    }

    pub(crate) fn without(self, user: u8) -> Self {
        Self(self.0 & !(1 << user))
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

pub(crate) fn token(tenant: u8, user: u8) -> String {
    format!("token-{tenant}-{user}")
}

/// A tenant's name in events.
pub(crate) fn tenant_name(tenant: u8) -> String {
    format!("t{tenant}")
}
