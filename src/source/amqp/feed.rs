//! From a broker's delivery to the door that all sources share.

use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::watch;

use super::handed::Handed;
use super::topology;
use crate::config::Queue;
use crate::event::{Envelope, Scalar};
use crate::lane::{Delivery, Receipt};
use crate::observe::{DropCause, Metrics, QueueMeter, SourceKind};
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
    /// By queue; none where a queue goes with its connection, or owes nothing: nothing of it comes again.
    pub(super) handed: Arc<[Option<Handed>]>,
    /// By queue.
    pub(super) meters: Arc<[QueueMeter]>,
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
    /// `instance` is the part of queues' names that is another one at each start: metrics call it `{instance}`.
    pub(super) fn new(intake: Intake, metrics: &Arc<Metrics>, stop: Stop, queues: &[Queue], instance: &str) -> Self {
        let meter = |queue: &Queue| match instance {
            "" => metrics.queue(&queue.name),
            _ => metrics.queue(&queue.name.replace(instance, "{instance}")),
        };
        let handed = |queue: &Queue| (!queue.exclusive && !queue.no_ack).then(|| Handed::new(queue.prefetch));
        let too_large = metrics.rejected(SourceKind::amqp, "too_large");
        let (shed, repeated) = (metrics.drops(DropCause::shed), metrics.drops(DropCause::repeated));
        let (handed, meters) = (queues.iter().map(handed).collect(), queues.iter().map(meter).collect());
        Self { intake, stop, shed, repeated, handed, meters, too_large }
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
