//! The broker: a real RabbitMQ of this run's own, on the load generator's core, and who publishes there.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::Outcome;
use crate::machine::Cores;
use crate::stats::now;
use crate::support::rabbitmq::Rabbit;
use crate::targeted::{Letter, Users};

/// Messages that a queue holds at most: what the shipped configuration says.
pub(crate) const LONGEST: i64 = 100_000;
/// What a consumer may have unacknowledged: what the shipped configuration says.
pub(crate) const PREFETCH: u16 = 1000;

/// How a consumer settles what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settling {
    /// By acknowledgements, each for many.
    Acknowledged,
    /// Not at all: the broker forgets what it has sent.
    NoAck,
}

/// The node. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Broker {
    url: String,
    exchanges: Cell<u32>,
    post: Post,
    _rabbit: Rabbit,
}

/// A publisher, with a thread of its own.
#[derive(Debug)]
pub(crate) struct Post {
    /// With confirms, and without.
    confirmed: Channel,
    plain: Channel,
    _connection: Connection,
    runtime: Runtime,
}

/// When each event was published, by number.
#[derive(Clone, Debug)]
pub(crate) struct Stamps {
    base: Instant,
    /// Nanoseconds since then.
    at: Arc<[AtomicU64]>,
}

impl Settling {
    /// As an argument.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::NoAck => "no_ack",
        }
    }

    pub(crate) fn parse(word: &str) -> Outcome<Self> {
        let known = [Self::Acknowledged, Self::NoAck].into_iter().find(|settling| settling.word() == word);
        known.ok_or_else(|| format!("a consumer cannot settle by `{word}`").into())
    }
}

impl Broker {
    /// Starts it, which takes some seconds.
    pub(crate) fn start(cores: Cores) -> Outcome<Self> {
        cores.beside()?;
        let rabbit = Rabbit::own();
        let url = rabbit.vhost();
        Ok(Self { post: Post::connect(&url)?, url, exchanges: Cell::new(0), _rabbit: rabbit })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A name that no exchange has had: one for each consumer, since a queue of one that has gone may live on a little.
    pub(crate) fn exchange(&self) -> String {
        self.exchanges.set(self.exchanges.get() + 1);
        format!("events-{}", self.exchanges.get())
    }

    pub(crate) fn post(&self) -> &Post {
        &self.post
    }
}

impl Post {
    fn connect(url: &str) -> Outcome<Self> {
        // Not the current thread: the connection lives on while nothing is published.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (connection, confirmed, plain) = runtime.block_on(async {
            let connection = Connection::connect(url, ConnectionProperties::default()).await?;
            let confirmed = connection.create_channel().await?;
            confirmed.confirm_select(ConfirmSelectOptions::default()).await?;
            let plain = connection.create_channel().await?;
            Ok::<_, lapin::Error>((connection, confirmed, plain))
        })?;
        Ok(Self { confirmed, plain, _connection: connection, runtime })
    }

    /// Publishes events of these numbers at once, and comes back when the broker has them all.
    pub(crate) fn fill(&self, exchange: &str, users: Users, numbers: Range<u64>) -> Outcome<()> {
        let mut letter = Letter::new();
        self.runtime.block_on(async {
            for number in numbers {
                publish(&self.confirmed, exchange, letter.write(number, users.of(number))).await?;
            }
            let returned = self.confirmed.wait_for_confirms().await?;
            if returned.is_empty() { Ok(()) } else { Err("events came back from the broker".into()) }
        })
    }

    /// Publishes events of these numbers, one every so often, on the publisher's thread.
    pub(crate) fn pace(
        &self,
        exchange: &str,
        users: Users,
        numbers: Range<u64>,
        every: Duration,
        stamps: &Stamps,
    ) -> JoinHandle<Outcome<()>> {
        let (channel, exchange, stamps) = (self.plain.clone(), exchange.to_owned(), stamps.clone());
        let mut letter = Letter::new();
        self.runtime.spawn(async move {
            let mut pace = tokio::time::interval(every);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for number in numbers {
                pace.tick().await;
                let body = letter.write(number, users.of(number));
                stamps.stamp(number)?;
                publish(&channel, &exchange, body).await?;
            }
            Ok(())
        })
    }

    /// Waits for what [`pace`](Self::pace) does.
    pub(crate) fn join(&self, pacing: JoinHandle<Outcome<()>>) -> Outcome<()> {
        self.runtime.block_on(pacing)?
    }
}

impl Stamps {
    /// For so many events.
    pub(crate) fn new(events: u64) -> Outcome<Self> {
        Ok(Self { base: now(), at: (0..usize::try_from(events)?).map(|_| AtomicU64::new(0)).collect() })
    }

    fn stamp(&self, number: u64) -> Outcome<()> {
        self.stamp_at(number, self.clock())
    }

    /// This event was published then, or should have been.
    pub(crate) fn stamp_at(&self, number: u64, nanoseconds: u64) -> Outcome<()> {
        self.of(number)?.store(nanoseconds, Ordering::Release);
        Ok(())
    }

    /// When this event was published.
    pub(crate) fn at(&self, number: u64) -> Outcome<u64> {
        Ok(self.of(number)?.load(Ordering::Acquire))
    }

    /// Nanoseconds since this event was published.
    pub(crate) fn age(&self, number: u64) -> Outcome<u64> {
        Ok(self.clock() - self.at(number)?)
    }

    fn of(&self, number: u64) -> Outcome<&AtomicU64> {
        Ok(self.at.get(usize::try_from(number)?).ok_or("an event that nobody published")?)
    }

    /// Now, in nanoseconds.
    pub(crate) fn clock(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).expect("less than 500 years")
    }
}

async fn publish(channel: &Channel, exchange: &str, body: &[u8]) -> Outcome<()> {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish(exchange.into(), "".into(), options, body, properties).await?;
    Ok(())
}
