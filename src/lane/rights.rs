//! What a lane does about rights: topics that sessions want, words that answers are no longer good, and reviews of what
//! sessions have by them.

use std::sync::Arc;
use std::time::Instant;

use super::authorize::{Judged, Origin};
use super::state::{Effect, Lane, Owner};
use crate::event::TenantId;
use crate::lookup::Forget;
use crate::reload::Rulebook;
use crate::route::{Action, Plan};
use crate::shard::{AuthorizeRequest, Review, Reviewed, ShardSet, Verdict};

impl Lane {
    /// Takes a request to subscribe, to be judged by this rulebook.
    pub fn authorize(
        &mut self,
        request: AuthorizeRequest,
        rulebook: &Rulebook,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        self.authorizer.take(request, rulebook, &mut self.answers, now);
        self.settle_requests(now, effects);
    }

    /// These shards were told of a review: see [`Effect::Review`].
    pub fn review_sent(&mut self, order: &Arc<Review>, shards: ShardSet, now: Instant, effects: &mut Vec<Effect>) {
        if let Some(number) = self.reviews.sent(order, shards) {
            self.end_review(&order.tenant, number, now, effects);
        }
    }

    /// Takes a portion of what a shard has to say of a review.
    pub fn reviewed(&mut self, word: Reviewed, now: Instant, effects: &mut Vec<Effect>) {
        let (shard, tenant) = (word.shard, word.review.tenant.clone());
        self.reviews.reviewed(word, effects, |review, subscriber, topics| {
            let session = (shard, subscriber.connection);
            self.authorizer.review(review, &tenant, session, topics, &mut self.answers, now);
        });
        self.settle_requests(now, effects);
        if let Some(number) = self.reviews.over(&tenant) {
            self.end_review(&tenant, number, now, effects);
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.reviews.due().into_iter().chain(self.answers.due()).min()
    }

    /// Does what its time has come for: ends reviews, and lets go of answers that nobody asks for any more.
    pub fn tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        while let Some((tenant, number)) = self.reviews.expire(now, &mut self.authorizer, effects) {
            self.ledger.review_expired(&tenant, now);
            self.settle_requests(now, effects);
            if self.reviews.is_active(&tenant, number) {
                self.end_review(&tenant, number, now, effects);
            }
        }
        if self.answers.due().is_some_and(|due| due <= now) {
            self.answers.sweep(now);
        }
    }

    /// Does what an event says of answers that are no longer good. Returns the review that later events wait for.
    pub(super) fn forget(
        &mut self,
        owner: &Owner,
        plan: &Plan,
        rulebook: &Arc<Rulebook>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> Option<u64> {
        let forgets = plan.actions().filter_map(|action| match action {
            Action::Forget(forget) => Some(forget.clone()),
            Action::Disconnect(_) => None,
        });
        let forgets: Vec<Forget> = forgets.collect();
        for forget in &forgets {
            self.ledger.forgot();
            self.answers.forget(owner, forget);
            if let Some(tenant) = &owner.0 {
                self.authorizer.forget(tenant, forget);
            }
            if !self.answers.is_of_tenant(forget.query) {
                effects.push(Effect::Forget(forget.clone()));
                if owner.0.is_none() {
                    effects.push(Effect::ForgetForAll(forget.clone()));
                }
            }
        }
        if forgets.is_empty() {
            return None;
        }
        self.settle_requests(now, effects);
        self.reviews.begin(owner.0.as_ref()?, forgets, rulebook, now, effects)
    }

    /// An event of no tenant says that answers are no longer good: to a query that is no tenant's own, whoever was given
    /// them. `tenants` are those of this lane that have sessions.
    pub fn forget_for_all(
        &mut self,
        forget: &Forget,
        tenants: &[TenantId],
        rulebook: &Arc<Rulebook>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        self.answers.forget_for_all(forget);
        self.authorizer.forget_for_all(forget);
        self.settle_requests(now, effects);
        for tenant in tenants {
            let review = self.reviews.begin(tenant, vec![forget.clone()], rulebook, now, effects);
            self.hold(&Owner(Some(tenant.clone())), review);
        }
    }

    /// Asks what topics need and there is room for, and tells what has come of those that are done.
    pub(super) fn settle_requests(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.authorizer.ask(&mut self.answers, now, effects);
        for judged in self.authorizer.take_judged() {
            match judged.origin {
                Origin::Client => {
                    let Judged { shard, connection, verdicts, .. } = judged;
                    effects.push(Effect::Authorized { shard, connection, verdicts });
                }
                Origin::Changed => {
                    let Judged { shard, connection, mut verdicts, .. } = judged;
                    verdicts.retain(|(_, verdict)| *verdict != Verdict::Allowed);
                    if !verdicts.is_empty() {
                        effects.push(Effect::Unsubscribe { shard, connection, topics: verdicts });
                    }
                }
                Origin::Review(number) => {
                    let tenant = judged.tenant.clone();
                    if let Some(number) = self.reviews.judged(number, judged, effects) {
                        self.end_review(&tenant, number, now, effects);
                    }
                }
            }
        }
    }

    /// All that a review found is on its way to the shards: events that waited for it may follow.
    fn end_review(&mut self, tenant: &TenantId, number: u64, now: Instant, effects: &mut Vec<Effect>) {
        let owner = Owner(Some(tenant.clone()));
        if let Some(queue) = self.queues.get_mut(&owner) {
            queue.release(number);
        }
        self.reviews.end(tenant, now, effects);
        self.advance(&owner, now, effects);
    }
}
