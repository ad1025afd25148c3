//! Connections and sessions.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

#[derive(Debug)]
pub(super) struct ClientMetrics {
    connections: Gauge,
    sessions: Gauge,
    closed: Family<ByCode, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    code: u16,
}

impl ClientMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self { connections: Gauge::default(), sessions: Gauge::default(), closed: Family::default() };
        r.register("connections", "Open connections", own.connections.clone());
        r.register("sessions", "Authenticated connections", own.sessions.clone());
        r.register("connections_closed", "Connections that the server closed, by close code", own.closed.clone());
        own
    }
}

impl Metrics {
    /// Connections that are open, sessions or not.
    pub fn connections(&self) -> &Gauge {
        &self.clients.connections
    }

    /// Connections that are sessions.
    pub fn sessions(&self) -> &Gauge {
        &self.clients.sessions
    }

    /// Connections that the server closed with this code.
    pub fn closed(&self, code: u16) -> Counter {
        self.clients.closed.get_or_create_owned(&ByCode { code })
    }
}
