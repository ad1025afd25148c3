//! Where events come in: the broker, or HTTP publish.

pub mod amqp;
pub mod publish;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::event::{DecodeError, Envelope, Event};
use crate::lane::Lanes;
use crate::observe::{Metrics, SourceKind};
use crate::reload::{Live, Rulebook};

/// The door that all sources share: decodes by the rulebook in force, counts, hands to the lanes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    live: Live,
    lanes: Lanes,
    metrics: Arc<Metrics>,
    source: SourceKind,
    accepted: prometheus_client::metrics::counter::Counter,
}

impl Intake {
    /// A door for events of this source.
    pub fn new(live: Live, lanes: Lanes, metrics: Arc<Metrics>, source: SourceKind) -> Self {
        let accepted = metrics.events(source);
        Self { live, lanes, metrics, source, accepted }
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
        let rulebook = self.live.load();
        match rulebook.decoder.decode(body, envelope, received) {
            Ok(event) => Ok(Delivery { event, rulebook, receipt }),
            Err(error) => {
                self.metrics.rejected(self.source, error.cause()).inc();
                tracing::warn!(source = ?self.source, routing_key = envelope.routing_key, %error, "event rejected");
                Err(error)
            }
        }
    }

    /// Hands an event to its tenant's lane, waiting while that is full. `false` where the lanes have ended.
    pub async fn send(&self, delivery: Delivery) -> bool {
        self.lanes.send(delivery).await
    }

    /// As [`send`](Self::send), but gives the event back where the lane is full or has ended.
    #[expect(clippy::result_large_err, reason = "the event itself comes back, and is tried again")]
    pub fn try_send(&self, delivery: Delivery) -> Result<(), Delivery> {
        self.lanes.try_send(delivery)
    }
}

/// One event on its way to a lane, with the rulebook that decides it and its fate at the broker.
#[derive(Debug)]
#[must_use = "an event that is not sent on is lost"]
pub struct Delivery {
    /// The event.
    pub event: Event,
    /// The one generation that decoded it and will route it.
    pub rulebook: Arc<Rulebook>,
    /// Settled when it is dropped: once the event has been handed to the shards, or there is nobody to hand it to.
    pub receipt: Receipt,
}

/// A promise to tell the source that an event is done with. Told by being dropped.
#[derive(Debug, Default)]
pub struct Receipt(Option<(u64, mpsc::Sender<u64>)>);

impl Receipt {
    /// A receipt for the delivery of this tag. `settled` must have room for as many tags as can be out.
    pub fn new(tag: u64, settled: mpsc::Sender<u64>) -> Self {
        Self(Some((tag, settled)))
    }

    /// For a source that does not care.
    pub const fn none() -> Self {
        Self(None)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some((tag, settled)) = self.0.take() {
            // There is room for all that can be out; a closed channel means that the connection is gone, and with it
            // what it waited for.
            settled.try_send(tag).ok();
        }
    }
}
