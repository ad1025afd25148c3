//! Holds repeated log lines back: an outage is a line now and then, not one for each that it touches.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Lets a few log lines through in each period, and counts what it held back.
#[derive(Debug)]
pub struct Throttle {
    period: Duration,
    /// Lines of one period.
    lines: u64,
    /// When the first line went.
    begun: OnceLock<Instant>,
    /// When the next period begins, in milliseconds from `begun`.
    due: AtomicU64,
    /// Lines that went in this period.
    gone: AtomicU64,
    held_back: AtomicU64,
}

impl Throttle {
    /// One line in this time. The first one goes at once.
    pub fn new(period: Duration) -> Self {
        Self::of(1, period)
    }

    /// So many lines in this time.
    pub fn of(lines: u64, period: Duration) -> Self {
        let zero = || AtomicU64::new(0);
        Self { period, lines, begun: OnceLock::new(), due: zero(), gone: zero(), held_back: zero() }
    }

    /// Whether a line may go now: `Some` of how many were held back since the last one that did.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(tokio::time::Instant::now().into_std())
    }

    /// As [`admit`](Self::admit), at this time: for those who have no clock.
    pub fn admit_at(&self, now: Instant) -> Option<u64> {
        let due = self.due.load(Ordering::Relaxed);
        let elapsed = now.saturating_duration_since(*self.begun.get_or_init(|| now));
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let next = millis(elapsed.saturating_add(self.period));
        // Of several that come at once, the one that moves `due` goes.
        let goes = millis(elapsed) >= due
            && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if goes {
            self.gone.store(1, Ordering::Relaxed);
        }
        if goes || self.gone.fetch_add(1, Ordering::Relaxed) < self.lines {
            Some(self.held_back.swap(0, Ordering::Relaxed))
        } else {
            self.held_back.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn one_line_a_second_is_let_through_and_the_rest_is_counted() {
        let (throttle, start) = (Throttle::new(Duration::from_secs(1)), Instant::now());
        for (millis, expected) in
            [(0, Some(0)), (1, None), (999, None), (1_000, Some(2)), (1_500, None), (9_000, Some(1)), (9_999, None)]
        {
            assert_eq!(throttle.admit_at(start + Duration::from_millis(millis)), expected, "{millis}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_line_goes_in_each_period_and_says_how_many_did_not() {
        let throttle = Throttle::new(Duration::from_secs(10));
        assert_eq!([throttle.admit(), throttle.admit(), throttle.admit()], [Some(0), None, None]);
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert_eq!(throttle.admit(), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!([throttle.admit(), throttle.admit()], [Some(3), None]);
        let throttle = Throttle::of(2, Duration::from_secs(10));
        assert_eq!([throttle.admit(), throttle.admit(), throttle.admit()], [Some(0), Some(0), None]);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!([throttle.admit(), throttle.admit(), throttle.admit()], [Some(1), Some(0), None]);
    }
}
