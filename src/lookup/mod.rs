//! Named queries: the only home of the database.
//!
//! A query's text is the operator's, from the configuration; rules and clients reach it by its binds alone.
//!
//! Invariant: `:tenant` is bound here, from the tenant that the caller proves, and never from what a rule gives.

mod answer;
mod backend;
mod compiled;
mod forget;
mod health;
mod lookups;
mod mysql;
mod number;
mod pool;
mod postgres;
mod progress;
mod remote;
pub mod scan;
mod shares;
mod sqlite;

use std::sync::Arc;

use compact_str::CompactString;
use smallvec::SmallVec;

use crate::event::Scalar;

pub use backend::check_url;
pub(crate) use compiled::value_of;
pub use forget::{Forget, Forgotten, loose};
pub use lookups::{Lookups, OpenError};

/// What a rule binds to a query, beside `:tenant`.
pub type Binds = SmallVec<[(CompactString, Scalar); 2]>;

/// What a query answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The columns' names. Empty where there are no rows.
    pub columns: Arc<[CompactString]>,
    /// The values, by row and column: each row has as many as there are columns.
    pub rows: Vec<Box<[Scalar]>>,
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The database cannot be reached, or was too slow.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database refused the query, or its answer makes no sense.
    #[error("the query failed: {0}")]
    Failed(String),
    /// What is bound is no value of the type that it is compared with: no row can hold it. Where a client has named the
    /// value, that is a no, and no fault of the query.
    #[error("the query failed: {0}")]
    Unfit(String),
}
