//! The baseline: a bare epoll loop and a table of sockets. The harness starts itself as this.
//!
//! It does what no server for this work can do without, and nothing else: a client's upgrade is answered unseen, an event
//! comes in by the same request as the program's, and its body *is* the finished frame, so that all that is left is one
//! `send` per connection.

use std::io::{self, ErrorKind, Read as _, Write as _};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::process::{Signal, set_parent_process_death_signal};
use slab::Slab;

use crate::Outcome;
use crate::client::ACCEPT;
use crate::publish::content_length;

/// The harness's first argument when it shall be the baseline.
pub(crate) const ARGUMENT: &str = "--be-the-baseline";
const CLIENTS: Token = Token(usize::MAX - 1);
const ADMIN: Token = Token(usize::MAX - 2);
const PUBLISHER: Token = Token(usize::MAX - 3);

/// Runs until it is killed.
pub(crate) fn run() -> Outcome<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut poll = Poll::new()?;
    let (mut listener, mut admin) = (listen(&poll, CLIENTS, "clients")?, listen(&poll, ADMIN, "admin")?);
    let mut events = Events::with_capacity(1024);
    let mut clients = Slab::new();
    let mut publisher = None;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                CLIENTS => accept_all(&mut listener, poll.registry(), &mut clients)?,
                ADMIN => publisher = Some(Publisher::accept(&mut admin, poll.registry())?),
                PUBLISHER => {
                    for frame in publisher.iter_mut().filter_map(|publisher| publisher.next().transpose()) {
                        send_to_all(&mut clients, &frame?)?;
                    }
                }
                Token(index) => {
                    if !answer(&mut clients[index])? {
                        clients.remove(index);
                    }
                }
            }
        }
    }
}

/// Listens, and says so as the program does.
fn listen(poll: &Poll, token: Token, listener: &str) -> Outcome<TcpListener> {
    let mut socket = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    poll.registry().register(&mut socket, token, Interest::READABLE)?;
    eprintln!(r#"{{"message":"listening","listener":"{listener}","address":"{}"}}"#, socket.local_addr()?);
    Ok(socket)
}

fn accept_all(listener: &mut TcpListener, registry: &Registry, clients: &mut Slab<TcpStream>) -> Outcome<()> {
    while let Some((mut stream, _)) = unless_blocked(listener.accept())? {
        stream.set_nodelay(true)?;
        let entry = clients.vacant_entry();
        registry.register(&mut stream, Token(entry.key()), Interest::READABLE)?;
        entry.insert(stream);
    }
    Ok(())
}

/// Answers a client's request once its head is complete; `false` when the client has gone.
fn answer(client: &mut TcpStream) -> Outcome<bool> {
    let mut buffer = [0; 1024];
    // Peeked at until it is whole, so that nothing has to be kept per connection.
    while let Some(length) = unless_blocked(client.peek(&mut buffer))? {
        if length == 0 {
            return Ok(false);
        }
        if !buffer[..length].ends_with(b"\r\n\r\n") {
            return Ok(true);
        }
        client.read_exact(&mut buffer[..length])?;
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
        client.write_all(format!("{head}Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n").as_bytes())?;
    }
    Ok(true)
}

fn send_to_all(clients: &mut Slab<TcpStream>, frame: &[u8]) -> Outcome<()> {
    for (_, client) in clients {
        if client.write(frame)? < frame.len() {
            return Err("a client's buffer is full".into());
        }
    }
    Ok(())
}

/// The connection that events come in on.
#[derive(Debug)]
struct Publisher {
    stream: TcpStream,
    request: Vec<u8>,
}

impl Publisher {
    fn accept(listener: &mut TcpListener, registry: &Registry) -> Outcome<Self> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        registry.register(&mut stream, PUBLISHER, Interest::READABLE)?;
        Ok(Self { stream, request: Vec::new() })
    }

    /// The body of a request, answered already, once it has all arrived.
    fn next(&mut self) -> Outcome<Option<Vec<u8>>> {
        let mut buffer = [0; 4096];
        while let Some(length @ 1..) = unless_blocked(self.stream.read(&mut buffer))? {
            self.request.extend_from_slice(&buffer[..length]);
        }
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(start) = request.parse(&self.request)? else { return Ok(None) };
        let end = start + content_length(request.headers)?;
        if self.request.len() < end {
            return Ok(None);
        }
        self.stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 14\r\n\r\n{\"accepted\":1}")?;
        let frame = self.request[start..end].to_vec();
        self.request.clear();
        Ok(Some(frame))
    }
}

/// What there is, or nothing where one would have to wait for it.
fn unless_blocked<T>(outcome: io::Result<T>) -> Outcome<Option<T>> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        outcome => Ok(Some(outcome?)),
    }
}
