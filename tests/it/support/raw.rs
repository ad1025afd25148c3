//! A client that sends whatever bytes a test likes, with no library that would refuse to.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::process::DEADLINE;
use super::server::Server;

/// The head of a handshake that nothing is wrong with.
pub const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// One connection.
#[derive(Debug)]
pub struct Raw {
    /// The socket, for what only a socket can do.
    pub socket: TcpStream,
    /// Read, and not looked at yet.
    unread: Vec<u8>,
}

impl Raw {
    /// Connects, and says nothing.
    pub async fn connect(server: &Server) -> Self {
        Self::over(TcpStream::connect(server.clients).await.unwrap())
    }

    /// Takes over a socket that is connected.
    pub fn over(socket: TcpStream) -> Self {
        // What is sent in pieces shall arrive in pieces.
        socket.set_nodelay(true).unwrap();
        Self { socket, unread: Vec::new() }
    }

    /// Connects, shakes hands, and reads the greeting.
    pub async fn open(server: &Server) -> Self {
        let mut raw = Self::connect(server).await;
        raw.send(HANDSHAKE).await;
        raw.shaken_hands().await;
        assert!(raw.text().await.contains("access_token expected"));
        raw
    }

    /// As [`open`](Self::open), then becomes a session.
    pub async fn session(server: &Server, token: &str) -> Self {
        let mut raw = Self::open(server).await;
        raw.send(text(&format!("{{\"access_token\":\"{token}\"}}"))).await;
        assert!(raw.text().await.contains("Connected as user"));
        raw
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = timeout(DEADLINE, self.socket.write_all(bytes.as_ref())).await;
        sent.expect("the server reads").unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Reads the answer to the handshake.
    pub async fn shaken_hands(&mut self) {
        loop {
            if let Some(end) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
                return;
            }
            assert!(self.read().await, "the connection ended in the handshake");
        }
    }

    /// The rest of what the server sends, up to its end: an HTTP answer.
    pub async fn rest(&mut self) -> String {
        while self.read().await {}
        String::from_utf8_lossy(&self.unread).into_owned()
    }

    /// The next frame's first byte and payload. `None` where the connection ended.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((start, length)) = header(&self.unread)
                && self.unread.len() >= start + length
            {
                let frame: Vec<u8> = self.unread.drain(..start + length).collect();
                return Some((frame[0], frame[start..].to_vec()));
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// The next frame, which must be a text.
    pub async fn text(&mut self) -> String {
        match self.frame().await {
            Some((0x81, payload)) => String::from_utf8(payload).unwrap(),
            other => panic!("not a text but {other:?}"),
        }
    }

    /// The code with which the server closes; what comes before that is passed over. `None`: it just ended.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            let (first, payload) = self.frame().await?;
            if first == 0x88 {
                return Some(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)));
            }
        }
    }

    /// Reads more. `false` at the end.
    async fn read(&mut self) -> bool {
        let read = timeout(DEADLINE, self.socket.read_buf(&mut self.unread)).await;
        read.expect("something in time").is_ok_and(|length| length > 0)
    }
}

/// A masked frame: its first byte (FIN, reserved bits, opcode) and its payload.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A text in one frame.
pub fn text(text: &str) -> Vec<u8> {
    frame(0x81, text.as_bytes())
}

/// Where a frame's payload begins, and how long it is; `None` where that is not there yet.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? {
        126 => Some((4, u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?).into())),
        127 => Some((10, usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).unwrap())),
        short => Some((2, short.into())),
    }
}
