//! How far a call has come: whoever waits in vain wants to know for what.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;

const WAITING: u8 = 0;
const CONNECTING: u8 = 1;
const ASKED: u8 = 2;

/// The stage of one call.
#[derive(Debug)]
pub(super) struct Progress {
    stage: AtomicU8,
    /// Counts those that have not asked yet.
    waiting: Gauge,
}

impl Progress {
    /// Of a call that waits for its turn.
    pub(super) fn new(waiting: Gauge) -> Self {
        waiting.inc();
        Self { stage: AtomicU8::new(WAITING), waiting }
    }

    /// It has its turn and connects.
    pub(super) fn connects(&self) {
        self.reach(CONNECTING);
    }

    /// It has a connection and asks.
    pub(super) fn asks(&self) {
        self.reach(ASKED);
    }

    /// What has not come about in its time.
    pub(super) fn timed_out(&self, timeout: Duration) -> String {
        match self.stage.load(Ordering::Relaxed) {
            WAITING => format!("no connection was free in {timeout:?}"),
            CONNECTING => format!("no connection came about in {timeout:?}"),
            _ => format!("no answer in {timeout:?}, waiting for a connection included"),
        }
    }

    fn reach(&self, stage: u8) {
        // Whoever has asked and must connect anew has had its turn.
        if self.stage.fetch_max(stage, Ordering::Relaxed) < ASKED && stage == ASKED {
            self.waiting.dec();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if *self.stage.get_mut() != ASKED {
            self.waiting.dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_waits_until_it_asks_and_says_for_what() {
        let (gauge, second) = (Gauge::default(), Duration::from_secs(1));
        let progress = Progress::new(gauge.clone());
        assert_eq!((gauge.get(), progress.timed_out(second).as_str()), (1, "no connection was free in 1s"));
        progress.connects();
        assert_eq!((gauge.get(), progress.timed_out(second).as_str()), (1, "no connection came about in 1s"));
        progress.asks();
        progress.connects();
        progress.asks();
        assert_eq!(gauge.get(), 0);
        assert!(progress.timed_out(second).starts_with("no answer in 1s"));
        drop(progress);
        drop(Progress::new(gauge.clone()));
        assert_eq!(gauge.get(), 0);
    }
}
