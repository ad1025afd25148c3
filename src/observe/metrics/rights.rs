//! Rights that change.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::Metrics;

#[derive(Debug)]
pub(super) struct RightsMetrics {
    forgets: Counter,
    disconnects: Counter,
    withdrawn: Counter,
}

impl RightsMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let own = Self { forgets: Counter::default(), disconnects: Counter::default(), withdrawn: Counter::default() };
        r.register("forgets", "Words of events that answers are no longer good", own.forgets.clone());
        r.register("disconnects", "Sessions closed because an event said so", own.disconnects.clone());
        r.register(
            "subscriptions_withdrawn",
            "Subscriptions taken away since the session may no longer have them, or nobody can say",
            own.withdrawn.clone(),
        );
        own
    }
}

impl Metrics {
    /// Words of events that what a query answered is no longer good.
    pub fn forgets(&self) -> &Counter {
        &self.rights.forgets
    }

    /// Sessions closed because an event said so.
    pub fn disconnects(&self) -> &Counter {
        &self.rights.disconnects
    }

    /// Subscriptions taken away since their session may no longer have them, or nobody can say.
    pub fn subscriptions_withdrawn(&self) -> &Counter {
        &self.rights.withdrawn
    }
}
