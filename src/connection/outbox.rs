//! What waits to be written to a connection, for as long as its socket takes no more.
//!
//! Only what a socket does not take at once is kept with the connection, so that an idle one holds nothing.
//!
//! Invariant: bytes leave in the order in which they came, and a frame that has begun to leave leaves whole.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};

use smallvec::SmallVec;

use super::batch::{Batch, Chain, Frame};
use crate::config::OutboxLimits;

/// Slices handed to one vectored write: a few microseconds of copying, far below the system's bound of 1,024.
const SLICES: usize = 64;

/// What a socket has not taken yet. Holds nothing while there is nothing.
#[derive(Debug, Default)]
pub struct Outbox(Option<Box<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    /// How much of the first frame is written already.
    written: usize,
    /// The bytes of all frames, written or not.
    bytes: usize,
}

/// How much waits to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Frames, one that is partly written included.
    pub messages: usize,
    /// Bytes that are not written yet.
    pub bytes: usize,
}

/// How far a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything is written.
    Done,
    /// The socket takes no more now.
    Blocked,
}

impl Outbox {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How much waits.
    pub fn waiting(&self) -> Waiting {
        self.0.as_deref().map_or(Waiting::default(), |queue| Waiting {
            messages: queue.frames.len(),
            bytes: queue.bytes - queue.written,
        })
    }

    /// Whether more waits than a connection may keep waiting. One frame alone, beside one that is being written, may be
    /// larger than all that may wait: else it would close everyone who gets it, however fast they are.
    pub fn is_over(&self, limits: OutboxLimits) -> bool {
        self.0.as_deref().is_some_and(|queue| queue.is_over(limits))
    }

    /// Drops the oldest events until no more waits than may: not one that is partly written, nor what came last, nor
    /// what was promised. Answers how many. Where what is left is still too much, it [`is_over`](Self::is_over).
    pub fn shed(&mut self, limits: OutboxLimits) -> usize {
        let Some(queue) = &mut self.0 else { return 0 };
        let (mut at, mut dropped) = (usize::from(queue.written > 0), 0);
        while queue.is_over(limits) && at + 1 < queue.frames.len() {
            if queue.frames[at].is_event {
                let frame = queue.frames.remove(at);
                queue.bytes -= frame.map_or(0, |frame| frame.bytes.len());
                dropped += 1;
            } else {
                at += 1;
            }
        }
        if queue.frames.capacity() / 4 > queue.frames.len() {
            // What a burst needed does not stay.
            queue.frames.shrink_to(2 * queue.frames.len());
        }
        dropped
    }

    /// Writes what waits and then the frames of `chain`, as far as `socket` takes them, and keeps the rest.
    /// An error means that the connection is gone.
    pub fn write(&mut self, mut chain: Chain, batch: &Batch, socket: &mut impl Write) -> io::Result<Progress> {
        // How much of the chain's first frame is written.
        let mut written = 0;
        loop {
            let (result, offered) = self.write_once(chain, written, batch, socket);
            if offered == 0 {
                return Ok(Progress::Done);
            }
            let mut taken = match result {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => taken,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            // A write that falls short has filled the socket: asking again would only be told so.
            let blocked = taken < offered;
            self.advance(&mut taken);
            while let Some(frame) = batch.chained(chain).next().filter(|frame| taken + written >= frame.bytes.len()) {
                taken -= frame.bytes.len() - written;
                written = 0;
                batch.skip(&mut chain);
            }
            written += taken;
            if blocked {
                self.hold(chain, written, batch);
                return Ok(Progress::Blocked);
            }
        }
    }

    /// Keeps the frames of `chain` for later: the socket is known to take nothing now.
    pub fn keep(&mut self, chain: Chain, batch: &Batch) {
        self.hold(chain, 0, batch);
    }

    /// Throws away all that waits but the rest of a frame that is partly written, so that a last frame can follow it.
    pub fn truncate(&mut self) {
        let Some(queue) = &mut self.0 else { return };
        if queue.written == 0 {
            self.0 = None;
        } else {
            queue.frames.truncate(1);
            queue.frames.shrink_to_fit();
            queue.bytes = queue.frames[0].bytes.len();
        }
    }

    /// One write of as many slices as fit. Returns what the socket said, and how many bytes it was offered.
    fn write_once(
        &self,
        chain: Chain,
        written: usize,
        batch: &Batch,
        socket: &mut impl Write,
    ) -> (io::Result<usize>, usize) {
        let mut slices = SmallVec::<[IoSlice<'_>; SLICES]>::new();
        if let Some(queue) = &self.0 {
            let first = queue.frames.front().map(|frame| &frame.bytes[queue.written..]);
            let rest = queue.frames.iter().skip(1).map(|frame| &frame.bytes[..]);
            slices.extend(first.into_iter().chain(rest).take(SLICES).map(IoSlice::new));
        }
        let mut frames = batch.chained(chain);
        let first = frames.next().map(|frame| &frame.bytes[written..]);
        let frames = first.into_iter().chain(frames.map(|frame| &frame.bytes[..]));
        slices.extend(frames.take(SLICES - slices.len()).map(IoSlice::new));
        let offered = slices.iter().map(|slice| slice.len()).sum();
        match slices.as_slice() {
            [] => (Ok(0), 0),
            [one] => (socket.write(one), offered),
            several => (socket.write_vectored(several), offered),
        }
    }

    /// Takes off what was written, as far as it was the queue's; what remains of `taken` was the chain's.
    fn advance(&mut self, taken: &mut usize) {
        let Some(queue) = &mut self.0 else { return };
        queue.written += *taken;
        while let Some(frame) = queue.frames.front().filter(|frame| queue.written >= frame.bytes.len()) {
            queue.written -= frame.bytes.len();
            queue.bytes -= frame.bytes.len();
            queue.frames.pop_front();
        }
        if queue.frames.is_empty() {
            *taken = queue.written;
            self.0 = None;
        } else {
            *taken = 0;
        }
    }

    fn hold(&mut self, chain: Chain, written: usize, batch: &Batch) {
        for frame in batch.chained(chain) {
            let queue = self.0.get_or_insert_default();
            if queue.frames.is_empty() {
                queue.written = written;
            }
            queue.bytes += frame.bytes.len();
            queue.frames.push_back(frame.clone());
        }
    }
}

impl Queue {
    fn is_over(&self, limits: OutboxLimits) -> bool {
        let messages = self.frames.len();
        let exempt = 1 + usize::from(self.written > 0);
        messages > exempt && (messages > limits.messages || self.bytes > limits.bytes)
    }
}

#[cfg(test)]
mod tests;
