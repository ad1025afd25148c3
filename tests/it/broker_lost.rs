//! The life of a program whose broker comes late, goes, and comes again.

use serde_json::json;

use crate::broker::{FANOUT, settings};
use crate::support::amqp_client::AmqpClient;
use crate::support::client::Client;
use crate::support::held::eventually;
use crate::support::rabbitmq::Rabbit;
use crate::support::server::Server;

/// Waits for a status of `/readyz`, and answers what it says.
async fn readyz(server: &Server, status: u16) -> String {
    for _ in 0..100_000 {
        let answer = server.get("/readyz").await;
        if answer.status == status {
            return answer.body;
        }
    }
    panic!("never {status}, but {}", server.get("/readyz").await.body)
}

async fn events_flow(url: &str, clients: &mut [Client], number: u32) {
    let event = json!({ "data": { "tenant": "acme", "n": number } });
    AmqpClient::connect(url).await.publish("events", "", event.to_string()).await;
    for client in clients {
        assert_eq!(client.next_event().await, event["data"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_late_goes_and_comes_again_costs_no_connection() {
    let mut rabbit = Rabbit::absent();
    let url = rabbit.vhost();
    let yaml = settings(&url, FANOUT) + "ping: { every: 1s }\n";
    let server = Server::start(&yaml).await;
    let mut clients = [Client::session(&server, "ann", &[]).await, Client::session(&server, "ann", &[]).await];

    server.wait_for_log("that there is none", |line| line["message"] == "the broker cannot be reached").await;
    let said = readyz(&server, 503).await;
    assert!(said.contains("broker: connecting") && said.contains("refused"), "{said}");
    tokio::task::block_in_place(|| rabbit.start());
    readyz(&server, 200).await;
    events_flow(&url, &mut clients, 1).await;
    // A program that would rather end than wait, beside the one that waits.
    let quitter = Server::start(&settings(&url, &format!("{FANOUT}  when_lost: exit\n"))).await;
    readyz(&quitter, 200).await;
    let threads = server.threads();

    tokio::task::block_in_place(|| rabbit.kill());
    assert_eq!(quitter.exit_code().await, Some(3));
    let said = readyz(&server, 503).await;
    assert!(said.contains("broker: "), "{said}");
    for client in &mut clients {
        // The second of these pings was sent when the broker was gone.
        for _ in 0..2 {
            client.expect(&json!({ "type": "system", "connected": true, "message": "events ping" })).await;
        }
    }
    tokio::task::block_in_place(|| rabbit.start());
    readyz(&server, 200).await;
    events_flow(&url, &mut clients, 2).await;
    let now = || server.threads();
    eventually(&format!("{threads} threads again"), || now() <= threads, || now().to_string()).await;
    assert_eq!(server.metric("pointsman_broker_connects_total").await, 2);
    assert_eq!(server.terminate().await, Some(0));
}
