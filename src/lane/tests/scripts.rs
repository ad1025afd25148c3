//! Lanes whose routes and topic rules ask plugins.

use super::authorizing::request;
use super::*;
use crate::config::{Breaker, Hook, OnError, PluginFile, PluginId, ScriptCall};
use crate::lookup::Forgotten;

/// Which rules there are beside the plugin's.
#[derive(Clone, Copy)]
pub(super) struct Setting {
    pub(super) generation: u64,
    pub(super) epoch: u64,
    pub(super) on_error: OnError,
    /// The plugin's whole text.
    pub(super) text: &'static str,
    /// Topics of these patterns, each by the plugin, a query (`?q7`), or for all (`+`) or nobody (`-`).
    pub(super) topics: &'static [(&'static str, &'static str)],
}

/// Its `route` hook does what the event's `do` says; `authorize` what the topic says.
pub(super) const PLUGIN: &str = r#"
local calls = 0
return {
    route = function(event, to)
        calls = calls + 1
        local what = event.data.record
        if what == "ask" then
            to:users(lookup("q3", { record = 1 }))
        elseif what == "twice" then
            to:users(lookup("q1", { record = 1 }))
            to:users(lookup("q2", { record = 1 }))
        elseif what == "all" then
            to:tenant()
        elseif what == "loop" then
            while true do end
        elseif what == "drop" then
            to:drop("it is enough")
        else
            error("no such thing")
        end
    end,
    authorize = function(session, topic)
        local what, id = topic:match("^script:(%a+)(%d*)$")
        if what == "yes" then
            return true
        elseif what == "ask" then
            return #lookup("q7", { id = id }) > 0
        elseif what == "kept" then
            return #lookup("q8", { id = id }) > 0
        elseif what == "both" then
            return #lookup("q8", { id = id }) > 0 and #lookup("q7", { id = id }) > 0
        elseif what == "fail" then
            error("no such topic")
        end
        return false
    end,
}
"#;

/// Of one call.
pub(super) const BUDGET: Duration = Duration::from_millis(20);

pub(super) const SETTING: Setting = Setting {
    generation: 1,
    epoch: 1,
    on_error: OnError::Drop,
    text: PLUGIN,
    topics: &[("script:{id}", "script"), ("ask:{id}", "?q7"), ("free:{id}", "+")],
};

/// Routes by an event's `kind`: `script` asks the plugin, `plain` and what is left over is for all; `revoke` is about queries
/// 7 and 8.
pub(super) fn rulebook_with(setting: Setting) -> Arc<Rulebook> {
    let Setting { generation, epoch, on_error, text, topics } = setting;
    let mut file = PluginFile::of_text("p.lua", text);
    let (plugin, with) = (PluginId(0), || serde_json::json!({}));
    let site = file.call(Hook::Route, with());
    let route = |kind: &str, to| Route {
        name: kind.into(),
        when: vec![(path("kind"), Matcher::Equals(Scalar::Text(kind.into())))],
        to,
        all_tenants: false,
        go_on: false,
    };
    let rest = Route { when: Vec::new(), ..route("rest", RouteTarget::Audiences(vec![AudienceRule::default()])) };
    let routes = vec![
        route("script", RouteTarget::Script(ScriptCall { plugin, site }, on_error)),
        route("revoke", RouteTarget::Act(vec![forget(7, "id"), forget(8, "id")])),
        rest,
    ];
    let site = file.call(Hook::Authorize, with());
    let topics = topics.iter().map(|(pattern, allow)| {
        let allow = match *allow {
            "script" => TopicAllow::Script(ScriptCall { plugin, site }),
            "+" => TopicAllow::Always,
            "-" => TopicAllow::Never,
            query => {
                let id = Template::parse("{id}", |_| Ok(TopicPlace::Capture(0))).unwrap();
                let query = QueryId(query.strip_prefix("?q").unwrap().parse().unwrap());
                TopicAllow::Query(QueryCall { query, with: vec![("id".into(), id)] })
            }
        };
        TopicRule { pattern: TopicPattern::parse(pattern).unwrap(), allow }
    });
    let breaker = Breaker { failures: 3, retry: Duration::from_secs(10) };
    let plugins = Plugins { files: vec![file], breaker, budget: BUDGET, ..Plugins::default() };
    let rules = Rules { event: shape(), largest_event: usize::MAX, routes, topics: topics.collect(), plugins };
    let queries = Queries { epoch, database: epoch, queries: queries().into(), lookups: None };
    Arc::new(Rulebook::compile(Generation(generation), rules, Arc::new(queries)).unwrap())
}

pub(super) fn bench(setting: Setting) -> Bench {
    Bench::with(rulebook_with(setting))
}

impl Bench {
    pub(super) fn script(&mut self, tenant: &str, what: &str, id: u64) {
        self.offer(Some(tenant), &format!("script \"{what}\""), id);
    }

    pub(super) fn asked_queries(&self) -> Vec<u16> {
        self.asked.iter().map(|ask| ask.call.query.0).collect()
    }

    pub(super) fn failures(&self, kind: &'static str) -> u64 {
        self.metrics.script("p.lua").failures(kind)
    }
}

#[test]
fn a_plugin_that_waits_holds_up_its_own_tenant_alone() {
    let mut bench = bench(SETTING);
    bench.script("acme", "twice", 1);
    bench.script("acme", "all", 2);
    bench.script("globex", "all", 3);
    bench.offer(Some("acme"), "plain", 4);
    assert_eq!((bench.handed.len(), bench.asked_queries()), (1, vec![1]));
    bench.answer(0, found());
    assert_eq!((bench.handed.len(), bench.asked_queries()), (1, vec![2]), "its next question");
    bench.answer(0, found());
    assert_eq!((bench.handed_of(Some("acme")), bench.handed_of(Some("globex"))), (vec![1, 2, 4], vec![3]));
    assert!(bench.lane.is_idle());
}

#[test]
fn a_plugins_answers_are_kept_as_a_rules_are() {
    let mut bench = bench(SETTING);
    for id in 1..4 {
        bench.script("acme", "ask", id);
    }
    assert_eq!(bench.asked_queries(), [3], "all wait for one answer");
    bench.answer(0, found());
    bench.script("acme", "ask", 4);
    assert_eq!(bench.handed_of(Some("acme")), [1, 2, 3, 4]);
    bench.script("globex", "ask", 5);
    assert_eq!(bench.asked.len(), 1);
}

#[test]
fn what_a_plugin_waits_for_goes_to_nobody_once_its_event_is_shed() {
    let mut bench = bench(SETTING);
    bench.script("acme", "twice", 0);
    for id in 1..=TENANT_WAITING as u64 {
        bench.offer(Some("acme"), "plain", id);
    }
    assert_eq!(bench.drops(DropCause::tenant_backlog), 1);
    assert_eq!(bench.handed.len(), TENANT_WAITING);
    bench.answer(0, found());
    assert!(bench.lane.is_idle() && bench.asked.is_empty());
}

#[test]
fn a_failure_costs_one_event_and_is_counted() {
    let mut bench = bench(SETTING);
    for (id, what) in (1..).zip(["fail", "loop", "all", "ask", "drop", "all"]) {
        bench.script("acme", what, id);
    }
    // One that takes long is followed by others beside the lane.
    bench.run_all();
    bench.answer(0, failed());
    bench.run_all();
    assert_eq!(bench.handed_of(Some("acme")), [3, 6]);
    assert_eq!(["error", "budget", "lookup", "breaker"].map(|kind| bench.failures(kind)), [1, 1, 1, 0]);
    assert_eq!(bench.drops(DropCause::script), 3);
    assert_eq!(bench.metrics.route_failures("script", DropCause::script).get(), 3);
    assert_eq!(bench.metrics.decisions("script").get(), 3, "one that drops an event has decided");
    assert_eq!(bench.metrics.routed(RoutedOutcome::nobody).get(), 1);
    assert!(bench.lane.is_idle());
}

#[test]
fn where_the_next_route_is_tried_nothing_is_dropped() {
    let mut bench = bench(Setting { on_error: OnError::Next, ..SETTING });
    bench.script("acme", "fail", 1);
    bench.script("acme", "ask", 2);
    bench.script("acme", "all", 3);
    bench.answer(0, failed());
    assert_eq!(bench.handed_of(Some("acme")), [1, 2, 3]);
    assert_eq!(bench.drops(DropCause::script), 0);
    assert_eq!(bench.metrics.route_failures("script", DropCause::script).get(), 2);
}

#[test]
fn a_plugin_that_fails_for_one_tenant_costs_no_other_tenant_an_event() {
    let mut bench = bench(SETTING);
    let meter = bench.metrics.script("p.lua");
    for id in 1..=20 {
        for _ in 0..5 {
            bench.script("acme", "fail", id);
        }
        bench.script("globex", "all", id);
        // It is tried again, and fails again.
        bench.now += Duration::from_secs(1);
    }
    assert_eq!(bench.handed_of(Some("globex")), (1..=20).collect::<Vec<_>>());
    assert_eq!(["error", "breaker"].map(|kind| bench.failures(kind)), [4, 96]);
    assert_eq!(meter.is_put_aside(Hook::Route), 1);
    // A second tenant is counted by itself.
    for id in 21..=25 {
        bench.script("initech", "fail", id);
    }
    assert_eq!(["error", "breaker"].map(|kind| bench.failures(kind)), [7, 98]);
    assert_eq!(meter.is_put_aside(Hook::Route), 2);
    bench.now += Duration::from_secs(10);
    bench.script("acme", "all", 26);
    bench.script("initech", "all", 27);
    assert_eq!(meter.is_put_aside(Hook::Route), 0);
}

#[test]
fn a_plugin_that_fails_again_and_again_is_put_aside_for_events_and_topics_apart() {
    let mut bench = bench(SETTING);
    let meter = bench.metrics.script("p.lua");
    for id in 1..=5 {
        bench.script("acme", "fail", id);
    }
    assert_eq!(["error", "breaker"].map(|kind| bench.failures(kind)), [3, 2]);
    assert_eq!((meter.is_put_aside(Hook::Route), meter.is_put_aside(Hook::Authorize)), (1, 0));
    bench.offer(Some("acme"), "plain", 6);
    bench.authorize(request(1, &["script:yes"]));
    assert_eq!(bench.answers(), [(1, "script:yes Allowed".to_owned())]);
    bench.now += Duration::from_secs(10);
    bench.script("acme", "ask", 7);
    bench.script("acme", "all", 8);
    assert_eq!(bench.failures("breaker"), 3, "one call tries it");
    bench.answer(0, found());
    bench.script("acme", "all", 9);
    assert_eq!((bench.handed_of(Some("acme")), meter.is_put_aside(Hook::Route)), (vec![6, 7, 9], 0));
    // What a database does not answer is no fault of the plugin's.
    bench.now += TTL;
    for id in 10..20 {
        bench.script("acme", "ask", id);
        bench.answer(0, failed());
    }
    bench.script("acme", "all", 20);
    assert_eq!(bench.handed_of(Some("acme")).last(), Some(&20));
}

#[test]
fn topics_are_judged_by_a_plugin_and_denied_where_it_fails() {
    let mut bench = bench(SETTING);
    bench.authorize(request(
        1,
        &["script:yes", "script:no", "script:fail", "script:ask1", "script:ask2", "script:both3"],
    ));
    assert_eq!(bench.asked_queries(), [7, 7, 8]);
    bench.answer(0, found());
    bench.answer(0, failed());
    bench.answer(0, found());
    assert!(bench.answers().is_empty(), "one asks more");
    bench.answer(0, Ok(Arc::new(Rows::default())));
    let expected = "script:yes Allowed, script:no Denied, script:fail Denied, script:ask1 Allowed, \
                    script:ask2 Unavailable, script:both3 Denied";
    assert_eq!(bench.answers(), [(1, expected.to_owned())]);
    assert!(bench.lane.is_idle());
}

#[test]
fn what_a_plugin_was_answered_about_a_topic_may_be_no_longer_good() {
    let mut bench = bench(SETTING);
    bench.authorize(request(1, &["script:both1", "script:yes", "script:ask2"]));
    // It has q8, and waits for q7.
    bench.answer(0, found());
    assert_eq!(bench.asked_queries(), [7, 7]);
    bench.offer(Some("acme"), "revoke 1", 1);
    let order = bench.order();
    let patterns: Vec<String> = order.patterns.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(patterns, ["script:{id}", "ask:{id}"], "a plugin that may ask is meant too");
    // What it asks first is asked anew, and what is under way counts for nothing.
    assert_eq!(bench.asked_queries(), [7, 7, 8]);
    bench.answer(0, found());
    bench.answer(0, found());
    assert!(bench.answers().is_empty());
    bench.answer(0, Ok(Arc::new(Rows::default())));
    assert_eq!(bench.answers(), [(1, "script:both1 Denied, script:yes Allowed, script:ask2 Allowed".to_owned())]);
}

#[test]
fn a_review_has_plugins_judge_again_that_may_have_asked() {
    let mut bench = bench(SETTING);
    bench.offer(Some("acme"), "revoke 1", 1);
    let order = bench.order();
    bench.review_sent(&order, 1);
    bench.script("acme", "all", 2);
    bench.reviewed(&order, 0, &[(1, &["script:yes", "script:ask1", "script:no"]), (2, &["ask:1", "free:1"])], true);
    assert_eq!((bench.done.len(), bench.asked_queries()), (0, vec![7, 7]));
    bench.answer(0, Ok(Arc::new(Rows::default())));
    bench.answer(0, Ok(Arc::new(Rows::default())));
    let mut done = bench.done.clone();
    done[..2].sort_unstable();
    let expected = ["unsubscribe 1: script:ask1 Denied, script:no Denied", "unsubscribe 2: ask:1 Denied", "event 2"];
    assert_eq!(done, expected);
    assert!(bench.lane.is_idle());
}

#[test]
fn machines_are_made_before_they_are_needed_and_go_with_their_rulebook() {
    let mut bench = bench(SETTING);
    let memory = |bench: &Bench| bench.metrics.script("p.lua").held();
    let next = rulebook_with(Setting { generation: 2, ..SETTING });
    bench.lane.prepare(&next, PluginId(0), bench.now).unwrap();
    let one = memory(&bench);
    assert!(one > 10_000, "a machine holds something: {one}");
    bench.script("acme", "all", 1);
    assert!(memory(&bench) > one + 10_000, "each has its own");
    let due = bench.lane.due().unwrap();
    bench.rulebook = next;
    bench.lane.adopt(&Arc::clone(&bench.rulebook));
    bench.now = due;
    bench.tick();
    assert_eq!(memory(&bench), one, "nobody holds the first rulebook any more");
    assert_eq!(bench.lane.due(), None);
    // What waits by a rulebook holds it.
    bench.script("acme", "ask", 2);
    bench.rulebook = rulebook_with(Setting { generation: 3, ..SETTING });
    bench.lane.prepare(&Arc::clone(&bench.rulebook), PluginId(0), bench.now).unwrap();
    bench.lane.adopt(&Arc::clone(&bench.rulebook));
    bench.now += Duration::from_secs(2);
    bench.tick();
    bench.answer(0, found());
    assert_eq!(bench.handed_of(Some("acme")), [1, 2]);
    bench.now += Duration::from_secs(2);
    bench.tick();
    assert_eq!(memory(&bench), one);
}

#[test]
fn a_plugin_whose_memory_is_used_up_begins_anew() {
    let text = r#"
local kept = {}
return {
    route = function(event, to)
        while event.data.record == "fill" do kept[#kept + 1] = string.rep("x", 100000) .. #kept end
        to:tenant()
    end,
    authorize = function() return false end,
}"#;
    let mut bench = bench(Setting { text, ..SETTING });
    bench.script("acme", "fill", 1);
    assert_eq!(bench.failures("memory") + bench.failures("budget"), 1);
    bench.script("acme", "all", 2);
    assert_eq!(bench.handed_of(Some("acme")), [2]);
}

#[test]
fn answers_of_other_queries_are_not_kept_and_words_reach_them_by_name() {
    let mut bench = bench(SETTING);
    bench.script("acme", "ask", 1);
    let (old, new) = (Arc::clone(&bench.rulebook), rulebook_with(Setting { generation: 2, epoch: 2, ..SETTING }));
    bench.lane.adopt(&new);
    bench.rulebook = Arc::clone(&new);
    // The same question to another database is another question.
    bench.script("acme", "ask", 2);
    assert_eq!(bench.asked.iter().map(|ask| ask.queries.epoch).collect::<Vec<_>>(), [1, 2]);
    bench.answer(1, found());
    bench.answer(0, found());
    assert_eq!(bench.handed_of(Some("acme")), [1, 2]);
    assert_eq!(bench.metrics.lookup_cache_entries().get(), 1);
    // An event that was decoded before is asked by itself.
    bench.rulebook = old;
    bench.script("acme", "ask", 3);
    bench.script("acme", "ask", 4);
    assert_eq!(bench.asked.len(), 2);
    bench.answer(0, found());
    bench.answer(0, found());
    // What it says of rights is about what is kept now.
    bench.rulebook = Arc::clone(&new);
    bench.authorize(request(1, &["script:kept1"]));
    bench.answer(0, found());
    assert_eq!(bench.metrics.lookup_cache_entries().get(), 2);
    let word = Forgotten { query: "q8".into(), binds: [("id".into(), Scalar::Int(1))].into_iter().collect() };
    let mut effects = Vec::new();
    bench.lane.forget_for_all(&word, &[], &new, bench.now, &mut effects);
    assert_eq!(bench.metrics.lookup_cache_entries().get(), 1);
    // With the queries, what was kept of them goes.
    bench.lane.adopt(&rulebook_with(Setting { generation: 3, epoch: 3, ..SETTING }));
    assert_eq!(bench.metrics.lookup_cache_entries().get(), 0);
}
