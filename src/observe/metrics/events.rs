//! Events on their way: in, decided, dropped, delivered.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::{DropCause, Metrics, SourceKind};
use crate::observe::LatencyHistogram;

#[derive(Debug)]
pub(super) struct EventMetrics {
    received: Family<BySource, Counter>,
    rejected: Family<Rejected, Counter>,
    decisions: Family<ByRoute, Counter>,
    drops: Family<ByCause, Counter>,
    deliveries: Counter,
    latency: LatencyHistogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySource {
    source: SourceKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejected {
    source: SourceKind,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCause {
    cause: DropCause,
}

impl EventMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self {
            received: Family::default(),
            rejected: Family::default(),
            decisions: Family::default(),
            drops: Family::default(),
            deliveries: Counter::default(),
            latency: LatencyHistogram::default(),
        };
        r.register("events_received", "Events that came in and were valid", own.received.clone());
        r.register("events_rejected", "Bodies that were no valid event", own.rejected.clone());
        r.register("decisions", "Events that a route decided", own.decisions.clone());
        r.register("drops", "Events, or frames for one connection, that were dropped", own.drops.clone());
        r.register("deliveries", "Frames handed to connections", own.deliveries.clone());
        r.register_with_unit(
            "consume_to_write",
            "From reception of an event to the write of its last frame on a shard",
            Unit::Seconds,
            own.latency.clone(),
        );
        own
    }
}

impl Metrics {
    /// Events of this source that were valid.
    pub fn events(&self, source: SourceKind) -> Counter {
        self.events.received.get_or_create_owned(&BySource { source })
    }

    /// Bodies of this source that were no event, by a cause of a closed set.
    pub fn rejected(&self, source: SourceKind, cause: &'static str) -> Counter {
        self.events.rejected.get_or_create_owned(&Rejected { source, cause })
    }

    /// Events that this route decided.
    pub fn decisions(&self, route: &str) -> Counter {
        self.events.decisions.get_or_create_owned(&ByRoute { route: route.to_owned() })
    }

    /// What was dropped for this cause.
    pub fn drops(&self, cause: DropCause) -> Counter {
        self.events.drops.get_or_create_owned(&ByCause { cause })
    }

    /// Frames put into outboxes: one event to three connections is three.
    pub fn deliveries(&self) -> &Counter {
        &self.events.deliveries
    }

    /// From reception of an event to the write of its last frame on a shard.
    pub fn latency(&self) -> &LatencyHistogram {
        &self.events.latency
    }
}
