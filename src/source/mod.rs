//! Where events come in: the broker, or HTTP publish.

pub mod amqp;
pub mod publish;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;

use crate::event::{DecodeError, Envelope};
use crate::lane::{Delivery, Lanes, Receipt};
use crate::observe::{Metrics, SourceKind, Throttle};
use crate::reload::Live;

/// Bad events that are logged in a second. All are counted.
const REJECTIONS: u64 = 50;

/// The door that all sources share: decodes by the rulebook in force, counts, hands to the lanes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    live: Live,
    lanes: Lanes,
    metrics: Arc<Metrics>,
    source: SourceKind,
    rejections: Arc<Throttle>,
    accepted: Counter,
    bytes: Counter,
    closed: Arc<AtomicBool>,
    large: publish::LargeBodies,
}

impl Intake {
    /// A door for events of this source.
    pub fn new(live: Live, lanes: Lanes, metrics: Arc<Metrics>, source: SourceKind) -> Self {
        let (accepted, bytes) = (metrics.events(source), metrics.received_bytes(source));
        let rejections = Arc::new(Throttle::of(REJECTIONS, Duration::from_secs(1)));
        let (closed, large) = (Arc::default(), publish::LargeBodies::default());
        Self { live, lanes, metrics, source, rejections, accepted, bytes, closed, large }
    }

    /// There is nobody left whom an event could reach: what comes by HTTP from now on is refused.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Bytes of the largest event that the rulebook in force takes.
    pub fn largest_event(&self) -> usize {
        self.live.load().decoder.largest()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Decodes a body that came in just now. A bad one is counted, logged, and settled by its receipt's end.
    pub fn decode(&self, body: Bytes, envelope: Envelope<'_>, receipt: Receipt) -> Result<Delivery, DecodeError> {
        let delivery = self.decode_uncounted(body, envelope, receipt)?;
        self.accepted.inc();
        Ok(delivery)
    }

    /// As [`decode`](Self::decode), but a good one is not counted yet: for several that are taken together or not at all.
    fn decode_uncounted(&self, body: Bytes, envelope: Envelope<'_>, receipt: Receipt) -> Result<Delivery, DecodeError> {
        #[expect(clippy::disallowed_methods, reason = "the edge: an event's life begins here")]
        let received = Instant::now();
        self.bytes.inc_by(body.len() as u64);
        let rulebook = self.live.load();
        match rulebook.decoder.decode(body, envelope, received) {
            Ok(event) => Ok(Delivery { event, rulebook, receipt }),
            Err(error) => {
                self.metrics.rejected(self.source, error.cause()).inc();
                if let Some(held_back) = self.rejections.admit() {
                    let routing_key = envelope.routing_key;
                    tracing::warn!(source = ?self.source, routing_key, %error, held_back, "event rejected");
                }
                Err(error)
            }
        }
    }

    /// Hands an event to its tenant's lane, waiting while that is full. `false` where the lanes have ended.
    pub async fn send(&self, delivery: Delivery) -> bool {
        self.lanes.send(delivery).await
    }

    /// As [`send`](Self::send), but gives the event back where the lane is full or has ended.
    pub fn try_send(&self, delivery: Delivery) -> Result<(), Delivery> {
        self.lanes.try_send(delivery)
    }
}
