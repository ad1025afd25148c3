//! The broker.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

/// How it stands with the broker, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names of the label's values")]
pub enum BrokerPhase {
    /// The first connection is being made.
    connecting,
    /// Connected, and consumed.
    consuming,
    /// As consuming, but the broker is short of something and takes nothing from this connection.
    blocked,
    /// Not connected, and trying to be.
    lost,
    /// Not connected, and that is the end.
    gave_up,
    /// Stopped, as asked.
    stopped,
}

impl BrokerPhase {
    const ALL: [Self; 6] = [Self::connecting, Self::consuming, Self::blocked, Self::lost, Self::gave_up, Self::stopped];
}

/// Why a connection to the broker could not be made, or was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names of the label's values")]
pub enum BrokerFault {
    /// The configured URL is no good.
    url,
    /// The host has no address.
    unresolved,
    /// Nobody listens there.
    refused,
    /// No answer in time, while a connection was made.
    silent,
    /// No sign of life, on a connection that was made.
    heartbeat,
    /// The connection ended without a word.
    cut,
    /// The broker closed the connection: it shuts down, or somebody asked it to.
    closed,
    /// Wrong user name or password.
    credentials,
    /// The user may not do this.
    permission,
    /// The vhost is not there, or not for this user.
    vhost,
    /// What is declared is there with other properties, or is not there.
    topology,
    /// Another connection has the queue for itself.
    locked,
    /// The consumer was cancelled, as when its queue is deleted.
    cancelled,
    /// No trust between the two, or no TLS at all.
    tls,
    /// What answers there speaks something else.
    protocol,
    /// The network said something else.
    network,
    /// The fault is on this side.
    local,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPhase {
    state: BrokerPhase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFault {
    cause: BrokerFault,
}

#[derive(Debug)]
pub(super) struct BrokerMetrics {
    phase: Family<ByPhase, Gauge>,
    connected: Gauge,
    blocked: Gauge,
    connects: Counter,
    faults: Family<ByFault, Counter>,
}

impl BrokerMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self {
            phase: Family::default(),
            connected: Gauge::default(),
            blocked: Gauge::default(),
            connects: Counter::default(),
            faults: Family::default(),
        };
        r.register("broker_state", "1 for how it stands with the broker, 0 for the others", own.phase.clone());
        r.register("broker_connected", "1 while the broker is connected and consumed", own.connected.clone());
        r.register("broker_blocked", "1 while the broker is short of something and blocks", own.blocked.clone());
        r.register(
            "broker_connects",
            "Connections made to the broker: each after the first follows a loss",
            own.connects.clone(),
        );
        r.register("broker_faults", "Connections that could not be made, or were lost, by cause", own.faults.clone());
        own
    }
}

impl Metrics {
    /// From now on it stands so with the broker.
    pub fn broker_phase(&self, now: BrokerPhase) {
        for state in BrokerPhase::ALL {
            self.broker.phase.get_or_create_owned(&ByPhase { state }).set((state == now).into());
        }
        let blocked = now == BrokerPhase::blocked;
        self.broker.blocked.set(blocked.into());
        self.broker.connected.set((blocked || now == BrokerPhase::consuming).into());
    }

    /// Connections made to the broker, the first included.
    pub fn broker_connects(&self) -> &Counter {
        &self.broker.connects
    }

    /// Connections that could not be made, or were lost, for this cause.
    pub fn broker_faults(&self, cause: BrokerFault) -> Counter {
        self.broker.faults.get_or_create_owned(&ByFault { cause })
    }
}
