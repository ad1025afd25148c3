//! What the program says of itself: metrics and logs.

mod histogram;
mod log;
mod metrics;
mod throttle;

pub use histogram::LatencyHistogram;
pub use log::{FILTER_VARIABLE, LogError, LogStyle, start as start_log};
pub use metrics::{BrokerFault, BrokerPhase, DropCause, Metrics, SourceKind};
pub use throttle::Throttle;
