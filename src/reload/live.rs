//! The rulebook in force: the one place that everyone takes it from.

use std::sync::Arc;

use super::Rulebook;

/// The way to the rulebook in force. Cheap to clone.
///
/// Taken once an event and passed down, so that one generation decides it.
#[derive(Clone, Debug)]
pub struct Live(Arc<Rulebook>);

impl Live {
    /// This rulebook is in force.
    pub fn new(rulebook: Rulebook) -> Self {
        Self(Arc::new(rulebook))
    }

    /// The rulebook in force now.
    pub fn load(&self) -> Arc<Rulebook> {
        Arc::clone(&self.0)
    }
}
