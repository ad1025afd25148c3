//! From a broker's delivery to the door that all sources share.

use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::watch;

use super::topology;
use crate::event::{Envelope, Scalar};
use crate::lane::{Delivery, Receipt};
use crate::observe::{DropCause, Metrics, SourceKind};
use crate::source::Intake;

/// Bytes of a body at most. The broker would let 128 MiB pass.
const LARGEST_BODY: usize = 16 << 20;

/// What the consumers of all queues need. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub(super) intake: Intake,
    pub(super) stop: Stop,
    pub(super) shed: Counter,
    pub(super) repeated: Counter,
    too_large: Counter,
}

/// The word that it is time to stop.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Says it when the channel does, or when that is gone.
    pub(super) fn new(channel: watch::Receiver<bool>) -> Self {
        Self(channel)
    }

    /// Waits for it.
    pub(super) async fn requested(&mut self) {
        self.0.wait_for(|stop| *stop).await.ok();
    }
}

impl Feed {
    /// Until `stop` says that it is time.
    pub(super) fn new(intake: Intake, metrics: &Arc<Metrics>, stop: Stop) -> Self {
        let too_large = metrics.rejected(SourceKind::amqp, "too_large");
        let (shed, repeated) = (metrics.drops(DropCause::shed), metrics.drops(DropCause::repeated));
        Self { intake, stop, shed, repeated, too_large }
    }

    /// The same, until another word.
    pub(super) fn until(&self, stop: Stop) -> Self {
        Self { stop, ..self.clone() }
    }

    /// The event of a delivery. `None` for a bad one, which is counted, logged, and settled already.
    pub(super) fn decode(&self, delivery: lapin::message::Delivery, receipt: Receipt) -> Option<Delivery> {
        let lapin::message::Delivery { data, routing_key, properties, exchange, .. } = delivery;
        if data.len() > LARGEST_BODY {
            self.too_large.inc();
            let (exchange, routing_key) = (exchange.as_str(), routing_key.as_str());
            tracing::warn!(
                exchange,
                routing_key,
                bytes = data.len(),
                largest = LARGEST_BODY,
                "event rejected: too large"
            );
            return None;
        }
        let headers = properties.headers().as_ref();
        let header =
            |name: &str| headers.and_then(|headers| headers.inner().get(name)).map_or(Scalar::Null, topology::header);
        let all = || {
            let headers = headers.iter().flat_map(|headers| headers.inner().iter());
            headers.map(|(name, value)| (name.as_str().into(), topology::header(value))).collect()
        };
        let envelope = Envelope { routing_key: Some(routing_key.as_str()), header: &header, headers: &all };
        self.intake.decode(Bytes::from(data), envelope, receipt).ok()
    }
}
