//! Tokens and the answers to them.
//!
//! A provider is called by its kind: `tokens`, `sql`, `http`, `jwt`; `none` is where none has decided.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use crate::observe::LatencyHistogram;

#[derive(Debug)]
pub(super) struct AuthMetrics {
    authentications: Family<Decided, Counter>,
    latency: Family<ByProvider, LatencyHistogram>,
    cache: Family<Remembered, Counter>,
    in_flight: Gauge,
    waiting: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
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

impl AuthMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self {
            authentications: Family::default(),
            latency: Family::default(),
            cache: Family::default(),
            in_flight: Gauge::default(),
            waiting: Gauge::default(),
        };
        r.register(
            "authentications",
            "Answers to tokens: accepted, denied, or unavailable; by the provider that decided",
            own.authentications.clone(),
        );
        r.register_with_unit(
            "auth",
            "From asking this provider of identities to its answer",
            Unit::Seconds,
            own.latency.clone(),
        );
        r.register(
            "auth_cache",
            "Tokens looked for among those that this provider has answered: hit or miss",
            own.cache.clone(),
        );
        r.register("auth_in_flight", "Questions to providers of identities under way", own.in_flight.clone());
        r.register("auth_waiting", "Tokens that wait for a place to be asked for", own.waiting.clone());
        own
    }
}

impl Metrics {
    /// Tokens that had this outcome by this provider: `accepted`, `denied`, `unavailable`.
    pub fn authentications(&self, provider: &'static str, outcome: &'static str) -> Counter {
        self.auth.authentications.get_or_create_owned(&Decided { provider, outcome })
    }

    /// How long this provider takes to answer.
    pub fn auth_latency(&self, provider: &'static str) -> LatencyHistogram {
        self.auth.latency.get_or_create_owned(&ByProvider { provider })
    }

    /// Tokens that were looked for among what this provider has answered: `hit` or `miss`.
    pub fn auth_cache(&self, provider: &'static str, result: &'static str) -> Counter {
        self.auth.cache.get_or_create_owned(&Remembered { provider, result })
    }

    /// Questions to providers that are under way.
    pub fn auth_in_flight(&self) -> Gauge {
        self.auth.in_flight.clone()
    }

    /// Tokens that wait for a place to be asked for.
    pub fn auth_waiting(&self) -> Gauge {
        self.auth.waiting.clone()
    }
}
