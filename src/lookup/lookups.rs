//! The handle that rules, providers and pings ask the database by.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use prometheus_client::metrics::counter::Counter;
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use tokio::time::{Instant, timeout};

use super::shares::Shares;
use super::sqlite::Sqlite;
use super::{Binds, LookupError, Rows, scan};
use crate::config::{Database, Query, QueryId};
use crate::event::{Scalar, TenantId};
use crate::observe::{LatencyHistogram, Metrics};

/// The bind that only the core gives.
const TENANT: &str = "tenant";

/// The named queries of the configuration, and the database that answers them. Cheap to clone.
#[derive(Clone)]
pub struct Lookups(Arc<Inner>);

struct Inner {
    database: Sqlite,
    shares: Shares,
    timeout: Duration,
    /// By [`QueryId`].
    queries: Vec<Compiled>,
}

/// Why the database of the configuration can never answer.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL names no database.
    #[error("`database.url` names no SQLite database: {0}")]
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

/// A query as the database gets it.
struct Compiled {
    name: CompactString,
    sql: SqlStr,
    /// What is bound, by number.
    binds: Vec<CompactString>,
    ok: Counter,
    unavailable: Counter,
    failed: Counter,
    latency: LatencyHistogram,
}

impl Lookups {
    /// Opens the database: runs the configuration's scripts where it is a new one in memory, and lets it compile
    /// each query. Waits at most the configuration's timeout for each.
    ///
    /// Only what no retry mends is an error. A database that is not there, or a query that does not fit its schema,
    /// is logged; the program goes on, and each call tries anew.
    pub async fn open(database: &Database, metrics: &Metrics) -> Result<Self, OpenError> {
        let url = database.url.expose_secret();
        let sqlite = Sqlite::new(url, database.pool_max, database.timeout, database.queries.len() + 1);
        let sqlite = sqlite.map_err(OpenError::Url)?;
        let lookups = Self(Arc::new(Inner {
            shares: Shares::new(sqlite.connections()),
            database: sqlite,
            timeout: database.timeout,
            queries: database.queries.iter().map(|query| compile(query, metrics)).collect::<Result<_, _>>()?,
        }));
        if lookups.0.database.is_in_memory() {
            for (path, script) in &database.init {
                let run = lookups.in_time(lookups.0.database.execute_script(script)).await;
                run.map_err(|(LookupError::Unavailable(said) | LookupError::Failed(said))| OpenError::Script {
                    script: path.clone(),
                    said,
                })?;
            }
        }
        lookups.prepare_all().await;
        Ok(lookups)
    }

    /// Runs a query with these binds, in the time that the configuration gives it to wait and run.
    ///
    /// `:tenant` is `tenant`, whatever `binds` says, and always a text: SQLite compares it with an INTEGER column as
    /// a number and with a TEXT column as a text. Where the query compares it with an expression that has neither
    /// type (`json_extract`, a column without a type), it must say `CAST(:tenant AS INTEGER)` for an integer.
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
                let fetch = async {
                    let _place = self.0.shares.place(tenant).await;
                    self.0.database.fetch(&query.sql, &values).await
                };
                self.in_time(fetch).await
            }
            Err(error) => Err(error),
        };
        query.latency.observe(started.elapsed(), 1);
        match &answer {
            Ok(_) => query.ok.inc(),
            Err(LookupError::Unavailable(_)) => query.unavailable.inc(),
            Err(LookupError::Failed(_)) => query.failed.inc(),
        };
        answer.map(Arc::new)
    }

    /// The query's name, for logs.
    pub fn name(&self, query: QueryId) -> &str {
        self.query(query).map_or("?", |query| query.name.as_str())
    }

    async fn prepare_all(&self) {
        for query in &self.0.queries {
            match self.in_time(self.0.database.prepare(&query.sql)).await {
                Ok(()) => {}
                Err(LookupError::Failed(said)) => {
                    tracing::error!(query = %query.name, said, "the database refuses the query; check it against the schema");
                }
                // The others would wait as long and say the same.
                Err(error @ LookupError::Unavailable(_)) => {
                    tracing::error!(%error, "what needs the database is refused until it is there");
                    return;
                }
            }
        }
    }

    fn query(&self, query: QueryId) -> Result<&Compiled, LookupError> {
        let found = self.0.queries.get(usize::from(query.0));
        found.ok_or_else(|| LookupError::Failed(format!("there is no query of number {}", query.0)))
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, LookupError>>) -> Result<T, LookupError> {
        timeout(self.0.timeout, work).await.unwrap_or_else(|_| {
            Err(LookupError::Unavailable(format!(
                "no answer in {:?}, waiting for a connection included",
                self.0.timeout
            )))
        })
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.queries.iter().map(|query| &query.name)).finish()
    }
}

impl Compiled {
    /// The values of the binds, by number.
    fn values(&self, tenant: Option<&TenantId>, binds: &Binds) -> Result<Vec<Scalar>, LookupError> {
        let value = |name: &CompactString| {
            if name == TENANT {
                return tenant.map(|tenant| Scalar::Text(tenant.as_str().into())).ok_or_else(|| {
                    LookupError::Failed("it binds `:tenant`, and what it is asked for has no tenant".to_owned())
                });
            }
            let given = binds.iter().find(|(given, _)| given == name);
            given
                .map(|(_, value)| value.clone())
                .ok_or_else(|| LookupError::Failed(format!("it binds `:{name}`, which was not given")))
        };
        self.binds.iter().map(value).collect()
    }
}

fn compile(query: &Query, metrics: &Metrics) -> Result<Compiled, OpenError> {
    let (sql, binds) = scan::rewrite(&query.sql).map_err(|error| OpenError::Query(query.name.clone(), error))?;
    // The operator's own text: values come in by binds alone.
    let sql = AssertSqlSafe(Arc::<str>::from(sql)).into_sql_str();
    Ok(Compiled {
        name: query.name.clone(),
        sql,
        binds,
        ok: metrics.lookups(&query.name, "ok"),
        unavailable: metrics.lookups(&query.name, "unavailable"),
        failed: metrics.lookups(&query.name, "failed"),
        latency: metrics.lookup_latency(&query.name),
    })
}

#[cfg(test)]
mod tests;
