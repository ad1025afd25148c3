//! Consuming a queue with acknowledgements: what is not yet handed on stays the broker's.
//!
//! Where lanes are full this stops reading, and the prefetch bounds what the client's own queue holds meanwhile.

use std::pin::pin;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicCancelOptions};
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::time::{sleep, timeout};

use super::acks::{Ack, AckWindow};
use super::connection::{Break, next};
use super::feed::Feed;
use super::handed::Handed;
use super::line::{Came, Left, Line, Turn};
use crate::lane::{Delivery, Receipt};
use crate::observe::QueueMeter;

/// Deliveries that can be out at most: those of a consumer, and of some that it followed.
const OUT: usize = 1 << 20;
/// When nothing more is settled for so long, what is settled is acknowledged.
const QUIET: Duration = Duration::from_millis(5);
/// Events that are decoded before the first of them is handed on, where so many are there.
///
/// Each hand-over may wake a lane, and where threads share a core that takes it from this one: a burst that went event by
/// event would cost a switch of threads each.
const TOGETHER: usize = 64;

/// Counts what came and is not acknowledged. What is still out when the connection goes is out no longer.
#[derive(Debug)]
struct Owed {
    meter: QueueMeter,
    out: AtomicUsize,
}

impl Owed {
    /// Nothing yet.
    fn new(meter: QueueMeter) -> Self {
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

/// What reading tells acknowledging.
#[derive(Debug)]
struct Word {
    /// The consumer's prefetch.
    prefetch: AtomicU16,
    /// All deliveries up to this one are done with, whatever lanes still hold: nobody will ask. 0 while that is not so.
    settled: AtomicU64,
}

/// Consumes, these first, until told to stop or to go on without acknowledgements, or until something breaks. After a
/// stop it waits for what lanes still hold.
pub(super) async fn consume(line: &mut Line, first: Vec<Came>) -> Left {
    let owed = Owed::new(line.tap.meter.clone());
    // There is always room for a receipt.
    let (settled, receipts) = mpsc::channel(OUT);
    let prefetch = line.tap.queue.prefetch;
    let word = Word { prefetch: AtomicU16::new(prefetch), settled: AtomicU64::new(0) };
    let mut window = AckWindow::new(line.last + 1, prefetch);
    for came in first.iter().filter(|came| !came.owed) {
        window.skip(came.delivery.delivery_tag);
    }
    let channel = line.channel.clone();
    let mut acknowledging = pin!(acknowledge(&channel, window, receipts, &owed, &word));
    let mut left = tokio::select! {
        biased;
        // Without an error it ends only after reading has.
        told = &mut acknowledging => Left::Over(told.map_or_else(Break::Channel, |()| Break::Stop)),
        left = read(line, first, &owed, settled, &word) => left,
    };
    // What cannot be told to the broker any more, it will find out.
    match &mut left {
        Left::Over(Break::Stop) => {
            channel.basic_cancel(line.consumer.tag(), BasicCancelOptions::default()).await.ok();
            acknowledging.await.ok();
        }
        Left::Over(Break::Retired) => {
            acknowledging.await.ok();
            channel.close(200, "OK".into()).await.ok();
        }
        Left::Changed(came) => {
            acknowledging.await.ok();
            // The broker shall wait for nothing from now on.
            for came in came.iter_mut().filter(|came| came.owed) {
                channel.basic_ack(came.delivery.delivery_tag, BasicAckOptions::default()).await.ok();
                came.owed = false;
            }
        }
        Left::Over(_) => {}
    }
    left
}

/// Decodes and hands on, in order. `settled` goes with it: when reading has ended and all receipts are in, there is
/// nothing more to acknowledge.
async fn read(line: &mut Line, first: Vec<Came>, owed: &Owed, settled: mpsc::Sender<u64>, word: &Word) -> Left {
    if !hand_on(line, first, owed, &settled).await {
        return Left::Over(Break::Stop);
    }
    let mut decoded = Vec::with_capacity(TOGETHER);
    loop {
        let mut delivery = tokio::select! {
            biased;
            () = line.feed.stop.requested() => return Left::Over(Break::Stop),
            Some(turn) = line.turns.recv() => match follow(line, turn, owed, &settled, word).await {
                None => continue,
                Some(left) => return left,
            },
            delivery = next(&mut line.consumer) => Some(delivery),
        };
        let mut end = None;
        while let Some(next_one) = delivery {
            match next_one {
                Some(Ok(delivery)) => {
                    owed.came();
                    line.last = delivery.delivery_tag;
                    decoded.extend(decode(&line.feed, line.tap.handed.as_ref(), delivery, &settled));
                }
                Some(Err(error)) => end = Some(Break::Channel(error)),
                None => end = Some(Break::Cancelled),
            }
            let more = end.is_none() && decoded.len() < TOGETHER;
            delivery = if more { next(&mut line.consumer).now_or_never() } else { None };
        }
        for decoded in decoded.drain(..) {
            if !send(line, decoded).await {
                return Left::Over(Break::Stop);
            }
        }
        if let Some(end) = end {
            return Left::Over(end);
        }
    }
}

/// Does what the line is told. `None` where reading goes on.
async fn follow(line: &mut Line, turn: Turn, owed: &Owed, settled: &mpsc::Sender<u64>, word: &Word) -> Option<Left> {
    let broken = |error| Some(Left::Over(Break::Channel(error)));
    match turn {
        Turn::Switch(tap, done) => {
            let prefetch = tap.queue.prefetch;
            let came = match line.follow(tap).await {
                Ok(came) => came,
                Err(error) => return broken(error),
            };
            done.send(()).ok();
            if line.tap.queue.no_ack {
                if line.last > 0 {
                    word.settled.store(line.last, Ordering::Relaxed);
                    settled.try_send(line.last).ok();
                }
                return Some(Left::Changed(came));
            }
            word.prefetch.store(prefetch, Ordering::Relaxed);
            (!hand_on(line, came, owed, settled).await).then_some(Left::Over(Break::Stop))
        }
        Turn::Retire(done) => {
            let came = match line.end().await {
                Ok(came) => came.into_iter().map(|delivery| Came { delivery, owed: true }).collect(),
                Err(error) => return broken(error),
            };
            hand_on(line, came, owed, settled).await;
            done.send(()).ok();
            Some(Left::Over(Break::Retired))
        }
    }
}

/// Hands on what came while one consumer followed another. `false` where the lanes have ended.
async fn hand_on(line: &mut Line, came: Vec<Came>, owed: &Owed, settled: &mpsc::Sender<u64>) -> bool {
    for Came { delivery, owed: is_owed } in came {
        line.last = delivery.delivery_tag;
        let decoded = if is_owed {
            owed.came();
            decode(&line.feed, line.tap.handed.as_ref(), delivery, settled)
        } else {
            line.tap.meter.message();
            line.feed.decode(delivery, Receipt::none()).map(|delivery| (delivery, None))
        };
        if let Some(decoded) = decoded
            && !send(line, decoded).await
        {
            return false;
        }
    }
    true
}

/// Hands an event on, and notes that. `false` where the lanes have ended.
async fn send(line: &Line, (delivery, mark): (Delivery, Option<u64>)) -> bool {
    if !line.feed.intake.send(delivery).await {
        return false;
    }
    if let Some((handed, mark)) = line.tap.handed.as_ref().zip(mark) {
        handed.note(mark);
    }
    true
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
    mut window: AckWindow,
    mut settled: mpsc::Receiver<u64>,
    owed: &Owed,
    word: &Word,
) -> lapin::Result<()> {
    let (mut acks, mut open) = (Vec::new(), true);
    while open || window.pending() {
        let prefetch = word.prefetch.load(Ordering::Relaxed);
        window.adapt(prefetch);
        let tag = match nap(prefetch) {
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
        let all_up_to = word.settled.load(Ordering::Relaxed);
        if all_up_to > 0 {
            window.settle_up_to(all_up_to);
            open = false;
        }
        match tag {
            Ok(Some(tag)) => {
                window.settle(tag);
                while let Ok(tag) = settled.try_recv() {
                    window.settle(tag);
                }
                if open && !window.due() {
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
