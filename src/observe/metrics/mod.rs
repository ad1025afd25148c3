//! The metrics, by the Prometheus conventions: one file for each part of the program that they tell of.
//!
//! Invariant: labels come from closed sets or from the configuration, never from a client or an event.

mod auth;
mod broker;
mod clients;
mod database;
mod events;
mod labels;
mod lookups;
mod program;
mod rights;

use prometheus_client::registry::Registry;

use self::auth::AuthMetrics;
use self::broker::BrokerMetrics;
use self::clients::ClientMetrics;
use self::database::DatabaseMetrics;
use self::events::EventMetrics;
use self::lookups::LookupMetrics;
use self::program::ProgramMetrics;
use self::rights::RightsMetrics;

pub use self::broker::{BrokerFault, BrokerPhase};
pub use self::labels::{DropCause, SourceKind};

/// All metrics, and the registry that renders them. Handles are cheap to clone; take them once, outside of loops.
///
/// What each part counts by stands in that part's file, as methods of this type.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    events: EventMetrics,
    clients: ClientMetrics,
    auth: AuthMetrics,
    lookups: LookupMetrics,
    database: DatabaseMetrics,
    rights: RightsMetrics,
    broker: BrokerMetrics,
    program: ProgramMetrics,
}

impl Metrics {
    /// Fresh metrics, all zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("pointsman");
        let r = &mut registry;
        Self {
            events: EventMetrics::register(r),
            clients: ClientMetrics::register(r),
            auth: AuthMetrics::register(r),
            lookups: LookupMetrics::register(r),
            database: DatabaseMetrics::register(r),
            rights: RightsMetrics::register(r),
            broker: BrokerMetrics::register(r),
            program: ProgramMetrics::register(r),
            registry,
        }
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
