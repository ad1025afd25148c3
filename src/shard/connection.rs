//! A connection as its shard holds it, and how one comes and goes.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown};
use std::time::{Duration, Instant};
use std::{fmt, io};

use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Interest as Readiness, Token};

use super::admission::LINGERING;
use super::run::Shard;
use super::socket::Socket;
use super::timers::Due;
use super::{ConnectionKey, SessionId};
use crate::connection::{Chain, Outbox, TokenQuestion, TopicQuestion, Waiting};
use crate::listen::{Status, response};
use crate::wire::{CloseReason, Unfinished, reply};

/// How long a peer may take to read what it still gets from a connection that the server closes.
const FAREWELL: Duration = Duration::from_secs(10);
/// Connections accepted in one turn, so that events do not wait behind a crowd at the door.
const ACCEPTS: usize = 64;
/// Connections whose room is kept when they have all left.
const CROWD: usize = 1024;
/// How long accepting pauses when the process has no descriptor left.
const BREATHER: Duration = Duration::from_millis(200);

/// One open socket. Small, as most of its life it is idle: buffers come and go with what is unfinished.
pub(super) struct Connection {
    pub(super) socket: Socket,
    pub(super) generation: u32,
    pub(super) remote: IpAddr,
    /// It is one of those that [`Admission`](super::Admission) counts.
    admitted: bool,
    pub(super) phase: Phase,
    /// An answer that is waited for. Nothing is read meanwhile, so that a client has one request under way at most.
    pub(super) question: Option<Box<Question>>,
    pub(super) unfinished: Option<Box<Unfinished>>,
    pub(super) outbox: Outbox,
    pub(super) chain: Chain,
    /// The socket takes more, as far as is known.
    pub(super) writable: bool,
    /// Something was read since the last ping.
    pub(super) heard: bool,
    /// When a ping was sent; `heard` tells whether it was answered.
    pub(super) pinged: Option<Instant>,
    /// Bytes that were read wait for their turn.
    pub(super) held: bool,
    /// It stands in the shard's list of those to hear again.
    pub(super) queued: bool,
    /// The peer sends no more: what is left to read ends with that.
    pub(super) ended: bool,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its request is being read.
    Head,
    /// The body of a publish, of so many bytes, is being read.
    Body(usize),
    /// A WebSocket that is not authenticated, and was denied so often.
    Guest { denials: u8 },
    /// A session.
    Session(SessionId),
    /// What waits is written, then it ends.
    Closing,
    /// All is written and the peer was told: its end is waited for.
    Closed,
}

/// What is asked elsewhere.
#[derive(Debug)]
pub(super) enum Question {
    Token(TokenQuestion),
    Topics(TopicQuestion),
    Publish,
}

impl Connection {
    /// Whether it gets nothing more.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Closed)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("remote", &self.remote).field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Shard {
    /// Accepts those that wait. `false` where more may: there is no further event for those.
    pub(super) fn accept(&mut self) -> bool {
        for _ in 0..ACCEPTS {
            let Some(listener) = &self.listener else { return true };
            match listener.accept() {
                Ok((socket, address)) => self.adopt(socket, address.ip()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if is_about_the_peer(&error) => {}
                Err(error) => {
                    self.resting = true;
                    if let Some(held_back) = self.log.accept.admit_at(self.now) {
                        let shard = self.id.index();
                        tracing::error!(shard, %error, held_back, "cannot accept connections, trying again");
                    }
                    let nobody = ConnectionKey { index: u32::MAX, generation: u32::MAX };
                    self.timers.set(self.now + BREATHER, Due::Accept, nobody);
                    return true;
                }
            }
        }
        false
    }

    fn adopt(&mut self, stream: TcpStream, remote: IpAddr) {
        // An event shall leave when it is written, not when the next one comes.
        stream.set_nodelay(true).ok();
        let admitted = self.parts.admission.enter();
        if !admitted {
            self.parts.metrics.connections_refused().inc();
            if let Some(held_back) = self.log.refused.admit_at(self.now) {
                let shard = self.id.index();
                tracing::warn!(shard, %remote, held_back, "a connection is refused: there are as many as there may be");
            }
            if self.lingering == LINGERING {
                return self.turn_away(stream);
            }
        }
        match self.watch(stream) {
            Ok(socket) => self.insert(socket, remote, admitted),
            Err(error) => {
                if admitted {
                    self.parts.admission.leave();
                }
                if let Some(held_back) = self.log.accept.admit_at(self.now) {
                    tracing::error!(shard = self.id.index(), %error, held_back, "cannot take a connection up");
                }
            }
        }
    }

    /// Answers a connection for which there is no room, and closes it at once.
    fn turn_away(&mut self, mut stream: TcpStream) {
        if self.parts.tls.is_some() {
            // It could be told only after a handshake.
            return;
        }
        // If a request was left unread, the system would reset the connection, and the answer could be lost. Reading ends
        // with an error when nothing is left. The answer fits into the empty buffer of a new socket.
        stream.read_exact(&mut self.buffer).ok();
        stream.write_all(&no_room()).ok();
        stream.shutdown(Shutdown::Write).ok();
    }

    /// Has the poll watch a socket, by the index that its connection will have.
    fn watch(&mut self, stream: TcpStream) -> io::Result<Socket> {
        let mut socket = match &self.parts.tls {
            None => Socket::plain(stream),
            Some(acceptor) => Socket::secure(stream, acceptor.session().map_err(io::Error::other)?),
        };
        let token = Token(self.connections.vacant_key());
        self.poll.registry().register(socket.stream(), token, Readiness::READABLE | Readiness::WRITABLE)?;
        Ok(socket)
    }

    fn insert(&mut self, socket: Socket, remote: IpAddr, admitted: bool) {
        self.accepted = self.accepted.wrapping_add(1);
        let index = self.connections.insert(Connection {
            socket,
            generation: self.accepted,
            remote: remote.to_canonical(),
            admitted,
            phase: Phase::Head,
            question: None,
            unfinished: None,
            outbox: Outbox::default(),
            chain: Chain::default(),
            writable: true,
            heard: true,
            pinged: None,
            held: false,
            queued: false,
            ended: false,
        });
        self.parts.metrics.connections().inc();
        self.timers.set(self.now + self.settings.deadline, Due::Admission, self.key(index));
        if !admitted {
            self.lingering += 1;
            self.respond(index, no_room());
        }
    }

    /// The connection at this index, by a name that stays its own.
    pub(super) fn key(&self, index: usize) -> ConnectionKey {
        let generation = self.connections[index].generation;
        ConnectionKey { index: u32::try_from(index).expect("far fewer descriptors than 2^32"), generation }
    }

    /// Gives a connection a frame that is promised to it, to be written at the end of the turn.
    pub(super) fn send(&mut self, index: usize, frame: Bytes) {
        let key = self.key(index);
        let frame = self.batch.promised(frame);
        self.batch.link(key.index, &mut self.connections[index].chain, frame);
    }

    /// Answers an HTTP request and ends the connection.
    pub(super) fn respond(&mut self, index: usize, response: Bytes) {
        self.send(index, response);
        self.end(index);
    }

    /// Closes a WebSocket: the close frame is the last thing that it gets.
    pub(super) fn close(&mut self, index: usize, reason: CloseReason) {
        if self.connections[index].is_closing() {
            return;
        }
        tracing::debug!(
            shard = self.id.index(),
            remote = %self.connections[index].remote,
            code = reason.code(),
            reason = reason.text(),
            "connection closed"
        );
        // Who closed is the client, and its code would be a label that a client makes up.
        if !matches!(reason, CloseReason::Echo(_)) {
            self.parts.metrics.closed(reason.code()).inc();
        }
        self.send(index, reason.frame());
        self.end(index);
    }

    fn end(&mut self, index: usize) {
        self.leave_session(index);
        let connection = &mut self.connections[index];
        connection.phase = Phase::Closing;
        connection.question = None;
        connection.unfinished = None;
        self.timers.set(self.now + FAREWELL, Due::Linger, self.key(index));
    }

    /// Takes a connection's session, where it is one, out of all indexes.
    fn leave_session(&mut self, index: usize) {
        let Phase::Session(session) = self.connections[index].phase else { return };
        self.parts.metrics.tenants().left(self.sessions.view(session).tenant);
        if let Some(tenant) = self.sessions.remove(session) {
            self.parts.interest.leave(self.id, &tenant);
        }
        self.parts.metrics.sessions().dec();
    }

    /// Forgets a connection. Its socket closes.
    pub(super) fn remove(&mut self, index: usize) {
        self.leave_session(index);
        let mut connection = self.connections.remove(index);
        connection.socket.say_goodbye();
        // Closing it takes it out of the poll too; this way the order is plain.
        self.poll.registry().deregister(connection.socket.stream()).ok();
        self.backlog.change(connection.outbox.waiting(), Waiting::default());
        if connection.admitted {
            self.parts.admission.leave();
        } else {
            self.lingering -= 1;
        }
        self.parts.metrics.connections().dec();
        if self.connections.is_empty() && self.connections.capacity() > CROWD {
            // What a crowd needed does not stay when all have left.
            self.connections.shrink_to_fit();
        }
    }
}

/// Tells a client that there is no room for it.
fn no_room() -> Bytes {
    response(Status(503), "application/json", reply::error("too many connections", None).as_bytes())
}

/// Errors of accept that are about one connection, which has gone again.
fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
