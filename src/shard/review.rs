//! What lanes want of sessions when rights have changed: to know who is subscribed to what, to take subscriptions away,
//! to close connections.
//!
//! Invariant: what a lane said before is done before what it says after: a subscription that it takes away gets none of
//! the events that follow.

use std::sync::Arc;

use super::connection::Phase;
use super::run::Shard;
use super::{AuthorizeRequest, ConnectionKey, Review, Reviewed, SessionId, Subscriber, Verdict};
use crate::event::{TenantId, Topic, UserId};
use crate::wire::{CloseReason, reply};

/// Subscriptions told at once.
const PORTION: usize = 256;

/// The subscriptions of a review that are still to be told, and those that were told last, at the end.
#[derive(Debug)]
pub(super) struct UnderReview {
    order: Arc<Review>,
    subscriptions: Vec<(ConnectionKey, Topic)>,
    /// How many of them are still to be told.
    untold: usize,
}

impl Shard {
    /// A lane wants to know who is subscribed to what this is about.
    pub(super) fn review(&mut self, order: Arc<Review>) {
        let is_meant = |topic: &Topic| {
            let patterns = order.patterns.as_ref();
            patterns.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(topic).is_some()))
        };
        let found = self.sessions.subscriptions(&order.tenant, is_meant);
        let subscriptions: Vec<_> = found.into_iter().map(|(index, topic)| (self.key(index as usize), topic)).collect();
        let untold = subscriptions.len();
        self.reviews.push(UnderReview { order, subscriptions, untold });
        self.tell_portion(self.reviews.len() - 1);
    }

    /// The lane has taken the last portion of this.
    pub(super) fn review_on(&mut self, order: &Arc<Review>) {
        let Some(at) = self.reviews.iter().position(|review| Arc::ptr_eq(&review.order, order)) else { return };
        let review = &mut self.reviews[at];
        review.subscriptions.truncate(review.untold);
        if review.untold == 0 {
            self.reviews.swap_remove(at);
        } else {
            self.tell_portion(at);
        }
    }

    /// The lane cannot wait any longer for what it does not know of this.
    pub(super) fn withdraw(&mut self, order: &Arc<Review>) {
        let Some(at) = self.reviews.iter().position(|review| Arc::ptr_eq(&review.order, order)) else { return };
        let mut subscriptions = self.reviews.swap_remove(at).subscriptions.into_iter().peekable();
        while let Some((key, topic)) = subscriptions.next() {
            let mut topics = vec![(topic, Verdict::Unavailable)];
            while let Some((_, topic)) = subscriptions.next_if(|(other, _)| *other == key) {
                topics.push((topic, Verdict::Unavailable));
            }
            self.unsubscribe(key, topics);
        }
    }

    /// A session's user is known by other attributes than before: asks whether it may still have what it has.
    pub(super) fn ask_again(&mut self, index: usize, session: SessionId) {
        let topics: Vec<Topic> = self.sessions.topics(session).cloned().collect();
        if topics.is_empty() {
            return;
        }
        let (view, connection) = (self.sessions.view(session), self.key(index));
        let request = AuthorizeRequest {
            shard: self.id,
            connection,
            user: view.user.clone(),
            tenant: view.tenant.clone(),
            attributes: Arc::clone(view.attributes),
            topics,
            has_them: true,
        };
        if let Err(request) = self.parts.lanes.authorize(request) {
            // Nobody can be asked now.
            let unknown = request.topics.into_iter().map(|topic| (topic, Verdict::Unavailable));
            self.unsubscribe(connection, unknown.collect());
        }
    }

    /// Takes subscriptions of a session away, and tells the client.
    pub(super) fn unsubscribe(&mut self, key: ConnectionKey, mut topics: Vec<(Topic, Verdict)>) {
        let Some(index) = self.index(key) else { return };
        let Phase::Session(session) = self.connections[index].phase else { return };
        topics.retain(|(topic, _)| self.sessions.unsubscribe(session, topic));
        self.parts.metrics.subscriptions_withdrawn().inc_by(topics.len() as u64);
        let (denied, unknown): (Vec<_>, Vec<_>) =
            topics.iter().partition(|(_, verdict)| *verdict != Verdict::Unavailable);
        for (topics, why) in [(denied, reply::NO_LONGER_ALLOWED), (unknown, reply::NOT_KNOWN_TO_BE_ALLOWED)] {
            let topics: Vec<&str> = topics.iter().map(|(topic, _)| topic.as_str()).collect();
            if !topics.is_empty() {
                self.say(index, &reply::withdrawn(&topics, why));
            }
        }
    }

    /// Closes the connections of these users.
    pub(super) fn disconnect(&mut self, tenant: &TenantId, users: &[UserId]) {
        for index in self.sessions.connections_of(tenant, users) {
            if let Some(held_back) = self.log.disconnected.admit_at(self.now) {
                tracing::info!(shard = self.id.index(), %tenant, held_back, "a session is closed since an event said so");
            }
            self.close(index as usize, CloseReason::Kicked);
            self.parts.metrics.disconnects().inc();
        }
    }

    /// Tells the next portion of a review. Where the lane has no ear for it, it will have the rest withdrawn.
    fn tell_portion(&mut self, at: usize) {
        let UnderReview { order, subscriptions, untold } = &mut self.reviews[at];
        let order = Arc::clone(order);
        let told = untold.saturating_sub(PORTION);
        let portion = subscriptions[told..*untold].to_vec();
        *untold = told;
        let mut subscribers: Vec<Subscriber> = Vec::new();
        for (connection, topic) in portion {
            if let Some(last) = subscribers.last_mut().filter(|last| last.connection == connection) {
                last.topics.push(topic);
                continue;
            }
            let Some(index) = self.index(connection) else { continue };
            let Phase::Session(session) = self.connections[index].phase else { continue };
            let view = self.sessions.view(session);
            let (user, attributes) = (view.user.clone(), Arc::clone(view.attributes));
            subscribers.push(Subscriber { connection, user, attributes, topics: vec![topic] });
        }
        let word = Reviewed { shard: self.id, review: order, subscribers, is_last: told == 0 };
        if !self.parts.lanes.reviewed(word)
            && let Some(held_back) = self.log.lane.admit_at(self.now)
        {
            tracing::warn!(shard = self.id.index(), held_back, "a lane does not hear who is subscribed");
        }
    }
}
