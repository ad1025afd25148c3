//! Consuming a queue with acknowledgements: what is not yet handed on stays the broker's.
//!
//! Where lanes are full this stops reading, and the prefetch bounds what the client's own queue holds meanwhile.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicCancelOptions};
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::acks::{Ack, AckWindow};
use super::connection::{Break, next};
use super::feed::Feed;
use super::handed::Handed;
use super::topology::Consumed;
use crate::lane::Receipt;
use crate::observe::QueueMeter;

/// When nothing more is settled for so long, what is settled is acknowledged.
const QUIET: Duration = Duration::from_millis(5);

/// Counts what came and is not acknowledged. What is still out when the connection goes is out no longer.
#[derive(Debug)]
pub(super) struct Owed {
    meter: QueueMeter,
    out: AtomicUsize,
}

impl Owed {
    /// Nothing yet.
    pub(super) fn new(meter: QueueMeter) -> Self {
        Self { meter, out: AtomicUsize::new(0) }
    }

    fn came(&self) {
        self.meter.message();
        self.meter.owed(1);
        self.out.fetch_add(1, Ordering::Relaxed);
    }

    fn acknowledged(&self, count: usize) {
        self.meter.owed_no_more(count);
        self.out.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.meter.owed_no_more(*self.out.get_mut());
    }
}

/// Consumes until told to stop or until something breaks. After a stop it waits for what lanes still hold.
pub(super) async fn consume(
    feed: Feed,
    handed: Option<Handed>,
    consumed: Consumed,
    owed: &Owed,
    prefetch: u16,
) -> Break {
    let Consumed { channel, mut consumer } = consumed;
    let tag = consumer.tag();
    // The broker has no more than the prefetch out, so there is always room for a receipt.
    let (settled, receipts) = mpsc::channel(usize::from(prefetch));
    let mut acknowledging = pin!(acknowledge(&channel, receipts, owed, prefetch));
    let end = tokio::select! {
        biased;
        // Without an error it ends only after reading has.
        told = &mut acknowledging => told.map_or_else(Break::Channel, |()| Break::Stop),
        end = read(feed, handed.as_ref(), &mut consumer, owed, settled) => end,
    };
    if matches!(end, Break::Stop) {
        // What cannot be told to the broker any more, it will find out.
        channel.basic_cancel(tag, BasicCancelOptions::default()).await.ok();
        acknowledging.await.ok();
    }
    end
}

/// Decodes and hands on, in order. `settled` goes with it: when reading has ended and all receipts are in, there is
/// nothing more to acknowledge.
async fn read(
    mut feed: Feed,
    handed: Option<&Handed>,
    consumer: &mut Consumer,
    owed: &Owed,
    settled: mpsc::Sender<u64>,
) -> Break {
    loop {
        let delivery = tokio::select! {
            biased;
            () = feed.stop.requested() => return Break::Stop,
            delivery = next(consumer) => delivery,
        };
        let delivery = match delivery {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Break::Channel(error),
            None => return Break::Cancelled,
        };
        owed.came();
        // Settled by its end, whatever becomes of it.
        let receipt = Receipt::new(delivery.delivery_tag, settled.clone());
        let seen = handed.map(|handed| {
            (handed, handed.mark(delivery.exchange.as_str(), delivery.routing_key.as_str(), &delivery.data))
        });
        if delivery.redelivered && seen.is_some_and(|(handed, mark)| handed.has(mark)) {
            feed.repeated.inc();
            continue;
        }
        if let Some(delivery) = feed.decode(delivery, receipt) {
            if !feed.intake.send(delivery).await {
                return Break::Stop;
            }
            if let Some((handed, mark)) = seen {
                handed.note(mark);
            }
        }
    }
}

/// Acknowledges what is settled, until nothing can be any more.
async fn acknowledge(
    channel: &Channel,
    mut settled: mpsc::Receiver<u64>,
    owed: &Owed,
    prefetch: u16,
) -> lapin::Result<()> {
    let (mut window, mut acks) = (AckWindow::new(prefetch), Vec::new());
    let mut open = true;
    while open || window.pending() {
        let tag = if window.pending() { timeout(QUIET, settled.recv()).await } else { Ok(settled.recv().await) };
        match tag {
            Ok(Some(tag)) => {
                window.settle(tag);
                while let Ok(tag) = settled.try_recv() {
                    window.settle(tag);
                }
                if !window.due() {
                    continue;
                }
            }
            Ok(None) => open = false,
            Err(_quiet) => {}
        }
        let flushed = window.flush(&mut acks);
        for ack in acks.drain(..) {
            let (tag, multiple) = match ack {
                Ack::UpTo(tag) => (tag, true),
                Ack::One(tag) => (tag, false),
            };
            channel.basic_ack(tag, BasicAckOptions { multiple }).await?;
        }
        owed.acknowledged(flushed);
    }
    Ok(())
}
