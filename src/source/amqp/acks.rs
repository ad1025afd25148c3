//! Which acknowledgements to send: a state machine without I/O and clock.
//!
//! Deliveries of a channel are numbered from 1 in order and are settled in any order. Where they come back in order, one
//! acknowledgement stands for many. Where the oldest one stays out, as when its tenant waits for a slow query, those
//! behind it are acknowledged one by one, so that one slow tenant does not use up the prefetch.
//!
//! Invariant: every settled delivery is acknowledged exactly once and none before it is settled. `UpTo` names a delivery
//! that has not been acknowledged yet: the broker closes a channel that names one it no longer knows.

use std::collections::VecDeque;

/// An acknowledgement to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ack {
    /// Of this delivery and all before it that are still out.
    UpTo(u64),
    /// Of this delivery alone.
    One(u64),
}

/// The deliveries of one channel from the oldest one that is out.
#[derive(Debug)]
pub(super) struct AckWindow {
    /// The number of the delivery that `done` begins with.
    oldest: u64,
    /// Of each delivery from the oldest on, whether it is settled, or acknowledged already.
    done: VecDeque<bool>,
    /// Deliveries that are settled and not acknowledged.
    settled: Vec<u64>,
    /// As many of them are worth an acknowledgement at once.
    batch: usize,
}

impl AckWindow {
    /// The window of a channel whose deliveries are of concern from this one on, for a consumer of this prefetch.
    pub(super) fn new(first: u64, prefetch: u16) -> Self {
        Self { oldest: first, done: VecDeque::new(), settled: Vec::new(), batch: batch(prefetch) }
    }

    /// The consumer has another prefetch from now on.
    pub(super) fn adapt(&mut self, prefetch: u16) {
        self.batch = batch(prefetch);
    }

    /// This delivery wants no acknowledgement: it came to a consumer that gives none.
    pub(super) fn skip(&mut self, tag: u64) {
        self.finish(tag);
    }

    /// All deliveries up to this one, which has come, are done with.
    pub(super) fn settle_up_to(&mut self, tag: u64) {
        for tag in self.oldest..=tag {
            self.settle(tag);
        }
    }

    /// This delivery is done with. Each is settled once.
    pub(super) fn settle(&mut self, tag: u64) {
        if self.finish(tag) {
            self.settled.push(tag);
        }
    }

    /// `false` for a delivery that was done with before, or that is before the window.
    fn finish(&mut self, tag: u64) -> bool {
        let Some(index) = tag.checked_sub(self.oldest).and_then(|index| usize::try_from(index).ok()) else {
            return false;
        };
        if index >= self.done.len() {
            self.done.resize(index + 1, false);
        }
        !std::mem::replace(&mut self.done[index], true)
    }

    /// Whether some are settled and not acknowledged: in a moment they should be, however few they are.
    pub(super) fn pending(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Whether enough are settled to acknowledge them now.
    pub(super) fn due(&self) -> bool {
        self.settled.len() >= self.batch
    }

    /// Acknowledges all up to the oldest delivery that is out. If that is nothing new, the oldest one has been out since
    /// the last flush, and those behind it are acknowledged one by one. Looks at nothing else behind the oldest one,
    /// which may be out for long.
    /// Adds the deliveries that these acknowledgements are of to `tags`.
    pub(super) fn flush(&mut self, acks: &mut Vec<Ack>, tags: &mut Vec<u64>) {
        let done = self.done.iter().take_while(|done| **done).count();
        self.done.drain(..done);
        self.oldest += done as u64;
        self.settled.sort_unstable();
        let in_order = self.settled.partition_point(|tag| *tag < self.oldest);
        if let Some(newest) = self.settled[..in_order].last() {
            acks.push(Ack::UpTo(*newest));
            tags.extend(self.settled.drain(..in_order));
        } else {
            acks.extend(self.settled.iter().copied().map(Ack::One));
            tags.append(&mut self.settled);
        }
    }
}

/// So many are worth an acknowledgement at once.
fn batch(prefetch: u16) -> usize {
    usize::from(prefetch / 4).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn flush(window: &mut AckWindow) -> Vec<Ack> {
        let (mut acks, mut tags) = (Vec::new(), Vec::new());
        window.flush(&mut acks, &mut tags);
        assert_eq!(tags.is_empty(), acks.is_empty());
        acks
    }

    #[test]
    fn in_order_one_acknowledgement_stands_for_many() {
        let mut window = AckWindow::new(1, 8);
        window.settle(1);
        assert!(window.pending() && !window.due());
        window.settle(2);
        assert!(window.due(), "a quarter of the prefetch");
        assert_eq!(flush(&mut window), [Ack::UpTo(2)]);
        assert!(!window.pending());
        assert_eq!(flush(&mut window), []);
    }

    #[test]
    fn behind_one_that_stays_out_each_is_acknowledged_alone() {
        let mut window = AckWindow::new(1, 100);
        for tag in [1, 3, 4] {
            window.settle(tag);
        }
        assert_eq!(flush(&mut window), [Ack::UpTo(1)], "2 may be only a little late");
        assert_eq!(flush(&mut window), [Ack::One(3), Ack::One(4)], "2 is stuck");
        window.settle(2);
        window.settle(6);
        assert_eq!(flush(&mut window), [Ack::UpTo(2)], "4 is no longer known to the broker");
        window.settle(5);
        assert_eq!(flush(&mut window), [Ack::UpTo(6)]);
    }

    #[test]
    fn deliveries_of_a_consumer_without_acknowledgements_are_passed_over() {
        let mut window = AckWindow::new(1000, 4);
        window.settle(999);
        assert!(!window.pending(), "before its time");
        for tag in [1000, 1002] {
            window.skip(tag);
        }
        window.settle(1001);
        assert_eq!(flush(&mut window), [Ack::UpTo(1001)]);
        window.settle(1003);
        assert_eq!(flush(&mut window), [Ack::UpTo(1003)]);
    }

    #[test]
    fn when_nothing_is_waited_for_any_more_all_that_came_is_settled() {
        let mut window = AckWindow::new(1, 100);
        for tag in [1, 3] {
            window.settle(tag);
        }
        assert_eq!((flush(&mut window), flush(&mut window)), (vec![Ack::UpTo(1)], vec![Ack::One(3)]));
        window.settle_up_to(5);
        assert_eq!(flush(&mut window), [Ack::UpTo(5)]);
        window.settle_up_to(5);
        assert!(!window.pending());
    }

    /// The broker's side of a channel: what is out, and what it says of a delivery that is not.
    #[derive(Default)]
    struct Broker {
        delivered: u64,
        out: BTreeSet<u64>,
    }

    impl Broker {
        fn deliver(&mut self) -> u64 {
            self.delivered += 1;
            self.out.insert(self.delivered);
            self.delivered
        }

        fn acknowledge(&mut self, ack: Ack) -> Vec<u64> {
            let (Ack::UpTo(tag) | Ack::One(tag)) = ack;
            assert!(self.out.contains(&tag), "unknown delivery tag {tag}: the broker would close the channel");
            match ack {
                Ack::One(tag) => {
                    self.out.remove(&tag);
                    vec![tag]
                }
                Ack::UpTo(tag) => {
                    let rest = self.out.split_off(&(tag + 1));
                    std::mem::replace(&mut self.out, rest).into_iter().collect()
                }
            }
        }
    }

    proptest! {
        #[test]
        fn each_delivery_is_acknowledged_once_after_it_is_settled_and_none_is_forgotten(
            prefetch in 1_u16..40,
            steps in prop::collection::vec((0_u8..8, any::<prop::sample::Index>()), 1..400),
        ) {
            let (mut broker, mut window) = (Broker::default(), AckWindow::new(1, prefetch));
            let (mut held, mut settled) = (Vec::new(), BTreeSet::new());
            let flush_both = |window: &mut AckWindow, broker: &mut Broker, settled: &mut BTreeSet<u64>| {
                for ack in flush(window) {
                    for tag in broker.acknowledge(ack) {
                        assert!(settled.remove(&tag), "{tag} is not settled, or was acknowledged before");
                    }
                }
            };
            for (step, index) in steps {
                match step {
                    0..4 if broker.out.len() < usize::from(prefetch) => held.push(broker.deliver()),
                    4..7 if !held.is_empty() => {
                        let tag = held.swap_remove(index.index(held.len()));
                        settled.insert(tag);
                        window.settle(tag);
                        while window.due() {
                            flush_both(&mut window, &mut broker, &mut settled);
                        }
                    }
                    _ => flush_both(&mut window, &mut broker, &mut settled),
                }
                prop_assert_eq!(window.pending(), !settled.is_empty());
            }
            // Two flushes reach everything that is settled, whatever stays out.
            flush_both(&mut window, &mut broker, &mut settled);
            flush_both(&mut window, &mut broker, &mut settled);
            prop_assert!(settled.is_empty() && !window.pending());
            let still_out: Vec<u64> = broker.out.iter().copied().collect();
            held.sort_unstable();
            prop_assert_eq!(still_out, held);
        }
    }
}
