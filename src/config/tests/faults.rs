//! Faulty files, and all that is said of each.

use super::*;

macro_rules! faulty {
    ($($name:ident: $text:expr;)*) => {
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(said(&[("x.yaml", &$text)]));
            }
        )*
    };
}

fn base(more: &str) -> String {
    format!("{BASE}{more}")
}

faulty! {
    an_empty_file_is_told_what_it_needs: "";
    a_file_that_is_no_map: "- a\n- b\n";
    unknown_keys_get_a_suggestion: base("\
amqp:
  url: amqp://app:s3cret@mq/
  queues:
    - name: q
      bind: [{ exchagne: events }]
lisen: 0.0.0.0:80
something: else
");
    a_secret_under_a_misspelt_key: base("\
admin: { kay: s3cret }
amqp:
  urls: amqp://app:s3cret@mq/
  queues: [{ name: q }]
");
    wrong_types_and_units: base("\
demo: yes
drain: 10 sec
shards: 65
listen: :8080
limits: { connections: many, message: 16KB, outbox: { messages: 0, when_full: drop } }
ping: { every: 10ms }
admin: [1]
");
    booleans_of_old: base("\
amqp:
  url: amqp://mq
  exchanges: [{ name: events, type: fanuot, durable: on, auto_delete: \"true\" }]
  queues: [{ name: 7, no_ack: Off, prefetch: 70000, bind: [{ exchange: evnets }, { exchange: amq.topic }] }]
");
    addresses: base("\
listen: localhost:8080
admin: { listen: 9090 }
");
    a_public_admin_listener_needs_a_key: base("admin: { listen: 0.0.0.0:9090 }\n");
    an_empty_variable_is_no_key: base("admin: { listen: \"0.0.0.0:9090\", key: \"${NOT_SET:-}\" }\n");
    variables: base("\
demo: ${NOT_SET}
listen: ${LISTEN}
drain: ${SECRET}
shards: ${bad name}
database:
  url: ${SECRET}
  queries: { a: { sql: \"SELECT ${SECRET} '\" } }
ping: { last_event_id: { query: \"${QUERY}\" } }
topics: [{ match: \"${OPEN}\", allow: true }]
${KEY}: 1
");
    secrets_are_masked: base("\
admin: { key: [s3cret], listen: nowhere }
amqp: { url: [\"amqp://app:s3cret@mq:port/\", \"amqps://app:s3cret@mq\", \"http://app:s3cret@mq\", \"app:s3cret@mq\"], queues: [] }
database: { url: \"postgres://app:s3cret@db/app\", queries: {} }
");
    database_urls: base("\
database: { url: \"mysql://app:s3cret@db\", pool: { max: 2, min: 3, idle_timeout: 0s } }
");
    a_database_url_without_a_host: base("database: { url: \"postgres://app:s3cret@/app\" }\n");
    a_database_url_with_an_unknown_parameter: base("database: { url: \"postgres://app:s3cret@db/app?sslmod=require\" }\n");
    a_database_url_with_a_wrong_value: base("database: { url: \"postgres://app:s3cret@db/app?sslmode=always\" }\n");
    a_database_url_whose_password_ends_it_early: base("database: { url: \"postgres://app:s3?cret@db/app\" }\n");
    a_database_url_with_a_bad_port: base("database: { url: \"mysql://app:s3cret@db:port/app\" }\n");
    another_database: base("database: { url: \"oracle://app:s3cret@db/app\" }\n");
    scripts_are_not_for_servers: base("database: { url: \"mysql://app:s3cret@db/app\", init: [none.sql] }\n");
    queries_of_postgresql: base("\
database:
  url: postgres://db/app
  queries:
    right: { sql: \"SELECT a[1:2], E'\\\\' :x', $$ :y $$ FROM t WHERE id = :id::int8\", timeout: 500ms }
    wrong: { sql: \"SELECT $1\" }
");
    queries_of_mysql: base("\
database:
  url: mysql://db/app
  queries:
    right: { sql: \"SELECT '\\\\' :x', `:y` FROM t WHERE id = :id # :z\" }
    wrong: { sql: \"SELECT ?\" }
");
    whatever_may_hold_a_secret_is_masked: "\
event: { tenant: data.tenant_id }
routes: [{ name: all, to: { tenant: true } }]
adminn: { key: s3cret }
admin: [{ key: s3cret }]
amqp: { url: amqp://mq, url: \"s3cret\", queues: [{ name: q }] }
database: s3cret:x
auth: { providers: { tokens: { t0ken: { user: 1, tenant: acme } } } }
tls: { key: s3cret }
";
    tokens_are_secrets: "\
event: { tenant: data.tenant_id }
auth:
  providers:
    - tokens:
        t0ken: { user: 1, tenant: acme }
        t0ken: { user: 2, tenant: acme }
        s3cret: { usr: 1.5, tenant: [] }
    - tokens: { s3cret: { user: true, tenant: \"\", team: [sales] } }
    - tokens: s3cret
    - tokens: {}
    - {}
    - script: s3cret
routes: [{ name: all, to: { tenant: true } }]
";
    ids_with_control_characters: "\
event: { tenant: data.tenant_id }
auth: { providers: [{ tokens: { t0ken: { user: \"7\\0\", tenant: \"ac\\nme\" } } }] }
routes: [{ name: all, to: { tenant: true } }]
";
    providers_over_http: "\
event: { tenant: data.tenant_id }
auth:
  providers:
    - http: {}
    - http: { url: not a url }
    - http: { url: \"ftp://app:s3cret@app/ws-auth\" }
    - http: { url: \"https://\" }
    - http: { url: \"http://app.example.com:99999/ws-auth?key=s3cret\" }
    - http: { url: \"http://app:s3cret@app.example.com/ws-auth?key=s3cret\", timeout: 1s, connect_timeout: 2s }
    - http: { url: \"http://app/ws-auth\", concurrent: 0, cache: 30, timout: 1s }
    - http:
        url: \"https://app.example.com/ws-auth\"
        headers: { X-Key: s3cret, \"X Key\": s3cret, Content-Type: s3cret, X-Key: s3cret2, X-Line: \"s3cret\\n\" }
    - http: { url: \"https://app.example.com/ws-auth\", headers: s3cret }
    - { http: { url: \"https://app.example.com/ws-auth\" }, tokens: { t0ken: { user: 1, tenant: acme } } }
    - {}
routes: [{ name: all, to: { tenant: true } }]
";
    providers_of_web_tokens: "\
event: { tenant: data.tenant_id }
auth:
  providers:
    - jwt: {}
    - jwt: { secret: s3cret, tenant: tid }
    - jwt: { secret: \"\", tenant: tid }
    - jwt: { secret: s3cret-s3cret-s3cret-s3cret-s3cret, tenant: tid, algorithms: [RS256, HS256, none] }
    - jwt: { jwks: \"http://login.example.com/jwks\", tenant: tid, user: \"\", algorithms: [] }
    - jwt: { jwks: \"https://login.example.com/jwks\", secret: s3cret, tenant: tid, audience: [] }
    - jwt: { public_key: none.pem, tenant: tid }
    - jwt: { public_key: \"-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----\", tenant: tid }
    - jwt: { public_key: \"-----BEGIN PRIVATE KEY-----\\ns3cret\\n-----END PRIVATE KEY-----\", tenant: tid }
    - jwt: { public_key: \"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\", tenant: tid }
    - jwt: { secrt: s3cret, tenant: tid }
routes: [{ name: all, to: { tenant: true } }]
";
    a_tab: "event:\n\ttenant: x\n";
    bad_indentation: "event:\n  tenant: data.tenant\n   payload: data\nadmin: { key: s3cret }\n";
    an_open_bracket: "event: { tenant: x\nauth: y\n";
    a_syntax_error_beside_a_secret: "admin:\n  key: s3cret: x\n";
    a_syntax_error_among_tokens: "auth:\n  providers:\n    - tokens:\n        t0ken: { user: 1: 2 }\n";
    text_that_needs_quotes: base("database:\n  url: sqlite::memory:\n");
    a_variable_inside_of_brackets: base("admin: { key: ${SECRET} }\n");
    two_documents: base("---\na: b\n");
    duplicate_keys: base("demo: false\ndemo: true\nadmin: { listen: \"127.0.0.1:1\", listen: \"127.0.0.1:2\" }\n");
    an_unknown_alias: base("drain: *later\n");
    tags_and_merge_keys: "event: !shape { tenant: x }\n";
    queries_and_their_binds: "\
event: { tenant: data.tenant_id }
routes: [{ name: all, to: { users: { query: leaky, with: { record: \"{data.id}\", more: 1 } } } }]
database:
  url: \"sqlite::memory:\"
  queries:
    access: { sql: \"SELECT user_id FROM access WHERE tenant_id = :tenant AND record = :record\" }
    leaky: { sql: \"SELECT user_id FROM access WHERE record = :record\" }
    open: { sql: \"SELECT 'x\" }
    none: { sql: \"\" }
    cached: { sql: SELECT 1, cache: { ttl: 30s } }
topics:
  - { match: \"a:{id}\", allow: { query: acces, with: { record: \"{id}\" } } }
  - { match: \"b:{id}\", allow: { query: access, with: { recrod: \"{id}\", tenant: \"{session.tenant}\" } } }
  - { match: \"c:{id}\", allow: { query: leaky, with: { record: \"{idd}\" } } }
  - { match: \"d:{id}\", allow: { query: open } }
  - { match: \"e:{id}\", allow: { when: { id: 1 }, query: access, with: { record: 1 } } }
ping: { last_event_id: { query: access } }
auth:
  providers: [{ sql: { query: access } }, { sql: { query: acces } }]
";
    no_database: base("ping: { last_event_id: { query: newest } }\n");
    topic_rules: base("\
topics:
  - { match: \"deal:{id}\", allow: { when: { idd: 1, session.role: manager } } }
  - { match: \"deal:{deal}\", allow: true }
  - { match: \"deal:x{id}\", allow: true }
  - { match: \"board:*\" }
  - { match: \"c\", allow: {} }
  - { match: \"d\", allow: { with: { a: b } } }
  - { match: \"e\", script: e.lua }
  - { match: \"f\", allow: maybe }
  - { match: \"g:{user}\", allow: { when: { user: \"{sesion.user}\" } } }
");
    routes: "\
event: { payload: data, tenant: data.tenant_id }
auth: { providers: [{ tokens: { t0ken: { user: 1, tenant: acme } } }] }
routes:
  - { name: a, when: { data.type: { prefx: x } }, to: everyon }
  - { name: a, to: {} }
  - { name: b, to: [{ user: data.owner_id }, { user: {data.owner_id} }, { tenant: false }] }
  - { when: { data..x: 1 }, to: { topic: \"deal:{data.id\" } }
  - { name: d, to: { user: 1, users: [2], topic: a, topics: b } }
  - { name: e, to: { topic: \"a::b\" }, all_tenants: true, script: x.lua }
  - { name: f, when: { data.x: \"{data.y}*\" }, to: { users: { query: q } } }
  - { name: g }
  - 7
";
    what_routes_do: "\
event: { payload: data, tenant: data.tenant_id }
auth: { providers: [{ tokens: { t0ken: { user: 1, tenant: acme } } }] }
database:
  url: \"sqlite::memory:\"
  queries:
    access: { sql: \"SELECT 1 FROM access WHERE tenant_id = :tenant AND record = :record\", cache: { ttl: 30s } }
    plain: { sql: \"SELECT 1 FROM access WHERE tenant_id = :tenant\" }
    endless: { sql: \"SELECT 1\", cache: { max: 0 } }
routes:
  - { name: a, when: { data.x: 1 }, do: {} }
  - { name: b, when: { data.x: 1 }, do: { with: { record: 1 } } }
  - { name: c, when: { data.x: 1 }, do: { forget: acces, with: { record: 1 } } }
  - { name: d, when: { data.x: 1 }, do: { forget: access, with: { recrod: 1, tenant: \"{data.tenant_id}\" } } }
  - { name: e, when: { data.x: 1 }, do: { forget: plain } }
  - { name: f, when: { data.x: 1 }, do: { forget: access, with: { record: data.record_id } } }
  - { name: g, when: { data.x: 1 }, do: { disconnect: { user: 1, users: [2] } } }
  - { name: h, when: { data.x: 1 }, do: [{ disconnect: {} }, { disconnect: { user: data.user_id } }] }
  - { name: i, when: { data.x: 1 }, to: { tenant: true }, do: { disconnect: { user: 1 } } }
  - { name: j, when: { data.x: 1 }, do: { disconnect: { user: 1 } }, all_tenants: true }
  - { name: k, when: { data.x: 1 }, do: { forgt: access } }
";
    payloads: "\
event: { payload: data, tenant: data.tenant_id }
auth: { providers: [{ tokens: { t0ken: { user: 1, tenant: acme } } }] }
routes:
  - name: a
    to:
      - { user: 1, payload: {} }
      - { user: 2, payload: [title] }
      - { user: 3, payload: { only: [a], without: [b] } }
      - { user: 4, payload: { only: [] } }
      - { user: 5, payload: { without: [] } }
      - { user: 6, payload: { without: [a, b, a, b.c, ., d..e, 7, \"{x}\", items.*] } }
      - { user: 7, payload: { without: [data.price, items.0.price, database] } }
      - { user: 8, payload: { only: title } }
      - { payload: { only: [title] } }
      - { user: 9, payload: { onyl: [title] } }
    payload: { only: [title] }
  - { name: b, to: everyone, payload: { only: [title] } }
";
    no_route: "\
event: { tenant: data.tenant_id }
auth: { providers: [] }
routes: []
";
    wide_characters_and_tabs: base("demo:\t\t\"日本\" # x\n\"日本語\": { drain: 1 }\nping: {\tevery: 1\u{202e}d }\n");
    a_long_line: base(&format!("ping: {{ every: 10s, {0} evry: 1 {0} }} # x\n", " ".repeat(300)));
}

#[test]
fn what_is_wrong_is_known_to_programs_too() {
    let (folder, loaded) = load_files(&[("x.yaml", &base("lisen: 0.0.0.0:80\n"))]);
    let Err(LoadError::Invalid(diagnostics)) = loaded else { panic!("{loaded:?}") };
    let file = folder.path().join("x.yaml");
    assert_eq!(
        diagnostics.to_json(),
        serde_json::json!([{
            "severity": "error",
            "file": file.to_str(),
            "line": 4,
            "column": 1,
            "end_column": 6,
            "message": "unknown key `lisen`, did you mean `listen`?",
            "help": null,
            "source": "lisen: ***",
        }])
    );
}

#[test]
fn colours_come_only_where_asked_for() {
    let (_folder, loaded) = load_files(&[("x.yaml", "")]);
    let Err(LoadError::Invalid(diagnostics)) = loaded else { panic!("{loaded:?}") };
    for colour in [false, true] {
        let mut out = Vec::new();
        diagnostics.render(&mut out, colour).unwrap();
        assert_eq!(out.contains(&0x1b), colour);
    }
}
