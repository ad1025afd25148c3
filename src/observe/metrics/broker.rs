//! The broker.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

#[derive(Debug)]
pub(super) struct BrokerMetrics {
    connected: Gauge,
    connects: Counter,
}

impl BrokerMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self { connected: Gauge::default(), connects: Counter::default() };
        r.register("broker_connected", "1 while the broker is connected and consumed", own.connected.clone());
        r.register("broker_connects", "Connections made to the broker", own.connects.clone());
        own
    }
}

impl Metrics {
    /// Whether the broker is connected and consumed: 1 or 0.
    pub fn broker_connected(&self) -> &Gauge {
        &self.broker.connected
    }

    /// Connections made to the broker, the first included.
    pub fn broker_connects(&self) -> &Counter {
        &self.broker.connects
    }
}
