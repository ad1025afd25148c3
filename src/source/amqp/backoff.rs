//! How long to wait before the next try: exponential, with jitter, so that a fleet does not come back as one.

use std::time::Duration;

/// No wait is shorter.
const SHORTEST: Duration = Duration::from_millis(200);
/// No wait is longer: a broker that is back is found soon, and even a thousand processes knock a few hundred times a
/// second at most.
const LONGEST: Duration = Duration::from_secs(5);
/// A connection that stayed up this long was a good one: the next loss starts from the shortest wait again.
const GOOD: Duration = Duration::from_secs(30);

/// How many tries have failed in a row, and what that means for the next wait.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A try has failed, or a connection that was up for `up` is lost: how long to wait now.
    ///
    /// `jitter`, from 0 to 1, chooses between the shortest wait and one that doubles with each failure.
    pub(super) fn lost(&mut self, up: Duration, jitter: f64) -> Duration {
        if up >= GOOD {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let ceiling = 2_u32.checked_pow(self.failures).and_then(|times| SHORTEST.checked_mul(times));
        let ceiling = ceiling.map_or(LONGEST, |ceiling| ceiling.min(LONGEST));
        SHORTEST + ceiling.saturating_sub(SHORTEST).mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_a_good_connection() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..9).map(|_| backoff.lost(Duration::ZERO, 1.0).as_millis()).collect();
        assert_eq!(waits, [400, 800, 1600, 3200, 5000, 5000, 5000, 5000, 5000]);
        assert_eq!(backoff.lost(GOOD, 1.0).as_millis(), 400);
        assert_eq!(backoff.lost(GOOD.mul_f64(0.999), 1.0).as_millis(), 800);
    }

    proptest! {
        #[test]
        fn every_wait_is_between_the_shortest_and_the_longest(
            losses in prop::collection::vec((0_u64..60, 0.0..=1.0_f64), 1..100),
        ) {
            let mut backoff = Backoff::default();
            for (up, jitter) in losses {
                let wait = backoff.lost(Duration::from_secs(up), jitter);
                prop_assert!((SHORTEST..=LONGEST).contains(&wait), "{wait:?}");
            }
        }
    }
}
