//! The cache beside a naive one that does the same by looking at everything.
#![expect(clippy::disallowed_methods, reason = "a test is an edge: it needs some time to start from")]

use std::time::Duration;

use proptest::prelude::*;

use super::*;

type Numbers = Cache<u8, u8, u32>;

const ENTRY: usize = Numbers::ENTRY;

#[derive(Clone, Debug)]
enum Step {
    Get(u8),
    Insert { key: u8, owner: u8, weight: usize, for_ms: u64 },
    Remove(u8),
    RemoveIf { owner: u8, odd: bool },
    Expire(usize),
    Pass(u64),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..14_u8;
    prop_oneof![
        6 => key.clone().prop_map(Step::Get),
        10 => (key.clone(), 0..4_u8, prop_oneof![0..60_usize, 0..2_000_usize], 0..60_u64)
            .prop_map(|(key, owner, weight, for_ms)| Step::Insert { key, owner, weight, for_ms }),
        1 => key.prop_map(Step::Remove),
        1 => (0..4_u8, any::<bool>()).prop_map(|(owner, odd)| Step::RemoveIf { owner, odd }),
        1 => (0..4_usize).prop_map(Step::Expire),
        3 => (0..30_u64).prop_map(Step::Pass),
        1 => Just(Step::Clear),
    ]
}

/// One entry of the naive cache.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    key: u8,
    owner: u8,
    value: u32,
    weight: usize,
    expires: Instant,
}

/// The naive cache: a list, what was used last at its end.
#[derive(Debug)]
struct Model {
    bounds: Bounds,
    list: Vec<Kept>,
    evictions: u64,
}

impl Model {
    fn get(&mut self, key: u8, now: Instant) -> Option<u32> {
        let kept = self.remove(key).filter(|kept| kept.expires > now)?;
        self.list.push(kept.clone());
        Some(kept.value)
    }

    fn remove(&mut self, key: u8) -> Option<Kept> {
        let at = self.list.iter().position(|kept| kept.key == key)?;
        Some(self.list.remove(at))
    }

    fn bytes(&self) -> usize {
        self.list.iter().map(|kept| kept.weight).sum()
    }

    fn insert(&mut self, kept: Kept, now: Instant) {
        self.remove(kept.key);
        self.list.retain(|kept| kept.expires > now);
        if kept.expires <= now || kept.weight > self.bounds.bytes {
            return;
        }
        self.list.push(kept);
        while self.list.len() > self.bounds.entries || self.bytes() > self.bounds.bytes {
            let part = |owner: u8| {
                let of_owner = self.list.iter().filter(|kept| kept.owner == owner);
                let (count, bytes) = of_owner.fold((0, 0), |(n, bytes), kept| (n + 1, bytes + kept.weight));
                (count * self.bounds.bytes).max(bytes * self.bounds.entries)
            };
            let most = self.list.iter().map(|kept| part(kept.owner)).max().unwrap();
            let victim = self.list.iter().position(|kept| part(kept.owner) == most).unwrap();
            // Who has less than an equal part of both bounds is nobody's victim.
            let owners = self.list.iter().map(|kept| kept.owner).collect::<std::collections::HashSet<_>>().len();
            assert!(most * owners >= self.bounds.entries * self.bounds.bytes, "{self:?}");
            self.list.remove(victim);
            self.evictions += 1;
        }
    }
}

proptest! {
    #[test]
    fn it_does_what_a_naive_one_does(
        entries in 1..9_usize,
        bytes in 1..6_usize,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let bounds = Bounds { entries, bytes: bytes * (ENTRY + 40) };
        let mut cache = Numbers::new(bounds);
        let mut model = Model { bounds, list: Vec::new(), evictions: 0 };
        let mut now = Instant::now();
        for (value, step) in (0..).zip(steps) {
            match step {
                Step::Get(key) => prop_assert_eq!(cache.get(&key, now).copied(), model.get(key, now)),
                Step::Insert { key, owner, weight, for_ms } => {
                    let expires = now + Duration::from_millis(for_ms);
                    cache.insert(key, owner, value, weight, expires, now);
                    model.insert(Kept { key, owner, value, weight: weight + ENTRY, expires }, now);
                }
                Step::Remove(key) => prop_assert_eq!(cache.remove(&key), model.remove(key).map(|kept| kept.value)),
                Step::RemoveIf { owner, odd } => {
                    let goes = |value: u32| (value % 2 == 1) == odd;
                    let before = model.list.len();
                    model.list.retain(|kept| kept.owner != owner || !goes(kept.value));
                    let gone = cache.remove_if(&owner, |_, value| goes(*value));
                    prop_assert_eq!(gone, before - model.list.len());
                }
                Step::Expire(at_most) => {
                    let mut expired: Vec<Kept> = model.list.iter().filter(|k| k.expires <= now).cloned().collect();
                    // Of those that expired at the same time, either may go.
                    expired.sort_by_key(|kept| kept.expires);
                    let gone = cache.expire(now, at_most);
                    prop_assert_eq!(gone, at_most.min(expired.len()));
                    cache.expire(now, usize::MAX);
                    model.list.retain(|kept| kept.expires > now);
                }
                Step::Pass(ms) => now += Duration::from_millis(ms),
                Step::Clear => {
                    cache.clear();
                    model.list.clear();
                }
            }
            let owners = model.list.iter().map(|kept| kept.owner).collect::<std::collections::HashSet<_>>();
            prop_assert_eq!(
                (cache.len(), cache.bytes(), cache.evictions(), cache.owners(), cache.next_expiry()),
                (
                    model.list.len(),
                    model.bytes(),
                    model.evictions,
                    owners.len(),
                    model.list.iter().map(|kept| kept.expires).min(),
                )
            );
            prop_assert!(cache.len() <= bounds.entries && cache.bytes() <= bounds.bytes);
            prop_assert_eq!(cache.keys.len(), cache.len());
            prop_assert_eq!((cache.ranks.len(), cache.names.len()), (cache.owners(), cache.owners()));
        }
    }
}

/// A cache for so many numbers, filled with these owners' keys, in order.
fn filled(entries: usize, owners: &[u8], now: Instant) -> Numbers {
    let mut cache = Numbers::new(Bounds { entries, bytes: usize::MAX });
    for (key, owner) in (0..).zip(owners) {
        cache.insert(key, *owner, 0, 0, now + Duration::from_secs(10), now);
    }
    cache
}

#[test]
fn an_owner_that_asks_for_much_loses_its_own() {
    let now = Instant::now();
    let mut owners = vec![1, 1, 2];
    owners.extend([9; 200]);
    let mut cache = filled(8, &owners, now);
    assert!((0..3).all(|key| cache.get(&key, now).is_some()));
    assert_eq!((cache.len(), cache.owners(), cache.evictions()), (8, 3, 195));
}

#[test]
fn among_equals_what_has_not_been_used_for_longest_gives_way() {
    let now = Instant::now();
    let mut cache = filled(4, &[1, 2, 3, 4], now);
    cache.get(&0, now);
    for (key, owner) in [(10, 5), (11, 6)] {
        cache.insert(key, owner, 0, 0, now + Duration::from_secs(1), now);
    }
    let there: Vec<u8> = (0..12).filter(|key| cache.get(key, now).is_some()).collect();
    assert_eq!(there, [0, 3, 10, 11]);
}

#[test]
fn what_nobody_asks_for_again_goes_when_it_has_expired_and_its_room_with_it() {
    let now = Instant::now();
    let mut cache = Cache::<u32, u32, u32>::new(Bounds { entries: 10_000, bytes: usize::MAX });
    for key in 0..5_000 {
        cache.insert(key, key % 7, 0, 100, now + Duration::from_secs(1), now);
    }
    let later = now + Duration::from_secs(1);
    cache.insert(9_000, 1, 0, 0, later + Duration::from_secs(1), later);
    assert_eq!(cache.len(), 5_001 - SWEPT);
    assert_eq!(cache.expire(later, 10_000), 5_000 - SWEPT);
    assert_eq!((cache.len(), cache.owners(), cache.evictions()), (1, 1, 0));
    cache.expire(later + Duration::from_secs(1), 10);
    assert_eq!((cache.bytes(), cache.entries.capacity(), cache.keys.capacity()), (0, 0, 0));
}

#[test]
fn a_value_that_is_over_the_bounds_is_not_kept_and_its_former_one_neither() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    let mut cache = Numbers::new(Bounds { entries: 10, bytes: 2 * ENTRY + 100 });
    cache.insert(1, 1, 1, 50, later, now);
    cache.insert(2, 2, 2, 50, later, now);
    cache.insert(1, 1, 1, 2 * ENTRY, later, now);
    assert_eq!(cache.get(&1, now), None);
    assert_eq!(cache.get(&2, now), Some(&2));
    cache.insert(3, 1, 1, usize::MAX, later, now);
    cache.insert(3, 1, 1, 0, now, now);
    assert_eq!((cache.len(), cache.evictions()), (1, 0));
}
