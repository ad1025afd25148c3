//! A named query, ready to be run.

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use prometheus_client::metrics::counter::Counter;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::scan::{Dialect, Sql};
use super::{Binds, LookupError};
use crate::config::Query;
use crate::event::{Scalar, TenantId};
use crate::observe::{LatencyHistogram, Metrics};

/// The bind that only the core gives.
const TENANT: &str = "tenant";

/// A query as the database gets it.
pub(super) struct Compiled {
    pub(super) name: CompactString,
    /// How long a call may wait and run.
    pub(super) timeout: Duration,
    pub(super) sql: Sql,
    /// `sql`, written for the database.
    pub(super) text: SqlStr,
    /// The binds in the order in which their values are sent, by their places among the names.
    pub(super) sent: Vec<usize>,
    /// Columns that whoever asks cannot do without.
    needs: &'static [&'static str],
    ok: Counter,
    unavailable: Counter,
    failed: Counter,
    latency: LatencyHistogram,
}

impl Compiled {
    /// Reads a query. The error is for people.
    pub(super) fn new(query: &Query, dialect: Dialect, timeout: Duration, metrics: &Metrics) -> Result<Self, String> {
        let sql = Sql::read(dialect, &query.sql)?;
        Ok(Self {
            name: query.name.clone(),
            timeout: query.timeout.unwrap_or(timeout),
            text: operators_own(sql.text()),
            sent: sql.sent(),
            sql,
            needs: query.needs,
            ok: metrics.lookups(&query.name, "ok"),
            unavailable: metrics.lookups(&query.name, "unavailable"),
            failed: metrics.lookups(&query.name, "failed"),
            latency: metrics.lookup_latency(&query.name),
        })
    }

    /// The values of the binds, by their places among the names. `:tenant` is `tenant`, whatever `binds` says.
    pub(super) fn values(&self, tenant: Option<&TenantId>, binds: &Binds) -> Result<Vec<Scalar>, LookupError> {
        self.sql.names().iter().map(|name| value_of(name, tenant, binds)).collect()
    }

    /// Counts how a call went.
    pub(super) fn observe<T>(&self, took: Duration, answer: &Result<T, LookupError>) {
        self.latency.observe(took, 1);
        match answer {
            // Whoever asked for what cannot be has an answer.
            Ok(_) | Err(LookupError::Unfit(_)) => self.ok.inc(),
            Err(LookupError::Unavailable(_)) => self.unavailable.inc(),
            Err(LookupError::Failed(_)) => self.failed.inc(),
        };
    }

    /// Says what is wrong with the query, by the columns that the database has for it, or why it has none.
    pub(super) fn check(&self, columns: Result<Vec<CompactString>, String>) {
        match columns {
            Ok(columns) => {
                let lacks = |need: &&&str| !columns.iter().any(|column| column == **need);
                let missing: Vec<&str> = self.needs.iter().filter(lacks).copied().collect();
                if columns.is_empty() {
                    tracing::error!(query = %self.name, "the query answers no columns");
                } else if !missing.is_empty() {
                    let missing = missing.join(", ");
                    tracing::error!(query = %self.name, missing, "the query lacks columns that it is asked for");
                }
            }
            Err(said) => {
                tracing::error!(query = %self.name, said, "the database refuses the query; check it against the schema");
            }
        }
    }
}

/// The value of a bind of this name. `:tenant` is `tenant`, whatever `binds` says. The error is what comes of a call
/// without it.
pub(crate) fn value_of(name: &str, tenant: Option<&TenantId>, binds: &Binds) -> Result<Scalar, LookupError> {
    if name == TENANT {
        return tenant.map(|tenant| Scalar::Text(tenant.as_str().into())).ok_or_else(|| {
            LookupError::Failed("it binds `:tenant`, and what it is asked for has no tenant".to_owned())
        });
    }
    let given = binds.iter().find(|(given, _)| given == name);
    given
        .map(|(_, value)| value.clone())
        .ok_or_else(|| LookupError::Failed(format!("it binds `:{name}`, which was not given")))
}

/// A text that the operator has written, or that was made of it: values come in by binds alone.
pub(super) fn operators_own(text: String) -> SqlStr {
    AssertSqlSafe(Arc::<str>::from(text)).into_sql_str()
}
