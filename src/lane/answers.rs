//! Answers to queries: those that are kept for a time, and those that are being asked for.
//!
//! Invariant: an answer that was being asked for when somebody said that it is no longer good is not kept, and goes only
//! to those who already waited for it. So a query under way cannot undo a revocation.
//! Invariant: answers are kept of the queries that are in force alone. Those of others, which another generation asks, go
//! to those who wait for them.
//! Invariant: of a query whose answers are not kept, each call is asked by itself: nobody gets an answer that was begun
//! before the question came up.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use hashbrown::HashMap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use smallvec::SmallVec;

use super::request::TopicTicket;
use super::state::{Ask, Owner, Ticket};
use crate::cache::{Bounds, Cache};
use crate::config::{Query, QueryId};
use crate::event::Scalar;
use crate::lookup::{Binds, Forget, Forgotten, Rows, loose};
use crate::observe::Metrics;
use crate::reload::Queries;
use crate::route::{Answer, Call, CallId};

/// Bytes that all kept answers of all lanes may hold.
pub const KEPT_BYTES: usize = 256 << 20;
/// Kept answers of one tenant to one query that are looked through for those to forget. Where there are more, and it
/// is not said which one is meant, all go: a tenant that says so often shall not keep its lane busy with looking.
const LOOKED_THROUGH: usize = 4_096;
/// Answers to calls that are alike but for their values' types, `7` and `"7"`, which a database may tell apart.
const VARIANTS: usize = 4;
/// Expired answers let go at once, where nothing else makes them go.
const SWEPT: usize = 1_024;
/// How often that is.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// The answers that a lane has, and waits for.
#[derive(Debug)]
pub(super) struct Answers {
    in_force: Option<InForce>,
    /// Of what each query may have kept, a lane has the part of one of so many.
    lanes: NonZeroUsize,
    metrics: Arc<Metrics>,
    flights: HashMap<u64, Flight>,
    /// The flights of each, of queries whose answers are kept.
    under_way: HashMap<Owner, SmallVec<[u64; 4]>>,
    numbered: u64,
    swept: Option<Instant>,
}

/// What a question is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiter {
    /// A call of the waiting event of this number.
    Event { number: u64, call: CallId },
    /// A topic of a request.
    Topic(TopicTicket),
}

/// Whose place among those under way a query takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// The events' of its tenant.
    Queue,
    /// The topics' of its tenant.
    Line,
    /// The one of its tenant's events for which a plugin runs.
    Run,
}

/// What came of a question.
#[derive(Debug)]
pub(super) enum Asked {
    /// The answer is there.
    Known(Answer),
    /// It is being asked for already.
    Joined,
    /// It must be asked now.
    Started(Ask),
    /// It would have to be asked, and there is no room.
    NoRoom(Call),
}

/// A question that was answered.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) owner: Owner,
    /// The query's name; empty for a plugin's run.
    pub(super) query: CompactString,
    pub(super) holder: Holder,
    pub(super) waiters: SmallVec<[Waiter; 1]>,
}

/// What is kept of the queries in force.
#[derive(Debug)]
struct InForce {
    queries: Arc<Queries>,
    /// By [`QueryId`]: of those whose answers are kept.
    kept: Vec<Option<Kept>>,
    entries: Gauge,
    evictions: Counter,
}

/// The kept answers of one query.
#[derive(Debug)]
struct Kept {
    ttl: Duration,
    /// What is bound, `:tenant` aside, in order.
    binds: Box<[CompactString]>,
    cache: Cache<Key, Owner, SmallVec<[Variant; 1]>>,
    hits: Counter,
    misses: Counter,
    joined: Counter,
    /// Of the entries and evictions, those that have been told.
    told: (usize, u64),
}

/// Calls that are alike: see [`loose`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    owner: Owner,
    values: Box<[CompactString]>,
}

#[derive(Debug)]
struct Variant {
    binds: Binds,
    rows: Arc<Rows>,
    expires: Instant,
}

#[derive(Debug)]
struct Flight {
    owner: Owner,
    /// What is asked. `None`: a plugin is run.
    asked: Option<Asking>,
    holder: Holder,
    waiters: SmallVec<[Waiter; 1]>,
    started: Instant,
    /// Its answer is for those who wait for it alone.
    stale: bool,
}

#[derive(Debug)]
struct Asking {
    /// Among which the query is.
    queries: Arc<Queries>,
    query: QueryId,
    /// Where its answer is to be kept.
    binds: Option<Binds>,
}

impl Answers {
    /// None yet, in one lane of so many.
    pub(super) fn new(lanes: NonZeroUsize, metrics: Arc<Metrics>) -> Self {
        Self {
            in_force: None,
            lanes,
            metrics,
            flights: HashMap::new(),
            under_way: HashMap::new(),
            numbered: 0,
            swept: None,
        }
    }

    /// These queries are in force from now on: their answers are kept, and others' no longer are.
    pub(super) fn adopt(&mut self, queries: &Arc<Queries>) {
        if self.in_force.as_ref().is_none_or(|in_force| in_force.queries.epoch != queries.epoch) {
            self.in_force = Some(InForce::new(queries, self.lanes, &self.metrics));
        }
    }

    /// The answer to a call, where it is kept.
    pub(super) fn known(&mut self, queries: &Queries, owner: &Owner, call: &Call, now: Instant) -> Option<Answer> {
        let kept = kept(&mut self.in_force, queries, call.query)?;
        let rows = kept.get(owner, &call.binds, now)?;
        kept.hits.inc();
        Some(Ok(rows))
    }

    /// Asks a question, to one of these queries, on behalf of this waiter, where the answer is neither kept nor under way; with `has_room`.
    pub(super) fn ask(
        &mut self,
        queries: &Arc<Queries>,
        owner: &Owner,
        call: Call,
        (waiter, holder): (Waiter, Holder),
        has_room: bool,
        now: Instant,
    ) -> Asked {
        if let Some(answer) = self.known(queries, owner, &call, now) {
            return Asked::Known(answer);
        }
        if let Some(flight) = self.joinable(queries, owner, &call) {
            flight.waiters.push(waiter);
            if let Some(kept) = kept(&mut self.in_force, queries, call.query) {
                kept.joined.inc();
            }
            return Asked::Joined;
        }
        if !has_room {
            return Asked::NoRoom(call);
        }
        self.numbered += 1;
        let kept = kept(&mut self.in_force, queries, call.query);
        if let Some(kept) = &kept {
            kept.misses.inc();
            self.under_way.entry_ref(owner).or_default().push(self.numbered);
        }
        let binds = kept.map(|_| call.binds.clone());
        let asked = Asking { queries: Arc::clone(queries), query: call.query, binds };
        let ticket = self.fly(owner, Some(asked), (waiter, holder), now);
        Asked::Started(Ask { ticket, tenant: owner.0.clone(), queries: Arc::clone(queries), call })
    }

    /// A plugin is run on behalf of this waiter, beside the lane.
    pub(super) fn run(&mut self, owner: &Owner, whom: (Waiter, Holder), now: Instant) -> Ticket {
        self.numbered += 1;
        self.fly(owner, None, whom, now)
    }

    fn fly(
        &mut self,
        owner: &Owner,
        asked: Option<Asking>,
        (waiter, holder): (Waiter, Holder),
        started: Instant,
    ) -> Ticket {
        let waiters = SmallVec::from_elem(waiter, 1);
        let flight = Flight { owner: owner.clone(), asked, holder, waiters, started, stale: false };
        self.flights.insert(self.numbered, flight);
        Ticket(self.numbered)
    }

    /// A question was answered.
    pub(super) fn land(&mut self, Ticket(ticket): Ticket, answer: &Answer, now: Instant) -> Option<Landed> {
        let Flight { owner, asked, holder, waiters, started, stale } = self.flights.remove(&ticket)?;
        let Some(Asking { queries, query, binds }) = asked else {
            return Some(Landed { owner, query: CompactString::default(), holder, waiters });
        };
        if let Some(binds) = binds {
            if let Some(flights) = self.under_way.get_mut(&owner) {
                flights.retain(|number| *number != ticket);
                if flights.is_empty() {
                    self.under_way.remove(&owner);
                }
            }
            if let (Some(in_force), Ok(rows), false) = (&mut self.in_force, answer, stale) {
                in_force.keep(&queries, query, |kept| {
                    // It is as old as its question.
                    kept.keep(&owner, binds, Arc::clone(rows), started + kept.ttl, now);
                });
            }
        }
        let query = queries.queries.get(usize::from(query.0)).map_or_else(CompactString::default, |of| of.name.clone());
        Some(Landed { owner, query, holder, waiters })
    }

    /// What this owner was answered is no longer good: what is kept goes, and what is under way is not kept.
    pub(super) fn forget(&mut self, owner: &Owner, forgotten: &Forgotten) {
        for number in self.under_way.get(owner).into_iter().flatten() {
            if let Some(flight) = self.flights.get_mut(number) {
                flight.forget(forgotten);
            }
        }
        if let Some(in_force) = &mut self.in_force {
            in_force.forget(forgotten, |kept, binds| kept.forget(owner, binds));
        }
    }

    /// As [`forget`](Self::forget), whosever answers they are; of those that are kept, all of the query's go.
    pub(super) fn forget_for_all(&mut self, forgotten: &Forgotten) {
        self.flights.values_mut().for_each(|flight| flight.forget(forgotten));
        if let Some(in_force) = &mut self.in_force {
            in_force.forget(forgotten, |kept, _| kept.cache.clear());
        }
    }

    /// When answers are to be let go that nobody asks for any more.
    pub(super) fn due(&self) -> Option<Instant> {
        let kept = self.in_force.iter().flat_map(|in_force| in_force.kept.iter().flatten());
        let next = kept.filter_map(|kept| kept.cache.next_expiry()).min()?;
        Some(self.swept.map_or(next, |swept| next.max(swept + SWEEP_EVERY)))
    }

    /// Lets go of some of those that have expired.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.swept = Some(now);
        if let Some(in_force) = &mut self.in_force {
            in_force.each(|kept| {
                kept.cache.expire(now, SWEPT);
            });
        }
    }

    /// The flight that a call may join.
    fn joinable(&mut self, queries: &Queries, owner: &Owner, call: &Call) -> Option<&mut Flight> {
        let fits = |flight: &Flight| {
            !flight.stale
                && flight.asked.as_ref().is_some_and(|asked| {
                    asked.query == call.query
                        && asked.queries.epoch == queries.epoch
                        && asked.binds.as_ref() == Some(&call.binds)
                })
        };
        let number = self.under_way.get(owner)?.iter().find(|number| self.flights.get(*number).is_some_and(fits))?;
        self.flights.get_mut(number)
    }
}

impl Flight {
    fn forget(&mut self, forgotten: &Forgotten) {
        let Some(Asking { queries, query, binds: Some(binds) }) = &self.asked else { return };
        self.stale |= forgotten.concerns(&queries.queries, *query, binds);
    }
}

impl InForce {
    fn new(queries: &Arc<Queries>, lanes: NonZeroUsize, metrics: &Metrics) -> Self {
        let cached = queries.queries.iter().filter(|query| query.cache.is_some()).count();
        let bytes = KEPT_BYTES / lanes / cached.max(1);
        let kept = |query: &Query| {
            query.cache.map(|cache| Kept {
                ttl: cache.ttl,
                binds: sorted(query.binds.iter().filter(|bind| *bind != "tenant").cloned()),
                cache: Cache::new(Bounds { entries: cache.max.div_ceil(lanes.get()), bytes }),
                hits: metrics.lookup_cache(&query.name, "hit"),
                misses: metrics.lookup_cache(&query.name, "miss"),
                joined: metrics.lookup_cache(&query.name, "joined"),
                told: (0, 0),
            })
        };
        Self {
            kept: queries.queries.iter().map(kept).collect(),
            queries: Arc::clone(queries),
            entries: metrics.lookup_cache_entries().clone(),
            evictions: metrics.lookup_cache_evictions().clone(),
        }
    }

    fn of(&mut self, queries: &Queries, query: QueryId) -> Option<&mut Kept> {
        let is_in_force = self.queries.epoch == queries.epoch;
        self.kept.get_mut(usize::from(query.0)).filter(|_| is_in_force)?.as_mut()
    }

    /// Changes what is kept of a query, where something is.
    fn keep(&mut self, queries: &Queries, query: QueryId, change: impl FnOnce(&mut Kept)) {
        let (entries, evictions) = (self.entries.clone(), self.evictions.clone());
        if let Some(kept) = self.of(queries, query) {
            change(kept);
            kept.tell(&entries, &evictions);
        }
    }

    fn forget(&mut self, forgotten: &Forgotten, change: impl FnOnce(&mut Kept, &Binds)) {
        let queries = Arc::clone(&self.queries);
        if let Some(Forget { query, binds }) = forgotten.among(&queries.queries) {
            self.keep(&queries, query, |kept| change(kept, &binds));
        }
    }

    fn each(&mut self, change: impl Fn(&mut Kept)) {
        for kept in self.kept.iter_mut().flatten() {
            change(kept);
            kept.tell(&self.entries, &self.evictions);
        }
    }
}

impl Drop for InForce {
    fn drop(&mut self) {
        self.each(|kept| kept.cache.clear());
    }
}

impl Kept {
    fn get(&mut self, owner: &Owner, binds: &Binds, now: Instant) -> Option<Arc<Rows>> {
        let key = self.key(owner, binds)?;
        let variants = self.cache.get(&key, now)?;
        let found = variants.iter().find(|variant| variant.expires > now && variant.binds == *binds)?;
        Some(Arc::clone(&found.rows))
    }

    fn keep(&mut self, owner: &Owner, binds: Binds, rows: Arc<Rows>, expires: Instant, now: Instant) {
        let Some(key) = self.key(owner, &binds) else { return };
        let mut variants = self.cache.remove(&key).unwrap_or_default();
        variants.retain(|variant| variant.expires > now && variant.binds != binds);
        if variants.len() == VARIANTS {
            variants.remove(0);
        }
        variants.push(Variant { binds, rows, expires });
        let weight = key.weight() + variants.iter().map(Variant::weight).sum::<usize>();
        self.cache.insert(key, owner.clone(), variants, weight, expires, now);
    }

    fn forget(&mut self, owner: &Owner, binds: &Binds) {
        if let Some(key) = self.key(owner, binds) {
            self.cache.remove(&key);
            return;
        }
        // Which values of a key must be what.
        let wanted = self.binds.iter().enumerate().filter_map(|(index, name)| Some((index, value(binds, name)?)));
        let wanted: SmallVec<[(usize, CompactString); 2]> = wanted.collect();
        let all = wanted.is_empty() || self.cache.len_of(owner) > LOOKED_THROUGH;
        self.cache.remove_if(owner, |key, _| all || wanted.iter().all(|(index, value)| key.values[*index] == *value));
    }

    /// `None` where not all is bound.
    fn key(&self, owner: &Owner, binds: &Binds) -> Option<Key> {
        let values = self.binds.iter().map(|name| value(binds, name)).collect::<Option<_>>()?;
        Some(Key { owner: owner.clone(), values })
    }

    /// Brings the metrics up to date.
    fn tell(&mut self, entries: &Gauge, evictions: &Counter) {
        let (len, evicted) = (self.cache.len(), self.cache.evictions());
        let grown = i64::try_from(len).unwrap_or(i64::MAX) - i64::try_from(self.told.0).unwrap_or(i64::MAX);
        entries.inc_by(grown);
        evictions.inc_by(evicted - self.told.1);
        self.told = (len, evicted);
    }
}

impl Key {
    fn weight(&self) -> usize {
        let tenant = self.owner.0.as_ref().map_or(0, |tenant| heap(tenant.as_str()));
        let values = self.values.iter().map(|value| size_of::<CompactString>() + heap(value));
        tenant + values.sum::<usize>()
    }
}

impl Variant {
    fn weight(&self) -> usize {
        let cell = |value: &Scalar| match value {
            Scalar::Text(text) => heap(text),
            _ => 0,
        };
        let binds: usize = self.binds.iter().map(|(name, value)| heap(name) + cell(value)).sum();
        let rows: usize = self
            .rows
            .rows
            .iter()
            .map(|row| size_of::<Box<[Scalar]>>() + size_of_val(&**row) + row.iter().map(cell).sum::<usize>())
            .sum();
        let columns: usize = self.rows.columns.iter().map(|name| size_of::<CompactString>() + heap(name)).sum();
        size_of::<Self>() + binds + rows + columns
    }
}

/// Bytes of a text that do not fit into the place that it has anyway.
fn heap(text: &str) -> usize {
    if text.len() > size_of::<CompactString>() { text.len() } else { 0 }
}

fn value(binds: &Binds, name: &CompactString) -> Option<CompactString> {
    binds.iter().find(|(given, _)| given == name).map(|(_, value)| loose(value).into())
}

fn kept<'a>(in_force: &'a mut Option<InForce>, queries: &Queries, query: QueryId) -> Option<&'a mut Kept> {
    in_force.as_mut()?.of(queries, query)
}

fn sorted(names: impl Iterator<Item = CompactString>) -> Box<[CompactString]> {
    let mut names: Vec<CompactString> = names.collect();
    names.sort_unstable();
    names.into()
}
