//! The program itself: what it is, and what is in force.

use std::env::consts::{ARCH, OS};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Metrics;

#[derive(Debug)]
pub(super) struct ProgramMetrics {
    generation: Gauge,
    config: InForce,
}

/// The configuration in force, once there is one: the file's name, and what tells its content.
#[derive(Clone, Debug, Default)]
struct InForce(Arc<Mutex<Option<(String, String)>>>);

impl ProgramMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self { generation: Gauge::default(), config: InForce::default() };
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let build = [("version", env!("CARGO_PKG_VERSION")), ("profile", profile), ("arch", ARCH), ("os", OS)];
        r.register("build", "The program, how it was built and for what", Info::new(build));
        r.register_collector(Box::new(own.config.clone()));
        r.register(
            "rulebook_generation",
            "The rulebook in force: each change of the rules is one more",
            own.generation.clone(),
        );
        own
    }
}

impl Metrics {
    /// The rulebook in force.
    pub fn generation(&self) -> &Gauge {
        &self.program.generation
    }

    /// The configuration in force: its main file, and a hash of the content of all its files.
    pub fn set_config(&self, file: &str, hash: &str) {
        let config = (file.to_owned(), hash.to_owned());
        *self.program.config.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }
}

impl Collector for InForce {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let config = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((file, hash)) = config else { return Ok(()) };
        let help = "The configuration in force: its main file, and what tells the content of all its files.";
        let metric = encoder.encode_descriptor("config", help, None, MetricType::Info)?;
        Info::new([("file", file), ("hash", hash)]).encode(metric)
    }
}
