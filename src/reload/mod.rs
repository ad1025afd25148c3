//! The second path: from files to the rulebook in force.

mod live;
mod rulebook;

pub use live::Live;
pub use rulebook::{Generation, Queries, Rulebook, Rules};
