//! What the broker refuses, and what happens when it cannot be reached. Brokers that go and come are the matter of
//! `broker_lost`.

use pointsman::config::{Amqp, WhenLost};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{PATIENCE, Source, amqp, body, lasting};
use crate::support::amqp_client::AmqpClient;
use crate::support::held::{Held, alone, eventually};
use crate::support::rabbitmq::shared_vhost;

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
    assert_eq!(source.metrics.broker_connects().get(), 2);
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
    if alone("amqp::broken::a_silent_peer_is_given_up_and_leaves_nothing_behind") {
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

/// Stops a source that waits for a silent peer. The first source starts one thread of the client library, with a socket, for
/// the whole process.
async fn warm_up(silent: &str) {
    let held = || format!("{:?}", Held::now());
    let before = Held::now();
    let source = Source::start(amqp(silent, "q"));
    eventually("connected", || Held::now().sockets > before.sockets + 2, held).await;
    source.broker.stop().await;
    let once = Held { threads: before.threads + 1, sockets: before.sockets + 1 };
    once.again().await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
