//! The file as a whole, and its small sections.

use hashbrown::HashSet;
use serde_json::{Value, json};

use super::amqp::RawAmqp;
use super::auth::RawAuth;
use super::condition;
use super::database::{RawDatabase, RawQueryName};
use super::plugins::{RawPlugins, RawReload};
use super::read::{At, Field, FromNode, any_of, or_variable};
use super::routes::RawRoute;
use super::rule_tests::tests_schema;
use super::scalars::{Address, Number, Text, scalar};
use super::secrets::{FileName, Secret};
use super::section::{choice, section};
use super::topics::RawTopicRule;
use super::units::{Size, Span};
use crate::config::diagnostics::Diagnostics;
use crate::config::node::Node;
use crate::config::{MAX_EVENT, MAX_SHARDS};

section! {
    /// Configuration of Pointsman.
    RawConfig (PlainScalars) {
        /// Where clients connect. Default: 0.0.0.0:8080.
        "listen" listen: Address = Optional,
        /// TLS for clients. Without it they speak plain HTTP, as behind a proxy.
        "tls" tls: RawTls = Optional,
        /// How many shards: `auto` is one per core. Default: auto.
        "shards" shards: RawShards = Optional,
        /// How long leaving takes at most. Default: 10s.
        "drain" drain: Span<0> = Optional,
        /// Whether the demo page is served at `/`. Default: false.
        "demo" demo: bool = Optional,
        /// Files that hold a part of this one, relative to it. `*` may stand in the last part of a path.
        "include" include: Vec<At<Text>> = Optional,
        /// The admin listener: health, metrics, publish.
        "admin" admin: RawAdmin = Optional,
        /// The broker: where to connect, what to declare, what to consume.
        "amqp" amqp: RawAmqp = Optional,
        /// The database of named queries.
        "database" database: RawDatabase = Optional,
        /// Where things stand in a published body.
        "event" event: RawEvent = Optional,
        /// How connections become sessions.
        "auth" auth: RawAuth = Optional,
        /// The pings that clients get.
        "ping" ping: RawPing = Optional,
        /// Who may subscribe to what; the first match decides.
        "topics" topics: Vec<At<RawTopicRule>> = Optional,
        /// Which event goes to whom; the first match decides, unless it says `continue`.
        "routes" routes: Vec<At<RawRoute>> = Optional,
        /// Plugins that rules name, and what they may cost.
        "plugins" plugins: RawPlugins = Optional,
        /// What a change of the files leads to.
        "reload" reload: RawReload = Optional,
        /// Bounds on what clients may do and cost.
        "limits" limits: RawLimits = Optional,
    }
    later ["catch_up"]
}

impl RawConfig {
    /// Whether the rule tests are a part of it.
    pub(in crate::config) fn asks_for_tests(&self) -> bool {
        self.reload.value().and_then(|reload| reload.tests.value()).copied().unwrap_or(true)
    }

    /// A part of it could not be read: what is missing may stand there, and is not reported.
    pub(in crate::config) fn expect_more(&mut self) {
        self.event.expect();
        self.auth.expect();
        self.routes.expect();
        self.database.expect();
        if let Field::Given(database) = &mut self.database {
            database.value.queries.expect();
        }
        if let Field::Given(auth) = &mut self.auth {
            auth.value.providers.expect();
        }
    }
}

section! {
    /// TLS for clients: a certificate and its key. Renewed files are picked up while it runs.
    RawTls (Secret) {
        /// A file with the certificate in PEM form, and behind it those that lead to one that clients know.
        "cert" cert: FileName = Required,
        /// A file with its private key in PEM form, without a password.
        "key" key: FileName = Required,
    }
    later []
}

section! {
    /// The admin listener.
    RawAdmin (Secret) {
        /// Where it listens. Default: 127.0.0.1:9090.
        "listen" listen: Address = Optional,
        /// The bearer token it asks for. Needed where it does not listen on a loopback address.
        "key" key: Secret = Optional,
    }
    later []
}

section! {
    /// Where things stand in a published body, as field paths. Also `amqp.headers.NAME` and `amqp.routing_key`.
    RawEvent (Plain) {
        /// What clients get; `.` is the whole body. Default: `.`.
        "payload" payload: Text = Optional,
        /// Whose event it is.
        "tenant" tenant: Text = Required,
        /// What the application calls the event.
        "id" id: Text = Optional,
        /// What kind of event it is.
        "type" kind: Text = Optional,
    }
    later []
}

section! {
    /// The pings that clients get.
    RawPing (Plain) {
        /// How often. Default: 60s.
        "every" every: Span<1000> = Optional,
        /// The query that answers the newest event's id: for everyone or, where it binds `:tenant`, for each tenant.
        "last_event_id" last_event_id: RawQueryName = Optional,
    }
    later []
}

section! {
    /// Bounds on what clients may do and cost.
    RawLimits (Plain) {
        /// Connections at most, and no more than the process has descriptors for. Default: 100000.
        "connections" connections: Number<1, 100_000_000> = Optional,
        /// Topics of one session. Default: 100.
        "topics" topics: Number<0, 1_000_000> = Optional,
        /// The longest message from a client. Default: 16KiB.
        "message" message: Size<128, 0x0400_0000> = Optional,
        /// The largest published event, by AMQP or HTTP. Default: 16MiB.
        "event" event: Size<1024, MAX_EVENT> = Optional,
        /// What may wait for one connection before it counts as too slow.
        "outbox" outbox: RawOutbox = Optional,
    }
    later ["unauthenticated", "per_tenant", "per_user", "per_ip", "messages_per_second", "origins"]
}

section! {
    /// What may wait for one connection.
    RawOutbox (Plain) {
        /// Messages. Default: 256.
        "messages" messages: Number<1, 1_000_000> = Optional,
        /// Bytes. Default: 1MiB.
        "bytes" bytes: Size<1024, 0x4000_0000> = Optional,
        /// What becomes of a connection whose outbox is full: `disconnect` closes it, `drop_oldest` drops the oldest
        /// events that wait for it. Default: disconnect.
        "when_full" when_full: RawWhenFull = Optional,
    }
    later []
}

choice! {
    /// What becomes of a connection whose outbox is full.
    RawWhenFull {
        /// It is closed.
        "disconnect" Disconnect,
        /// The oldest events that wait for it are dropped.
        "drop_oldest" DropOldest,
    }
    later []
}

/// How many shards.
#[derive(Clone, Copy)]
pub(in crate::config) enum RawShards {
    /// One per core.
    Auto,
    /// This many.
    Count(u64),
}

type ShardCount = Number<1, { MAX_SHARDS as u64 }>;

impl FromNode for RawShards {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let expected = format!("`auto` or a number from 1 to {MAX_SHARDS}");
        let text = scalar(node, &expected, diagnostics)?;
        if text.text == "auto" {
            return Some(Self::Auto);
        }
        if matches!(text.value(), crate::event::Scalar::Int(_)) {
            return ShardCount::read(node, diagnostics).map(|count| Self::Count(count.0));
        }
        diagnostics.error(&node.place, format!("`{}` is neither `auto` nor a number", node.shown()));
        None
    }

    fn schema() -> Value {
        any_of([json!({ "const": "auto" }), or_variable(ShardCount::schema())])
    }
}

/// All keys that the configuration knows by name, and the words that YAML does.
pub(in crate::config) fn vocabulary() -> HashSet<String> {
    let mut words: HashSet<String> = ["true", "false", "null"].map(str::to_owned).into();
    collect(&root_schema(), &mut words);
    collect(&tests_schema(), &mut words);
    words
}

fn collect(schema: &Value, words: &mut HashSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(properties) = map.get("properties").and_then(Value::as_object) {
                words.extend(properties.keys().cloned());
            }
            map.values().for_each(|inner| collect(inner, words));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, words)),
        _ => {}
    }
}

/// The schema of a whole file. A part in a file of its own lacks what another part has, so that nothing is required
/// at the top.
pub(in crate::config) fn root_schema() -> Value {
    let mut schema = RawConfig::schema();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Pointsman".into();
    schema["$defs"] = json!({ "condition": condition::definition() });
    schema
}
