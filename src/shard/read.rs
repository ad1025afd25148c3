//! What clients send: bytes to requests and messages, and what those lead to.

use std::io::{self, ErrorKind};

use bytes::Bytes;
use mio::event::Event;
use secrecy::SecretString;

use super::connection::{Phase, Question};
use super::run::Shard;
use super::socket::Received;
use super::{AuthenticateRequest, AuthorizeRequest, PublishRequest};
use crate::connection::{Reaction, Standing, TokenQuestion, TopicQuestion, react};
use crate::listen::{Action, Status, read_head, response};
use crate::wire::{CloseReason, Incoming, Message, Unfinished, reply, text_frame};

/// Messages of one connection that are handled in one turn, so that one that sends without end does not keep the
/// others waiting.
const MESSAGES: usize = 64;

impl Shard {
    /// A socket has become readable or writable.
    pub(super) fn ready(&mut self, index: usize, event: &Event) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.ended |= event.is_read_closed();
        if event.is_writable() {
            connection.writable = true;
            if !connection.outbox.is_empty() || connection.socket.is_behind() {
                self.write(index);
            }
        }
        if event.is_readable() {
            self.read(index);
        }
    }

    /// Reads once, and handles what a connection has sent.
    fn read(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        // What was read before is handled first: whoever waits with it goes on by itself.
        if connection.question.is_some() || connection.held {
            return;
        }
        let is_handshaking = connection.socket.is_handshaking();
        if is_handshaking {
            if self.handshakes == 0 {
                return self.hear_again(index);
            }
            self.handshakes -= 1;
        }
        let received = connection.socket.receive(&mut self.buffer);
        if is_handshaking {
            self.shake_hands(index, &received);
        }
        // What was shaken hands with may have been waited for, and may be gone by what it was told.
        let Some(connection) = self.connections.get_mut(index) else { return };
        match received {
            Ok(Received::Bytes { length, more }) => {
                connection.heard = true;
                // Where the peer has ended, its end is still to be read, and no event tells of it again.
                let more = more || connection.ended;
                let mut buffer = std::mem::take(&mut self.buffer);
                self.received(index, &mut buffer[..length]);
                self.buffer = buffer;
                if more {
                    self.hear_again(index);
                }
            }
            // What it is still to get, its own close frame's answer for instance, may be on its way to it.
            Ok(Received::Ended) => {
                self.write(index);
                if self.connections.contains(index) {
                    self.remove(index);
                }
            }
            Ok(Received::PlainHttp) => self.refuse_plain_http(index),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => self.hear_again(index),
            Err(_) => self.remove(index),
        }
    }

    /// A handshake of TLS has gone on, and led to this.
    fn shake_hands(&mut self, index: usize, received: &io::Result<Received>) {
        let connection = &mut self.connections[index];
        if !connection.socket.is_handshaking() {
            // What was to be told, a refusal for instance, waits for this.
            connection.writable = true;
            return self.write(index);
        }
        let why = match received {
            Ok(Received::Bytes { .. }) => return,
            // Whoever only looks whether somebody listens has not failed.
            Ok(Received::Ended) if !connection.socket.has_begun() => return,
            Ok(Received::Ended) => "the client ended it".to_owned(),
            Ok(Received::PlainHttp) => "the client speaks plain HTTP".to_owned(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(error) => error.to_string(),
        };
        self.handshake_failed(index, &why);
    }

    /// Counts a client with which no TLS session came about.
    pub(super) fn handshake_failed(&mut self, index: usize, why: &str) {
        self.parts.metrics.handshake_failures().inc();
        let remote = self.connections[index].remote;
        tracing::debug!(shard = self.id.index(), %remote, why, "no TLS handshake");
    }

    /// Tells a client that speaks HTTP where TLS is spoken, in the words that it understands.
    fn refuse_plain_http(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.socket.expose();
        connection.writable = true;
        if connection.is_closing() {
            return self.write(index);
        }
        let body = reply::error("TLS is spoken here: use wss:// or https://", None);
        self.respond(index, response(Status(400), "application/json", body.as_bytes()));
    }

    /// There is more to hear of a connection in the next turn.
    pub(super) fn hear_again(&mut self, index: usize) {
        let key = self.key(index);
        if !std::mem::replace(&mut self.connections[index].queued, true) {
            self.again.push_back(key);
        }
    }

    /// Goes on with a connection: with what was read and not handled, then with what is to be read.
    pub(super) fn resume(&mut self, index: usize) {
        self.connections[index].held = false;
        self.received(index, &mut []);
        self.read(index);
    }

    /// Handles bytes that follow on what is unfinished.
    fn received(&mut self, index: usize, bytes: &mut [u8]) {
        let connection = &mut self.connections[index];
        if connection.is_closing() {
            return;
        }
        let mut unfinished = connection.unfinished.take().map(|unfinished| *unfinished).unwrap_or_default();
        if unfinished.bytes.is_empty() {
            let used = self.handle(index, bytes, &mut unfinished);
            unfinished.bytes.extend_from_slice(&bytes[used..]);
        } else {
            let mut input = std::mem::take(&mut unfinished.bytes);
            input.extend_from_slice(bytes);
            let used = self.handle(index, &mut input, &mut unfinished);
            input.drain(..used);
            if input.len() < input.capacity() / 4 {
                input.shrink_to_fit();
            }
            unfinished.bytes = input;
        }
        let connection = &mut self.connections[index];
        if !unfinished.is_empty() && !connection.is_closing() {
            connection.unfinished = Some(Box::new(unfinished));
        }
    }

    /// Handles as much of `input` as is whole and a turn allows, until the connection asks something or closes. Returns
    /// how much that was.
    fn handle(&mut self, index: usize, input: &mut [u8], unfinished: &mut Unfinished) -> usize {
        let mut used = 0;
        for _ in 0..MESSAGES {
            let connection = &self.connections[index];
            if connection.question.is_some() {
                return used;
            }
            match connection.phase {
                Phase::Closing | Phase::Closed => return input.len(),
                Phase::Head => match read_head(&input[used..], self.settings.door) {
                    None => return used,
                    Some((length, action)) => {
                        used += length;
                        self.act(index, action);
                    }
                },
                Phase::Body(length) => {
                    let Some(body) = input.get(used..used + length) else { return used };
                    used += length;
                    self.publish(index, Bytes::copy_from_slice(body));
                }
                Phase::Guest { .. } | Phase::Session(_) => {
                    match unfinished.decode(&mut input[used..], self.settings.limits.message) {
                        Ok((length, incoming)) => {
                            used += length;
                            let Some(incoming) = incoming else { return used };
                            self.incoming(index, incoming);
                        }
                        Err(error) => self.close(index, error.into()),
                    }
                }
            }
        }
        self.connections[index].held = true;
        self.hear_again(index);
        used
    }

    /// What an HTTP request leads to.
    fn act(&mut self, index: usize, action: Action) {
        match action {
            Action::Respond(response) => self.respond(index, response),
            Action::Publish { length } => self.connections[index].phase = Phase::Body(length),
            Action::Upgrade { response, token } => {
                self.connections[index].phase = Phase::Guest { denials: 0 };
                self.send(index, response);
                match token {
                    Some(token) => self.ask_whose(index, token, TokenQuestion::default()),
                    None => self.say(index, reply::GREETING),
                }
            }
        }
    }

    fn incoming(&mut self, index: usize, incoming: Incoming<'_>) {
        match incoming {
            Incoming::Text(text) => {
                let reaction = react(self.standing(index), Message::parse(&text), &self.settings.limits);
                self.follow(index, reaction);
            }
            Incoming::Binary => self.say(index, &reply::error("messages are text frames, not binary ones", None)),
            Incoming::Ping(payload) => {
                let length = u8::try_from(payload.len()).expect("a control frame is at most 125 bytes long");
                let pong = match payload {
                    [] => Bytes::from_static(&[0x8a, 0]),
                    _ => [&[0x8a, length], payload].concat().into(),
                };
                self.send(index, pong);
            }
            Incoming::Pong => {}
            Incoming::Close(code) => self.close(index, CloseReason::Echo(code)),
        }
    }

    fn standing(&self, index: usize) -> Standing {
        match self.connections[index].phase {
            Phase::Session(session) => Standing::Session { topics: self.sessions.view(session).topics },
            _ => Standing::Guest { by_message: self.settings.door.accept.message },
        }
    }

    fn follow(&mut self, index: usize, reaction: Reaction) {
        match reaction {
            Reaction::Reply(reply) => self.say(index, &reply),
            Reaction::Authenticate(token, question) => self.ask_whose(index, token, question),
            Reaction::Authorize(question) => self.ask_whether(index, question),
            Reaction::Unsubscribe(topics, reference) => {
                let Phase::Session(session) = self.connections[index].phase else { return };
                let gone: Vec<_> = topics.iter().filter(|topic| self.sessions.unsubscribe(session, topic)).collect();
                let gone: Vec<&str> = gone.iter().map(|topic| topic.as_str()).collect();
                self.say(index, &reply::unsubscribed(&gone, reference.as_deref()));
            }
        }
    }

    pub(super) fn say(&mut self, index: usize, reply: &str) {
        self.send(index, text_frame(reply));
    }

    fn ask_whose(&mut self, index: usize, token: SecretString, question: TokenQuestion) {
        let connection = self.key(index);
        let request = AuthenticateRequest { shard: self.id, connection, token, remote: self.connections[index].remote };
        let asked = self.parts.auth.try_send(request).is_ok();
        self.await_answer(index, asked, Question::Token(question));
    }

    /// Asks whether a session may subscribe to topics; where there is none to ask about, it is answered at once.
    pub(super) fn ask_whether(&mut self, index: usize, mut question: TopicQuestion) {
        let Phase::Session(session) = self.connections[index].phase else { return };
        let view = self.sessions.view(session);
        let request = AuthorizeRequest {
            shard: self.id,
            connection: self.key(index),
            user: view.user.clone(),
            tenant: view.tenant.clone(),
            attributes: view.attributes.clone(),
            topics: std::mem::take(&mut question.topics),
            has_them: false,
        };
        if request.topics.is_empty() {
            return self.tell_topics(index, &question, &[]);
        }
        let asked = self.parts.lanes.authorize(request).is_ok();
        self.await_answer(index, asked, Question::Topics(question));
    }

    fn publish(&mut self, index: usize, body: Bytes) {
        let request = PublishRequest { shard: self.id, connection: self.key(index), body };
        if self.parts.publish.try_send(request).is_ok() {
            self.connections[index].question = Some(Box::new(Question::Publish));
        } else {
            let body = reply::error("try again later", None);
            self.respond(index, response(Status(503), "application/json", body.as_bytes()));
        }
    }

    /// Waits for the answer to a question, or sends the client away where nobody can be asked now.
    fn await_answer(&mut self, index: usize, asked: bool, question: Question) {
        if asked {
            self.connections[index].question = Some(Box::new(question));
        } else {
            self.close(index, CloseReason::TryAgain);
        }
    }
}
