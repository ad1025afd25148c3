use proptest::prelude::*;

use bytes::Bytes;

use super::*;
use crate::config::WhenFull;

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
                let frame = batch.promised(frame.into());
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
    let limits = OutboxLimits { messages: 2, bytes: 100, when_full: WhenFull::Disconnect };
    let (mut outbox, mut batch) = (Outbox::default(), Batch::default());
    let mut chain = Chain::default();
    for length in [10, 10, 10] {
        let frame = batch.promised(vec![b'x'; length].into());
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

/// A frame of a test: its length, whether it is an event, and its number, in two bytes each, and then so many more.
fn numbered(number: u16, is_event: bool, more: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    for word in [6 + more, u16::from(is_event), number] {
        frame.extend_from_slice(&word.to_be_bytes());
    }
    frame.resize(usize::from(6 + more), b'.');
    frame
}

/// The frames that a stream of bytes is: number, and whether it is an event.
fn read(mut bytes: &[u8]) -> Vec<(u16, bool)> {
    let mut frames = Vec::new();
    while let Some((head, _)) = bytes.split_first_chunk::<6>() {
        let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        frames.push((word(4), word(2) == 1));
        let (frame, rest) = bytes.split_at(usize::from(word(0)));
        assert!(frame[6..].iter().all(|byte| *byte == b'.'), "a frame is whole");
        bytes = rest;
    }
    assert!(bytes.is_empty());
    frames
}

proptest! {
    #[test]
    fn the_oldest_events_go_and_what_is_left_is_bounded_whole_and_in_order(
        messages in 1..6_usize,
        bytes in 20..200_usize,
        rounds in prop::collection::vec(
            (
                prop::collection::vec((prop::bool::weighted(0.8), 0..60_u16), 0..8),
                prop::collection::vec(0..80_usize, 0..3),
                any::<bool>(),
            ),
            1..20,
        ),
    ) {
        let limits = OutboxLimits { messages, bytes, when_full: WhenFull::DropOldest };
        let (mut outbox, mut batch) = (Outbox::default(), Batch::default());
        let (mut sent, mut dropped, mut got) = (Vec::new(), 0, Vec::new());
        for (frames, takes, is_writable) in rounds {
            let mut chain = Chain::default();
            for (is_event, more) in frames {
                let number = u16::try_from(sent.len()).unwrap();
                let frame = Bytes::from(numbered(number, is_event, more));
                sent.push((number, is_event));
                let frame = if is_event { batch.event([frame].iter()).at(0) } else { batch.promised(frame) };
                batch.link(0, &mut chain, frame);
            }
            let mut socket = Socket { takes, got: Vec::new() };
            if is_writable {
                outbox.write(chain, &batch, &mut socket).unwrap();
            } else {
                outbox.keep(chain, &batch);
            }
            got.extend_from_slice(&socket.got);
            batch.clear();
            dropped += outbox.shed(limits);
            let Some(queue) = outbox.0.as_deref() else { continue };
            prop_assert_eq!(outbox.waiting().bytes, queue.frames.iter().map(|f| f.bytes.len()).sum::<usize>() - queue.written);
            let begun = usize::from(queue.written > 0);
            let is_bounded = queue.frames.len() <= messages && queue.bytes <= bytes || queue.frames.len() <= 1 + begun;
            prop_assert_eq!(is_bounded, !outbox.is_over(limits));
            // What is too much was promised, all of it: such a connection is closed.
            let last = queue.frames.len() - 1;
            prop_assert!(is_bounded || queue.frames.range(begun..last.max(begun)).all(|frame| !frame.is_event));
        }
        let mut socket = Socket { takes: vec![1 << 20; 1000], got: Vec::new() };
        outbox.write(Chain::default(), &batch, &mut socket).unwrap();
        got.extend_from_slice(&socket.got);
        let got = read(&got);
        prop_assert_eq!(got.len() + dropped, sent.len());
        prop_assert!(got.is_sorted_by(|one, next| one.0 < next.0), "{:?}", got);
        prop_assert_eq!(got.last(), sent.last(), "what came last is there");
        let promised = |frames: &[(u16, bool)]| frames.iter().filter(|frame| !frame.1).copied().collect::<Vec<_>>();
        prop_assert_eq!(promised(&got), promised(&sent));
    }
}

#[test]
fn the_newest_events_stay() {
    let limits = OutboxLimits { messages: 3, bytes: 1000, when_full: WhenFull::DropOldest };
    let (mut outbox, mut batch) = (Outbox::default(), Batch::default());
    let mut chain = Chain::default();
    for number in 0..1000 {
        let frame = Bytes::from(numbered(number, number != 7, 10));
        let frame = if number == 7 { batch.promised(frame) } else { batch.event([frame].iter()).at(0) };
        batch.link(0, &mut chain, frame);
    }
    let mut socket = Socket { takes: vec![20], got: Vec::new() };
    assert_eq!(outbox.write(chain, &batch, &mut socket).unwrap(), Progress::Blocked);
    assert_eq!(outbox.shed(limits), 996);
    assert!(outbox.0.as_deref().unwrap().frames.capacity() < 20);
    let mut socket = Socket { takes: vec![1000], got: socket.got };
    assert_eq!(outbox.write(Chain::default(), &batch, &mut socket).unwrap(), Progress::Done);
    // The first was whole, the second was begun; the eighth was promised.
    assert_eq!(read(&socket.got).into_iter().map(|(number, _)| number).collect::<Vec<_>>(), [0, 1, 7, 999]);
}
