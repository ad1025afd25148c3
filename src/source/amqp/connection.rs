//! One connection, from its first byte to its last: connect, declare, consume, and say why it ended.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::Stream;
use lapin::tcp::AMQPUriTcpExt;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::acknowledged::{self, Owed};
use super::endpoint::Endpoint;
use super::fault::{Fault, Step};
use super::feed::Feed;
use super::topology::{self, Consumed};
use super::{tls, unacknowledged};
use crate::config::Amqp;

/// TCP, handshake and declarations take no longer than this.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// What lanes hold when consuming stops is waited for no longer than this.
const FINISH_WITHIN: Duration = Duration::from_secs(3);
/// Saying goodbye to the broker takes no longer than this.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// As asked.
    Stopped,
    /// For this reason, and how long it had been consuming: `None` where it never came so far.
    Lost(Fault, Option<Duration>),
}

/// What becomes known of a connection while it lives.
#[derive(Debug)]
pub(super) enum News {
    /// All is declared and consumed.
    Up,
    /// The broker is short of something, and takes nothing from this connection until it is not any more.
    Blocked(String),
    /// It takes again.
    Unblocked,
}

/// Why consuming one queue ended.
#[derive(Debug)]
pub(super) enum Break {
    /// As asked, or because there are no lanes any more.
    Stop,
    /// The broker cancelled the consumer.
    Cancelled,
    /// The channel, or the connection under it, has failed.
    Channel(lapin::Error),
}

/// Connects, and consumes until told to stop or until anything breaks. `tell` hears how it goes.
///
/// Whatever it leaves behind ends with the event loop that it ran on.
pub(super) async fn run(endpoint: &Endpoint, amqp: &Amqp, name: &str, feed: &Feed, tell: impl Fn(News)) -> End {
    let deadline = Instant::now() + CONNECT_WITHIN;
    let mut stop = feed.stop.clone();
    let connection = tokio::select! {
        biased;
        () = stop.requested() => return End::Stopped,
        connection = connect(endpoint, amqp, name, deadline) => match connection {
            Ok(connection) => connection,
            Err(fault) => return End::Lost(fault, None),
        },
    };
    let end = work(&connection, endpoint, amqp, feed, deadline, tell).await;
    // Also after most failures: a queue of ours alone is free for the next connection only when the broker knows.
    if connection.status().connected() {
        timeout(CLOSE_WITHIN, connection.close(200, "OK".into())).await.ok();
    }
    end
}

/// Declares, and consumes.
async fn work(
    connection: &Connection,
    endpoint: &Endpoint,
    amqp: &Amqp,
    feed: &Feed,
    deadline: Instant,
    tell: impl Fn(News),
) -> End {
    let up = Cell::new(false);
    let mut failure = pin!(failure(connection, endpoint, |news| if up.get() {
        tell(news);
    }));
    let mut stop = feed.stop.clone();
    let mut asked = Step::Opening;
    let declared = tokio::select! {
        biased;
        () = stop.requested() => return End::Stopped,
        // An answer says more than the failure that comes with it.
        declared = timeout_at(deadline, topology::declare(connection, endpoint, amqp, &mut asked)) => declared,
        fault = &mut failure => return End::Lost(fault, None),
    };
    let consumed = match declared {
        Ok(Ok(consumed)) => consumed,
        Ok(Err(fault)) => return End::Lost(fault, None),
        Err(_elapsed) => return End::Lost(Fault::silent(endpoint, &asked, CONNECT_WITHIN), None),
    };
    up.set(true);
    tell(News::Up);
    if connection.status().blocked() {
        tell(News::Blocked("it did not say of what".into()));
    }
    let since = Instant::now();
    tokio::select! {
        biased;
        fault = failure => End::Lost(fault, Some(since.elapsed())),
        fault = consume(endpoint, amqp, feed, consumed) => match fault {
            None => End::Stopped,
            Some(fault) => End::Lost(fault, Some(since.elapsed())),
        },
    }
}

/// Consumes all queues until told to stop, or until the first of them breaks.
async fn consume(endpoint: &Endpoint, amqp: &Amqp, feed: &Feed, consumed: Vec<Consumed>) -> Option<Fault> {
    let mut consumers = JoinSet::new();
    let by_queue = feed.handed.iter().zip(feed.meters.iter());
    for ((queue, consumed), (handed, meter)) in amqp.queues.iter().zip(consumed).zip(by_queue) {
        let (handed, meter) = (handed.clone(), meter.clone());
        let (feed, name, prefetch, no_ack) = (feed.clone(), queue.name.clone(), queue.prefetch, queue.no_ack);
        consumers.spawn(async move {
            let end = if no_ack {
                unacknowledged::consume(feed, consumed, &meter, &name).await
            } else {
                acknowledged::consume(feed, handed, consumed, &Owed::new(meter), prefetch).await
            };
            (name, end)
        });
    }
    let mut stop = feed.stop.clone();
    let fault = |ended: Result<(String, Break), JoinError>| match ended {
        Ok((_, Break::Stop)) => None,
        Ok((queue, Break::Cancelled)) => Some(Fault::cancelled(&queue)),
        Ok((queue, Break::Channel(error))) => Some(Fault::refused(endpoint, &Step::Consumed(queue), &error)),
        Err(error) => Some(Fault::local(error)),
    };
    tokio::select! {
        biased;
        () = stop.requested() => {}
        Some(ended) = consumers.join_next() => if let Some(fault) = fault(ended) {
            return Some(fault);
        },
    }
    // The other queues stop for the same reason, and finish what they have begun.
    timeout(FINISH_WITHIN, async { while consumers.join_next().await.is_some() {} }).await.ok();
    None
}

/// The next item of a stream.
pub(super) fn next<S: Stream + Unpin>(stream: &mut S) -> impl Future<Output = Option<S::Item>> {
    poll_fn(move |context| Pin::new(&mut *stream).poll_next(context))
}

async fn connect(endpoint: &Endpoint, amqp: &Amqp, name: &str, deadline: Instant) -> Result<Connection, Fault> {
    let tls = endpoint.tls().then(|| tls::connector(&amqp.tls)).transpose()?;
    let refused = |error| Fault::refused(endpoint, &Step::Connecting, &error);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let runtime = lapin::runtime::default_runtime().map_err(refused)?;
    let connecting = Connection::connector(
        endpoint.uri(),
        runtime,
        async move |uri, runtime| {
            let stream = AMQPUriTcpExt::connect_async(&uri, &runtime).await?;
            Ok(match &tls {
                Some(tls) => stream.into_rustls(tls, &uri.authority.host).await?,
                None => stream,
            })
        },
        properties,
    );
    match timeout_at(deadline, connecting).await {
        Ok(connection) => connection.map_err(refused),
        Err(_elapsed) => Err(Fault::silent(endpoint, &Step::Connecting, CONNECT_WITHIN)),
    }
}

/// Waits for the connection to fail, and passes on what it says until then.
async fn failure(connection: &Connection, endpoint: &Endpoint, tell: impl Fn(News)) -> Fault {
    let mut events = pin!(connection.events_listener());
    while let Some(event) = next(&mut events).await {
        match event {
            Event::ConnectionBlocked(reason) => tell(News::Blocked(reason)),
            Event::ConnectionUnblocked => tell(News::Unblocked),
            Event::Error(error) => return Fault::refused(endpoint, &Step::Connected, &error),
            _ => {}
        }
    }
    std::future::pending().await
}
