//! Plugins of one tenant's events that run away, and other tenants' events meanwhile. All share one lane.

#[path = "../../src/route/script/tests/attacks.rs"]
mod attacks;

use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tokio::time::interval;

use crate::support::client::Client;
use crate::support::server::{POINTSMAN, Server, Setup};
use attacks::{ATTACKS, FULL};

/// A server whose events of a type call the plugin of that name.
async fn start(plugins: &[(String, String)], more: &str) -> Server {
    let mut yaml = format!(
        "shards: 1\nevent: {{ payload: data, tenant: data.tenant, type: data.type }}\n{more}
auth: {{ providers: [{{ tokens: {{ acme: {{ user: 1, tenant: acme }}, globex: {{ user: 1, tenant: globex }} }} }}] }}
routes:\n"
    );
    for (name, _) in plugins {
        writeln!(yaml, "  - {{ name: {name}, when: {{ data.type: {name} }}, script: {name}.lua }}").unwrap();
    }
    yaml += "  - { name: rest, to: { tenant: true } }\n";
    let files: Vec<_> = plugins.iter().map(|(name, text)| (format!("{name}.lua"), text.as_str())).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    Server::start_with(&yaml, &Setup { files: &files, ..Setup::default() }).await
}

/// A plugin that sends the event to its tenant unless it does this.
fn plugin(name: &str, locals: &str, attack: &str) -> (String, String) {
    let text = format!(
        "{locals}\nreturn {{ route = function(event, to)\nif event.data.calm then to:tenant() return end\n{attack}\nend }}"
    );
    (name.to_owned(), text)
}

fn event(tenant: &str, number: usize, kind: &str) -> Value {
    json!({ "data": { "tenant": tenant, "n": number, "type": kind } })
}

async fn publish(server: &Server, events: &[Value]) {
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    let answer = server.post("/publish", lines.join("\n")).await;
    assert_eq!(answer.json()["accepted"], events.len(), "{}", answer.body);
}

/// The next events must be of these numbers.
async fn check(client: &mut Client, what: &str, numbers: impl IntoIterator<Item = usize>) {
    for number in numbers {
        let got = client.next_event().await;
        assert_eq!(got["n"], number, "{what}: {got}");
    }
}

async fn failures(server: &Server, plugin: &str, kind: &str) -> i64 {
    server.metric(&format!("pointsman_plugin_failures_total{{plugin=\"{plugin}\",kind=\"{kind}\"}}")).await
}

#[tokio::test]
async fn each_way_to_run_away_costs_its_own_events_alone() {
    let plugins: Vec<_> = (0..)
        .zip(ATTACKS)
        .map(|(index, (_, locals, attack, _))| plugin(&format!("a{index}"), locals, attack))
        .collect();
    let server = start(&plugins, "").await;
    let mut acme = Client::session(&server, "acme", &[]).await;
    let mut globex = Client::session(&server, "globex", &[]).await;
    for (index, ((what, ..), (kind, _))) in ATTACKS.iter().zip(&plugins).enumerate() {
        let runaway = event("acme", index, kind);
        let mut calm = event("acme", index, kind);
        calm["data"]["calm"] = json!(true);
        let other = event("globex", index, "other");
        publish(&server, &[runaway.clone(), other.clone(), runaway, other, calm]).await;
        check(&mut globex, what, [index, index]).await;
        // Two attacks that end well may reach it before.
        while acme.next_event().await["calm"] != true {}
    }
    let metrics = server.get("/metrics").await.body;
    for kind in ["budget", "memory", "error"] {
        let of =
            |line: &&str| line.starts_with("pointsman_plugin_failures_total{") && line.contains(&format!("\"{kind}\""));
        assert!(metrics.lines().filter(of).count() > 5, "{kind}: {metrics}");
    }
}

#[tokio::test]
async fn no_file_that_fills_the_memory_while_it_is_loaded_ends_the_server_or_a_check() {
    // Enough time to get there.
    let server = start(&[plugin("p", "", "")], "plugins: { budget: 500ms }").await;
    let mut acme = Client::session(&server, "acme", &[]).await;
    let attacks = ATTACKS.iter().filter(|(_, locals, attack, _)| *locals == FULL && !attack.contains("to."));
    let mut saved = 0;
    for (what, locals, attack, _) in attacks {
        let text = format!("{locals}\nlocal function f()\n{attack}\nend f()\nreturn {{ route = function() end }}");
        fs::write(server.folder().join("p.lua"), text).unwrap();
        let answer = server.post("/api/reload", String::new()).await;
        assert!(answer.json()["result"].is_string(), "{what}: {} {}", answer.status, answer.body);
        let mut command = Command::new(POINTSMAN);
        let checked =
            command.args(["check", "--config", "pointsman.yaml"]).current_dir(server.folder()).output().unwrap();
        assert!(matches!(checked.status.code(), Some(0 | 1)), "{what}: {checked:?}");
        publish(&server, &[event("acme", saved, "other")]).await;
        check(&mut acme, what, [saved]).await;
        saved += 1;
    }
    assert!(saved > 5);
}

#[tokio::test]
async fn one_tenants_data_that_fails_a_shipped_plugin_costs_no_other_tenant_an_event() {
    let yaml = "shards: 1
event: { payload: data, tenant: data.tenant, type: data.type }
auth: { providers: [{ tokens: { acme: { user: 1, tenant: acme }, globex: { user: 1, tenant: globex } } }] }
database:
  url: 'sqlite:people.db'
  queries: { users_with_access: { sql: 'SELECT person FROM people WHERE tenant = :tenant AND record = :record' } }
topics: [{ match: '{kind}:{name}', allow: true }]
routes:
  - { name: escalations, when: { data.type: escalation }, script: escalation.lua, with: { large: 100000 } }
  - { name: files, when: { data.type: file }, script: records.lua, with: { topic: record, query: users_with_access } }
";
    let files = [
        ("escalation.lua", include_str!("../../plugins/escalation.lua")),
        ("records.lua", include_str!("../../plugins/records.lua")),
    ];
    let server = Server::start_with(yaml, &Setup { files: &files, ..Setup::default() }).await;
    let url = format!("sqlite:{}?mode=rwc", server.folder().join("people.db").display());
    let mut file = SqliteConnection::connect(&url).await.unwrap();
    for sql in [
        "CREATE TABLE people (tenant TEXT, person INTEGER, record INTEGER)",
        "INSERT INTO people VALUES ('acme', 1, 42), ('globex', 1, 42)",
    ] {
        sqlx::raw_sql(sql).execute(&mut file).await.unwrap();
    }
    let topics = ["managers:sales", "record:42"];
    let mut acme = Client::session(&server, "acme", &topics).await;
    let mut globex = Client::session(&server, "globex", &topics).await;
    // A board's name, or a record's id, as somebody may have typed it.
    for (kind, field, bad, good, fails) in [
        ("escalation", "board", json!("Q1*"), json!("sales"), false),
        ("escalation", "board", json!(true), json!("sales"), true),
        ("file", "record_id", json!("a::b"), json!(42), false),
        ("file", "record_id", json!(true), json!(42), true),
    ] {
        let of = |tenant: &str, number: usize, value: &Value| {
            let mut event = event(tenant, number, kind);
            event["data"][field] = value.clone();
            event
        };
        // All of one tenant's first: nothing of another tenant comes between the failures.
        let bad_ones = (0..40).map(|number| of("acme", number, &bad));
        let events: Vec<_> = bad_ones.chain((0..40).map(|number| of("globex", number, &good))).collect();
        publish(&server, &events).await;
        check(&mut globex, &format!("{kind} beside {bad}"), 0..40).await;
        let plugin = if kind == "file" { "records.lua" } else { "escalation.lua" };
        let put_aside = format!("pointsman_plugin_put_aside{{plugin=\"{plugin}\",hook=\"route\"}}");
        if fails {
            // 20 fail, and then it is put aside for this tenant.
            server
                .wait_for_metric(
                    &format!("pointsman_plugin_failures_total{{plugin=\"{plugin}\",kind=\"breaker\"}}"),
                    20,
                )
                .await;
            assert_eq!((failures(&server, plugin, "error").await, server.metric(&put_aside).await), (20, 1), "{kind}");
        } else {
            // Nobody looks at what has such a name, and the tenant's next event comes.
            publish(&server, &[of("acme", 40, &good)]).await;
            check(&mut acme, kind, [40]).await;
            assert_eq!((failures(&server, plugin, "error").await, server.metric(&put_aside).await), (0, 0), "{kind}");
        }
    }
    let says = |entry: &Value, what: &str| entry["message"].as_str().is_some_and(|message| message.starts_with(what));
    let said = server.wait_for_log("that it was put aside", |entry| says(entry, "plugin put aside")).await;
    assert_eq!(said["tenant"], "acme", "{said}");
}

#[tokio::test]
async fn a_plugin_that_runs_away_each_time_is_put_aside_until_it_is_well() {
    let plugins = [plugin("loop", "", "while true do end")];
    let server = start(&plugins, "plugins: { breaker: { failures: 5, retry: 1s } }").await;
    let mut acme = Client::session(&server, "acme", &[]).await;
    let mut globex = Client::session(&server, "globex", &[]).await;
    let batch: Vec<_> =
        (0..100).flat_map(|number| [event("acme", number, "loop"), event("globex", number, "other")]).collect();
    publish(&server, &batch).await;
    check(&mut globex, "beside a loop", 0..100).await;
    // They run beside the others' events, which are there before.
    server.wait_for_metric("pointsman_plugin_failures_total{plugin=\"loop.lua\",kind=\"breaker\"}", 95).await;
    assert_eq!(failures(&server, "loop.lua", "budget").await, 5);
    let put_aside = "pointsman_plugin_put_aside{plugin=\"loop.lua\",hook=\"route\"}";
    assert_eq!(server.metric(put_aside).await, 1);
    let says = |entry: &Value, what: &str| entry["message"].as_str().is_some_and(|message| message.starts_with(what));
    let said = server.wait_for_log("that it was put aside", |entry| says(entry, "plugin put aside")).await;
    assert_eq!(
        (&said["plugin"], &said["hook"], &said["tenant"]),
        (&json!("loop.lua"), &json!("route"), &json!("acme")),
        "{said}"
    );
    let said = server.wait_for_log("that it takes long", |entry| says(entry, "plugin takes long")).await;
    assert_eq!((&said["plugin"], &said["tenant"]), (&json!("loop.lua"), &json!("acme")), "{said}");
    // What does not need it goes on for the same tenant, too.
    publish(&server, &[event("acme", 7, "other")]).await;
    check(&mut acme, "by another route", [7]).await;
    let mut calm = event("acme", 8, "loop");
    calm["data"]["calm"] = json!(true);
    let try_on = async {
        let mut ticks = interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            publish(&server, std::slice::from_ref(&calm)).await;
        }
    };
    tokio::select! {
        () = check(&mut acme, "when it is tried again", [8]) => {}
        () = try_on => {}
    }
    server.wait_for_metric(put_aside, 0).await;
}

#[tokio::test]
async fn a_plugin_whose_query_hangs_holds_up_its_own_tenant_alone() {
    let plugins = [plugin("asks", "", "to:users(lookup('people', {}))")];
    let database = "database: { url: 'sqlite:people.db', pool: { timeout: 60s }, queries: { people: { sql: 'SELECT person FROM people WHERE tenant = :tenant' } } }";
    let server = start(&plugins, database).await;
    let url = format!("sqlite:{}?mode=rwc", server.folder().join("people.db").display());
    let mut file = SqliteConnection::connect(&url).await.unwrap();
    let mut run =
        async |sql: &'static str| sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut file).await.map(|_| ()).unwrap();
    run("CREATE TABLE people (tenant TEXT, person INTEGER)").await;
    run("INSERT INTO people VALUES ('acme', 1), ('globex', 1)").await;
    let mut acme = Client::session(&server, "acme", &[]).await;
    let mut globex = Client::session(&server, "globex", &[]).await;
    run("BEGIN EXCLUSIVE").await;
    let asking: Vec<_> = (0..50).map(|number| event("acme", number, "asks")).collect();
    publish(&server, &asking).await;
    let others: Vec<_> = (0..50).map(|number| event("globex", number, "other")).collect();
    publish(&server, &others).await;
    check(&mut globex, "beside a query that hangs", 0..50).await;
    publish(&server, &[event("globex", 50, "asks"), event("globex", 51, "other")]).await;
    run("COMMIT").await;
    check(&mut acme, "when the database answers", 0..50).await;
    check(&mut globex, "when the database answers", [50, 51]).await;
}
