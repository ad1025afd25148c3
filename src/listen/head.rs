//! The head of an HTTP request, and what it wants: a WebSocket, the demo page, or something that is not here.

use bytes::Bytes;
use secrecy::SecretString;
use tungstenite::handshake::derive_accept_key;

use super::demo;
use super::host::is_loopback;
use super::response::{Status, refusal, response};
use crate::config::Accept;

/// The longest request head, in bytes.
pub const HEAD_BYTES: usize = 8 * 1024;
/// The longest body of a publish from the demo page, in bytes.
const BODY_BYTES: usize = 64 * 1024;
const HEADERS: usize = 64;
const NOT_THIS_METHOD: &str = "this method is not for here";
const NOTHING_HERE: &str = "there is nothing here; WebSocket clients connect to / or /ws";

/// What the listener offers.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// Where a token may come in.
    pub accept: Accept,
    /// Whether the demo page is there.
    pub demo: bool,
    /// Whether it listens for this machine alone.
    pub local: bool,
}

/// What a request wants.
#[derive(Debug)]
pub enum Action {
    /// A WebSocket: the response to send, and the token that came with the request.
    Upgrade {
        /// The handshake's response.
        response: Bytes,
        /// From `Authorization: Bearer`, or `?access_token=`.
        token: Option<SecretString>,
    },
    /// Publish the body, of so many bytes, that follows: the demo page's.
    Publish {
        /// Bytes.
        length: usize,
    },
    /// This response, and the end.
    Respond(Bytes),
}

/// Reads a request's head from the start of `input`: what it wants, and how many bytes it is long. `None` where it is
/// not whole yet.
pub fn read_head(input: &[u8], door: Door) -> Option<(usize, Action)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let refuse = |status, error| Some((input.len(), Action::Respond(refusal(status, error))));
    match request.parse(input) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES => {
            Some((length, Request { head: &request }.action(door)))
        }
        Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES => None,
        Ok(_) => refuse(431, "the request's head is too large"),
        Err(httparse::Error::TooManyHeaders) => refuse(431, "the request has too many headers"),
        Err(httparse::Error::Version) => refuse(505, "HTTP/1.1 is spoken here"),
        Err(_) => refuse(400, "this is no HTTP request"),
    }
}

struct Request<'a> {
    head: &'a httparse::Request<'a, 'a>,
}

impl Request<'_> {
    fn action(&self, door: Door) -> Action {
        let target = self.head.path.unwrap_or("/");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let refuse = |status, error: &str| Action::Respond(refusal(status, error));
        let websocket = matches!(path, "/" | "/ws");
        match (self.head.method.unwrap_or_default(), path) {
            ("GET", _) if websocket && self.wants_upgrade() => self.upgrade(query, door),
            // A page of another site can send a form here, but cannot hide where it comes from.
            ("POST", "/demo/publish") if door.demo && !self.is_same_origin(door) => {
                refuse(403, "events are published by the demo's own page alone")
            }
            ("POST", "/demo/publish") if door.demo => match self.header("content-length").map(str::parse) {
                Some(Ok(length @ 0..=BODY_BYTES)) => Action::Publish { length },
                Some(Ok(_)) => refuse(413, "an event from the demo page is at most 64 KiB large"),
                Some(Err(_)) | None => refuse(411, "content-length is needed"),
            },
            ("GET", _) => match demo::asset(path).filter(|_| door.demo) {
                Some(asset) => Action::Respond(response(Status(200), asset.content_type, asset.body)),
                None if websocket => refuse(426, "this is a WebSocket endpoint"),
                None if door.demo && path == "/demo/publish" => refuse(405, NOT_THIS_METHOD),
                None => refuse(404, NOTHING_HERE),
            },
            (_, _) if websocket || (door.demo && path == "/demo/publish") => refuse(405, NOT_THIS_METHOD),
            _ => refuse(404, NOTHING_HERE),
        }
    }

    /// Whether no other site's page sent this: `Origin`, where there is one, is this host's, by a name that is its own.
    fn is_same_origin(&self, door: Door) -> bool {
        let Some(origin) = self.header("origin") else { return true };
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_some_and(|host| !door.local || is_loopback(host)) && host == self.header("host")
    }

    fn wants_upgrade(&self) -> bool {
        self.header("upgrade").is_some_and(|value| has_token(value, "websocket"))
    }

    /// RFC 6455, 4.2.1.
    fn upgrade(&self, query: &str, door: Door) -> Action {
        let refuse = |status, error: &str| Action::Respond(refusal(status, error));
        if self.head.version != Some(1) || !self.headers("connection").any(|value| has_token(value, "upgrade")) {
            return refuse(400, "a WebSocket handshake is HTTP/1.1 with `Connection: Upgrade`");
        }
        if self.header("sec-websocket-version") != Some("13") {
            return refuse(426, "version 13 of the WebSocket protocol is spoken here");
        }
        let key = self.header("sec-websocket-key").filter(|key| is_key(key));
        let Some(key) = key else {
            return refuse(400, "`Sec-WebSocket-Key` is 16 bytes in base64");
        };
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes()),
        );
        let from_header = self.header("authorization").and_then(bearer).filter(|_| door.accept.header);
        let token = from_header.map(SecretString::from).or_else(|| token_of(query).filter(|_| door.accept.query));
        Action::Upgrade { response: response.into(), token }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// The values of a header that may stand on several lines.
    fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let own = self.head.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        own.filter_map(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    }
}

/// Whether a comma-separated header value has this token.
fn has_token(value: &str, token: &str) -> bool {
    value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// 16 bytes are 24 characters of base64, of which the last two pad.
fn is_key(key: &str) -> bool {
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    key.len() == 24 && key.ends_with("==") && key.bytes().take(22).all(base64)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn token_of(query: &str) -> Option<SecretString> {
    let (_, token) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "access_token")?;
    Some(SecretString::from(token.into_owned()))
}

#[cfg(test)]
mod tests;
