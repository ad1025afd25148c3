//! The built program and RabbitMQ: from a back end's publish to the right screens, and what becomes of the queue.

use lapin::types::AMQPValue;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::amqp_client::AmqpClient;
use crate::support::client::Client;
use crate::support::held::eventually;
use crate::support::rabbitmq::{shared, shared_vhost};
use crate::support::server::{Server, Setup};
use crate::support::tools;

/// A queue of this process alone, bound to a fanout exchange.
pub(super) const FANOUT: &str = r#"
  exchanges: [{ name: events, type: fanout, durable: true }]
  queues:
    - { name: "pointsman.{instance}", exclusive: true, auto_delete: true, bind: [{ exchange: events }] }
"#;

/// A queue that is there already, and stays.
const PASSIVE: &str = "
  queues: [{ name: q, passive: true, prefetch: 100 }]
";

/// Everything but `amqp`.
pub(super) const REST: &str = r#"
database:
  url: "sqlite::memory:"
  queries:
    count:
      sql: >-
        WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < :steps)
        SELECT 1 FROM c WHERE n = :steps AND :tenant IS NOT NULL
  pool: { timeout: 60s }
event: { payload: data, tenant: data.tenant, id: data.id }
auth:
  providers:
    - tokens: { ann: { user: 1, tenant: acme }, dan: { user: 1, tenant: globex } }
routes:
  - name: shop
    when: { amqp.routing_key: "deal.*", amqp.headers.shop: [7, berlin] }
    to: { user: "{amqp.headers.number}" }
  - { name: keyed, when: { amqp.routing_key: { prefix: nobody } }, to: { user: "{amqp.routing_key}" } }
  - { name: slow, when: { data.steps: { exists: true } }, to: { users: { query: count, with: { steps: "{data.steps}" } } } }
  - { name: all, to: { tenant: true } }
"#;

/// A configuration for this broker: `urls` as YAML, then what stands under `amqp`.
pub(super) fn settings(urls: &str, amqp: &str) -> String {
    format!("amqp:\n  url: {urls}{amqp}{REST}")
}

/// A server that consumes.
async fn start(url: &str, amqp: &str) -> Server {
    let server = Server::start(&settings(url, amqp)).await;
    ready(&server).await;
    server
}

/// Waits until it consumes.
pub(super) async fn ready(server: &Server) {
    server
        .wait_for_log("that it is connected", |line| {
            line["message"].as_str().is_some_and(|said| said.starts_with("connected to the broker"))
        })
        .await;
    let readyz = server.get("/readyz").await;
    assert_eq!(readyz.status, 200, "{}", readyz.body);
}

/// Waits until all that was delivered from queue `q` is acknowledged but this many.
async fn unacknowledged(url: &str, expected: usize) {
    let now = || shared().unacknowledged(url, "q");
    eventually(&format!("{expected} unacknowledged"), || now() == expected, || now().to_string()).await;
}

/// Waits until a queue has this many messages and consumers.
pub(super) async fn eventually_queue(back_end: &AmqpClient, queue: &str, expected: (u32, u32)) {
    let mut ask = tokio::time::interval(std::time::Duration::from_millis(10));
    for _ in 0..3000 {
        ask.tick().await;
        if back_end.queue(queue).await == expected {
            return;
        }
    }
    assert_eq!(back_end.queue(queue).await, expected);
}

fn body(tenant: &str, number: usize) -> String {
    json!({ "data": { "tenant": tenant, "n": number } }).to_string()
}

/// An event of acme, for which the database counts for longer than anyone waits here.
pub(super) fn never_decided() -> String {
    json!({ "data": { "tenant": "acme", "steps": 1_000_000_000_000_u64 } }).to_string()
}

/// The next events must be of these numbers.
async fn check(client: &mut Client, numbers: impl IntoIterator<Item = usize>) {
    for number in numbers {
        let got = client.next_event().await;
        assert_eq!(got["n"], number, "{got}");
    }
}

#[tokio::test]
async fn an_event_reaches_the_right_people_of_every_process_byte_for_byte() {
    let url = shared_vhost();
    let servers = [start(&url, FANOUT).await, start(&url, FANOUT).await];
    let mut people = Vec::new();
    for server in &servers {
        people.push((Client::session(server, "ann", &[]).await, Client::session(server, "dan", &[]).await));
    }
    let back_end = AmqpClient::connect(&url).await;
    let payloads = [
        r#"{ "tenant":"acme" , "id": 7, "n":1.50e+02, "big":12345678901234567890, "same":1,  "é":"\u00e9 \/ ✓"}"#,
        "{\"tenant\":\"acme\",\n\t\"list\":[ ],\"null\":null}",
    ];
    for payload in payloads {
        back_end.publish("events", "", format!(r#"{{"other":1, "data" : {payload} ,"more":2}}"#)).await;
    }
    back_end.publish("events", "", body("globex", 1)).await;
    for (ann, dan) in &mut people {
        for payload in payloads {
            ann.next_event().await;
            let text = ann.last_text();
            assert!(text.contains(&format!(r#""data":{payload}"#)), "{text}");
        }
        check(dan, [1]).await;
    }
    // Each its own queue, which goes with it.
    for server in servers {
        assert_eq!(server.metric("pointsman_events_received_total{source=\"amqp\"}").await, 3);
        assert_eq!(server.terminate().await, Some(0));
    }
}

#[tokio::test]
async fn routing_key_and_headers_are_fields_for_rules() {
    let url = shared_vhost();
    let server = start(&url, FANOUT).await;
    let mut ann = Client::session(&server, "ann", &[]).await;
    let back_end = AmqpClient::connect(&url).await;
    let text = |text: &str| AMQPValue::LongString(text.into());
    for (number, key, headers, reached) in [
        (0, "deal.won", vec![("shop", AMQPValue::LongInt(7)), ("number", AMQPValue::LongLongInt(1))], true),
        (1, "deal.won", vec![("shop", text("berlin")), ("number", text("1"))], true),
        (2, "deal.won", vec![("shop", text("berlin")), ("number", text("2"))], false),
        (3, "deal.won", vec![("shop", text("berlin"))], false),
        (4, "deal.won", vec![("shop", AMQPValue::LongInt(8))], true),
        (5, "nobody", vec![], false),
        (6, "deal", vec![], true),
    ] {
        back_end.publish_with("events", key, body("acme", number), &headers).await;
        back_end.publish("events", "", body("acme", 100)).await;
        check(&mut ann, reached.then_some(number).into_iter().chain([100])).await;
    }
}

#[tokio::test]
async fn a_queue_gets_what_its_bindings_say() {
    let url = shared_vhost();
    let topics = r#"
  exchanges: [{ name: bus, type: topic }, { name: more, type: direct, auto_delete: true }]
  queues:
    - name: "a.{instance}"
      exclusive: true
      bind: [{ exchange: bus, routing_key: "deal.*" }, { exchange: bus, routing_key: '#.urgent' }]
    - { name: "b.{instance}", exclusive: true, no_ack: true, bind: [{ exchange: more, routing_key: x }] }
"#;
    let server = start(&url, topics).await;
    let mut ann = Client::session(&server, "ann", &[]).await;
    let back_end = AmqpClient::connect(&url).await;
    for (number, exchange, key, reached) in [
        (0, "bus", "deal.won", true),
        (1, "bus", "deal.won.again", false),
        (2, "bus", "note.very.urgent", true),
        (3, "bus", "note", false),
        (4, "more", "x", true),
        (5, "more", "y", false),
    ] {
        back_end.publish(exchange, key, body("acme", number)).await;
        // By the same queue: between two of them there is no order.
        let marker = if exchange == "bus" { "urgent" } else { "x" };
        back_end.publish(exchange, marker, body("acme", 100)).await;
        check(&mut ann, reached.then_some(number).into_iter().chain([100])).await;
    }
}

#[tokio::test]
async fn bad_bodies_are_counted_told_and_done_with() {
    let url = shared_vhost();
    let back_end = AmqpClient::connect(&url).await;
    back_end.declare_queue("q", true).await;
    let server = start(&url, PASSIVE).await;
    let mut ann = Client::session(&server, "ann", &[]).await;
    for (number, (bad, cause)) in [
        (&b"nonsense"[..], "not_json"),
        (b"", "not_json"),
        (b"[1]", "not_an_object"),
        (b"{\"data\":{\"tenant\":\"a\xff\"}}", "not_utf8"),
        (br#"{"data":{"tenant":{}}}"#, "bad_tenant"),
        (br#"{"data":{"tenant":1.5}}"#, "bad_tenant"),
        (br#"{"dat":{}}"#, "no_payload"),
        (br#"{"data":{},"data":{"tenant":"acme"}}"#, "duplicate_key"),
    ]
    .into_iter()
    .enumerate()
    {
        let counter = format!("pointsman_events_rejected_total{{source=\"amqp\",cause=\"{cause}\"}}");
        let before = server.metric(&counter).await;
        back_end.publish("", "q", bad).await;
        back_end.publish("", "q", body("acme", number)).await;
        check(&mut ann, [number]).await;
        assert_eq!(server.metric(&counter).await, before + 1, "{cause}: {}", String::from_utf8_lossy(bad));
    }
    let told = server.log().iter().filter(|line| line["message"] == "event rejected").count();
    assert_eq!(told, 8);
    unacknowledged(&url, 0).await;
    assert_eq!(back_end.queue("q").await, (0, 1));
}

#[tokio::test]
async fn what_is_handed_on_is_acknowledged_also_behind_a_tenant_that_waits() {
    let url = shared_vhost();
    let back_end = AmqpClient::connect(&url).await;
    back_end.declare_queue("q", true).await;
    let server = start(&url, PASSIVE).await;
    let (mut ann, mut dan) = (Client::session(&server, "ann", &[]).await, Client::session(&server, "dan", &[]).await);
    back_end.publish("", "q", never_decided()).await;
    back_end.publish("", "q", body("acme", 0)).await;
    // More than the prefetch lets out at once.
    for number in 0..300 {
        back_end.publish("", "q", body("globex", number)).await;
    }
    check(&mut dan, 0..300).await;
    unacknowledged(&url, 2).await;
    assert_eq!(back_end.queue("q").await, (0, 1));

    // A process that ends at once leaves to the next one what it had not handed on, and nothing else.
    drop(server);
    eventually_queue(&back_end, "q", (2, 0)).await;
    ann.closed().await;
}

#[tokio::test]
async fn what_the_broker_gives_out_again_reaches_nobody_twice() {
    let url = shared_vhost();
    let back_end = AmqpClient::connect(&url).await;
    back_end.declare_queue("q", true).await;
    let server = start(&url, PASSIVE).await;
    let mut dan = Client::session(&server, "dan", &[]).await;
    // They wait in a lane, and so are owed to the broker, when the connection is cut.
    back_end.publish("", "q", never_decided()).await;
    back_end.publish("", "q", body("acme", 0)).await;
    back_end.publish("", "q", body("globex", 1)).await;
    check(&mut dan, [1]).await;
    unacknowledged(&url, 2).await;
    shared().cut(&url);
    server.wait_for_metric("pointsman_broker_connects_total", 2).await;
    server.wait_for_metric("pointsman_drops_total{cause=\"repeated\"}", 2).await;
    unacknowledged(&url, 0).await;
    let back_end = AmqpClient::connect(&url).await;
    back_end.publish("", "q", body("globex", 2)).await;
    check(&mut dan, [2]).await;
}

#[tokio::test]
async fn without_acknowledgements_events_flow_and_nothing_is_owed() {
    let url = shared_vhost();
    let back_end = AmqpClient::connect(&url).await;
    back_end.declare_queue("q", true).await;
    let server = start(&url, &PASSIVE.replace("prefetch: 100", "no_ack: true")).await;
    let mut dan = Client::session(&server, "dan", &[]).await;
    back_end.publish("", "q", never_decided()).await;
    for number in 0..300 {
        back_end.publish("", "q", body("globex", number)).await;
    }
    check(&mut dan, 0..300).await;
    assert_eq!((shared().unacknowledged(&url, "q"), back_end.queue("q").await), (0, (0, 1)));
    // The broker closes a channel on which something is acknowledged all the same.
    assert_eq!(server.metric("pointsman_broker_connects_total").await, 1);
    drop(server);
    eventually_queue(&back_end, "q", (0, 0)).await;
}

#[tokio::test]
async fn a_back_end_with_pika_is_understood() {
    let url = shared_vhost();
    let server = start(&url, FANOUT).await;
    let mut ann = Client::session(&server, "ann", &[]).await;
    let (first, second) = (body("acme", 1), body("acme", 2));
    let publisher = tools::python("publish.py", &[&url, "events", "deal.won", &first, &second]);
    assert!(publisher.ended().await.success());
    // The header `number` names the user: 0, then 1.
    check(&mut ann, [2]).await;
    assert_eq!(server.metric("pointsman_decisions_total{route=\"shop\"}").await, 2);
}

#[tokio::test]
async fn of_two_urls_the_one_that_works_is_used_and_no_password_is_told() {
    let url = shared_vhost();
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let good = url.replace("guest:guest", "writer:s3cret-b");
    let yaml = settings(&format!("[\"amqp://ann:s3cret-a@{dead}/x\", \"${{SECOND}}\"]"), FANOUT);
    let environment = [("SECOND", good.as_str())];
    let server = Server::start_with(&yaml, &Setup { environment: &environment, ..Setup::default() }).await;
    ready(&server).await;
    let mut ann = Client::session(&server, "ann", &[]).await;
    AmqpClient::connect(&url).await.publish("events", "", body("acme", 1)).await;
    check(&mut ann, [1]).await;
    no_secret(&server);
}

#[tokio::test]
async fn wrong_credentials_are_said_to_be_wrong_and_not_shown() {
    let url = shared_vhost().replace("guest:guest", "ann:s3cret-c");
    let server = Server::start(&settings(&url, FANOUT)).await;
    let line = server.wait_for_log("that it cannot connect", |line| line["reason"].is_string()).await;
    let reason = line["reason"].as_str().unwrap();
    for said in ["ACCESS_REFUSED", "check the user name and password in `amqp.url`"] {
        assert!(reason.contains(said), "{reason}");
    }
    let readyz = server.get("/readyz").await;
    assert_eq!(readyz.status, 503);
    assert!(readyz.json()["reasons"][0].as_str().unwrap().contains("ACCESS_REFUSED"), "{}", readyz.body);
    assert!(!readyz.body.contains("s3cret"), "{}", readyz.body);
    assert_eq!(server.terminate().await, Some(0), "also while it is not connected");
    no_secret(&server);
}

fn no_secret(server: &Server) {
    let log = server.log();
    assert!(log.iter().all(|line: &Value| !line.to_string().contains("s3cret")), "{log:#?}");
}
