//! Events come in, are acknowledged, wait, or are shed.

use std::time::Duration;

use pointsman::event::Value;
use pointsman::lane::Delivery;
use pointsman::observe::{DropCause, SourceKind};
use pointsman::source::amqp::BrokerState;
use tokio::time::timeout;

use super::{LARGEST_EVENT, Source, amqp, body, lasting};
use crate::support::amqp_client::AmqpClient;
use crate::support::held::eventually;
use crate::support::rabbitmq::shared_vhost;

#[tokio::test]
async fn every_process_gets_every_event_in_order_with_its_envelope() {
    let url = shared_vhost();
    let mut sources =
        [Source::start(amqp(&url, "a")).consuming().await, Source::start(amqp(&url, "b")).consuming().await];
    let client = AmqpClient::connect(&url).await;
    for n in 0..300 {
        client.publish_with("events", "deal.moved", body(n), &[("shop", 7_i32.into())]).await;
    }
    for source in &mut sources {
        for n in 0..300 {
            let Delivery { event, receipt, .. } = source.next().await;
            assert_eq!(event.payload(), body(n).as_bytes());
            assert_eq!(event.field(source.slots[1]), Value::Text("deal.moved"));
            assert_eq!(event.field(source.slots[2]), Value::Int(7));
            drop(receipt);
        }
        assert_eq!(source.metrics.events(SourceKind::amqp).get(), 300);
    }
}

#[tokio::test]
async fn what_is_settled_is_acknowledged_and_what_is_not_comes_again() {
    let url = shared_vhost();
    let mut source = Source::start(lasting(&url, "q")).consuming().await;
    let client = AmqpClient::connect(&url).await;
    for n in 0..250 {
        client.publish("", "q", body(n)).await;
    }
    // The first one stays out; the 249 others come in spite of a prefetch of 100.
    let held = source.next().await;
    for n in 1..250 {
        assert_eq!(source.next_n().await, n);
    }
    source.broker.stop().await;
    assert_eq!(*source.broker.state().borrow(), BrokerState::Stopped);
    drop(held);
    let mut source = Source::start(lasting(&url, "q")).consuming().await;
    client.publish("", "q", body(250)).await;
    assert_eq!((source.next_n().await, source.next_n().await), (0, 250));
    source.broker.stop().await;
    assert_eq!(client.queue("q").await, (0, 0));
}

#[tokio::test]
async fn a_full_lane_stops_reading_and_stopping_waits_for_what_lanes_hold() {
    let url = shared_vhost();
    let mut source = Source::with_lane(lasting(&format!("{url}?heartbeat=1"), "q"), 10).consuming().await;
    let client = AmqpClient::connect(&url).await;
    for n in 0..500 {
        client.publish("", "q", body(n)).await;
    }
    // 100 are out, of which the lane has 10; the rest stays with the broker.
    assert_eq!(client.queue("q").await.0, 400);
    // Heartbeats go on: without them the broker would end the connection within 3 seconds.
    let mut state = source.broker.state();
    let lost = state.wait_for(|state| *state != BrokerState::Consuming);
    assert!(timeout(Duration::from_secs(5), lost).await.is_err());
    let broker = source.broker;
    let (stopped, ()) = tokio::join!(
        async {
            broker.stop().await;
            broker.state().borrow().clone()
        },
        async { while source.lane.recv().await.is_some() {} }
    );
    assert_eq!(stopped, BrokerState::Stopped);
    let (ready, consumers) = client.queue("q").await;
    assert!((489..=490).contains(&ready), "what was handed on is gone, what was not is there again: {ready}");
    assert_eq!(consumers, 0);
}

#[tokio::test]
async fn without_acknowledgements_a_full_lane_sheds_the_oldest() {
    let url = shared_vhost();
    let mut config = amqp(&url, "q");
    config.queues[0].no_ack = true;
    let mut source = Source::with_lane(config, 10).consuming().await;
    let client = AmqpClient::connect(&url).await;
    // 100 bodies of 1 MiB; 64 MiB may wait.
    let padding = " ".repeat(1 << 20);
    for n in 0..100 {
        client.publish("events", "", body(n) + &padding).await;
    }
    let events = source.metrics.events(SourceKind::amqp);
    eventually("all are read", || events.get() == 100, || events.get().to_string()).await;
    let shed = source.metrics.drops(DropCause::shed);
    assert_eq!(shed.get(), 100 - 10 - 1 - 63);
    let expected: Vec<i64> = (0..11).chain(37..100).collect();
    for n in expected {
        assert_eq!(source.next_n().await, n);
    }
    source.broker.stop().await;
}

#[tokio::test]
async fn a_bad_body_costs_itself_alone() {
    let url = shared_vhost();
    let mut source = Source::start(amqp(&url, "q")).consuming().await;
    let client = AmqpClient::connect(&url).await;
    let huge = " ".repeat(LARGEST_EVENT + 1);
    for bad in ["", "{", "[]", "\"", &huge] {
        client.publish("events", "", bad).await;
    }
    client.publish("events", "", body(1)).await;
    assert_eq!(source.next_n().await, 1);
    assert_eq!(source.metrics.rejected(SourceKind::amqp, "too_large").get(), 1);
    assert_eq!(source.metrics.rejected(SourceKind::amqp, "not_an_object").get(), 1);
}
