//! The wire, as a client meets it: doors, tokens, commands, topics.

use std::fmt::Write;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Client;
use crate::support::server::{Server, Setup};

const CONFIG: &str = r#"
database:
  url: "sqlite::memory:"
  init: [wire.sql]
  queries:
    can_view_deal:
      sql: SELECT 1 FROM access WHERE tenant_id = :tenant AND deal_id = :deal AND user_id = :user
    broken:
      sql: SELECT 1 FROM nowhere WHERE tenant_id = :tenant
    broken_tokens:
      sql: SELECT user, tenant FROM nowhere WHERE token = :token
event: { payload: data, tenant: tenant, id: id }
auth:
  providers:
    - tokens:
        ann: { user: 1, tenant: acme, role: clerk }
        ann-promoted: { user: 1, tenant: acme, role: manager }
        bob: { user: 2, tenant: acme }
        ann-elsewhere: { user: 1, tenant: globex }
        "a b&c": { user: x y, tenant: acme }
limits: { topics: 6 }
topics:
  - { match: "board:secret", allow: false }
  - { match: "board:*", allow: true }
  - { match: "deal:{id}", allow: { query: can_view_deal, with: { user: "{session.user}", deal: "{id}" } } }
  - { match: "inbox:{user}", allow: { when: { user: "{session.user}" } } }
  - { match: "managers:{board}", allow: { when: { session.role: manager } } }
  - { match: "managers:open", allow: true }
  - { match: "broken:{id}", allow: { query: broken } }
routes:
  - { name: topic, when: { topic: { exists: true } }, to: { topic: "{topic}" } }
  - { name: tenant, to: { tenant: true } }
"#;

/// The tenant's own deal 42 is user 1's at acme and nobody's at globex.
const SQL: &str = "
CREATE TABLE access (tenant_id TEXT, deal_id TEXT, user_id INTEGER);
INSERT INTO access VALUES ('acme', '42', 1), ('globex', '43', 2);
";

async fn start(yaml: &str) -> Server {
    Server::start_with(yaml, &Setup { files: &[("wire.sql", SQL)], ..Setup::default() }).await
}

/// Says these messages, hears one answer to each, and writes all of it down.
async fn talk(client: &mut Client, messages: &[&str]) -> String {
    let mut transcript = client.received().join("\n");
    for message in messages {
        client.send_frame(Message::text(*message)).await;
        client.next().await;
        write!(transcript, "\n> {message}\n{}", client.received().last().unwrap()).unwrap();
    }
    transcript
}

#[tokio::test]
async fn a_whole_session_reads_as_promised() {
    let server = start(CONFIG).await;
    let mut ann = Client::connect(&server).await;
    let transcript = talk(
        &mut ann,
        &[
            r#"{"access_token":"ann","ref":1}"#,
            r#"{"subscribe":["deal:42","board:sales"],"ref":"a"}"#,
            r#"{"subscribe":["deal:43","inbox:1","inbox:2","board:secret"],"ref":{"b":[null]}}"#,
            r#"{"subscribe":"board:*"}"#,
            r#"{"subscribe":["broken:1","board:b"]}"#,
            r#"{"unsubscribe":["deal:42","deal:43"],"ref":"c"}"#,
            r#"{"unsubscribe":["deal:42"]}"#,
            r#"{"ping":1}"#,
            r#"{"ping":1,"ref":2.50}"#,
        ],
    )
    .await;
    insta::assert_snapshot!(transcript, @r#"
    {"status":"ok","type":"system","connected":false,"message":"access_token expected"}
    > {"access_token":"ann","ref":1}
    {"status":"ok","connected":true,"message":"Connected as user 1","ref":1}
    > {"subscribe":["deal:42","board:sales"],"ref":"a"}
    {"status":"ok","subscribed":["deal:42","board:sales"],"denied":[],"ref":"a"}
    > {"subscribe":["deal:43","inbox:1","inbox:2","board:secret"],"ref":{"b":[null]}}
    {"status":"ok","subscribed":["inbox:1"],"denied":["deal:43","inbox:2","board:secret"],"ref":{"b":[null]}}
    > {"subscribe":"board:*"}
    {"status":"ok","subscribed":["board:*"],"denied":[]}
    > {"subscribe":["broken:1","board:b"]}
    {"status":"ok","subscribed":["board:b"],"denied":[],"unavailable":["broken:1"]}
    > {"unsubscribe":["deal:42","deal:43"],"ref":"c"}
    {"status":"ok","unsubscribed":["deal:42"],"ref":"c"}
    > {"unsubscribe":["deal:42"]}
    {"status":"ok","unsubscribed":[]}
    > {"ping":1}
    {"status":"ok","type":"system","message":"pong"}
    > {"ping":1,"ref":2.50}
    {"status":"ok","type":"system","message":"pong","ref":2.50}
    "#);
    ann.leave().await;
    server.wait_for_metric("pointsman_sessions", 0).await;
}

#[tokio::test]
async fn topics_of_the_first_message_are_subscribed_to_at_once() {
    let server = start(CONFIG).await;
    let mut ann = Client::connect(&server).await;
    talk(&mut ann, &[r#"{"access_token":"ann","topics":["board:a","deal:43","b::c"],"last_event_id":7,"ref":1}"#])
        .await;
    ann.next().await;
    let mut bob = Client::connect(&server).await;
    talk(&mut bob, &[r#"{"access_token":"bob","topics":["a","b","c","d","e","f","g"]}"#]).await;
    bob.next().await;
    insta::assert_snapshot!([ann.received(), bob.received()].concat().join("\n"), @r#"
    {"status":"ok","type":"system","connected":false,"message":"access_token expected"}
    {"status":"ok","connected":true,"message":"Connected as user 1","catch_up":false,"ref":1}
    {"status":"ok","subscribed":["board:a"],"denied":["deal:43","b::c"]}
    {"status":"ok","type":"system","connected":false,"message":"access_token expected"}
    {"status":"ok","connected":true,"message":"Connected as user 2"}
    {"status":"error","error":"too many topics: a session has at most 6"}
    "#);
}

/// A client that comes in by this path and header, and says this, if anything: what it hears to that in the end.
async fn check_door(server: &Server, path: &str, bearer: &str, says: &str, expected: &str) {
    let headers = [("authorization", bearer)];
    let mut client = Client::open(server.clients, path, if bearer.is_empty() { &[] } else { &headers }).await;
    client.next().await;
    if !says.is_empty() {
        talk(&mut client, &[says]).await;
    }
    let heard = client.received().last().unwrap();
    assert!(heard.contains(&format!("\"{expected}\"")), "{path} {bearer} {says}: {heard}");
}

#[tokio::test]
async fn a_token_comes_in_where_it_is_accepted() {
    const ANN: &str = "Connected as user 1";
    const NOT_HERE: &str = "a token is not accepted by message here";
    const EXPECTED: &str = "access_token expected";
    for (accept, by_message, by_header, by_query) in [
        ("[message, header, query]", ANN, ANN, ANN),
        ("[message]", ANN, EXPECTED, EXPECTED),
        ("[header]", NOT_HERE, ANN, EXPECTED),
        ("[query]", NOT_HERE, EXPECTED, ANN),
    ] {
        let server = start(&CONFIG.replace("auth:\n", &format!("auth:\n  accept: {accept}\n"))).await;
        check_door(&server, "/", "", r#"{"access_token":"ann"}"#, by_message).await;
        check_door(&server, "/", "Bearer ann", "", by_header).await;
        check_door(&server, "/ws", "bearer  ann ", "", by_header).await;
        check_door(&server, "/?access_token=ann", "", "", by_query).await;
        check_door(&server, "/ws?a=b&access_token=ann&c", "", "", by_query).await;
    }
}

#[tokio::test]
async fn what_comes_in_by_more_than_one_door_is_told_apart() {
    let server = start(CONFIG).await;
    let ann = r#"{"access_token":"ann"}"#;
    check_door(&server, "/?access_token=ann", "Bearer bob", "", "Connected as user 2").await;
    check_door(&server, "/?access_token=a+b%26c", "", "", "Connected as user x y").await;
    check_door(&server, "/?access_token=ann%20", "", "", "access denied").await;
    check_door(&server, "/", "Basic ann", "", "access_token expected").await;
    check_door(&server, "/", "Bearer stranger", ann, "Connected as user 1").await;
    check_door(&server, "/?access_token=", "", ann, "Connected as user 1").await;
    check_door(&server, "/?access_token=bob", "", ann, "access denied").await;
}

#[tokio::test]
async fn a_guest_may_try_three_tokens_and_say_nothing_else() {
    let server = start(CONFIG).await;
    let mut guest = Client::connect(&server).await;
    let messages = [
        "hello",
        r#"[{"access_token":"ann"}]"#,
        r#"{"subscribe":["board:a"],"ref":1}"#,
        r#"{"access_token":7}"#,
        r#"{"access_token":"ann","ping":1}"#,
        r#"{"access_token":"stranger","ref":1}"#,
        r#"{"access_token":""}"#,
        r#"{"access_token":"Ann"}"#,
    ];
    let transcript = talk(&mut guest, &messages).await;
    insta::assert_snapshot!(transcript, @r#"
    {"status":"ok","type":"system","connected":false,"message":"access_token expected"}
    > hello
    {"status":"error","error":"a message is one JSON object"}
    > [{"access_token":"ann"}]
    {"status":"error","error":"a message is one JSON object"}
    > {"subscribe":["board:a"],"ref":1}
    {"status":"error","error":"access_token not present","ref":1}
    > {"access_token":7}
    {"status":"error","error":"access_token must be a string"}
    > {"access_token":"ann","ping":1}
    {"status":"error","error":"one command a message: access_token and ping stand together"}
    > {"access_token":"stranger","ref":1}
    {"status":"error","error":"access denied","ref":1}
    > {"access_token":""}
    {"status":"error","error":"access denied"}
    > {"access_token":"Ann"}
    {"status":"error","error":"access denied"}
    "#);
    assert_eq!(guest.closed().await, Some(4401));

    let mut guest = Client::open(server.clients, "/?access_token=stranger", &[]).await;
    guest.expect(&json!({ "error": "access denied" })).await;
    talk(&mut guest, &messages[5..7]).await;
    assert_eq!(guest.closed().await, Some(4401));
    server.wait_for_metric("pointsman_connections_closed_total{code=\"4401\"}", 2).await;
}

#[tokio::test]
async fn who_is_no_session_in_time_is_closed() {
    let server = start(&CONFIG.replace("auth:\n", "auth:\n  deadline: 300ms\n")).await;
    let mut ann = Client::session(&server, "ann", &[]).await;
    let (mut silent, mut talkative) = (Client::connect(&server).await, Client::connect(&server).await);
    talk(&mut talkative, &["hello", r#"{"access_token":"stranger"}"#]).await;
    assert_eq!((silent.closed().await, talkative.closed().await), (Some(4401), Some(4401)));
    // The session was there before them, and had the same time.
    server.publish(json!({ "tenant": "acme", "data": 1 })).await;
    assert_eq!(ann.next_event().await, 1);
}

#[tokio::test]
async fn what_is_no_command_is_said_so_and_the_session_lives() {
    let server = start(CONFIG).await;
    let mut ann = Client::session(&server, "ann", &[]).await;
    let transcript = talk(
        &mut ann,
        &[
            "",
            "nonsense",
            "[1]",
            r#"{"ping":1"#,
            r#"{"publish":{},"ref":"x"}"#,
            "{}",
            r#"{"subscribe":["board:a"],"unsubscribe":["board:a"],"ref":"y"}"#,
            r#"{"subscribe":{"topic":"board:a"}}"#,
            r#"{"subscribe":["board:1","board:2","board:3","board:4","board:5","board:6","board:7"],"ref":"z"}"#,
            r#"{"subscribe":[]}"#,
            r#"{"ping":{}}"#,
        ],
    )
    .await;
    insta::assert_snapshot!(transcript, @r#"
    {"status":"ok","type":"system","connected":false,"message":"access_token expected"}
    {"status":"ok","connected":true,"message":"Connected as user 1"}
    > 
    {"status":"error","error":"a message is one JSON object"}
    > nonsense
    {"status":"error","error":"a message is one JSON object"}
    > [1]
    {"status":"error","error":"a message is one JSON object"}
    > {"ping":1
    {"status":"error","error":"a message is one JSON object"}
    > {"publish":{},"ref":"x"}
    {"status":"error","error":"unknown command: expected access_token, subscribe, unsubscribe or ping","ref":"x"}
    > {}
    {"status":"error","error":"unknown command: expected access_token, subscribe, unsubscribe or ping"}
    > {"subscribe":["board:a"],"unsubscribe":["board:a"],"ref":"y"}
    {"status":"error","error":"one command a message: subscribe and unsubscribe stand together","ref":"y"}
    > {"subscribe":{"topic":"board:a"}}
    {"status":"error","error":"subscribe must be a list of topics"}
    > {"subscribe":["board:1","board:2","board:3","board:4","board:5","board:6","board:7"],"ref":"z"}
    {"status":"error","error":"too many topics: a session has at most 6","ref":"z"}
    > {"subscribe":[]}
    {"status":"ok","subscribed":[],"denied":[]}
    > {"ping":{}}
    {"status":"ok","type":"system","message":"pong"}
    "#);
    assert_eq!(server.metric("pointsman_sessions").await, 1);
}

#[tokio::test]
async fn the_first_topic_rule_that_matches_decides() {
    let server = start(CONFIG).await;
    for (token, topic, granted) in [
        ("ann", "board:sales", true),
        ("ann", "board:*", true),
        ("ann", "board:secret", false),
        ("ann", "board:sales:x", false),
        ("ann", "board", false),
        ("ann", "deal:42", true),
        ("ann", "deal:43", false),
        ("ann", "deal:*", false),
        ("bob", "deal:42", false),
        // The query binds the session's own tenant, whatever is asked.
        ("ann-elsewhere", "deal:42", false),
        ("ann", "inbox:1", true),
        ("ann", "inbox:2", false),
        ("ann", "inbox:*", false),
        ("ann", "managers:q3", false),
        ("ann-promoted", "managers:q3", true),
        ("ann-promoted", "managers:*", false),
        ("ann", "managers:open", false),
        ("ann", "nowhere", false),
        ("ann", "*", false),
        ("ann", "board:a*", false),
        ("ann", "board:", false),
        ("ann", "board:\u{7}", false),
    ] {
        let mut client = Client::session(&server, token, &[]).await;
        client.send(&json!({ "subscribe": topic })).await;
        let (subscribed, denied) = if granted { (vec![topic], vec![]) } else { (vec![], vec![topic]) };
        client.expect(&json!({ "subscribed": subscribed, "denied": denied })).await;
    }
}

#[tokio::test]
async fn a_session_gets_another_token_of_its_user_and_no_other() {
    let server = start(CONFIG).await;
    let mut ann = Client::session(&server, "ann", &["board:a"]).await;
    let transcript = talk(
        &mut ann,
        &[
            r#"{"subscribe":["managers:q3"]}"#,
            r#"{"access_token":"ann-promoted","ref":1}"#,
            r#"{"subscribe":["managers:q3"]}"#,
            r#"{"access_token":"bob","ref":2}"#,
            r#"{"access_token":"ann-elsewhere"}"#,
            r#"{"access_token":"stranger"}"#,
            r#"{"access_token":"stranger"}"#,
            r#"{"access_token":"stranger","ref":3}"#,
            r#"{"ping":1}"#,
        ],
    )
    .await;
    insta::assert_snapshot!(transcript, @r#"
    {"status":"ok","type":"system","connected":false,"message":"access_token expected"}
    {"status":"ok","connected":true,"message":"Connected as user 1"}
    {"status":"ok","subscribed":["board:a"],"denied":[]}
    > {"subscribe":["managers:q3"]}
    {"status":"ok","subscribed":[],"denied":["managers:q3"]}
    > {"access_token":"ann-promoted","ref":1}
    {"status":"ok","connected":true,"message":"Connected as user 1","ref":1}
    > {"subscribe":["managers:q3"]}
    {"status":"ok","subscribed":["managers:q3"],"denied":[]}
    > {"access_token":"bob","ref":2}
    {"status":"error","error":"access denied","ref":2}
    > {"access_token":"ann-elsewhere"}
    {"status":"error","error":"access denied"}
    > {"access_token":"stranger"}
    {"status":"error","error":"access denied"}
    > {"access_token":"stranger"}
    {"status":"error","error":"access denied"}
    > {"access_token":"stranger","ref":3}
    {"status":"error","error":"access denied","ref":3}
    > {"ping":1}
    {"status":"ok","type":"system","message":"pong"}
    "#);
    server.publish(json!({ "tenant": "globex", "data": "not hers" })).await;
    server.publish(json!({ "tenant": "acme", "topic": "board:a", "data": "hers" })).await;
    assert_eq!(ann.next_event().await, "hers");
}

#[tokio::test]
async fn an_outage_is_no_denial() {
    let server = start(&CONFIG.replace("    - tokens:", "    - sql: { query: broken_tokens }\n    - tokens:")).await;
    // Whom another provider knows needs none of it.
    Client::session(&server, "ann", &[]).await;
    let mut guest = Client::connect(&server).await;
    guest.send(&json!({ "access_token": "stranger", "ref": 1 })).await;
    let said = guest.expect(&json!({ "status": "error", "error": "authentication unavailable", "ref": 1 })).await;
    assert!((1..60_000).contains(&said["retry_in_ms"].as_u64().unwrap()), "{said}");
    assert_eq!(guest.closed().await, Some(1013));
}
