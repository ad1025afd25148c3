//! Consuming one queue, on a channel of its own: one consumer, and those that follow it when the queue's `prefetch` or
//! `no_ack` changes.
//!
//! A queue that goes with its last consumer must always have one, so the next one starts before the last one ends. Both
//! are on the same channel, whose deliveries the broker numbers in the order in which they were in the queue: what
//! came to either meanwhile is put in that order again, and nothing is lost, doubled, or overtaken.

use std::time::Duration;

use futures_util::FutureExt;
use lapin::message::Delivery;
use lapin::options::BasicCancelOptions;
use lapin::{Channel, Consumer};
use tokio::sync::{mpsc, oneshot};

use super::connection::{Break, next};
use super::feed::Feed;
use super::handed::Handed;
use super::taps::Tap;
use super::{acknowledged, topology, unacknowledged};

/// A queue that is consumed.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) feed: Feed,
    pub(super) tap: Tap,
    /// `None` for a queue that goes with its connection, or as long as it has never been consumed with acknowledgements:
    /// it gives out nothing again.
    pub(super) handed: Option<Handed>,
    /// How long the broker may believe a former connection to be alive, and hold deliveries for it.
    pub(super) held_for: Duration,
    pub(super) channel: Channel,
    pub(super) consumer: Consumer,
    pub(super) turns: mpsc::Receiver<Turn>,
    /// The number of the last delivery that was read. The channel numbers them from 1.
    pub(super) last: u64,
}

/// What is to become of a line.
#[derive(Debug)]
pub(super) enum Turn {
    /// Go on as this, and say when that is so.
    Switch(Box<Tap>, oneshot::Sender<()>),
    /// End for good, hand on all that has come, and say when that is done; then wait for what lanes hold.
    Retire(oneshot::Sender<()>),
}

impl Turn {
    /// The next turn that somebody waits for. One that was given up is passed over: its asker was told that it is not done,
    /// so it must not be done later.
    pub(super) async fn next(turns: &mut mpsc::Receiver<Self>) -> Option<Self> {
        loop {
            let turn = turns.recv().await?;
            let (Self::Switch(_, done) | Self::Retire(done)) = &turn;
            if !done.is_closed() {
                return Some(turn);
            }
        }
    }
}

/// Why consuming in one way has ended.
#[derive(Debug)]
pub(super) enum Left {
    /// For good.
    Over(Break),
    /// It goes on in the other way, with these first.
    Changed(Vec<Came>),
}

/// A delivery that came while one consumer followed another.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) delivery: Delivery,
    /// It came to one that acknowledges.
    pub(super) owed: bool,
}

impl Line {
    /// Consumes until told to stop or until something breaks.
    pub(super) async fn run(mut self) -> Break {
        let mut first = Vec::new();
        loop {
            let left = if self.tap.queue.no_ack {
                unacknowledged::consume(&mut self, first).await
            } else {
                acknowledged::consume(&mut self, first).await
            };
            match left {
                Left::Over(end) => return end,
                Left::Changed(came) => first = came,
            }
        }
    }

    /// Another consumer, by another tap, follows the one that is there. Answers all that came and was not read.
    pub(super) async fn follow(&mut self, tap: Tap) -> lapin::Result<Vec<Came>> {
        let next = topology::start_consumer(&self.channel, &tap.queue).await?;
        let mut former = std::mem::replace(&mut self.consumer, next);
        let owed = [!self.tap.queue.no_ack, !tap.queue.no_ack];
        self.adopt(tap);
        self.channel.basic_cancel(former.tag(), BasicCancelOptions::default()).await?;
        let mut came = Vec::new();
        for (consumer, owed) in [&mut former, &mut self.consumer].into_iter().zip(owed) {
            came.extend(rest(consumer)?.into_iter().map(|delivery| Came { delivery, owed }));
        }
        came.sort_by_key(|came| came.delivery.delivery_tag);
        Ok(came)
    }

    /// From now on it consumes by this tap.
    pub(super) fn adopt(&mut self, mut tap: Tap) {
        // The marks that it has already belong to the deliveries that are out.
        self.handed = self.handed.take().or(tap.handed.take());
        self.tap = tap;
    }

    /// Ends the consumer, and answers all that came and was not read.
    pub(super) async fn end(&mut self) -> lapin::Result<Vec<Delivery>> {
        self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await?;
        rest(&mut self.consumer)
    }
}

/// What has come to a consumer, and was not read.
fn rest(consumer: &mut Consumer) -> lapin::Result<Vec<Delivery>> {
    let mut came = Vec::new();
    while let Some(Some(delivery)) = next(consumer).now_or_never() {
        came.push(delivery?);
    }
    Ok(came)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_that_was_given_up_is_not_done_later() {
        let (tell, mut turns) = mpsc::channel(2);
        let (given_up, asker) = oneshot::channel();
        tell.send(Turn::Retire(given_up)).await.unwrap();
        drop(asker);
        let (waited_for, mut asker) = oneshot::channel();
        tell.send(Turn::Retire(waited_for)).await.unwrap();
        let Some(Turn::Retire(done)) = Turn::next(&mut turns).await else { panic!("a turn that somebody waits for") };
        done.send(()).unwrap();
        assert_eq!(asker.try_recv(), Ok(()));
        drop(tell);
        assert!(Turn::next(&mut turns).await.is_none());
    }
}
