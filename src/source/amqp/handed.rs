//! What has been handed on and may come again: a queue that outlives a lost connection gives out anew what was not
//! acknowledged in time, and a client must not get it twice.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::DefaultHashBuilder;

/// Marks of the last events of one queue that were handed on, for as many as can be unacknowledged. Outlives
/// connections. Cheap to clone.
///
/// Written and read by the queue's one consumer at a time; atomic only because consumers of two connections follow each
/// other on two threads.
#[derive(Clone, Debug)]
pub(super) struct Handed(Arc<Ring>);

#[derive(Debug)]
struct Ring {
    /// 0 is no mark.
    marks: Box<[AtomicU64]>,
    next: AtomicUsize,
    hasher: DefaultHashBuilder,
}

impl Handed {
    /// For a consumer of this prefetch.
    pub(super) fn new(prefetch: u16) -> Self {
        let marks = std::iter::repeat_with(AtomicU64::default).take(usize::from(prefetch)).collect();
        Self(Arc::new(Ring { marks, next: AtomicUsize::new(0), hasher: DefaultHashBuilder::default() }))
    }

    /// For one more consumer of this prefetch while what earlier ones got may still come again: what is remembered stays.
    pub(super) fn also_for(&self, prefetch: u16) -> Self {
        let most = usize::from(u16::MAX);
        let length = (self.0.marks.len() + usize::from(prefetch)).min(2 * most);
        let all = self.0.marks.len();
        let next = self.0.next.load(Ordering::Relaxed);
        // From the oldest to the newest, behind room that is overwritten last.
        let kept = (0..all).map(|back| self.0.marks[(next + back) % all].load(Ordering::Relaxed));
        let kept: Vec<u64> = kept.skip(all.saturating_sub(length)).collect();
        let next = kept.len();
        let rest = std::iter::repeat_n(0, length - next);
        let marks = kept.into_iter().chain(rest).map(AtomicU64::new).collect();
        Self(Arc::new(Ring { marks, next: AtomicUsize::new(next), hasher: self.0.hasher.clone() }))
    }

    /// What a delivery is known again by.
    pub(super) fn mark(&self, exchange: &str, routing_key: &str, body: &[u8]) -> u64 {
        self.0.hasher.hash_one((exchange, routing_key, body)) | 1
    }

    /// A delivery of this mark has been handed on.
    pub(super) fn note(&self, mark: u64) {
        let at = self.0.next.fetch_add(1, Ordering::Relaxed) % self.0.marks.len();
        self.0.marks[at].store(mark, Ordering::Relaxed);
    }

    /// Whether a delivery that comes again has been handed on. Each mark answers for one.
    pub(super) fn has(&self, mark: u64) -> bool {
        let forget = |own: &AtomicU64| own.compare_exchange(mark, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        self.0.marks.iter().any(forget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_on_is_known_once_and_as_long_as_it_can_come_again() {
        let handed = Handed::new(3);
        let mark = |body: &str| handed.mark("events", "key", body.as_bytes());
        assert_ne!(mark("1"), handed.mark("events", "other", b"1"));
        for body in ["1", "1", "2"] {
            handed.note(mark(body));
        }
        assert_eq!(["1", "1", "1", "2", "3"].map(|body| handed.has(mark(body))), [true, true, false, true, false]);
        for body in ["a", "b", "c", "d"] {
            handed.note(mark(body));
        }
        assert_eq!(["a", "b", "c", "d"].map(|body| handed.has(mark(body))), [false, true, true, true]);
    }

    #[test]
    fn for_another_prefetch_what_is_known_stays_known() {
        let handed = Handed::new(3);
        let mark = |body: &str| handed.mark("events", "key", body.as_bytes());
        for body in ["a", "b", "c", "d"] {
            handed.note(mark(body));
        }
        let more = handed.also_for(2);
        for body in ["e", "f"] {
            more.note(more.mark("events", "key", body.as_bytes()));
        }
        assert_eq!(["a", "b", "f"].map(|body| more.has(mark(body))), [false, true, true]);
        more.note(mark("g"));
        assert_eq!(["c", "d", "e", "g"].map(|body| more.has(mark(body))), [true; 4]);
    }
}
