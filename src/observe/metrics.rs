//! The metrics, by the Prometheus conventions.
//!
//! Invariant: labels come from closed sets or from the configuration, never from a client or an event.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::LatencyHistogram;

/// Where an event came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names of the label's values")]
pub enum SourceKind {
    /// A RabbitMQ queue.
    amqp,
    /// `POST /publish`, or the demo page.
    http,
}

/// Why somebody who might have got an event did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names of the label's values")]
pub enum DropCause {
    /// No route's condition held.
    no_route,
    /// The route needs a tenant and the event names none.
    no_tenant,
    /// `to: everyone` without `all_tenants: true`, and the event names a tenant.
    everyone_of_a_tenant,
    /// A query that the route needs had no answer.
    lookup_failed,
    /// Too many events of its tenant waited for queries.
    tenant_backlog,
    /// A source without acknowledgements sent faster than lanes could take.
    shed,
    /// The broker gave it out again, after a lost connection, and it had been handed on.
    repeated,
    /// The connection did not take what was written to it fast enough.
    slow_client,
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Authenticated {
    provider: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByProvider {
    provider: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Remembered {
    provider: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByQuery {
    query: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Looked {
    query: String,
    outcome: &'static str,
}

/// All metrics, and the registry that renders them. Handles are cheap to clone; take them once, outside of loops.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    events: Family<BySource, Counter>,
    rejected: Family<Rejected, Counter>,
    decisions: Family<ByRoute, Counter>,
    drops: Family<ByCause, Counter>,
    closed: Family<ByCode, Counter>,
    authentications: Family<Authenticated, Counter>,
    auth_latency: Family<ByProvider, LatencyHistogram>,
    auth_cache: Family<Remembered, Counter>,
    lookups: Family<Looked, Counter>,
    lookup_latency: Family<ByQuery, LatencyHistogram>,
    /// Frames put into outboxes: one event to three connections is three.
    pub deliveries: Counter,
    /// Questions to providers of identities that are under way.
    pub auth_in_flight: Gauge,
    /// Tokens that wait for a place to be asked for.
    pub auth_waiting: Gauge,
    /// Connections that are open, sessions or not.
    pub connections: Gauge,
    /// Connections that are sessions.
    pub sessions: Gauge,
    /// Whether the broker is connected and consumed: 1 or 0.
    pub broker_connected: Gauge,
    /// Connections made to the broker, the first included.
    pub broker_connects: Counter,
    /// The rulebook in force.
    pub generation: Gauge,
    /// From reception of an event to the write of its last frame on a shard.
    pub latency: LatencyHistogram,
}

impl Metrics {
    /// Fresh metrics, all zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("pointsman"),
            events: Family::default(),
            rejected: Family::default(),
            decisions: Family::default(),
            drops: Family::default(),
            closed: Family::default(),
            authentications: Family::default(),
            auth_latency: Family::default(),
            auth_cache: Family::default(),
            lookups: Family::default(),
            lookup_latency: Family::default(),
            deliveries: Counter::default(),
            auth_in_flight: Gauge::default(),
            auth_waiting: Gauge::default(),
            connections: Gauge::default(),
            sessions: Gauge::default(),
            broker_connected: Gauge::default(),
            broker_connects: Counter::default(),
            generation: Gauge::default(),
            latency: LatencyHistogram::default(),
        };
        let r = &mut metrics.registry;
        r.register("events_received", "Events that came in and were valid", metrics.events.clone());
        r.register("events_rejected", "Bodies that were no valid event", metrics.rejected.clone());
        r.register("decisions", "Events that a route decided", metrics.decisions.clone());
        r.register("drops", "Events, or frames for one connection, that were dropped", metrics.drops.clone());
        r.register("deliveries", "Frames handed to connections", metrics.deliveries.clone());
        r.register("connections", "Open connections", metrics.connections.clone());
        r.register("sessions", "Authenticated connections", metrics.sessions.clone());
        r.register("connections_closed", "Connections that the server closed, by close code", metrics.closed.clone());
        r.register(
            "authentications",
            "Answers to tokens, by the provider that decided",
            metrics.authentications.clone(),
        );
        r.register_with_unit(
            "auth",
            "From asking a provider of identities to its answer",
            Unit::Seconds,
            metrics.auth_latency.clone(),
        );
        r.register("auth_cache", "Tokens looked for among those that were answered", metrics.auth_cache.clone());
        r.register("auth_in_flight", "Questions to providers of identities", metrics.auth_in_flight.clone());
        r.register("auth_waiting", "Tokens that wait to be asked for", metrics.auth_waiting.clone());
        r.register("lookups", "Runs of named queries, by outcome", metrics.lookups.clone());
        r.register_with_unit(
            "lookup",
            "From the call of a named query to its answer, waiting for a connection included",
            Unit::Seconds,
            metrics.lookup_latency.clone(),
        );
        r.register(
            "broker_connected",
            "1 while the broker is connected and consumed",
            metrics.broker_connected.clone(),
        );
        r.register("broker_connects", "Connections made to the broker", metrics.broker_connects.clone());
        r.register("rulebook_generation", "The rulebook in force", metrics.generation.clone());
        r.register_with_unit(
            "consume_to_write",
            "From reception of an event to the write of its last frame on a shard",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        r.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        metrics
    }

    /// Events of this source that were valid.
    pub fn events(&self, source: SourceKind) -> Counter {
        self.events.get_or_create_owned(&BySource { source })
    }

    /// Bodies of this source that were no event, by a cause of a closed set.
    pub fn rejected(&self, source: SourceKind, cause: &'static str) -> Counter {
        self.rejected.get_or_create_owned(&Rejected { source, cause })
    }

    /// Events that this route decided.
    pub fn decisions(&self, route: &str) -> Counter {
        self.decisions.get_or_create_owned(&ByRoute { route: route.to_owned() })
    }

    /// What was dropped for this cause.
    pub fn drops(&self, cause: DropCause) -> Counter {
        self.drops.get_or_create_owned(&ByCause { cause })
    }

    /// Connections that the server closed with this code.
    pub fn closed(&self, code: u16) -> Counter {
        self.closed.get_or_create_owned(&ByCode { code })
    }

    /// Tokens that had this outcome (`accepted`, `denied`, `unavailable`) by this kind of provider: `tokens`, `sql`,
    /// `http`, `jwt`, and `none` where none has decided.
    pub fn authentications(&self, provider: &'static str, outcome: &'static str) -> Counter {
        self.authentications.get_or_create_owned(&Authenticated { provider, outcome })
    }

    /// How long this kind of provider takes to answer.
    pub fn auth_latency(&self, provider: &'static str) -> LatencyHistogram {
        self.auth_latency.get_or_create_owned(&ByProvider { provider })
    }

    /// Tokens that were looked for among what this kind of provider has answered: `hit` or `miss`.
    pub fn auth_cache(&self, provider: &'static str, result: &'static str) -> Counter {
        self.auth_cache.get_or_create_owned(&Remembered { provider, result })
    }

    /// Runs of this query that had this outcome: `ok`, `unavailable`, `failed`.
    pub fn lookups(&self, query: &str, outcome: &'static str) -> Counter {
        self.lookups.get_or_create_owned(&Looked { query: query.to_owned(), outcome })
    }

    /// How long this query takes to answer.
    pub fn lookup_latency(&self, query: &str) -> LatencyHistogram {
        self.lookup_latency.get_or_create_owned(&ByQuery { query: query.to_owned() })
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        prometheus_client::encoding::text::encode(&mut text, &self.registry).ok();
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
