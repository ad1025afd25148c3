//! Which of a stream's items are frequent, in bounded memory.
//!
//! Invariant: at most `capacity` items are held. An item's count is never above how often it came, and below that by at
//! most the number of all items divided by `capacity + 1` (the summary of Misra and Gries): so whatever came more often
//! than that is held.

use std::hash::Hash;

use hashbrown::HashMap;

/// The frequent items since it was last emptied.
#[derive(Debug)]
pub(super) struct Frequent<T> {
    counts: HashMap<T, u64>,
    capacity: usize,
}

impl<T: Clone + Eq + Hash> Frequent<T> {
    /// Holds at most so many items.
    pub(super) fn new(capacity: usize) -> Self {
        Self { counts: HashMap::new(), capacity }
    }

    /// An item came.
    pub(super) fn add(&mut self, item: &T) {
        if let Some(count) = self.counts.get_mut(item) {
            *count += 1;
        } else if self.counts.len() < self.capacity {
            self.counts.insert(item.clone(), 1);
        } else {
            // Looks at all of them, and takes one off each: it cannot happen more often than they came.
            self.counts.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
        }
    }

    /// Empties it, and answers the most frequent `number` of items, the first one first.
    pub(super) fn take(&mut self, number: usize) -> Vec<(T, u64)> {
        let mut items: Vec<(T, u64)> = std::mem::take(&mut self.counts).into_iter().collect();
        items.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(*count));
        items.truncate(number);
        items
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAPACITY: usize = 5;

    proptest! {
        #[test]
        fn what_is_frequent_is_held_and_no_count_is_too_high(
            items in prop::collection::vec(prop_oneof![0_u32..4, 0_u32..100], 0..400),
        ) {
            let mut frequent = Frequent::new(CAPACITY);
            for item in &items {
                frequent.add(item);
                prop_assert!(frequent.counts.len() <= CAPACITY);
            }
            let missing = items.len() as u64 / (CAPACITY as u64 + 1);
            let held = frequent.take(usize::MAX);
            for item in 0..100 {
                let came = items.iter().filter(|other| **other == item).count() as u64;
                let count = held.iter().find(|(other, _)| *other == item).map_or(0, |(_, count)| *count);
                prop_assert!(count <= came && came - count <= missing, "{item}: {count} of {came}");
            }
            prop_assert!(held.is_sorted_by_key(|(_, count)| std::cmp::Reverse(*count)));
            prop_assert!(frequent.take(1).is_empty());
        }
    }
}
