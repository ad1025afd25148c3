//! What was published, who was there, and so: who should have got what. Without I/O.
//!
//! A session is *owed* an event when all of this holds:
//! - the broker confirmed it, and it was routed to a queue;
//! - the session had its answers (connected, subscribed) before it was published, and is one that reads what it gets;
//! - the rules entitle it;
//! - no fault excuses its loss: for an event by the live queue, a time around a fault of the broker; for one whose route
//!   needs a query, a time around a fault of the database, at any moment from when it was published until the broker
//!   could hand it over. Nothing excuses the loss of another event by the kept queue;
//! - a session that leaves did so some time later, with no fault from the one to the other.
//!
//! Whatever a session gets it must be *allowed* to have. What it is allowed and not owed may arrive or not. That nothing
//! comes twice or out of order, each session sees for itself.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

use crate::cast::{Queue, UserSet};

/// The number of an event, from 0, in the order in which they are published.
pub(crate) type Number = u32;

/// A fault of the broker excuses what was published so long before it: it was on its way.
const BEFORE: Duration = Duration::from_secs(1);
/// A query may have waited so long for an answer when the database went.
const QUERY: Duration = Duration::from_secs(3);
/// What is published so long before rights change is decided before they do.
const CHANGE: Duration = Duration::from_secs(2);
/// Who leaves gets what was published so long before.
const LEAVE: Duration = Duration::from_secs(3);
/// Losses that are told one by one.
const TOLD: usize = 20;

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    User(u8),
    Topic(u8),
    /// Who may see it, by a query.
    Record(u8),
    Tenant,
    Everyone,
    /// Nobody: who may see this record has changed.
    Forget(u8),
}

/// What the broker said of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing.
    Unknown,
    Confirmed,
    /// No queue was there for it.
    Unroutable,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// Of no meaning where it is for everyone.
    pub(crate) tenant: u8,
    pub(crate) target: Target,
    pub(crate) published: Instant,
    pub(crate) fate: Fate,
}

/// Rights to a record that change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) tenant: u8,
    pub(crate) record: u8,
    /// When the database was told.
    pub(crate) begun: Instant,
    /// The event that tells the program. `None` where it could not be told.
    pub(crate) told: Option<Number>,
    pub(crate) users: UserSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Broker,
    Database,
}

/// A fault, from its beginning until all was well again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) part: Part,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

/// One session, from its last answer on.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) tenant: u8,
    pub(crate) user: u8,
    pub(crate) topics: Vec<u8>,
    pub(crate) entered: Instant,
    /// When it left or lost its connection; `None` where it stayed to the end.
    pub(crate) left: Option<Instant>,
    /// It reads what it gets, and so is owed.
    pub(crate) reads: bool,
    /// In the order in which they came.
    pub(crate) got: Vec<Number>,
}

/// All that happened.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) events: Vec<Event>,
    pub(crate) changes: Vec<Change>,
    pub(crate) windows: Vec<Window>,
    pub(crate) sessions: Vec<Session>,
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) confirmed: u64,
    pub(crate) unroutable: u64,
    pub(crate) unconfirmed: u64,
    /// Messages that sessions got.
    pub(crate) deliveries: u64,
    /// Messages that they were owed.
    pub(crate) owed: u64,
    /// Messages that they would have been owed but for a fault, and those of them that came all the same.
    pub(crate) excused: u64,
    pub(crate) excused_and_came: u64,
    pub(crate) lost: u64,
    pub(crate) strayed: u64,
    /// The first of them.
    pub(crate) told: Vec<String>,
    since: Option<Instant>,
}

/// What is asked of each event again and again.
struct Facts<'a> {
    ledger: &'a Ledger,
    /// By tenant and record, in order.
    changes: HashMap<(u8, u8), Vec<&'a Change>>,
    /// For each event: whether a fault of the broker, or of the database, excuses its loss where that matters.
    excused: Vec<bool>,
}

impl Ledger {
    /// Holds what each session got against what it should have got. `since` is for the times that are told.
    pub(crate) fn audit(&self, since: Instant) -> Verdict {
        let mut verdict = Verdict { since: Some(since), ..Verdict::default() };
        for event in &self.events {
            *match event.fate {
                Fate::Unknown => &mut verdict.unconfirmed,
                Fate::Confirmed => &mut verdict.confirmed,
                Fate::Unroutable => &mut verdict.unroutable,
            } += 1;
        }
        let facts = Facts::of(self);
        for session in &self.sessions {
            facts.audit(session, &mut verdict);
        }
        verdict
    }

    /// The first event that was published at this time or later.
    fn first_at(&self, time: Instant) -> Number {
        let at = self.events.partition_point(|event| event.published < time);
        Number::try_from(at).expect("fewer events than numbers")
    }
}

impl<'a> Facts<'a> {
    fn of(ledger: &'a Ledger) -> Self {
        let mut changes: HashMap<_, Vec<_>> = HashMap::new();
        for change in &ledger.changes {
            changes.entry((change.tenant, change.record)).or_default().push(change);
        }
        let times = |part: Part, before: Duration| {
            let own = ledger.windows.iter().filter(move |window| window.part == part);
            own.map(|window| window.from - before..=window.to).collect::<Vec<_>>()
        };
        let (broker, database) = (times(Part::Broker, BEFORE), times(Part::Database, QUERY));
        let excused = |event: &Event| {
            let published = event.published;
            let delayed = broker.iter().filter(|time| time.contains(&published)).map(|time| *time.end()).max();
            // The kept queue holds it until the broker can be reached again: it is then that its query is asked.
            let asked = delayed.unwrap_or(published);
            let down = |time: &RangeInclusive<Instant>| *time.start() <= asked && published <= *time.end();
            let live = event.target == Target::Everyone || Queue::of(event.tenant) == Queue::Live;
            let queries = matches!(event.target, Target::Record(_));
            live && delayed.is_some() || queries && database.iter().any(down)
        };
        Self { ledger, changes, excused: ledger.events.iter().map(excused).collect() }
    }

    fn audit(&self, session: &Session, verdict: &mut Verdict) {
        let mut got = session.got.clone();
        got.sort_unstable();
        verdict.deliveries += got.len() as u64;
        let count = Number::try_from(self.ledger.events.len()).expect("fewer events than numbers");
        // Before and after this it was not there, and may have got something all the same.
        let first = self.ledger.first_at(session.entered).min(got.first().copied().unwrap_or(Number::MAX));
        let left = session.left.map(|left| self.ledger.first_at(left).max(got.last().map_or(0, |last| last + 1)));
        let end = left.unwrap_or(Number::MAX).min(count);
        let mut got = got.into_iter().peekable();
        for number in first..end {
            let index = number as usize;
            let event = &self.ledger.events[index];
            let came = got.next_if_eq(&number).is_some();
            let (allowed, entitled) = self.may(session, number, event);
            if came && !allowed {
                verdict.strayed += 1;
                verdict.tell("got what is not for it", session, number, event);
            }
            if !entitled || !was_there(session, event) {
                continue;
            }
            if self.excused[index] || session.left.is_some_and(|left| self.is_troubled(event.published, left)) {
                verdict.excused += 1;
                verdict.excused_and_came += u64::from(came);
                continue;
            }
            verdict.owed += 1;
            if !came {
                verdict.lost += 1;
                verdict.tell("did not get what it should have got", session, number, event);
            }
        }
        // Numbers that nobody published.
        verdict.strayed += got.count() as u64;
    }

    /// Whether it may get the event, and whether it must.
    fn may(&self, session: &Session, number: Number, event: &Event) -> (bool, bool) {
        let both = |is| (is, is);
        match event.target {
            Target::Everyone => both(true),
            _ if event.tenant != session.tenant => both(false),
            Target::User(user) => both(user == session.user),
            Target::Topic(topic) => both(session.topics.contains(&topic)),
            Target::Tenant => both(true),
            Target::Record(record) => {
                let (may, must) = self.rights(event, number, record);
                (may.has(session.user), must.has(session.user))
            }
            Target::Forget(_) => both(false),
        }
    }

    /// Who may get an event of a record, and who must: not the same while rights change.
    fn rights(&self, event: &Event, number: Number, record: u8) -> (UserSet, UserSet) {
        let initial = UserSet::initial(event.tenant, record);
        let changes = self.changes.get(&(event.tenant, record)).into_iter().flatten();
        changes.fold((initial, initial), |(may, must), change| {
            let confirmed = |told: &Number| self.ledger.events[*told as usize].fate == Fate::Confirmed;
            if change.told.filter(confirmed).is_some_and(|told| told < number) {
                (change.users, change.users)
            } else if event.published + CHANGE > change.begun {
                (may.or(change.users), must.and(change.users))
            } else {
                (may, must)
            }
        })
    }

    /// Whether anything was amiss in this time that matters to somebody who is about to leave.
    fn is_troubled(&self, from: Instant, to: Instant) -> bool {
        self.ledger.windows.iter().any(|window| window.from <= to && from <= window.to + BEFORE)
    }
}

fn was_there(session: &Session, event: &Event) -> bool {
    let stayed = session.left.is_none_or(|left| event.published + LEAVE <= left);
    session.reads && event.fate == Fate::Confirmed && session.entered <= event.published && stayed
}

impl Verdict {
    fn tell(&mut self, what: &str, session: &Session, number: Number, event: &Event) {
        if self.told.len() < TOLD {
            let at = self.since.map_or(Duration::ZERO, |since| event.published.saturating_duration_since(since));
            let (name, target, tenant, at) = (&session.name, event.target, event.tenant, at.as_secs_f64());
            self.told.push(format!("{name} {what}: event {number} for {target:?} of tenant {tenant}, at {at:.2} s"));
        }
    }
}
