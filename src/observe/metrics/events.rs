//! Events on their way: in, decided, dropped, delivered.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::{DropCause, Metrics, RoutedOutcome, SourceKind};
use crate::observe::LatencyHistogram;

#[derive(Debug)]
pub(super) struct EventMetrics {
    received: Family<BySource, Counter>,
    rejected: Family<Rejected, Counter>,
    bytes: Family<BySource, Counter>,
    routed: Family<Routed, Counter>,
    decisions: Family<ByRoute, Counter>,
    failures: Family<Failed, Counter>,
    drops: Family<ByCause, Counter>,
    deliveries: Counter,
    decision_latency: LatencyHistogram,
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
struct Routed {
    outcome: RoutedOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    route: String,
    cause: DropCause,
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
            bytes: Family::default(),
            routed: Family::default(),
            decisions: Family::default(),
            failures: Family::default(),
            drops: Family::default(),
            deliveries: Counter::default(),
            decision_latency: LatencyHistogram::default(),
            latency: LatencyHistogram::default(),
        };
        r.register("events_received", "Events that came in and were valid", own.received.clone());
        r.register("events_rejected", "Bodies that were no valid event, by what was wrong", own.rejected.clone());
        r.register_with_unit("received", "Bodies that came in, valid or not", Unit::Bytes, own.bytes.clone());
        r.register(
            "routed_events",
            "Events by what came of them: handed_over to shards, for nobody who is connected, acted upon, dropped",
            own.routed.clone(),
        );
        r.register("decisions", "Events that this route decided", own.decisions.clone());
        r.register("route_failures", "Events for which this route held and then failed", own.failures.clone());
        r.register("drops", "Events, or frames for one connection, that were dropped, by cause", own.drops.clone());
        r.register(
            "deliveries",
            "Frames handed to connections: one event to three connections is three",
            own.deliveries.clone(),
        );
        r.register_with_unit(
            "consume_to_decision",
            "From reception of an event to its decision, waiting for queries included",
            Unit::Seconds,
            own.decision_latency.clone(),
        );
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

    /// Bytes of this source's bodies, valid or not.
    pub fn received_bytes(&self, source: SourceKind) -> Counter {
        self.events.bytes.get_or_create_owned(&BySource { source })
    }

    /// Events of which this came.
    pub fn routed(&self, outcome: RoutedOutcome) -> Counter {
        self.events.routed.get_or_create_owned(&Routed { outcome })
    }

    /// Events for which this route held and then failed, for this cause.
    pub fn route_failures(&self, route: &str, cause: DropCause) -> Counter {
        self.events.failures.get_or_create_owned(&Failed { route: route.to_owned(), cause })
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

    /// From reception of an event to its decision.
    pub fn decision_latency(&self) -> &LatencyHistogram {
        &self.events.decision_latency
    }

    /// From reception of an event to the write of its last frame on a shard.
    pub fn latency(&self) -> &LatencyHistogram {
        &self.events.latency
    }
}
