//! Tokens and the answers to them.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::labels::ByOutcome;

#[derive(Debug)]
pub(super) struct AuthMetrics {
    authentications: Family<ByOutcome, Counter>,
}

impl AuthMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self { authentications: Family::default() };
        r.register("authentications", "Answers to tokens", own.authentications.clone());
        own
    }
}

impl Metrics {
    /// Tokens that had this outcome: `accepted`, `denied`, `unavailable`.
    pub fn authentications(&self, outcome: &'static str) -> Counter {
        self.auth.authentications.get_or_create_owned(&ByOutcome { outcome })
    }
}
