//! Named queries and the database.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use crate::observe::LatencyHistogram;

#[derive(Debug)]
pub(super) struct LookupMetrics {
    lookups: Family<Looked, Counter>,
    latency: Family<ByQuery, LatencyHistogram>,
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
        let own = Self { lookups: Family::default(), latency: Family::default() };
        r.register("lookups", "Runs of named queries, by outcome", own.lookups.clone());
        r.register_with_unit(
            "lookup",
            "From the call of a named query to its answer, waiting for a connection included",
            Unit::Seconds,
            own.latency.clone(),
        );
        own
    }
}

impl Metrics {
    /// Runs of this query that had this outcome: `ok`, `unavailable`, `failed`.
    pub fn lookups(&self, query: &str, outcome: &'static str) -> Counter {
        self.lookups.lookups.get_or_create_owned(&Looked { query: query.to_owned(), outcome })
    }

    /// How long this query takes to answer.
    pub fn lookup_latency(&self, query: &str) -> LatencyHistogram {
        self.lookups.latency.get_or_create_owned(&ByQuery { query: query.to_owned() })
    }
}
