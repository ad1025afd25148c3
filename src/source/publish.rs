//! Events by HTTP: a body that is one event, or several, one a line.
//!
//! All or nothing: every event of a body is decoded before the first one is sent on.

use bytes::Bytes;
use hyper::StatusCode;
use serde::de::IgnoredAny;
use serde_json::json;

use super::Intake;
use crate::event::{DecodeError, Envelope};
use crate::lane::{Delivery, Receipt};

/// Bytes of a body at most.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Events of a body at most, since all of them are held decoded at once.
pub const MAX_EVENTS: usize = 100_000;

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is nothing in it.
    #[error("the body is empty; send one JSON event, or several, one a line")]
    Empty,
    /// It holds more events than one body may.
    #[error("a body holds at most {MAX_EVENTS} events; send them in several")]
    TooMany,
    /// An event of it is none, so that none of them was taken.
    #[error("{}{}", place(*.line), reason(*.line, .error))]
    Rejected {
        /// Which line, counted from 1, where the body has one event a line.
        line: Option<usize>,
        /// What is wrong with it.
        error: Box<DecodeError>,
    },
    /// The server is leaving, and nobody is connected any more. The first ones of the body may have been taken.
    #[error("the server is leaving; publish to another")]
    Leaving {
        /// How many were taken.
        accepted: usize,
    },
}

/// Decodes a body's events and hands them to their lanes, waiting while those are full. Says how many there were.
pub async fn publish(intake: &Intake, body: Bytes) -> Result<usize, PublishError> {
    if intake.is_closed() {
        return Err(PublishError::Leaving { accepted: 0 });
    }
    let deliveries = decode(intake, &body)?;
    let mut accepted = 0;
    for delivery in deliveries {
        if !intake.send(delivery).await {
            return Err(PublishError::Leaving { accepted });
        }
        accepted += 1;
    }
    Ok(accepted)
}

/// Publishes, and says how it went as HTTP does: a status and a JSON body.
pub async fn answer(intake: &Intake, body: Bytes) -> (StatusCode, Bytes) {
    let (status, body) = match publish(intake, body).await {
        Ok(accepted) => (StatusCode::ACCEPTED, json!({ "accepted": accepted })),
        Err(error) => (error.status(), error.to_json()),
    };
    (status, body.to_string().into())
}

impl PublishError {
    /// The HTTP status that says this.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Empty | Self::Rejected { .. } => StatusCode::BAD_REQUEST,
            Self::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Leaving { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let (line, accepted) = match self {
            Self::Rejected { line, .. } => (*line, 0),
            Self::Leaving { accepted } => (None, *accepted),
            Self::Empty | Self::TooMany => (None, 0),
        };
        let mut body = json!({ "status": "error", "error": self.to_string(), "accepted": accepted });
        if let Some(line) = line {
            body["line"] = line.into();
        }
        body
    }
}

fn decode(intake: &Intake, body: &Bytes) -> Result<Vec<Delivery>, PublishError> {
    let events = split(body)?;
    let mut deliveries = Vec::with_capacity(events.len());
    for (line, event) in events {
        let delivery = intake.decode_uncounted(event, Envelope::NONE, Receipt::none());
        deliveries.push(delivery.map_err(|error| PublishError::Rejected { line, error: Box::new(error) })?);
    }
    intake.accepted.inc_by(deliveries.len() as u64);
    Ok(deliveries)
}

/// The events of a body, with their lines where each stands on one.
fn split(body: &Bytes) -> Result<Vec<(Option<usize>, Bytes)>, PublishError> {
    let mut lines = (1..).zip(body.split(|byte| *byte == b'\n')).filter(|(_, line)| !line.trim_ascii().is_empty());
    let Some((number, first)) = lines.next() else { return Err(PublishError::Empty) };
    let Some(second) = lines.next() else { return Ok(vec![(None, body.slice_ref(first.trim_ascii()))]) };
    // One event that is spread over lines has a first line that is no JSON in itself.
    if serde_json::from_slice::<IgnoredAny>(first).is_err() {
        return Ok(vec![(None, body.clone())]);
    }
    let mut events = Vec::new();
    for (number, line) in [(number, first), second].into_iter().chain(lines) {
        if events.len() == MAX_EVENTS {
            return Err(PublishError::TooMany);
        }
        events.push((Some(number), body.slice_ref(line.trim_ascii())));
    }
    Ok(events)
}

fn place(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!("line {line}: "))
}

/// What is wrong. The parser saw one line only, and must not be heard to call it the first.
fn reason(line: Option<usize>, error: &DecodeError) -> String {
    let text = error.to_string();
    if line.is_some() { text.replace(" at line 1 column ", " at column ") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &'static str, expected: &[(Option<usize>, &str)]) {
        let events = split(&Bytes::from_static(body.as_bytes())).unwrap();
        let events: Vec<_> = events.iter().map(|(line, event)| (*line, str::from_utf8(event).unwrap())).collect();
        assert_eq!(events, expected, "{body:?}");
    }

    #[test]
    fn a_body_is_one_event_or_one_a_line() {
        check("{\"a\":1}", &[(None, "{\"a\":1}")]);
        check("\n {\"a\":1} \r\n\n", &[(None, "{\"a\":1}")]);
        check("{\n  \"a\": 1\n}\n", &[(None, "{\n  \"a\": 1\n}\n")]);
        check("{\"a\":1}\n{\"a\":2}", &[(Some(1), "{\"a\":1}"), (Some(2), "{\"a\":2}")]);
        check("\n{\"a\":1}\r\n\r\n{\"a\":\r\n", &[(Some(2), "{\"a\":1}"), (Some(4), "{\"a\":")]);
        check("{\"a\":\n{\"a\":1}", &[(None, "{\"a\":\n{\"a\":1}")]);
    }

    #[test]
    fn what_holds_nothing_or_too_much_is_refused() {
        assert!(matches!(split(&Bytes::from_static(b" \n\r\n")), Err(PublishError::Empty)));
        assert!(matches!(split(&Bytes::from("{}\n".repeat(MAX_EVENTS + 1))), Err(PublishError::TooMany)));
        assert_eq!(split(&Bytes::from("{}\n".repeat(MAX_EVENTS))).unwrap().len(), MAX_EVENTS);
    }
}
