//! What is said to a shard, and what a shard asks for: a closed list each.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::HashMap;
use secrecy::SecretString;
use smallvec::SmallVec;
use tokio::sync::mpsc;

use crate::auth::{Attributes, Identity, Refusal};
use crate::config::MAX_SHARDS;
use crate::event::{Audience, Clause, EventId, Payload, TenantId, Topic, TopicPattern, UserId};
use crate::observe::Account;

/// Which shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShardId(u8);

impl ShardId {
    /// Shards at most.
    pub const MAX: u8 = MAX_SHARDS;

    /// The shard of this index, below [`MAX`](Self::MAX).
    pub fn new(index: u8) -> Self {
        assert!(index < Self::MAX, "at most {} shards", Self::MAX);
        Self(index)
    }

    /// The first `count` ids: at most [`MAX`](Self::MAX).
    pub fn first(count: usize) -> impl Iterator<Item = Self> {
        (0..Self::MAX).take(count).map(Self)
    }

    /// Its index among all.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(super) fn bit(self) -> u64 {
        1 << self.0
    }
}

/// A connection of a shard. The generation tells it from a later one in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// Its place in the shard's table.
    pub index: u32,
    /// The number of the connection among all that the shard has accepted.
    pub generation: u32,
}

/// A word to a shard.
#[derive(Debug)]
pub enum ToShard {
    /// Give this to whom it is for.
    Deliver(Arc<Routed>),
    /// Whose token it was, or why not.
    Authenticated(ConnectionKey, Result<Identity, Refusal>),
    /// Which topics the session may subscribe to.
    Authorized(ConnectionKey, Vec<(Topic, Verdict)>),
    /// Ping the sessions of this tenant (`None`: of all) with the newest event's id, where it is known.
    Ping {
        /// Whose sessions.
        tenant: Option<TenantId>,
        /// What they are told.
        last_event_id: Option<EventId>,
    },
    /// Tell the lane who is subscribed to topics of these patterns, the first portion of it.
    Review(Arc<Review>),
    /// The next portion of that. What was said is done with.
    ReviewOn(Arc<Review>),
    /// Take away the subscriptions of a review that were not said, and those of its last portion.
    Withdraw(Arc<Review>),
    /// Take away these subscriptions of a session, for these reasons.
    Unsubscribe(ConnectionKey, Vec<(Topic, Verdict)>),
    /// Close the connections of these users.
    Disconnect {
        /// Whose users.
        tenant: TenantId,
        /// Which of them.
        users: Arc<[UserId]>,
    },
    /// The answer to a [`PublishRequest`]: an HTTP status and a JSON body.
    Published(ConnectionKey, u16, Bytes),
    /// Accept no more, tell clients when to come back, close them spread over this time, and end.
    Drain(Duration),
}

/// What routing made of an event: who shall get it, and the bytes they get. Encoded once for all that get the same.
#[derive(Debug)]
pub struct Routed {
    audiences: SmallVec<[Audience; 1]>,
    /// The different frames, each a whole WebSocket frame.
    frames: SmallVec<[Bytes; 1]>,
    /// The index of each clause's frame. The clauses of all audiences are numbered in one row.
    frame_of: SmallVec<[u32; 4]>,
    received: Instant,
    account: Arc<Account>,
}

impl Routed {
    /// An event for the union of these audiences, received then, whose deliveries are counted there. `encode` makes a
    /// whole WebSocket frame of it with such a payload, and is called once for each that is needed.
    pub fn new(
        audiences: SmallVec<[Audience; 1]>,
        received: Instant,
        account: Arc<Account>,
        mut encode: impl FnMut(&Payload) -> Bytes,
    ) -> Self {
        let (frames, frame_of) = encoded(audiences.iter().flat_map(Audience::clauses), &mut encode);
        Self { audiences, frames, frame_of, received, account }
    }

    /// Who gets it: the union of these.
    pub fn audiences(&self) -> &[Audience] {
        &self.audiences
    }

    /// The different frames, each a whole one.
    pub fn frames(&self) -> impl Iterator<Item = &Bytes> {
        self.frames.iter()
    }

    /// Which of the frames go to the sessions of the clause of this number.
    pub fn frame_of(&self, clause: usize) -> usize {
        self.frame_of.get(clause).map_or(0, |frame| *frame as usize)
    }

    /// When the event was received.
    pub fn received(&self) -> Instant {
        self.received
    }

    /// Where its tenant's deliveries are counted.
    pub fn account(&self) -> &Account {
        &self.account
    }
}

/// Encodes each different payload of these clauses once. Returns the frames, and the index of each clause's frame.
fn encoded<'c>(
    clauses: impl Iterator<Item = &'c Clause>,
    encode: &mut impl FnMut(&Payload) -> Bytes,
) -> (SmallVec<[Bytes; 1]>, SmallVec<[u32; 4]>) {
    let (mut frames, mut frame_of) = (SmallVec::new(), SmallVec::new());
    // Payloads of plugins may be many and long: they are not compared with each other.
    let (mut shared, mut own) = (SmallVec::<[(&Payload, u32); 2]>::new(), HashMap::<&Bytes, u32>::new());
    let mut next = 0;
    for Clause { payload, .. } in clauses {
        let known = match payload {
            Payload::Own(bytes) => own.get(bytes).copied(),
            Payload::Whole | Payload::Part(_) => {
                shared.iter().find(|(other, _)| payload.is_same(other)).map(|(_, frame)| *frame)
            }
        };
        frame_of.push(known.unwrap_or(next));
        if known.is_none() {
            frames.push(encode(payload));
            if let Payload::Own(bytes) = payload {
                own.insert(bytes, next);
            } else {
                shared.push((payload, next));
            }
            next += 1;
        }
    }
    (frames, frame_of)
}

/// Whether a session may subscribe to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allowed,
    /// It may not.
    Denied,
    /// What would have to be asked cannot be asked now.
    Unavailable,
}

/// Whose token is it?
#[derive(Debug)]
pub struct AuthenticateRequest {
    /// Where the answer goes.
    pub shard: ShardId,
    /// For which connection.
    pub connection: ConnectionKey,
    /// The token.
    pub token: SecretString,
    /// Where the client is.
    pub remote: IpAddr,
}

/// May this session subscribe to these topics?
#[derive(Debug)]
pub struct AuthorizeRequest {
    /// Where the answer goes.
    pub shard: ShardId,
    /// For which connection.
    pub connection: ConnectionKey,
    /// Whose session it is.
    pub user: UserId,
    /// Of which tenant.
    pub tenant: TenantId,
    /// What else is known of the user.
    pub attributes: Arc<Attributes>,
    /// The topics, in the order in which they were asked for.
    pub topics: Vec<Topic>,
    /// Whether it has them already, and is to lose those that it may not have: by [`ToShard::Unsubscribe`].
    pub has_them: bool,
}

/// Who is subscribed to what? One review is one value, and known by it.
#[derive(Debug)]
pub struct Review {
    /// Whose sessions.
    pub tenant: TenantId,
    /// Topics of these patterns. `None`: all.
    pub patterns: Option<Vec<TopicPattern>>,
}

/// A portion of the answer to a [`Review`]. The next one follows when it is asked for.
#[derive(Debug)]
pub struct Reviewed {
    /// Who answers.
    pub shard: ShardId,
    /// What.
    pub review: Arc<Review>,
    /// Those who are subscribed. A session may stand here again, with other topics.
    pub subscribers: Vec<Subscriber>,
    /// Whether there are no more.
    pub is_last: bool,
}

/// A session and some of its topics.
#[derive(Debug)]
pub struct Subscriber {
    /// Which connection.
    pub connection: ConnectionKey,
    /// Whose session it is.
    pub user: UserId,
    /// What else is known of the user.
    pub attributes: Arc<Attributes>,
    /// The topics.
    pub topics: Vec<Topic>,
}

/// Publish this, which came in through the demo page.
#[derive(Debug)]
pub struct PublishRequest {
    /// Where the answer goes.
    pub shard: ShardId,
    /// For which connection.
    pub connection: ConnectionKey,
    /// The body of the request.
    pub body: Bytes,
}

/// The way into one shard. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ShardHandle {
    inbox: mpsc::Sender<ToShard>,
    bell: Arc<Bell>,
}

/// Wakes a shard that waits in its poll, at most once for each time that it goes to wait.
#[derive(Debug)]
pub(super) struct Bell {
    rung: AtomicBool,
    waker: mio::Waker,
}

impl Bell {
    pub(super) fn new(waker: mio::Waker) -> Self {
        Self { rung: AtomicBool::new(false), waker }
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // It fails only where the poll is gone, and with it the shard.
            self.waker.wake().ok();
        }
    }

    /// Called by the shard before it empties its inbox: what is sent from now on rings again.
    ///
    /// A swap and no store: either a sender's own swap comes later and finds the bell silent, or it came before and what
    /// was sent is seen by the shard from here on. A store could pass the look into the inbox that follows it.
    pub(super) fn silence(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

impl ShardHandle {
    pub(super) fn new(inbox: mpsc::Sender<ToShard>, bell: Arc<Bell>) -> Self {
        Self { inbox, bell }
    }

    /// Says a word to the shard, waiting while its inbox is full. Lost where the shard has ended.
    pub async fn send(&self, word: ToShard) {
        if self.inbox.send(word).await.is_ok() {
            self.bell.ring();
        }
    }

    /// As [`try_send`](Self::try_send), but leaves the shard asleep: whoever has more words to say [wakes](Self::wake) it
    /// once, after the last.
    pub fn post(&self, word: ToShard) -> Result<(), ToShard> {
        self.inbox.try_send(word).map_err(mpsc::error::TrySendError::into_inner)
    }

    /// Has the shard look for what was [posted](Self::post).
    pub fn wake(&self) {
        self.bell.ring();
    }

    /// As [`send`](Self::send), but gives the word back where the inbox is full or the shard has ended.
    pub fn try_send(&self, word: ToShard) -> Result<(), ToShard> {
        self.inbox.try_send(word).map_err(mpsc::error::TrySendError::into_inner)?;
        self.bell.ring();
        Ok(())
    }
}

/// The way into all shards, by [`ShardId`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shards(Arc<[ShardHandle]>);

impl Shards {
    /// All shards, in the order of their ids.
    pub fn new(handles: Vec<ShardHandle>) -> Self {
        Self(handles.into())
    }

    /// One shard.
    pub fn get(&self, shard: ShardId) -> &ShardHandle {
        &self.0[shard.index()]
    }

    /// Answers how many words wait in each one's inbox.
    pub fn inboxes(&self) -> impl Fn() -> Vec<usize> + Send + Sync + 'static {
        let shards = self.clone();
        let waiting = |shard: &ShardHandle| shard.inbox.max_capacity() - shard.inbox.capacity();
        move || shards.iter().map(waiting).collect()
    }

    /// All shards.
    pub fn iter(&self) -> impl Iterator<Item = &ShardHandle> {
        self.0.iter()
    }
}

/// A way into a shard that a test plays: the receiver gets each message that is sent to it.
#[cfg(test)]
pub(crate) fn test_pair(capacity: usize) -> (ShardHandle, mpsc::Receiver<ToShard>) {
    let (shard, inbox, _) = test_sleeper(capacity);
    (shard, inbox)
}

/// As [`test_pair`], with the poll in which the shard sleeps.
#[cfg(test)]
pub(crate) fn test_sleeper(capacity: usize) -> (ShardHandle, mpsc::Receiver<ToShard>, Sleeper) {
    let poll = mio::Poll::new().unwrap();
    let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
    let (sender, inbox) = mpsc::channel(capacity);
    (ShardHandle::new(sender, Arc::new(Bell::new(waker))), inbox, Sleeper(poll))
}

/// The poll of a shard that a test plays.
#[cfg(test)]
pub(crate) struct Sleeper(mio::Poll);

#[cfg(test)]
impl Sleeper {
    /// Whether somebody has woken the shard.
    pub(crate) fn is_woken(&mut self) -> bool {
        let mut events = mio::Events::with_capacity(1);
        self.0.poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    }
}
