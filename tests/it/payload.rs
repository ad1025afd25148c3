//! What an audience gets of a payload, end to end.

use crate::support::client::Client;
use crate::support::server::Server;

const CONFIG: &str = r#"
event: { payload: data, tenant: tenant, id: data.id }
auth:
  providers:
    - tokens:
        boss: { user: 1, tenant: acme, role: manager }
        ann: { user: 2, tenant: acme, role: agent }
        bob: { user: 3, tenant: acme, role: agent }
        guest: { user: 4, tenant: acme, role: guest }
        other: { user: 1, tenant: globex, role: manager }
topics: [{ match: "deal:{id}", allow: true }]
routes:
  - name: owner
    when: { kind: deal }
    to: { user: "{data.owner}", payload: { without: [note] } }
    continue: true
  - name: deal
    when: { kind: deal }
    to:
      - { topic: "deal:{data.id}", where: { role: manager } }
      - { topic: "deal:{data.id}", where: { role: agent }, payload: { without: [price, lines.cost] } }
      - { tenant: true, payload: { only: [title, lines.name] } }
  - name: rest
    to: { tenant: true }
"#;

/// A deal, with white space and numbers as only its publisher would write them.
const DEAL: &str = r#"{ "id": 42, "title" : "A \"deal\" \u00fc", "owner":3, "price": 1.50,"note": null,
    "lines": [{"name":"x", "cost": 7}, {"name": "y"}] }"#;

#[tokio::test]
async fn each_gets_what_the_first_audience_that_holds_it_says() {
    let server = Server::start(CONFIG).await;
    let mut clients = Vec::new();
    for (token, topics) in [
        ("boss", &["deal:42"][..]),
        ("ann", &["deal:42"]),
        ("bob", &["deal:42"]),
        ("guest", &[]),
        ("other", &["deal:42"]),
    ] {
        clients.push((token, Client::session(&server, token, topics).await));
    }
    // An event of each tenant behind it tells that nothing comes twice, or to others.
    let marker = |tenant: &str| format!(r#"{{"kind":"marker","tenant":"{tenant}","data":{{"id":43}}}}"#);
    let deal = format!(r#"{{"kind":"deal","tenant":"acme","data":{DEAL}}}"#).replace('\n', "");
    let body = format!("{deal}\n{}\n{}\n", marker("acme"), marker("globex"));
    assert_eq!(server.post("/publish", body).await.json()["accepted"], 3);
    let whole = DEAL.replace('\n', "");
    let agents = r#"{"id":42,"title":"A \"deal\" \u00fc","owner":3,"note":null,"lines":[{"name":"x"},{"name":"y"}]}"#;
    let owner = r#"{"id":42,"title":"A \"deal\" \u00fc","owner":3,"price":1.50,"lines":[{"name":"x", "cost": 7}, {"name": "y"}]}"#;
    let guests = r#"{"title":"A \"deal\" \u00fc","lines":[{"name":"x"},{"name":"y"}]}"#;
    for ((token, client), expected) in
        clients.iter_mut().zip([Some(whole.as_str()), Some(agents), Some(owner), Some(guests), None])
    {
        if let Some(data) = expected {
            client.next_event().await;
            assert_eq!(client.last_text(), format!(r#"{{"status":"ok","id":42,"data":{data}}}"#), "{token}");
        }
        client.next_event().await;
        assert_eq!(client.last_text(), r#"{"status":"ok","id":43,"data":{"id":43}}"#, "{token}");
    }
    assert_eq!(server.terminate().await, Some(0));
}
