//! A client's socket, with TLS or without: the same to those who read from it and write to it.
//!
//! TLS costs a socket two buffers, of what has not become a whole record yet and of records that the client does not take:
//! both are bounded, and nothing is kept in the second one while the client reads.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use rustls::ServerConnection;
use smallvec::SmallVec;

/// Reads of ciphertext, of 4 KiB each, in one turn: what can be read of them are as many records that hold a byte as take
/// the time of some hundred events.
const READS: usize = 16;
/// Slices that are joined into records at once.
const SLICES: usize = 64;

/// One client's.
pub(super) enum Socket {
    Plain(TcpStream),
    Secure(Box<Secure>),
}

/// One with TLS.
pub(super) struct Secure {
    stream: TcpStream,
    session: ServerConnection,
    /// The first byte that came: it tells a request in plain HTTP from the beginning of a handshake.
    first: Option<u8>,
    /// The session has failed: there is nothing more to read.
    failed: bool,
    /// What is written goes out as it is, since the client does not speak TLS.
    exposed: bool,
}

/// What came of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// So many bytes: none, where it was TLS's own words alone. Where there may be `more`, no event tells of it.
    Bytes { length: usize, more: bool },
    /// The peer sends no more.
    Ended,
    /// The peer speaks HTTP where it should speak TLS.
    PlainHttp,
}

impl Socket {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }

    pub(super) fn secure(stream: TcpStream, session: ServerConnection) -> Self {
        Self::Secure(Box::new(Secure { stream, session, first: None, failed: false, exposed: false }))
    }

    /// What the poll watches.
    pub(super) fn stream(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Secure(secure) => &mut secure.stream,
        }
    }

    /// Reads what there is, as far as there is room and a turn allows.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        match self {
            Self::Plain(stream) => receive(stream, buffer),
            Self::Secure(secure) if secure.exposed => receive(&mut secure.stream, buffer),
            Self::Secure(secure) => secure.receive(buffer),
        }
    }

    /// Whether the peer has begun to speak TLS, and has not come to the end of the handshake.
    pub(super) fn is_handshaking(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secure(secure) => !secure.exposed && secure.session.is_handshaking(),
        }
    }

    /// Whether anything has come from the peer in the handshake.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self, Self::Secure(secure) if secure.first.is_some())
    }

    /// Whether it has taken more than it has sent: the rest goes with [`catch_up`](Self::catch_up).
    pub(super) fn is_behind(&self) -> bool {
        matches!(self, Self::Secure(secure) if !secure.exposed && secure.session.wants_write())
    }

    /// Sends what it has taken. `false` where the peer takes no more now.
    pub(super) fn catch_up(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Secure(secure) => secure.catch_up(),
        }
    }

    /// Ends what is sent. `false` where the peer takes no more now, and it is to be tried again.
    pub(super) fn finish(&mut self) -> io::Result<bool> {
        if let Self::Secure(secure) = self
            && !secure.exposed
        {
            // Said once, however often it is asked for.
            secure.session.send_close_notify();
            if !secure.catch_up()? {
                return Ok(false);
            }
        }
        self.stream().shutdown(Shutdown::Write).map(|()| true)
    }

    /// Tells the peer, where it can be told at once, that nothing more comes.
    pub(super) fn say_goodbye(&mut self) {
        if let Self::Secure(secure) = self
            && !secure.exposed
        {
            secure.session.send_close_notify();
            // It is about to be closed: one that takes nothing is told by that.
            secure.catch_up().ok();
        }
    }

    /// From now on what is written goes out as it is.
    pub(super) fn expose(&mut self) {
        if let Self::Secure(secure) = self {
            secure.exposed = true;
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Secure(secure) => secure.write(&[IoSlice::new(bytes)]),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write_vectored(slices),
            Self::Secure(secure) => secure.write(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.catch_up().map(drop)
    }
}

fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Received> {
    Ok(match stream.read(buffer)? {
        0 => Received::Ended,
        // A read that falls short has emptied the socket: asking again would only be told so.
        length => Received::Bytes { length, more: length == buffer.len() },
    })
}

impl Secure {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut length = 0;
        for _ in 0..READS {
            match self.step(buffer, &mut length) {
                Ok(Step::Read) => {}
                Ok(Step::PlainHttp) => return Ok(Received::PlainHttp),
                Ok(Step::Ended) if length == 0 => return Ok(Received::Ended),
                Err(error) if length == 0 => return Err(error),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Received::Bytes { length, more: false });
                }
                // What came before it comes first, and it is met again.
                Ok(Step::Full | Step::Ended) | Err(_) => break,
            }
        }
        Ok(Received::Bytes { length, more: true })
    }

    /// Takes what is deciphered into `buffer`, behind `length` bytes, and reads more.
    fn step(&mut self, buffer: &mut [u8], length: &mut usize) -> io::Result<Step> {
        loop {
            match self.session.reader().read(&mut buffer[*length..]) {
                // An end without a word is as good as one with it: each message says where it ends.
                Ok(0) => return Ok(Step::Ended),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Step::Ended),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
                Ok(some) => *length += some,
            }
            if *length == buffer.len() {
                return Ok(Step::Full);
            }
        }
        if self.failed {
            return Err(ErrorKind::InvalidData.into());
        }
        self.session.read_tls(&mut Noting { stream: &mut self.stream, first: &mut self.first })?;
        if let Err(error) = self.session.process_new_packets() {
            if self.session.is_handshaking() && self.first.is_some_and(|first| first.is_ascii_uppercase()) {
                return Ok(Step::PlainHttp);
            }
            self.failed = true;
            // The peer is told why, where it takes that.
            self.catch_up().ok();
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        self.catch_up()?;
        Ok(Step::Read)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.exposed {
            return self.stream.write_vectored(slices);
        }
        if self.session.is_handshaking() || !self.catch_up()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut rest: SmallVec<[IoSlice<'_>; SLICES]> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let (mut rest, mut taken) = (&mut rest[..], 0);
        // Records hold 16 KiB each, and the session two of them: who writes more than that writes it in parts.
        while !rest.is_empty() {
            let some = self.session.writer().write_vectored(rest)?;
            taken += some;
            IoSlice::advance_slices(&mut rest, some);
            if !self.catch_up()? || some == 0 {
                break;
            }
        }
        Ok(taken)
    }

    fn catch_up(&mut self) -> io::Result<bool> {
        while self.session.wants_write() && !self.exposed {
            match self.session.write_tls(&mut self.stream) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// One step of reading.
enum Step {
    /// Something was read.
    Read,
    /// There is no room for more.
    Full,
    Ended,
    PlainHttp,
}

/// A stream of which the first byte is noted.
struct Noting<'s> {
    stream: &'s mut TcpStream,
    first: &'s mut Option<u8>,
}

impl Read for Noting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        if self.first.is_none() {
            *self.first = buffer[..length].first().copied();
        }
        Ok(length)
    }
}
