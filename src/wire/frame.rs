//! Whole WebSocket frames (RFC 6455, section 5.2), ready to be written to any number of connections.
//!
//! Invariant: frames of a server are unmasked, final, and depend on no connection. That is why they can be shared.

use bytes::Bytes;

use crate::event::EventId;

/// FIN, and the opcode of text.
const FINAL_TEXT: u8 = 0x81;
/// Payloads up to this many bytes have their length in the second byte.
const SHORT: usize = 125;

const STATUS: &[u8] = b"{\"status\":\"ok\"";
const ID: &[u8] = b",\"id\":";
const DATA: &[u8] = b",\"data\":";
const END: &[u8] = b"}";

/// The frame that clients get of an event: `{"status":"ok","id":...,"data":...}`, `id` only where the event has one.
///
/// The payload's bytes, one JSON value, are copied as they are. One allocation, of exactly the frame's size.
pub fn event_frame(id: Option<&EventId>, payload: &[u8]) -> Bytes {
    match id {
        Some(id) => frame(&[STATUS, ID, id.as_json().as_bytes(), DATA, payload, END]),
        None => frame(&[STATUS, DATA, payload, END]),
    }
}

/// The frame of any other message. `json` is one JSON value and therefore UTF-8, as text frames must be.
pub fn text_frame(json: &str) -> Bytes {
    frame(&[json.as_bytes()])
}

/// One frame whose payload is these parts, one after the other.
fn frame(parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(header_size(length) + length);
    bytes.push(FINAL_TEXT);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if length <= SHORT => bytes.push(short),
        (_, Ok(medium)) => {
            bytes.push(126);
            bytes.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    for part in parts {
        bytes.extend_from_slice(part);
    }
    Bytes::from(bytes)
}

fn header_size(length: usize) -> usize {
    match length {
        0..=SHORT => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::event::{Decoder, Envelope, Event, Path, Shape};

    #[expect(clippy::disallowed_methods, reason = "a test is an edge: events are received now")]
    fn event(body: &str) -> Event {
        let path = |text| Path::parse(text).unwrap();
        let shape = Shape { payload: path("data"), tenant: None, id: Some(path("data.id")), kind: None };
        Decoder::new(shape).decode(Bytes::copy_from_slice(body.as_bytes()), Envelope::NONE, Instant::now()).unwrap()
    }

    /// The frame, read by a WebSocket implementation that is not ours.
    fn read_by_others(frame: &Bytes) -> String {
        let stream = std::io::Cursor::new(frame.to_vec());
        let mut socket = tungstenite::WebSocket::from_raw_socket(stream, tungstenite::protocol::Role::Client, None);
        let text = socket.read().unwrap().into_text().unwrap().to_string();
        assert_eq!(socket.get_ref().position(), frame.len() as u64, "bytes left over");
        text
    }

    #[test]
    fn lengths_take_the_shortest_form() {
        for (length, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xFF, 0xFF]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = "x".repeat(length);
            let frame = text_frame(&text);
            assert_eq!(&frame[..header.len()], header, "{length}");
            assert_eq!(read_by_others(&frame), text, "{length}");
        }
    }

    #[test]
    fn an_events_payload_is_left_as_it_is() {
        for (body, expected) in [
            (
                r#"{"data":{ "id" : 7, "a":1.50 ,"b":"\u00fc"}}"#,
                r#"{"status":"ok","id":7,"data":{ "id" : 7, "a":1.50 ,"b":"\u00fc"}}"#,
            ),
            (r#"{"data":{"id":"a\"1"}}"#, r#"{"status":"ok","id":"a\"1","data":{"id":"a\"1"}}"#),
            (r#"{"data":[1,  2]}"#, r#"{"status":"ok","data":[1,  2]}"#),
        ] {
            let event = event(body);
            assert_eq!(read_by_others(&event_frame(event.id(), event.payload())), expected);
        }
    }
}
