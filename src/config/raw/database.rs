//! The `database` section, and calls of its queries.

use super::read::{At, Entries, Scalars};
use super::scalars::{Number, Text};
use super::secrets::SecretUrl;
use super::section::section;
use super::units::Span;

section! {
    /// The database of named queries.
    RawDatabase (Secret) {
        /// `postgres://user:password@host/database`, `mysql://user:password@host/database`, `sqlite:FILE`, relative to
        /// the file that says so, or `sqlite::memory:`.
        "url" url: SecretUrl = Required,
        /// SQL scripts run on each new in-memory database, in order.
        "init" init: Vec<At<Text>> = Optional,
        /// How the database's connections are used.
        "pool" pool: RawPool = Optional,
        /// Queries that rules call by name.
        "queries" queries: Entries<RawQuery> = Optional,
    }
    later []
}

section! {
    /// How the database's connections are used.
    RawPool (Plain) {
        /// Connections at most. Default: 10.
        "max" max: Number<1, 10_000> = Optional,
        /// Connections that are kept open, used or not. Default: 1.
        "min" min: Number<0, 10_000> = Optional,
        /// How long a query may wait for a connection and run, unless it has a timeout of its own. Default: 2s.
        "timeout" timeout: Span<1> = Optional,
        /// How long a connection that nobody uses is kept, beyond the fewest. Default: 10m.
        "idle_timeout" idle_timeout: Span<1> = Optional,
        /// The age at which a connection is replaced. Default: 30m.
        "max_lifetime" max_lifetime: Span<1000> = Optional,
    }
    later []
}

section! {
    /// A named query.
    RawQuery (Plain) {
        /// Its text, with `:name` binds. `:tenant` is always the event's or the session's own tenant.
        "sql" sql: Text = Required,
        /// How long it may wait for a connection and run. Default: the pool's timeout.
        "timeout" timeout: Span<1> = Optional,
        /// For how long its answers are good, and how many are kept. Without it, none is.
        "cache" cache: RawCache = Optional,
    }
    later []
}

section! {
    /// What is kept of a query's answers.
    RawCache (Plain) {
        /// For how long an answer is good.
        "ttl" ttl: Span<1> = Required,
        /// Answers at most. Default: 100000.
        "max" max: Number<1, 100_000_000> = Optional,
    }
    later []
}

section! {
    /// A call of a named query.
    RawQueryCall (Plain) {
        /// The query's name.
        "query" query: Text = Required,
        /// What is bound, by name: templates, or plain values. `:tenant` is bound without being asked for.
        "with" with: Scalars = Optional,
    }
    later []
}

section! {
    /// A named query that is called with nothing bound by a rule.
    RawQueryName (Plain) {
        /// The query's name.
        "query" query: Text = Required,
    }
    later []
}
