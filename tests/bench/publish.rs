//! Where events come from: `POST /publish`, one after the other on one connection.
//!
//! A publisher by way of the broker would take this one's place: it, too, sends a body and knows when it was accepted.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::TcpStream;

use crate::Outcome;

/// A connection to the admin listener.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) stream: TcpStream,
    host: String,
    request: Vec<u8>,
    reply: Vec<u8>,
    waits: bool,
}

impl Publisher {
    /// Connects.
    pub(crate) fn connect(admin: SocketAddr) -> Outcome<Self> {
        let stream = std::net::TcpStream::connect(admin)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream);
        Ok(Self { stream, host: admin.to_string(), request: Vec::new(), reply: Vec::new(), waits: false })
    }

    /// Sends one event. The one before must have been accepted.
    pub(crate) fn send(&mut self, body: &[u8]) -> Outcome<()> {
        self.request.clear();
        write!(
            self.request,
            "POST /publish HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        )?;
        self.request.extend_from_slice(body);
        // The socket's buffer is empty, and far larger than a request: what cannot be written at once is a fault.
        self.stream.write_all(&self.request)?;
        self.waits = true;
        Ok(())
    }

    /// Whether the last event is not yet known to be accepted.
    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    /// Reads what is there of the reply.
    pub(crate) fn receive(&mut self) -> Outcome<()> {
        loop {
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err("the server closed the connection that publishes".into()),
                Ok(length) => self.reply.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(end) = response.parse(&self.reply)? else { return Ok(()) };
        if response.code != Some(202) {
            return Err(format!("an event was not accepted: {}", String::from_utf8_lossy(&self.reply)).into());
        }
        if self.reply.len() >= end + content_length(response.headers)? {
            self.reply.clear();
            self.waits = false;
        }
        Ok(())
    }
}

/// The length of a body, which must be told.
pub(crate) fn content_length(headers: &[httparse::Header<'_>]) -> Outcome<usize> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    Ok(std::str::from_utf8(header.ok_or("no content-length")?.value)?.parse()?)
}
