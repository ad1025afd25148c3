//! A client's bytes to messages (RFC 6455), without a buffer of its own while nothing is unfinished.
//!
//! The shard reads all connections into one buffer and decodes in place. Only what a read leaves unfinished, a part of
//! a frame or the fragments of a message, is kept with the connection.

use std::borrow::Cow;
use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::CloseReason;
use super::utf8::Utf8;

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
    /// Checks a text message while it is unfinished.
    utf8: Utf8,
    /// How many payload bytes of the first frame in `bytes`, a frame of text that is not whole, are unmasked and checked.
    checked: usize,
}

impl Unfinished {
    /// Whether nothing is unfinished, so that this need not be kept.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.fragments.is_none()
    }

    /// Decodes frames from the start of `input`, unmasking in place, up to the first whole message or control frame.
    /// Returns how many bytes are used up and what they were; `None` if `input` holds no further whole one. The caller
    /// keeps the other bytes as they are now, and passes them again with what follows.
    /// A message, its fragments together, is at most `limit` bytes long. Text is refused at its first byte that cannot
    /// be UTF-8, whether its message or frame is whole or not.
    pub fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        limit: usize,
    ) -> Result<(usize, Option<Incoming<'a>>), WireError> {
        let mut used = 0;
        loop {
            let Some((header, start, length)) = self.header(&input[used..], limit)? else { return Ok((used, None)) };
            let payload = used + start..used + start + length;
            let is_text = match header.opcode {
                OpCode::Data(Data::Continue) => self.fragments.as_ref().is_some_and(|(is_text, _)| *is_text),
                opcode => opcode == OpCode::Data(Data::Text),
            };
            let mask = header.mask.unwrap_or_default();
            if payload.end > input.len() {
                if is_text {
                    self.check(&mut input[payload.start..], mask)?;
                }
                return Ok((used, None));
            }
            used = payload.end;
            let alone = header.is_final && header.opcode != OpCode::Data(Data::Continue);
            if alone && self.checked == 0 {
                // Nearly all frames: whole in one read, and a message.
                unmask(&mut input[payload.clone()], mask, 0);
                return whole(header.opcode, &input[payload]).map(|incoming| (used, Some(incoming)));
            }
            if is_text {
                self.check(&mut input[payload.clone()], mask)?;
                self.checked = 0;
            } else {
                unmask(&mut input[payload.clone()], mask, 0);
            }
            if header.is_final {
                // A last character that is not whole is found below.
                self.utf8 = Utf8::default();
            }
            if alone {
                return whole(header.opcode, &input[payload]).map(|incoming| (used, Some(incoming)));
            }
            self.fragments.get_or_insert_with(|| (is_text, Vec::new())).1.extend_from_slice(&input[payload]);
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

    /// Unmasks and checks what has come of a text frame's payload since the last time.
    fn check(&mut self, payload: &mut [u8], mask: [u8; 4]) -> Result<(), WireError> {
        let new = &mut payload[self.checked..];
        unmask(new, mask, self.checked);
        self.checked += new.len();
        self.utf8.take(new).map_err(|()| WireError::NotUtf8)
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

/// Unmasks a part of a payload that begins after so many bytes.
fn unmask(payload: &mut [u8], mut mask: [u8; 4], after: usize) {
    mask.rotate_left(after % 4);
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
mod tests;
