//! Lanes: router threads. A tenant always maps to the same lane, which keeps its order.
//!
//! What a lane decides is in [`Lane`], a state machine without I/O and clock; [`Lanes::start`] runs it on threads.

mod admission;
mod answers;
mod authorize;
mod delivery;
mod handover;
mod ledger;
mod line;
mod quarantine;
mod queue;
mod request;
mod request_queue;
mod review;
mod rights;
mod run;
mod scripts;
mod state;
mod swap;
mod wanted;

use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

use self::run::{Inboxes, Seat};
use crate::config::PluginId;
use crate::event::TenantId;
use crate::lookup::Forgotten;
use crate::reload::Rulebook;
use crate::shard::{AuthorizeRequest, Reviewed};

pub use answers::KEPT_BYTES;
pub use authorize::{AUTHORIZE_IN_FLIGHT, AUTHORIZE_TENANT_IN_FLIGHT, AUTHORIZE_TENANT_WAITING, AUTHORIZE_WAITING};
pub use delivery::{Delivery, Receipt};
pub use handover::{Addressed, Handover};
pub use quarantine::{Quarantine, Run};
pub use queue::TENANT_IN_FLIGHT;
pub use request_queue::{REQUEST_TIME, REQUESTS_TENANT_BYTES};
pub use review::{REVIEW_OPEN, REVIEW_TIME, SWAP_REVIEW_TIME};
pub use run::LaneParts;
pub use state::{Ask, Effect, LANE_WAITING, LANE_WAITING_BYTES, Lane, TENANT_WAITING, Ticket, UNSETTLED_WAITING};
pub use swap::SWAP_TENANTS;

/// The handle to all lanes. Cheap to clone. The lanes end when the last one is dropped and nothing waits any more.
#[derive(Clone, Debug)]
pub struct Lanes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lanes: Box<[LaneHandle]>,
    mapping: Mapping,
}

/// Which tenant belongs to which lane.
#[derive(Clone, Debug)]
struct Mapping {
    lanes: NonZeroUsize,
    /// Its copies agree. Two that are made anew do not.
    hasher: hashbrown::DefaultHashBuilder,
}

#[derive(Debug)]
struct LaneHandle {
    /// Bounded: a full lane stops reading its sources.
    events: mpsc::Sender<Delivery>,
    /// Bounded by what shards have connections: each has one request under way at most.
    requests: mpsc::Sender<AuthorizeRequest>,
    /// Bounded by what shards have connections: a tenant has one review under way at most, of which each shard has said
    /// one portion that was not taken yet. Full, it gives them back.
    words: mpsc::Sender<Word>,
}

/// What shards, other lanes and the change of rulebooks have to say to a lane.
#[derive(Debug)]
enum Word {
    /// Who is subscribed to what a review is about.
    Reviewed(Reviewed),
    /// An event of no tenant said that answers are no longer good, whoever got them.
    Forget(Forgotten),
    /// Get ready to call this plugin of a rulebook that is to come into force, and say whether that went well.
    Prepare(Arc<Rulebook>, PluginId, oneshot::Sender<Result<(), String>>),
    /// Another rulebook is in force than this one, where what sessions have by it is to be judged again.
    Swapped(Option<Arc<Rulebook>>),
}

/// Words that a lane's inbox holds at least.
const WORDS: usize = 1_024;

impl Lanes {
    /// Starts so many lanes, named `lane-0` and so on, each with a thread `quarantine-0` beside it. An error where the system has no thread to give.
    pub fn start(count: NonZeroUsize, parts: &LaneParts) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let mapping = Mapping::new(count);
        let mut lanes = Vec::with_capacity(count.get());
        let mut threads = Vec::with_capacity(count.get());
        let (words, words_in): (Vec<_>, Vec<_>) =
            (0..count.get()).map(|_| mpsc::channel(parts.requests.get().max(WORDS))).unzip();
        // They do not keep each other alive.
        let others: Arc<[_]> = words.iter().map(mpsc::Sender::downgrade).collect();
        for (index, (words, words_in)) in words.into_iter().zip(words_in).enumerate() {
            // Full, they make sources and shards wait or turn to something else: see the handle.
            let (events, events_in) = mpsc::channel(parts.events.get());
            let (requests, requests_in) = mpsc::channel(parts.requests.get());
            let inboxes = Inboxes { events: events_in, requests: requests_in, words: words_in };
            let seat = Seat { index, mapping: mapping.clone(), lanes: Arc::clone(&others) };
            threads.extend(run::spawn(seat, parts.clone(), inboxes)?);
            lanes.push(LaneHandle { events, requests, words });
        }
        Ok((Self(Arc::new(Inner { lanes: lanes.into(), mapping })), threads))
    }

    /// One lane that is a plain channel of this capacity: for tests of what feeds lanes.
    #[doc(hidden)]
    pub fn to_channel(capacity: usize) -> (Self, mpsc::Receiver<Delivery>) {
        let (events, receiver) = mpsc::channel(capacity);
        let ((requests, _), (words, _)) = (mpsc::channel(1), mpsc::channel(1));
        let lanes = Box::new([LaneHandle { events, requests, words }]);
        (Self(Arc::new(Inner { lanes, mapping: Mapping::new(NonZeroUsize::MIN) })), receiver)
    }

    /// Hands an event to its tenant's lane, waiting while that is full. `false` where the lanes are gone.
    pub async fn send(&self, delivery: Delivery) -> bool {
        self.of(delivery.event.tenant()).events.send(delivery).await.is_ok()
    }

    /// As [`send`](Self::send), but gives the event back where the lane is full or gone.
    pub fn try_send(&self, delivery: Delivery) -> Result<(), Delivery> {
        self.of(delivery.event.tenant()).events.try_send(delivery).map_err(TrySendError::into_inner)
    }

    /// Asks whether a session may subscribe; the answer goes to its shard. Gives the request back where the lane is
    /// full or gone.
    pub fn authorize(&self, request: AuthorizeRequest) -> Result<(), AuthorizeRequest> {
        self.of(Some(&request.tenant)).requests.try_send(request).map_err(TrySendError::into_inner)
    }

    /// Answers, for as long as there are lanes, how many events wait in each one's inbox. Does not keep them going.
    pub fn inboxes(&self) -> impl Fn() -> Vec<usize> + Send + Sync + 'static {
        let lanes = Arc::downgrade(&self.0);
        let waiting = |lane: &LaneHandle| lane.events.max_capacity() - lane.events.capacity();
        move || lanes.upgrade().map_or_else(Vec::new, |inner| inner.lanes.iter().map(waiting).collect())
    }

    /// Tells who is subscribed to what a review is about. `false` where the lane is full or gone.
    pub fn reviewed(&self, word: Reviewed) -> bool {
        self.of(Some(&word.review.tenant)).words.try_send(Word::Reviewed(word)).is_ok()
    }

    /// Has every lane make ready what this rulebook needs to decide, while the present one decides. It is to come into
    /// force only when all have answered that they are. An error says which lane is not, and why.
    pub async fn prepare(&self, rulebook: &Arc<Rulebook>) -> Result<(), String> {
        // One plugin at a time: events of the rulebook that is in force go on between.
        for plugin in rulebook.plugins_of_lanes() {
            let mut answers = Vec::new();
            for lane in &self.0.lanes {
                let (ready, answer) = oneshot::channel();
                // Where the lane has ended, there is no answer.
                lane.words.send(Word::Prepare(Arc::clone(rulebook), plugin, ready)).await.ok();
                answers.push(answer);
            }
            for (index, answer) in answers.into_iter().enumerate() {
                let ready = answer.await.unwrap_or_else(|_| Err("it has ended".to_owned()));
                ready.map_err(|why| format!("lane {index}: {why}"))?;
            }
        }
        Ok(())
    }

    /// Tells all lanes that another rulebook has come into force. Where it is given which one was before, what sessions
    /// want and have is judged again by the rules of now: those topics are taken away that they may no longer have, and
    /// their clients are told.
    ///
    /// To be said after the change, whether topic rules have changed or not: lanes let go of what was before.
    pub async fn swapped(&self, review: Option<&Arc<Rulebook>>) {
        for lane in &self.0.lanes {
            lane.words.send(Word::Swapped(review.cloned())).await.ok();
        }
    }

    fn of(&self, tenant: Option<&TenantId>) -> &LaneHandle {
        &self.0.lanes[self.0.mapping.index(tenant)]
    }
}

impl Mapping {
    fn new(lanes: NonZeroUsize) -> Self {
        Self { lanes, hasher: hashbrown::DefaultHashBuilder::default() }
    }

    /// The lane of a tenant, by its number. What has no tenant has one too.
    fn index(&self, tenant: Option<&TenantId>) -> usize {
        let hash = tenant.map_or(0, |tenant| self.hasher.hash_one(tenant));
        usize::try_from(hash % self.lanes.get() as u64).expect("a remainder of a usize")
    }
}

#[cfg(test)]
mod tests;
