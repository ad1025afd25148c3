//! Plugins that change: as one with the rules that call them, or not at all.

use std::fs;

use serde_json::{Value, json};

use super::{HEAD, Stage, turn, write};
use crate::support::client::Client;

/// A configuration whose only route calls this plugin with this word.
fn calling(plugin: &str, word: &str) -> String {
    format!("{HEAD}routes: [{{ name: r, script: {plugin}, with: {{ word: {word} }} }}]\n")
}

/// A plugin that sends its own word and the one that it is handed.
fn saying(word: &str) -> String {
    format!(
        "return {{ route = function(event, to, params) to:tenant() to:payload({{ own = \"{word}\", handed = params.word }}) end }}\n"
    )
}

async fn said(stage: &Stage, client: &mut Client) -> Value {
    stage.server.publish(json!({ "tenant": "acme", "data": {} })).await;
    client.next_event().await
}

#[tokio::test]
async fn a_plugin_that_changes_is_taken_up_and_one_with_its_rule_as_one() {
    let folder = tempfile::tempdir().unwrap();
    for word in ["one", "three"] {
        write(&folder.path().join(word).join("pointsman.yaml"), &calling("plugins/a.lua", word));
        write(&folder.path().join(word).join("plugins/a.lua"), &saying(word));
    }
    turn(&folder.path().join("live"), "one");
    let stage = Stage::start_in(folder, "live/pointsman.yaml").await;
    let mut ann = Client::session(&stage.server, "ann", &[]).await;
    assert_eq!(said(&stage, &mut ann).await, json!({ "own": "one", "handed": "one" }));
    stage.replace("live/plugins/a.lua", &saying("two"));
    stage.server.wait_for_metric("pointsman_rulebook_generation", 2).await;
    assert_eq!(said(&stage, &mut ann).await, json!({ "own": "two", "handed": "one" }));
    // Both: there is no generation of one without the other.
    turn(&stage.path("live"), "three");
    stage.server.wait_for_metric("pointsman_rulebook_generation", 3).await;
    assert_eq!(said(&stage, &mut ann).await, json!({ "own": "three", "handed": "three" }));
    let changed = stage.attempts().await[0]["files_changed"].as_array().unwrap().len();
    assert_eq!((stage.standing().await.0, changed), (3, 2));
}

#[tokio::test]
async fn a_plugin_that_is_wrong_is_refused_with_its_place() {
    let files = [("pointsman.yaml", &*calling("plugins/a.lua", "w")), ("plugins/a.lua", &saying("good"))];
    let stage = Stage::start(&files).await;
    let mut ann = Client::session(&stage.server, "ann", &[]).await;
    let faults: [(&str, &str, &[&str]); 7] = [
        ("does not compile", "return {\n  route = function(\n}\n", &["plugins/a.lua:3"]),
        ("lacks the hook", "return { authorize = function() end }\n", &["route", "plugins/a.lua:1"]),
        ("returns nothing", "local a = 1\n", &["plugins/a.lua"]),
        ("fails at once", "\nerror('s' .. 'oon')\n", &["soon", "plugins/a.lua:2"]),
        ("never ends", "while true do end\n", &["plugins/a.lua:1"]),
        ("takes all memory", "local s = 'x' while true do s = s .. s end\n", &["plugins/a.lua:1"]),
        ("is gone", "", &["plugins/a.lua", "there is no such file"]),
    ];
    for (what, text, said_of_it) in faults {
        let known = stage.attempts().await.len();
        if text.is_empty() {
            fs::remove_file(stage.path("plugins/a.lua")).unwrap();
        } else {
            stage.replace("plugins/a.lua", text);
        }
        stage.until(what, async || stage.attempts().await.len() > known).await;
        let refused = stage.attempts().await.remove(0);
        assert_eq!(refused["result"], "refused", "{what}: {refused:#}");
        for part in said_of_it {
            let all = format!("{} {}", refused["error"], refused["text"]);
            assert!(all.contains(part), "{what}: `{part}` is not in {refused:#}");
        }
        assert_eq!(said(&stage, &mut ann).await["own"], "good", "{what}");
    }
    stage.replace("plugins/a.lua", &saying("better"));
    stage.server.wait_for_metric("pointsman_rulebook_generation", 2).await;
    assert_eq!(said(&stage, &mut ann).await["own"], "better");
}

/// A plugin that knows tokens by a query, and one by itself.
const KNOWING: &str = r#"
return {
  authenticate = function(token, request, params)
    if token == params.own then return { user = 9, tenant = "acme", role = "guest" } end
    if token == "broken" then error("cannot say") end
    local rows = lookup("by_token", { token = token })
    if #rows == 0 then return nil end
    return { user = rows[1].id, tenant = rows[1].tenant, role = rows[1].role }
  end,
}
"#;

fn known(own: &str, cache: &str) -> String {
    format!(
        "
listen: 127.0.0.1:0
admin: {{ listen: 127.0.0.1:0 }}
event: {{ payload: data, tenant: tenant }}
database:
  url: \"sqlite::memory:\"
  queries:
    by_token: {{ sql: \"SELECT 7 AS id, 'globex' AS tenant, 'manager' AS role WHERE :token = 'row'\" }}
auth:
  providers:
    - script: {{ plugin: plugins/auth.lua, with: {{ own: {own} }}{cache} }}
    - tokens: {{ listed: {{ user: 1, tenant: acme }} }}
topics: [{{ match: managers, allow: {{ when: {{ session.role: manager }} }} }}]
routes: [{{ name: all, to: {{ tenant: true }} }}]
"
    )
}

#[tokio::test]
async fn a_plugin_says_whose_token_it_is_by_itself_or_by_a_query() {
    let files = [("pointsman.yaml", &*known("first", "")), ("plugins/auth.lua", KNOWING)];
    let stage = Stage::start(&files).await;
    let server = &stage.server;
    let mut seven = Client::connect(server).await;
    seven.send(&json!({ "access_token": "row" })).await;
    seven.expect(&json!({ "connected": true, "message": "Connected as user 7" })).await;
    seven.subscribe(&["managers"]).await;
    let mut nine = Client::connect(server).await;
    nine.send(&json!({ "access_token": "first" })).await;
    nine.expect(&json!({ "connected": true, "message": "Connected as user 9" })).await;
    // Who is unknown to it may be known to the next one.
    Client::session(server, "listed", &[]).await.leave().await;
    let mut nobody = Client::connect(server).await;
    nobody.send(&json!({ "access_token": "nobody" })).await;
    nobody.expect(&json!({ "status": "error", "error": "access denied" })).await;
    let mut broken = Client::connect(server).await;
    broken.send(&json!({ "access_token": "broken" })).await;
    broken.expect(&json!({ "status": "error", "error": "authentication unavailable" })).await;
    let accepted = "pointsman_authentications_total{provider=\"script\",outcome=\"accepted\"}";
    assert_eq!(server.metric(accepted).await, 2);
    assert!(server.threads().iter().any(|thread| thread == "auth-script"), "{:?}", server.threads());

    stage.replace("pointsman.yaml", &known("second", ""));
    server.wait_for_metric("pointsman_rulebook_generation", 2).await;
    Client::session(server, "second", &[]).await.leave().await;
    let mut late = Client::connect(server).await;
    late.send(&json!({ "access_token": "first" })).await;
    late.expect(&json!({ "status": "error", "error": "access denied" })).await;
    // The thread of the one before ends with its last call.
    let count = || server.threads().iter().filter(|thread| *thread == "auth-script").count();
    stage.until("one thread", async || count() == 1).await;
}

#[tokio::test]
async fn what_a_plugin_said_of_a_token_is_kept_as_long_as_it_is_the_same() {
    let kept = known("own", ", cache: 1h");
    let stage = Stage::start(&[("pointsman.yaml", &kept), ("plugins/auth.lua", KNOWING)]).await;
    let calls = "pointsman_plugin_calls_total{plugin=\"plugins/auth.lua\",hook=\"authenticate\"}";
    for expected in [1, 1] {
        Client::session(&stage.server, "own", &[]).await.leave().await;
        assert_eq!(stage.server.metric(calls).await, expected);
    }
    stage.write("pointsman.yaml", &kept.replace("name: all", "name: rest"));
    assert_eq!(stage.reload().await.0, 200);
    Client::session(&stage.server, "own", &[]).await.leave().await;
    assert_eq!(stage.server.metric(calls).await, 1, "the plugin is the same");
    stage.write("plugins/auth.lua", &format!("-- another\n{KNOWING}"));
    assert_eq!(stage.reload().await.0, 200);
    Client::session(&stage.server, "own", &[]).await.leave().await;
    assert_eq!(stage.server.metric(calls).await, 2, "another one is asked anew");
}
