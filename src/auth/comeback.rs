//! When clients that could not be told whose token they have shall come back: the longer there is no telling and the more
//! they are, the later, and each at another time.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

/// Nobody comes back sooner.
const SOONEST: u64 = 1_000;
/// The first ones come back within this time.
const FIRST: u64 = 4_000;
/// Everybody comes back within this time.
const LATEST: u64 = 60_000;
/// So many clients come back in a second at most, while that is within [`LATEST`].
const RATE: u64 = 200;

/// What is known of outages of providers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Comeback(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    /// By provider, since when it cannot be asked, in milliseconds from `started` and at least 1. 0: it can.
    out: Box<[AtomicU64]>,
    /// How many clients have been told to come back since a provider last answered.
    told: AtomicU64,
    /// How many wait for a provider.
    waiting: Gauge,
}

impl Comeback {
    /// For so many providers, before which as many wait as `waiting` says.
    pub(super) fn new(providers: usize, waiting: Gauge) -> Self {
        let out = (0..providers).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { started: Instant::now(), out, told: AtomicU64::new(0), waiting }))
    }

    /// In how many milliseconds a client shall come back. It counts as told.
    pub fn retry_in_ms(&self) -> u64 {
        let told = self.0.told.fetch_add(1, Ordering::Relaxed);
        let waiting = u64::try_from(self.0.waiting.get()).unwrap_or_default();
        let now = self.now();
        let since = self.0.out.iter().map(|out| out.load(Ordering::Relaxed)).filter(|since| *since > 0).min();
        fastrand::u64(window(since.map_or(0, |since| now.saturating_sub(since)), told.saturating_add(waiting)))
    }

    /// This provider could not be asked.
    pub(super) fn failed(&self, provider: usize) {
        let now = self.now();
        self.0.out[provider].compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).ok();
    }

    /// This provider has answered. How long it could not be asked before, where that was so.
    pub(super) fn answered(&self, provider: usize) -> Option<Duration> {
        // Nearly always nothing to do, and then nothing is written.
        if self.0.told.load(Ordering::Relaxed) == 0 && self.0.out[provider].load(Ordering::Relaxed) == 0 {
            return None;
        }
        let since = self.0.out[provider].swap(0, Ordering::Relaxed);
        if self.0.out.iter().all(|out| out.load(Ordering::Relaxed) == 0) {
            self.0.told.store(0, Ordering::Relaxed);
        }
        (since > 0).then(|| Duration::from_millis(self.now().saturating_sub(since)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

/// Within which milliseconds a client comes back, after an outage of so many and among a crowd of so many clients.
fn window(outage: u64, crowd: u64) -> Range<u64> {
    let for_all = crowd.saturating_mul(1_000) / RATE;
    SOONEST..FIRST.max(outage / 2).max(for_all).min(LATEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_with_the_outage_and_with_the_crowd_and_is_bounded() {
        for (outage, crowd, expected) in [
            (0, 0, 4_000),
            (3_000, 100, 4_000),
            (30_000, 0, 15_000),
            (0, 2_000, 10_000),
            (30_000, 2_000, 15_000),
            (0, 10_000, 50_000),
            (0, 1_000_000, 60_000),
            (u64::MAX, u64::MAX, 60_000),
        ] {
            assert_eq!(window(outage, crowd), 1_000..expected, "{outage} {crowd}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_clients_do_not_come_back_at_once() {
        let comeback = Comeback::new(2, Gauge::default());
        comeback.failed(1);
        let mut times: Vec<u64> = (0..10_000).map(|_| comeback.retry_in_ms()).collect();
        times.sort_unstable();
        assert!(times[0] >= 1_000 && times[9_999] < 60_000);
        let soon = times.partition_point(|time| *time < 3_000);
        assert!(soon < 2_500, "{soon} within three seconds");
        let busiest = (1..60).map(|second| {
            let until = |time: u64| times.partition_point(|other| *other < time * 1_000);
            until(second + 1) - until(second)
        });
        assert!(busiest.max() < Some(1_500));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_ends_with_an_answer_of_the_same_provider() {
        let comeback = Comeback::new(2, Gauge::default());
        tokio::time::advance(Duration::from_secs(1)).await;
        comeback.failed(1);
        tokio::time::advance(Duration::from_secs(100)).await;
        comeback.failed(1);
        assert_eq!(comeback.answered(0), None);
        let latest = (0..500).map(|_| comeback.retry_in_ms()).max();
        assert!(latest > Some(40_000), "{latest:?}");
        assert_eq!(comeback.answered(1), Some(Duration::from_secs(100)));
        assert_eq!(comeback.answered(1), None);
        assert!((0..500).all(|_| comeback.retry_in_ms() < 4_000));
    }
}
