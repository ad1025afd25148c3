//! Frames to clients: unmasked text frames (RFC 6455, 5.2), made once and shared by all who get them.

use bytes::Bytes;

use crate::event::Event;

const HEAD: &[u8] = br#"{"status":"ok","#;

/// The frame of an event: `{"status":"ok","id":7,"data":{...}}`, the payload byte for byte, `id` where there is one.
pub fn event_frame(event: &Event) -> Bytes {
    let id = event.id().map(|id| id.as_json().as_bytes());
    let id_length = id.map_or(0, |id| br#""id":,"#.len() + id.len());
    let length = HEAD.len() + id_length + br#""data":}"#.len() + event.payload().len();
    let mut frame = header(length);
    frame.extend_from_slice(HEAD);
    if let Some(id) = id {
        frame.extend_from_slice(br#""id":"#);
        frame.extend_from_slice(id);
        frame.push(b',');
    }
    frame.extend_from_slice(br#""data":"#);
    frame.extend_from_slice(event.payload());
    frame.push(b'}');
    frame.into()
}

/// A text frame of this JSON.
pub fn text_frame(json: &str) -> Bytes {
    let mut frame = header(json.len());
    frame.extend_from_slice(json.as_bytes());
    frame.into()
}

/// The header of a final text frame, with room for its payload.
fn header(length: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(length + 10);
    frame.push(0x81);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => frame.push(short),
        (_, Ok(medium)) => {
            frame.push(126);
            frame.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame
}
