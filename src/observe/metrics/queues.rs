//! The broker's queues, by their names in the configuration.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Metrics, signed};

#[derive(Debug)]
pub(super) struct QueueMetrics {
    messages: Family<ByQueue, Counter>,
    unacknowledged: Family<ByQueue, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByQueue {
    queue: String,
}

/// What comes of one queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct QueueMeter {
    messages: Counter,
    unacknowledged: Gauge,
}

impl QueueMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self { messages: Family::default(), unacknowledged: Family::default() };
        r.register(
            "queue_messages",
            "Messages that came from this queue, bad and repeated ones too",
            own.messages.clone(),
        );
        r.register(
            "queue_unacknowledged",
            "Messages of this queue that came and are not acknowledged",
            own.unacknowledged.clone(),
        );
        own
    }
}

impl Metrics {
    /// What comes of the queue of this name.
    pub fn queue(&self, queue: &str) -> QueueMeter {
        let by = ByQueue { queue: queue.to_owned() };
        QueueMeter {
            messages: self.queues.messages.get_or_create_owned(&by),
            unacknowledged: self.queues.unacknowledged.get_or_create_owned(&by),
        }
    }
}

impl QueueMeter {
    /// A message came.
    pub fn message(&self) {
        self.messages.inc();
    }

    /// So many messages more wait for their acknowledgement.
    pub fn owed(&self, count: usize) {
        self.unacknowledged.inc_by(signed(count));
    }

    /// So many messages wait for it no more.
    pub fn owed_no_more(&self, count: usize) {
        self.unacknowledged.dec_by(signed(count));
    }
}
