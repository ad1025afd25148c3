//! What comes from a queue.

use serde_json::json;

use crate::broker::{FANOUT, ready, settings};
use crate::support::amqp_client::AmqpClient;
use crate::support::client::Client;
use crate::support::rabbitmq::shared_vhost;
use crate::support::server::Server;

const MESSAGES: &str = "pointsman_queue_messages_total{queue=\"pointsman.{instance}\"}";
const UNACKNOWLEDGED: &str = "pointsman_queue_unacknowledged{queue=\"pointsman.{instance}\"}";

#[tokio::test]
async fn a_message_is_owed_until_it_is_acknowledged() {
    let url = shared_vhost();
    let server = Server::start(&format!("shards: 1\n{}", settings(&url, FANOUT))).await;
    ready(&server).await;
    let mut ann = Client::session(&server, "ann", &[]).await;
    let back_end = AmqpClient::connect(&url).await;
    // The first holds up the second, which is its tenant's too. One of another tenant passes them.
    for event in [
        json!({ "data": { "tenant": "acme", "steps": 3_000_000 } }),
        json!({ "data": { "tenant": "acme", "n": 2 } }),
        json!({ "data": { "tenant": "globex", "n": 3 } }),
    ] {
        back_end.publish("events", "", event.to_string()).await;
    }
    server.wait_for_metric(MESSAGES, 3).await;
    server.wait_for_metric(UNACKNOWLEDGED, 2).await;
    assert_eq!(server.metric("pointsman_lane_waiting{lane=\"0\"}").await, 2);
    assert_eq!(ann.next_event().await["steps"], 3_000_000);
    assert_eq!(ann.next_event().await["n"], 2);
    server.wait_for_metric(UNACKNOWLEDGED, 0).await;
    assert_eq!(server.metric("pointsman_lane_waiting{lane=\"0\"}").await, 0);
    assert_eq!(server.metric("pointsman_lane_waiting_bytes{lane=\"0\"}").await, 0);
}
