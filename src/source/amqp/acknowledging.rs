//! Acknowledging what is settled, beside the reading of a queue.

use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{OptionFuture, try_join_all};
use lapin::Channel;
use lapin::options::BasicAckOptions;
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::time::{sleep, timeout};

use super::acks::{Ack, AckWindow};
use super::proof::Proof;
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

    pub(super) fn came(&self) {
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

/// The state that the reader of a queue shares with its acknowledger.
#[derive(Debug)]
pub(super) struct Word {
    /// The consumer's prefetch.
    prefetch: AtomicU16,
    /// All deliveries up to this one are done with, whatever lanes still hold: nobody will ask. 0 while that is not so.
    settled: AtomicU64,
}

impl Word {
    /// For a consumer of this prefetch.
    pub(super) fn new(prefetch: u16) -> Self {
        Self { prefetch: AtomicU16::new(prefetch), settled: AtomicU64::new(0) }
    }

    /// The consumer has another prefetch from now on.
    pub(super) fn adapt(&self, prefetch: u16) {
        self.prefetch.store(prefetch, Ordering::Relaxed);
    }

    /// All deliveries up to this one are done with.
    pub(super) fn settle_up_to(&self, tag: u64) {
        self.settled.store(tag, Ordering::Relaxed);
    }
}

/// Acknowledges what is settled, until nothing can be any more.
pub(super) async fn acknowledge(
    channel: &Channel,
    mut window: AckWindow,
    mut settled: mpsc::Receiver<u64>,
    owed: &Owed,
    word: &Word,
    mut proof: Option<Proof>,
) -> lapin::Result<()> {
    let (mut acks, mut tags, mut open) = (Vec::new(), Vec::new(), true);
    while open || window.pending() {
        let prefetch = word.prefetch.load(Ordering::Relaxed);
        window.adapt(prefetch);
        let tag = tokio::select! {
            biased;
            Some(answered) = OptionFuture::from(proof.as_mut().map(|proof| proof.answered(channel))) => {
                answered?;
                continue;
            }
            tag = next_settled(&mut settled, window.pending(), prefetch) => tag,
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
        window.flush(&mut acks, &mut tags);
        // Together: behind a slow event each delivery has an acknowledgement of its own, and to wait until each is
        // written would cost two switches of threads for each.
        try_join_all(acks.drain(..).map(|ack| {
            let (tag, multiple) = match ack {
                Ack::UpTo(tag) => (tag, true),
                Ack::One(tag) => (tag, false),
            };
            channel.basic_ack(tag, BasicAckOptions { multiple })
        }))
        .await?;
        owed.acknowledged(tags.len());
        match &mut proof {
            Some(proof) => proof.written(channel, &mut tags),
            None => tags.clear(),
        }
    }
    Ok(())
}

/// The next delivery that is settled; none after the last one. An error if it is time to acknowledge what is `pending`. May
/// be given up and called again.
async fn next_settled(settled: &mut mpsc::Receiver<u64>, pending: bool, prefetch: u16) -> Result<Option<u64>, ()> {
    match nap(prefetch) {
        _ if !pending => Ok(settled.recv().await),
        Some(nap) => {
            sleep(nap).await;
            match settled.try_recv() {
                Ok(tag) => Ok(Some(tag)),
                Err(TryRecvError::Disconnected) => Ok(None),
                Err(TryRecvError::Empty) => Err(()),
            }
        }
        None => timeout(QUIET, settled.recv()).await.map_err(drop),
    }
}

/// How long to look away while receipts come in: one that is waited for wakes this thread, and takes the core from those
/// who deliver. `None` where the prefetch is so small that the broker would wait for acknowledgements meanwhile.
fn nap(prefetch: u16) -> Option<Duration> {
    const EACH: Duration = Duration::from_micros(5);
    let nap = (EACH * u32::from(prefetch)).min(QUIET);
    (nap >= Duration::from_millis(1)).then_some(nap)
}
