//! Consuming a queue with acknowledgements: what is not yet handed on stays the broker's.
//!
//! Where lanes are full this stops reading, and the prefetch bounds what the client's own queue holds meanwhile.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use lapin::options::{BasicAckOptions, BasicCancelOptions};
use lapin::{Channel, Consumer};
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::time::{sleep, timeout};

use super::acks::{Ack, AckWindow};
use super::connection::{Break, next};
use super::feed::Feed;
use super::handed::Handed;
use super::topology::Consumed;
use crate::lane::{Delivery, Receipt};
use crate::observe::QueueMeter;

/// When nothing more is settled for so long, what is settled is acknowledged.
const QUIET: Duration = Duration::from_millis(5);
/// Events that are decoded before the first of them is handed on, where so many are there.
///
/// Each hand-over may wake a lane, and where threads share a core that takes it from this one: a burst that went event by
/// event would cost a switch of threads each.
const TOGETHER: usize = 64;

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
    let mut decoded = Vec::with_capacity(TOGETHER);
    loop {
        let mut delivery = tokio::select! {
            biased;
            () = feed.stop.requested() => return Break::Stop,
            delivery = next(consumer) => Some(delivery),
        };
        let mut end = None;
        while let Some(next_one) = delivery {
            match next_one {
                Some(Ok(delivery)) => {
                    owed.came();
                    decoded.extend(decode(&feed, handed, delivery, &settled));
                }
                Some(Err(error)) => end = Some(Break::Channel(error)),
                None => end = Some(Break::Cancelled),
            }
            let more = end.is_none() && decoded.len() < TOGETHER;
            delivery = if more { next(consumer).now_or_never() } else { None };
        }
        for (delivery, mark) in decoded.drain(..) {
            if !feed.intake.send(delivery).await {
                return Break::Stop;
            }
            if let Some((handed, mark)) = handed.zip(mark) {
                handed.note(mark);
            }
        }
        if let Some(end) = end {
            return end;
        }
    }
}

/// The event, and what it is known again by. `None` where there is nothing to hand on: then it is settled already.
fn decode(
    feed: &Feed,
    handed: Option<&Handed>,
    delivery: lapin::message::Delivery,
    settled: &mpsc::Sender<u64>,
) -> Option<(Delivery, Option<u64>)> {
    // Settled by its end, whatever becomes of it.
    let receipt = Receipt::new(delivery.delivery_tag, settled.clone());
    let (exchange, routing_key) = (delivery.exchange.as_str(), delivery.routing_key.as_str());
    let mark = handed.map(|handed| handed.mark(exchange, routing_key, &delivery.data));
    if delivery.redelivered && handed.zip(mark).is_some_and(|(handed, mark)| handed.has(mark)) {
        feed.repeated.inc();
        return None;
    }
    Some((feed.decode(delivery, receipt)?, mark))
}

/// Acknowledges what is settled, until nothing can be any more.
async fn acknowledge(
    channel: &Channel,
    mut settled: mpsc::Receiver<u64>,
    owed: &Owed,
    prefetch: u16,
) -> lapin::Result<()> {
    let (mut window, mut acks) = (AckWindow::new(prefetch), Vec::new());
    let (mut open, nap) = (true, nap(prefetch));
    while open || window.pending() {
        let tag = match nap {
            _ if !window.pending() => Ok(settled.recv().await),
            Some(nap) => {
                sleep(nap).await;
                match settled.try_recv() {
                    Ok(tag) => Ok(Some(tag)),
                    Err(TryRecvError::Disconnected) => Ok(None),
                    Err(TryRecvError::Empty) => Err(()),
                }
            }
            None => timeout(QUIET, settled.recv()).await.map_err(drop),
        };
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
            Err(()) => {}
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

/// How long to look away while receipts come in: one that is waited for wakes this thread, and takes the core from those
/// who deliver. `None` where the prefetch is so small that the broker would wait for acknowledgements meanwhile.
fn nap(prefetch: u16) -> Option<Duration> {
    const EACH: Duration = Duration::from_micros(5);
    let nap = (EACH * u32::from(prefetch)).min(QUIET);
    (nap >= Duration::from_millis(1)).then_some(nap)
}
