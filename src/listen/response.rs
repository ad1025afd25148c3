//! HTTP responses, as bytes. Each ends its connection: what is served here is asked for rarely and is small.

use bytes::Bytes;

use super::demo::CONTENT_SECURITY_POLICY;

/// An HTTP status that this listener answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

impl Status {
    fn phrase(self) -> &'static str {
        match self.0 {
            200 => "OK",
            202 => "Accepted",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            411 => "Length Required",
            413 => "Content Too Large",
            426 => "Upgrade Required",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            505 => "HTTP Version Not Supported",
            _ => "Response",
        }
    }
}

/// A whole response.
pub fn response(status: Status, content_type: &str, body: &[u8]) -> Bytes {
    let extra = match status.0 {
        426 => "upgrade: websocket\r\nsec-websocket-version: 13\r\n",
        503 => "retry-after: 2\r\n",
        _ => "",
    };
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\ncontent-security-policy: {CONTENT_SECURITY_POLICY}\r\n{extra}\
         connection: close\r\n\r\n",
        status.0,
        status.phrase(),
        body.len(),
    );
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes.into()
}

/// A response that says in JSON what is wrong.
pub(super) fn refusal(status: u16, error: &str) -> Bytes {
    let body = crate::wire::reply::error(error, None);
    response(Status(status), "application/json", body.as_bytes())
}
