//! The answers that a shard gets to what it asked, and what they make of a connection.

use std::time::SystemTime;

use super::connection::{Phase, Question};
use super::run::{Shard, now, wall_clock};
use super::timers::Due;
use super::{ConnectionKey, SessionId, Verdict};
use crate::auth::{Identity, Refusal};
use crate::connection::{MAX_DENIALS, TokenQuestion, TopicQuestion};
use crate::event::Topic;
use crate::listen::{Status, response};
use crate::wire::{CloseReason, reply};

impl Shard {
    /// Whose token it was, or why not.
    pub(super) fn authenticated(&mut self, key: ConnectionKey, outcome: Result<Identity, Refusal>) {
        let Some(index) = self.index(key) else { return };
        let Some(question) = self.connections[index].question.take() else { return };
        let Question::Token(question) = *question else { return };
        match (self.connections[index].phase, outcome) {
            (Phase::Guest { .. }, Ok(identity)) => self.admit(index, identity, question),
            (Phase::Session(session), Ok(identity)) => self.refresh(index, session, identity, question),
            (Phase::Guest { denials }, Err(Refusal::Denied)) => {
                self.say(index, &reply::error(reply::DENIED, question.reference.as_deref()));
                if denials + 1 >= MAX_DENIALS {
                    self.close(index, CloseReason::TooManyDenials);
                } else {
                    self.connections[index].phase = Phase::Guest { denials: denials + 1 };
                }
            }
            (Phase::Session(_), Err(Refusal::Denied)) => {
                self.say(index, &reply::error(reply::DENIED, question.reference.as_deref()));
            }
            (Phase::Guest { .. }, Err(Refusal::Unavailable)) => {
                self.say_unavailable(index, &question);
                self.close(index, CloseReason::TryAgain);
            }
            // A session goes on as what it is.
            (Phase::Session(_), Err(Refusal::Unavailable)) => {
                self.say_unavailable(index, &question);
            }
            (Phase::Head | Phase::Body(_) | Phase::Closing | Phase::Closed, _) => return,
        }
        self.resume(index);
    }

    fn say_unavailable(&mut self, index: usize, question: &TokenQuestion) {
        let reply = reply::unavailable(self.settings.comeback.retry_in_ms(), question.reference.as_deref());
        self.say(index, &reply);
    }

    fn admit(&mut self, index: usize, identity: Identity, question: TokenQuestion) {
        let key = self.key(index);
        let connected = reply::connected(&identity.user, question.wants_catch_up, question.reference.as_deref());
        let (tenant, expires_at) = (identity.tenant.clone(), identity.expires_at);
        tracing::debug!(shard = self.id.index(), %tenant, user = %identity.user, "session admitted");
        let (session, first) = self.sessions.admit(key.index, identity);
        // Before the client is told: an event published after that must find its way here.
        if first {
            self.parts.interest.join(self.id, &tenant);
        }
        self.parts.metrics.sessions().inc();
        self.parts.metrics.tenants().joined(&tenant);
        self.connections[index].phase = Phase::Session(session);
        self.expire_at(index, session, expires_at);
        self.say(index, &connected);
        self.ask_for(index, session, question.topics);
    }

    /// A session's own token again, or a newer one: it stays the same user's.
    fn refresh(&mut self, index: usize, session: SessionId, identity: Identity, question: TokenQuestion) {
        let view = self.sessions.view(session);
        if *view.user != identity.user || *view.tenant != identity.tenant {
            return self.say(index, &reply::error(reply::DENIED, question.reference.as_deref()));
        }
        let has_changed = *view.attributes != identity.attributes;
        self.sessions.refresh(session, identity.attributes);
        if has_changed {
            self.ask_again(index, session);
        }
        self.expire_at(index, session, identity.expires_at);
        self.say(index, &reply::connected(&identity.user, question.wants_catch_up, question.reference.as_deref()));
        self.ask_for(index, session, question.topics);
    }

    /// Asks for the topics that came with a token.
    fn ask_for(&mut self, index: usize, session: SessionId, topics: Vec<String>) {
        if topics.is_empty() {
            return;
        }
        match TopicQuestion::new(topics, self.sessions.view(session).topics, &self.settings.limits) {
            Ok(topics) => self.ask_whether(index, topics),
            Err(error) => self.say(index, &reply::error(&error, None)),
        }
    }

    fn expire_at(&mut self, index: usize, session: SessionId, expires_at: Option<SystemTime>) {
        self.sessions.set_expiry(session, expires_at);
        self.arm_expiry(index, session);
    }

    /// Sets the timer of a session's end, where none is set that comes first: that one sets the next.
    fn arm_expiry(&mut self, index: usize, session: SessionId) {
        let Some(expires_at) = self.sessions.expiry(session) else { return };
        let left = expires_at.duration_since(wall_clock()).unwrap_or_default();
        // A time too far away to be counted to is as good as none. Both times are of now, and not of the turn.
        let Some(at) = now().checked_add(left) else { return };
        if self.sessions.arm(session, at) {
            self.timers.set(at, Due::Expiry, self.key(index));
        }
    }

    /// The time is up that a session had when the timer was set. It may have got more since, or the world's clock was
    /// set back.
    pub(super) fn expiry_is_due(&mut self, index: usize) {
        let Phase::Session(session) = self.connections[index].phase else { return };
        self.sessions.disarm(session);
        match self.sessions.expiry(session) {
            Some(expires_at) if expires_at <= wall_clock() => self.close(index, CloseReason::Expired),
            _ => self.arm_expiry(index, session),
        }
    }

    /// A connection has had all the time there is to become a session.
    pub(super) fn admission_is_due(&mut self, index: usize) {
        if self.connections[index].socket.is_handshaking() {
            self.handshake_failed(index, "it took too long");
            return self.remove(index);
        }
        match (self.connections[index].phase, self.connections[index].question.as_deref()) {
            // A publish has come to lanes, or will: its answer ends the connection.
            (Phase::Session(_) | Phase::Closing | Phase::Closed, _) | (Phase::Body(_), Some(Question::Publish)) => {}
            (Phase::Head | Phase::Body(_), _) => {
                let body = reply::error("the request took too long", None);
                self.respond(index, response(Status(408), "application/json", body.as_bytes()));
            }
            // It has said who it is, and it is not its fault that nobody could say whether that is so.
            (Phase::Guest { .. }, Some(Question::Token(question))) => {
                let reply = reply::unavailable(self.settings.comeback.retry_in_ms(), question.reference.as_deref());
                self.say(index, &reply);
                self.close(index, CloseReason::TryAgain);
            }
            (Phase::Guest { .. }, _) => self.close(index, CloseReason::NotInTime),
        }
    }

    /// Which topics a session may subscribe to.
    pub(super) fn authorized(&mut self, key: ConnectionKey, verdicts: &[(Topic, Verdict)]) {
        let Some(index) = self.index(key) else { return };
        let Some(question) = self.connections[index].question.take() else { return };
        let Question::Topics(question) = *question else { return };
        self.tell_topics(index, &question, verdicts);
        self.resume(index);
    }

    /// Subscribes to what is allowed and tells the client what came of its request.
    pub(super) fn tell_topics(&mut self, index: usize, question: &TopicQuestion, verdicts: &[(Topic, Verdict)]) {
        let Phase::Session(session) = self.connections[index].phase else { return };
        let of = |wanted| verdicts.iter().filter(move |(_, verdict)| *verdict == wanted);
        let names = |wanted| of(wanted).map(|(topic, _)| topic.as_str());
        let subscribed: Vec<&str> = names(Verdict::Allowed).collect();
        let denied: Vec<&str> = names(Verdict::Denied).chain(question.invalid.iter().map(String::as_str)).collect();
        let unavailable: Vec<&str> = names(Verdict::Unavailable).collect();
        let reply = reply::subscribed(&subscribed, &denied, &unavailable, question.reference.as_deref());
        for (topic, _) in of(Verdict::Allowed) {
            self.sessions.subscribe(session, topic.clone());
        }
        self.say(index, &reply);
    }

    /// What came of a publish by the demo page.
    pub(super) fn published(&mut self, key: ConnectionKey, status: u16, body: &[u8]) {
        let Some(index) = self.index(key) else { return };
        if matches!(self.connections[index].question.as_deref(), Some(Question::Publish)) {
            self.respond(index, response(Status(status), "application/json", body));
        }
    }
}
