//! Whether the process can do its work, and if not, why.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One thing that must be well: `None` while it is, or else what is wrong, in a few words.
pub type Fact = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// The facts that make the process ready. Cheap to clone.
///
/// It holds no state of what it speaks of but one: whether the process is leaving. Whoever owns the rest is asked each
/// time, so that readiness cannot be out of date.
#[derive(Clone)]
pub struct Readiness(Arc<Inner>);

struct Inner {
    draining: AtomicBool,
    facts: Vec<Fact>,
}

impl Readiness {
    /// Ready while all these facts are well.
    pub fn new(facts: Vec<Fact>) -> Self {
        Self(Arc::new(Inner { draining: AtomicBool::new(false), facts }))
    }

    /// The process is leaving: never ready again.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether the process is leaving.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// All that is wrong. Empty: ready.
    pub fn reasons(&self) -> Vec<String> {
        let draining = self.is_draining().then(|| "draining".to_owned());
        draining.into_iter().chain(self.0.facts.iter().filter_map(|fact| fact())).collect()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("reasons", &self.reasons()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_named_and_leaving_is_for_good() {
        let well = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&well);
        let broker = move || (!asked.load(Ordering::Acquire)).then(|| "the broker is not connected".to_owned());
        let readiness = Readiness::new(vec![Box::new(broker), Box::new(|| None)]);
        assert_eq!(readiness.reasons(), ["the broker is not connected"]);
        well.store(true, Ordering::Release);
        assert!(readiness.reasons().is_empty());
        readiness.drain();
        well.store(false, Ordering::Release);
        assert_eq!(readiness.reasons(), ["draining", "the broker is not connected"]);
    }
}
