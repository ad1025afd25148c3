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
use super::line::{Came, Left, Line, Turn};
use crate::lane::{Delivery, Receipt};
use crate::source::Intake;

/// At most one line in the log in this time.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Consumes, these first, until told to stop or to go on with acknowledgements, or until something breaks. After a stop
/// what waits is handed on still.
pub(super) async fn consume(line: &mut Line, first: Vec<Came>) -> Left {
    let mut waiting = Waiting::new(line.feed.intake.clone());
    let mut shedding = Shedding { unlogged: 0, log_at: Instant::now() };
    for Came { delivery, .. } in first {
        shedding.unlogged += take(line, &mut waiting, delivery);
    }
    loop {
        let delivery = tokio::select! {
            biased;
            () = line.feed.stop.requested() => break,
            Some(turn) = Turn::next(&mut line.turns) => match follow(line, &mut waiting, turn).await {
                None => continue,
                Some(left) => return left,
            },
            going = waiting.go_on(), if waiting.any() => {
                if going {
                    continue;
                }
                return Left::Over(Break::Stop);
            }
            () = sleep_until(shedding.log_at), if shedding.unlogged > 0 => {
                shedding.log(&line.tap.queue.name);
                continue;
            }
            delivery = next(&mut line.consumer) => delivery,
        };
        match delivery {
            Some(Ok(delivery)) => shedding.unlogged += take(line, &mut waiting, delivery),
            Some(Err(error)) => return Left::Over(Break::Channel(error)),
            None => return Left::Over(Break::Cancelled),
        }
        // Other tasks, the heartbeat among them, get their turn however fast the broker is.
        tokio::task::consume_budget().await;
    }
    line.channel.basic_cancel(line.consumer.tag(), BasicCancelOptions::default()).await.ok();
    waiting.empty().await;
    Left::Over(Break::Stop)
}

/// Takes what came. Answers how many older events were shed for it.
fn take(line: &mut Line, waiting: &mut Waiting, delivery: lapin::message::Delivery) -> u64 {
    line.tap.meter.message();
    line.last = delivery.delivery_tag;
    let bytes = delivery.data.len();
    let Some(delivery) = line.feed.decode(delivery, Receipt::none()) else { return 0 };
    let shed = waiting.offer(delivery, bytes);
    line.feed.shed.inc_by(shed);
    shed
}

/// Does what the line is told. `None` where reading goes on.
async fn follow(line: &mut Line, waiting: &mut Waiting, turn: Turn) -> Option<Left> {
    match turn {
        // Nothing of it concerns who does not acknowledge.
        Turn::Switch(tap, done) if tap.queue.no_ack => {
            line.adopt(*tap);
            done.send(()).ok();
            None
        }
        Turn::Switch(tap, done) => match line.follow(*tap).await {
            Ok(came) => {
                done.send(()).ok();
                waiting.empty().await;
                Some(Left::Changed(came))
            }
            Err(error) => Some(Left::Over(Break::Channel(error))),
        },
        Turn::Retire(done) => match line.end().await {
            Ok(came) => {
                for delivery in came {
                    take(line, waiting, delivery);
                }
                waiting.empty().await;
                done.send(()).ok();
                line.channel.close(200, "OK".into()).await.ok();
                Some(Left::Over(Break::Retired))
            }
            Err(error) => Some(Left::Over(Break::Channel(error))),
        },
    }
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

    /// Waits until all is with the lanes, or these have ended.
    async fn empty(&mut self) {
        while self.any() && self.go_on().await {}
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
