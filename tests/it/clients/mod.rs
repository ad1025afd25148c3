//! Clients that nobody here wrote, against the demo's configuration; and the examples that are there to be copied.

mod example_clients;
mod publishers;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::process::Process;
use crate::support::server::Server;
use crate::support::tools;

/// Waits for a message with this key, and answers all of it.
pub(crate) async fn message(client: &Process, key: &str) -> Value {
    let parse = |line: &String| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let find = |lines: &[String]| lines.iter().map(parse).find(|message| message.get(key).is_some());
    client.wait_for(&format!("a message with `{key}`"), find).await
}

/// What every client must see: its session, its topics, an event, and the server's leaving.
async fn check_client(start: fn(&str, &[&str]) -> Process, script: &str) {
    let server = Server::demo().await;
    let url = format!("ws://{}/", server.clients);
    let client = start(script, &[&url, "demo-bob", "deal:42", "managers:q3"]);
    let topics = message(&client, "subscribed").await;
    assert_eq!((&topics["subscribed"], &topics["denied"]), (&json!(["deal:42"]), &json!(["managers:q3"])));

    let payload = json!({ "type": "deal.moved", "tenant_id": "acme", "deal_id": 42, "id": 1003, "to": "wön ✓" });
    server.publish(json!({ "data": { "type": "deal.moved", "tenant_id": "globex", "deal_id": 42, "id": 1 } })).await;
    server.publish(json!({ "data": payload })).await;
    let event = message(&client, "data").await;
    assert_eq!(event["data"], payload);
    assert_eq!((&event["status"], &event["id"]), (&json!("ok"), &json!(1003)));

    server.signal(Signal::TERM);
    assert_eq!(message(&client, "reconnect_in_ms").await["connected"], false);
    assert_eq!(message(&client, "closed").await["closed"], 1012);
    assert!(client.ended().await.success());
    assert_eq!(server.exit_code().await, Some(0));
}

#[tokio::test]
async fn python_websockets_is_served() {
    check_client(tools::python, "listen.py").await;
}

#[tokio::test]
async fn node_ws_is_served() {
    check_client(tools::node, "listen.mjs").await;
}

#[tokio::test]
async fn chromium_shows_who_gets_what() {
    let server = Server::demo().await;
    let folder = server.folder().to_str().unwrap();
    let browser = tools::node("demo.mjs", &[&format!("http://{}/", server.clients), folder]);
    message(&browser, "done").await;
    let facts: Vec<Value> = browser.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |key: &str| facts.iter().filter(|fact| fact.get(key).is_some()).collect::<Vec<_>>();

    assert_eq!(said("title"), [&json!({ "title": "Pointsman: who gets what", "people": 5 })]);
    assert_eq!(said("page_error"), Vec::<&Value>::new());
    assert_eq!(said("request_failed"), Vec::<&Value>::new());
    let outcomes = said("example").into_iter().map(|fact| {
        let text = |key: &str| fact[key].as_str().unwrap().to_owned();
        (text("example"), text("state"), text("reached"), text("missed"))
    });
    let expected = [
        ("Deal moved", "settled", "Bob,Cleo", "Ann,Dan,Eve"),
        ("The other deal 42", "settled", "Dan", "Ann,Bob,Cleo,Eve"),
        ("Note added", "settled", "Bob,Cleo", "Ann,Dan,Eve"),
        ("Task for Cleo", "settled", "Cleo", "Ann,Bob,Dan,Eve"),
        ("Report for managers", "settled", "Dan", "Ann,Bob,Cleo,Eve"),
        ("All of acme", "settled", "Ann,Bob,Cleo", "Dan,Eve"),
        ("Everyone", "settled", "Ann,Bob,Cleo,Dan,Eve", ""),
        ("everyone, but of a tenant", "settled", "", "Ann,Bob,Cleo,Dan,Eve"),
        ("broken", "refused", "", ""),
        ("after leaving", "settled", "", "Ann,Bob,Cleo,Dan,Eve"),
    ];
    let expected = expected.map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned()));
    assert_eq!(outcomes.collect::<Vec<_>>(), expected);
    assert_eq!(said("denied"), [&json!({ "denied": true })]);
    assert_eq!(said("narrow"), [&json!({ "narrow": "fits" })]);
    // The one that the refusal of the broken body makes; none of the page's own policy.
    let console = said("console_error");
    assert!(console.len() == 1 && console[0].to_string().contains("400"), "{console:?}");
    for picture in ["demo-light.png", "demo-dark.png", "demo-narrow.png"] {
        assert!(server.folder().join(picture).exists(), "{picture}");
    }
}
