//! SQLite: connections, and rows as values.
//!
//! Invariant: a query that nobody waits for any more stops, so that a slow one costs its own caller alone.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use prometheus_client::metrics::gauge::Gauge;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Column, ConnectOptions, Decode, Executor, Row, Statement, TypeInfo, ValueRef};
use tokio::time::timeout;

use super::answer::Answer;
use super::backend::name;
use super::compiled::Compiled;
use super::health::Health;
use super::progress::Progress;
use super::{LookupError, Rows};
use crate::config::Pool;
use crate::event::Scalar;
use crate::observe::Metrics;

/// How many steps of its machine SQLite takes between two looks at whether anyone still waits: some 0.1 ms.
const STEPS: i32 = 10_000;

/// A SQLite database, in a file or in memory.
pub(super) struct Sqlite {
    pool: SqlitePool,
    /// Where the file is, unless the database is in memory.
    file: Option<PathBuf>,
    health: Health,
    idle: Gauge,
    used: Gauge,
}

/// Reads a URL. The error is for people.
pub(super) fn options(url: &str) -> Result<SqliteConnectOptions, String> {
    if !url.starts_with("sqlite:") {
        return Err("it does not begin with `sqlite:`".to_owned());
    }
    SqliteConnectOptions::from_str(url).map_err(|error| error.to_string())
}

impl Sqlite {
    /// The database that this URL names, in which nobody waits for longer than `longest`, and each connection holds so
    /// many prepared statements. Connects later, when the first query comes. The error is for people.
    pub(super) fn new(
        url: &str,
        settings: &Pool,
        longest: Duration,
        statements: usize,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let options =
            options(url)?.busy_timeout(longest).statement_cache_capacity(statements).disable_statement_logging();
        let pool = SqlitePoolOptions::new().acquire_timeout(longest).test_before_acquire(false);
        let (file, pool) = if in_memory(url) {
            // The data lives as long as its connection does.
            (None, pool.max_connections(1).idle_timeout(None).max_lifetime(None))
        } else {
            let pool = pool.max_connections(settings.max).idle_timeout(settings.idle_timeout);
            (Some(options.get_filename().to_owned()), pool.max_lifetime(settings.max_lifetime))
        };
        Ok(Self {
            pool: pool.connect_lazy_with(options),
            file,
            health: Health::new(metrics.database_up()),
            idle: metrics.database_connections("idle"),
            used: metrics.database_connections("used"),
        })
    }

    /// How many connections there are at most.
    pub(super) fn connections(&self) -> usize {
        self.pool.options().get_max_connections() as usize
    }

    /// Whether the database is in memory, and so begins empty.
    pub(super) fn is_in_memory(&self) -> bool {
        self.file.is_none()
    }

    /// Runs a script of any number of statements.
    pub(super) async fn execute_script(&self, script: &str) -> Result<(), LookupError> {
        let (mut connection, _running) = self.connection().await?;
        // The configuration's own text.
        let script = sqlx::raw_sql(AssertSqlSafe(script));
        script.execute(&mut *connection).await.map(|_| ()).map_err(|error| self.error(&error))
    }

    /// Lets SQLite compile the queries, which shows whether they fit the schema.
    pub(super) async fn open(&self, queries: &[Compiled]) {
        for query in queries {
            let prepared = async {
                let (mut connection, _running) = self.connection().await?;
                let statement = connection.prepare(query.text.clone()).await.map_err(|error| self.error(&error))?;
                Ok(statement.columns().iter().map(name).collect())
            };
            match timeout(query.timeout, prepared).await {
                Ok(Ok(columns)) => query.check(Ok(columns)),
                Ok(Err(LookupError::Failed(said) | LookupError::Unfit(said))) => query.check(Err(said)),
                // The others would wait as long and say the same.
                Ok(Err(LookupError::Unavailable(said))) => return self.health.is_lost(&said),
                Err(_) => return self.health.is_lost("no answer in time"),
            }
        }
        self.health.is_up();
    }

    /// Runs a query with these values for its binds, by number. Prepared once a connection.
    pub(super) async fn fetch(
        &self,
        query: &Compiled,
        values: &[Scalar],
        progress: &Progress,
    ) -> Result<Rows, LookupError> {
        let answer = self.ask(query, values, progress).await;
        match &answer {
            Err(LookupError::Unavailable(said)) => self.health.is_lost(said),
            Ok(_) | Err(LookupError::Failed(_) | LookupError::Unfit(_)) => self.health.is_up(),
        }
        answer
    }

    async fn ask(&self, query: &Compiled, values: &[Scalar], progress: &Progress) -> Result<Rows, LookupError> {
        let arguments = arguments(values).map_err(|error| self.error(&error))?;
        let (mut connection, _running) = self.connection().await?;
        progress.asks();
        let mut answer = Answer::default();
        let mut rows = sqlx::query_with(query.text.clone(), arguments).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await.map_err(|error| self.error(&error))? {
            let values = (0..row.len()).map(|index| scalar(&row, index)).collect::<Result<Box<[Scalar]>, String>>();
            let added = values.and_then(|values| answer.add(row.columns().iter().map(name), values));
            added.map_err(LookupError::Failed)?;
        }
        drop(rows);
        drop(connection);
        self.count();
        Ok(answer.into_rows())
    }

    /// A connection, and the guard whose end stops what runs on it.
    async fn connection(&self) -> Result<(PoolConnection<sqlx::Sqlite>, Running), LookupError> {
        let mut connection = self.pool.acquire().await.map_err(|error| self.error(&error))?;
        let running = Running::default();
        let stopped = Arc::clone(&running.0);
        let mut handle = connection.lock_handle().await.map_err(|error| self.error(&error))?;
        handle.set_progress_handler(STEPS, move || !stopped.load(Ordering::Relaxed));
        drop(handle);
        self.count();
        Ok((connection, running))
    }

    fn count(&self) {
        let idle = self.pool.num_idle();
        let used = (self.pool.size() as usize).saturating_sub(idle);
        self.idle.set(i64::try_from(idle).unwrap_or(i64::MAX));
        self.used.set(i64::try_from(used).unwrap_or(i64::MAX));
    }

    fn error(&self, error: &sqlx::Error) -> LookupError {
        let sqlx::Error::Database(database) = error else {
            return match error {
                sqlx::Error::PoolTimedOut => LookupError::Unavailable("no connection was free in time".to_owned()),
                sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                    LookupError::Unavailable(error.to_string())
                }
                _ => LookupError::Failed(error.to_string()),
            };
        };
        let said = database.message().to_owned();
        let code: i32 = database.code().and_then(|code| code.parse().ok()).unwrap_or_default();
        // The low byte of an extended result code is the primary one.
        match code & 0xff {
            result::CANNOT_OPEN => LookupError::Unavailable(match &self.file {
                Some(file) if !file.exists() => {
                    format!("there is no file `{}`; a URL with `?mode=rwc` creates it", file.display())
                }
                _ => said,
            }),
            code if result::OUTAGES.contains(&code) => LookupError::Unavailable(said),
            _ => LookupError::Failed(said),
        }
    }
}

/// SQLite's result codes that say nothing about the query.
mod result {
    pub(super) const CANNOT_OPEN: i32 = 14;
    /// Busy, locked, out of memory, interrupted, I/O error, corrupt, full, locking protocol, no database file.
    pub(super) const OUTAGES: [i32; 9] = [5, 6, 7, 9, 10, 11, 13, 15, 26];
}

/// Alive while somebody waits for what runs on a connection.
#[derive(Default)]
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether the URL names a database in memory.
fn in_memory(url: &str) -> bool {
    let rest = url.trim_start_matches("sqlite://").trim_start_matches("sqlite:");
    let (database, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    database == ":memory:" || parameters.split('&').any(|parameter| parameter == "mode=memory")
}

fn arguments(values: &[Scalar]) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Scalar::Null => arguments.add(None::<i64>),
            Scalar::Bool(value) => arguments.add(*value),
            Scalar::Int(value) => arguments.add(*value),
            Scalar::Float(value) => arguments.add(*value),
            Scalar::Text(text) => arguments.add(text.as_str()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// A value by the type that it has, which need not be its column's. A column that is declared `BOOLEAN` holds
/// integers that mean truth values.
fn scalar(row: &SqliteRow, index: usize) -> Result<Scalar, String> {
    let column = row.column(index);
    let failed = |error: &dyn std::fmt::Display| format!("column `{}`: {error}", column.name());
    let value = row.try_get_raw(index).map_err(|error| failed(&error))?;
    if value.is_null() {
        return Ok(Scalar::Null);
    }
    match value.type_info().name() {
        "INTEGER" => {
            let number = <i64 as Decode<sqlx::Sqlite>>::decode(value).map_err(|error| failed(&error))?;
            Ok(if column.type_info().name() == "BOOLEAN" { Scalar::Bool(number != 0) } else { Scalar::Int(number) })
        }
        "REAL" => <f64 as Decode<sqlx::Sqlite>>::decode(value).map(Scalar::Float).map_err(|error| failed(&error)),
        _ => {
            let bytes = <&[u8] as Decode<sqlx::Sqlite>>::decode(value).map_err(|error| failed(&error))?;
            let text = std::str::from_utf8(bytes).map_err(|_| failed(&"it is no text"))?;
            Ok(Scalar::Text(text.into()))
        }
    }
}
