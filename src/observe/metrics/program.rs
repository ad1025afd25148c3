//! The program itself: what it is, and what is in force.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Metrics;

#[derive(Debug)]
pub(super) struct ProgramMetrics {
    generation: Gauge,
}

impl ProgramMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self { generation: Gauge::default() };
        r.register("rulebook_generation", "The rulebook in force", own.generation.clone());
        r.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        own
    }
}

impl Metrics {
    /// The rulebook in force.
    pub fn generation(&self) -> &Gauge {
        &self.program.generation
    }
}
