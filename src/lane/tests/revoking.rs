//! Rights that are revoked at any moment, under any order of answers and of shards' words: nobody gets an event that was
//! offered after the revocation.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use proptest::sample::Index;

use super::authorizing::request;
use super::*;
use crate::auth::Attributes;
use crate::event::{Topic, UserId};
use crate::shard::{ConnectionKey, Interest, Review, Reviewed, ShardId, ShardSet, Subscriber, Verdict};

const TENANTS: [&str; 2] = ["acme", "globex"];
const RECORDS: usize = 3;
/// Subscriptions that the played shard tells at once.
const PORTION: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Offer {
        tenant: usize,
        kind: &'static str,
        record: usize,
    },
    /// The database changes, and the event that says so follows.
    Revoke {
        tenant: usize,
        record: usize,
    },
    Subscribe {
        tenant: usize,
        topics: Vec<(bool, usize)>,
    },
    Unsubscribe(Index),
    Answer {
        which: Index,
        fails: bool,
    },
    Word,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let tenant = 0..TENANTS.len();
    let record = 0..RECORDS;
    prop_oneof![
        6 => (tenant.clone(), prop::sample::select(vec!["plain", "ask", "kept", "look"]), record.clone())
            .prop_map(|(tenant, kind, record)| Step::Offer { tenant, kind, record }),
        1 => (tenant.clone(), record.clone()).prop_map(|(tenant, record)| Step::Revoke { tenant, record }),
        3 => (tenant, prop::collection::vec((any::<bool>(), record), 1..4))
            .prop_map(|(tenant, topics)| Step::Subscribe { tenant, topics }),
        1 => any::<Index>().prop_map(Step::Unsubscribe),
        6 => (any::<Index>(), prop::bool::weighted(0.1)).prop_map(|(which, fails)| Step::Answer { which, fails }),
        3 => Just(Step::Word),
        1 => (0..4_000_u64).prop_map(Step::Pass),
    ]
}

/// A tenant and a record.
type Right = (usize, usize);

/// What, whose topics, and how many of those are still to be told.
type UnderReview = (Arc<Review>, Vec<(u32, Topic)>, usize);

/// The lane, a database, and one shard.
struct World {
    bench: Bench,
    interest: Interest,
    /// Those that the database has revoked.
    revoked: BTreeSet<Right>,
    /// Those of which the lane knows, with the last event that was offered before.
    told: BTreeMap<Right, u64>,
    /// What the database said when it was asked: the oldest that an answer can be.
    said: VecDeque<(Ask, bool)>,
    subscriptions: BTreeSet<(u32, usize, Topic)>,
    reviews: Vec<UnderReview>,
    words: VecDeque<Reviewed>,
    offered: u64,
    connections: u32,
    /// Events that everyone gets, by tenant.
    plain: BTreeMap<usize, Vec<u64>>,
    handed: BTreeMap<usize, Vec<u64>>,
    /// The record of each event.
    records: BTreeMap<u64, (&'static str, usize)>,
}

fn tenant_of(tenant: &TenantId) -> usize {
    TENANTS.iter().position(|name| *name == tenant.as_str()).unwrap()
}

fn record_of(topic: &Topic) -> usize {
    topic.as_str().split_once(':').unwrap().1.parse().unwrap()
}

impl World {
    fn new() -> Self {
        let interest = Interest::default();
        for tenant in TENANTS {
            interest.join(ShardId::new(0), &TenantId::new(tenant).unwrap());
        }
        Self {
            bench: Bench::new(),
            interest,
            revoked: BTreeSet::new(),
            told: BTreeMap::new(),
            said: VecDeque::new(),
            subscriptions: BTreeSet::new(),
            reviews: Vec::new(),
            words: VecDeque::new(),
            offered: 0,
            connections: 0,
            plain: BTreeMap::new(),
            handed: BTreeMap::new(),
            records: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Offer { tenant, kind, record } => {
                self.offered += 1;
                if kind == "plain" {
                    self.plain.entry(tenant).or_default().push(self.offered);
                }
                self.records.insert(self.offered, (kind, record));
                self.offer(tenant, &format!("{kind} {record}"));
            }
            Step::Revoke { tenant, record } => {
                self.revoked.insert((tenant, record));
                self.offered += 1;
                self.told.entry((tenant, record)).or_insert(self.offered);
                self.offer(tenant, &format!("revoke {record}"));
            }
            Step::Subscribe { tenant, topics } => {
                self.connections += 1;
                let name = |(kept, record): (bool, usize)| format!("{}:{record}", if kept { "kept" } else { "ask" });
                let names: Vec<String> = topics.into_iter().map(name).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let request = AuthorizeRequest {
                    tenant: TenantId::new(TENANTS[tenant]).unwrap(),
                    ..request(self.connections * 2 + u32::try_from(tenant).unwrap(), &names)
                };
                let (mut effects, rulebook) = (Vec::new(), Arc::clone(&self.bench.rulebook));
                self.bench.lane.authorize(request, &rulebook, self.bench.now, &mut effects);
                self.perform(effects);
            }
            Step::Unsubscribe(which) => {
                if !self.subscriptions.is_empty() {
                    let gone = self.subscriptions.iter().nth(which.index(self.subscriptions.len())).unwrap().clone();
                    self.subscriptions.remove(&gone);
                }
            }
            Step::Answer { which, fails } => {
                if !self.said.is_empty() {
                    self.answer(which.index(self.said.len()), fails);
                }
            }
            Step::Word => self.word(),
            Step::Pass(ms) => {
                self.bench.now += Duration::from_millis(ms);
                self.tick();
            }
        }
    }

    fn offer(&mut self, tenant: usize, kind: &str) {
        let delivery = delivery(&self.bench.rulebook, Some(TENANTS[tenant]), kind, self.offered, Receipt::none());
        let mut effects = Vec::new();
        self.bench.lane.offer(delivery, self.bench.now, &mut effects);
        self.perform(effects);
    }

    fn answer(&mut self, at: usize, fails: bool) {
        let (ask, granted) = self.said.remove(at).unwrap();
        let answer = match (fails, granted) {
            (true, _) => failed(),
            (false, true) => found(),
            (false, false) => Ok(Arc::new(Rows::default())),
        };
        let mut effects = Vec::new();
        self.bench.lane.answered(ask.ticket, &answer, self.bench.now, &mut effects);
        self.perform(effects);
    }

    fn word(&mut self) {
        if let Some(word) = self.words.pop_front() {
            let mut effects = Vec::new();
            self.bench.lane.reviewed(word, self.bench.now, &mut effects);
            self.perform(effects);
        }
    }

    fn tick(&mut self) {
        if self.bench.lane.due().is_some_and(|due| due <= self.bench.now) {
            let mut effects = Vec::new();
            self.bench.lane.tick(self.bench.now, &mut effects);
            self.perform(effects);
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Ask(ask) => {
                    let tenant = tenant_of(ask.tenant.as_ref().unwrap());
                    let record = ask.call.binds[0].1.to_string().parse().unwrap();
                    self.said.push_back((ask, !self.revoked.contains(&(tenant, record))));
                }
                Effect::Authorized { connection, verdicts, .. } => {
                    let tenant = usize::try_from(connection.index % 2).unwrap();
                    for (topic, verdict) in verdicts {
                        if verdict == Verdict::Allowed {
                            let right = (tenant, record_of(&topic));
                            assert!(!self.told.contains_key(&right), "{topic} of a right that is known to be revoked");
                            self.subscriptions.insert((connection.index, tenant, topic));
                        }
                    }
                }
                Effect::HandOver(handover) => self.hand_over(handover),
                Effect::Review(order) => {
                    let tenant = tenant_of(&order.tenant);
                    let patterns = order.patterns.as_ref().unwrap();
                    let is_meant = |topic: &Topic| patterns.iter().any(|pattern| pattern.matches(topic).is_some());
                    let found = self.subscriptions.iter().filter(|(_, of, topic)| *of == tenant && is_meant(topic));
                    let found: Vec<_> = found.map(|(connection, _, topic)| (*connection, topic.clone())).collect();
                    let untold = found.len();
                    self.reviews.push((Arc::clone(&order), found, untold));
                    self.portion(self.reviews.len() - 1);
                    let mut more = Vec::new();
                    self.bench.lane.review_sent(&order, ShardSet::first(1), self.bench.now, &mut more);
                    self.perform(more);
                }
                Effect::ReviewOn { order, .. } => {
                    let at = self.reviews.iter().position(|(review, ..)| Arc::ptr_eq(review, &order)).unwrap();
                    let (_, found, untold) = &mut self.reviews[at];
                    found.truncate(*untold);
                    if *untold == 0 {
                        self.reviews.remove(at);
                    } else {
                        self.portion(at);
                    }
                }
                Effect::Withdraw { order, .. } => {
                    let at = self.reviews.iter().position(|(review, ..)| Arc::ptr_eq(review, &order)).unwrap();
                    let (_, found, _) = self.reviews.remove(at);
                    self.subscriptions.retain(|(connection, _, topic)| {
                        !found.iter().any(|(other, gone)| other == connection && gone == topic)
                    });
                }
                Effect::Unsubscribe { connection, topics, .. } => {
                    self.subscriptions.retain(|(other, _, topic)| {
                        *other != connection.index || !topics.iter().any(|(gone, _)| gone == topic)
                    });
                }
                Effect::Run(run) => unreachable!("no rule calls a plugin: {run:?}"),
                Effect::Disconnect { .. } | Effect::Forget(_) | Effect::ForgetForAll(_) => {}
            }
        }
    }

    /// The played shard tells some more of a review.
    fn portion(&mut self, at: usize) {
        let (order, found, untold) = &mut self.reviews[at];
        let told = untold.saturating_sub(PORTION);
        let subscriber = |(index, topic): &(u32, Topic)| Subscriber {
            connection: ConnectionKey { index: *index, generation: 0 },
            user: UserId::new("7").unwrap(),
            attributes: Arc::new(Attributes::default()),
            topics: vec![topic.clone()],
        };
        let subscribers = found[told..*untold].iter().map(subscriber).collect();
        *untold = told;
        let review = Arc::clone(order);
        self.words.push_back(Reviewed { shard: ShardId::new(0), review, subscribers, is_last: told == 0 });
    }

    fn hand_over(&mut self, handover: Handover) {
        let id: u64 = handover.event().id().unwrap().as_json().parse().unwrap();
        let tenant = tenant_of(handover.event().tenant().unwrap());
        let (kind, record) = self.records[&id];
        let told = self.told.get(&(tenant, record)).copied().unwrap_or(u64::MAX);
        let (addressed, _) = handover.address(&self.interest, ShardSet::first(1));
        assert!(addressed.is_some());
        match kind {
            "kept" => assert!(id < told, "event {id} by an answer that was no longer good at {told}"),
            "look" => {
                let reached =
                    self.subscriptions.iter().filter(|(_, of, topic)| *of == tenant && record_of(topic) == record);
                assert!(id < told || reached.count() == 0, "event {id} to those who may not since {told}");
            }
            "plain" => self.handed.entry(tenant).or_default().push(id),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nobody_gets_what_was_offered_after_the_revocation(steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        while !world.said.is_empty() || !world.words.is_empty() {
            if !world.said.is_empty() {
                world.answer(0, false);
            }
            world.word();
        }
        prop_assert!(world.bench.lane.is_idle());
        prop_assert!(world.reviews.is_empty());
        prop_assert_eq!(world.handed, world.plain, "what is for everyone comes to everyone, in order");
        for (_, tenant, topic) in &world.subscriptions {
            prop_assert!(!world.told.contains_key(&(*tenant, record_of(topic))), "{} is kept", topic);
        }
    }
}
