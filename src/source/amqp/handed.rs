//! Deliveries that were handed on and that the broker may give out again.
//!
//! A queue that outlives a lost connection gives out again every delivery whose acknowledgement did not reach the broker,
//! and marks it as redelivered. A client must not get it twice. AMQP gives a redelivered message a new number and no
//! identity, so it is recognised by its content: a mark is the hash of exchange, routing key and body.
//!
//! A mark is kept from the moment when its event was handed on until the broker is known to have the acknowledgement.
//! That an acknowledgement was written proves nothing, because a connection may be lost with it under way: see
//! [`Proof`](super::proof::Proof). So:
//!
//! - Every delivery that was handed on and comes again has a mark. A dropped repeat is noted again under its new number, so
//!   that it is known also after the next loss.
//! - An acknowledged event leaves no mark, so that a later event with an equal body is not taken for it. One case stays
//!   open: the broker had the acknowledgement, the connection was lost before it could say so, and an equal body that was
//!   sent to this process and not handed on yet comes again. It is dropped, because at most once is what is promised.
//! - A broker that crashes may forget acknowledgements that it had. Nothing here can know of that.

use std::hash::BuildHasher;
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashMap};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Marks that are kept at most. Beyond it, those of former connections are forgotten: a link that is lost again and again
/// would leave some each time.
const MOST: usize = 4 * u16::MAX as usize;

/// How many deliveries of each mark may come again.
type Marks = HashMap<u64, u32>;

/// The marks that one consumer of a queue leaves to the next.
#[derive(Debug)]
pub(super) struct Legacy {
    marks: Marks,
    /// The legacy of the consumer before it, if that had not ended yet.
    former: Option<oneshot::Receiver<Legacy>>,
}

/// The deliveries of one queue that were handed on and may come again. Its owner is the queue's one consumer; when that
/// ends, in whatever way, the marks go to the next one.
#[derive(Debug)]
pub(super) struct Handed {
    /// Deliveries that this consumer or a former one handed on, and that have not come again since.
    marks: Marks,
    /// The deliveries of this connection, by their numbers, whose acknowledgement is not proven.
    out: HashMap<u64, Out>,
    /// How long the broker may hold deliveries for a former connection that it believes to be alive.
    held_for: Duration,
    /// Until then it may hold some. `None` if no mark comes from a former connection.
    held_until: Option<Instant>,
    /// The last delivery that the broker may have sent before it gave up what it held. `None` until one has come since.
    sent_before: Option<u64>,
    prefetch: usize,
    former: Option<oneshot::Receiver<Legacy>>,
    next: Option<oneshot::Sender<Legacy>>,
    /// Numbers of deliveries whose acknowledgement the broker has.
    proven: Option<mpsc::Receiver<Vec<u64>>>,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Copy, Debug)]
struct Out {
    mark: u64,
    /// It was dropped as a repeat. It answers for none on this connection, where an equal body that comes again is
    /// another event.
    is_repeat: bool,
}

impl Handed {
    /// For a consumer that follows another one, or that is the first. Returns also where it leaves its marks.
    pub(super) fn after(
        former: Option<oneshot::Receiver<Legacy>>,
        hasher: DefaultHashBuilder,
    ) -> (Self, oneshot::Receiver<Legacy>) {
        let (next, legacy) = oneshot::channel();
        let handed = Self {
            marks: Marks::new(),
            out: HashMap::new(),
            held_for: Duration::ZERO,
            held_until: None,
            sent_before: None,
            prefetch: 0,
            former,
            next: Some(next),
            proven: None,
            hasher,
        };
        (handed, legacy)
    }

    /// A consumer of this prefetch begins. Deliveries whose numbers come out of `proven` will not come again.
    pub(super) fn begin(&mut self, held_for: Duration, prefetch: u16, proven: mpsc::Receiver<Vec<u64>>) {
        self.forget_proven();
        (self.held_for, self.prefetch, self.proven) = (held_for, prefetch.into(), Some(proven));
        self.inherit();
    }

    /// Recognises a delivery.
    pub(super) fn mark(&self, exchange: &str, routing_key: &str, body: &[u8]) -> u64 {
        self.hasher.hash_one((exchange, routing_key, body))
    }

    /// Notes that the delivery of this number was handed on.
    pub(super) fn note(&mut self, tag: u64, mark: u64) {
        *self.marks.entry(mark).or_default() += 1;
        self.out.insert(tag, Out { mark, is_repeat: false });
        if self.marks.len() > MOST {
            self.forget_former();
        }
    }

    /// Whether the redelivered message of this number was handed on before. If so, it is noted as a repeat: it may come
    /// again after the next loss. Each mark answers for one.
    pub(super) fn is_repeat(&mut self, tag: u64, mark: u64) -> bool {
        self.forget_proven();
        self.inherit();
        let is_repeat = take(&mut self.marks, mark);
        if is_repeat {
            self.out.insert(tag, Out { mark, is_repeat });
        }
        is_repeat
    }

    /// The delivery of this number was never given out before. Queues give out redelivered messages first, so no repeat is
    /// left from former connections once the broker holds nothing for them any more. But up to a prefetch of deliveries
    /// may have been sent while it still held some, and have waited here.
    pub(super) fn is_new(&mut self, tag: u64) {
        self.forget_proven();
        if self.is_released() {
            let sent_before = *self.sent_before.get_or_insert(tag + self.prefetch as u64);
            if tag > sent_before {
                self.forget_former();
            }
        }
    }

    /// Whether the broker held deliveries for former connections, and holds none any more.
    fn is_released(&self) -> bool {
        self.held_until.is_some_and(|until| Instant::now() >= until)
    }

    /// Forgets the marks of former connections.
    fn forget_former(&mut self) {
        (self.held_until, self.sent_before) = (None, None);
        self.marks.clear();
        for out in self.out.values().filter(|out| !out.is_repeat) {
            *self.marks.entry(out.mark).or_default() += 1;
        }
    }

    fn forget_proven(&mut self) {
        let Some(proven) = &mut self.proven else { return };
        while let Ok(tags) = proven.try_recv() {
            for tag in tags {
                if let Some(Out { mark, is_repeat: false }) = self.out.remove(&tag) {
                    take(&mut self.marks, mark);
                }
            }
        }
    }

    /// Takes over the marks of consumers that have ended since.
    fn inherit(&mut self) {
        while let Some(former) = &mut self.former {
            match former.try_recv() {
                Ok(legacy) => {
                    if !legacy.marks.is_empty() {
                        (self.held_until, self.sent_before) = (Some(Instant::now() + self.held_for), None);
                    }
                    for (mark, count) in legacy.marks {
                        *self.marks.entry(mark).or_default() += count;
                    }
                    self.former = legacy.former;
                }
                Err(oneshot::error::TryRecvError::Empty) => break,
                Err(oneshot::error::TryRecvError::Closed) => self.former = None,
            }
        }
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        self.forget_proven();
        // All that could come again has come, if there was room for it.
        if self.is_released() && self.out.len() < self.prefetch {
            self.forget_former();
        }
        self.inherit();
        for out in self.out.values().filter(|out| out.is_repeat) {
            *self.marks.entry(out.mark).or_default() += 1;
        }
        if let Some(next) = self.next.take() {
            let legacy = Legacy { marks: std::mem::take(&mut self.marks), former: self.former.take() };
            // Nobody takes it if the queue is not consumed any more.
            next.send(legacy).ok();
        }
    }
}

/// Takes one of this mark. `false` if there is none.
fn take(marks: &mut Marks, mark: u64) -> bool {
    let Some(count) = marks.get_mut(&mark) else { return false };
    *count -= 1;
    if *count == 0 {
        marks.remove(&mark);
    }
    true
}

#[cfg(test)]
mod tests;
