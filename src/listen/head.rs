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
    let (length, action) = match request.parse(input) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES => {
            (length, Request { head: &request }.action(door))
        }
        Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES => return None,
        Ok(_) => (input.len(), refuse(431, "the request's head is too large")),
        Err(httparse::Error::TooManyHeaders) => (input.len(), refuse(431, "the request has too many headers")),
        Err(httparse::Error::Version) => (input.len(), refuse(505, "HTTP/1.1 is spoken here")),
        Err(_) => (input.len(), refuse(400, "this is no HTTP request")),
    };
    Some((length, if request.method == Some(HEAD) { without_body(action) } else { action }))
}

/// As GET, with a response that has no body.
const HEAD: &str = "HEAD";

fn refuse(status: u16, error: &str) -> Action {
    Action::Respond(refusal(status, error))
}

/// The response to HEAD: its headers say how long the body would be.
fn without_body(action: Action) -> Action {
    match action {
        Action::Respond(response) => {
            let end = response.windows(4).position(|four| four == b"\r\n\r\n").map_or(response.len(), |at| at + 4);
            Action::Respond(response.slice(..end))
        }
        other => other,
    }
}

struct Request<'a> {
    head: &'a httparse::Request<'a, 'a>,
}

/// The target of a request.
struct Target<'a> {
    /// The host that it names, in its target or else in `Host`.
    host: Option<&'a str>,
    path: &'a str,
    query: &'a str,
}

/// The body that follows on a request's head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    /// Of so many bytes.
    Length(usize),
    /// Of a length that nobody knows yet.
    Chunked,
}

impl Request<'_> {
    fn action(&self, door: Door) -> Action {
        match (self.target(), self.body()) {
            (Ok(target), Ok(body)) => self.action_on(&target, body, door),
            (Err(error), _) | (_, Err(error)) => refuse(400, error),
        }
    }

    fn action_on(&self, target: &Target<'_>, body: Body, door: Door) -> Action {
        let Target { path, .. } = *target;
        let websocket = matches!(path, "/" | "/ws");
        let method = self.head.method.unwrap_or_default();
        match (if method == HEAD { "GET" } else { method }, path) {
            ("GET", _) if websocket && method != HEAD && self.wants_upgrade() => self.upgrade(target.query, body, door),
            // A page of another site can send a form here, but cannot hide where it comes from.
            ("POST", "/demo/publish") if door.demo && !self.is_same_origin(target, door) => {
                refuse(403, "events are published by the demo's own page alone")
            }
            ("POST", "/demo/publish") if door.demo => match body {
                Body::Length(length @ 0..=BODY_BYTES) => Action::Publish { length },
                Body::Length(_) => refuse(413, "an event from the demo page is at most 64 KiB large"),
                Body::None | Body::Chunked => refuse(411, "content-length is needed"),
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

    /// Returns where the request goes, or what is wrong with that (RFC 9112, 3.2).
    fn target(&self) -> Result<Target<'_>, &'static str> {
        let mut hosts = self.lines("host");
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => Some(text(host).filter(|host| is_host(host)).ok_or("`Host` is not a host")?),
            (None, _) if self.head.version == Some(0) => None,
            (None, _) => return Err("the request has no `Host` header"),
            (Some(_), Some(_)) => return Err("the request has more than one `Host` header"),
        };
        let target = self.head.path.unwrap_or("/");
        let (host, rest) = match absolute(target) {
            Some((host, rest)) if !host.is_empty() && is_host(host) => (Some(host), rest),
            Some(_) => return Err("the request's target has no host"),
            None => (host, target),
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Ok(Target { host, path: if path.is_empty() { "/" } else { path }, query })
    }

    /// Returns what body follows, or why that cannot be told (RFC 9112, 6.3).
    fn body(&self) -> Result<Body, &'static str> {
        let is_chunked = self.lines("transfer-encoding").next().is_some();
        let mut lengths = self.lines("content-length");
        match (lengths.next(), lengths.next()) {
            (None, _) if is_chunked => Ok(Body::Chunked),
            (None, _) => Ok(Body::None),
            (Some(_), _) if is_chunked => Err("the request has both `Content-Length` and `Transfer-Encoding`"),
            (Some(_), Some(_)) => Err("the request has more than one `Content-Length` header"),
            (Some(length), None) => {
                let digits = text(length).filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
                // A number that is too large for the machine is too large in any case.
                Ok(Body::Length(digits.ok_or("`Content-Length` is not a number")?.parse().unwrap_or(usize::MAX)))
            }
        }
    }

    /// Whether no other site's page sent this: `Origin`, where there is one, is this host's, by a name that is its own.
    fn is_same_origin(&self, target: &Target<'_>, door: Door) -> bool {
        let Some(origin) = self.header("origin") else { return true };
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_some_and(|host| !door.local || is_loopback(host)) && host == target.host
    }

    fn wants_upgrade(&self) -> bool {
        self.headers("upgrade").any(|value| has_token(value, "websocket"))
    }

    /// RFC 6455, 4.2.1.
    fn upgrade(&self, query: &str, body: Body, door: Door) -> Action {
        if self.head.version != Some(1) || !self.headers("connection").any(|value| has_token(value, "upgrade")) {
            return refuse(400, "a WebSocket handshake is HTTP/1.1 with `Connection: Upgrade`");
        }
        if !matches!(body, Body::None | Body::Length(0)) {
            // The bytes of a body would be taken for frames.
            return refuse(400, "a WebSocket handshake has no body");
        }
        if !self.headers("sec-websocket-version").eq(["13"]) {
            return refuse(426, "version 13 of the WebSocket protocol is spoken here");
        }
        let mut keys = self.lines("sec-websocket-key");
        let key = keys.next().and_then(text).filter(|key| is_key(key));
        let (Some(key), None) = (key, keys.next()) else {
            return refuse(400, "a WebSocket handshake has one `Sec-WebSocket-Key`, which is 16 bytes in base64");
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
        self.lines(name).filter_map(text)
    }

    /// The same as they were sent: a value that is not text counts too.
    fn lines(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let own = self.head.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        own.map(|header| header.value)
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().map(str::trim)
}

/// The host and the rest of a target that is a whole URL.
fn absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    is_http.then(|| rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())))
}

/// Whether this can be a host with or without a port: nothing else of a URL stands in it. It may be empty.
fn is_host(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@\\,".contains(&byte))
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
