//! Named queries on real databases: values, the same rules on all three, and databases that misbehave.

mod bounds;
mod outage;
mod same_rules;
mod schema;
mod tls;
mod types;

use std::fmt::Write;
use std::sync::Arc;

use compact_str::CompactString;
use pointsman::config::QueryId;
use pointsman::event::{Scalar, TenantId};
use pointsman::lookup::{LookupError, Lookups, Rows};
use pointsman::observe::Metrics;

use crate::support::mariadb::{self, MariaDb};
use crate::support::postgres::{self, Postgres};

/// A server of either kind, to be broken.
enum Server {
    Postgres(Postgres),
    MariaDb(MariaDb),
}

impl Server {
    fn own() -> [Self; 2] {
        [Self::Postgres(Postgres::own(&[])), Self::MariaDb(MariaDb::own(&[]))]
    }

    async fn database(&self, script: &str) -> String {
        match self {
            Self::Postgres(server) => server.database(script).await,
            Self::MariaDb(server) => server.database(script).await,
        }
    }

    fn start(&mut self) {
        tokio::task::block_in_place(|| match self {
            Self::Postgres(server) => server.start(),
            Self::MariaDb(server) => server.start(),
        });
    }

    fn stop(&mut self) {
        tokio::task::block_in_place(|| match self {
            Self::Postgres(server) => server.stop(),
            Self::MariaDb(server) => server.stop(),
        });
    }

    fn kill(&mut self) {
        tokio::task::block_in_place(|| match self {
            Self::Postgres(server) => server.kill(),
            Self::MariaDb(server) => server.kill(),
        });
    }

    fn pause(&self) {
        match self {
            Self::Postgres(server) => server.pause(),
            Self::MariaDb(server) => server.pause(),
        }
    }

    fn resume(&self) {
        match self {
            Self::Postgres(server) => server.resume(),
            Self::MariaDb(server) => server.resume(),
        }
    }
}

/// Runs a script in the database of a URL.
async fn execute(url: &str, script: &str) {
    if url.starts_with("postgres") { postgres::execute(url, script).await } else { mariadb::execute(url, script).await }
}

/// Queries of a database, without a server around them.
struct Asked {
    lookups: Lookups,
    metrics: Metrics,
}

impl Asked {
    /// These queries, named `q0` and so on, of this database. `pool` is more of the pool's settings.
    async fn open(url: &str, pool: &str, queries: &[&str]) -> Self {
        let mut yaml = "event: { tenant: tenant }\nauth: { providers: [{ tokens: { t: { user: 1, tenant: a } } }] }\n\
                        routes: [{ name: all, when: { a: 1 }, to: everyone }]\n"
            .to_owned();
        writeln!(yaml, "database:\n  url: {url}\n  pool: {{ {pool} }}\n  queries:").unwrap();
        for (number, query) in queries.iter().enumerate() {
            writeln!(yaml, "    q{number}: {{ sql: {} }}", serde_json::Value::from(*query)).unwrap();
        }
        let metrics = Metrics::new();
        let database = crate::support::config(&yaml).database.unwrap();
        Self { lookups: Lookups::open(&database, &metrics).await.unwrap(), metrics }
    }

    async fn rows(&self, query: u16, tenant: Option<&str>, binds: &[(&str, Scalar)]) -> Result<Arc<Rows>, LookupError> {
        let tenant = tenant.map(|tenant| TenantId::new(tenant).unwrap());
        let binds = binds.iter().map(|(name, value)| (CompactString::from(*name), value.clone())).collect();
        self.lookups.run(QueryId(query), tenant.as_ref(), &binds).await
    }

    /// The rows of a query without binds.
    async fn ask(&self, query: u16) -> Result<Vec<Vec<Scalar>>, LookupError> {
        self.rows(query, None, &[]).await.map(|rows| rows.rows.iter().map(|row| row.to_vec()).collect())
    }

    /// The one value that a query without binds answers.
    async fn one(&self, query: u16) -> Scalar {
        let rows = self.ask(query).await.unwrap_or_else(|error| panic!("q{query}: {error}"));
        rows[0][0].clone()
    }

    /// A line of the metrics, by its name with labels.
    fn metric(&self, name: &str) -> i64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.map_or(0, |value| value.parse().unwrap())
    }
}

fn text(text: &str) -> Scalar {
    Scalar::Text(text.into())
}

/// A database on each of the shared servers, in which these scripts have run.
async fn databases(postgres_script: &str, mariadb_script: &str) -> [String; 2] {
    let (postgres, mariadb) = tokio::task::block_in_place(|| (postgres::shared(), mariadb::shared()));
    [postgres.database(postgres_script).await, mariadb.database(mariadb_script).await]
}
