//! One request to subscribe, while its topics are judged.

use super::wanted::{Subject, Wanted};
use crate::event::{TenantId, Topic};
use crate::reload::Rulebook;
use crate::route::{Judgement, SessionView};
use crate::shard::{AuthorizeRequest, ConnectionKey, ShardId, Verdict};

/// Why topics are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client that wants to subscribe.
    Client,
    /// A subscribed client whose attributes have changed.
    Changed,
    /// The review of this number, for which events wait.
    Review(u64),
    /// The review of this number, because other rules are in force. Nothing waits for it.
    Swap(u64),
}

/// A finished request: a session's topics with their verdicts.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) origin: Origin,
    pub(super) tenant: TenantId,
    pub(super) shard: ShardId,
    pub(super) connection: ConnectionKey,
    pub(super) verdicts: Vec<(Topic, Verdict)>,
}

/// A request that lacks verdicts for some topics.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) origin: Origin,
    pub(super) shard: ShardId,
    pub(super) connection: ConnectionKey,
    pub(super) subject: Subject,
    pub(super) wanted: Vec<Wanted>,
    /// Topics without a verdict.
    pub(super) missing: usize,
}

/// The request, the topic in it, and the attempt that a query belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopicTicket {
    pub(super) request: u64,
    pub(super) topic: usize,
    pub(super) attempt: u8,
}

/// Whether the rules alone decide on all topics of a request.
pub(super) fn asks_nothing(request: &AuthorizeRequest, rulebook: &Rulebook) -> bool {
    let AuthorizeRequest { user, tenant, attributes, topics, .. } = request;
    let view = SessionView { user, tenant, attributes };
    topics.iter().all(|topic| matches!(rulebook.topics.judge(&view, topic), Judgement::Verdict(_)))
}

/// Why a client's request is judged.
pub(super) fn origin_of(request: &AuthorizeRequest) -> Origin {
    if request.has_them { Origin::Changed } else { Origin::Client }
}

impl Open {
    pub(super) fn judged(self) -> Judged {
        let Self { origin, shard, connection, subject, wanted, .. } = self;
        let verdicts = wanted.into_iter().map(|wanted| (wanted.topic, wanted.verdict)).collect();
        Judged { origin, tenant: subject.tenant, shard, connection, verdicts }
    }
}
