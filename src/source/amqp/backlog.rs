//! What waits where the broker waits for nothing: bounded, and when it is full the oldest is shed.
//!
//! Invariant: within its bounds after every call, but for one item that is larger than the bound by itself.

use std::collections::VecDeque;

/// Items that wait at most.
const ITEMS: usize = 16_384;
/// Bytes of them at most.
const BYTES: usize = 64 << 20;

/// Items in the order in which they came.
#[derive(Debug)]
pub(super) struct Backlog<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T> Backlog<T> {
    /// With nothing in it.
    pub(super) const fn new() -> Self {
        Self { items: VecDeque::new(), bytes: 0 }
    }

    /// Adds an item of this many bytes, and answers how many old ones were shed for it.
    pub(super) fn push(&mut self, item: T, bytes: usize) -> u64 {
        let mut shed = 0;
        while !self.items.is_empty() && (self.items.len() >= ITEMS || self.bytes + bytes > BYTES) {
            self.pop();
            shed += 1;
        }
        self.items.push_back((item, bytes));
        self.bytes += bytes;
        shed
    }

    /// Takes the oldest item.
    pub(super) fn pop(&mut self) -> Option<T> {
        let (item, bytes) = self.items.pop_front()?;
        self.bytes -= bytes;
        if self.items.is_empty() {
            // What a burst needed is not kept for ever.
            self.items = VecDeque::new();
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_oldest_are_shed_by_number_and_by_size() {
        let mut backlog = Backlog::new();
        for item in 0..ITEMS {
            assert_eq!(backlog.push(item, 1), 0);
        }
        assert_eq!(backlog.push(ITEMS, 1), 1);
        assert_eq!(backlog.pop(), Some(1));
        assert_eq!(backlog.push(0, BYTES - 1), ITEMS as u64 - 2, "room for one small one beside it");
        assert_eq!((backlog.pop(), backlog.pop(), backlog.pop()), (Some(ITEMS), Some(0), None));
        assert_eq!(backlog.push(1, 2 * BYTES), 0, "one that is too large by itself still goes through");
        assert_eq!(backlog.pop(), Some(1));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_in_order_and_what_is_missing_was_shed(
            steps in prop::collection::vec((any::<bool>(), 0_usize..BYTES / 3), 1..200),
        ) {
            let (mut backlog, mut pushed, mut shed) = (Backlog::new(), 0_u64, 0);
            let mut taken = Vec::new();
            for (push, bytes) in steps {
                if push {
                    shed += backlog.push(pushed, bytes);
                    pushed += 1;
                } else {
                    taken.extend(backlog.pop());
                }
                prop_assert!(backlog.bytes <= BYTES && backlog.items.len() <= ITEMS);
            }
            taken.extend(std::iter::from_fn(|| backlog.pop()));
            prop_assert!(taken.is_sorted_by(|a, b| a < b));
            prop_assert_eq!(taken.len() as u64 + shed, pushed);
        }
    }
}
