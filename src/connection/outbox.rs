//! What waits to be written to a connection, and the batch that joins the frames of many events into one write.
//!
//! A shard takes all words that wait for it, notes for each connection which frames it gets, and then writes once to
//! each. The frames of a round and the notes are kept in a [`Batch`], shared by all connections and used again; a
//! connection holds two indices into it. Only what a socket does not take at once is kept with the connection, so that
//! an idle one holds nothing.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::config::OutboxLimits;

/// Slices handed to one vectored write: a few microseconds of copying, far below the system's bound of 1,024.
const SLICES: usize = 64;

/// Frames that a batch keeps room for: 128 KiB.
const KEPT_FRAMES: usize = 1 << 12;
/// Links that it keeps room for: 2 MiB, a broadcast to 250,000.
const KEPT_LINKS: usize = 1 << 18;

/// The frames of one round, and which connections get which.
#[derive(Debug, Default)]
pub struct Batch {
    frames: Vec<Bytes>,
    links: Vec<Link>,
    touched: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    frame: u32,
    next: u32,
}

/// A connection's frames of this round: the ends of a list in the batch.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    first: u32,
    last: u32,
}

/// The frames of one event in the batch.
#[derive(Clone, Copy, Debug)]
pub struct Variants {
    first: u32,
}

impl Variants {
    /// One of them, by its position among those that were taken.
    pub fn at(self, position: usize) -> u32 {
        self.first + index(position)
    }
}

const NONE: u32 = u32::MAX;

impl Default for Chain {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl Batch {
    /// Takes a frame into the round, for [`link`](Self::link) to give to connections.
    pub fn frame(&mut self, frame: Bytes) -> u32 {
        self.frames.push(frame);
        index(self.frames.len() - 1)
    }

    /// Takes the frames of one event into the round, of which a connection gets one.
    pub fn frames<'f>(&mut self, frames: impl Iterator<Item = &'f Bytes>) -> Variants {
        let first = index(self.frames.len());
        self.frames.extend(frames.cloned());
        Variants { first }
    }

    /// Gives a frame of the round to a connection, after those that it already gets.
    pub fn link(&mut self, connection: u32, chain: &mut Chain, frame: u32) {
        let link = index(self.links.len());
        self.links.push(Link { frame, next: NONE });
        if chain.first == NONE {
            chain.first = link;
            self.touched.push(connection);
        } else {
            self.links[chain.last as usize].next = link;
        }
        chain.last = link;
    }

    /// How many frames have been given out in this round.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The connections that get something, in the order in which they first did. One whose chain was taken and that
    /// then gets more stands here again.
    pub fn touched(&self, at: usize) -> Option<u32> {
        self.touched.get(at).copied()
    }

    /// Ends the round. Its room is kept for the next one, but what only a burst needs is let go.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.links.clear();
        self.touched.clear();
        self.frames.shrink_to(KEPT_FRAMES);
        self.links.shrink_to(KEPT_LINKS);
    }

    /// The frames of a chain, in order.
    fn chained(&self, chain: Chain) -> impl Iterator<Item = &Bytes> {
        let mut next = chain.first;
        std::iter::from_fn(move || {
            let link = self.links.get(next as usize)?;
            next = link.next;
            Some(&self.frames[link.frame as usize])
        })
    }

    fn skip(&self, chain: &mut Chain) {
        chain.first = self.links[chain.first as usize].next;
    }
}

fn index(length: usize) -> u32 {
    u32::try_from(length).expect("a round is far shorter than 2^32 frames")
}

/// What a socket has not taken yet. Holds nothing while there is nothing.
#[derive(Debug, Default)]
pub struct Outbox(Option<Box<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// How much of the first frame is written already.
    written: usize,
    /// The bytes of all frames, written or not.
    bytes: usize,
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

    /// Whether more waits than a connection may keep waiting. One frame alone may be larger than all that may wait:
    /// else it would close everyone who gets it, however fast they are.
    pub fn is_over(&self, limits: OutboxLimits) -> bool {
        let is_over = |queue: &Queue| match queue.frames.len() {
            0 | 1 => false,
            messages => messages > limits.messages || queue.bytes > limits.bytes,
        };
        self.0.as_deref().is_some_and(is_over)
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
            while let Some(frame) = batch.chained(chain).next().filter(|frame| taken + written >= frame.len()) {
                taken -= frame.len() - written;
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
            queue.bytes = queue.frames[0].len();
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
            let first = queue.frames.front().map(|frame| &frame[queue.written..]);
            let rest = queue.frames.iter().skip(1).map(|frame| &frame[..]);
            slices.extend(first.into_iter().chain(rest).take(SLICES).map(IoSlice::new));
        }
        let mut frames = batch.chained(chain);
        let first = frames.next().map(|frame| &frame[written..]);
        let frames = first.into_iter().chain(frames.map(|frame| &frame[..]));
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
        while let Some(frame) = queue.frames.front().filter(|frame| queue.written >= frame.len()) {
            queue.written -= frame.len();
            queue.bytes -= frame.len();
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
            queue.bytes += frame.len();
            queue.frames.push_back(frame.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A socket that takes as many bytes as it is told to at each write, then blocks.
    struct Socket {
        takes: Vec<usize>,
        got: Vec<u8>,
    }

    impl Write for Socket {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let takes = self.takes.pop().unwrap_or(0).min(bytes.len());
            self.got.extend_from_slice(&bytes[..takes]);
            if takes == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(takes) }
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let joined: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            self.write(&joined)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_however_the_socket_takes_them(
            rounds in prop::collection::vec(
                (prop::collection::vec(1..40_usize, 0..80), prop::collection::vec(0..600_usize, 0..4)),
                1..8,
            ),
        ) {
            let (mut outbox, mut batch) = (Outbox::default(), Batch::default());
            let (mut expected, mut got) = (Vec::new(), Vec::new());
            let mut mark = 0_u8;
            for (lengths, takes) in rounds {
                let mut chain = Chain::default();
                for length in lengths {
                    mark = mark.wrapping_add(1);
                    let frame = vec![mark; length];
                    expected.extend_from_slice(&frame);
                    let frame = batch.frame(frame.into());
                    batch.link(0, &mut chain, frame);
                }
                let mut socket = Socket { takes, got: Vec::new() };
                let progress = outbox.write(chain, &batch, &mut socket).unwrap();
                prop_assert_eq!(progress == Progress::Done, outbox.is_empty());
                got.extend_from_slice(&socket.got);
                batch.clear();
            }
            let mut socket = Socket { takes: vec![1 << 20; 1000], got: Vec::new() };
            prop_assert_eq!(outbox.write(Chain::default(), &batch, &mut socket).unwrap(), Progress::Done);
            got.extend_from_slice(&socket.got);
            prop_assert_eq!(got, expected);
            prop_assert!(outbox.is_empty());
        }
    }

    #[test]
    fn what_waits_is_bounded_and_can_be_cut_after_a_frame() {
        let limits = OutboxLimits { messages: 2, bytes: 100 };
        let (mut outbox, mut batch) = (Outbox::default(), Batch::default());
        let mut chain = Chain::default();
        for length in [10, 10, 10] {
            let frame = batch.frame(vec![b'x'; length].into());
            batch.link(0, &mut chain, frame);
        }
        let mut socket = Socket { takes: vec![4], got: Vec::new() };
        assert_eq!(outbox.write(chain, &batch, &mut socket).unwrap(), Progress::Blocked);
        assert!(outbox.is_over(limits));
        outbox.truncate();
        assert!(!outbox.is_over(limits));
        let mut socket = Socket { takes: vec![100], got: Vec::new() };
        assert_eq!(outbox.write(Chain::default(), &batch, &mut socket).unwrap(), Progress::Done);
        assert_eq!(socket.got, b"xxxxxx");
    }
}
