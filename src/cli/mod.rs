//! Arguments → command → exit code. One file a command.

mod check;
mod schema;

pub use check::check;
pub use schema::schema;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Human,
    /// For programs.
    Json,
}
