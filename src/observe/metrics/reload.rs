//! Reloads: whether the last one came to something, how many there were, and how long they took.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use crate::observe::LatencyHistogram;

#[derive(Debug)]
pub(super) struct ReloadMetrics {
    successful: Gauge,
    succeeded_at: Gauge<f64, AtomicU64>,
    reloads: Family<ByResult, Counter>,
    durations: LatencyHistogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
    reason: &'static str,
}

impl ReloadMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self {
            successful: Gauge::default(),
            succeeded_at: Gauge::default(),
            reloads: Family::default(),
            durations: LatencyHistogram::default(),
        };
        r.register(
            "config_last_reload_successful",
            "1 where the last attempt to take up the files came to something, 0 where it was refused",
            own.successful.clone(),
        );
        r.register_with_unit(
            "config_last_reload_success_timestamp",
            "When an attempt to take up the files last came to something, since 1970",
            Unit::Seconds,
            own.succeeded_at.clone(),
        );
        r.register(
            "reloads",
            "Attempts to take up the files, the first one too: applied, unchanged, or refused for this reason",
            own.reloads.clone(),
        );
        r.register_with_unit(
            "reload",
            "From the trigger of an attempt to take up the files to its end, the rule tests included",
            Unit::Seconds,
            own.durations.clone(),
        );
        own
    }
}

impl Metrics {
    /// An attempt ended at this time. `refused` says why nothing came of it.
    pub fn reloaded(&self, result: &'static str, refused: Option<&'static str>, took: Duration, at: SystemTime) {
        let reload = &self.reload;
        let reason = refused.unwrap_or_default();
        reload.reloads.get_or_create_owned(&ByResult { result, reason }).inc();
        reload.durations.observe(took, 1);
        reload.successful.set(i64::from(refused.is_none()));
        if refused.is_none() {
            reload.succeeded_at.set(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        }
    }
}
