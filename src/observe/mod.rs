//! What the program says of itself: metrics and logs.

mod histogram;
mod log;
mod metrics;
mod tenants;
mod throttle;

pub use histogram::LatencyHistogram;
pub use log::{FILTER_VARIABLE, LogError, LogStyle, start as start_log};
pub use metrics::{
    BrokerFault, BrokerPhase, DropCause, LaneGauges, Metrics, QueueMeter, RoutedOutcome, ScriptMeter, ShardGauges,
    SourceKind,
};
pub use tenants::{Account, SHOWN_TENANTS, Tally, Tenants};
pub use throttle::Throttle;
