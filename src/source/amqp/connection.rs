//! One connection, from its first byte to its last: connect, declare, consume, and say why it ended.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::Stream;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::acknowledged::{self, Owed};
use super::endpoint::Endpoint;
use super::fault::{Fault, Step};
use super::feed::Feed;
use super::topology::{self, Consumed};
use super::unacknowledged;
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

/// Connects, calls `up`, and consumes until told to stop or until anything breaks.
///
/// Whatever it leaves behind ends with the event loop that it ran on.
pub(super) async fn run(endpoint: &Endpoint, amqp: &Amqp, name: &str, feed: &Feed, up: impl FnOnce()) -> End {
    let deadline = Instant::now() + CONNECT_WITHIN;
    let mut stop = feed.stop.clone();
    let connection = tokio::select! {
        biased;
        () = stop.requested() => return End::Stopped,
        connection = connect(endpoint, name, deadline) => match connection {
            Ok(connection) => connection,
            Err(fault) => return End::Lost(fault, None),
        },
    };
    let end = work(&connection, endpoint, amqp, feed, deadline, up).await;
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
    up: impl FnOnce(),
) -> End {
    let mut failure = pin!(failure(connection, endpoint));
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
    up();
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
    let fault = |ended| match ended {
        Ok((_, Break::Stop)) => None,
        Ok((queue, Break::Cancelled)) => Some(Fault::Cancelled(queue)),
        Ok((queue, Break::Channel(error))) => Some(Fault::refused(endpoint, &Step::Consumed(queue), &error)),
        Err(error) => Some(Fault::Local(tokio::task::JoinError::to_string(&error))),
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

async fn connect(endpoint: &Endpoint, name: &str, deadline: Instant) -> Result<Connection, Fault> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    match timeout_at(deadline, Connection::connect_uri(endpoint.uri(), properties)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Fault::refused(endpoint, &Step::Connecting, &error)),
        Err(_elapsed) => Err(Fault::silent(endpoint, &Step::Connecting, CONNECT_WITHIN)),
    }
}

/// Waits for the connection to fail.
async fn failure(connection: &Connection, endpoint: &Endpoint) -> Fault {
    let mut events = pin!(connection.events_listener());
    while let Some(event) = next(&mut events).await {
        if let Event::Error(error) = event {
            return Fault::refused(endpoint, &Step::Connected, &error);
        }
    }
    std::future::pending().await
}
