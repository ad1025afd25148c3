//! The second path: from files to the rulebook in force.

mod rulebook;

pub use rulebook::{Generation, Rulebook};
