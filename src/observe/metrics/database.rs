//! The database's connections, and who waits for one.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

#[derive(Debug)]
pub(super) struct DatabaseMetrics {
    connections: Family<ByState, Gauge>,
    up: Gauge,
    waiting: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

impl DatabaseMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self { connections: Family::default(), up: Gauge::default(), waiting: Gauge::default() };
        r.register("database_connections", "Connections to the database, by state", own.connections.clone());
        r.register("database_up", "1 while the database answers, as last seen", own.up.clone());
        r.register("lookup_waiting", "Calls of queries that wait for their turn or a connection", own.waiting.clone());
        own
    }
}

impl Metrics {
    /// Connections to the database in this state: `idle`, `used`.
    pub fn database_connections(&self, state: &'static str) -> Gauge {
        self.database.connections.get_or_create_owned(&ByState { state })
    }

    /// Whether the database answers: 1 or 0, as last seen.
    pub fn database_up(&self) -> Gauge {
        self.database.up.clone()
    }

    /// Calls of queries that wait for their turn or a connection.
    pub fn lookup_waiting(&self) -> Gauge {
        self.database.waiting.clone()
    }
}
