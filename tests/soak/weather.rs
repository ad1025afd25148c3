//! How it stands with the faults at this moment, for whoever has to know.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// After the last fault, and before rights are changed, which needs all parts.
const CALM: Duration = Duration::from_secs(7);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Weather(watch::Sender<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    /// Faults that go on.
    faults: usize,
    /// When the last one began or ended, where there was one.
    changed: Option<Instant>,
}

impl Weather {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(State { faults: 0, changed: None }))
    }

    pub(crate) fn begins(&self) {
        self.0.send_modify(|state| *state = State { faults: state.faults + 1, changed: Some(Instant::now()) });
    }

    pub(crate) fn ends(&self) {
        self.0.send_modify(|state| *state = State { faults: state.faults - 1, changed: Some(Instant::now()) });
    }

    /// Whether all is well, and has been for some time.
    pub(crate) fn is_calm(&self) -> bool {
        let state = self.0.borrow();
        state.faults == 0 && state.changed.is_none_or(|changed| changed.elapsed() > CALM)
    }
}
