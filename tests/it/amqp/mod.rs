//! RabbitMQ as a source, against real nodes: what the tests of this share.

mod broken;
mod change;
mod flow;
mod repeats;

use std::sync::Arc;
use std::time::Duration;

use pointsman::config::{Amqp, AmqpTls, Binding, Exchange, Plugins, Queue, WhenLost};
use pointsman::event::{Decoder, Path, Shape, Slot, Value};
use pointsman::lane::{Delivery, Lanes};
use pointsman::observe::{Metrics, SourceKind};
use pointsman::reload::{Generation, Live, Rulebook};
use pointsman::route::{RouteTable, TopicRules};
use pointsman::source::Intake;
use pointsman::source::amqp::{self, Broker, BrokerState};
use tokio::sync::mpsc;
use tokio::time::timeout;

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

/// Bytes.
const LARGEST_EVENT: usize = 16 << 20;

impl Source {
    fn start(amqp: Amqp) -> Self {
        Self::with_lane(amqp, 1000)
    }

    fn with_lane(amqp: Amqp, capacity: usize) -> Self {
        let path = |text| Path::parse(text).unwrap();
        let mut decoder = Decoder::new(Shape { payload: path("."), tenant: None, id: None, kind: None });
        decoder.limit(LARGEST_EVENT);
        let slots = ["n", "amqp.routing_key", "amqp.headers.shop"].map(|text| decoder.slot(&path(text)));
        let routes = RouteTable::compile(Vec::new(), &[], &mut decoder);
        let topics = TopicRules::compile(Vec::new(), &[]);
        let rulebook = Rulebook {
            generation: Generation(1),
            decoder,
            routes,
            topics,
            plugins: Box::default(),
            breaker: Plugins::default().breaker,
            queries: Arc::default(),
        };
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
        tls: AmqpTls::default(),
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
            stem: None,
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
