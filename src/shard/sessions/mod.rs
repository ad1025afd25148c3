//! The sessions of one shard, and the indexes that find them: by tenant, user, topic.
//!
//! Invariant: everything is below its tenant. There is no way to look up a user or topic without one, and only an
//! audience whose scope is every tenant walks over all of them.
//!
//! Invariant: every list is kept by back-pointers, so that joining and leaving cost the same however many are in it.

mod deliver;
mod tenant;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hashbrown::HashMap;
use slab::Slab;

use self::tenant::{Subscriber, Tenant};
use crate::auth::{Attributes, Identity};
use crate::event::{TenantId, Topic, UserId};

/// Sessions whose room is kept when they have all left.
const CROWD: usize = 1024;

/// The place of a session in its shard's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(u32);

/// All sessions of one shard.
#[derive(Debug, Default)]
pub struct Sessions {
    all: Slab<Session>,
    tenants: Slab<Tenant>,
    by_name: HashMap<TenantId, u32>,
    hasher: hashbrown::DefaultHashBuilder,
    /// Of all sessions together.
    subscriptions: usize,
    /// Counts deliveries, so that a session can tell that it has this one already.
    delivery: u64,
}

/// An authenticated connection. Exists only once its identity is known, and never changes its tenant or user.
#[derive(Debug)]
struct Session {
    connection: u32,
    tenant: u32,
    user: UserId,
    attributes: Arc<Attributes>,
    /// Where it stands in its tenant's list.
    among_tenant: u32,
    /// Where it stands in its user's list.
    among_user: u32,
    subscriptions: Vec<Subscription>,
    expires_at: Option<SystemTime>,
    /// For when a timer of its end is set.
    armed: Option<Instant>,
    /// The last delivery that reached it.
    reached_by: u64,
}

/// A session's side of a subscription.
#[derive(Clone, Copy, Debug)]
struct Subscription {
    topic: u32,
    /// Where the session stands in the topic's list.
    among_topic: u32,
}

impl Subscription {
    fn is_to(self, topic: u32) -> bool {
        #[cfg(test)]
        tests::cost::count();
        self.topic == topic
    }
}

/// What a session is to others: for authorization.
#[derive(Clone, Copy, Debug)]
pub struct SessionView<'a> {
    /// Its tenant.
    pub tenant: &'a TenantId,
    /// Its user.
    pub user: &'a UserId,
    /// What else is known of the user.
    pub attributes: &'a Arc<Attributes>,
    /// How many topics it is subscribed to.
    pub topics: usize,
}

impl Sessions {
    /// Admits a session for a connection. Also tells whether it is the tenant's first on this shard.
    pub fn admit(&mut self, connection: u32, identity: Identity) -> (SessionId, bool) {
        let tenants = &mut self.tenants;
        let new = || narrow(tenants.insert(Tenant::new(identity.tenant.clone())));
        let tenant = *self.by_name.entry_ref(&identity.tenant).or_insert_with(new);
        let entry = &mut self.tenants[tenant as usize];
        let session = narrow(self.all.vacant_key());
        let user = entry.users.entry_ref(&identity.user).or_default();
        self.all.insert(Session {
            connection,
            tenant,
            user: identity.user,
            attributes: identity.attributes,
            among_tenant: narrow(entry.sessions.len()),
            among_user: narrow(user.len()),
            subscriptions: Vec::new(),
            expires_at: identity.expires_at,
            armed: None,
            reached_by: 0,
        });
        user.push(session);
        entry.sessions.push(session);
        (SessionId(session), entry.sessions.len() == 1)
    }

    /// A session's end. Returns its tenant where it was the tenant's last on this shard.
    pub fn remove(&mut self, id: SessionId) -> Option<TenantId> {
        while let Some(last) = self.all[id.0 as usize].subscriptions.last().copied() {
            self.leave_topic(id.0, last);
            self.all[id.0 as usize].subscriptions.pop();
            self.subscriptions -= 1;
        }
        let session = self.all.remove(id.0 as usize);
        let tenant = &mut self.tenants[session.tenant as usize];
        tenant.sessions.swap_remove(session.among_tenant as usize);
        if let Some(&moved) = tenant.sessions.get(session.among_tenant as usize) {
            self.all[moved as usize].among_tenant = session.among_tenant;
        }
        if let Some(of_user) = tenant.users.get_mut(&session.user) {
            of_user.swap_remove(session.among_user as usize);
            match of_user.get(session.among_user as usize) {
                Some(&moved) => self.all[moved as usize].among_user = session.among_user,
                None if of_user.is_empty() => drop(tenant.users.remove(&session.user)),
                None => {}
            }
        }
        if self.all.is_empty() && self.all.capacity() > CROWD {
            // What a crowd needed does not stay when all have left.
            self.all.shrink_to_fit();
        }
        if !tenant.sessions.is_empty() {
            return None;
        }
        let tenant = self.tenants.remove(session.tenant as usize);
        self.by_name.remove(&tenant.name);
        Some(tenant.name)
    }

    /// New attributes for the same user's session.
    pub fn refresh(&mut self, id: SessionId, attributes: Arc<Attributes>) {
        self.all[id.0 as usize].attributes = attributes;
    }

    /// When a session ends by itself.
    pub fn expiry(&self, id: SessionId) -> Option<SystemTime> {
        self.all[id.0 as usize].expires_at
    }

    /// When a session shall end by itself, from now on.
    pub fn set_expiry(&mut self, id: SessionId, expires_at: Option<SystemTime>) {
        self.all[id.0 as usize].expires_at = expires_at;
    }

    /// A timer for a session's end is to be set for `at`. `false` where one is set already that comes first.
    pub fn arm(&mut self, id: SessionId, at: Instant) -> bool {
        let armed = &mut self.all[id.0 as usize].armed;
        let is_new = armed.is_none_or(|before| at < before);
        if is_new {
            *armed = Some(at);
        }
        is_new
    }

    /// The timer for a session's end has come up.
    pub fn disarm(&mut self, id: SessionId) {
        self.all[id.0 as usize].armed = None;
    }

    /// What a session is to others.
    pub fn view(&self, id: SessionId) -> SessionView<'_> {
        let session = &self.all[id.0 as usize];
        SessionView {
            tenant: &self.tenants[session.tenant as usize].name,
            user: &session.user,
            attributes: &session.attributes,
            topics: session.subscriptions.len(),
        }
    }

    /// The topics that a session is subscribed to.
    pub fn topics(&self, id: SessionId) -> impl Iterator<Item = &Topic> {
        let session = &self.all[id.0 as usize];
        let topics = &self.tenants[session.tenant as usize].topics;
        session.subscriptions.iter().map(|subscription| &topics[subscription.topic as usize].name)
    }

    /// Subscribes a session to a topic that it may see. Does nothing where it is already.
    pub fn subscribe(&mut self, id: SessionId, topic: Topic) {
        let tenant = self.all[id.0 as usize].tenant as usize;
        let index = self.tenants[tenant].topic_or_new(topic, &self.hasher);
        if self.place(id.0, index).is_some() {
            return;
        }
        let session = &mut self.all[id.0 as usize];
        let subscribers = &mut self.tenants[tenant].topics[index as usize].subscribers;
        subscribers.push(Subscriber { session: id.0, among_subscriptions: narrow(session.subscriptions.len()) });
        let among_topic = narrow(subscribers.len() - 1);
        session.subscriptions.push(Subscription { topic: index, among_topic });
        self.subscriptions += 1;
    }

    /// Takes a session's subscription away. `false` where there is none.
    pub fn unsubscribe(&mut self, id: SessionId, topic: &Topic) -> bool {
        let session = &self.all[id.0 as usize];
        let Some(index) = self.tenants[session.tenant as usize].topic(topic, &self.hasher) else { return false };
        let Some(at) = self.place(id.0, index) else { return false };
        let subscription = session.subscriptions[at];
        self.leave_topic(id.0, subscription);
        let session = &mut self.all[id.0 as usize];
        session.subscriptions.swap_remove(at);
        self.subscriptions -= 1;
        if let Some(moved) = session.subscriptions.get(at) {
            let topic = &mut self.tenants[session.tenant as usize].topics[moved.topic as usize];
            topic.subscribers[moved.among_topic as usize].among_subscriptions = narrow(at);
        }
        true
    }

    /// The connections of a tenant's sessions, or of all sessions.
    pub fn connections(&self, tenant: Option<&TenantId>) -> Vec<u32> {
        let connection = |session: &u32| self.all[*session as usize].connection;
        match tenant {
            None => self.all.iter().map(|(_, session)| session.connection).collect(),
            Some(name) => self
                .by_name
                .get(name)
                .map_or(Vec::new(), |tenant| self.tenants[*tenant as usize].sessions.iter().map(connection).collect()),
        }
    }

    /// The connections of these users of a tenant.
    pub fn connections_of(&self, tenant: &TenantId, users: &[UserId]) -> Vec<u32> {
        let Some(tenant) = self.by_name.get(tenant) else { return Vec::new() };
        let sessions = users.iter().filter_map(|user| self.tenants[*tenant as usize].users.get(user)).flatten();
        let mut connections: Vec<u32> = sessions.map(|session| self.all[*session as usize].connection).collect();
        // A user who is named twice leaves once.
        connections.sort_unstable();
        connections.dedup();
        connections
    }

    /// The subscriptions of a tenant to topics for which `is_meant` holds: by connection, all of one in a row.
    pub fn subscriptions(&self, tenant: &TenantId, is_meant: impl Fn(&Topic) -> bool) -> Vec<(u32, Topic)> {
        let Some(tenant) = self.by_name.get(tenant) else { return Vec::new() };
        let topics = self.tenants[*tenant as usize].topics.iter().filter(|(_, entry)| is_meant(&entry.name));
        let subscribed = topics.flat_map(|(_, entry)| {
            let connection = |subscriber: &Subscriber| self.all[subscriber.session as usize].connection;
            entry.subscribers.iter().map(move |subscriber| (connection(subscriber), entry.name.clone()))
        });
        let mut all: Vec<(u32, Topic)> = subscribed.collect();
        all.sort_unstable_by_key(|(connection, _)| *connection);
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// How many subscriptions they have together.
    pub fn subscribed(&self) -> usize {
        self.subscriptions
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Finds a topic in a session's list. Searches the shorter of two lists, the session's topics and the topic's
    /// subscribers, so that a session with many topics does not search all of them for each one.
    fn place(&self, session: u32, topic: u32) -> Option<usize> {
        let own = &self.all[session as usize];
        let subscribers = &self.tenants[own.tenant as usize].topics[topic as usize].subscribers;
        if own.subscriptions.len() <= subscribers.len() {
            own.subscriptions.iter().position(|subscription| subscription.is_to(topic))
        } else {
            let subscriber = subscribers.iter().find(|subscriber| subscriber.is(session))?;
            Some(subscriber.among_subscriptions as usize)
        }
    }

    /// Takes a session out of a topic's list, and the topic away with its last subscriber. The session's own list is
    /// the caller's to mend.
    fn leave_topic(&mut self, session: u32, subscription: Subscription) {
        let tenant = &mut self.tenants[self.all[session as usize].tenant as usize];
        let subscribers = &mut tenant.topics[subscription.topic as usize].subscribers;
        subscribers.swap_remove(subscription.among_topic as usize);
        match subscribers.get(subscription.among_topic as usize) {
            Some(moved) => {
                let mirror = &mut self.all[moved.session as usize].subscriptions;
                mirror[moved.among_subscriptions as usize].among_topic = subscription.among_topic;
            }
            None if subscribers.is_empty() => tenant.forget_topic(subscription.topic, &self.hasher),
            None => {}
        }
    }
}

/// Indexes of a shard are 32 bits wide: it has far fewer descriptors than that.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 of anything on a shard")
}
