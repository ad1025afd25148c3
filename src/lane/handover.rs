//! From a decision to the shards: encoded once, for those that have sessions of whom it is for.

use std::sync::Arc;

use super::Receipt;
use crate::event::{Audience, Event, Scope};
use crate::observe::Account;
use crate::route::Decision;
use crate::shard::{Interest, Routed, ShardSet};
use crate::wire::event_frame;

/// A decided event whose turn has come.
#[derive(Debug)]
#[must_use = "an event that is not handed to the shards is lost"]
pub struct Handover {
    decision: Decision,
    receipt: Receipt,
    account: Arc<Account>,
}

/// What the shards get.
#[derive(Debug)]
pub struct Addressed {
    /// The event, encoded, and who gets it.
    pub routed: Arc<Routed>,
    /// The shards that have sessions which it may be for. Never empty.
    pub shards: ShardSet,
}

impl Handover {
    pub(super) fn new(decision: Decision, receipt: Receipt, account: Arc<Account>) -> Self {
        Self { decision, receipt, account }
    }

    /// The event.
    pub fn event(&self) -> &Event {
        self.decision.event()
    }

    /// What goes to which shards of `all`, and the receipt, to be dropped once they have it. `None` where no shard
    /// has anyone whom it could be for: then nothing is encoded. Else all that is for somebody is, as a shard may get the
    /// first session of its tenant before it gets the event.
    pub fn address(self, interest: &Interest, all: ShardSet) -> (Option<Addressed>, Receipt) {
        let Self { decision, receipt, account } = self;
        let (event, audiences) = decision.into_audiences();
        let of = |audience: &Audience| match audience.scope() {
            Scope::Tenant(tenant) => interest.of(tenant),
            Scope::EveryTenant => all,
        };
        let shards = audiences.iter().map(of).fold(ShardSet::default(), ShardSet::union);
        let addressed = (!shards.is_empty()).then(|| {
            let routed = Routed::new(audiences, event.received(), account, |payload| {
                event_frame(event.id(), &payload.of(&event))
            });
            Addressed { routed: Arc::new(routed), shards }
        });
        (addressed, receipt)
    }
}
