//! A cache whose room is shared fairly among those on whose behalf it is filled. No clock, no I/O.
//!
//! Invariant: there are never more entries, nor more bytes, than the bounds say.
//! Invariant: what has expired is never answered.
//! Invariant: an owner that holds less than its equal part of the bounds loses nothing to the others: whoever holds most
//! gives way, with what it has not used for longest.
//! Invariant: what is kept depends on the entries there are. An owner's bookkeeping goes with its last entry.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::time::Instant;

use hashbrown::{DefaultHashBuilder, Equivalent, HashMap, HashTable};
use slab::Slab;

/// Expired entries that an insertion takes away at most. More than one, so that they get fewer.
const SWEPT: usize = 32;
/// Entries whose room is kept when there are none any more.
const KEPT: usize = 1_024;

/// What is kept of values of type `V` by key, each on behalf of an owner.
pub struct Cache<K, O, V> {
    bounds: Bounds,
    entries: Slab<Entry<K, V>>,
    /// Where the entry of a key is.
    keys: HashTable<usize>,
    hasher: DefaultHashBuilder,
    expiries: BTreeSet<(Instant, usize)>,
    owners: Slab<Owner<O>>,
    /// Where an owner is.
    names: HashMap<O, usize>,
    /// The owners by what they hold. The last one gives way.
    ranks: BTreeMap<Rank, usize>,
    bytes: usize,
    uses: u64,
    evictions: u64,
}

/// How much a cache may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Entries at most.
    pub entries: usize,
    /// Bytes at most, as of the entries' weights.
    pub bytes: usize,
}

struct Entry<K, V> {
    key: K,
    value: V,
    weight: usize,
    owner: usize,
    expires: Instant,
    /// Which use of the cache was the last one of this entry.
    used: u64,
}

struct Owner<O> {
    name: O,
    /// Its entries, those first that have not been used for longest.
    entries: BTreeMap<u64, usize>,
    bytes: usize,
}

/// How much of the room an owner holds, and among equals, how long it has not used what it would lose.
type Rank = (u128, Reverse<u64>);

impl<K: Eq + Hash, O: Eq + Hash + Clone, V> Cache<K, O, V> {
    /// What an entry weighs by itself, in bytes, beyond what the caller says.
    pub const ENTRY: usize = size_of::<Entry<K, V>>() + 96;

    /// An empty one.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            entries: Slab::new(),
            keys: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            expiries: BTreeSet::new(),
            owners: Slab::new(),
            names: HashMap::new(),
            ranks: BTreeMap::new(),
            bytes: 0,
            uses: 0,
            evictions: 0,
        }
    }

    /// The value of this key, where there is one that has not expired. It counts as used.
    pub fn get<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q, now: Instant) -> Option<&V> {
        let index = self.find(key)?;
        if self.entries[index].expires <= now {
            self.take_out(index);
            return None;
        }
        self.uses += 1;
        let used = self.uses;
        let entry = &mut self.entries[index];
        let before = std::mem::replace(&mut entry.used, used);
        let owner = entry.owner;
        self.change(owner, |owner| {
            owner.entries.remove(&before);
            owner.entries.insert(used, index);
        });
        Some(&self.entries[index].value)
    }

    /// Keeps a value until `expires`, in the place of the key's former one. `weight` is what key and value hold on the
    /// heap, in bytes. Others give way where there is no room; a value that alone is over the bounds is not kept.
    pub fn insert(&mut self, key: K, owner: O, value: V, weight: usize, expires: Instant, now: Instant) {
        self.remove(&key);
        self.expire(now, SWEPT);
        let weight = weight.saturating_add(Self::ENTRY);
        if expires <= now || weight > self.bounds.bytes || self.bounds.entries == 0 {
            return;
        }
        let owner = *self.names.entry(owner).or_insert_with_key(|name| {
            self.owners.insert(Owner { name: name.clone(), entries: BTreeMap::new(), bytes: 0 })
        });
        self.uses += 1;
        let used = self.uses;
        let hash = self.hasher.hash_one(&key);
        let index = self.entries.insert(Entry { key, value, weight, owner, expires, used });
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.keys.insert_unique(hash, index, |index| hasher.hash_one(&entries[*index].key));
        self.expiries.insert((expires, index));
        self.bytes += weight;
        self.change(owner, |owner| {
            owner.entries.insert(used, index);
            owner.bytes += weight;
        });
        while self.entries.len() > self.bounds.entries || self.bytes > self.bounds.bytes {
            self.make_room(now);
        }
    }

    /// Takes out the value of this key.
    pub fn remove<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<V> {
        let index = self.find(key)?;
        Some(self.take_out(index))
    }

    /// Takes out all of this owner's entries for which `goes` holds. Looks at each of them. Returns how many went.
    pub fn remove_if(&mut self, owner: &O, mut goes: impl FnMut(&K, &V) -> bool) -> usize {
        let Some(owner) = self.names.get(owner) else { return 0 };
        let entries = self.owners[*owner].entries.values().copied();
        let going: Vec<usize> = entries
            .filter(|index| {
                let entry = &self.entries[*index];
                goes(&entry.key, &entry.value)
            })
            .collect();
        for index in &going {
            self.take_out(*index);
        }
        going.len()
    }

    /// Takes out entries that have expired, at most so many. Insertions do that too: this is for a cache into which
    /// nothing comes any more. Returns how many went.
    pub fn expire(&mut self, now: Instant, at_most: usize) -> usize {
        let mut gone = 0;
        while gone < at_most && self.expire_first(now) {
            gone += 1;
        }
        gone
    }

    /// Takes out everything.
    pub fn clear(&mut self) {
        let evictions = self.evictions;
        *self = Self { evictions, ..Self::new(self.bounds) };
    }

    /// When the next entry expires.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(expires, _)| *expires)
    }

    /// How many entries there are, expired ones that have not yet been taken out among them.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many of them are this owner's.
    pub fn len_of(&self, owner: &O) -> usize {
        self.names.get(owner).map_or(0, |index| self.owners[*index].entries.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the entries weigh.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// On behalf of how many owners there are entries.
    pub fn owners(&self) -> usize {
        self.owners.len()
    }

    /// How many entries have had to give way, ever.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    fn find<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<usize> {
        if self.entries.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(key);
        self.keys.find(hash, |index| key.equivalent(&self.entries[*index].key)).copied()
    }

    /// Takes out an entry that has expired, or else the one that gives way.
    fn make_room(&mut self, now: Instant) {
        if self.expire_first(now) {
            return;
        }
        let holds_most = self.ranks.last_key_value().map(|(_, owner)| *owner);
        let oldest = holds_most.and_then(|owner| self.owners[owner].entries.first_key_value());
        if let Some(index) = oldest.map(|(_, index)| *index) {
            self.take_out(index);
            self.evictions += 1;
        }
    }

    fn expire_first(&mut self, now: Instant) -> bool {
        match self.expiries.first() {
            Some((expires, index)) if *expires <= now => {
                let index = *index;
                self.take_out(index);
                true
            }
            _ => false,
        }
    }

    fn take_out(&mut self, index: usize) -> V {
        let Entry { key, value, weight, owner, expires, used } = self.entries.remove(index);
        let hash = self.hasher.hash_one(&key);
        if let Ok(place) = self.keys.find_entry(hash, |other| *other == index) {
            place.remove();
        }
        self.expiries.remove(&(expires, index));
        self.bytes -= weight;
        self.change(owner, |owner| {
            owner.entries.remove(&used);
            owner.bytes -= weight;
        });
        if self.entries.is_empty() && self.entries.capacity() > KEPT {
            self.clear();
        }
        value
    }

    /// Changes what an owner holds, and its rank with it.
    fn change(&mut self, index: usize, change: impl FnOnce(&mut Owner<O>)) {
        let owner = &mut self.owners[index];
        let before = owner.rank(self.bounds);
        change(owner);
        let after = owner.rank(self.bounds);
        if before == after {
            return;
        }
        if let Some(rank) = before {
            self.ranks.remove(&rank);
        }
        if let Some(rank) = after {
            self.ranks.insert(rank, index);
        } else {
            let owner = self.owners.remove(index);
            self.names.remove(&owner.name);
        }
    }
}

impl<O> Owner<O> {
    /// `None` where it holds nothing. No two owners have the same: no two entries were used at once.
    fn rank(&self, bounds: Bounds) -> Option<Rank> {
        let (oldest, _) = self.entries.first_key_value()?;
        // Its part of the entries or of the bytes, whichever is larger, as a fraction of `entries` times `bytes`.
        let of_entries = self.entries.len() as u128 * bounds.bytes as u128;
        let of_bytes = self.bytes as u128 * bounds.entries as u128;
        Some((of_entries.max(of_bytes), Reverse(*oldest)))
    }
}

impl<K, O, V> fmt::Debug for Cache<K, O, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys and values may be secrets.
        f.debug_struct("Cache")
            .field("bounds", &self.bounds)
            .field("entries", &self.entries.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
