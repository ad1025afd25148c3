//! Clients that do not read what they get: what waits for them is bounded, and nobody else is slowed.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::hostile::{CONFIG, Scene};
use crate::support::raw::{HANDSHAKE, Raw, frame, text};

const DROPPED: &str = "pointsman_drops_total{cause=\"outbox_full\"}";
const CLOSED: &str = "pointsman_connections_closed_total{code=\"4408\"}";

async fn scene(outbox: &str) -> Scene {
    Scene::start(&format!("{CONFIG}limits: {{ outbox: {{ messages: 16, {outbox} }} }}")).await
}

/// A session that reads nothing, and on whose way little fits. With it, there are so many sessions.
async fn stuck(scene: &Scene, sessions: i64) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut raw = Raw::over(socket.connect(scene.server.clients).await.unwrap());
    raw.send(HANDSHAKE).await;
    raw.send(text("{\"access_token\":\"ann\"}")).await;
    scene.server.wait_for_metric("pointsman_sessions", sessions).await;
    raw
}

/// Publishes large events, which the witness gets, until a metric has come this far.
async fn publish_until(scene: &mut Scene, metric: &str, reached: i64) {
    let large = "x".repeat(64 << 10);
    while scene.server.metric(metric).await < reached {
        scene.events += 1;
        assert!(scene.events < 1000, "more than fits into any socket");
        let data = json!({ "number": scene.events, "large": large });
        scene.server.publish(json!({ "tenant": "acme", "data": data })).await;
        assert_eq!(scene.witness.next_event().await, data);
    }
}

#[tokio::test]
async fn who_does_not_read_is_closed_and_holds_up_nobody() {
    let mut scene = scene("bytes: 256KiB").await;
    let mut raw = stuck(&scene, 2).await;
    publish_until(&mut scene, CLOSED, 1).await;
    // What was on its way comes whole, and then it is told why it ends.
    raw.shaken_hands().await;
    assert_eq!(raw.closed().await, Some(4408));
    assert_eq!(scene.server.metric("pointsman_drops_total{cause=\"slow_client\"}").await, 1);
    drop(raw);
    scene.settles().await;
    scene.server.wait_for_metric("pointsman_outbox_messages", 0).await;
    scene.ends().await;
}

#[tokio::test]
async fn a_crowd_that_does_not_read_is_a_few_lines_in_the_log() {
    let limits = "limits: { outbox: { messages: 16, bytes: 256KiB } }";
    let mut scene = Scene::start(&format!("{CONFIG}shards: 1\n{limits}")).await;
    let mut crowd = Vec::new();
    for sessions in 2..14 {
        crowd.push(stuck(&scene, sessions).await);
    }
    publish_until(&mut scene, CLOSED, 12).await;
    let log = scene.server.log();
    let lines = log.iter().filter(|line| line["message"] == "a client is too slow and is closed").count();
    assert!((5..12).contains(&lines), "{lines} lines");
    drop(crowd);
    scene.settles().await;
    scene.ends().await;
}

#[tokio::test]
async fn who_does_not_read_loses_what_is_oldest_where_that_is_asked_for() {
    let mut scene = scene("bytes: 256KiB, when_full: drop_oldest").await;
    let mut raw = stuck(&scene, 2).await;
    publish_until(&mut scene, DROPPED, 40).await;
    let (messages, bytes) =
        (scene.server.metric("pointsman_outbox_messages").await, scene.server.metric("pointsman_outbox_bytes").await);
    assert!((1..=16).contains(&messages) && (1..=256 << 10).contains(&bytes), "{messages} messages, {bytes} bytes");
    let is_said = |line: &Value| line["message"] == "a client is too slow: its oldest events are dropped";
    assert_eq!(scene.server.log().iter().filter(|line| is_said(line)).count(), 1);
    // It reads again: what was on its way, a gap, and then the newest, and all that follows.
    raw.shaken_hands().await;
    assert!(raw.text().await.contains("access_token expected"));
    assert!(raw.text().await.contains("Connected as user"));
    let mut numbers = Vec::new();
    while numbers.last() != Some(&u64::from(scene.events)) {
        let event: Value = serde_json::from_str(&raw.text().await).unwrap();
        numbers.push(event["data"]["number"].as_u64().unwrap());
    }
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    let dropped = scene.server.metric(DROPPED).await;
    assert_eq!(i64::try_from(numbers.len()).unwrap() + dropped, i64::from(scene.events), "{numbers:?}");
    let gaps = numbers.windows(2).filter(|pair| pair[0] + 1 < pair[1]).count();
    assert_eq!((numbers[0], gaps), (1, 1), "{numbers:?}");
    scene.goes_on().await;
    let event: Value = serde_json::from_str(&raw.text().await).unwrap();
    assert_eq!(event["data"], scene.events);
    assert_eq!(scene.server.metric(CLOSED).await, 0);
    scene.server.wait_for_metric("pointsman_outbox_messages", 0).await;
    scene.server.wait_for_metric("pointsman_outbox_bytes", 0).await;
    drop(raw);
    scene.settles().await;
    scene.ends().await;
}

#[tokio::test]
async fn who_asks_without_end_and_does_not_read_is_closed() {
    // Answers are promised: they are not what is dropped.
    for when_full in ["disconnect", "drop_oldest"] {
        let mut scene = scene(&format!("bytes: 64KiB, when_full: {when_full}")).await;
        let mut raw = Raw::session(&scene.server, "ann").await;
        let pings = frame(0x89, &[b'x'; 125]).repeat(1000);
        // It is not read from any more once it is too slow, or it is gone.
        while raw.socket.write_all(&pings).await.is_ok() {
            scene.goes_on().await;
        }
        assert_eq!(scene.server.metric(CLOSED).await, 1, "{when_full}");
        scene.settles().await;
        scene.ends().await;
    }
}
