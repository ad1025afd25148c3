//! Named queries and the database.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use crate::observe::LatencyHistogram;

#[derive(Debug)]
pub(super) struct LookupMetrics {
    lookups: Family<Looked, Counter>,
    latency: Family<ByQuery, LatencyHistogram>,
    cache: Family<ByResult, Counter>,
    cache_entries: Gauge,
    cache_evictions: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    query: String,
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

impl LookupMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self {
            lookups: Family::default(),
            latency: Family::default(),
            cache: Family::default(),
            cache_entries: Gauge::default(),
            cache_evictions: Counter::default(),
        };
        r.register(
            "lookups",
            "Runs of named queries: ok, unavailable as the database or its pool, or failed by themselves",
            own.lookups.clone(),
        );
        r.register_with_unit(
            "lookup",
            "From the call of a named query to its answer, waiting for a connection included",
            Unit::Seconds,
            own.latency.clone(),
        );
        r.register(
            "lookup_cache",
            "Calls of named queries whose answers are kept: found, asked, or joined to one that was being asked",
            own.cache.clone(),
        );
        r.register("lookup_cache_entries", "Answers to queries that are kept", own.cache_entries.clone());
        r.register(
            "lookup_cache_evictions",
            "Kept answers that gave way to others before their time",
            own.cache_evictions.clone(),
        );
        own
    }
}

impl Metrics {
    /// Runs of this query that had this outcome: `ok`, `unavailable`, `failed`.
    pub fn lookups(&self, query: &str, outcome: &'static str) -> Counter {
        self.lookups.lookups.get_or_create_owned(&Looked { query: query.to_owned(), outcome })
    }

    /// Calls of this query, whose answers are kept, that had this result: `hit`, `miss`, `joined`.
    pub fn lookup_cache(&self, query: &str, result: &'static str) -> Counter {
        self.lookups.cache.get_or_create_owned(&ByResult { query: query.to_owned(), result })
    }

    /// Answers to queries that are kept.
    pub fn lookup_cache_entries(&self) -> &Gauge {
        &self.lookups.cache_entries
    }

    /// Those that had to give way to others before their time.
    pub fn lookup_cache_evictions(&self) -> &Counter {
        &self.lookups.cache_evictions
    }

    /// How long this query takes to answer.
    pub fn lookup_latency(&self, query: &str) -> LatencyHistogram {
        self.lookups.latency.get_or_create_owned(&ByQuery { query: query.to_owned() })
    }
}
