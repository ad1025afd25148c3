//! Events by HTTP: a body that is one event, or several, one a line.
//!
//! All or nothing: every event of a body is decoded before the first one is sent on. Only when the lanes are full for too
//! long, or end, may the first events of a body be taken and the others not; the response says how many were.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::Intake;
use crate::event::{DecodeError, Envelope};
use crate::lane::{Delivery, Receipt};

/// Bytes of a body with several events. Each of them may have as many as `limits.event` allows.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Events of a body at most, since all of them are held decoded at once.
pub const MAX_EVENTS: usize = 100_000;
/// Bytes of a body that is decoded where it came in, which takes less than a millisecond. A larger body is decoded on a
/// thread that may block, so that requests beside it are served meanwhile.
const DECODED_AT_ONCE: usize = 64 * 1024;
/// Lines of such a body at most. Each line is an event, which has a cost of its own.
const LINES_AT_ONCE: usize = 256;
/// How long the events of a body may wait for full lanes, all together.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is nothing in it.
    #[error("the body is empty; send one JSON event, or several, one a line")]
    Empty,
    /// It holds more events than one body may.
    #[error("a body holds at most {MAX_EVENTS} events; send them in several")]
    TooMany,
    /// An event of it is not valid, so that none of them was taken.
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
    /// The lanes were full for too long. The first ones of the body may have been taken.
    #[error("the server is busy: {}", busy(*.accepted, *.events))]
    Busy {
        /// How many were taken.
        accepted: usize,
        /// How many events the body holds. 0 if it was not decoded.
        events: usize,
    },
}

/// Lets one large body after the other be decoded, so that publishers leave cores to the rest of the program. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub(super) struct LargeBodies(Arc<Semaphore>);

impl Default for LargeBodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// Decodes a body's events and hands them to their lanes. Waits for full lanes, up to 10 seconds. Returns the number of
/// events.
pub async fn publish(intake: &Intake, body: Bytes) -> Result<usize, PublishError> {
    if intake.is_closed() {
        return Err(PublishError::Leaving { accepted: 0 });
    }
    let until = Instant::now() + PATIENCE;
    let deliveries = decode(intake, body, until).await?;
    let events = deliveries.len();
    for (accepted, delivery) in deliveries.into_iter().enumerate() {
        match timeout_at(until, intake.send(delivery)).await {
            Ok(true) => {
                intake.accepted.inc();
            }
            Ok(false) => return Err(PublishError::Leaving { accepted }),
            Err(_) => return Err(PublishError::Busy { accepted, events }),
        }
    }
    Ok(events)
}

/// Whether a body holds one event, and not several, one a line.
pub fn is_one_event(body: &Bytes) -> bool {
    split(body).is_ok_and(|events| events.len() == 1)
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
            Self::Rejected { line: None, error } if matches!(**error, DecodeError::TooLarge { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Empty | Self::Rejected { .. } => StatusCode::BAD_REQUEST,
            Self::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Leaving { .. } | Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let (line, accepted) = match self {
            Self::Rejected { line, .. } => (*line, 0),
            Self::Leaving { accepted } | Self::Busy { accepted, .. } => (None, *accepted),
            Self::Empty | Self::TooMany => (None, 0),
        };
        let mut body = json!({ "status": "error", "error": self.to_string(), "accepted": accepted });
        if let Some(line) = line {
            body["line"] = line.into();
        }
        body
    }
}

async fn decode(intake: &Intake, body: Bytes, until: Instant) -> Result<Vec<Delivery>, PublishError> {
    let has_few_lines = || body.split(|byte| *byte == b'\n').nth(LINES_AT_ONCE).is_none();
    if body.len() <= DECODED_AT_ONCE && has_few_lines() {
        return decode_at_once(intake, &body);
    }
    let turn = timeout_at(until, Arc::clone(&intake.large.0).acquire_owned()).await;
    let turn = turn.map_err(|_| PublishError::Busy { accepted: 0, events: 0 })?.expect("the semaphore is never closed");
    let intake = intake.clone();
    let decoded = tokio::task::spawn_blocking(move || {
        let decoded = decode_at_once(&intake, &body);
        // Here, as the task goes on if the publisher leaves.
        drop(turn);
        decoded
    });
    decoded.await.expect("a panic ends the process")
}

fn decode_at_once(intake: &Intake, body: &Bytes) -> Result<Vec<Delivery>, PublishError> {
    let events = split(body)?;
    let mut deliveries = Vec::with_capacity(events.len());
    for (line, event) in events {
        let delivery = intake.decode_uncounted(event, Envelope::NONE, Receipt::none());
        deliveries.push(delivery.map_err(|error| PublishError::Rejected { line, error: Box::new(error) })?);
    }
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
        // A slice would keep the whole body for as long as this one event waits.
        events.push((Some(number), Bytes::copy_from_slice(line.trim_ascii())));
    }
    Ok(events)
}

/// Says how much of a body a busy server has taken.
fn busy(accepted: usize, events: usize) -> String {
    let (within, s) = (PATIENCE.as_secs(), if events == 1 { "" } else { "s" });
    match events {
        0 => format!("the body waited for {within} seconds behind others; send it again later"),
        _ => format!("{accepted} of {events} event{s} were taken within {within} seconds; send the others again later"),
    }
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
    use crate::config::Plugins;
    use crate::event::{Path, Shape};
    use crate::observe::{Metrics, SourceKind};
    use crate::reload::{Generation, Live, Queries, Rulebook, Rules};

    /// An intake whose only lane holds so many events, and takes no more than that while nobody receives.
    fn intake(capacity: usize, largest_event: usize) -> (Intake, tokio::sync::mpsc::Receiver<Delivery>) {
        let event = Shape { payload: Path::parse(".").unwrap(), tenant: None, id: None, kind: None };
        let (routes, topics) = (Vec::new(), Vec::new());
        let rules = Rules { event, largest_event, routes, topics, plugins: Plugins::default() };
        let rulebook = Rulebook::compile(Generation(1), rules, Arc::new(Queries::default())).unwrap();
        let (lanes, lane) = crate::lane::Lanes::to_channel(capacity);
        (Intake::new(Live::new(rulebook), lanes, Arc::new(Metrics::new()), SourceKind::http), lane)
    }

    #[tokio::test(start_paused = true)]
    async fn a_publish_waits_10_seconds_for_a_full_lane_and_says_how_much_was_taken() {
        let (intake, mut lane) = intake(2, 1 << 20);
        let begun = Instant::now();
        let (status, body) = answer(&intake, Bytes::from("{}\n".repeat(5))).await;
        assert_eq!((status, begun.elapsed()), (StatusCode::SERVICE_UNAVAILABLE, PATIENCE));
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let error = "the server is busy: 2 of 5 events were taken within 10 seconds; send the others again later";
        assert_eq!(said, json!({ "status": "error", "error": error, "accepted": 2 }));
        // A lane that is slow but goes on is waited for.
        let goes_on = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert!(lane.recv().await.is_some());
            }
        };
        let (answered, ()) = tokio::join!(answer(&intake, Bytes::from("{}\n".repeat(3))), goes_on);
        assert_eq!(answered.0, StatusCode::ACCEPTED);
    }

    #[tokio::test]
    async fn an_event_over_its_limit_is_refused_alone_or_by_its_line() {
        let (intake, _lane) = intake(2, 100);
        let (fits, large) = (format!("{{{}}}", " ".repeat(98)), format!("{{{}}}", " ".repeat(99)));
        let said = "the event has 101 bytes, and `limits.event` allows 100";
        for (body, status, expected) in [
            (fits.clone(), StatusCode::ACCEPTED, String::new()),
            (large.clone(), StatusCode::PAYLOAD_TOO_LARGE, said.to_owned()),
            (format!("{fits}\n{large}\n"), StatusCode::BAD_REQUEST, format!("line 2: {said}")),
        ] {
            let (answered, body) = answer(&intake, body.into()).await;
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((answered, body["error"].as_str().unwrap_or_default()), (status, expected.as_str()));
        }
    }

    #[tokio::test]
    async fn a_large_body_is_decoded_beside_what_else_the_thread_does() {
        let (intake, mut lane) = intake(1000, 1 << 20);
        let body = Bytes::from(format!("{{\"text\":\"{}\"}}\n", "x".repeat(1000)).repeat(100));
        assert!(body.len() > DECODED_AT_ONCE);
        // While one large body is decoded, the next one waits.
        let turn = Arc::clone(&intake.large.0).acquire_owned().await.unwrap();
        let publishing = tokio::spawn({
            let intake = intake.clone();
            async move { publish(&intake, body).await }
        });
        assert_eq!(publish(&intake, Bytes::from_static(b"{}")).await.unwrap(), 1);
        assert!(lane.recv().await.is_some() && lane.is_empty() && !publishing.is_finished());
        drop(turn);
        assert_eq!(publishing.await.unwrap().unwrap(), 100);
        assert_eq!(lane.len(), 100);
    }

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
    fn one_event_keeps_its_body_and_several_keep_their_own_lines_alone() {
        let single = Bytes::from("{\"a\":1}".to_owned());
        let [(_, event)] = &split(&single).unwrap()[..] else { panic!("one event") };
        assert_eq!(event.as_ptr(), single.as_ptr(), "not copied");

        let body = Bytes::from("{\"a\":1}\n".repeat(3));
        let events = split(&body).unwrap();
        assert!(body.is_unique(), "no event holds the body");
        assert!(events.iter().all(|(_, event)| event.is_unique()), "no event holds another");
    }

    #[test]
    fn what_holds_nothing_or_too_much_is_refused() {
        assert!(matches!(split(&Bytes::from_static(b" \n\r\n")), Err(PublishError::Empty)));
        assert!(matches!(split(&Bytes::from("{}\n".repeat(MAX_EVENTS + 1))), Err(PublishError::TooMany)));
        assert_eq!(split(&Bytes::from("{}\n".repeat(MAX_EVENTS))).unwrap().len(), MAX_EVENTS);
    }
}
