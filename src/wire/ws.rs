//! A client's bytes to messages (RFC 6455), without a buffer of its own while nothing is unfinished.
//!
//! The shard reads all connections into one buffer and decodes in place. Only what a read leaves unfinished, a part of
//! a frame or the fragments of a message, is kept with the connection.

use std::borrow::Cow;
use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::CloseReason;

/// A whole message or control frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message.
    Binary,
    /// A ping, to be answered with the same bytes (at most 125).
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// The client closes, with this code (1005: without one).
    Close(u16),
}

/// What a client did wrong: the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// Against the protocol.
    Protocol(&'static str),
    /// Over the limit, told from the header alone.
    TooLarge,
    /// A text message, or a close reason, that is not UTF-8.
    NotUtf8,
}

impl From<WireError> for CloseReason {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Protocol(text) => Self::Protocol(text),
            WireError::TooLarge => Self::TooLarge,
            WireError::NotUtf8 => Self::NotUtf8,
        }
    }
}

/// What is unfinished on a connection.
#[derive(Debug, Default)]
pub struct Unfinished {
    /// Bytes read and not decoded yet: a part of a frame, or what came while the connection waits for an answer.
    pub bytes: Vec<u8>,
    /// The fragments of a message so far, and whether it is text.
    fragments: Option<(bool, Vec<u8>)>,
}

impl Unfinished {
    /// Whether nothing is unfinished, so that this need not be kept.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.fragments.is_none()
    }

    /// Decodes frames from the start of `input`, unmasking in place, up to the first whole message or control frame.
    /// Returns how many bytes are used up and what they were; `None` where `input` holds no further whole one.
    /// A message, its fragments together, is at most `limit` bytes long.
    pub fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        limit: usize,
    ) -> Result<(usize, Option<Incoming<'a>>), WireError> {
        let mut used = 0;
        loop {
            let Some((header, start, length)) = self.header(&input[used..], limit)? else { return Ok((used, None)) };
            let payload = used + start..used + start + length;
            if payload.end > input.len() {
                return Ok((used, None));
            }
            used = payload.end;
            if let Some(mask) = header.mask {
                unmask(&mut input[payload.clone()], mask);
            }
            let alone = header.is_final && header.opcode != OpCode::Data(Data::Continue);
            if alone {
                return whole(header.opcode, &input[payload]).map(|incoming| (used, Some(incoming)));
            }
            let begun = || (header.opcode == OpCode::Data(Data::Text), Vec::new());
            self.fragments.get_or_insert_with(begun).1.extend_from_slice(&input[payload]);
            if header.is_final {
                return self.assembled().map(|incoming| (used, Some(incoming)));
            }
        }
    }

    /// The next frame's header, where its payload begins, and how long that is; `None` where it is not there yet.
    fn header(&self, input: &[u8], limit: usize) -> Result<Option<(FrameHeader, usize, usize)>, WireError> {
        let mut cursor = Cursor::new(input);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| WireError::Protocol("reserved opcode"))?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let start = usize::try_from(cursor.position()).map_err(|_| WireError::TooLarge)?;
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(WireError::Protocol("reserved bits are set, and no extension was agreed on"));
        }
        let so_far = self.fragments.as_ref().map(|(_, bytes)| bytes.len());
        let room = match header.opcode {
            OpCode::Control(_) if !header.is_final => return Err(WireError::Protocol("a control frame in fragments")),
            OpCode::Control(_) if length > 125 => return Err(WireError::Protocol("a control frame over 125 bytes")),
            OpCode::Control(_) => 125,
            OpCode::Data(Data::Continue) => {
                let so_far = so_far.ok_or(WireError::Protocol("a continuation of nothing"))?;
                limit.saturating_sub(so_far)
            }
            OpCode::Data(_) if so_far.is_some() => {
                return Err(WireError::Protocol("a new message inside of a fragmented one"));
            }
            OpCode::Data(_) => limit,
        };
        let length = usize::try_from(length).ok().filter(|length| *length <= room).ok_or(WireError::TooLarge)?;
        // Last, so that a frame that is too long is told so whether it is masked or not.
        if header.mask.is_none() {
            return Err(WireError::Protocol("frames from a client are masked"));
        }
        Ok(Some((header, start, length)))
    }

    /// The message whose last fragment has come.
    fn assembled(&mut self) -> Result<Incoming<'static>, WireError> {
        let (text, bytes) = self.fragments.take().unwrap_or_default();
        if !text {
            return Ok(Incoming::Binary);
        }
        String::from_utf8(bytes).map(|text| Incoming::Text(text.into())).map_err(|_| WireError::NotUtf8)
    }
}

fn whole(opcode: OpCode, payload: &[u8]) -> Result<Incoming<'_>, WireError> {
    match opcode {
        OpCode::Data(Data::Text) => {
            std::str::from_utf8(payload).map(|text| Incoming::Text(text.into())).map_err(|_| WireError::NotUtf8)
        }
        OpCode::Data(_) => Ok(Incoming::Binary),
        OpCode::Control(Control::Ping) => Ok(Incoming::Ping(payload)),
        OpCode::Control(Control::Pong) => Ok(Incoming::Pong),
        OpCode::Control(_) => close_code(payload).map(Incoming::Close),
    }
}

fn close_code(payload: &[u8]) -> Result<u16, WireError> {
    match payload {
        [] => Ok(1005),
        [high, low, reason @ ..] => {
            std::str::from_utf8(reason).map_err(|_| WireError::NotUtf8)?;
            match u16::from_be_bytes([*high, *low]) {
                // RFC 6455, 7.4: what a peer may send. 1004 to 1006 and 1015 are for the inside of a program.
                code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(code),
                _ => Err(WireError::Protocol("a close code that may not be sent")),
            }
        }
        [_] => Err(WireError::Protocol("a close code is two bytes long")),
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 100;

    /// A masked frame: the first byte, then the payload.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut bytes = vec![first];
        match payload.len() {
            length @ 0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            length => {
                bytes.push(0xfe);
                bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            }
        }
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// Decodes all of `input`, fed in pieces of `piece` bytes, as the shard does.
    fn decode(input: &[u8], piece: usize) -> Result<Vec<String>, WireError> {
        let mut unfinished = Unfinished::default();
        let mut found = Vec::new();
        for piece in input.chunks(piece) {
            let mut bytes = std::mem::take(&mut unfinished.bytes);
            bytes.extend_from_slice(piece);
            let mut at = 0;
            loop {
                let (used, incoming) = unfinished.decode(&mut bytes[at..], LIMIT)?;
                let Some(incoming) = incoming else {
                    at += used;
                    break;
                };
                found.push(format!("{incoming:?}"));
                at += used;
            }
            unfinished.bytes = bytes.split_off(at);
        }
        Ok(found)
    }

    fn check(input: &[u8], expected: Result<&[&str], WireError>) {
        for piece in [1, 2, 3, 7, input.len().max(1)] {
            let found = decode(input, piece);
            let found = found.as_ref().map(|list| list.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(found, expected.as_ref().map(|list| list.to_vec()), "in pieces of {piece}: {input:?}");
        }
    }

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        check(&frame(0x81, b"hello"), Ok(&["Text(\"hello\")"]));
        check(&frame(0x81, b""), Ok(&["Text(\"\")"]));
        check(&frame(0x82, b"\x00"), Ok(&["Binary"]));
        check(&frame(0x81, "ü€".as_bytes()), Ok(&["Text(\"ü€\")"]));
        check(&[frame(0x89, b"p"), frame(0x8a, b"")].concat(), Ok(&["Ping([112])", "Pong"]));
        check(&frame(0x88, b"\x03\xe8bye"), Ok(&["Close(1000)"]));
        check(&frame(0x88, b""), Ok(&["Close(1005)"]));
    }

    #[test]
    fn fragments_are_joined_with_control_frames_between_them() {
        let euro = "€".as_bytes();
        let parts = [frame(0x01, &euro[..1]), frame(0x89, b""), frame(0x00, &euro[1..]), frame(0x80, b"!")];
        check(&parts.concat(), Ok(&["Ping([])", "Text(\"€!\")"]));
        check(&[frame(0x02, b"a"), frame(0x80, b"b")].concat(), Ok(&["Binary"]));
    }

    #[test]
    fn what_breaks_the_protocol_is_named() {
        let protocol = |text| Err(WireError::Protocol(text));
        check(&frame(0xc1, b""), protocol("reserved bits are set, and no extension was agreed on"));
        check(&frame(0x83, b""), protocol("reserved opcode"));
        check(&[0x81, 0x01, b'x'], protocol("frames from a client are masked"));
        check(&frame(0x09, b""), protocol("a control frame in fragments"));
        check(&frame(0x89, &[0; 126]), protocol("a control frame over 125 bytes"));
        check(&frame(0x80, b""), protocol("a continuation of nothing"));
        check(&[frame(0x01, b"a"), frame(0x81, b"b")].concat(), protocol("a new message inside of a fragmented one"));
        check(&frame(0x88, b"\x03"), protocol("a close code is two bytes long"));
        check(&frame(0x88, b"\x03\xed"), protocol("a close code that may not be sent"));
        check(&frame(0x81, b"\xff"), Err(WireError::NotUtf8));
        check(&[frame(0x01, b"\xe2"), frame(0x80, b"x")].concat(), Err(WireError::NotUtf8));
    }

    #[test]
    fn what_is_too_large_is_told_from_its_header() {
        let huge = [&[0x81, 0x80 | 127][..], &(1_u64 << 63).to_be_bytes(), &[0; 4]].concat();
        assert_eq!(decode(&huge, huge.len()), Err(WireError::TooLarge));
        assert_eq!(decode(&frame(0x81, &[b'x'; 101])[..8], 8), Err(WireError::TooLarge));
        assert_eq!(decode(&frame(0x81, &[b'x'; 100]), 200).map(|found| found.len()), Ok(1));
        let parts = [frame(0x01, &[b'x'; 60]), frame(0x80, &[b'x'; 41])].concat();
        assert_eq!(decode(&parts, parts.len()), Err(WireError::TooLarge));
    }
}
