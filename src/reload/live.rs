//! The rulebook in force: the one place that everyone takes it from.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Generation, Rulebook};

/// The way to the rulebook in force. Cheap to clone.
///
/// Taken once an event and passed down, so that one generation decides it.
#[derive(Clone, Debug)]
pub struct Live(Arc<ArcSwap<Rulebook>>);

impl Live {
    /// This rulebook is in force.
    pub fn new(rulebook: impl Into<Arc<Rulebook>>) -> Self {
        Self(Arc::new(ArcSwap::new(rulebook.into())))
    }

    /// The rulebook in force now.
    pub fn load(&self) -> Arc<Rulebook> {
        self.0.load_full()
    }

    /// The number of the rulebook in force now.
    pub fn generation(&self) -> Generation {
        self.0.load().generation
    }

    /// From now on this one is in force. Whoever has taken another one before goes on by that.
    pub(super) fn store(&self, rulebook: Arc<Rulebook>) {
        self.0.store(rulebook);
    }
}
