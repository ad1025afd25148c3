//! The load of a broadcast: one thread, all clients, and the count of what they got.
//!
//! Invariant: nothing is allocated per message, and every message is compared with what was published.

use std::time::Duration;

use mio::Interest;

use crate::Outcome;
use crate::client::Client;
use crate::crowd::{Crowd, STRANGER};
use crate::publish::Publisher;
use crate::stats::now;

/// A server that sends nothing for this long, while something is awaited, has lost it.
const STALL: Duration = Duration::from_secs(5);

/// Clients, and who publishes what they get.
#[derive(Debug)]
pub(crate) struct Load {
    publisher: Publisher,
    crowd: Crowd,
    /// The last event that each client got.
    got: Vec<u64>,
    awaited: Awaited,
}

/// The event that is on its way, and what has arrived of it.
#[derive(Debug, Default)]
struct Awaited {
    /// Its number; the first is 1.
    number: u64,
    payload: Vec<u8>,
    /// The first message with it. The others must be the same, byte for byte.
    message: Vec<u8>,
    missing: usize,
}

impl Load {
    /// Of clients that are in.
    pub(crate) fn new(publisher: Publisher) -> Outcome<Self> {
        let mut load = Self { publisher, crowd: Crowd::new()?, got: Vec::new(), awaited: Awaited::default() };
        load.crowd.registry().register(&mut load.publisher.stream, STRANGER, Interest::READABLE)?;
        Ok(load)
    }

    /// One client more.
    pub(crate) fn add(&mut self, client: Client) -> Outcome<()> {
        self.crowd.add(client)?;
        self.got.push(self.awaited.number);
        Ok(())
    }

    /// Publishes an event, and comes back when it was accepted and every client has it. `payload` is what they get of it.
    pub(crate) fn deliver(&mut self, body: &[u8], payload: &[u8]) -> Outcome<()> {
        self.awaited.expect(payload, self.crowd.len());
        self.publisher.send(body)?;
        while self.awaited.missing > 0 || self.publisher.waits() {
            if !self.turn(STALL)? {
                let (missing, all) = (self.awaited.missing, self.crowd.len());
                return Err(format!("an event did not reach {missing} of {all} clients within {STALL:?}").into());
            }
        }
        Ok(())
    }

    /// Waits for a while in which nothing may arrive: whatever does is one message too many.
    pub(crate) fn stay_quiet(&mut self, time: Duration) -> Outcome<()> {
        let deadline = now() + time;
        while let Some(left) = deadline.checked_duration_since(now()).filter(|left| !left.is_zero()) {
            self.turn(left)?;
        }
        Ok(())
    }

    /// Length of the last message, in bytes.
    pub(crate) fn message_length(&self) -> usize {
        self.awaited.message.len()
    }

    /// Reads from all sockets that have something; answers whether there were any within this time.
    fn turn(&mut self, timeout: Duration) -> Outcome<bool> {
        let (got, awaited) = (&mut self.got, &mut self.awaited);
        let turn = self.crowd.turn(timeout, |index, message| awaited.arrived(&mut got[index], message))?;
        if turn.stranger {
            self.publisher.receive()?;
        }
        Ok(!turn.quiet)
    }
}

impl Awaited {
    fn expect(&mut self, payload: &[u8], clients: usize) {
        self.number += 1;
        self.payload.clear();
        self.payload.extend_from_slice(payload);
        self.message.clear();
        self.missing = clients;
    }

    fn arrived(&mut self, got: &mut u64, message: &[u8]) -> Outcome<()> {
        let fault = |what: &str| Err(format!("{what}: {}", String::from_utf8_lossy(message)).into());
        if *got == self.number {
            return fault("a client got a message that was not for it, or an event twice");
        }
        if self.message.is_empty() {
            if !message.windows(self.payload.len()).any(|part| part == self.payload) {
                return fault("a client got something else than what was published");
            }
            self.message.extend_from_slice(message);
        } else if self.message != message {
            return fault("clients got different messages for one event");
        }
        *got = self.number;
        self.missing -= 1;
        Ok(())
    }
}
