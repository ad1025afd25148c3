//! The validated configuration: what the rest of the program may assume.
//!
//! Invariant: every name is resolved, every template and path parsed, every bound checked. Nothing here is optional
//! because it "has not been filled in yet".

mod plugins;
mod providers;
mod rule_tests;
mod same;
mod ways;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use compact_str::CompactString;
use secrecy::SecretString;

use crate::event::{Matcher, Path, PayloadFilter, Scalar, Shape, Template, TenantId, TopicPattern, UserId};
use crate::lookup::scan::Dialect;
use crate::tls::CertificateFiles;

pub use self::plugins::{Breaker, Hook, OnError, PluginFile, PluginId, PluginSite, Plugins, ScriptCall};
pub use self::providers::{HttpProvider, JwtAlgorithm, JwtKeyKind, JwtKeys, JwtProvider};
pub use self::rule_tests::{
    DropExpectation, EventExpectation, EventTest, Expected, ForgetExpectation, MockAnswer, MockCase, MockQuery,
    RuleTest, SessionIndex, SubscribeTest, TestCase, TestSession, TokenExpectation, TokenTest,
};
pub use self::ways::Way;

/// Shards at most, so that a set of them is one word.
pub const MAX_SHARDS: u8 = 64;

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

/// RabbitMQ: where to connect, what to declare, what to consume.
#[derive(Clone, Debug)]
pub struct Amqp {
    /// `amqp://` or `amqps://` URLs, tried in turn. At least one.
    pub urls: Vec<SecretString>,
    /// For those that are `amqps://`.
    pub tls: AmqpTls,
    /// Declared on each connection.
    pub exchanges: Vec<Exchange>,
    /// Declared, bound and consumed on each connection. At least one.
    pub queues: Vec<Queue>,
    /// What to do when the connection is lost.
    pub when_lost: WhenLost,
}

/// TLS to the broker: files that are read for each connection, and were good when the configuration was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AmqpTls {
    /// CA certificates to trust, beside those whom the system trusts.
    pub ca: Option<PathBuf>,
    /// As whom to come, where the broker asks for a certificate.
    pub identity: Option<TlsIdentity>,
}

/// A certificate and its key: files, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    /// The certificate with its chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// An exchange to declare.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "these are AMQP's own words")]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// `direct`, `fanout`, `topic`, `headers`, or a plugin's type.
    pub kind: String,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Goes with its last binding.
    pub auto_delete: bool,
    /// Only other exchanges may publish to it.
    pub internal: bool,
    /// Must exist already: checked, not created.
    pub passive: bool,
    /// The broker's optional arguments.
    pub arguments: Vec<(String, Scalar)>,
}

/// A queue to declare, bind and consume.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "these are AMQP's own words")]
pub struct Queue {
    /// Its name, `{instance}` filled in.
    pub name: String,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Only this connection may use it, and it goes with the connection.
    pub exclusive: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// Must exist already: checked, not created.
    pub passive: bool,
    /// The broker's optional arguments.
    pub arguments: Vec<(String, Scalar)>,
    /// What it is bound to.
    pub bind: Vec<Binding>,
    /// How many deliveries may be out unacknowledged: 1 to 65,535.
    pub prefetch: u16,
    /// The broker waits for no acknowledgement; when lanes lag, the oldest waiting events are shed and counted.
    pub no_ack: bool,
}

/// A binding of a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The exchange, declared above or known to the broker.
    pub exchange: String,
    /// The routing key, or pattern for a topic exchange.
    pub routing_key: String,
    /// The broker's optional arguments: for a headers exchange.
    pub arguments: Vec<(String, Scalar)>,
}

/// What to do when the broker is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenLost {
    /// Connect again, with backoff and jitter, and declare everything anew.
    Reconnect,
    /// Exit with status 3, for a supervisor.
    Exit,
}

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

/// Who may subscribe to the topics of a pattern.
#[derive(Clone, Debug)]
pub struct TopicRule {
    /// Which topics.
    pub pattern: TopicPattern,
    /// Who.
    pub allow: TopicAllow,
}

/// The condition of a topic rule.
#[derive(Clone, Debug)]
pub enum TopicAllow {
    /// Everyone.
    Always,
    /// Nobody.
    Never,
    /// Sessions for which all of these hold.
    When(Vec<(TopicPlace, Matcher<TopicPlace>)>),
    /// Sessions for which the query answers a row.
    Query(QueryCall<TopicPlace>),
    /// Sessions that a plugin allows.
    Script(ScriptCall),
}

/// What a topic rule can refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicPlace {
    /// The part of the topic that the pattern caught, by its position among the captures.
    Capture(usize),
    /// `session.user`
    User,
    /// `session.tenant`
    Tenant,
    /// `session.NAME`: an attribute.
    Attribute(CompactString),
}

/// Which event goes to whom.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name; no two are alike.
    pub name: CompactString,
    /// All must hold; an empty list always does.
    pub when: Vec<(Path, Matcher<Path>)>,
    /// To whom.
    pub to: RouteTarget,
    /// `everyone` may be meant even for an event that names a tenant.
    pub all_tenants: bool,
    /// Later routes are tried also.
    pub go_on: bool,
}

/// To whom a route sends.
#[derive(Clone, Debug)]
pub enum RouteTarget {
    /// Every session of every tenant.
    Everyone,
    /// Sessions of the event's tenant that one of these holds. Empty: nobody.
    Audiences(Vec<AudienceRule>),
    /// Nobody: this is done instead, in order.
    Act(Vec<ActionRule>),
    /// Whom a plugin names.
    Script(ScriptCall, OnError),
}

/// What an event leads to beside being sent.
#[derive(Clone, Debug)]
pub enum ActionRule {
    /// What a query has answered is no longer good.
    Forget(ForgetRule),
    /// The connections of these users of the tenant are closed.
    Disconnect(ListRule),
}

/// Which answers of a query are no longer good.
#[derive(Clone, Debug)]
pub struct ForgetRule {
    /// Which query.
    pub query: QueryId,
    /// What was bound in them: of some of the query's binds, or all. One that cannot be filled narrows nothing.
    pub with: Vec<(CompactString, Template<Path>)>,
    /// They are a tenant's own: the query binds `:tenant`.
    pub of_tenant: bool,
}

/// One audience of a route: all that is given must hold. With nothing given it is the whole tenant.
#[derive(Clone, Debug, Default)]
pub struct AudienceRule {
    /// `user`, `users`
    pub users: Option<UsersRule>,
    /// `topic`, `topics`
    pub topics: Option<ListRule>,
    /// `where`: attributes and what they must match.
    pub attributes: Vec<(CompactString, Matcher<Path>)>,
    /// `except_user`: a template, or several. One that cannot be filled takes nobody away.
    pub except: Vec<Template<Path>>,
    /// `payload`: what these get of it. `None` is the whole.
    pub payload: Option<PayloadFilter>,
}

/// A list of texts that an audience names.
#[derive(Clone, Debug)]
pub enum ListRule {
    /// Each a template; one that cannot be filled names nothing.
    Each(Vec<Template<Path>>),
    /// A path to an array, or to one value.
    Field(Path),
}

/// The users that an audience names.
#[derive(Clone, Debug)]
pub enum UsersRule {
    /// By id.
    List(ListRule),
    /// The first column of a query's rows.
    Query(QueryCall<Path>),
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
