//! Reviews: when rights have changed, or the rules, the subscriptions that they allowed are judged again.
//!
//! The lane tells the shards which topics it is about; they tell who is subscribed to such, in portions; each is judged
//! again by the rules, and who may no longer is unsubscribed. Where rights have changed, later events of the tenant wait
//! for that.
//!
//! Invariant: of each kind, a tenant has one review under way at most, and one that is to follow, which takes up all that
//! comes meanwhile.
//! Invariant: a review ends in its time. What nobody could say by then is taken away. One for which no event waits has its
//! time anew with each session of which it could be said: so it ends when all is said, or soon after nothing is any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::authorize::Authorizer;
use super::request::{Judged, Origin};
use super::state::Effect;
use crate::event::{TenantId, Topic};
use crate::lookup::Forgotten;
use crate::reload::Rulebook;
use crate::route::{Judgement, SessionView};
use crate::shard::{Review, Reviewed, ShardId, ShardSet, Subscriber, Verdict};

/// How long the events of a tenant wait for a review.
pub const REVIEW_TIME: Duration = Duration::from_secs(5);
/// How long a review for which no event waits may take without that anything is said.
pub const SWAP_REVIEW_TIME: Duration = Duration::from_mins(1);
/// Topics that a review asks about at once. Shards hold back with more until there are fewer.
pub const REVIEW_OPEN: usize = 4_096;
/// Words that one review takes up, each for itself. Where there are more, it is about all calls of their queries.
const WORDS: usize = 64;
/// Rulebooks by which subscriptions may have come about, at most. Where there are more, each is judged as a new one.
const BEFORE: usize = 4;

/// Rulebooks by one of which each subscription came about. `None`: nobody knows which.
pub(super) type Before = Option<Vec<Arc<Rulebook>>>;

/// What a review is about.
#[derive(Clone, Debug)]
pub(super) enum About {
    /// These answers are no longer good.
    Forgotten(Vec<Forgotten>),
    /// Other rules are in force than these.
    Swapped(Before),
}

/// The reviews of a lane, of one kind.
#[derive(Debug)]
pub(super) struct Reviews {
    origin: fn(u64) -> Origin,
    time: Duration,
    /// Whether that is its time as long as nothing is said, or its time in all.
    prolongs: bool,
    tenants: HashMap<TenantId, OfTenant>,
    /// Those that are under way, by when they have to end and their number: a word to all tenants begins very many.
    ends: BTreeMap<(Instant, u64), TenantId>,
    numbered: u64,
}

#[derive(Debug)]
struct OfTenant {
    active: Active,
    next: Option<Next>,
}

#[derive(Debug)]
struct Active {
    number: u64,
    order: Arc<Review>,
    about: About,
    rulebook: Arc<Rulebook>,
    ends: Instant,
    /// The shards that were told of it. `None` where they are not yet.
    parts: Option<SmallVec<[Part; 4]>>,
    /// Topics that have no verdict yet.
    open: usize,
}

/// What is known of one shard's subscriptions.
#[derive(Debug)]
struct Part {
    shard: ShardId,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A portion is to come.
    Awaited,
    /// A portion came, and the shard holds back. It was the last one, or not.
    HeldBack { is_last: bool },
    /// All came.
    Done,
}

#[derive(Debug)]
struct Next {
    number: u64,
    about: About,
    rulebook: Arc<Rulebook>,
}

impl Reviews {
    /// Those for which events wait.
    pub(super) fn of_rights() -> Self {
        Self::new(Origin::Review, REVIEW_TIME, false)
    }

    /// Those since other rules are in force.
    pub(super) fn of_swaps() -> Self {
        Self::new(Origin::Swap, SWAP_REVIEW_TIME, true)
    }

    fn new(origin: fn(u64) -> Origin, time: Duration, prolongs: bool) -> Self {
        Self { origin, time, prolongs, tenants: HashMap::new(), ends: BTreeMap::new(), numbered: 0 }
    }

    /// Whether none is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.tenants.is_empty()
    }

    /// Tenants of which one is under way.
    pub(super) fn len(&self) -> usize {
        self.tenants.len()
    }

    /// What rules asked a database is no longer good. Where topic rules may have, begins a review by this rulebook, or
    /// widens the one that is to come. Returns the number of the review that later events have to wait for.
    pub(super) fn begin(
        &mut self,
        tenant: &TenantId,
        mut forgotten: Vec<Forgotten>,
        rulebook: &Arc<Rulebook>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> Option<u64> {
        forgotten.retain(|word| !rulebook.asking(word).is_empty());
        (!forgotten.is_empty()).then(|| self.add(tenant, About::Forgotten(forgotten), rulebook, now, effects))
    }

    /// Begins a review, or widens the one that is to come. Returns its number.
    pub(super) fn add(
        &mut self,
        tenant: &TenantId,
        about: About,
        rulebook: &Arc<Rulebook>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> u64 {
        if let Some(next) = self.tenants.get_mut(tenant).and_then(|of_tenant| of_tenant.next.as_mut()) {
            next.rulebook = Arc::clone(rulebook);
            next.about.widen(about);
            return next.number;
        }
        self.numbered += 1;
        let next = Next { number: self.numbered, about, rulebook: Arc::clone(rulebook) };
        if let Some(of_tenant) = self.tenants.get_mut(tenant) {
            of_tenant.next = Some(next);
        } else {
            let active = Active::new(tenant, next, now + self.time, effects);
            self.ends.insert(active.end(), tenant.clone());
            self.tenants.insert(tenant.clone(), OfTenant { active, next: None });
        }
        self.numbered
    }

    /// Whether this is one of them, and under way.
    pub(super) fn is_known(&self, order: &Arc<Review>) -> bool {
        self.tenants.get(&order.tenant).is_some_and(|of_tenant| Arc::ptr_eq(&of_tenant.active.order, order))
    }

    /// These shards were told of a review. Returns its number where it has ended by that: nobody is there.
    pub(super) fn sent(&mut self, order: &Arc<Review>, shards: ShardSet) -> Option<u64> {
        let active = self.active(order)?;
        active.parts = Some(shards.iter().map(|shard| Part { shard, stage: Stage::Awaited }).collect());
        active.is_over().then_some(active.number)
    }

    /// A portion of a shard's subscriptions: has those judged that the review is about.
    pub(super) fn reviewed(
        &mut self,
        word: Reviewed,
        effects: &mut Vec<Effect>,
        mut judge: impl FnMut(Origin, &Arc<Rulebook>, Subscriber, Vec<(Topic, Judgement)>),
    ) {
        let Reviewed { shard, review, subscribers, is_last } = word;
        let origin = self.origin;
        let Some(active) = self.active(&review) else { return };
        for subscriber in subscribers {
            let topics = active.concerned(&review.tenant, &subscriber);
            if !topics.is_empty() {
                active.open += topics.len();
                judge(origin(active.number), &active.rulebook, subscriber, topics);
            }
        }
        let parts = active.parts.iter_mut().flatten();
        if let Some(part) = parts.into_iter().find(|part| part.shard == shard) {
            part.stage = Stage::HeldBack { is_last };
        }
        active.go_on(effects);
    }

    /// A session's topics were judged again: those that it may no longer have are taken away. Returns the review's
    /// number where it has ended by that.
    pub(super) fn judged(
        &mut self,
        number: u64,
        judged: Judged,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> Option<u64> {
        let Judged { tenant, shard, connection, verdicts, .. } = judged;
        let count = verdicts.len();
        let is_said = verdicts.iter().any(|(_, verdict)| *verdict != Verdict::Unavailable);
        let topics: Vec<_> = verdicts.into_iter().filter(|(_, verdict)| *verdict != Verdict::Allowed).collect();
        if !topics.is_empty() {
            effects.push(Effect::Unsubscribe { shard, connection, topics });
        }
        let active = &mut self.tenants.get_mut(&tenant)?.active;
        if active.number != number {
            return None;
        }
        active.open -= count;
        if self.prolongs && is_said {
            self.ends.remove(&active.end());
            active.ends = now + self.time;
            self.ends.insert(active.end(), tenant);
        }
        active.go_on(effects);
        active.is_over().then_some(number)
    }

    /// The number of a tenant's review, where it has nothing to wait for any more.
    pub(super) fn over(&self, tenant: &TenantId) -> Option<u64> {
        let active = &self.tenants.get(tenant)?.active;
        active.is_over().then_some(active.number)
    }

    /// Whether this is the tenant's review that is under way.
    pub(super) fn is_active(&self, tenant: &TenantId, number: u64) -> bool {
        self.tenants.get(tenant).is_some_and(|of_tenant| of_tenant.active.number == number)
    }

    /// A tenant's review has ended. Begins the next one.
    pub(super) fn end(&mut self, tenant: &TenantId, now: Instant, effects: &mut Vec<Effect>) {
        let Some(of_tenant) = self.tenants.get_mut(tenant) else { return };
        self.ends.remove(&of_tenant.active.end());
        match of_tenant.next.take() {
            Some(next) => {
                of_tenant.active = Active::new(tenant, next, now + self.time, effects);
                self.ends.insert(of_tenant.active.end(), tenant.clone());
            }
            None => drop(self.tenants.remove(tenant)),
        }
    }

    /// When the first one has to end.
    pub(super) fn due(&self) -> Option<Instant> {
        self.ends.first_key_value().map(|((ends, _), _)| *ends)
    }

    /// A tenant whose review has to end now. What nobody could say yet is taken away: the caller closes what
    /// `authorizer` gives up, and ends the review.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        authorizer: &mut Authorizer,
        effects: &mut Vec<Effect>,
    ) -> Option<(TenantId, u64)> {
        let (_, tenant) = self.ends.first_key_value().filter(|((ends, _), _)| *ends <= now)?;
        let active = &self.tenants.get(tenant)?.active;
        for part in active.parts.iter().flatten().filter(|part| part.stage != Stage::Done) {
            effects.push(Effect::Withdraw { shard: part.shard, order: Arc::clone(&active.order) });
        }
        authorizer.abandon(tenant, (self.origin)(active.number));
        Some((tenant.clone(), active.number))
    }

    fn active(&mut self, order: &Arc<Review>) -> Option<&mut Active> {
        let active = &mut self.tenants.get_mut(&order.tenant)?.active;
        Arc::ptr_eq(&active.order, order).then_some(active)
    }
}

impl About {
    /// Takes up what another one is about.
    fn widen(&mut self, more: Self) {
        match (self, more) {
            (Self::Forgotten(words), Self::Forgotten(more)) => more.into_iter().for_each(|word| take_up(words, word)),
            (Self::Swapped(before), Self::Swapped(more)) => widen(before, more),
            (about, more) => *about = more,
        }
    }
}

/// Adds rulebooks to those by which subscriptions may have come about.
pub(super) fn widen(before: &mut Before, more: Before) {
    let (Some(known), Some(more)) = (before.as_mut(), more) else {
        *before = None;
        return;
    };
    for rulebook in more {
        if !known.iter().any(|known| Arc::ptr_eq(known, &rulebook)) {
            known.push(rulebook);
        }
    }
    if known.len() > BEFORE {
        *before = None;
    }
}

impl Active {
    fn new(tenant: &TenantId, next: Next, ends: Instant, effects: &mut Vec<Effect>) -> Self {
        let Next { number, about, rulebook } = next;
        let patterns = match &about {
            About::Swapped(_) => None,
            About::Forgotten(words) => {
                let mut patterns = Vec::new();
                for pattern in words.iter().flat_map(|word| rulebook.asking(word)) {
                    if !patterns.contains(&pattern) {
                        patterns.push(pattern);
                    }
                }
                Some(patterns)
            }
        };
        let order = Arc::new(Review { tenant: tenant.clone(), patterns });
        effects.push(Effect::Review(Arc::clone(&order)));
        Self { number, order, about, rulebook, ends, parts: None, open: 0 }
    }

    fn end(&self) -> (Instant, u64) {
        (self.ends, self.number)
    }

    /// The topics of a session that it may have no longer, and how they are to be judged again.
    fn concerned(&self, tenant: &TenantId, subscriber: &Subscriber) -> Vec<(Topic, Judgement)> {
        let Subscriber { user, attributes, topics, .. } = subscriber;
        let session = SessionView { user, tenant, attributes };
        let judged = topics.iter().map(|topic| (topic, self.rulebook.topics.judge(&session, topic)));
        let concerned = judged.filter(|(topic, judgement)| match &self.about {
            About::Forgotten(words) => words.iter().any(|word| self.rulebook.may_rest_on(judgement, word)),
            About::Swapped(before) => {
                let is_as_before = |before: &Arc<Rulebook>| {
                    let was = before.topics.judge(&session, topic);
                    before.judges_alike(&was, &self.rulebook, judgement)
                };
                match judgement {
                    Judgement::Verdict(verdict) => *verdict != Verdict::Allowed,
                    _ => before.as_ref().is_none_or(|before| !before.iter().all(is_as_before)),
                }
            }
        });
        concerned.map(|(topic, judgement)| (topic.clone(), judgement)).collect()
    }

    /// Lets shards say more, as far as there is room.
    fn go_on(&mut self, effects: &mut Vec<Effect>) {
        for part in self.parts.iter_mut().flatten() {
            if let Stage::HeldBack { is_last } = part.stage
                && self.open < REVIEW_OPEN
            {
                part.stage = if is_last { Stage::Done } else { Stage::Awaited };
                effects.push(Effect::ReviewOn { shard: part.shard, order: Arc::clone(&self.order) });
            }
        }
    }

    fn is_over(&self) -> bool {
        let all_came = |parts: &SmallVec<[Part; 4]>| parts.iter().all(|part| part.stage == Stage::Done);
        self.open == 0 && self.parts.as_ref().is_some_and(all_came)
    }
}

/// Adds a word to those that a review is about.
fn take_up(words: &mut Vec<Forgotten>, word: Forgotten) {
    if words.contains(&word) {
        return;
    }
    words.push(word);
    if words.len() <= WORDS {
        return;
    }
    let queries: Vec<_> = words.drain(..).map(|word| word.query).collect();
    for query in queries {
        if !words.iter().any(|word| word.query == query) {
            words.push(Forgotten { query, binds: SmallVec::new() });
        }
    }
}
