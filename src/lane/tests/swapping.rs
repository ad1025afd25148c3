//! What sessions have when other topic rules come into force.

use super::authorizing::request;
use super::scripts::{SETTING, Setting, bench, rulebook_with};
use super::*;

const TOPICS: &[(&str, &str)] =
    &[("script:{id}", "script"), ("ask:{id}", "?q7"), ("kept:{id}", "?q7"), ("free:{id}", "-"), ("new:{id}", "+")];

impl Bench {
    fn swap(&mut self, to: Setting, tenants: &[&str]) {
        let next = rulebook_with(to);
        self.lane.adopt(&next);
        let before = std::mem::replace(&mut self.rulebook, Arc::clone(&next));
        let tenants = tenants.iter().map(|name| TenantId::new(*name).unwrap()).collect();
        let mut effects = Vec::new();
        self.lane.review_all(before, &next, tenants, self.now, &mut effects);
        self.take(effects);
    }

    fn orders(&self) -> Vec<Arc<crate::shard::Review>> {
        let orders = self.others.iter().filter_map(|effect| match effect {
            Effect::Review(order) => Some(Arc::clone(order)),
            _ => None,
        });
        orders.collect()
    }
}

#[test]
fn what_is_no_longer_allowed_is_taken_away_and_what_is_as_before_is_not_asked() {
    let mut bench = bench(SETTING);
    bench.swap(Setting { generation: 2, topics: TOPICS, ..SETTING }, &["acme"]);
    let order = bench.order();
    assert!(order.patterns.is_none(), "it is about all topics, those too that no rule knows any more");
    bench.review_sent(&order, 1);
    bench.offer(Some("acme"), "plain", 1);
    assert_eq!(bench.done, ["event 1"], "no event waits for it");
    let sessions: [(u32, &[&str]); 2] =
        [(1, &["ask:1", "free:1", "other", "script:yes"]), (2, &["kept:1", "new:1", "script:no"])];
    bench.reviewed(&order, 0, &sessions, true);
    assert_eq!(bench.done[1..], ["unsubscribe 1: free:1 Denied, other Denied"]);
    let asked: Vec<_> = bench.asked.iter().map(|ask| (ask.call.query.0, ask.call.binds[0].1.to_string())).collect();
    assert_eq!(asked, [(7, "1".to_owned())], "of `kept:1`, which another query decided before");
    bench.answer(0, failed());
    assert_eq!(bench.done[2..], ["unsubscribe 2: kept:1 Unavailable, script:no Denied"]);
    assert!(bench.lane.is_idle());
}

#[test]
fn other_queries_are_asked_anew() {
    let mut bench = bench(SETTING);
    bench.swap(Setting { generation: 2, epoch: 2, ..SETTING }, &["acme"]);
    let order = bench.order();
    bench.review_sent(&order, 1);
    bench.reviewed(&order, 0, &[(1, &["ask:1", "free:1"])], true);
    assert_eq!(bench.asked.len(), 1);
    bench.answer(0, found());
    assert!(bench.done.is_empty() && bench.lane.is_idle());
}

#[test]
fn what_clients_wait_for_is_judged_by_the_rules_of_now() {
    let mut bench = bench(SETTING);
    bench.authorize(request(1, &["ask:1", "free:1", "script:ask2", "new:1"]));
    bench.swap(Setting { generation: 2, topics: TOPICS, ..SETTING }, &[]);
    assert_eq!(bench.asked.len(), 4, "nobody hears what was asked before");
    bench.answer(0, found());
    bench.answer(0, found());
    assert!(bench.answers().is_empty());
    bench.answer(0, found());
    bench.answer(0, found());
    let expected = "ask:1 Allowed, free:1 Denied, script:ask2 Allowed, new:1 Allowed";
    assert_eq!(bench.answers(), [(1, expected.to_owned())]);
    assert!(bench.lane.is_idle());
}

#[test]
fn tenants_have_their_turns() {
    let mut bench = bench(SETTING);
    let names: Vec<String> = (0..20).map(|number| format!("t{number}")).collect();
    let tenants: Vec<&str> = names.iter().map(String::as_str).collect();
    bench.swap(Setting { generation: 2, topics: TOPICS, ..SETTING }, &tenants);
    assert_eq!(bench.orders().len(), SWAP_TENANTS);
    for ended in 0..20 {
        let order = Arc::clone(&bench.orders()[ended]);
        assert!(bench.orders().len() <= ended + SWAP_TENANTS);
        bench.review_sent(&order, 1);
        bench.reviewed(&order, 0, &[(1, &["free:1"])], true);
    }
    let mut reviewed: Vec<String> = bench.orders().iter().map(|order| order.tenant.to_string()).collect();
    reviewed.sort();
    reviewed.dedup();
    assert_eq!((bench.orders().len(), reviewed.len(), bench.done.len()), (20, 20, 20));
    assert!(bench.lane.is_idle());
}

#[test]
fn a_change_meanwhile_is_about_all_that_may_have_come_about_before() {
    let mut bench = bench(SETTING);
    bench.swap(Setting { generation: 2, topics: TOPICS, ..SETTING }, &["acme"]);
    let first = bench.order();
    bench.review_sent(&first, 1);
    // Back to what was: what the second generation has allowed is not what the first one would have.
    bench.swap(Setting { generation: 3, ..SETTING }, &["acme"]);
    assert_eq!(bench.orders().len(), 1, "one after the other");
    bench.reviewed(&first, 0, &[(1, &["free:1"])], true);
    assert_eq!(bench.done, ["unsubscribe 1: free:1 Denied"]);
    let second = bench.order();
    assert!(!Arc::ptr_eq(&first, &second));
    bench.review_sent(&second, 1);
    bench.reviewed(&second, 0, &[(1, &["ask:1", "new:1"])], true);
    assert_eq!(bench.done[1..], ["unsubscribe 1: new:1 Denied"]);
    assert!(bench.asked.is_empty() && bench.lane.is_idle());
}

#[test]
fn it_ends_in_its_time_and_rights_that_change_meanwhile_do_not_wait_for_it() {
    let mut bench = bench(SETTING);
    bench.swap(Setting { generation: 2, epoch: 2, ..SETTING }, &["acme"]);
    let swap = bench.order();
    bench.review_sent(&swap, 2);
    bench.reviewed(&swap, 0, &[(1, &["ask:1", "free:1"])], true);
    bench.offer(Some("acme"), "revoke 1", 1);
    let rights = bench.order();
    assert!(!Arc::ptr_eq(&swap, &rights));
    bench.review_sent(&rights, 1);
    bench.offer(Some("acme"), "plain", 2);
    bench.reviewed(&rights, 0, &[(1, &["ask:1"])], true);
    assert_eq!(bench.asked.len(), 2);
    bench.answer(1, found());
    assert_eq!(bench.done, ["event 2"]);
    bench.now += SWAP_REVIEW_TIME;
    bench.tick();
    assert_eq!(bench.done[1..], ["withdraw 1 of acme", "unsubscribe 1: ask:1 Unavailable"]);
    bench.answer(0, found());
    assert!(bench.lane.is_idle());
}
