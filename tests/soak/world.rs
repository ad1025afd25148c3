//! All parts, each the real one: broker, database, the links to them, and the program itself.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::database;
use crate::endpoint::{Endpoint, KEY};
use crate::support::postgres::Postgres;
use crate::support::process::{Process, Stream};
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::Rabbit;
use crate::traffic::EXCHANGE;

/// How often sessions are pinged; who does not answer is gone after a few of those.
const PING: &str = "5s";

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) rabbit: Rabbit,
    /// Where the back end publishes. It has no link that breaks.
    pub(crate) vhost: String,
    pub(crate) broker_link: Proxy,
    pub(crate) postgres: Postgres,
    /// Where the back end writes.
    pub(crate) database: String,
    pub(crate) database_link: Proxy,
    pub(crate) endpoint: Endpoint,
    pub(crate) endpoint_link: Proxy,
    pub(crate) client_link: Proxy,
    pub(crate) server: Server,
}

/// The program.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) clients: SocketAddr,
    pub(crate) admin: SocketAddr,
    _folder: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        let rabbit = tokio::task::block_in_place(Rabbit::own);
        let vhost = rabbit.vhost();
        let (broker_link, amqp) = link(&vhost);
        let postgres = tokio::task::block_in_place(|| Postgres::own(&[]));
        let database = postgres.database(&database::script()).await;
        let (database_link, sql) = link(&database);
        let endpoint = Endpoint::start().await;
        let endpoint_link = Proxy::start(endpoint.address());
        let web = endpoint_link.address().to_string();
        let server = Server::start(&configuration(&amqp, &sql, &web)).await;
        // Once, before anything counts: the first lost connection makes the client library start a thread for good.
        broker_link.cut();
        server.process.wait_for("that it is back", |lines| found(lines, "\"connected to the broker again\"")).await;
        let client_link = Proxy::start(server.clients);
        Self {
            rabbit,
            vhost,
            broker_link,
            postgres,
            database,
            database_link,
            endpoint,
            endpoint_link,
            client_link,
            server,
        }
    }
}

impl Server {
    async fn start(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pointsman.yaml"), configuration).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command.current_dir(folder.path()).args(["serve", "--config", "pointsman.yaml", "--log", "json"]);
        command.env_remove("POINTSMAN_LOG").env_remove("POINTSMAN_ADMIN_KEY");
        let process = Process::start("pointsman", &mut command, Stream::Stderr);
        let clients = listening(&process, "clients").await;
        let admin = listening(&process, "admin").await;
        process.wait_for("that it consumes", |lines| found(lines, "\"connected to the broker\"")).await;
        Self { process, clients, admin, _folder: folder }
    }

    /// All of its log.
    pub(crate) fn log(&self) -> String {
        self.process.lines().join("\n")
    }
}

fn found(lines: &[String], part: &str) -> Option<()> {
    lines.iter().any(|line| line.contains(part)).then_some(())
}

async fn listening(process: &Process, listener: &str) -> SocketAddr {
    let find = |lines: &[String]| {
        let entries = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut own = entries.filter(|entry| entry["message"] == "listening" && entry["listener"] == listener);
        own.find_map(|entry| entry["address"].as_str()?.parse().ok())
    };
    process.wait_for("where it listens", find).await
}

/// A link to where a URL leads, and the URL by way of it.
fn link(url: &str) -> (Proxy, String) {
    let (scheme, rest) = url.split_once('@').unwrap();
    let (upstream, path) = rest.split_once('/').unwrap();
    let proxy = Proxy::start(upstream.parse().unwrap());
    let url = format!("{scheme}@{}/{path}", proxy.address());
    (proxy, url)
}

fn configuration(amqp: &str, sql: &str, web: &str) -> String {
    format!(
        r#"
listen: 127.0.0.1:0
admin: {{ listen: 127.0.0.1:0 }}
shards: 2
drain: 1s

amqp:
  url: {amqp}?heartbeat=5
  exchanges: [{{ name: {EXCHANGE}, type: direct, durable: true }}]
  queues:
    - name: live.{{instance}}
      exclusive: true
      auto_delete: true
      arguments: {{ x-max-length: 100000 }}
      bind: [{{ exchange: {EXCHANGE}, routing_key: live }}]
      prefetch: 1000
    - name: kept
      durable: true
      bind: [{{ exchange: {EXCHANGE}, routing_key: kept }}]
      prefetch: 1000

database:
  url: {sql}
  pool: {{ max: 8, timeout: 2s }}
  queries:
    user_by_token:
      sql: SELECT id AS "user", tenant_id AS tenant FROM users WHERE token = :token
    users_with_access:
      sql: SELECT user_id FROM record_access WHERE tenant_id = :tenant AND record_id = :record
      cache: {{ ttl: 60s, max: 10000 }}

event: {{ payload: data, tenant: data.tenant_id, type: data.type }}
auth:
  providers:
    - http: {{ url: "http://{web}/ws-auth", headers: {{ X-Api-Key: {KEY} }}, timeout: 2s, cache: 5s }}
    - sql: {{ query: user_by_token }}
ping: {{ every: {PING} }}
topics: [{{ match: "deal:{{id}}", allow: true }}]
routes:
  - {{ name: everyone, when: {{ send_to_all: true }}, to: everyone }}
  - name: rights
    when: {{ data.type: rights.changed }}
    do: {{ forget: users_with_access, with: {{ record: "{{data.record_id}}" }} }}
  - name: records
    when: {{ data.type: "record.*" }}
    to: {{ users: {{ query: users_with_access, with: {{ record: "{{data.record_id}}" }} }} }}
  - {{ name: deals, when: {{ data.type: "deal.*" }}, to: {{ topic: "deal:{{data.deal_id}}" }} }}
  - {{ name: notes, when: {{ data.type: "note.*" }}, to: {{ user: "{{data.user_id}}" }} }}
  - {{ name: news, when: {{ data.type: news }}, to: {{ tenant: true }} }}
"#
    )
}
