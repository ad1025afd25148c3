//! The frames of one round, and which connections get which: what joins the frames of many events into one write.
//!
//! A shard takes all words that wait for it, notes for each connection which frames it gets, and then writes once to
//! each. The frames of a round and the notes are kept here, shared by all connections and used again; a connection
//! holds two indices.

use bytes::Bytes;

/// Frames that a batch keeps room for: 128 KiB.
const KEPT_FRAMES: usize = 1 << 12;
/// Links that it keeps room for: 2 MiB, a broadcast to 250,000.
const KEPT_LINKS: usize = 1 << 18;

/// The frames of one round, and which connections get which.
#[derive(Debug, Default)]
pub struct Batch {
    frames: Vec<Frame>,
    links: Vec<Link>,
    touched: Vec<u32>,
}

/// Bytes to be written whole.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    /// It may be dropped, where a connection takes them slowly.
    pub(super) is_event: bool,
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
    /// Takes a frame that was promised into the round, for [`link`](Self::link) to give to connections: an answer, a
    /// system message, or a control frame.
    pub fn promised(&mut self, bytes: Bytes) -> u32 {
        self.frames.push(Frame { bytes, is_event: false });
        index(self.frames.len() - 1)
    }

    /// Takes the frames of one event into the round, of which a connection gets one.
    pub fn event<'f>(&mut self, frames: impl Iterator<Item = &'f Bytes>) -> Variants {
        let first = index(self.frames.len());
        self.frames.extend(frames.map(|bytes| Frame { bytes: bytes.clone(), is_event: true }));
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
    pub(super) fn chained(&self, chain: Chain) -> impl Iterator<Item = &Frame> {
        let mut next = chain.first;
        std::iter::from_fn(move || {
            let link = self.links.get(next as usize)?;
            next = link.next;
            Some(&self.frames[link.frame as usize])
        })
    }

    /// Takes the first frame off a chain.
    pub(super) fn skip(&self, chain: &mut Chain) {
        chain.first = self.links[chain.first as usize].next;
    }
}

fn index(length: usize) -> u32 {
    u32::try_from(length).expect("a round is far shorter than 2^32 frames")
}
