//! The kinds of databases. Each is spoken to by its own driver, in its own types: what a common denominator of all of
//! them cannot read is not only lost, it makes a whole row unreadable.

use std::sync::Arc;

use compact_str::CompactString;

use super::compiled::Compiled;
use super::mysql::Mysql;
use super::postgres::Postgres;
use super::progress::Progress;
use super::remote::Remote;
use super::scan::Dialect;
use super::sqlite::Sqlite;
use super::{LookupError, Rows};
use crate::config::Database;
use crate::event::Scalar;
use crate::observe::Metrics;

/// The database of the configuration.
pub(super) enum Backend {
    Sqlite(Sqlite),
    Postgres(Arc<Remote<Postgres>>),
    Mysql(Arc<Remote<Mysql>>),
}

/// Whether this URL can be read by the database's driver. The error, for people, never repeats the URL.
pub fn check_url(dialect: Dialect, url: &str) -> Result<(), String> {
    match dialect {
        Dialect::Sqlite => super::sqlite::options(url).map(drop),
        Dialect::Postgres => super::postgres::options(url).map(drop),
        Dialect::Mysql => super::mysql::options(url).map(drop),
    }
}

impl Backend {
    /// The database that the configuration names. Connects later. The error is for people.
    pub(super) fn new(database: &Database, url: &str, metrics: &Metrics) -> Result<Self, String> {
        let pool = &database.pool;
        // The server stops what takes longer than anybody waits.
        let longest = database.queries.iter().filter_map(|query| query.timeout).chain([pool.timeout]).max();
        let longest = longest.unwrap_or(pool.timeout);
        // A query may have a second text.
        let statements = 2 * database.queries.len() + 1;
        Ok(match database.dialect {
            Dialect::Sqlite => Self::Sqlite(Sqlite::new(url, pool, longest, statements, metrics)?),
            Dialect::Postgres => {
                Self::Postgres(Remote::new(Postgres::new(url, longest, statements)?, pool.clone(), metrics))
            }
            Dialect::Mysql => Self::Mysql(Remote::new(Mysql::new(url, longest, statements)?, pool.clone(), metrics)),
        })
    }

    /// How many connections there are at most.
    pub(super) fn connections(&self) -> usize {
        match self {
            Self::Sqlite(sqlite) => sqlite.connections(),
            Self::Postgres(postgres) => postgres.connections(),
            Self::Mysql(mysql) => mysql.connections(),
        }
    }

    /// Checks the queries against the schema, where the database is there; says what is wrong.
    pub(super) async fn open(&self, queries: &[Compiled]) {
        match self {
            Self::Sqlite(sqlite) => sqlite.open(queries).await,
            Self::Postgres(postgres) => postgres.open(queries).await,
            Self::Mysql(mysql) => mysql.open(queries).await,
        }
    }

    /// What is to be done now and then.
    pub(super) async fn tend(&self, queries: &[Compiled]) {
        match self {
            Self::Sqlite(_) => {}
            Self::Postgres(postgres) => postgres.tend(queries).await,
            Self::Mysql(mysql) => mysql.tend(queries).await,
        }
    }

    /// Runs a query with these values for its binds, by their places among the names.
    pub(super) async fn fetch(
        &self,
        query: &Compiled,
        values: &[Scalar],
        progress: &Progress,
    ) -> Result<Rows, LookupError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.fetch(query, values, progress).await,
            Self::Postgres(postgres) => postgres.fetch(query, values, progress).await,
            Self::Mysql(mysql) => mysql.fetch(query, values, progress).await,
        }
    }
}

/// A column's name.
pub(super) fn name<C: sqlx::Column>(column: &C) -> CompactString {
    column.name().into()
}
