//! The handle that rules, providers and pings ask the database by.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use compact_str::CompactString;
use prometheus_client::metrics::gauge::Gauge;
use secrecy::ExposeSecret;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::backend::Backend;
use super::compiled::Compiled;
use super::progress::Progress;
use super::shares::Shares;
use super::{Binds, LookupError, Rows};
use crate::config::{Database, QueryId};
use crate::event::TenantId;
use crate::observe::Metrics;

/// How often connections are looked after, and a database that was lost is looked for.
const TENDED: Duration = Duration::from_secs(1);

/// The named queries of the configuration, and the database that answers them. Cheap to clone.
#[derive(Clone)]
pub struct Lookups(Arc<Inner>);

struct Inner {
    database: Backend,
    shares: Shares,
    /// By [`QueryId`].
    queries: Vec<Compiled>,
    waiting: Gauge,
}

/// Why the database of the configuration can never answer.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL names no database.
    #[error("`database.url` names no database: {0}")]
    Url(String),
    /// A query's text cannot be read.
    #[error("the query `{0}` cannot be read: {1}")]
    Query(CompactString, String),
    /// A script did not run on the new database in memory.
    #[error("the script `{}` did not run: {said}", .script.display())]
    Script {
        /// Which one.
        script: PathBuf,
        /// What SQLite said.
        said: String,
    },
}

impl Lookups {
    /// Opens the database: runs the configuration's scripts where it is a new one in memory, and lets it compile
    /// each query. Waits at most the configuration's timeout for each. Looks after the connections from then on, until
    /// the last handle is dropped.
    ///
    /// Only what no retry mends is an error. A database that is not there is said so, and looked for every second; a
    /// query that does not fit its schema is said so when it is there. The program goes on.
    pub async fn open(database: &Database, metrics: &Metrics) -> Result<Self, OpenError> {
        let backend = Backend::new(database, database.url.expose_secret(), metrics).map_err(OpenError::Url)?;
        let compile = |query| {
            let compiled = Compiled::new(query, database.dialect, database.pool.timeout, metrics);
            compiled.map_err(|error| OpenError::Query(query.name.clone(), error))
        };
        let lookups = Self(Arc::new(Inner {
            shares: Shares::new(backend.connections()),
            database: backend,
            queries: database.queries.iter().map(compile).collect::<Result<_, _>>()?,
            waiting: metrics.lookup_waiting(),
        }));
        lookups.run_scripts(database).await?;
        lookups.0.database.open(&lookups.0.queries).await;
        tokio::spawn(tend(Arc::downgrade(&lookups.0)));
        Ok(lookups)
    }

    /// Runs a query with these binds, in the time that the configuration gives it to wait and run.
    ///
    /// `:tenant` is `tenant`, whatever `binds` says, and always a text. PostgreSQL takes it for whatever it is compared
    /// with. SQLite compares it with an INTEGER column as a number and with a TEXT column as a text; where the query
    /// compares it with an expression that has neither type (`json_extract`, a column without a type), it must say
    /// `CAST(:tenant AS INTEGER)` for an integer. MySQL makes a number of it for a column of numbers.
    pub async fn run(
        &self,
        query: QueryId,
        tenant: Option<&TenantId>,
        binds: &Binds,
    ) -> Result<Arc<Rows>, LookupError> {
        let query = self.query(query)?;
        let started = Instant::now();
        let answer = match query.values(tenant, binds) {
            Ok(values) => {
                let progress = Progress::new(self.0.waiting.clone());
                let fetch = async {
                    let _place = self.0.shares.place(tenant).await;
                    self.0.database.fetch(query, &values, &progress).await
                };
                let late = |_| Err(LookupError::Unavailable(progress.timed_out(query.timeout)));
                timeout(query.timeout, fetch).await.unwrap_or_else(late)
            }
            Err(error) => Err(error),
        };
        query.observe(started.elapsed(), &answer);
        answer.map(Arc::new)
    }

    /// The query's name, for logs.
    pub fn name(&self, query: QueryId) -> &str {
        self.query(query).map_or("?", |query| query.name.as_str())
    }

    async fn run_scripts(&self, database: &Database) -> Result<(), OpenError> {
        let Backend::Sqlite(sqlite) = &self.0.database else { return Ok(()) };
        if !sqlite.is_in_memory() {
            return Ok(());
        }
        for (script, text) in &database.init {
            let said = match timeout(database.pool.timeout, sqlite.execute_script(text)).await {
                Ok(Ok(())) => continue,
                Ok(Err(LookupError::Unavailable(said) | LookupError::Failed(said) | LookupError::Unfit(said))) => said,
                Err(_) => format!("it takes longer than {:?}", database.pool.timeout),
            };
            return Err(OpenError::Script { script: script.clone(), said });
        }
        Ok(())
    }

    fn query(&self, query: QueryId) -> Result<&Compiled, LookupError> {
        let found = self.0.queries.get(usize::from(query.0));
        found.ok_or_else(|| LookupError::Failed(format!("there is no query of number {}", query.0)))
    }
}

/// Looks after the database's connections for as long as there is a handle.
async fn tend(inner: Weak<Inner>) {
    let mut ticks = interval(TENDED);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        inner.database.tend(&inner.queries).await;
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.queries.iter().map(|query| &query.name)).finish()
    }
}

#[cfg(test)]
mod tests;
