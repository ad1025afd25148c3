//! Connections and sessions.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;

#[derive(Debug)]
pub(super) struct ClientMetrics {
    connections: Gauge,
    refused: Counter,
    sessions: Gauge,
    closed: Family<ByCode, Counter>,
    outbox_messages: Gauge,
    outbox_bytes: Gauge,
    handshake_failures: Counter,
    /// Of the one listener that has a certificate: there only where one is set.
    certificates: Family<ByListener, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByListener {
    listener: &'static str,
}

impl ClientMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self {
            connections: Gauge::default(),
            refused: Counter::default(),
            sessions: Gauge::default(),
            closed: Family::default(),
            outbox_messages: Gauge::default(),
            outbox_bytes: Gauge::default(),
            handshake_failures: Counter::default(),
            certificates: Family::default(),
        };
        r.register("connections", "Open connections", own.connections.clone());
        r.register(
            "connections_refused",
            "Connections that were refused because there was no room",
            own.refused.clone(),
        );
        r.register("sessions", "Authenticated connections", own.sessions.clone());
        r.register("connections_closed", "Connections that the server closed, by close code", own.closed.clone());
        r.register("outbox_messages", "Frames that wait for connections to take them", own.outbox_messages.clone());
        let help = "Frames that wait, each as often as connections wait for it";
        r.register_with_unit("outbox", help, Unit::Bytes, own.outbox_bytes.clone());
        r.register(
            "tls_handshake_failures",
            "Connections with which no TLS session came about",
            own.handshake_failures.clone(),
        );
        r.register_with_unit(
            "tls_certificate_valid_until",
            "When the certificate in use expires, since 1970",
            Unit::Seconds,
            own.certificates.clone(),
        );
        own
    }
}

impl Metrics {
    /// Connections that are open, sessions or not.
    pub fn connections(&self) -> &Gauge {
        &self.clients.connections
    }

    /// Connections that were refused because there was no room.
    pub fn connections_refused(&self) -> &Counter {
        &self.clients.refused
    }

    /// Connections that are sessions.
    pub fn sessions(&self) -> &Gauge {
        &self.clients.sessions
    }

    /// Frames that wait in all outboxes.
    pub fn outbox_messages(&self) -> &Gauge {
        &self.clients.outbox_messages
    }

    /// Their bytes, counted for each connection that they wait for.
    pub fn outbox_bytes(&self) -> &Gauge {
        &self.clients.outbox_bytes
    }

    /// Connections with which no TLS session came about.
    pub fn handshake_failures(&self) -> &Counter {
        &self.clients.handshake_failures
    }

    /// When the certificate of the listener for clients expires, in Unix time.
    pub fn certificate_valid_until(&self) -> Gauge {
        self.clients.certificates.get_or_create_owned(&ByListener { listener: "clients" })
    }

    /// Connections that the server closed with this code.
    pub fn closed(&self, code: u16) -> Counter {
        self.clients.closed.get_or_create_owned(&ByCode { code })
    }
}
