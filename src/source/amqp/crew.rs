//! Those who consume the queues of one connection: a task each.

use std::collections::HashMap;

use lapin::{Channel, Consumer};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};

use super::connection::Break;
use super::endpoint::Endpoint;
use super::fault::{Fault, Step};
use super::feed::Feed;
use super::line::{Line, Turn};
use super::taps::Tap;

/// Heartbeats within which a broker notices that a connection is dead.
const HELD_FOR: u32 = 3;

/// The lines of one connection.
#[derive(Debug)]
pub(super) struct Crew {
    /// Where the broker is, for faults.
    place: Endpoint,
    feed: Feed,
    lines: JoinSet<(String, Break)>,
    /// Of each line that is not to end, by its queue: how it is told.
    known: HashMap<String, mpsc::Sender<Turn>>,
}

impl Crew {
    /// Nobody yet.
    pub(super) fn new(place: &Endpoint, feed: Feed) -> Self {
        Self { place: place.clone(), feed, lines: JoinSet::new(), known: HashMap::new() }
    }

    /// Somebody reads this consumer.
    pub(super) fn add(&mut self, mut tap: Tap, channel: Channel, consumer: Consumer) {
        let (tell, turns) = mpsc::channel(1);
        let (name, feed) = (tap.queue.name.clone(), self.feed.clone());
        self.known.insert(name.clone(), tell);
        let (handed, held_for) = (tap.handed.take(), HELD_FOR * self.place.heartbeat());
        let line = Line { feed, tap, handed, held_for, channel, consumer, turns, last: 0 };
        self.lines.spawn(async move { (name, line.run().await) });
    }

    /// The queue's line goes on as this tap says. `false` where it is over meanwhile.
    pub(super) async fn switch(&mut self, tap: Tap) -> bool {
        let Some(line) = self.known.get(&tap.queue.name) else { return false };
        let (done, is_done) = oneshot::channel();
        line.send(Turn::Switch(Box::new(tap), done)).await.is_ok() && is_done.await.is_ok()
    }

    /// The queue's line ends. Returns when all that came is handed on; what lanes hold of it is finished meanwhile.
    pub(super) async fn retire(&mut self, queue: &str) {
        let Some(line) = self.known.get(queue) else { return };
        let (done, is_done) = oneshot::channel();
        if line.send(Turn::Retire(done)).await.is_ok() {
            is_done.await.ok();
        }
        // Only when the line has ended: if the caller stops waiting, the line goes on and takes further turns.
        self.known.remove(queue);
    }

    /// Waits until a line is over that was not to be, and says why: `None` where all are to stop.
    pub(super) async fn ended(&mut self) -> Option<Fault> {
        loop {
            let Some(ended) = self.lines.join_next().await else { return std::future::pending().await };
            match ended {
                Ok((queue, Break::Retired)) if !self.known.contains_key(&queue) => {}
                // It was given up while it took its time, so the queue counts as consumed, and nobody consumes it.
                Ok((queue, Break::Retired)) => {
                    return Some(Fault::local(format!(
                        "the consumer of `{queue}` ended after its change was given up"
                    )));
                }
                ended => return self.fault(ended),
            }
        }
    }

    /// Waits until all lines are over.
    pub(super) async fn all_ended(&mut self) {
        while self.lines.join_next().await.is_some() {}
    }

    fn fault(&self, ended: Result<(String, Break), JoinError>) -> Option<Fault> {
        match ended {
            Ok((_, Break::Stop | Break::Retired)) => None,
            Ok((queue, Break::Cancelled)) => Some(Fault::cancelled(&queue)),
            Ok((queue, Break::Channel(error))) => Some(Fault::refused(&self.place, &Step::Consumed(queue), &error)),
            Err(error) => Some(Fault::local(error)),
        }
    }
}
