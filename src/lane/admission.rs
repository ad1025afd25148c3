//! Requests to subscribe come in: they are judged, queued or refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::authorize::Authorizer;
use super::line::Line;
use super::request::{Judged, asks_nothing, origin_of};
use super::request_queue::REQUESTS_TENANT_BYTES;
use super::wanted::{Means, Subject};
use crate::event::TenantId;
use crate::reload::Rulebook;
use crate::shard::{AuthorizeRequest, Verdict};

/// Bytes of queued requests in one lane. From there on the topics of further requests are unavailable.
const REQUESTS_BYTES: usize = 8 * REQUESTS_TENANT_BYTES;
/// How often queued requests are looked through for those that have waited too long.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Authorizer {
    /// Takes a client's request. It is judged at once by this rulebook if nothing has to be asked or there is room to ask,
    /// and later, by the rulebook in force then, if not. A session whose attributes have changed does not wait: it could
    /// keep topics meanwhile that it may no longer have.
    pub(super) fn take(&mut self, request: AuthorizeRequest, rulebook: &Arc<Rulebook>, means: &mut Means<'_>) {
        let is_next = |line: &Line| line.has_room() && line.queued.is_empty();
        let line = self.lines.get_mut(&request.tenant);
        let Some(line) = line.filter(|line| !request.has_them && !is_next(line) && !asks_nothing(&request, rulebook))
        else {
            return self.judge_request(request, rulebook, means);
        };
        if self.queued_bytes >= REQUESTS_BYTES {
            return self.refuse(request);
        }
        let tenant = request.tenant.clone();
        match line.queued.push(request, means.now) {
            Ok(size) => {
                self.queued_bytes += size;
                self.sweep.get_or_insert(means.now + SWEEP_EVERY);
                self.line_up(&tenant);
            }
            Err(request) => self.refuse(request),
        }
    }

    /// Refuses queued requests that have waited too long.
    pub(super) fn sweep(&mut self, now: Instant) {
        if self.sweep.is_none_or(|sweep| now < sweep) {
            return;
        }
        let mut expired = Vec::new();
        for line in self.lines.values_mut() {
            expired.extend(std::iter::from_fn(|| line.queued.pop_expired(now)));
        }
        for (request, size) in expired {
            self.queued_bytes -= size;
            let tenant = request.tenant.clone();
            self.refuse(request);
            self.line_up(&tenant);
        }
        self.sweep = (self.queued_bytes > 0).then(|| now + SWEEP_EVERY);
    }

    fn judge_request(&mut self, request: AuthorizeRequest, rulebook: &Arc<Rulebook>, means: &mut Means<'_>) {
        let origin = origin_of(&request);
        let AuthorizeRequest { shard, connection, user, tenant, attributes, topics, .. } = request;
        let subject = Subject { tenant, user, attributes, rulebook: Arc::clone(rulebook) };
        self.judge(origin, (shard, connection), subject, topics, means);
    }

    /// Answers that all topics of a request are unavailable.
    fn refuse(&mut self, request: AuthorizeRequest) {
        let origin = origin_of(&request);
        let AuthorizeRequest { shard, connection, tenant, topics, .. } = request;
        let verdicts = topics.into_iter().map(|topic| (topic, Verdict::Unavailable)).collect();
        self.judged.push(Judged { origin, tenant, shard, connection, verdicts });
    }

    /// Judges the oldest queued request of a tenant, if there is one and there is room. Returns the number of its topics.
    pub(super) fn judge_queued(&mut self, tenant: &TenantId, rulebook: &Arc<Rulebook>, means: &mut Means<'_>) -> usize {
        let line = self.lines.get_mut(tenant).filter(|line| line.has_room());
        let Some((request, size)) = line.and_then(|line| line.queued.pop()) else { return 0 };
        self.queued_bytes -= size;
        let topics = request.topics.len();
        self.judge_request(request, rulebook, means);
        topics
    }
}
