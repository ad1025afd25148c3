//! The back end: publishes events of all kinds at a steady rate, changes rights, and knows what the broker confirmed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::cast::{Queue, RECORDS, TENANTS, TOPICS, USERS, UserSet, tenant_name};
use crate::database;
use crate::ledger::{Change, Event, Fate, Number, Target};
use crate::people::Over;
use crate::weather::Weather;

/// Events a second.
pub(crate) const RATE: u32 = 300;
/// From one lot of events to the next.
const TICK: Duration = Duration::from_millis(20);
/// The exchange of all of them.
pub(crate) const EXCHANGE: &str = "events";
/// The broker's answer to anything is waited for no longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A confirm that does not come within this time never does.
const CONFIRM: Duration = Duration::from_mins(1);
/// Confirms that may be out: those of some minutes.
const OUT: usize = 100_000;
const PERSISTENT: u8 = 2;

/// The number of the next event. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter(Arc<AtomicU32>);

/// What the back end works with.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) broker: String,
    pub(crate) database: String,
    pub(crate) rng: fastrand::Rng,
    pub(crate) weather: Weather,
    pub(crate) counter: Counter,
    pub(crate) over: Over,
    pub(crate) events: Vec<Event>,
    pub(crate) changes: Vec<Change>,
}

/// A connection to the broker.
struct Link {
    channel: Channel,
    _connection: Connection,
}

impl Counter {
    pub(crate) fn next(&self) -> Number {
        self.0.load(Ordering::Acquire)
    }
}

impl Traffic {
    /// Publishes until it is over. Answers all events with their fates, and all changes of rights.
    pub(crate) async fn run(mut self) -> (Vec<Event>, Vec<Change>) {
        let (ask, mut asked) = mpsc::channel::<(Number, PublisherConfirm)>(OUT);
        let fates = tokio::spawn(async move {
            let mut fates = Vec::new();
            while let Some((number, confirm)) = asked.recv().await {
                let fate = match timeout(CONFIRM, confirm).await {
                    Ok(Ok(Confirmation::Ack(None))) => Fate::Confirmed,
                    Ok(Ok(Confirmation::Ack(Some(_)))) => Fate::Unroutable,
                    _ => Fate::Unknown,
                };
                fates.push((number, fate));
            }
            fates
        });
        let mut link = None;
        let mut ticks = interval(TICK);
        // What was missed while there was no broker is not made up for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*self.over.borrow() {
            ticks.tick().await;
            let Some(there) = &link else {
                link = Link::open(&self.broker).await;
                continue;
            };
            for _ in 0..RATE * u32::try_from(TICK.as_millis()).expect("few") / 1000 {
                if !self.publish(there, &ask).await {
                    link = None;
                    break;
                }
            }
        }
        drop(ask);
        for (number, fate) in fates.await.expect("it waits for confirms") {
            self.events[number as usize].fate = fate;
        }
        (self.events, self.changes)
    }

    /// One event more. `false` where the broker is gone.
    async fn publish(&mut self, link: &Link, ask: &mpsc::Sender<(Number, PublisherConfirm)>) -> bool {
        let (tenant, target) = self.choose().await;
        let number = self.counter.next();
        let queue = if target == Target::Everyone { Queue::Live } else { Queue::of(tenant) };
        let body = body(number, tenant, target).to_string();
        self.events.push(Event { tenant, target, published: Instant::now(), fate: Fate::Unknown });
        self.counter.0.store(number + 1, Ordering::Release);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let sent =
            link.channel.basic_publish(EXCHANGE.into(), queue.key().into(), options, body.as_bytes(), properties);
        match timeout(PATIENCE, sent).await {
            // Where too many confirms are out, this one is not asked for, and its event owed to nobody.
            Ok(Ok(confirm)) => ask.try_send((number, confirm)).map_or(true, |()| true),
            _ => false,
        }
    }

    async fn choose(&mut self) -> (u8, Target) {
        let tenant = self.rng.u8(..TENANTS);
        let target = match self.rng.u8(..100) {
            0..40 => Target::User(self.rng.u8(..USERS)),
            40..70 => Target::Topic(self.rng.u8(..TOPICS)),
            70..85 => Target::Record(self.rng.u8(..RECORDS)),
            85..98 => Target::Tenant,
            98 => Target::Everyone,
            // What tells of a change must not be lost, or nobody could say what is owed.
            _ if Queue::of(tenant) == Queue::Kept && self.weather.is_calm() => return self.change_rights(tenant).await,
            _ => Target::Tenant,
        };
        (tenant, target)
    }

    /// Changes who may see a record, in the database. The event that tells of it comes next.
    async fn change_rights(&mut self, tenant: u8) -> (u8, Target) {
        let (record, users, begun) = (self.rng.u8(..RECORDS), UserSet::random(&mut self.rng), Instant::now());
        let changed = timeout(PATIENCE, database::set_rights(&self.database, tenant, record, users)).await;
        // Where that failed nobody knows whether it was done.
        let told = matches!(changed, Ok(Ok(()))).then(|| self.counter.next());
        self.changes.push(Change { tenant, record, begun, told, users });
        (tenant, Target::Forget(record))
    }
}

impl Link {
    async fn open(url: &str) -> Option<Self> {
        let opening = async {
            let connection = Connection::connect(url, ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok::<_, lapin::Error>(Self { channel, _connection: connection })
        };
        timeout(PATIENCE, opening).await.ok()?.ok()
    }
}

/// What is published. The rules are in [`world`](crate::world).
fn body(number: Number, tenant: u8, target: Target) -> Value {
    let mut data = json!({ "n": number, "title": "A hundred and twenty office chairs, delivered in March" });
    let (kind, key, value) = match target {
        Target::User(user) => ("note.added", "user_id", json!(format!("u{user}"))),
        Target::Topic(topic) => ("deal.moved", "deal_id", json!(topic)),
        Target::Record(record) => ("record.changed", "record_id", json!(record)),
        Target::Forget(record) => ("rights.changed", "record_id", json!(record)),
        Target::Tenant => ("news", "urgent", json!(false)),
        Target::Everyone => ("notice", "urgent", json!(true)),
    };
    data["type"] = json!(kind);
    data[key] = value;
    if target == Target::Everyone {
        return json!({ "send_to_all": true, "data": data });
    }
    data["tenant_id"] = json!(tenant_name(tenant));
    json!({ "data": data })
}
