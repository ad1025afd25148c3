//! Consuming a queue with acknowledgements: what is not yet handed on stays the broker's.
//!
//! Where lanes are full this stops reading, and the prefetch bounds what the client's own queue holds meanwhile.

use std::pin::pin;

use futures_util::FutureExt;
use lapin::options::{BasicAckOptions, BasicCancelOptions};
use tokio::sync::mpsc;

use super::acknowledging::{Owed, Word, acknowledge};
use super::acks::AckWindow;
use super::connection::{Break, next};
use super::feed::Feed;
use super::handed::Handed;
use super::line::{Came, Left, Line, Turn};
use super::proof::Proof;
use crate::lane::{Delivery, Receipt};

/// Deliveries that can be out at most: those of a consumer, and of some that it followed.
const OUT: usize = 1 << 20;
/// Events that are decoded before the first of them is handed on, where so many are there.
///
/// Each hand-over may wake a lane, and where threads share a core that takes it from this one: a burst that went event by
/// event would cost a switch of threads each.
const TOGETHER: usize = 64;

/// Consumes, these first, until told to stop or to go on without acknowledgements, or until something breaks. After a
/// stop it waits for what lanes still hold.
pub(super) async fn consume(line: &mut Line, first: Vec<Came>) -> Left {
    let owed = Owed::new(line.tap.meter.clone());
    // There is always room for a receipt.
    let (settled, receipts) = mpsc::channel(OUT);
    let prefetch = line.tap.queue.prefetch;
    let word = Word::new(prefetch);
    let mut window = AckWindow::new(line.last + 1, prefetch);
    for came in first.iter().filter(|came| !came.owed) {
        window.skip(came.delivery.delivery_tag);
    }
    let channel = line.channel.clone();
    let held_for = line.held_for;
    let proof = line.handed.as_mut().map(|handed| {
        let (proven, proofs) = mpsc::channel(usize::from(u16::MAX));
        handed.begin(held_for, prefetch, proofs);
        Proof::new(proven)
    });
    let mut acknowledging = pin!(acknowledge(&channel, window, receipts, &owed, &word, proof));
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
            Some(turn) = Turn::next(&mut line.turns) => match follow(line, turn, owed, &settled, word).await {
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
                    decoded.extend(decode(&line.feed, line.handed.as_mut(), delivery, &settled));
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
            let came = match line.follow(*tap).await {
                Ok(came) => came,
                Err(error) => return broken(error),
            };
            done.send(()).ok();
            if line.tap.queue.no_ack {
                if line.last > 0 {
                    word.settle_up_to(line.last);
                    settled.try_send(line.last).ok();
                }
                return Some(Left::Changed(came));
            }
            word.adapt(prefetch);
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
            decode(&line.feed, line.handed.as_mut(), delivery, settled)
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

/// The number and the mark by which a delivery is noted.
type Note = Option<(u64, u64)>;

/// Hands an event on, and notes that. `false` where the lanes have ended.
async fn send(line: &mut Line, (delivery, note): (Delivery, Note)) -> bool {
    if !line.feed.intake.send(delivery).await {
        return false;
    }
    if let Some((handed, (tag, mark))) = line.handed.as_mut().zip(note) {
        handed.note(tag, mark);
    }
    true
}

/// The event, and what it is noted by. `None` where there is nothing to hand on: then it is settled already.
fn decode(
    feed: &Feed,
    handed: Option<&mut Handed>,
    delivery: lapin::message::Delivery,
    settled: &mpsc::Sender<u64>,
) -> Option<(Delivery, Note)> {
    // Settled by its end, whatever becomes of it.
    let tag = delivery.delivery_tag;
    let receipt = Receipt::new(tag, settled.clone());
    let Some(handed) = handed else { return Some((feed.decode(delivery, receipt)?, None)) };
    let mark = handed.mark(delivery.exchange.as_str(), delivery.routing_key.as_str(), &delivery.data);
    if !delivery.redelivered {
        handed.is_new(tag);
    } else if handed.is_repeat(tag, mark) {
        feed.repeated.inc();
        return None;
    }
    Some((feed.decode(delivery, receipt)?, Some((tag, mark))))
}
