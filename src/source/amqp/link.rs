//! A connection on a thread of its own, from the outside: what it is told, and what it says.
//!
//! Invariant: each connection runs on an event loop of its own that ends with it, so that nothing of a connection
//! outlives it. The client library's own threads and sockets end only with the event loop that they were made on: one
//! that waits for a silent peer would stay for ever.

use std::io;

use secrecy::SecretString;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};

use super::connection::{self, End, News, Order, Task};
use super::endpoint::Endpoint;
use super::fault::Fault;
use super::feed::Feed;
use crate::config::AmqpTls;

/// What a connection has said and nobody has heard yet, at most. The supervisor hears all the time; should it not, a
/// broker that blocks and unblocks is told of no more.
const NEWS: usize = 64;

/// A connection that lives, or is being made. It stops when this is dropped.
#[derive(Debug)]
pub(super) struct Link {
    /// Where to.
    pub(super) endpoint: Endpoint,
    /// As it is configured.
    pub(super) url: SecretString,
    /// With this, where it is by TLS.
    pub(super) tls: AmqpTls,
    orders: mpsc::Sender<Order>,
    news: mpsc::Receiver<News>,
    stop: watch::Sender<bool>,
}

impl Link {
    /// Begins to connect.
    pub(super) fn start(url: SecretString, task: Task, feed: &Feed) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopping) = watch::channel(false);
        // One order is done before the next is given.
        let (orders, ordered) = mpsc::channel(2);
        let (say, news) = mpsc::channel(NEWS);
        let (feed, endpoint, tls) = (feed.until(stopping), task.endpoint.clone(), task.tls.clone());
        std::thread::Builder::new().name("amqp".into()).spawn(move || {
            let tell = |news| {
                say.try_send(news).ok();
            };
            let end = runtime.block_on(connection::run(task, &feed, ordered, &tell));
            runtime.shutdown_background();
            // Where nobody hears it, nobody wants to know.
            say.blocking_send(News::End(end)).ok();
        })?;
        Ok(Self { endpoint, url, tls, orders, news, stop })
    }

    /// What it says next.
    pub(super) async fn news(&mut self) -> News {
        self.news.recv().await.unwrap_or_else(|| News::End(End::Lost(Fault::local("its thread died"), None)))
    }

    /// Tells it something. It does not hear any more where it is about to say its end.
    pub(super) async fn order(&self, order: Order) {
        self.orders.send(order).await.ok();
    }

    /// Tells it to stop, finish what lanes hold, and close.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }
}
