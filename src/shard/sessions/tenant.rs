//! One tenant's part of the indexes: its sessions, its users, the topics that they look at.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use slab::Slab;
use smallvec::SmallVec;

use super::narrow;
use crate::event::{TenantId, Topic, UserId};

#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) name: TenantId,
    pub(super) sessions: Vec<u32>,
    pub(super) users: HashMap<UserId, SmallVec<[u32; 2]>>,
    pub(super) topics: Slab<TopicEntry>,
    /// Topics by name, the name kept once, in the entry.
    topic_index: HashTable<u32>,
}

#[derive(Debug)]
pub(super) struct TopicEntry {
    pub(super) name: Topic,
    pub(super) subscribers: SmallVec<[Subscriber; 2]>,
}

/// A topic's side of a subscription.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriber {
    pub(super) session: u32,
    /// Where the topic stands in the session's list.
    pub(super) among_subscriptions: u32,
}

impl Subscriber {
    pub(super) fn is(self, session: u32) -> bool {
        #[cfg(test)]
        super::tests::cost::count();
        self.session == session
    }
}

impl Tenant {
    pub(super) fn new(name: TenantId) -> Self {
        Self { name, sessions: Vec::new(), users: HashMap::new(), topics: Slab::new(), topic_index: HashTable::new() }
    }

    pub(super) fn topic(&self, name: &Topic, hasher: &DefaultHashBuilder) -> Option<u32> {
        let hash = hash(hasher, name);
        self.topic_index.find(hash, |index| self.topics[*index as usize].name == *name).copied()
    }

    pub(super) fn topic_or_new(&mut self, name: Topic, hasher: &DefaultHashBuilder) -> u32 {
        if let Some(index) = self.topic(&name, hasher) {
            return index;
        }
        let hash_of_name = hash(hasher, &name);
        let index = narrow(self.topics.insert(TopicEntry { name, subscribers: SmallVec::new() }));
        let topics = &self.topics;
        self.topic_index.insert_unique(hash_of_name, index, |index| hash(hasher, &topics[*index as usize].name));
        index
    }

    pub(super) fn forget_topic(&mut self, index: u32, hasher: &DefaultHashBuilder) {
        let entry = self.topics.remove(index as usize);
        if let Ok(found) = self.topic_index.find_entry(hash(hasher, &entry.name), |other| *other == index) {
            found.remove();
        }
    }

    /// The entries of these topics and of the wildcards that hold them: each once, in ascending order.
    pub(super) fn named(&self, topics: &[Topic], hasher: &DefaultHashBuilder) -> SmallVec<[u32; 4]> {
        let of = |name: &Topic| [self.topic(name, hasher), self.topic(&name.wildcard(), hasher)];
        let mut found: SmallVec<[u32; 4]> = topics.iter().flat_map(of).flatten().collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    pub(super) fn subscribers(&self, topics: &[u32]) -> usize {
        topics.iter().map(|topic| self.topics[*topic as usize].subscribers.len()).sum()
    }
}

fn hash(hasher: &DefaultHashBuilder, name: &Topic) -> u64 {
    hasher.hash_one(name)
}
