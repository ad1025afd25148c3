//! From files to a validated configuration: raw (the file, mirrored) → validate → model.

mod file;
mod model;

pub use file::{ConfigFile, embedded};
pub use model::*;
