//! Many clients on one thread, read through one buffer.

use std::io;
use std::time::Duration;

use mio::{Events, Interest, Poll, Registry, Token};

use crate::Outcome;
use crate::client::Client;

/// For a socket that is watched beside the clients, and that is none of them.
pub(crate) const STRANGER: Token = Token(usize::MAX);

/// Clients that are in, by index in the order in which they came.
#[derive(Debug)]
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    buffer: Vec<u8>,
}

/// What became of one wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Nothing came in the time that was given.
    pub(crate) quiet: bool,
    /// The stranger has something to read.
    pub(crate) stranger: bool,
}

impl Crowd {
    /// With nobody in it.
    pub(crate) fn new() -> Outcome<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clients: Vec::new(),
            buffer: vec![0; 256 * 1024],
        })
    }

    /// One client more.
    pub(crate) fn add(&mut self, mut client: Client) -> Outcome<()> {
        let token = Token(self.clients.len());
        self.poll.registry().register(&mut client.stream, token, Interest::READABLE)?;
        self.clients.push(client);
        Ok(())
    }

    /// How many clients there are.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Where the [`STRANGER`] is registered.
    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Waits until something can be read, and hands on each message with its client's index.
    pub(crate) fn turn(
        &mut self,
        timeout: Duration,
        mut each: impl FnMut(usize, &[u8]) -> Outcome<()>,
    ) -> Outcome<Turn> {
        let mut turn = Turn { quiet: false, stranger: false };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(turn),
            outcome => outcome?,
        }
        turn.quiet = self.events.is_empty();
        for event in &self.events {
            match event.token() {
                STRANGER => turn.stranger = true,
                Token(index) => {
                    self.clients[index].receive(&mut self.buffer, |message| each(index, message))?;
                }
            }
        }
        Ok(turn)
    }
}
