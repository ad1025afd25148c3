//! What a lane counts and logs.
//!
//! Invariant: a fault that events repeat is logged once a second at most, with the number of those left out. What a route
//! fails for is logged apart from what other routes fail for, and from its own other reasons.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use prometheus_client::metrics::counter::Counter;

use crate::event::{TenantId, Topic};
use crate::lookup::LookupError;
use crate::observe::{Account, DropCause, LatencyHistogram, Metrics, RoutedOutcome, Throttle};
use crate::reload::{Generation, Rulebook};
use crate::route::script::{ScriptError, ScriptFailure};
use crate::route::{Decided, Decision, Outcome};

/// How often the same fault is logged.
const EVERY: Duration = Duration::from_secs(1);

/// The counters of one lane, looked up once a generation.
#[derive(Debug)]
pub(super) struct Ledger {
    metrics: Arc<Metrics>,
    decisions: Option<(Generation, Vec<Counter>)>,
    dropped: Counter,
    nobody: Counter,
    acted: Counter,
    latency: LatencyHistogram,
    no_route: Counter,
    no_tenant: Fault,
    everyone_of_a_tenant: Fault,
    lookup_failed: Fault,
    script: Fault,
    failures: FailureLog,
    tenant_backlog: Counter,
    tenant_backlog_log: Throttle,
    forgets: Counter,
    authorization: Throttle,
    authorization_scripts: Throttle,
    reviews: Throttle,
}

/// A cause of drops that people want to know of.
#[derive(Debug)]
struct Fault {
    cause: DropCause,
    count: Counter,
}

/// When a route's failures were logged, by the route's position and the reason. So it has at most as many entries as the
/// largest rulebook has routes, for each reason. Routes of two rulebooks may share an entry, which holds back a line for a
/// second.
#[derive(Debug, Default)]
struct FailureLog(HashMap<(usize, Reason), Throttle>);

/// Why a route failed, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reason {
    NoTenant,
    EveryoneOfATenant,
    Lookup(Discriminant<LookupError>),
    Script(ScriptFailure),
}

impl FailureLog {
    /// Whether a failure is logged now: `Some` of how many like it were left out since the last one.
    fn admit(&mut self, route: usize, reason: Reason, now: Instant) -> Option<u64> {
        self.0.entry((route, reason)).or_insert_with(|| Throttle::new(EVERY)).admit_at(now)
    }
}

impl Ledger {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        let fault = |cause| Fault { cause, count: metrics.drops(cause) };
        Self {
            decisions: None,
            dropped: metrics.routed(RoutedOutcome::dropped),
            nobody: metrics.routed(RoutedOutcome::nobody),
            acted: metrics.routed(RoutedOutcome::acted),
            latency: metrics.decision_latency().clone(),
            no_route: metrics.drops(DropCause::no_route),
            no_tenant: fault(DropCause::no_tenant),
            everyone_of_a_tenant: fault(DropCause::everyone_of_a_tenant),
            lookup_failed: fault(DropCause::lookup_failed),
            script: fault(DropCause::script),
            failures: FailureLog::default(),
            tenant_backlog: metrics.drops(DropCause::tenant_backlog),
            tenant_backlog_log: Throttle::new(EVERY),
            forgets: metrics.forgets().clone(),
            authorization: Throttle::new(EVERY),
            authorization_scripts: Throttle::new(EVERY),
            reviews: Throttle::new(EVERY),
            metrics,
        }
    }

    /// An event's turn has come, and this was decided.
    pub(super) fn decided(&mut self, decision: &Decision, rulebook: &Rulebook, account: &Account, now: Instant) {
        self.latency.observe(now.saturating_duration_since(decision.event().received()), 1);
        if !decision.has_audience() {
            // A route that held and found nobody has done what it says.
            let came = |is: fn(&Outcome) -> bool| decision.decided().iter().any(|decided| is(&decided.outcome));
            if came(|outcome| matches!(outcome, Outcome::Act(_))) {
                self.acted.inc();
            } else if came(|outcome| matches!(outcome, Outcome::Nobody | Outcome::Dropped(_))) {
                self.nobody.inc();
            } else {
                self.dropped.inc();
                account.dropped();
            }
        }
        if decision.decided().is_empty() {
            self.no_route.inc();
            let event = decision.event();
            tracing::debug!(
                tenant = event.tenant().map(TenantId::as_str),
                kind = event.kind(),
                "no route holds for the event"
            );
        }
        for decided in decision.decided() {
            self.route(decided, decision.event().tenant(), rulebook, now);
        }
    }

    fn route(&mut self, decided: &Decided, tenant: Option<&TenantId>, rulebook: &Rulebook, now: Instant) {
        let (fault, reason, why) = match &decided.outcome {
            Outcome::Audience(_) | Outcome::Nobody | Outcome::Act(_) => {
                self.decisions_of(rulebook)[decided.route.index()].inc();
                return;
            }
            Outcome::Dropped(reason) => {
                self.decisions_of(rulebook)[decided.route.index()].inc();
                let route = rulebook.routes.name(decided.route);
                tracing::debug!(
                    tenant = tenant.map(TenantId::as_str),
                    route,
                    reason = reason.as_str(),
                    "the route's plugin drops the event"
                );
                return;
            }
            Outcome::NoTenant => (
                &self.no_tenant,
                Reason::NoTenant,
                "the route is about a tenant's sessions or data, and the event names none".to_owned(),
            ),
            Outcome::EveryoneOfATenant => (
                &self.everyone_of_a_tenant,
                Reason::EveryoneOfATenant,
                "the route is for everyone and the event names a tenant; `all_tenants: true` would allow it".to_owned(),
            ),
            Outcome::LookupFailed(error) => {
                (&self.lookup_failed, Reason::Lookup(discriminant(error)), error.to_string())
            }
            Outcome::ScriptFailed(error) => (&self.script, Reason::Script(error.kind), error.to_string()),
        };
        let route = rulebook.routes.name(decided.route);
        self.metrics.route_failures(route, fault.cause).inc();
        if !rulebook.routes.leaves_to_others(decided) {
            fault.count.inc();
        }
        if let Some(left_out) = self.failures.admit(decided.route.index(), reason, now) {
            let (tenant, generation) = (tenant.map(TenantId::as_str), rulebook.generation.0);
            if rulebook.routes.leaves_to_others(decided) {
                tracing::warn!(tenant, route, generation, why, left_out, "the route failed, and later ones are tried");
            } else {
                tracing::warn!(tenant, route, generation, why, left_out, "event dropped");
            }
        }
    }

    /// An event was dropped because too many waited.
    pub(super) fn shed(&mut self, tenant: Option<&TenantId>, account: &Account, now: Instant) {
        self.dropped.inc();
        account.dropped();
        self.tenant_backlog.inc();
        if let Some(left_out) = self.tenant_backlog_log.admit_at(now) {
            let why = "too many events wait for queries";
            tracing::warn!(tenant = tenant.map(TenantId::as_str), why, left_out, "event dropped");
        }
    }

    /// An event said that answers are no longer good.
    pub(super) fn forgot(&self) {
        self.forgets.inc();
    }

    /// Who may stay subscribed could not be said in time.
    pub(super) fn review_expired(&mut self, tenant: &TenantId, now: Instant) {
        if let Some(left_out) = self.reviews.admit_at(now) {
            let why = "who may stay subscribed could not be found out in time";
            tracing::warn!(%tenant, why, left_out, "subscriptions taken away");
        }
    }

    /// A topic's query had no answer.
    pub(super) fn unanswered(&mut self, tenant: &TenantId, query: &str, error: &LookupError, now: Instant) {
        // A topic of a name that cannot be is its client's affair.
        if matches!(error, LookupError::Unfit(_)) {
            return;
        }
        if let Some(left_out) = self.authorization.admit_at(now) {
            tracing::warn!(
                tenant = tenant.as_str(),
                query,
                error = error.to_string(),
                left_out,
                "topic cannot be authorized"
            );
        }
    }

    /// A topic's plugin failed.
    pub(super) fn script_failed(
        &mut self,
        tenant: &TenantId,
        topic: &Topic,
        plugin: &str,
        error: &ScriptError,
        now: Instant,
    ) {
        if let Some(left_out) = self.authorization_scripts.admit_at(now) {
            tracing::warn!(
                tenant = tenant.as_str(),
                topic = topic.as_str(),
                plugin,
                why = error.to_string(),
                left_out,
                "topic cannot be authorized"
            );
        }
    }

    fn decisions_of(&mut self, rulebook: &Rulebook) -> &[Counter] {
        let cached = self.decisions.take().filter(|(generation, _)| *generation == rulebook.generation);
        let metrics = &self.metrics;
        let counters = cached.unwrap_or_else(|| {
            (rulebook.generation, rulebook.routes.names().map(|name| metrics.decisions(name)).collect())
        });
        &self.decisions.insert(counters).1
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is an edge")]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_route_or_reason_hold_back_the_log_of_no_other() {
        let reasons = [
            Reason::NoTenant,
            Reason::Lookup(discriminant(&LookupError::Failed(String::new()))),
            Reason::Lookup(discriminant(&LookupError::Unavailable(String::new()))),
            Reason::Script(ScriptFailure::Error),
            Reason::Script(ScriptFailure::Breaker),
        ];
        let (mut log, now) = (FailureLog::default(), Instant::now());
        for (route, reason) in [0, 1].into_iter().flat_map(|route| reasons.map(|reason| (route, reason))) {
            assert_eq!(log.admit(route, reason, now), Some(0), "{route} {reason:?}");
            assert_eq!(log.admit(route, reason, now), None, "{route} {reason:?}");
        }
        assert_eq!(log.admit(0, reasons[0], now + EVERY), Some(1));
    }
}
