//! The metrics, by the Prometheus conventions: one file for each part of the program that they tell of.
//!
//! Invariant: labels come from closed sets or from the configuration, never from a client or an event. The one exception
//! is `tenant`, of which a fixed number is shown: see [`Tenants`].
#![doc = include_str!("../METRICS.md")]

mod auth;
mod broker;
mod clients;
mod database;
mod depths;
mod events;
mod labels;
mod lookups;
mod process;
mod program;
mod queues;
mod reload;
mod rights;
mod scripts;
mod tenants;

use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::registry::Registry;

use self::auth::AuthMetrics;
use self::broker::BrokerMetrics;
use self::clients::ClientMetrics;
use self::database::DatabaseMetrics;
use self::depths::DepthMetrics;
use self::events::EventMetrics;
use self::lookups::LookupMetrics;
use self::program::ProgramMetrics;
use self::queues::QueueMetrics;
use self::reload::ReloadMetrics;
use self::rights::RightsMetrics;
use self::scripts::ScriptMetrics;
use super::tenants::Tenants;

pub use self::broker::{BrokerFault, BrokerPhase};
pub use self::depths::{LaneGauges, ShardGauges};
pub use self::labels::{DropCause, RoutedOutcome, SourceKind};
pub use self::queues::QueueMeter;
pub use self::scripts::ScriptMeter;

/// All metrics, and the registry that renders them. Handles are cheap to clone; take them once, outside of loops.
///
/// What each part counts by stands in that part's file, as methods of this type.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Of the process, whose names are the same for every program.
    process: Registry,
    events: EventMetrics,
    queues: QueueMetrics,
    depths: DepthMetrics,
    clients: ClientMetrics,
    auth: AuthMetrics,
    lookups: LookupMetrics,
    database: DatabaseMetrics,
    rights: RightsMetrics,
    scripts: ScriptMetrics,
    broker: BrokerMetrics,
    program: ProgramMetrics,
    reload: ReloadMetrics,
    tenants: Tenants,
}

impl Metrics {
    /// Fresh metrics, all zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("pointsman");
        let r = &mut registry;
        Self {
            events: EventMetrics::register(r),
            queues: QueueMetrics::register(r),
            depths: DepthMetrics::register(r),
            clients: ClientMetrics::register(r),
            auth: AuthMetrics::register(r),
            lookups: LookupMetrics::register(r),
            database: DatabaseMetrics::register(r),
            rights: RightsMetrics::register(r),
            scripts: ScriptMetrics::register(r),
            broker: BrokerMetrics::register(r),
            program: ProgramMetrics::register(r),
            reload: ReloadMetrics::register(r),
            tenants: tenants::register(r),
            process: process::registry(),
            registry,
        }
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        encode_registry(&mut text, &self.process).ok();
        encode(&mut text, &self.registry).ok();
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// A count as gauges hold it.
fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
