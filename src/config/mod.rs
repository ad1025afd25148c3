//! From files to a validated configuration: raw (the file, mirrored) → validate → model.

mod model;

pub use model::*;
