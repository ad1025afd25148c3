//! RabbitMQ as a source, against real nodes.

use std::sync::Arc;
use std::time::Duration;

use pointsman::config::{Amqp, Binding, Exchange, Queue, WhenLost};
use pointsman::event::{Decoder, Path, Shape, Slot, Value};
use pointsman::lane::Lanes;
use pointsman::observe::{DropCause, Metrics, SourceKind};
use pointsman::reload::{Generation, Live, Rulebook};
use pointsman::route::{RouteTable, TopicRules};
use pointsman::source::amqp::{self, Broker, BrokerState};
use pointsman::source::{Delivery, Intake};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::amqp_client::AmqpClient;
use crate::support::process::{Held, alone, eventually};
use crate::support::rabbitmq::{Rabbit, shared_vhost};

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A source whose lane is this test.
struct Source {
    broker: Broker,
    lane: mpsc::Receiver<Delivery>,
    metrics: Arc<Metrics>,
    /// `n`, `amqp.routing_key`, `amqp.headers.shop`
    slots: [Slot; 3],
}

impl Source {
    fn start(amqp: Amqp) -> Self {
        Self::with_lane(amqp, 1000)
    }

    fn with_lane(amqp: Amqp, capacity: usize) -> Self {
        let path = |text| Path::parse(text).unwrap();
        let mut decoder = Decoder::new(Shape { payload: path("."), tenant: None, id: None, kind: None });
        let slots = ["n", "amqp.routing_key", "amqp.headers.shop"].map(|text| decoder.slot(&path(text)));
        let rulebook = Rulebook { generation: Generation(1), decoder, routes: RouteTable, topics: TopicRules };
        let (lanes, lane) = Lanes::to_channel(capacity);
        let metrics = Arc::new(Metrics::new());
        let intake = Intake::new(Live::new(rulebook), lanes, Arc::clone(&metrics), SourceKind::amqp);
        let broker = amqp::start(amqp, "test", intake, Arc::clone(&metrics)).unwrap();
        Self { broker, lane, metrics, slots }
    }

    async fn until(&self, what: impl Fn(&BrokerState) -> bool) -> BrokerState {
        let mut state = self.broker.state();
        let found = timeout(PATIENCE, state.wait_for(what)).await.map(|found| found.unwrap().clone());
        found.unwrap_or_else(|_| panic!("it stays {:?}", *self.broker.state().borrow()))
    }

    async fn consuming(self) -> Self {
        self.until(|state| *state == BrokerState::Consuming).await;
        self
    }

    /// Waits until it is lost for a reason that holds all of these texts.
    async fn lost(&self, said: &[&str]) {
        let state = self.until(|state| matches!(state, BrokerState::Lost { .. } | BrokerState::GaveUp { .. })).await;
        let (BrokerState::Lost { reason, .. } | BrokerState::GaveUp { reason }) = state else { unreachable!() };
        for text in said {
            assert!(reason.contains(text), "`{text}` is missing: {reason}");
        }
        assert!(!reason.contains("s3cret"), "{reason}");
    }

    async fn next(&mut self) -> Delivery {
        timeout(PATIENCE, self.lane.recv()).await.expect("an event").expect("a lane")
    }

    /// The field `n` of the next event, whose receipt comes back.
    async fn next_n(&mut self) -> i64 {
        let delivery = self.next().await;
        let Value::Int(n) = delivery.event.field(self.slots[0]) else { panic!("no number: {delivery:?}") };
        n
    }
}

fn amqp(url: &str, queue: &str) -> Amqp {
    let bind = vec![Binding { exchange: "events".into(), routing_key: String::new(), arguments: Vec::new() }];
    Amqp {
        urls: vec![url.to_owned().into()],
        exchanges: vec![Exchange {
            name: "events".into(),
            kind: "fanout".into(),
            durable: true,
            auto_delete: false,
            internal: false,
            passive: false,
            arguments: Vec::new(),
        }],
        queues: vec![Queue {
            name: queue.into(),
            durable: false,
            exclusive: true,
            auto_delete: true,
            passive: false,
            arguments: vec![("x-max-length".into(), pointsman::event::Scalar::Int(100_000))],
            bind,
            prefetch: 100,
            no_ack: false,
        }],
        when_lost: WhenLost::Reconnect,
    }
}

/// As [`amqp`], with a queue that stays when the connection goes.
fn lasting(url: &str, queue: &str) -> Amqp {
    let mut amqp = amqp(url, queue);
    let queue = &mut amqp.queues[0];
    (queue.durable, queue.exclusive, queue.auto_delete) = (true, false, false);
    amqp
}

fn body(n: usize) -> String {
    format!(r#"{{"n":{n}}}"#)
}

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
            assert_eq!(event.payload().as_ref(), body(n).as_bytes());
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
    let huge = " ".repeat((16 << 20) + 1);
    for bad in ["", "{", "[]", "\"", &huge] {
        client.publish("events", "", bad).await;
    }
    client.publish("events", "", body(1)).await;
    assert_eq!(source.next_n().await, 1);
    assert_eq!(source.metrics.rejected(SourceKind::amqp, "too_large").get(), 1);
    assert_eq!(source.metrics.rejected(SourceKind::amqp, "not_an_object").get(), 1);
}

#[tokio::test]
async fn a_deleted_queue_is_declared_and_consumed_again() {
    let url = shared_vhost();
    let source = Source::start(lasting(&url, "q")).consuming().await;
    let client = AmqpClient::connect(&url).await;
    client.delete_queue("q").await;
    source.lost(&["queue `q`", "deleted"]).await;
    let mut source = source.consuming().await;
    client.publish("events", "", body(1)).await;
    assert_eq!(source.next_n().await, 1);
    assert_eq!(source.metrics.broker_connects.get(), 2);
    source.lane.close();
}

#[tokio::test]
async fn what_the_broker_refuses_is_said_with_what_to_do() {
    let url = shared_vhost();
    let client = AmqpClient::connect(&url).await;
    client.declare_queue("other", false).await;
    let wrong = |credentials: &str| url.replace("guest:guest", credentials);
    let mut passive = amqp(&url, "none");
    passive.queues[0].passive = true;
    let mut unknown = amqp(&url, "q");
    unknown.queues[0].bind[0].exchange = "nowhere".into();
    let check = async |config: Amqp, said: &[&str]| Source::start(config).lost(said).await;
    check(lasting(&url, "other"), &["queue `other`", "PRECONDITION_FAILED", "durable", "passive: true"]).await;
    check(amqp(&wrong("ann:s3cret"), "q"), &["ACCESS_REFUSED", "user name and password"]).await;
    check(amqp(&wrong("reader:reader"), "q"), &["exchange `events`", "ACCESS_REFUSED", "set_permissions"]).await;
    check(amqp(&format!("{url}x"), "q"), &["NOT_ALLOWED", "vhost"]).await;
    check(passive, &["queue `none`", "NOT_FOUND", "passive"]).await;
    check(unknown, &["exchange `nowhere`", "NOT_FOUND", "amqp.exchanges"]).await;
    check(amqp(&url.replace("amqp:", "amqps:"), "q"), &["not yet supported"]).await;
    let holder = Source::start(amqp(&url, "held")).consuming().await;
    let mut config = amqp(&url, "held");
    config.when_lost = WhenLost::Exit;
    let waiter = Source::start(config);
    waiter.lost(&["queue `held`", "RESOURCE_LOCKED"]).await;
    holder.broker.stop().await;
    waiter.consuming().await;
}

#[tokio::test]
async fn of_several_brokers_the_one_that_works_is_used() {
    let url = shared_vhost();
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut config = amqp(&url, "q");
    config.urls.insert(0, format!("amqp://{dead}").into());
    config.when_lost = WhenLost::Exit;
    Source::start(config).consuming().await;
}

#[tokio::test]
async fn a_broker_that_cannot_be_reached_is_given_up_where_asked() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut config = amqp(&format!("amqp://ann:s3cret@{dead}"), "q");
    config.when_lost = WhenLost::Exit;
    let source = Source::start(config);
    let reason = timeout(PATIENCE, source.broker.given_up()).await.unwrap();
    assert!(reason.contains("refused"), "{reason}");
    // After that there is nothing to stop.
    source.broker.stop().await;
}

#[test]
fn a_silent_peer_is_given_up_and_leaves_nothing_behind() {
    if alone("amqp::a_silent_peer_is_given_up_and_leaves_nothing_behind") {
        runtime().block_on(async {
            // Nobody accepts: the kernel does, and then nothing is said.
            let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("amqp://{}", silent.local_addr().unwrap());
            warm_up(&url).await;
            let before = Held::now();
            let source = Source::start(amqp(&url, "q"));
            source.lost(&["no answer within 5s", "connecting"]).await;
            source.broker.stop().await;
            before.again().await;
        });
    }
}

#[test]
fn a_broker_that_comes_back_is_consumed_again_and_nothing_of_the_old_connection_stays() {
    if alone("amqp::a_broker_that_comes_back_is_consumed_again_and_nothing_of_the_old_connection_stays") {
        let mut rabbit = Rabbit::own();
        let url = rabbit.vhost() + "?heartbeat=1";
        runtime().block_on(async {
            let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
            warm_up(&format!("amqp://{}", silent.local_addr().unwrap())).await;
            let before = Held::now();
            type Step = fn(&mut Rabbit);
            let breaks: [(&str, Step, Step); 3] = [
                ("CONNECTION_FORCED", Rabbit::stop, Rabbit::start),
                ("reset by peer", Rabbit::kill, Rabbit::start),
                ("no heartbeat", |rabbit| rabbit.pause(), |rabbit| rabbit.resume()),
            ];
            for (said, break_it, mend_it) in breaks {
                let mut source = Source::start(amqp(&url, "q")).consuming().await;
                let connected = Held::now();
                break_it(&mut rabbit);
                source.lost(&[said]).await;
                mend_it(&mut rabbit);
                source = source.consuming().await;
                publish(&url, said).await;
                let payload = source.next().await.event.payload().clone();
                assert!(payload.ends_with(format!("\"{said}\"}}").as_bytes()), "{payload:?}");
                // The node's output is read by a thread, a new one for a new node.
                connected.again().await;
                source.broker.stop().await;
                before.again().await;
            }
        });
    }
}

#[test]
fn a_lost_broker_is_given_up_where_asked() {
    let mut rabbit = Rabbit::own();
    let mut config = amqp(&rabbit.vhost(), "q");
    config.when_lost = WhenLost::Exit;
    runtime().block_on(async {
        let source = Source::start(config).consuming().await;
        rabbit.kill();
        timeout(PATIENCE, source.broker.given_up()).await.unwrap();
    });
}

/// Stops a source that waits for a silent peer. The client library starts one thread for the whole process then, once.
async fn warm_up(silent: &str) {
    let held = || format!("{:?}", Held::now());
    let before = Held::now();
    let source = Source::start(amqp(silent, "q"));
    eventually("connected", || Held::now().sockets > before.sockets + 1, held).await;
    source.broker.stop().await;
    let once = Held { threads: before.threads + 1, sockets: before.sockets + 1 };
    once.again().await;
}

/// On an event loop of its own, so that nothing of the client stays in this process.
async fn publish(url: &str, text: &str) {
    let (url, body) = (url.to_owned(), format!(r#"{{"text":"{text}"}}"#));
    let publishing = std::thread::spawn(move || {
        let runtime = runtime();
        runtime.block_on(async { AmqpClient::connect(&url).await.publish("events", "", body).await });
        runtime.shutdown_background();
    });
    eventually("published", || publishing.is_finished(), || "still at it".into()).await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
