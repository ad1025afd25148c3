//! Every key that a configuration may have: each is accepted, or refused as not yet supported.

use super::*;

/// All that is supported.
pub(super) const SUPPORTED: &str = r#"
listen: 0.0.0.0:8080
shards: auto
drain: 10s
demo: false
include: []

admin:
  listen: 127.0.0.1:9090
  key: ${POINTSMAN_ADMIN_KEY:-}

amqp:
  url: ${AMQP_URL:-amqp://mq}
  exchanges:
    - { name: events, type: fanout, durable: true, auto_delete: false, internal: false, passive: false, arguments: {} }
  queues:
    - name: pointsman.{instance}
      durable: false
      passive: false
      auto_delete: true
      exclusive: true
      arguments: { x-max-length: 100000 }
      bind: [{ exchange: events, routing_key: "", arguments: { x-match: all } }]
      prefetch: 1000
      no_ack: false
  when_lost: reconnect

database:
  url: ${DATABASE_URL:-sqlite:app.db}
  init: []
  pool: { max: 10, min: 1, timeout: 2s, idle_timeout: 10m, max_lifetime: 30m }
  queries:
    user_by_token:
      sql: SELECT id AS user, tenant_id AS tenant, role FROM users WHERE websocket_token = :token
      cache: { ttl: 30s }
    users_with_access:
      sql: SELECT user_id FROM record_access WHERE tenant_id = :tenant AND record_id = :record
      cache: { ttl: 60s, max: 100000 }
    can_view_deal:
      sql: SELECT 1 FROM deals WHERE tenant_id = :tenant AND id = :deal AND viewer = :user
    last_event_id:
      sql: SELECT max(id) FROM events
      timeout: 500ms

event:
  payload: data
  tenant: data.tenant_id
  id: data.id
  type: data.type

auth:
  deadline: 10s
  accept: [message, header, query]
  providers:
    - sql: { query: user_by_token }
    - http:
        url: https://app.internal/ws-auth
        timeout: 2s
        connect_timeout: 1s
        cache: 30s
        concurrent: 64
        headers: { X-Api-Key: "${API_KEY:-none}" }
    - jwt:
        jwks: https://app.internal/jwks.json
        refresh: 10m
        user: sub
        tenant: tid
        issuer: https://app.internal/
        audience: [app, mobile]
        algorithms: [RS256, EdDSA]
        leeway: 5s
    - jwt: { secret: "${JWT_SECRET:-0123456789abcdef0123456789abcdef}", tenant: tid }
    - tokens: { demo-ann: { user: 1, tenant: acme, role: manager } }
    - script: auth.lua
    - script: { plugin: auth.lua, with: { query: user_by_token }, cache: 30s }

ping:
  every: 60s
  last_event_id: { query: last_event_id }

topics:
  - match: "board:*"
    allow: true
  - match: "deal:{id}"
    allow: { query: can_view_deal, with: { user: "{session.user}", deal: "{id}" } }
  - match: "inbox:{user}"
    allow: { when: { user: "{session.user}" } }
  - match: "managers:{board}"
    allow: { when: { session.role: manager } }
  - match: "report:{id}"
    script: reports.lua
  - match: "team:{id}"
    script: reports.lua
    with: { open_to: [finance, manager] }

routes:
  - name: broadcast
    when: { send_to_all: true }
    to: everyone
    all_tenants: true
  - name: deals
    when: { data.type: "deal.*" }
    to: { topic: "deal:{data.deal_id}", except_user: "{data.actor_id}" }
  - name: notes
    when: { data.type: [note.added, note.edited], data.size: { exists: true, not: { gt: 7 }, gte: 1, lt: 9, lte: 8 } }
    to:
      - { topic: "record:{data.record_id}", users: { query: users_with_access, with: { record: "{data.record_id}" } } }
      - { user: "{data.owner_id}" }
      - { tenant: true, where: { role: { prefix: man } }, topics: data.topics, except_user: [1, "{data.b}"] }
      - { tenant: true, where: { role: agent }, payload: { only: [title, actor.name] } }
      - { tenant: true, payload: { without: [price, items.cost] } }
    continue: true
  - name: rights-changed
    when: { data.type: rights.changed }
    do: { forget: users_with_access, with: { record: "{data.record_id}" } }
  - name: fired
    when: { data.type: user.fired }
    do:
      - { forget: can_view_deal, with: { user: "{data.user_id}" }, disconnect: { user: "{data.user_id}" } }
      - { forget: user_by_token }
      - { disconnect: { users: data.users } }
  - name: alarms
    when: { data.type: "alarm.*" }
    script: tasks.lua
    with: { any: [1, -2.5, true, null, { tree: { of: "text" } }], of: yaml }
    on_error: next
    continue: true
  - name: tasks
    when: { data.type: "task.*" }
    script: tasks.lua

plugins:
  dir: plugins
  budget: 10ms
  memory: 8MiB
  breaker: { failures: 20, retry: 10s }

reload:
  watch: true
  tests: true

limits:
  connections: 100000
  topics: 100
  message: 16KiB
  event: 16MiB
  outbox: { messages: 256, bytes: 1MiB, when_full: disconnect }
"#;

const PLUGINS: [(&str, &str); 3] =
    [("plugins/auth.lua", "return {}"), ("plugins/reports.lua", "return {}"), ("plugins/tasks.lua", "return {}")];

fn said_of(text: &str) -> String {
    said(&[&[("c.yaml", text)], &PLUGINS[..]].concat())
}

#[test]
fn all_that_is_supported_is_accepted_without_a_word() {
    assert_eq!(said_of(SUPPORTED), "");
}

#[test]
fn all_that_is_not_yet_supported_is_refused_at_its_place() {
    let later = [
        ("", "catch_up: { query: events_since, limit: 500 }\n"),
        ("  topics: 100\n", "  unauthenticated: 1000\n"),
        ("  topics: 100\n", "  per_tenant: { connections: 10000, events_per_second: 5000 }\n"),
        ("  topics: 100\n", "  per_user: { connections: 50 }\n"),
        ("  topics: 100\n", "  per_ip: { connections: 500, handshakes_per_second: 50 }\n"),
        ("  topics: 100\n", "  messages_per_second: 20\n"),
        ("  topics: 100\n", "  origins: [\"https://app.example.com\"]\n"),
    ];
    for (old, new) in later {
        let text = if old.is_empty() { format!("{SUPPORTED}{new}") } else { SUPPORTED.replacen(old, new, 1) };
        assert_ne!(text, SUPPORTED, "{old}");
        let said = said_of(&text);
        let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error")).collect();
        assert_eq!(errors.len(), 1, "{new}: {said}");
        assert!(errors[0].ends_with("is not yet supported"), "{said}");
        assert!(said.contains(" | ") && said.contains('^'), "{said}");
    }
}

#[test]
fn what_is_not_yet_supported_is_refused_all_at_once() {
    let text = SUPPORTED
        .replace("limits:\n", "limits:\n  unauthenticated: 1\n  per_tenant: {}\n  per_user: {}\n  per_ip: {}\n  messages_per_second: 1\n  origins: []\n")
        + "catch_up: {}\n";
    let said = said_of(&text);
    let mut refused: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("error: ")?.strip_suffix(" is not yet supported")).collect();
    refused.sort_unstable();
    let expected = "`catch_up` `messages_per_second` `origins` `per_ip` `per_tenant` `per_user` `unauthenticated`";
    assert_eq!(refused.join(" "), expected, "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), refused.len(), "{said}");
}
