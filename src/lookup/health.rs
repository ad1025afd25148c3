//! Whether the database is there, as last seen.
//!
//! While it is not, calls are refused at once instead of each waiting in vain; one try a second finds out when it is
//! back. Both are said once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;

use super::LookupError;
use crate::observe::Throttle;

/// Of one database.
#[derive(Debug)]
pub(super) struct Health {
    state: Mutex<State>,
    up: Gauge,
    /// For a database that comes and goes.
    lines: Throttle,
}

#[derive(Debug)]
enum State {
    /// Nobody has tried.
    Unknown,
    Up,
    /// And why.
    Down(String),
}

impl Health {
    /// Nobody has tried yet.
    pub(super) fn new(up: Gauge) -> Self {
        Self { state: Mutex::new(State::Unknown), up, lines: Throttle::of(10, Duration::from_mins(1)) }
    }

    /// Why a call is refused at once, where it is.
    pub(super) fn refusal(&self) -> Option<LookupError> {
        match &*self.state() {
            State::Down(why) => Some(LookupError::Unavailable(why.clone())),
            State::Unknown | State::Up => None,
        }
    }

    /// It cannot be reached, for this reason.
    pub(super) fn is_lost(&self, why: &str) {
        let before = std::mem::replace(&mut *self.state(), State::Down(why.to_owned()));
        self.up.set(0);
        if !matches!(before, State::Down(_))
            && let Some(held_back) = self.lines.admit()
        {
            tracing::error!(
                error = why,
                held_back,
                "the database is unavailable; what needs it is refused until it is there"
            );
        }
    }

    /// It is there.
    pub(super) fn is_up(&self) {
        let before = std::mem::replace(&mut *self.state(), State::Up);
        self.up.set(1);
        if matches!(before, State::Down(_))
            && let Some(held_back) = self.lines.admit()
        {
            tracing::info!(held_back, "the database is back");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_are_refused_from_when_it_is_lost_until_it_is_back() {
        let health = Health::new(Gauge::default());
        assert_eq!(health.refusal(), None);
        health.is_lost("connection refused");
        assert_eq!(health.refusal(), Some(LookupError::Unavailable("connection refused".to_owned())));
        health.is_up();
        assert_eq!((health.refusal(), health.up.get()), (None, 1));
    }
}
