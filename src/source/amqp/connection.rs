//! One connection, from its first byte to its last: connect, declare, consume, do what a change asks, and say why it
//! ended.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::Stream;
use lapin::protocol::AMQPErrorKind;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, ErrorKind, Event};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::change::{Asked, Refused};
use super::crew::Crew;
use super::endpoint::Endpoint;
use super::fault::{Fault, Step};
use super::feed::Feed;
use super::taps::Tap;
use super::topology::{self, Asking};
use super::{change, tls};
use crate::config::{AmqpTls, Exchange, Queue};

/// TCP, handshake and declarations take no longer than this.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// What lanes hold when consuming stops is waited for no longer than this.
const FINISH_WITHIN: Duration = Duration::from_secs(3);
/// Saying goodbye to the broker takes no longer than this.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What a connection is for.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) endpoint: Endpoint,
    pub(super) tls: AmqpTls,
    /// The broker knows it as this.
    pub(super) name: String,
    pub(super) exchanges: Vec<Exchange>,
    pub(super) taps: Vec<Tap>,
    /// Whether it may consume as soon as all is declared, or waits for the word.
    pub(super) waits: bool,
}

/// What a connection is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Consume, now that all is declared.
    Go,
    /// Do this, and go on.
    Change(Vec<Asked>),
    /// Of these queues, which are all that are consumed: hand on what has come, or waits in one that goes with this
    /// connection; then end.
    Leave(Vec<Queue>),
}

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
    /// All is declared.
    Ready,
    /// All is consumed.
    Up,
    /// The broker is short of something, and takes nothing from this connection until it is not any more.
    Blocked(String),
    /// It takes again.
    Unblocked,
    /// What a change asked is done, but for these.
    Changed(Vec<Refused>),
    /// As it was told to leave: nothing more comes of it.
    HandedOn,
    /// It is over.
    End(End),
}

/// Why consuming one queue ended.
#[derive(Debug)]
pub(super) enum Break {
    /// As asked, or because there are no lanes any more.
    Stop,
    /// As asked: this queue alone.
    Retired,
    /// The broker cancelled the consumer.
    Cancelled,
    /// The channel, or the connection under it, has failed.
    Channel(lapin::Error),
}

/// Connects, and consumes until told to stop or to leave, or until anything breaks. `tell` hears how it goes.
///
/// Whatever it leaves behind ends with the event loop that it ran on.
pub(super) async fn run(task: Task, feed: &Feed, mut orders: mpsc::Receiver<Order>, tell: &impl Fn(News)) -> End {
    let deadline = Instant::now() + CONNECT_WITHIN;
    let mut stop = feed.stop.clone();
    let connection = tokio::select! {
        biased;
        () = stop.requested() => return End::Stopped,
        connection = connect(&task, deadline) => match connection {
            Ok(connection) => connection,
            Err(fault) => return End::Lost(fault, None),
        },
    };
    let end = work(&connection, task, feed, &mut orders, deadline, tell).await;
    // Also after most failures: a queue of ours alone is free for the next connection only when the broker knows.
    if connection.status().connected() {
        timeout(CLOSE_WITHIN, connection.close(200, "OK".into())).await.ok();
    }
    end
}

/// Declares, and consumes.
async fn work(
    connection: &Connection,
    mut task: Task,
    feed: &Feed,
    orders: &mut mpsc::Receiver<Order>,
    deadline: Instant,
    tell: &impl Fn(News),
) -> End {
    let since = Cell::new(None);
    let taps = std::mem::take(&mut task.taps);
    let endpoint = &task.endpoint;
    let mut failure = pin!(failure(connection, endpoint, |news| if since.get().is_some() {
        tell(news);
    }));
    let mut stop = feed.stop.clone();
    let begun = begin(connection, &task, taps, feed, orders, deadline, tell);
    let mut crew = tokio::select! {
        biased;
        () = stop.requested() => return End::Stopped,
        // An answer says more than the failure that comes with it.
        begun = begun => match begun {
            Ok(Some(crew)) => crew,
            Ok(None) => return End::Stopped,
            Err(fault) => return End::Lost(fault, None),
        },
        fault = &mut failure => return End::Lost(fault, None),
    };
    let now = Instant::now();
    since.set(Some(now));
    tell(News::Up);
    if connection.status().blocked() {
        tell(News::Blocked("it did not say of what".into()));
    }
    tokio::select! {
        biased;
        fault = failure => End::Lost(fault, Some(now.elapsed())),
        fault = consume(connection, endpoint, feed, &mut crew, orders, tell) => match fault {
            None => End::Stopped,
            Some(fault) => End::Lost(fault, Some(now.elapsed())),
        },
    }
}

/// Declares, waits for the word where that is asked, and starts to consume. `None` where the word is not to.
async fn begin(
    connection: &Connection,
    task: &Task,
    taps: Vec<Tap>,
    feed: &Feed,
    orders: &mut mpsc::Receiver<Order>,
    deadline: Instant,
    tell: &impl Fn(News),
) -> Result<Option<Crew>, Fault> {
    let endpoint = &task.endpoint;
    let mut asked = Step::Opening;
    let mut asking = Asking { endpoint, step: &mut asked };
    let queues = taps.iter().map(|tap| &tap.queue);
    let declared = timeout_at(deadline, topology::declare(connection, &task.exchanges, queues, &mut asking)).await;
    let silent = |asked: &Step| Fault::silent(endpoint, asked, CONNECT_WITHIN);
    let channels = declared.unwrap_or_else(|_elapsed| Err(silent(&asked)))?;
    let mut crew = Crew::new(endpoint, feed.clone());
    let all: Vec<_> = taps.into_iter().zip(channels).collect();
    tell(News::Ready);
    let mut deadline = deadline;
    if task.waits {
        if !matches!(orders.recv().await, Some(Order::Go)) {
            return Ok(None);
        }
        deadline = Instant::now() + CONNECT_WITHIN;
    }
    let mut consumers = Vec::with_capacity(all.len());
    for (tap, channel) in &all {
        let mut asking = Asking { endpoint, step: &mut asked };
        let consumer = timeout_at(deadline, topology::consume(&mut asking, channel, &tap.queue)).await;
        consumers.push(consumer.unwrap_or_else(|_elapsed| Err(silent(&asked)))?);
    }
    for ((tap, channel), consumer) in all.into_iter().zip(consumers) {
        crew.add(tap, channel, consumer);
    }
    Ok(Some(crew))
}

/// Consumes all queues, and does what it is told, until told to stop, or until the first of them breaks.
async fn consume(
    connection: &Connection,
    endpoint: &Endpoint,
    feed: &Feed,
    crew: &mut Crew,
    orders: &mut mpsc::Receiver<Order>,
    tell: &impl Fn(News),
) -> Option<Fault> {
    let mut stop = feed.stop.clone();
    loop {
        let order = tokio::select! {
            biased;
            () = stop.requested() => break,
            fault = crew.ended() => match fault {
                None => break,
                fault => return fault,
            },
            Some(order) = orders.recv() => order,
        };
        let leaves = matches!(order, Order::Leave(_));
        let done = async {
            match order {
                Order::Change(asked) => tell(News::Changed(change::apply(connection, endpoint, crew, asked).await)),
                Order::Leave(queues) => change::leave(connection, endpoint, crew, &queues).await,
                Order::Go => {}
            }
        };
        tokio::select! {
            biased;
            () = stop.requested() => break,
            () = done => {}
        }
        if leaves {
            tell(News::HandedOn);
            break;
        }
    }
    // The other queues stop for the same reason, and finish what they have begun.
    timeout(FINISH_WITHIN, crew.all_ended()).await.ok();
    None
}

/// The next item of a stream.
pub(super) fn next<S: Stream + Unpin>(stream: &mut S) -> impl Future<Output = Option<S::Item>> {
    poll_fn(move |context| Pin::new(&mut *stream).poll_next(context))
}

async fn connect(task: &Task, deadline: Instant) -> Result<Connection, Fault> {
    let endpoint = &task.endpoint;
    let tls = endpoint.tls().then(|| tls::connector(&task.tls)).transpose()?;
    let refused = |error| Fault::refused(endpoint, &Step::Connecting, &error);
    let properties = ConnectionProperties::default().with_connection_name(task.name.as_str().into());
    let runtime = lapin::runtime::default_runtime().map_err(refused)?;
    let connecting = Connection::connector(
        endpoint.uri(),
        runtime,
        async move |uri, runtime| {
            // Blocks a thread of the client library that has nothing else to do yet. A resolver on another thread would be
            // a thread that may not start, and the library answers that with a panic.
            let authority = &uri.authority;
            let addresses: Vec<SocketAddr> = (authority.host.as_str(), authority.port).to_socket_addrs()?.collect();
            let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
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
            // What was refused concerns one channel. Who asked there is told.
            Event::Error(error) if is_of_a_channel(&error) => {}
            Event::Error(error) => return Fault::refused(endpoint, &Step::Connected, &error),
            _ => {}
        }
    }
    std::future::pending().await
}

/// Whether the broker closed a channel, and the connection goes on.
fn is_of_a_channel(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if matches!(error.kind(), AMQPErrorKind::Soft(_)))
}
