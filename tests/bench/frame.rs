//! WebSocket frames, as little of them as the harness needs.

use crate::Outcome;

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// Any four bytes: they hide nothing, but clients must use some.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Cuts what one server sends into messages. It holds bytes only while a frame is not yet complete.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    part: Vec<u8>,
}

impl Frames {
    /// Takes what was read, and hands on the text of each message that is now complete.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        if self.part.is_empty() {
            let used = split(bytes, &mut each)?;
            self.part.extend_from_slice(&bytes[used..]);
        } else {
            self.part.extend_from_slice(bytes);
            let used = split(&self.part, &mut each)?;
            self.part.drain(..used);
        }
        Ok(())
    }
}

/// A message as a server sends it.
pub(crate) fn text(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(message.len() + 10);
    head(&mut frame, message.len(), 0);
    frame.extend_from_slice(message);
    frame
}

/// A message as a client sends it.
pub(crate) fn masked_text(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(message.len() + 14);
    head(&mut frame, message.len(), 0x80);
    frame.extend_from_slice(&MASK);
    frame.extend(message.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Hands on all complete messages; answers how many bytes they and their heads were.
fn split(bytes: &[u8], mut each: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<usize> {
    let mut used = 0;
    while let [kind, length, rest @ ..] = &bytes[used..] {
        let (length, rest, head) = match (*length, rest) {
            (short @ 0..=125, _) => (u64::from(short), rest, 2),
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest, 4),
            (127, rest) if rest.len() >= 8 => {
                let (length, rest) = rest.split_at(8);
                (u64::from_be_bytes(length.try_into()?), rest, 10)
            }
            (126 | 127, _) => break,
            _ => return Err("the server sent a masked frame".into()),
        };
        let length = usize::try_from(length)?;
        let Some(payload) = rest.get(..length) else { break };
        match (*kind, payload) {
            (TEXT, _) => each(payload)?,
            (PING | PONG, _) => {}
            (CLOSE, [a, b, reason @ ..]) => {
                let (code, reason) = (u16::from_be_bytes([*a, *b]), String::from_utf8_lossy(reason));
                return Err(format!("the server closed a connection: {code} {reason}").into());
            }
            (kind, _) => return Err(format!("the server sent a frame that begins with {kind:#04x}").into()),
        }
        used += head + length;
    }
    Ok(used)
}

/// `masked` is the bit that says so, or 0.
fn head(frame: &mut Vec<u8>, length: usize, masked: u8) {
    frame.push(TEXT);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => frame.push(masked + short),
        (_, Ok(medium)) => {
            frame.push(masked + 126);
            frame.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            frame.push(masked + 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}
