//! One WebSocket client: how it gets in, one step after the other, and what it then is.

use std::io::{ErrorKind, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Outcome;
use crate::frame::{Frames, masked_text};

/// How long a server may take for one step of a client's way in.
const STEP: Duration = Duration::from_secs(10);
/// The example key of RFC 6455, and what a server must answer to it.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Whom a client says it is, and what it wants.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) token: String,
    pub(crate) topics: Vec<String>,
}

/// A client that is in.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: mio::net::TcpStream,
    pub(crate) frames: Frames,
}

impl Client {
    /// Connects and upgrades, then, where there is a `hello`, waits until it is a session with all its topics.
    pub(crate) fn connect(address: SocketAddr, hello: Option<&Hello>) -> Outcome<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STEP))?;
        let mut frames = Frames::default();
        let mut replies = Replies::default();
        let early = upgrade(&mut stream, address)?;
        frames.feed(&early, |message| replies.note(message))?;
        if let Some(hello) = hello {
            let first = json!({ "access_token": hello.token, "topics": hello.topics });
            stream.write_all(&masked_text(first.to_string().as_bytes()))?;
            while !replies.admit(hello) {
                let mut buffer = [0; 4096];
                let length = read(&mut stream, &mut buffer)?;
                frames.feed(&buffer[..length], |message| replies.note(message))?;
            }
        }
        stream.set_read_timeout(None)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream: mio::net::TcpStream::from_std(stream), frames })
    }

    /// Reads what is there, through a buffer that all clients share, and hands on each message.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], mut each: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(length) => {
                    self.frames.feed(&buffer[..length], &mut each)?;
                    // On Linux a read that leaves room has emptied the socket: asking again would cost a call a message.
                    if length < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Answers the bytes that came after the server's head.
fn upgrade(stream: &mut TcpStream, address: SocketAddr) -> Outcome<Vec<u8>> {
    stream.write_all(
        format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        )
        .as_bytes(),
    )?;
    let mut head = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let length = read(stream, &mut buffer)?;
        head.extend_from_slice(&buffer[..length]);
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        if let httparse::Status::Complete(end) = response.parse(&head)? {
            let accepts = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("sec-websocket-accept");
            let accept = response.headers.iter().find(accepts).map(|header| header.value);
            if response.code != Some(101) || accept != Some(ACCEPT.as_bytes()) {
                return Err(format!("no upgrade to WebSocket: {}", String::from_utf8_lossy(&head)).into());
            }
            return Ok(head.split_off(end));
        }
    }
}

fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Outcome<usize> {
    match stream.read(buffer) {
        Ok(0) => Err("the server closed a connection on its way in".into()),
        Ok(length) => Ok(length),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err(format!("the server left a client on its way in without an answer for {STEP:?}").into())
        }
        Err(error) => Err(error.into()),
    }
}

/// What a server has answered so far.
#[derive(Debug, Default)]
struct Replies {
    connected: bool,
    subscribed: usize,
}

impl Replies {
    fn admit(&self, hello: &Hello) -> bool {
        self.connected && self.subscribed == hello.topics.len()
    }

    fn note(&mut self, message: &[u8]) -> Outcome<()> {
        let reply: Value = serde_json::from_slice(message)?;
        let some = |name: &str| reply[name].as_array().filter(|list| !list.is_empty());
        if reply["status"] != "ok" || some("denied").is_some() {
            return Err(format!("a client was refused: {reply}").into());
        }
        self.connected |= reply["connected"] == true;
        self.subscribed += some("subscribed").map_or(0, Vec::len);
        Ok(())
    }
}
