//! Consuming a queue without acknowledgements: the broker sends as fast as it can, and forgets.
//!
//! The client's own queue has no bound, so this always reads it, whatever lanes do. What lanes do not take waits in a
//! bounded backlog, and when that is full the oldest is shed.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use lapin::options::BasicCancelOptions;
use tokio::time::{Instant, sleep_until};

use super::backlog::Backlog;
use super::connection::{Break, next};
use super::feed::Feed;
use super::topology::Consumed;
use crate::lane::{Delivery, Receipt};
use crate::observe::QueueMeter;
use crate::source::Intake;

/// At most one line in the log in this time.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Consumes until told to stop or until something breaks. After a stop what waits is handed on still.
pub(super) async fn consume(mut feed: Feed, consumed: Consumed, meter: &QueueMeter, queue: &str) -> Break {
    let Consumed { channel, mut consumer } = consumed;
    let mut waiting = Waiting::new(feed.intake.clone());
    let mut shedding = Shedding { unlogged: 0, log_at: Instant::now() };
    loop {
        let delivery = tokio::select! {
            biased;
            () = feed.stop.requested() => break,
            going = waiting.go_on(), if waiting.any() => {
                if going {
                    continue;
                }
                return Break::Stop;
            }
            () = sleep_until(shedding.log_at), if shedding.unlogged > 0 => {
                shedding.log(queue);
                continue;
            }
            delivery = next(&mut consumer) => delivery,
        };
        let delivery = match delivery {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Break::Channel(error),
            None => return Break::Cancelled,
        };
        meter.message();
        let bytes = delivery.data.len();
        if let Some(delivery) = feed.decode(delivery, Receipt::none()) {
            let shed = waiting.offer(delivery, bytes);
            feed.shed.inc_by(shed);
            shedding.unlogged += shed;
        }
        // Other tasks, the heartbeat among them, get their turn however fast the broker is.
        tokio::task::consume_budget().await;
    }
    channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.ok();
    while waiting.any() && waiting.go_on().await {}
    Break::Stop
}

/// What lanes have not taken yet: the one that is being sent, and those behind it.
struct Waiting {
    intake: Intake,
    sending: Option<Sending>,
    backlog: Backlog<Delivery>,
}

/// Answers `false` where the lanes have ended.
type Sending = Pin<Box<dyn Future<Output = bool> + Send>>;

impl Waiting {
    fn new(intake: Intake) -> Self {
        Self { intake, sending: None, backlog: Backlog::new() }
    }

    fn any(&self) -> bool {
        self.sending.is_some()
    }

    /// Hands an event to its lane, or lets it wait. Answers how many older ones were shed for it.
    fn offer(&mut self, delivery: Delivery, bytes: usize) -> u64 {
        if self.any() {
            return self.backlog.push(delivery, bytes);
        }
        self.try_send(delivery);
        0
    }

    /// Waits until the oldest is with its lane, and hands on what else goes without waiting. `false` where the lanes
    /// have ended. May be given up and called again.
    async fn go_on(&mut self) -> bool {
        if let Some(sending) = &mut self.sending {
            let sent = sending.await;
            self.sending = None;
            if !sent {
                return false;
            }
        }
        while let Some(delivery) = self.backlog.pop() {
            self.try_send(delivery);
            if self.any() {
                break;
            }
        }
        true
    }

    fn try_send(&mut self, delivery: Delivery) {
        if let Err(delivery) = self.intake.try_send(delivery) {
            let intake = self.intake.clone();
            self.sending = Some(Box::pin(async move { intake.send(delivery).await }));
        }
    }
}

/// What was shed and is not in the log yet.
struct Shedding {
    unlogged: u64,
    log_at: Instant,
}

impl Shedding {
    fn log(&mut self, queue: &str) {
        tracing::warn!(
            queue,
            events = self.unlogged,
            "lanes lag behind a queue without acknowledgements: oldest events shed"
        );
        *self = Self { unlogged: 0, log_at: Instant::now() + LOG_EVERY };
    }
}
