//! Those who are there: sessions in a shard's own index, which says who gets what.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;

use crate::auth::{Attributes, Identity};
use crate::config::TestSession;
use crate::event::{Audience, Event, TenantId, Topic, UserId};
use crate::shard::Sessions;

/// A session that somebody says is there.
#[derive(Clone, Debug)]
pub struct Person {
    /// What it is called.
    pub name: CompactString,
    /// Whose it is.
    pub user: UserId,
    /// Of which tenant.
    pub tenant: TenantId,
    /// What else is known of the user.
    pub attributes: Arc<Attributes>,
    /// What it is subscribed to.
    pub topics: Vec<Topic>,
}

/// All of them, as a shard holds them. They are numbered in the order in which they were given.
#[derive(Debug)]
pub(crate) struct Crowd(Sessions);

impl From<&TestSession> for Person {
    fn from(session: &TestSession) -> Self {
        let identity = &session.identity;
        Self {
            name: session.name.clone(),
            user: identity.user.clone(),
            tenant: identity.tenant.clone(),
            attributes: Arc::new(identity.attributes.iter().cloned().collect()),
            topics: session.topics.clone(),
        }
    }
}

impl Crowd {
    pub(crate) fn new(people: &[Person]) -> Self {
        let mut sessions = Sessions::default();
        for (number, person) in (0..).zip(people) {
            let identity = Identity {
                user: person.user.clone(),
                tenant: person.tenant.clone(),
                attributes: Arc::clone(&person.attributes),
                expires_at: None,
            };
            let (id, _) = sessions.admit(number, identity);
            person.topics.iter().for_each(|topic| sessions.subscribe(id, topic.clone()));
        }
        Self(sessions)
    }

    /// Who gets the event by these audiences, by number, and what for a payload.
    pub(crate) fn reached(&mut self, audiences: &[Audience], event: &Event) -> BTreeMap<usize, Vec<u8>> {
        let clauses: Vec<_> = audiences.iter().flat_map(Audience::clauses).collect();
        let mut reached = BTreeMap::new();
        self.0.deliver(audiences, |number, clause| {
            reached.insert(number as usize, clauses[clause].payload.of(event).into_owned());
        });
        reached
    }
}
