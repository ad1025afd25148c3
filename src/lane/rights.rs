//! What a lane does about rights: topics that sessions want, words that answers are no longer good, and reviews of what
//! sessions have.

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::authorize::Authorizer;
use super::request::{Judged, Origin};
use super::state::{Effect, Lane, Owner};
use super::wanted::{Means, Subject};
use crate::config::PluginId;
use crate::event::TenantId;
use crate::lookup::Forgotten;
use crate::reload::Rulebook;
use crate::route::{Action, Plan};
use crate::shard::{AuthorizeRequest, Review, Reviewed, ShardSet, Verdict};

impl Lane {
    /// Makes ready the machine of a plugin that this rulebook calls. An error says why it cannot.
    pub fn prepare(&mut self, rulebook: &Arc<Rulebook>, plugin: PluginId, now: Instant) -> Result<(), String> {
        self.machines.prepare(rulebook, plugin, now)
    }

    /// This rulebook is in force. To be said before anything that came since is taken; quick where it is known.
    pub fn adopt(&mut self, rulebook: &Arc<Rulebook>) {
        if self.in_force.as_ref().is_none_or(|in_force| !Arc::ptr_eq(in_force, rulebook)) {
            self.in_force = Some(Arc::clone(rulebook));
            self.answers.adopt(&rulebook.queries);
        }
    }

    /// Takes a request to subscribe, to be judged by this rulebook.
    pub fn authorize(
        &mut self,
        request: AuthorizeRequest,
        rulebook: &Arc<Rulebook>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        self.with_means(now, |authorizer, means| authorizer.take(request, rulebook, means));
        self.settle_requests(now, effects);
    }

    /// Other topic rules are in force than before: has what sessions want judged by them, and what sessions of these
    /// tenants have, a few tenants at once.
    pub fn review_all(
        &mut self,
        before: Arc<Rulebook>,
        rulebook: &Arc<Rulebook>,
        tenants: Vec<TenantId>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        self.with_means(now, |authorizer, means| authorizer.take_anew(rulebook, means));
        self.swap.begin(before, rulebook, tenants);
        self.swap.go_on(now, effects);
        self.settle_requests(now, effects);
    }

    /// These shards were told of a review: see [`Effect::Review`].
    pub fn review_sent(&mut self, order: &Arc<Review>, shards: ShardSet, now: Instant, effects: &mut Vec<Effect>) {
        if let Some(number) = self.reviews.sent(order, shards) {
            self.end_review(&order.tenant, number, now, effects);
        }
        if self.swap.reviews.sent(order, shards).is_some() {
            self.swap.end(&order.tenant, now, effects);
        }
    }

    /// Takes a portion of what a shard has to say of a review.
    pub fn reviewed(&mut self, word: Reviewed, now: Instant, effects: &mut Vec<Effect>) {
        let (shard, tenant) = (word.shard, word.review.tenant.clone());
        let Self { authorizer, answers, machines, ledger, reviews, swap, .. } = self;
        let reviews = if reviews.is_known(&word.review) { reviews } else { &mut swap.reviews };
        reviews.reviewed(word, effects, |origin, rulebook, subscriber, topics| {
            let session = (shard, subscriber.connection);
            let (user, attributes, rulebook) = (subscriber.user, subscriber.attributes, Arc::clone(rulebook));
            let subject = Subject { tenant: tenant.clone(), user, attributes, rulebook };
            let means = &mut Means { answers, machines, ledger, now };
            authorizer.review(origin, session, subject, topics, means);
        });
        self.settle_requests(now, effects);
        if let Some(number) = self.reviews.over(&tenant) {
            self.end_review(&tenant, number, now, effects);
        }
        if self.swap.reviews.over(&tenant).is_some() {
            self.swap.end(&tenant, now, effects);
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn due(&self) -> Option<Instant> {
        let reviews = self.reviews.due().into_iter().chain(self.swap.reviews.due());
        let others = self.answers.due().into_iter().chain(self.machines_due()).chain(self.authorizer.due());
        reviews.chain(others).min()
    }

    fn machines_due(&self) -> Option<Instant> {
        self.machines.due(&self.in_force.as_ref().map_or_else(Weak::new, Arc::downgrade))
    }

    /// Does what its time has come for: ends reviews, and lets go of what nobody asks for any more.
    pub fn tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        while let Some((tenant, number)) = self.reviews.expire(now, &mut self.authorizer, effects) {
            self.ledger.review_expired(&tenant, now);
            self.settle_requests(now, effects);
            if self.reviews.is_active(&tenant, number) {
                self.end_review(&tenant, number, now, effects);
            }
        }
        while let Some((tenant, number)) = self.swap.reviews.expire(now, &mut self.authorizer, effects) {
            self.ledger.review_expired(&tenant, now);
            self.settle_requests(now, effects);
            if self.swap.reviews.is_active(&tenant, number) {
                self.swap.end(&tenant, now, effects);
            }
        }
        if self.answers.due().is_some_and(|due| due <= now) {
            self.answers.sweep(now);
        }
        if self.machines_due().is_some_and(|due| due <= now) {
            self.machines.sweep(now);
        }
        if self.authorizer.due().is_some_and(|due| due <= now) {
            self.settle_requests(now, effects);
        }
    }

    /// Does what an event says of answers that are no longer good, or would say should a plugin fail. Returns the review
    /// that later events wait for.
    pub(super) fn forget(
        &mut self,
        owner: &Owner,
        plan: &Plan,
        rulebook: &Arc<Rulebook>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> Option<u64> {
        let mut forgotten: Vec<Forgotten> = Vec::new();
        for action in plan.actions().chain(plan.foretold()) {
            let Action::Forget(forget) = action else { continue };
            let is_of_tenant = rulebook.queries.is_of_tenant(forget.query);
            let Some(word) = forget.clone().named(&rulebook.queries.queries) else { continue };
            self.ledger.forgot();
            self.answers.forget(owner, &word);
            if let Some(tenant) = &owner.0 {
                self.with_means(now, |authorizer, means| authorizer.forget(tenant, &word, means));
            }
            if !is_of_tenant {
                effects.push(Effect::Forget(word.clone()));
                if owner.0.is_none() {
                    effects.push(Effect::ForgetForAll(word.clone()));
                }
            }
            forgotten.push(word);
        }
        if forgotten.is_empty() {
            return None;
        }
        self.settle_requests(now, effects);
        // Sessions have what they have by the rules in force, whichever the event came by.
        let in_force = self.in_force.as_ref().unwrap_or(rulebook);
        self.reviews.begin(owner.0.as_ref()?, forgotten, in_force, now, effects)
    }

    /// An event of no tenant says that answers are no longer good: to a query that is no tenant's own, whoever was given
    /// them. `tenants` are those of this lane that have sessions.
    pub fn forget_for_all(
        &mut self,
        word: &Forgotten,
        tenants: &[TenantId],
        rulebook: &Arc<Rulebook>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        self.answers.forget_for_all(word);
        self.with_means(now, |authorizer, means| authorizer.forget_for_all(word, means));
        self.settle_requests(now, effects);
        for tenant in tenants {
            let review = self.reviews.begin(tenant, vec![word.clone()], rulebook, now, effects);
            self.hold(&Owner(Some(tenant.clone())), review);
        }
    }

    /// Asks what topics need and there is room for, and tells what has come of those that are done.
    pub(super) fn settle_requests(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Self { authorizer, answers, machines, ledger, in_force, .. } = self;
        // Without a rulebook the lane has taken no request yet.
        if let Some(rulebook) = in_force {
            authorizer.ask(rulebook, &mut Means { answers, machines, ledger, now }, effects);
        }
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
                    if let Some(number) = self.reviews.judged(number, judged, now, effects) {
                        self.end_review(&tenant, number, now, effects);
                    }
                }
                Origin::Swap(number) => {
                    let tenant = judged.tenant.clone();
                    if self.swap.reviews.judged(number, judged, now, effects).is_some() {
                        self.swap.end(&tenant, now, effects);
                    }
                }
            }
        }
    }

    fn with_means(&mut self, now: Instant, then: impl FnOnce(&mut Authorizer, &mut Means<'_>)) {
        let Self { authorizer, answers, machines, ledger, .. } = self;
        then(authorizer, &mut Means { answers, machines, ledger, now });
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
