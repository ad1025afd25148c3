//! The validated configuration: what the rest of the program may assume.
//!
//! Invariant: every name is resolved, every template and path parsed, every bound checked. Nothing here is optional
//! because it "has not been filled in yet".

mod amqp;
mod database;
mod plugins;
mod providers;
mod rule_tests;
mod rules;
mod same;
mod ways;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use compact_str::CompactString;
use secrecy::SecretString;

use crate::event::{Scalar, Shape, TenantId, UserId};
use crate::tls::CertificateFiles;

pub use self::amqp::{Amqp, AmqpTls, Binding, Exchange, Queue, TlsIdentity, WhenLost};
pub use self::database::{Database, Pool, Query, QueryCache, QueryCall, QueryId};
pub use self::plugins::{Breaker, Hook, OnError, PluginFile, PluginId, PluginSite, Plugins, ScriptCall};
pub use self::providers::{HttpProvider, JwtAlgorithm, JwtKeyKind, JwtKeys, JwtProvider};
pub use self::rule_tests::{
    DropExpectation, EventExpectation, EventTest, Expected, ForgetExpectation, MockAnswer, MockCase, MockQuery,
    RuleTest, SessionIndex, SubscribeTest, TestCase, TestSession, TokenExpectation, TokenTest,
};
pub use self::rules::{
    ActionRule, AudienceRule, ForgetRule, ListRule, Route, RouteTarget, TopicAllow, TopicPlace, TopicRule, UsersRule,
};
pub use self::ways::Way;

/// Shards at most, so that a set of them is one word.
pub const MAX_SHARDS: u8 = 64;

/// Bytes that `limits.event` allows at most. A broker takes no larger message.
pub const MAX_EVENT: usize = 128 << 20;

/// Everything that the configuration files say.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where the certificate is with which clients speak TLS, where they do.
    pub tls: Option<CertificateFiles>,
    /// How many shards: 1 to [`MAX_SHARDS`]. `auto` is one per core.
    pub shards: NonZeroUsize,
    /// How long leaving takes at most.
    pub drain: Duration,
    /// Whether the demo page is served at `/`.
    pub demo: bool,
    /// The admin listener.
    pub admin: Admin,
    /// RabbitMQ, where events come from it.
    pub amqp: Option<Amqp>,
    /// The database of named queries, where there is one.
    pub database: Option<Database>,
    /// Where things stand in a published body.
    pub event: Shape,
    /// How connections become sessions.
    pub auth: Auth,
    /// The pings that clients get.
    pub ping: Ping,
    /// Who may subscribe to what; the first match decides.
    pub topics: Vec<TopicRule>,
    /// Which event goes to whom, in order.
    pub routes: Vec<Route>,
    /// The plugins that rules name.
    pub plugins: Plugins,
    /// What a change of the files leads to.
    pub reload: Reload,
    /// Bounds on what clients may do and cost.
    pub limits: Limits,
}

/// What a change of the files leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// The files are watched, and a change of them is taken up.
    pub watch: bool,
    /// The rule tests must pass before a rulebook comes into force.
    pub tests: bool,
}

impl Default for Reload {
    fn default() -> Self {
        Self { watch: true, tests: true }
    }
}

impl Config {
    /// Whether pings tell each tenant's own newest event: where their query binds `:tenant`.
    pub fn pings_by_tenant(&self) -> bool {
        let query = self.ping.last_event_id.zip(self.database.as_ref());
        query.is_some_and(|(id, database)| database.queries[usize::from(id.0)].binds_tenant())
    }
}

/// The admin listener: health, metrics, publish.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The bearer token it asks for. Always there where `listen` is not a loopback address.
    pub key: Option<SecretString>,
}

/// How connections become sessions.
#[derive(Clone, Debug)]
pub struct Auth {
    /// A connection that is not a session by then is closed.
    pub deadline: Duration,
    /// Where a token may come in.
    pub accept: Accept,
    /// Asked in order; the first that knows the token decides. At least one.
    pub providers: Vec<Provider>,
}

/// Where a token may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// In the first message.
    pub message: bool,
    /// In an `Authorization: Bearer` header.
    pub header: bool,
    /// In an `access_token` query parameter.
    pub query: bool,
}

/// Who knows whose token it is.
#[derive(Clone, Debug)]
pub enum Provider {
    /// A list in the configuration.
    Tokens(Vec<(SecretString, TokenIdentity)>),
    /// A query that binds `:token` and answers `user`, `tenant` and any further attributes.
    Sql(QueryId),
    /// An HTTP endpoint that gets the token and answers whose it is.
    Http(HttpProvider),
    /// JSON Web Tokens.
    Jwt(JwtProvider),
    /// A plugin.
    Script(ScriptProvider),
}

/// A plugin that is asked for tokens.
#[derive(Clone, Copy, Debug)]
pub struct ScriptProvider {
    /// Which one, and what it is handed.
    pub call: ScriptCall,
    /// For how long its answer counts for a token. `None`: it is asked each time.
    pub cache: Option<Duration>,
}

/// Whom a token of the configuration stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenIdentity {
    /// The user.
    pub user: UserId,
    /// The user's tenant.
    pub tenant: TenantId,
    /// All further keys.
    pub attributes: Vec<(CompactString, Scalar)>,
}

/// The pings that clients get.
#[derive(Clone, Debug)]
pub struct Ping {
    /// How often.
    pub every: Duration,
    /// The query that answers the newest event's id, for everyone or, where it binds `:tenant`, for each tenant.
    pub last_event_id: Option<QueryId>,
}

/// Bounds on what clients may do and cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at most, over all shards.
    pub connections: usize,
    /// Topics of one session.
    pub topics: usize,
    /// Bytes of one message from a client.
    pub message: usize,
    /// Bytes of one published event.
    pub event: usize,
    /// What may wait for one connection.
    pub outbox: OutboxLimits,
}

/// What may wait to be written to one connection before it counts as too slow.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// Messages.
    pub messages: usize,
    /// Bytes.
    pub bytes: usize,
    /// What becomes of a connection for which more waits.
    pub when_full: WhenFull,
}

/// What becomes of a connection whose outbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is closed with 4408.
    Disconnect,
    /// The oldest events that wait for it are dropped. It is closed too, where what was promised to it alone, such as
    /// answers, is too much.
    DropOldest,
}
