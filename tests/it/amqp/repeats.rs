//! At most once from a queue that outlives its connection: repeats are dropped, and nothing else is.

use std::net::SocketAddr;

use pointsman::observe::DropCause;

use super::{Source, body, lasting};
use crate::support::amqp_client::AmqpClient;
use crate::support::held::eventually;
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::{shared, shared_vhost};

/// A source behind a proxy, with a lasting queue `q`, and a back end that publishes to it.
struct World {
    url: String,
    proxy: Proxy,
    source: Source,
    back_end: AmqpClient,
}

impl World {
    async fn start(prefetch: u16, lane: usize) -> Self {
        let url = shared_vhost();
        let node: SocketAddr = shared().address();
        let proxy = Proxy::start(node);
        let through = url.replace(&node.to_string(), &proxy.address().to_string());
        let mut config = lasting(&through, "q");
        config.queues[0].prefetch = prefetch;
        let source = Source::with_lane(config, lane).consuming().await;
        let back_end = AmqpClient::connect(&url).await;
        Self { url, proxy, source, back_end }
    }

    async fn publish(&self, numbers: impl IntoIterator<Item = usize>) {
        for n in numbers {
            self.back_end.publish("", "q", body(n)).await;
        }
    }

    async fn gets(&mut self, numbers: impl IntoIterator<Item = i64>) {
        for n in numbers {
            assert_eq!(self.source.next_n().await, n);
        }
    }

    /// Waits until the broker waits for this many acknowledgements.
    async fn unacknowledged(&self, expected: usize) {
        let now = || shared().unacknowledged(&self.url, "q");
        eventually("that many unacknowledged", || now() == expected, || now().to_string()).await;
    }

    /// Loses the connection, and waits until the next one consumes.
    async fn reconnect(&self) {
        let connects = self.source.metrics.broker_connects();
        let before = connects.get();
        self.proxy.cut();
        eventually("connected again", || connects.get() == before + 1, || connects.get().to_string()).await;
    }

    async fn repeated(&self, expected: u64) {
        let repeated = self.source.metrics.drops(DropCause::repeated);
        eventually("that many repeats", || repeated.get() == expected, || repeated.get().to_string()).await;
    }
}

#[tokio::test]
async fn an_event_that_waits_is_known_again_however_many_have_passed_it() {
    let mut world = World::start(10, 1000).await;
    world.publish(0..21).await;
    let slow = world.source.next().await;
    world.gets(1..21).await;
    world.unacknowledged(1).await;
    world.reconnect().await;
    world.repeated(1).await;
    world.publish([100]).await;
    world.gets([100]).await;
    drop(slow);
}

#[tokio::test]
async fn an_event_is_known_again_after_each_of_several_losses() {
    let mut world = World::start(10, 1000).await;
    world.proxy.deafen_after(b"{\"n\":");
    world.publish(0..5).await;
    world.gets(0..5).await;
    for losses in 1..=3 {
        world.reconnect().await;
        world.repeated(5 * losses).await;
    }
    world.proxy.resume();
    world.reconnect().await;
    world.repeated(20).await;
    world.unacknowledged(0).await;
    world.publish([100]).await;
    world.gets([100]).await;
}

#[tokio::test]
async fn an_event_equal_to_an_acknowledged_one_is_not_taken_for_its_repeat() {
    let mut world = World::start(10, 1).await;
    world.publish([1]).await;
    world.gets([1]).await;
    world.unacknowledged(0).await;
    // The lane has room for the first of these; the second, and the third that equals the first event, wait before it.
    world.publish([2, 3, 1]).await;
    world.unacknowledged(3).await;
    world.reconnect().await;
    world.repeated(1).await;
    world.gets([2, 3, 1]).await;
    world.publish([4]).await;
    world.gets([4]).await;
}
