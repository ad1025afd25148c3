//! Lanes: router threads. A tenant always maps to the same lane, which keeps its order.

use std::hash::BuildHasher;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::event::TenantId;
use crate::shard::AuthorizeRequest;
use crate::source::Delivery;

/// The handle to all lanes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lanes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lanes: Box<[LaneHandle]>,
    /// One for all: two hashers of this kind do not agree.
    hasher: hashbrown::DefaultHashBuilder,
}

#[derive(Debug)]
struct LaneHandle {
    /// Bounded: a full lane stops reading its sources.
    events: mpsc::Sender<Delivery>,
    /// Bounded by what shards have connections: each has one request under way at most.
    requests: mpsc::Sender<AuthorizeRequest>,
}

impl Lanes {
    /// One lane that is a plain channel of this capacity: for tests of what feeds lanes.
    #[doc(hidden)]
    pub fn to_channel(capacity: usize) -> (Self, mpsc::Receiver<Delivery>) {
        let (events, receiver) = mpsc::channel(capacity);
        let (requests, _) = mpsc::channel(1);
        let lanes = Box::new([LaneHandle { events, requests }]);
        (Self(Arc::new(Inner { lanes, hasher: hashbrown::DefaultHashBuilder::default() })), receiver)
    }

    /// Hands an event to its tenant's lane, waiting while that is full. `false` where the lanes are gone.
    pub async fn send(&self, delivery: Delivery) -> bool {
        self.of(delivery.event.tenant()).events.send(delivery).await.is_ok()
    }

    /// As [`send`](Self::send), but gives the event back where the lane is full or gone.
    pub fn try_send(&self, delivery: Delivery) -> Result<(), Delivery> {
        self.of(delivery.event.tenant()).events.try_send(delivery).map_err(|error| error.into_inner())
    }

    /// Asks whether a session may subscribe; the answer goes to its shard. Gives the request back where the lane is
    /// full or gone.
    pub fn authorize(&self, request: AuthorizeRequest) -> Result<(), AuthorizeRequest> {
        self.of(Some(&request.tenant)).requests.try_send(request).map_err(|error| error.into_inner())
    }

    fn of(&self, tenant: Option<&TenantId>) -> &LaneHandle {
        let hash = tenant.map_or(0, |tenant| self.0.hasher.hash_one(tenant));
        let index = usize::try_from(hash % self.0.lanes.len() as u64).expect("a remainder of a usize");
        &self.0.lanes[index]
    }
}
