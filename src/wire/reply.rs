//! What the server says beside events: each a JSON object, ready to be framed.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::event::{EventId, UserId};

/// On open, before a token is known.
pub const GREETING: &str = r#"{"status":"ok","type":"system","connected":false,"message":"access_token expected"}"#;

/// A first message without a token.
pub const NO_TOKEN: &str = "access_token not present";
/// A token that nobody knows.
pub const DENIED: &str = "access denied";
/// Why a subscription is taken away: the rules do not allow it any more.
pub const NO_LONGER_ALLOWED: &str = "no longer allowed";
/// Why a subscription is taken away: nobody could say whether the rules still allow it.
pub const NOT_KNOWN_TO_BE_ALLOWED: &str = "whether it is still allowed cannot be checked now; subscribe again later";
/// A provider could not be asked.
pub const UNAVAILABLE: &str = "authentication unavailable";

type Reference<'a> = Option<&'a RawValue>;

/// Keys of all answers, in the order in which they are written. What is `None` is left out.
#[derive(Default, Serialize)]
struct Reply<'a> {
    status: &'static str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reconnect_in_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscribed: Option<&'a [&'a str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    denied: Option<&'a [&'a str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unavailable: Option<&'a [&'a str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsubscribed: Option<&'a [&'a str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    catch_up: Option<bool>,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Reference<'a>,
}

impl Reply<'_> {
    fn ok() -> Self {
        Self { status: "ok", ..Self::default() }
    }

    fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The connection is a session now. `no_catch_up` tells a client that asked for what it missed that it gets none.
pub fn connected(user: &UserId, no_catch_up: bool, reference: Reference<'_>) -> String {
    let message = format!("Connected as user {user}");
    let catch_up = no_catch_up.then_some(false);
    Reply { connected: Some(true), message: Some(&message), catch_up, reference, ..Reply::ok() }.json()
}

/// Something is wrong with what the client said.
pub fn error(error: &str, reference: Reference<'_>) -> String {
    Reply { status: "error", error: Some(error), reference, ..Reply::default() }.json()
}

/// The token cannot be looked up now; the client should come back in so many milliseconds.
pub fn unavailable(retry_in_ms: u64, reference: Reference<'_>) -> String {
    let retry_in_ms = Some(retry_in_ms);
    Reply { status: "error", error: Some(UNAVAILABLE), retry_in_ms, reference, ..Reply::default() }.json()
}

/// What the session is subscribed to now, and which topics it may not see. `unavailable` are those whose rule could not
/// be asked.
pub fn subscribed(subscribed: &[&str], denied: &[&str], unavailable: &[&str], reference: Reference<'_>) -> String {
    let unavailable = (!unavailable.is_empty()).then_some(unavailable);
    Reply { subscribed: Some(subscribed), denied: Some(denied), unavailable, reference, ..Reply::ok() }.json()
}

/// What the session is no longer subscribed to.
pub fn unsubscribed(topics: &[&str], reference: Reference<'_>) -> String {
    Reply { unsubscribed: Some(topics), reference, ..Reply::ok() }.json()
}

/// What the session is no longer subscribed to, though the client did not ask for that.
pub fn withdrawn(topics: &[&str], why: &str) -> String {
    Reply { kind: Some("system"), unsubscribed: Some(topics), message: Some(why), ..Reply::ok() }.json()
}

/// The answer to a client's ping.
pub fn pong(reference: Reference<'_>) -> String {
    Reply { kind: Some("system"), message: Some("pong"), reference, ..Reply::ok() }.json()
}

/// The ping of the events, with the newest one's id where it is known.
pub fn events_ping(last_event_id: Option<&EventId>) -> String {
    let id = last_event_id.map_or("null", EventId::as_json);
    format!(r#"{{"status":"ok","type":"system","connected":true,"message":"events ping","lastEventId":{id}}}"#)
}

/// The server is leaving; the client should come back in so many milliseconds.
pub fn restarting(reconnect_in_ms: u64) -> String {
    Reply {
        kind: Some("system"),
        connected: Some(false),
        message: Some("server restarting"),
        reconnect_in_ms: Some(reconnect_in_ms),
        ..Reply::ok()
    }
    .json()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Value;

    #[test]
    fn replies_are_what_clients_were_promised() {
        let reference: Box<RawValue> = serde_json::from_str("\"a\"").unwrap();
        let user = UserId::new("7\"").unwrap();
        let id = EventId::from_value(Value::Int(1234));
        let replies = [
            GREETING.to_owned(),
            connected(&user, false, None),
            connected(&user, true, Some(&reference)),
            error(NO_TOKEN, None),
            unavailable(1234, Some(&reference)),
            subscribed(&["deal:42"], &["board:sales"], &[], Some(&reference)),
            subscribed(&[], &[], &["deal:42"], None),
            unsubscribed(&["deal:42"], None),
            withdrawn(&["deal:42"], NO_LONGER_ALLOWED),
            withdrawn(&["deal:42", "deal:7"], NOT_KNOWN_TO_BE_ALLOWED),
            pong(None),
            events_ping(id.as_ref()),
            events_ping(None),
            restarting(2300),
        ];
        insta::assert_snapshot!(replies.join("\n"), @r#"
        {"status":"ok","type":"system","connected":false,"message":"access_token expected"}
        {"status":"ok","connected":true,"message":"Connected as user 7\""}
        {"status":"ok","connected":true,"message":"Connected as user 7\"","catch_up":false,"ref":"a"}
        {"status":"error","error":"access_token not present"}
        {"status":"error","error":"authentication unavailable","retry_in_ms":1234,"ref":"a"}
        {"status":"ok","subscribed":["deal:42"],"denied":["board:sales"],"ref":"a"}
        {"status":"ok","subscribed":[],"denied":[],"unavailable":["deal:42"]}
        {"status":"ok","unsubscribed":["deal:42"]}
        {"status":"ok","type":"system","message":"no longer allowed","unsubscribed":["deal:42"]}
        {"status":"ok","type":"system","message":"whether it is still allowed cannot be checked now; subscribe again later","unsubscribed":["deal:42","deal:7"]}
        {"status":"ok","type":"system","message":"pong"}
        {"status":"ok","type":"system","connected":true,"message":"events ping","lastEventId":1234}
        {"status":"ok","type":"system","connected":true,"message":"events ping","lastEventId":null}
        {"status":"ok","type":"system","connected":false,"message":"server restarting","reconnect_in_ms":2300}
        "#);
    }
}
