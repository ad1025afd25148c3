//! What the program says of itself: metrics and logs.

mod histogram;
mod metrics;
mod throttle;

pub use histogram::LatencyHistogram;
pub use metrics::{DropCause, Metrics, SourceKind};
pub use throttle::Throttle;
