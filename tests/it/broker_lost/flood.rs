//! More than anyone would send: 100,000 events that wait, and bodies of megabytes.

use serde_json::json;

use super::readyz;
use crate::broker::settings;
use crate::support::amqp_client::AmqpClient;
use crate::support::client::Client;
use crate::support::held::eventually;
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::{shared, shared_vhost};
use crate::support::server::Server;

const MIB: usize = 1 << 20;

const LASTING: &str = "
  queues: [{ name: q, durable: true }]
";

/// A server that will consume as soon as the link is resumed, so that clients can come first.
async fn held_back(url: &str, more: &str) -> (Proxy, Server) {
    let proxy = Proxy::start(shared().address());
    proxy.refuse();
    let through = url.replace(&shared().address().to_string(), &proxy.address().to_string());
    let server = Server::start(&(settings(&through, LASTING) + more)).await;
    readyz(&server, 503, &[]).await;
    (proxy, server)
}

#[tokio::test]
async fn a_hundred_thousand_events_that_wait_arrive_once_and_in_order_in_bounded_memory() {
    const EVENTS: usize = 100_000;
    let url = shared_vhost();
    let back_end = AmqpClient::connect(&url).await;
    back_end.declare_queue("q", true).await;
    let padding = "x".repeat(100);
    let body = |number: usize| {
        let tenant = if number.is_multiple_of(2) { "acme" } else { "globex" };
        format!(r#"{{"data":{{"tenant":"{tenant}","n":{number},"padding":"{padding}"}}}}"#)
    };
    back_end.fill("q", (0..EVENTS).map(body)).await;

    // The clients here are slow ones: all that waits for one of them may be as much as there is.
    let (proxy, server) = held_back(&url, "limits: { outbox: { messages: 100000, bytes: 32MiB } }\n").await;
    let clients = [(0, Client::session(&server, "ann", &[]).await), (1, Client::session(&server, "dan", &[]).await)];
    let before = server.peak_memory();
    proxy.resume();
    let read = clients.map(|(first, mut client)| {
        tokio::spawn(async move {
            for number in (first..EVENTS).step_by(2) {
                let got = client.next_event().await;
                assert_eq!(got["n"], number, "{got}");
            }
        })
    });
    for read in read {
        read.await.unwrap();
    }
    let grown = server.peak_memory() - before;
    assert!(grown < 64 * MIB, "memory grew by {} MiB", grown / MIB);
    assert_eq!(server.metric("pointsman_events_received_total{source=\"amqp\"}").await, i64::try_from(EVENTS).unwrap());
    assert_eq!(server.metric("pointsman_deliveries_total").await, i64::try_from(EVENTS).unwrap());
    // No acknowledgement was one too many: the broker would have closed the channel.
    assert_eq!(server.metric("pointsman_broker_connects_total").await, 1);
    let unacknowledged = || shared().unacknowledged(&url, "q");
    eventually("all is acknowledged", || unacknowledged() == 0, || unacknowledged().to_string()).await;
    assert_eq!(back_end.queue("q").await, (0, 1));
}

/// An event of about so many bytes.
fn huge(number: usize, bytes: usize) -> String {
    let mut body = format!(r#"{{"data":{{"tenant":"acme","n":{number}}},"unseen":""#);
    body.extend(std::iter::repeat_n('x', bytes - body.len() - 2));
    body.push_str("\"}");
    body
}

#[tokio::test]
async fn huge_bodies_pass_or_are_refused_and_what_is_no_event_costs_itself_alone() {
    let url = shared_vhost();
    let back_end = AmqpClient::connect(&url).await;
    back_end.declare_queue("q", true).await;
    let (proxy, server) = held_back(&url, "").await;
    let mut ann = Client::session(&server, "ann", &[]).await;
    let limit = 16 * MIB;
    let mut expected = Vec::new();
    for round in 0..4 {
        for (number, body, passes) in [
            (0, huge(10 * round, limit - 1), true),
            (1, huge(10 * round + 1, limit), true),
            (2, huge(10 * round + 2, limit + 1), false),
            (3, huge(10 * round + 3, 40 * MIB), false),
            (4, "no JSON".to_owned(), false),
            (5, huge(10 * round + 5, limit)[..limit - 2].to_owned(), false),
            (6, huge(10 * round + 6, 100), true),
        ] {
            back_end.publish("", "q", body).await;
            expected.extend(passes.then_some(10 * round + number));
        }
    }
    let before = server.peak_memory();
    proxy.resume();
    for number in expected {
        let got = ann.next_event().await;
        assert_eq!(got, json!({ "tenant": "acme", "n": number }));
    }
    let grown = server.peak_memory() - before;
    assert!(grown < 300 * MIB, "memory grew by {} MiB", grown / MIB);
    let rejected = async |cause: &str| {
        server.metric(&format!("pointsman_events_rejected_total{{source=\"amqp\",cause=\"{cause}\"}}")).await
    };
    assert_eq!((rejected("too_large").await, rejected("not_json").await), (8, 8));
    let told = |message: &str| server.log().iter().filter(|line| line["message"] == message).count();
    assert_eq!(told("event rejected"), 16);
    assert_eq!(server.metric("pointsman_broker_connects_total").await, 1);
}
