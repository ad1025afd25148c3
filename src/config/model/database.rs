//! The database, and the queries that rules ask it by name.

use std::path::PathBuf;
use std::time::Duration;

use compact_str::CompactString;
use secrecy::SecretString;

use crate::event::Template;
use crate::lookup::scan::Dialect;

/// The database of named queries.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its URL.
    pub url: SecretString,
    /// Whose SQL the queries are.
    pub dialect: Dialect,
    /// SQL scripts run on each new in-memory database, in order: text, with the name it is known by in messages.
    pub init: Vec<(PathBuf, String)>,
    /// How its connections are used.
    pub pool: Pool,
    /// The queries, by [`QueryId`].
    pub queries: Vec<Query>,
}

/// How the database's connections are used.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Connections at most.
    pub max: u32,
    /// Connections that are kept, used or not. At most [`max`](Self::max).
    pub min: u32,
    /// How long a query may wait for a connection and run, unless it says otherwise; how long a connection may take.
    pub timeout: Duration,
    /// A connection that nobody has used for this long is closed, unless it is one of those that are kept.
    pub idle_timeout: Duration,
    /// A connection is closed at this age.
    pub max_lifetime: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            max: 10,
            min: 1,
            timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_mins(10),
            max_lifetime: Duration::from_mins(30),
        }
    }
}

/// One named query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Its name.
    pub name: CompactString,
    /// Its text as written, with `:name` binds.
    pub sql: String,
    /// The names it binds, each once, in order of appearance.
    pub binds: Vec<CompactString>,
    /// How long it may wait for a connection and run, where it says so itself.
    pub timeout: Option<Duration>,
    /// Columns that whoever asks it cannot do without.
    pub needs: &'static [&'static str],
    /// For how long its answers are good. `None`: each call asks anew.
    pub cache: Option<QueryCache>,
}

impl Query {
    /// Whether its answers are a tenant's own.
    pub fn binds_tenant(&self) -> bool {
        self.binds.iter().any(|bind| bind == "tenant")
    }
}

/// What is kept of a query's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryCache {
    /// For how long an answer is good.
    pub ttl: Duration,
    /// Answers at most.
    pub max: usize,
}

/// A named query of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueryId(pub u16);

/// A call of a named query from a rule. `R` says what the places of its templates refer to.
#[derive(Clone, Debug)]
pub struct QueryCall<R> {
    /// Which query.
    pub query: QueryId,
    /// What is bound, beside `:tenant`, which the core binds alone.
    pub with: Vec<(CompactString, Template<R>)>,
}
