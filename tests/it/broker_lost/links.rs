//! The link between the program and its broker: slow, cut, silent, half open; and a broker that blocks.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::{QUEUES, Watched};
use crate::broker::FANOUT;
use crate::support::amqp_client::AmqpClient;
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::{shared, shared_vhost};

/// A proxy to the shared node, and the URL of a vhost by way of it.
pub(super) fn linked(url: &str) -> (Proxy, String) {
    let proxy = Proxy::start(shared().address());
    let through = url.replace(&shared().address().to_string(), &proxy.address().to_string());
    (proxy, through)
}

#[tokio::test]
async fn a_link_that_breaks_in_any_way_is_noticed_and_made_anew() {
    let url = shared_vhost();
    let (proxy, through) = linked(&url);
    let mut watched = Watched::start(&(through + "?heartbeat=1"), QUEUES).await;

    proxy.delay(Duration::from_millis(100));
    watched.events_flow(&url).await;
    proxy.resume();
    assert_eq!(watched.connects().await, 1, "slow is not lost");

    proxy.cut();
    watched.loses("cut", &["the broker is lost", "reset"]).await;
    watched.recovers(&url).await;

    proxy.refuse();
    watched.loses("cut", &["still no connection", "is this a broker's port"]).await;
    watched.stays_lost(&["connecting to", "reset"]).await;
    // What waits in the queue that stays comes when the link is back.
    let waits = json!({ "data": { "tenant": "acme", "waits": true } });
    AmqpClient::connect(&url).await.publish("events", "", waits.to_string()).await;
    proxy.resume();
    watched.screen.gets(&waits["data"]).await;
    watched.recovers(&url).await;

    proxy.silence();
    watched.loses("heartbeat", &["the broker is lost", "no heartbeat", "paused or overloaded"]).await;
    watched.loses("silent", &["still no connection", "no answer within 5s while connecting to"]).await;
    watched.stays_lost(&["no answer within 5s"]).await;
    proxy.resume();
    watched.recovers(&url).await;

    proxy.half_open();
    watched.loses("heartbeat", &["the broker is lost", "no heartbeat"]).await;
    watched.stays_lost(&["no heartbeat"]).await;
    proxy.resume();
    watched.recovers(&url).await;
    watched.leaves().await;
}

/// `connection.blocked` with this reason, or `connection.unblocked`, as a frame.
fn blocked_frame(reason: Option<&str>) -> Vec<u8> {
    let mut method = vec![0, 10, 0, if reason.is_some() { 60 } else { 61 }];
    if let Some(reason) = reason {
        method.push(u8::try_from(reason.len()).unwrap());
        method.extend_from_slice(reason.as_bytes());
    }
    let mut frame = vec![1, 0, 0];
    frame.extend_from_slice(&u32::try_from(method.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&method);
    frame.push(0xCE);
    frame
}

/// RabbitMQ blocks connections that publish. Others block all, and then nothing is acknowledged any more.
#[tokio::test]
async fn a_broker_that_blocks_gives_out_no_more_than_the_prefetch_and_goes_on_later() {
    let url = shared_vhost();
    let (proxy, through) = linked(&url);
    let mut watched =
        Watched::start(&through, &FANOUT.replace("exclusive: true", "exclusive: true, prefetch: 10")).await;
    let event = |number: usize| json!({ "tenant": "acme", "number": number });

    proxy.say(&blocked_frame(Some("low on memory")));
    watched.says(&["the broker blocks this connection", "low on memory", "free what it is short of"]).await;
    watched.state_is("blocked").await;
    assert_eq!(watched.server.metric("pointsman_broker_blocked").await, 1);
    assert_eq!(watched.server.get("/readyz").await.status, 200, "it is connected, and others would fare no better");
    let back_end = AmqpClient::connect(&url).await;
    for number in 0..25 {
        back_end.publish("events", "", json!({ "data": event(number) }).to_string()).await;
    }
    for number in 0..10 {
        watched.screen.gets(&event(number)).await;
    }
    watched.screen.pings_go_on().await;
    assert!(watched.screen.events.try_recv().is_err(), "the broker waits for acknowledgements");

    proxy.say(&blocked_frame(None));
    watched.says(&["blocks this connection no more"]).await;
    for number in 10..25 {
        watched.screen.gets(&event(number)).await;
    }
    watched.recovers(&url).await;
    assert_eq!(watched.server.metric("pointsman_broker_blocked").await, 0);
    assert_eq!(watched.connects().await, 1);

    // Leaving does not wait for long for one that blocks. Nobody is here any more, and what is published would reach
    // nobody.
    proxy.say(&blocked_frame(Some("low on disk")));
    watched.says(&["low on disk"]).await;
    watched.server.signal(Signal::TERM);
    let refused = loop {
        let answer = watched.server.post("/publish", json!({ "data": event(0) }).to_string()).await;
        if answer.status != 202 {
            break answer;
        }
    };
    assert_eq!((refused.status, refused.headers["connection"].as_bytes()), (503, &b"close"[..]));
    assert!(refused.body.contains("the server is leaving; publish to another"), "{}", refused.body);
    assert_eq!(watched.server.exit_code().await, Some(0));
}

/// The broker believes that the lost connection is alive, and keeps its exclusive queue locked, for as long as it waits for
/// a heartbeat.
#[tokio::test]
async fn a_connection_that_the_broker_believes_alive_does_not_keep_the_next_one_waiting() {
    let url = shared_vhost();
    let (proxy, through) = linked(&url);
    let mut watched = Watched::start(&through, FANOUT).await;
    proxy.desert();
    watched.says(&["the broker is lost"]).await;
    watched.recovers(&url).await;
    assert_eq!(watched.server.metric("pointsman_broker_faults_total{cause=\"locked\"}").await, 0);
    watched.leaves().await;
}

#[tokio::test]
async fn an_exclusive_queue_with_a_fixed_name_comes_back_when_the_broker_misses_the_lost_connection() {
    let url = shared_vhost();
    let (proxy, through) = linked(&url);
    let fixed = FANOUT.replace("pointsman.{instance}", "own");
    let mut watched = Watched::start(&(through + "?heartbeat=1"), &fixed).await;
    proxy.desert();
    watched.loses("locked", &["RESOURCE_LOCKED", "queue `own`"]).await;
    watched.recovers(&url).await;
    watched.leaves().await;
}
