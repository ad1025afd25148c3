//! What plugins take long for runs beside the lane, and comes to the same.

use super::authorizing::request;
use super::scripts::{BUDGET, SETTING, Setting, bench};
use super::*;
use crate::config::Hook;

impl Bench {
    /// A call that takes long makes a suspect of its tenant.
    fn suspect(&mut self, tenant: &str) {
        self.script(tenant, "loop", 0);
        assert_eq!(self.failures("budget"), 1);
    }

    fn quarantined(&self) -> u64 {
        self.metrics.script("p.lua").is_quarantined()
    }
}

#[test]
fn whoever_has_a_plugin_take_long_waits_for_it_and_nobody_else_does() {
    let mut bench = bench(SETTING);
    bench.suspect("acme");
    bench.script("acme", "all", 1);
    bench.offer(Some("acme"), "plain", 2);
    bench.script("acme", "drop", 3);
    bench.script("globex", "all", 4);
    bench.script("acme", "all", 5);
    assert_eq!(bench.handed, [(TenantId::new("globex"), 4)]);
    bench.run_all();
    assert_eq!((bench.handed_of(Some("acme")), bench.quarantined()), (vec![1, 2, 5], 3));
    assert!(bench.lane.is_idle());
    bench.now += Duration::from_secs(30);
    bench.script("acme", "all", 6);
    assert_eq!(bench.handed_of(Some("acme")).last(), Some(&6), "it has been quick, and is trusted again");
}

#[test]
fn what_takes_long_beside_the_lane_stays_there() {
    let mut bench = bench(SETTING);
    bench.suspect("acme");
    bench.now += BUDGET * 95;
    bench.script("acme", "loop", 1);
    bench.run(0);
    bench.now += BUDGET * 95;
    bench.script("acme", "all", 2);
    assert!(bench.handed.is_empty());
    bench.run(0);
    assert_eq!(bench.handed_of(Some("acme")), [2]);
}

#[test]
fn a_plugin_asks_there_too_and_each_question_is_an_errand_more() {
    let mut bench = bench(SETTING);
    bench.suspect("acme");
    bench.script("acme", "twice", 1);
    bench.script("acme", "ask", 2);
    bench.run_all();
    assert_eq!(bench.asked_queries(), [1, 3]);
    bench.answer(1, found());
    bench.run_all();
    assert!(bench.handed.is_empty(), "in order");
    bench.answer(0, found());
    bench.run_all();
    bench.answer(0, found());
    bench.run_all();
    assert_eq!(bench.handed_of(Some("acme")), [1, 2]);
    // What is kept is known there too.
    bench.script("acme", "ask", 3);
    bench.run(0);
    bench.run(0);
    assert_eq!((bench.handed_of(Some("acme")).last(), bench.quarantined()), (Some(&3), 3));
    assert!(bench.lane.is_idle());
}

#[test]
fn one_runs_at_once_for_one_tenant() {
    let mut bench = bench(SETTING);
    bench.suspect("acme");
    for id in 1..=10 {
        bench.script("acme", "all", id);
    }
    while !bench.runs.is_empty() {
        assert_eq!(bench.runs.len(), 1);
        bench.run(0);
    }
    assert_eq!(bench.handed_of(Some("acme")), (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_failure_there_is_a_failure_and_puts_the_plugin_aside() {
    let mut bench = bench(SETTING);
    bench.suspect("acme");
    for id in 1..=10 {
        bench.script("acme", "fail", id);
    }
    bench.run_all();
    // Three in a row, of which one was on the lane.
    assert_eq!(["error", "breaker"].map(|kind| bench.failures(kind)), [2, 8]);
    assert_eq!(bench.drops(DropCause::script), 11);
    assert_eq!(bench.metrics.script("p.lua").is_put_aside(Hook::Route), 1);
    assert!(bench.lane.is_idle());
}

#[test]
fn what_is_given_up_is_not_run() {
    let mut bench = bench(SETTING);
    bench.suspect("acme");
    bench.script("acme", "ask", 1);
    bench.run(0);
    bench.script("acme", "all", 2);
    for id in 3..TENANT_WAITING as u64 + 3 {
        bench.offer(Some("acme"), "plain", id);
    }
    assert_eq!(bench.drops(DropCause::tenant_backlog), 2);
    let before = bench.metrics.script("p.lua").held();
    assert_eq!(bench.handed.len(), TENANT_WAITING);
    bench.run(0);
    bench.answer(0, found());
    assert!(bench.runs.is_empty() && bench.lane.is_idle());
    bench.quarantine.rest();
    assert!(bench.metrics.script("p.lua").held() < before, "nobody waits for a call there");
}

#[test]
fn topics_are_judged_there_as_on_the_lane() {
    let mut bench = bench(SETTING);
    bench.suspect("acme");
    bench.authorize(request(1, &["script:yes", "script:no", "script:fail", "script:ask1", "free:1"]));
    assert!(bench.answers().is_empty());
    bench.run_all();
    bench.answer(0, found());
    bench.run(0);
    let expected =
        "script:yes Allowed, script:no Denied, script:fail Denied, script:ask1 Allowed, free:1 Allowed".to_owned();
    assert_eq!(bench.answers(), [(1, expected)]);
    assert!(bench.lane.is_idle());
}

#[test]
fn what_was_answered_about_a_topic_may_be_no_longer_good_before_the_plugin_has_gone_on() {
    let mut bench = bench(SETTING);
    bench.suspect("acme");
    bench.authorize(request(1, &["script:both1"]));
    bench.run(0);
    bench.answer(0, found());
    // It has q8, and would go on with it.
    assert_eq!((bench.runs.len(), bench.asked.len()), (1, 0));
    bench.offer(Some("acme"), "revoke 1", 1);
    bench.run(0);
    bench.run(0);
    assert_eq!(bench.asked_queries(), [8], "from the start");
    bench.answer(0, Ok(Arc::new(Rows::default())));
    bench.run(0);
    assert_eq!(bench.answers(), [(1, "script:both1 Denied".to_owned())]);
}

#[test]
fn a_plugin_that_is_slow_and_never_fails_is_measured_first() {
    let text = r"
return {
    route = function(event, to)
        if event.data.record == 'slow' then for _ = 1, 300000 do end end
        to:tenant()
    end,
    authorize = function() return false end,
}";
    let mut bench = bench(Setting { text, ..SETTING });
    for id in 1..=3 {
        bench.script("acme", "slow", id);
    }
    assert_eq!((bench.handed_of(Some("acme")), bench.runs.len()), (vec![1, 2], 1));
    bench.run(0);
    assert_eq!(bench.handed_of(Some("acme")), [1, 2, 3]);
}
