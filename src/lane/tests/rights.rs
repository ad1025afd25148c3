//! Answers that are kept, words that they are no longer good, and who may stay subscribed then.

use super::authorizing::request;
use super::*;
use crate::auth::Attributes;
use crate::event::{Topic, UserId};
use crate::lookup::{Binds, Forgotten};
use crate::shard::{ConnectionKey, Review, Reviewed, ShardId, ShardSet, Subscriber};

#[expect(clippy::unnecessary_wraps, reason = "one of two kinds of answers")]
fn nobody() -> Answer {
    Ok(Arc::new(Rows::default()))
}

fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

impl Bench {
    fn cached(&self, query: u16, result: &'static str) -> u64 {
        self.metrics.lookup_cache(&format!("q{query}"), result).get()
    }

    /// The one review that was ordered last.
    pub(super) fn order(&self) -> Arc<Review> {
        let mut orders = self.others.iter().filter_map(|effect| match effect {
            Effect::Review(order) => Some(Arc::clone(order)),
            _ => None,
        });
        orders.next_back().unwrap()
    }

    pub(super) fn review_sent(&mut self, order: &Arc<Review>, shards: usize) {
        let mut effects = Vec::new();
        self.lane.review_sent(order, ShardSet::first(shards), self.now, &mut effects);
        self.take(effects);
    }

    /// What a shard has to say of a review: connections and their topics.
    pub(super) fn reviewed(&mut self, order: &Arc<Review>, shard: u8, sessions: &[(u32, &[&str])], is_last: bool) {
        let subscriber = |(index, topics): &(u32, &[&str])| Subscriber {
            connection: ConnectionKey { index: *index, generation: 0 },
            user: UserId::new("7").unwrap(),
            attributes: Arc::new(Attributes::default()),
            topics: topics.iter().map(|name| topic(name)).collect(),
        };
        let subscribers = sessions.iter().map(subscriber).collect();
        let word = Reviewed { shard: ShardId::new(shard), review: Arc::clone(order), subscribers, is_last };
        let mut effects = Vec::new();
        self.lane.reviewed(word, self.now, &mut effects);
        self.take(effects);
    }

    pub(super) fn tick(&mut self) {
        let mut effects = Vec::new();
        self.lane.tick(self.now, &mut effects);
        self.take(effects);
    }

    fn goes_on(&self) -> usize {
        self.others.iter().filter(|effect| matches!(effect, Effect::ReviewOn { .. })).count()
    }
}

#[test]
fn an_answer_that_is_kept_is_given_at_once_for_its_time() {
    let mut bench = Bench::new();
    bench.offer(Some("acme"), "kept 1", 1);
    bench.offer(Some("acme"), "kept 1", 2);
    bench.offer(Some("acme"), "kept 1", 3);
    assert_eq!(bench.asked.len(), 1, "one question for all that are alike");
    bench.answer(0, found());
    bench.offer(Some("acme"), "kept 1", 4);
    assert_eq!(bench.handed_of(Some("acme")), [1, 2, 3, 4]);
    assert_eq!(["miss", "joined", "hit"].map(|result| bench.cached(3, result)), [1, 2, 1]);
    assert_eq!(bench.metrics.lookup_cache_entries().get(), 1);
    // Another tenant's, and other values, are other questions.
    bench.offer(Some("globex"), "kept 1", 5);
    bench.offer(Some("acme"), "kept 2", 6);
    bench.offer(Some("acme"), "kept \"1\"", 7);
    assert_eq!(bench.asked.len(), 3);
    while !bench.asked.is_empty() {
        bench.answer(0, found());
    }
    bench.now += TTL;
    bench.offer(Some("acme"), "kept 1", 8);
    assert_eq!(bench.asked.len(), 1, "its time is over");
    bench.answer(0, found());
    bench.now += TTL;
    assert!(bench.lane.due().unwrap() <= bench.now);
    bench.tick();
    assert_eq!((bench.metrics.lookup_cache_entries().get(), bench.lane.due()), (0, None));
}

#[test]
fn an_event_behind_others_keeps_its_place_though_its_answer_is_known() {
    let mut bench = Bench::new();
    bench.offer(Some("acme"), "kept 1", 1);
    bench.answer(0, found());
    bench.offer(Some("acme"), "ask", 2);
    bench.offer(Some("acme"), "kept 1", 3);
    assert_eq!(bench.handed_of(Some("acme")), [1]);
    bench.answer(0, found());
    assert_eq!(bench.handed_of(Some("acme")), [1, 2, 3]);
}

#[test]
fn nobody_is_an_answer_that_is_kept_and_an_outage_is_none() {
    let mut bench = Bench::new();
    bench.offer(Some("acme"), "kept 1", 1);
    bench.answer(0, failed());
    bench.offer(Some("acme"), "kept 1", 2);
    bench.answer(0, nobody());
    bench.offer(Some("acme"), "kept 1", 3);
    assert!(bench.asked.is_empty());
    assert_eq!(bench.drops(DropCause::lookup_failed), 1);
    assert_eq!(bench.metrics.decisions("kept").get(), 2);
}

#[test]
fn a_query_under_way_cannot_undo_that_its_answer_is_no_longer_good() {
    let mut bench = Bench::new();
    bench.offer(Some("acme"), "kept 1", 1);
    bench.offer(Some("acme"), "forget \"1\"", 2);
    bench.offer(Some("acme"), "kept 1", 3);
    assert_eq!(bench.asked.len(), 2, "whoever asks now gets a new answer");
    bench.answer(0, found());
    assert_eq!(bench.handed_of(Some("acme")), [1], "who waited for it gets it");
    bench.offer(Some("acme"), "kept 1", 4);
    assert_eq!(bench.asked.len(), 1, "and nobody else does");
    bench.answer(0, nobody());
    bench.offer(Some("acme"), "kept 1", 5);
    assert_eq!((bench.handed_of(Some("acme")).len(), bench.asked.len()), (1, 0));
    assert!(bench.lane.is_idle());
}

#[test]
fn what_is_forgotten_is_what_agrees_and_the_tenants_own() {
    // What is forgotten, and which of the records 1, 2 and "2" of acme have to be asked anew.
    for (kind, expected) in
        [("forget 1", vec![0]), ("forget 2", vec![1, 2]), ("forget \"2\"", vec![1, 2]), ("forget", vec![0, 1, 2])]
    {
        let mut bench = Bench::new();
        let records = ["kept 1", "kept 2", "kept \"2\""];
        for tenant in ["acme", "globex"] {
            for kept in records {
                bench.offer(Some(tenant), kept, 1);
                bench.answer(0, found());
            }
        }
        bench.offer(Some("acme"), kind, 2);
        let mut asked = Vec::new();
        for (index, kept) in records.into_iter().enumerate() {
            bench.offer(Some("acme"), kept, 3);
            if !bench.asked.is_empty() {
                asked.push(index);
                bench.answer(0, found());
            }
            bench.offer(Some("globex"), kept, 3);
            assert!(bench.asked.is_empty(), "{kind} of another tenant");
        }
        assert_eq!(asked, expected, "{kind}");
        assert_eq!((bench.metrics.forgets().get(), bench.metrics.decisions("forget").get()), (1, 1));
    }
}

#[test]
fn what_is_nobodys_own_is_forgotten_elsewhere_too_and_the_rest_needs_a_tenant() {
    let mut bench = Bench::new();
    bench.offer(None, "leaky 7", 1);
    bench.offer(Some("acme"), "leaky 8", 2);
    let told: Vec<String> = bench.others.iter().map(|effect| format!("{effect:?}").replace('"', "")).collect();
    let binds = |number: u8| format!("Forgotten {{ query: q4, binds: [(record, Int({number}))] }}");
    let expected =
        [format!("Forget({})", binds(7)), format!("ForgetForAll({})", binds(7)), format!("Forget({})", binds(8))];
    assert_eq!(told, expected, "an event of no tenant speaks for all");
    bench.offer(None, "forget 1", 3);
    bench.offer(None, "kick 1", 4);
    assert_eq!((bench.drops(DropCause::no_tenant), bench.others.len()), (2, 3));
}

#[test]
fn what_is_forgotten_for_all_is_forgotten_of_each_tenant_and_reviewed() {
    let mut bench = Bench::new();
    for tenant in ["acme", "globex"] {
        bench.offer(Some(tenant), "kept 1", 1);
        bench.answer(0, found());
        bench.offer(Some(tenant), "kept 2", 2);
    }
    bench.authorize(request(1, &["kept:2"]));
    let tenants = ["acme", "globex"].map(|name| TenantId::new(name).unwrap());
    for query in [3, 8] {
        let forget = Forgotten { query: format_compact!("q{query}"), binds: [].into_iter().collect() };
        let (mut effects, rulebook) = (Vec::new(), Arc::clone(&bench.rulebook));
        bench.lane.forget_for_all(&forget, &tenants, &rulebook, bench.now, &mut effects);
        bench.take(effects);
    }
    let orders: Vec<_> = bench.others.iter().filter(|effect| matches!(effect, Effect::Review(_))).collect();
    assert_eq!(orders.len(), 2, "each of the tenants");
    assert_eq!(bench.asked.len(), 4, "the two events', the topic's, and the topic's once more");
    while !bench.asked.is_empty() {
        bench.answer(0, found());
    }
    assert_eq!(bench.metrics.lookup_cache_entries().get(), 1, "what was under way is not kept");
    bench.offer(Some("globex"), "plain", 3);
    assert_eq!(bench.handed_of(Some("globex")), [1, 2], "later events wait for the review");
}

#[test]
fn who_has_become_somebody_else_loses_what_is_not_theirs_any_more() {
    let mut bench = Bench::new();
    bench.authorize(AuthorizeRequest { has_them: true, ..request(1, &["free:1", "ask:1", "other", "ask:2"]) });
    bench.answer(0, found());
    bench.answer(0, failed());
    bench.authorize(AuthorizeRequest { has_them: true, ..request(2, &["free:1"]) });
    assert_eq!(bench.done, ["unsubscribe 1: other Denied, ask:2 Unavailable"]);
    assert!(bench.answers().is_empty() && bench.lane.is_idle());
}

#[test]
fn users_are_disconnected_in_their_events_turn_and_never_by_being_shed_not() {
    let mut bench = Bench::new();
    bench.offer(Some("acme"), "ask", 1);
    bench.offer(Some("acme"), "plain", 2);
    bench.offer(Some("acme"), "kick 7", 3);
    bench.offer(Some("acme"), "plain", 4);
    assert!(bench.done.is_empty());
    bench.answer(0, found());
    assert_eq!(bench.done, ["event 1", "event 2", "disconnect 7 of acme", "event 4"]);
    bench.offer(Some("acme"), "kick", 5);
    assert_eq!(bench.done.len(), 4, "nobody is named");

    let mut bench = Bench::new();
    bench.offer(Some("acme"), "ask", 1);
    bench.offer(Some("acme"), "kick 7", 2);
    for id in 0..=TENANT_WAITING as u64 {
        bench.offer(Some("acme"), "ask", 10 + id);
    }
    assert_eq!(bench.done[..1], ["disconnect 7 of acme"]);
}

#[test]
fn topics_that_are_being_asked_about_are_asked_about_anew() {
    let mut bench = Bench::new();
    bench.authorize(request(1, &["ask:1", "kept:1", "ask:2"]));
    // The first is answered, the second under way; the third is about something else.
    bench.answer(0, found());
    bench.offer(Some("acme"), "revoke 1", 1);
    let order = bench.order();
    bench.review_sent(&order, 0);
    let about = |bench: &Bench| {
        bench.asked.iter().map(|ask| (ask.call.query.0, ask.call.binds[0].1.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(about(&bench), [(8, "1".to_owned()), (7, "2".to_owned()), (7, "1".to_owned()), (8, "1".to_owned())]);
    bench.answer(0, found());
    bench.answer(0, found());
    assert!(bench.answers().is_empty());
    bench.answer(0, nobody());
    bench.answer(0, nobody());
    assert_eq!(bench.answers(), [(1, "ask:1 Denied, kept:1 Denied, ask:2 Allowed".to_owned())]);
    bench.authorize(request(2, &["kept:1"]));
    assert_eq!(bench.answers()[1], (2, "kept:1 Denied".to_owned()), "what is kept is the newer answer");
    assert!(bench.lane.is_idle());
}

#[test]
fn a_topic_whose_rights_change_all_the_time_is_unavailable_in_the_end() {
    let mut bench = Bench::new();
    bench.authorize(request(1, &["ask:1"]));
    for id in 0..4 {
        assert!(bench.answers().is_empty());
        bench.offer(Some("acme"), "revoke 1", id);
    }
    assert_eq!(bench.answers(), [(1, "ask:1 Unavailable".to_owned())]);
}

#[test]
fn who_may_no_longer_is_unsubscribed_before_any_later_event() {
    let mut bench = Bench::new();
    bench.offer(Some("acme"), "revoke 1", 1);
    let order = bench.order();
    let patterns: Vec<String> = order.patterns.iter().flatten().map(ToString::to_string).collect();
    assert_eq!((order.tenant.as_str(), patterns), ("acme", vec!["ask:{id}".to_owned(), "kept:{id}".to_owned()]));
    bench.review_sent(&order, 2);
    bench.offer(Some("acme"), "plain", 2);
    bench.offer(Some("globex"), "plain", 3);
    assert_eq!(bench.done, ["event 3"], "another tenant's events go on");
    bench.reviewed(&order, 0, &[(1, &["ask:1", "ask:2", "free:1"]), (2, &["kept:1"])], false);
    bench.reviewed(&order, 1, &[(3, &["ask:2"])], true);
    assert_eq!((bench.asked.len(), bench.goes_on()), (2, 2), "only what agrees is asked");
    bench.answer(0, found());
    bench.reviewed(&order, 0, &[(4, &["ask:01"])], true);
    bench.answer(0, nobody());
    assert_eq!(bench.done, ["event 3", "unsubscribe 1: ask:1 Denied"]);
    bench.answer(0, failed());
    assert_eq!(
        bench.done[2..],
        ["unsubscribe 4: ask:01 Unavailable".to_owned(), "event 2".to_owned()],
        "what nobody can say is taken away"
    );
    assert!(bench.lane.is_idle());
    bench.reviewed(&order, 0, &[(4, &["ask:1"])], true);
    assert!(bench.lane.is_idle() && bench.asked.is_empty(), "a review that has ended hears nothing more");
}

#[test]
fn a_tenant_of_whom_nobody_is_there_waits_for_nothing() {
    let mut bench = Bench::new();
    bench.offer(Some("acme"), "revoke 1", 1);
    let order = bench.order();
    bench.review_sent(&order, 0);
    assert!(bench.lane.is_idle());
    // And a query that no topic rule asks is no reason to review.
    bench.offer(Some("acme"), "forget 1", 2);
    bench.offer(Some("acme"), "plain", 3);
    assert_eq!(bench.done, ["event 3"]);
}

#[test]
fn a_review_ends_in_its_time_and_takes_away_what_nobody_could_say() {
    let mut bench = Bench::new();
    bench.offer(Some("acme"), "revoke", 1);
    let order = bench.order();
    bench.review_sent(&order, 3);
    bench.offer(Some("acme"), "plain", 2);
    bench.reviewed(&order, 0, &[(1, &["ask:1", "kept:1"])], true);
    bench.reviewed(&order, 1, &[(2, &["ask:5"])], false);
    bench.answer(0, found());
    bench.now += REVIEW_TIME;
    assert_eq!(bench.lane.due(), Some(bench.now));
    bench.tick();
    let mut done = bench.done.clone();
    done[..4].sort_unstable();
    assert_eq!(
        done,
        [
            "unsubscribe 1: kept:1 Unavailable",
            "unsubscribe 2: ask:5 Unavailable",
            "withdraw 1 of acme",
            "withdraw 2 of acme",
            "event 2"
        ]
    );
    bench.reviewed(&order, 2, &[(9, &["ask:1"])], true);
    while !bench.asked.is_empty() {
        bench.answer(0, found());
    }
    assert_eq!((bench.done.len(), bench.lane.is_idle()), (5, true));
}

#[test]
fn what_changes_during_a_review_is_reviewed_once_more() {
    let mut bench = Bench::new();
    bench.offer(Some("acme"), "revoke 1", 1);
    let first = bench.order();
    bench.review_sent(&first, 1);
    bench.reviewed(&first, 0, &[(1, &["ask:1"])], true);
    bench.offer(Some("acme"), "plain", 2);
    for id in 0..100 {
        bench.offer(Some("acme"), &format!("revoke {}", 2 + id % 90), 10 + id);
    }
    bench.offer(Some("acme"), "plain", 3);
    bench.answer(0, found());
    assert_eq!(bench.done, ["event 2"], "the events between wait for the first one alone");
    let second = bench.order();
    assert!(!Arc::ptr_eq(&first, &second));
    bench.review_sent(&second, 1);
    bench.reviewed(&second, 0, &[(1, &["ask:1", "ask:50"])], true);
    // So many words that it is about all of the query's.
    bench.answer(0, found());
    assert_eq!(bench.done.len(), 1);
    bench.answer(0, nobody());
    let reviews = bench.others.iter().filter(|effect| matches!(effect, Effect::Review(_))).count();
    assert_eq!((bench.done.len(), reviews, bench.lane.is_idle()), (3, 2, true), "{:?}", bench.done);
}

#[test]
fn shards_hold_back_while_much_is_asked() {
    let mut bench = Bench::new();
    bench.offer(Some("acme"), "revoke", 1);
    let order = bench.order();
    bench.review_sent(&order, 2);
    let names: Vec<String> = (0..REVIEW_OPEN).map(|number| format!("ask:{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    bench.reviewed(&order, 0, &[(1, &names)], false);
    bench.reviewed(&order, 1, &[(2, &["ask:1"])], true);
    assert_eq!(bench.goes_on(), 0);
    while bench.asked.len() > 1 {
        bench.answer(0, found());
    }
    bench.answer(0, found());
    assert_eq!(bench.goes_on(), 2);
    bench.reviewed(&order, 0, &[], true);
    assert!(bench.lane.is_idle() && bench.done.is_empty());
}

#[test]
fn each_of_very_many_reviews_has_its_time_and_none_is_left_behind() {
    let mut bench = Bench::new();
    let tenants: Vec<TenantId> = (0..1_000).map(|number| TenantId::new(number.to_string()).unwrap()).collect();
    let (begun, rulebook) = (bench.now, Arc::clone(&bench.rulebook));
    let forget = Forgotten { query: "q8".into(), binds: Binds::default() };
    // The second word is for the review that is to follow.
    for _ in 0..2 {
        let mut effects = Vec::new();
        bench.lane.forget_for_all(&forget, &tenants, &rulebook, bench.now, &mut effects);
        bench.take(effects);
        bench.now += Duration::from_secs(1);
    }
    assert_eq!(bench.lane.due(), Some(begun + REVIEW_TIME));
    bench.now = begun + REVIEW_TIME;
    bench.tick();
    assert_eq!(bench.lane.due(), Some(bench.now + REVIEW_TIME), "of those that follow");
    bench.now += REVIEW_TIME;
    bench.tick();
    assert_eq!((bench.lane.due(), bench.lane.is_idle()), (None, true));
}

#[test]
fn what_clients_wait_for_is_judged_anew_after_a_swap_and_none_of_it_is_given_up_for_it() {
    let mut bench = Bench::new();
    let clients = u32::try_from(AUTHORIZE_TENANT_WAITING).unwrap();
    for index in 0..clients {
        bench.authorize(request(index, &[&format!("ask:{index}")]));
    }
    for generation in 2..5 {
        let next = Arc::new(rulebook_of(Generation(generation), &ROUTES));
        let (before, mut effects) = (std::mem::replace(&mut bench.rulebook, next), Vec::new());
        bench.lane.adopt(&bench.rulebook);
        bench.lane.review_all(before, &Arc::clone(&bench.rulebook), Vec::new(), bench.now, &mut effects);
        bench.take(effects);
        assert_eq!(bench.answers(), [], "generation {generation}");
    }
    while !bench.asked.is_empty() {
        bench.answer(0, found());
    }
    let answers = bench.answers();
    assert_eq!(answers.len(), AUTHORIZE_TENANT_WAITING);
    assert!(answers.iter().all(|(_, said)| said.ends_with("Allowed")));
    assert!(bench.lane.is_idle() && bench.lane.takes_requests());
}

#[test]
fn a_review_after_a_swap_goes_on_while_the_database_answers_and_ends_when_it_does_not() {
    let mut bench = Bench::new();
    let mut next = rulebook_of(Generation(2), &ROUTES);
    next.queries = Arc::new(Queries { epoch: 2, database: 2, ..Queries::clone(&next.queries) });
    let (before, mut effects) = (std::mem::replace(&mut bench.rulebook, Arc::new(next)), Vec::new());
    bench.lane.adopt(&bench.rulebook);
    let tenants = vec![TenantId::new("acme").unwrap()];
    bench.lane.review_all(before, &Arc::clone(&bench.rulebook), tenants, bench.now, &mut effects);
    bench.take(effects);
    let order = bench.order();
    bench.review_sent(&order, 1);
    bench.reviewed(&order, 0, &[(1, &["ask:1"]), (2, &["ask:2"]), (3, &["ask:3"]), (4, &["ask:4"])], true);
    let nearly = SWAP_REVIEW_TIME.saturating_sub(Duration::from_secs(1));
    for _ in 0..2 {
        bench.now += nearly;
        bench.tick();
        bench.answer(0, found());
    }
    assert_eq!(bench.done, Vec::<String>::new());
    bench.now += nearly;
    bench.answer(0, failed());
    assert_eq!(bench.done, ["unsubscribe 3: ask:3 Unavailable"], "an outage gives no more time");
    bench.now += Duration::from_secs(1);
    bench.tick();
    assert_eq!(bench.done[1..], ["unsubscribe 4: ask:4 Unavailable"]);
    bench.answer(0, found());
    assert_eq!((bench.lane.is_idle(), bench.lane.due()), (true, None));
}
