//! A change of the configuration, applied while events come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::ExchangeKind;
use pointsman::config::{Amqp, Binding, Exchange, Queue};
use pointsman::event::Scalar;
use pointsman::source::amqp::BrokerState;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{PATIENCE, Source, amqp, body, lasting};
use crate::support::amqp_client::AmqpClient;
use crate::support::held::{Held, alone, eventually};
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::{shared, shared_vhost};

/// Publishes numbers from 0 on to an exchange until it is told to end.
struct Stream {
    goes_on: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Stream {
    async fn start(url: &str, exchange: &'static str, routing_key: &'static str) -> Self {
        let client = AmqpClient::connect(url).await;
        let goes_on = Arc::new(AtomicBool::new(true));
        let more = Arc::clone(&goes_on);
        let task = tokio::spawn(async move {
            let mut n = 0;
            while more.load(Ordering::Relaxed) {
                client.publish(exchange, routing_key, body(n)).await;
                n += 1;
            }
            n
        });
        Self { goes_on, task }
    }

    /// How many there were.
    async fn end(self) -> usize {
        self.goes_on.store(false, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// Reads `count` more numbers, of which each must be one more than the last.
async fn in_order(source: &mut Source, next: &mut i64, count: usize) {
    for _ in 0..count {
        assert_eq!(source.next_n().await, *next);
        *next += 1;
    }
}

/// All that was published comes, each once, in order.
async fn all_of(source: &mut Source, mut next: i64, published: usize) {
    while next < i64::try_from(published).unwrap() {
        in_order(source, &mut next, 1).await;
    }
    nothing_more(source);
}

/// Whatever is on its way has arrived, and it was nothing.
fn nothing_more(source: &mut Source) {
    assert_eq!(source.lane.try_recv().map(|delivery| delivery.event.payload().to_vec()).ok(), None);
}

async fn change(source: &Source, amqp: &Amqp) -> Result<(), Vec<String>> {
    timeout(PATIENCE, source.broker.change(amqp.clone())).await.expect("a change ends")
}

fn exchange(name: &str, kind: &str) -> Exchange {
    let mut exchange = amqp("amqp://", "q").exchanges.remove(0);
    (exchange.name, exchange.kind) = (name.into(), kind.into());
    exchange
}

fn binding(exchange: &str, key: &str) -> Binding {
    Binding { exchange: exchange.into(), routing_key: key.into(), arguments: Vec::new() }
}

fn queue(name: &str, bind: Vec<Binding>) -> Queue {
    let mut queue = amqp("amqp://", name).queues.remove(0);
    queue.bind = bind;
    queue
}

#[tokio::test]
async fn what_is_new_is_there_and_nothing_else_notices() {
    let url = shared_vhost();
    let mut config = amqp(&url, "q");
    let mut source = Source::start(config.clone()).consuming().await;
    let stream = Stream::start(&url, "events", "").await;
    let mut next = 0;
    in_order(&mut source, &mut next, 50).await;
    config.exchanges.push(exchange("more", "topic"));
    config.queues.push(queue("r", vec![binding("more", "deal.*")]));
    assert_eq!(change(&source, &config).await, Ok(()));
    in_order(&mut source, &mut next, 50).await;
    let published = stream.end().await;
    all_of(&mut source, next, published).await;
    let client = AmqpClient::connect(&url).await;
    for n in 0..20 {
        client.publish("more", "deal.moved", body(n)).await;
    }
    all_of(&mut source, 0, 20).await;

    // Bindings come and go.
    config.queues[1].bind = vec![binding("more", "task.*")];
    assert_eq!(change(&source, &config).await, Ok(()));
    client.publish("more", "deal.moved", body(1)).await;
    client.publish("more", "task.done", body(2)).await;
    assert_eq!(source.next_n().await, 2);
    nothing_more(&mut source);
    assert_eq!(source.metrics.broker_connects().get(), 1);
}

#[tokio::test]
async fn a_queue_that_goes_with_the_process_is_emptied_first() {
    let url = shared_vhost();
    let mut config = amqp(&url, "q");
    config.queues.push(queue("gone", vec![binding("events", "")]));
    let mut plain = queue("lives on", vec![]);
    plain.auto_delete = false;
    config.queues.push(plain);
    config.queues[0].bind.clear();
    let mut source = Source::with_lane(config.clone(), 10).consuming().await;
    let client = AmqpClient::connect(&url).await;
    for n in 0..500 {
        client.publish("events", "", body(n)).await;
    }
    config.queues.truncate(1);
    let broker = &source.broker;
    let (changed, numbers) = tokio::join!(timeout(PATIENCE, broker.change(config)), async {
        let mut numbers = Vec::new();
        while numbers.len() < 500 {
            let delivery = timeout(PATIENCE, source.lane.recv()).await.unwrap().unwrap();
            numbers.push(delivery.event.payload().to_vec());
        }
        numbers
    });
    assert_eq!(changed.unwrap(), Ok(()));
    assert_eq!(numbers, (0..500).map(|n| body(n).into_bytes()).collect::<Vec<_>>());
    // Otherwise the broker would say that they are others.
    for name in ["gone", "lives on"] {
        client.declare_queue(name, true).await;
    }
    assert_eq!(*source.broker.state().borrow(), BrokerState::Consuming);
    assert_eq!(source.metrics.broker_connects().get(), 1);
}

#[tokio::test]
async fn a_queue_that_others_may_use_stays_and_what_was_held_of_it_is_settled() {
    let url = shared_vhost();
    let mut config = lasting(&url, "q");
    config.queues.push(queue("other", vec![]));
    let mut source = Source::start(config.clone()).consuming().await;
    let client = AmqpClient::connect(&url).await;
    client.publish("events", "", body(0)).await;
    let held = source.next().await;
    config.queues.remove(0);
    assert_eq!(change(&source, &config).await, Ok(()));
    client.publish("events", "", body(1)).await;
    assert_eq!(client.queue("q").await, (1, 0), "it is bound still, and nobody consumes it");
    assert_eq!(shared().unacknowledged(&url, "q"), 1);
    drop(held);
    eventually("acknowledged", || shared().unacknowledged(&url, "q") == 0, String::new).await;
    nothing_more(&mut source);
}

#[tokio::test]
async fn another_prefetch_holds_at_once_and_order_stays() {
    for config in [amqp, lasting] {
        let url = shared_vhost();
        let mut config = config(&url, "q");
        config.queues[0].prefetch = 10;
        let mut source = Source::start(config.clone()).consuming().await;
        let stream = Stream::start(&url, "events", "").await;
        let mut held = Vec::new();
        for n in 0..10 {
            held.push(source.next().await);
            assert_eq!(held[n].event.payload(), body(n).as_bytes());
        }
        config.queues[0].prefetch = 30;
        assert_eq!(change(&source, &config).await, Ok(()));
        for n in 10..40 {
            held.push(source.next().await);
            assert_eq!(held[n].event.payload(), body(n).as_bytes());
        }
        eventually("all are out", || shared().unacknowledged(&url, "q") == 40, String::new).await;
        nothing_more(&mut source);
        held.clear();
        let mut next = 40;
        for prefetch in [3, 300, 1, 50] {
            in_order(&mut source, &mut next, 40).await;
            config.queues[0].prefetch = prefetch;
            assert_eq!(change(&source, &config).await, Ok(()));
        }
        let published = stream.end().await;
        all_of(&mut source, next, published).await;
        eventually("acknowledged", || shared().unacknowledged(&url, "q") == 0, String::new).await;
        assert_eq!(source.metrics.broker_connects().get(), 1);
    }
}

#[tokio::test]
async fn a_change_that_was_given_up_is_not_made_later() {
    let url = shared_vhost();
    let mut config = lasting(&url, "q");
    let mut source = Source::with_lane(config.clone(), 1).consuming().await;
    let client = AmqpClient::connect(&url).await;
    for n in 0..300 {
        client.publish("", "q", body(n)).await;
    }
    // The lane is full, so nobody listens to what the consumer is told.
    let out = || shared().unacknowledged(&url, "q");
    eventually("as many are out as can be", || out() == 100, || out().to_string()).await;
    config.queues[0].prefetch = 7;
    let refused = change(&source, &config).await.unwrap_err();
    assert!(refused[0].contains("no answer within 5s"), "{refused:?}");
    for _ in 0..100 {
        drop(source.next().await);
    }
    let mut held = Vec::new();
    while held.len() < 100 {
        held.push(source.next().await);
    }
    assert_eq!(source.metrics.broker_connects().get(), 1);
}

#[tokio::test]
async fn acknowledgements_can_be_left_away_and_taken_up_again() {
    for config in [amqp, lasting] {
        let url = shared_vhost();
        let mut config = config(&url, "q");
        let mut source = Source::start(config.clone()).consuming().await;
        let stream = Stream::start(&url, "events", "").await;
        let mut next = 0;
        let mut held = Vec::new();
        for no_ack in [true, false, true, false] {
            in_order(&mut source, &mut next, 40).await;
            held.push(source.next().await);
            next += 1;
            config.queues[0].no_ack = no_ack;
            assert_eq!(change(&source, &config).await, Ok(()));
        }
        let published = stream.end().await;
        all_of(&mut source, next, published).await;
        // What was held when nothing was to be waited for any more is not waited for.
        eventually("settled", || shared().unacknowledged(&url, "q") == 0, String::new).await;
        let client = AmqpClient::connect(&url).await;
        client.publish("events", "", body(1)).await;
        let last = source.next().await;
        assert_eq!(shared().unacknowledged(&url, "q"), 1);
        drop(last);
        eventually("settled", || shared().unacknowledged(&url, "q") == 0, String::new).await;
        assert_eq!(source.metrics.broker_connects().get(), 1);
    }
}

#[tokio::test]
async fn what_cannot_be_changed_is_named_and_all_else_goes_on() {
    let url = shared_vhost();
    let mut config = lasting(&url, "q");
    let mut source = Source::start(config.clone()).consuming().await;
    let before = config.clone();
    config.exchanges[0].kind = "topic".into();
    config.queues[0].arguments = vec![("x-max-length".into(), Scalar::Int(7))];
    config.queues[0].prefetch = 7;
    config.exchanges.push(exchange("more", "fanout"));
    config.queues.push(queue("r", vec![binding("more", ""), binding("nowhere", "")]));
    config.queues.push(queue("s", vec![binding("more", "")]));
    let unapplied = change(&source, &config).await.unwrap_err();
    let expected = [
        ["exchange `events`", "PRECONDITION_FAILED", "delete it at the broker"],
        ["exchange `nowhere`", "NOT_FOUND", "amqp.exchanges"],
        ["queue `q`", "x-max-length", "used as it is"],
    ];
    for (reason, said) in unapplied.iter().zip(expected) {
        assert!(said.iter().all(|said| reason.contains(said)), "{said:?} are not in {reason}");
    }
    assert_eq!(unapplied.len(), 3, "{unapplied:#?}");
    let client = AmqpClient::connect(&url).await;
    client.publish("events", "", body(1)).await;
    client.publish("more", "", body(2)).await;
    assert_eq!((source.next_n().await, source.next_n().await), (1, 2));
    assert_eq!(source.metrics.broker_connects().get(), 1);
    client.declare_queue("r", true).await;
    client.delete_queue("r").await;

    // A new connection is refused the same, and goes on as the last one did.
    shared().cut(&url);
    let client = AmqpClient::connect(&url).await;
    eventually("connected again", || source.metrics.broker_connects().get() == 2, String::new).await;
    client.publish("events", "", body(3)).await;
    client.publish("more", "", body(4)).await;
    let both = [source.next_n().await, source.next_n().await];
    assert!(both == [3, 4] || both == [4, 3], "{both:?}");

    // The operator makes way for it, or takes it back.
    assert_eq!(change(&source, &config).await.unwrap_err().len(), 3);
    client.delete_exchange("events").await;
    config.queues.remove(1);
    config.queues[0].arguments = before.queues[0].arguments.clone();
    assert_eq!(change(&source, &config).await, Ok(()));
    client.publish("events", "", body(5)).await;
    assert_eq!(source.next_n().await, 5);
    assert_eq!(source.metrics.broker_connects().get(), 2);
}

#[tokio::test]
async fn who_may_not_declare_what_is_new_keeps_what_there_is() {
    let url = shared_vhost();
    let client = AmqpClient::connect(&url).await;
    client.declare_exchange("events", ExchangeKind::Fanout).await;
    client.declare_queue("q", true).await;
    client.bind("q", "events").await;
    let mut config = lasting(&url.replace("guest:guest", "reader:reader"), "q");
    config.exchanges.clear();
    (config.queues[0].passive, config.queues[0].bind) = (true, Vec::new());
    let mut source = Source::start(config.clone()).consuming().await;
    config.queues.push(queue("r", vec![]));
    let unapplied = change(&source, &config).await.unwrap_err();
    assert!(unapplied[0].contains("queue `r`") && unapplied[0].contains("set_permissions"), "{unapplied:?}");
    client.publish("events", "", body(1)).await;
    assert_eq!(source.next_n().await, 1);
}

#[tokio::test]
async fn another_vhost_is_connected_to_first_and_the_old_one_left_in_order() {
    for config in [amqp, lasting] {
        let (old, new) = (shared_vhost(), shared_vhost());
        let mut settings = config(&old, "q");
        let mut source = Source::with_lane(settings.clone(), 10).consuming().await;
        let client = AmqpClient::connect(&old).await;
        for n in 0..300 {
            client.publish("events", "", body(n)).await;
        }
        let is_exclusive = settings.queues[0].exclusive;
        settings.urls = vec![new.clone().into()];
        let (mut next, mut expected) = (0, 300);
        let broker = &source.broker;
        let changed = {
            let mut changing = std::pin::pin!(timeout(PATIENCE, broker.change(settings.clone())));
            loop {
                tokio::select! {
                    changed = &mut changing => break changed.unwrap(),
                    delivery = source.lane.recv() => {
                        assert_eq!(delivery.unwrap().event.payload(), body(next).as_bytes());
                        next += 1;
                    }
                }
            }
        };
        assert_eq!(changed, Ok(()));
        if !is_exclusive {
            // What the old one had not given out yet stays there.
            expected = 300 - client.queue("q").await.0 as usize;
        }
        let there = AmqpClient::connect(&new).await;
        there.publish("events", "", body(1000)).await;
        while next < expected {
            assert_eq!(source.next_n().await, i64::try_from(next).unwrap());
            next += 1;
        }
        assert_eq!(source.next_n().await, 1000);
        assert_eq!(source.metrics.broker_connects().get(), 2);
        source.until(|state| *state == BrokerState::Consuming).await;
        let gone = || shared().evaluate(&connections(&old)).contains(" 1}");
        eventually("only this test is connected to the old one", gone, String::new).await;
    }
}

/// A question for how many connections a vhost has.
fn connections(url: &str) -> String {
    let vhost = crate::support::rabbitmq::vhost_of(url);
    format!(
        r#"length([C || C <- rabbit_networking:connections(),
             [{{_, <<"{vhost}">>}}] <- [catch rabbit_networking:connection_info(C, [vhost])]]).
"#
    )
}

/// A question for how many channels a vhost has.
fn channels(url: &str) -> String {
    let vhost = crate::support::rabbitmq::vhost_of(url);
    format!(
        r#"length([C || C <- rabbit_channel:list(), [{{_, <<"{vhost}">>}}] <- [catch rabbit_channel:info(C, [vhost])]]).
"#
    )
}

#[tokio::test]
async fn the_connection_stays_where_another_cannot_be_had() {
    let url = shared_vhost();
    let config = amqp(&url, "q");
    let mut source = Source::start(config.clone()).consuming().await;
    let client = AmqpClient::connect(&url).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut number = 0;
    let mut check = async |urls: &[String], said: &[&str]| {
        let mut config = config.clone();
        config.urls = urls.iter().map(|url| url.clone().into()).collect();
        let unapplied = change(&source, &config).await.err().unwrap_or_default();
        assert_eq!(unapplied.is_empty(), said.is_empty(), "{unapplied:?}");
        let all = unapplied.join("\n");
        assert!(said.iter().all(|said| all.contains(said)) && !all.contains("s3cret"), "{said:?} are not in {all}");
        number += 1;
        client.publish("events", "", body(number)).await;
        assert_eq!(source.next_n().await, i64::try_from(number).unwrap());
        assert_eq!(source.metrics.broker_connects().get(), 1);
    };
    check(&[format!("amqp://ann:s3cret@{dead}")], &["refused", "stays until it is lost"]).await;
    check(&[format!("{url}x")], &["NOT_ALLOWED", "vhost"]).await;
    check(&[url.replace("guest:guest", "ann:s3cret")], &["ACCESS_REFUSED", "user name and password"]).await;
    check(&[url.replace("guest:guest", "reader:reader")], &[]).await;
    check(&[format!("amqp://ann:s3cret@{dead}"), url.clone()], &[]).await;
    check(std::slice::from_ref(&url), &[]).await;
}

#[tokio::test]
async fn the_same_broker_by_another_name_gets_a_new_connection_when_the_old_one_is_gone() {
    let url = shared_vhost();
    let mut config = amqp(&url, "q");
    let mut source = Source::start(config.clone()).consuming().await;
    config.urls = vec![url.replace("127.0.0.1", "localhost").into()];
    assert_eq!(change(&source, &config).await, Ok(()));
    assert_eq!(source.metrics.broker_connects().get(), 2);
    AmqpClient::connect(&url).await.publish("events", "", body(1)).await;
    assert_eq!(source.next_n().await, 1);
}

#[tokio::test]
async fn a_broker_that_is_lost_meanwhile_gets_what_has_changed_when_it_is_back() {
    let url = shared_vhost();
    let proxy = Proxy::start(shared().address());
    let through = url.replace(&shared().address().to_string(), &proxy.address().to_string()) + "?heartbeat=1";
    let mut config = lasting(&through, "q");
    let source = Source::start(config.clone()).consuming().await;
    config.exchanges.push(exchange("more", "fanout"));
    config.queues.push(queue("r", vec![binding("more", "")]));
    proxy.silence();
    assert_eq!(change(&source, &config).await, Ok(()), "the next connection declares it");
    source.until(|state| matches!(state, BrokerState::Lost { .. })).await;
    // While it is lost, too.
    config.queues.push(queue("s", vec![binding("more", "")]));
    assert_eq!(change(&source, &config).await, Ok(()));
    proxy.resume();
    let mut source = source.consuming().await;
    let client = AmqpClient::connect(&url).await;
    client.publish("more", "", body(1)).await;
    assert_eq!((source.next_n().await, source.next_n().await), (1, 1));
    client.publish("events", "", body(2)).await;
    assert_eq!(source.next_n().await, 2);
}

#[tokio::test]
async fn a_configuration_that_cannot_connect_is_mended_by_a_change() {
    let url = shared_vhost();
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let source = Source::start(amqp(&format!("amqp://{dead}"), "q"));
    source.lost(&["refused"]).await;
    assert_eq!(change(&source, &amqp(&url, "q")).await, Ok(()));
    let source = source.consuming().await;
    source.broker.stop().await;
    assert!(change(&source, &amqp(&url, "q")).await.unwrap_err()[0].contains("has ended"));
}

/// What is held when the ends of the last connections are over.
async fn at_rest() -> Held {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let (mut held, mut same) = (Held::now(), 0);
    while same < 50 {
        ticks.tick().await;
        let now = Held::now();
        same = if now == held { same + 1 } else { 0 };
        held = now;
    }
    held
}

#[test]
fn many_changes_leave_nothing_behind() {
    if alone("amqp::change::many_changes_leave_nothing_behind") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let url = shared_vhost();
            let mut config = amqp(&url, "q");
            let mut source = Source::start(config.clone()).consuming().await;
            let client = AmqpClient::connect(&url).await;
            // The client library starts one thread for the whole process when a connection is stopped, once.
            let mut other = config.clone();
            other.urls = vec![url.replace("guest:guest", "writer:s3cret-b").into()];
            for config in [&other, &config] {
                assert_eq!(change(&source, config).await, Ok(()));
            }
            let ask = || shared().evaluate(&channels(&url));
            let (before, channels) = (at_rest().await, ask());
            for n in 0..200_u16 {
                config.queues[0].prefetch = 1 + n % 7;
                config.queues[0].no_ack = n % 5 == 4;
                config.queues[0].bind.truncate(1);
                let longest = if n % 11 == 10 { 7 } else { 100_000 };
                config.queues[0].arguments = vec![("x-max-length".into(), Scalar::Int(longest))];
                config.queues.truncate(1);
                config.exchanges.truncate(1);
                if n % 2 == 0 {
                    config.exchanges.push(exchange("more", "fanout"));
                    config.queues[0].bind.push(binding("more", &n.to_string()));
                    config.queues.push(queue(&format!("r{n}"), vec![binding("more", "")]));
                }
                if n % 50 == 49 {
                    config.urls = vec![
                        url.replace("guest:guest", ["writer:s3cret-b", "guest:guest"][n as usize / 50 % 2]).into(),
                    ];
                }
                assert_eq!(change(&source, &config).await.is_err(), n % 11 == 10);
            }
            config.queues[0].arguments = vec![("x-max-length".into(), Scalar::Int(100_000))];
            config.queues[0].no_ack = false;
            config.queues.truncate(1);
            assert_eq!(change(&source, &config).await, Ok(()));
            before.again().await;
            eventually(&channels, || ask() == channels, ask).await;
            client.publish("events", "", body(1)).await;
            assert_eq!(source.next_n().await, 1);
            nothing_more(&mut source);
            assert_eq!(source.metrics.broker_connects().get(), 1);
            source.broker.stop().await;
        });
    }
}
