//! Named queries: the only home of the database.

use std::sync::Arc;

use compact_str::CompactString;
use smallvec::SmallVec;

use crate::config::QueryId;
use crate::event::{Scalar, TenantId};

/// What a rule binds to a query, beside `:tenant`.
pub type Binds = SmallVec<[(CompactString, Scalar); 2]>;

/// What a query answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The columns' names.
    pub columns: Arc<[CompactString]>,
    /// The values, by row and column.
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
}

/// The way to the named queries. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lookups;

impl Lookups {
    /// Runs a query for this tenant.
    #[expect(clippy::unused_async, reason = "the signature of what takes its place")]
    pub async fn run(
        &self,
        _query: QueryId,
        _tenant: Option<&TenantId>,
        _binds: &Binds,
    ) -> Result<Arc<Rows>, LookupError> {
        Err(LookupError::Unavailable("there is no database".to_owned()))
    }
}
