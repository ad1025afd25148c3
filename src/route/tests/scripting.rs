//! Routes that ask plugins: what becomes of events while these wait, fail, and name somebody.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::deciding::{check_with, decide, down, one, query, rows, to, users, without};
use super::*;
use crate::config::{ActionRule, ForgetRule, Hook, OnError, PluginFile, PluginId, QueryId, ScriptCall};
use crate::event::{TenantId, Topic};
use crate::route::script::{EventView, LogSink, Plugin, Routing, ScriptLimits, Step, Suspended, Vm};
use crate::route::{Arrived, Came, Errand, First, Held, Leg, Parked, Progress};

/// Plugins on machines of their own. Queries are called `q0` and so on.
pub(super) struct Plugins {
    pub(super) compiled: Vec<Arc<Plugin>>,
    vms: Vec<Vm>,
    /// Calls of hooks, and answers that were taken.
    pub(super) runs: Vec<ScriptCall>,
    /// What routes ask is not run before it is [asked for](Plugins::run).
    are_away: bool,
    parked: Vec<Option<Suspended<Routing>>>,
}

impl Plugins {
    pub(super) fn new(texts: &[&str]) -> Self {
        let file = |(index, text): (usize, &&str)| {
            let mut file = PluginFile::of_text(&format!("p{index}.lua"), text);
            for hook in [Hook::Route, Hook::Authorize] {
                if text.contains(hook.name()) {
                    file.call(hook, serde_json::json!({}));
                }
            }
            file
        };
        Self::of(texts.iter().enumerate().map(file))
    }

    /// One whose `route` hook is called by sites with these parameters.
    pub(super) fn with_sites(text: &str, with: impl Iterator<Item = serde_json::Value>) -> Self {
        let mut file = PluginFile::of_text("p0.lua", text);
        with.for_each(|with| {
            file.call(Hook::Route, with);
        });
        Self::of(std::iter::once(file))
    }

    fn of(files: impl Iterator<Item = PluginFile>) -> Self {
        let limits = ScriptLimits { budget: Duration::from_secs(5), memory: 8 << 20 };
        let compile = |file: PluginFile| {
            let plugin = Plugin::compile(&file, limits);
            Arc::new(plugin.unwrap_or_else(|faults| panic!("{}: {faults:?}", file.text())))
        };
        let plugins: Vec<_> = files.map(compile).collect();
        let log: LogSink = Rc::new(|_, line| panic!("{line:?}"));
        let vms = plugins.iter().map(|plugin| Vm::new(plugin, &log).unwrap()).collect();
        Self { compiled: plugins, vms, runs: Vec::new(), are_away: false, parked: Vec::new() }
    }

    /// Those whose `route` hooks do these.
    fn routing(bodies: &[&str]) -> Self {
        let text = |body: &&str| format!("return {{ route = function(event, to)\n{body}\nend }}");
        let texts: Vec<String> = bodies.iter().map(text).collect();
        Self::new(&texts.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs what a route asks.
    pub(super) fn run(&mut self, errand: &Errand<Routing>) {
        let step = match errand.leg() {
            Leg::First(first) => first(self.vm(errand.call)),
            Leg::Next(parked, answer) => {
                let at = usize::try_from(parked.number()).unwrap();
                self.parked[at].take().expect("a call goes on once").resume(answer.clone())
            }
        };
        let how = match step {
            Step::Done(said) => Arrived::Done(said),
            Step::Asks(lookup, suspended) => {
                self.parked.push(Some(suspended));
                Arrived::Asks(lookup, Parked::new(self.parked.len() as u64 - 1))
            }
        };
        errand.tell(Came { how, took: Duration::ZERO });
    }

    fn vm(&self, call: ScriptCall) -> &Vm {
        &self.vms[usize::from(call.plugin.0)]
    }
}

impl Scripts for Plugins {
    fn query(&self, name: &str) -> Option<QueryId> {
        name.strip_prefix('q')?.parse().ok().map(QueryId)
    }

    fn route(&mut self, call: ScriptCall, event: &Event, view: &EventView) -> Progress<Routing> {
        self.runs.push(call);
        if self.are_away {
            let (event, view) = (event.clone(), view.clone());
            let first: First<Routing> = Box::new(move |vm| vm.route(call.site, &event, &view));
            return Progress::Away(Arc::new(Errand::new(call, Leg::First(first))));
        }
        self.vm(call).route(call.site, event, view).into()
    }

    fn resume_route(&mut self, call: ScriptCall, _: &Event, held: Held<Routing>, answer: Answer) -> Progress<Routing> {
        self.runs.push(call);
        held.resume(answer)
    }

    fn authorize(&mut self, call: ScriptCall, session: &SessionView<'_>, topic: &Topic) -> Progress<bool> {
        self.vm(call).authorize(call.site, session, topic).into()
    }

    fn resume_authorize(&mut self, _: ScriptCall, _: &TenantId, held: Held<bool>, answer: Answer) -> Progress<bool> {
        held.resume(answer)
    }
}

/// A route that asks this plugin, by this site.
pub(super) fn script_at(plugin: u16, site: usize, on_error: OnError) -> Route {
    let call = ScriptCall { plugin: PluginId(plugin), site };
    Route { name: format!("s{plugin}").into(), to: RouteTarget::Script(call, on_error), ..route("s", Vec::new()) }
}

fn script(plugin: u16, on_error: OnError) -> Route {
    script_at(plugin, 0, on_error)
}

fn goes_on(route: Route) -> Route {
    Route { go_on: true, ..route }
}

const BODY: &str = r#"{"data":{"tenant":"acme","n":42}}"#;
const OF_NOBODY: &str = r#"{"data":{"n":42}}"#;

/// What these plugins, each by a route, and then everyone of the tenant make of an event. Questions are answered in
/// order.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "rules and answers are made where they are given")]
fn check(bodies: &[&str], routes: Vec<Route>, body: &str, expected_calls: &str, answers: Vec<Answer>, expected: &str) {
    for are_away in [false, true] {
        let mut plugins = Plugins { are_away, ..Plugins::routing(bodies) };
        check_with(&mut plugins, routes.clone(), body, expected_calls, answers.clone(), expected);
    }
}

#[test]
fn a_plugin_names_whom_it_names_of_the_events_own_tenant() {
    let cases = [
        ("to:topic('deal:' .. event.data.n) to:except_user(7)", "s0 -> acme: topics deal:42 except 7"),
        ("to:user(7) to:also() to:topics({'a', 'b'})", "s0 -> acme: users 7 or topics a,b"),
        ("to:tenant()", "s0 -> acme: all"),
        ("to:users({})", "s0 -> Nobody"),
        ("", "s0 -> Nobody"),
        ("to:tenant() to:drop('enough')", "s0 -> Dropped(\"enough\")"),
    ];
    for (plugin, expected) in cases {
        check(&[plugin], vec![script(0, OnError::Drop), to(vec![])], BODY, "", vec![], expected);
    }
    check(&["error('never called')"], vec![script(0, OnError::Next)], OF_NOBODY, "", vec![], "s0 -> NoTenant");
}

#[test]
fn a_plugin_that_waits_goes_on_with_its_answers() {
    let plugin = "to:users(lookup('q1', { record = event.data.n })) to:also() to:users(lookup('q2')) lookup('q2')";
    let answers = vec![rows(&[Scalar::Int(7), text("ann")]), rows(&[Scalar::Int(8)])];
    let expected = "s0 -> acme: users 7,ann or users 8";
    check(&[plugin], vec![script(0, OnError::Drop)], BODY, "1(record=42) 2()", answers, expected);
}

#[test]
fn what_several_routes_ask_is_asked_once() {
    let plugin = "to:users(lookup('q0', { record = event.data.n }))";
    let routes =
        vec![goes_on(script(0, OnError::Drop)), goes_on(to(vec![query(0, "{data.n}")])), script(1, OnError::Drop)];
    let expected = "s0 -> acme: users 7; r -> acme: users 7; s1 -> acme: users 7";
    check(&[plugin, plugin], routes, BODY, "0(record=42)", vec![rows(&[Scalar::Int(7)])], expected);
}

#[test]
fn a_plugin_that_fails_costs_its_route_the_event_or_leaves_it_to_the_next() {
    let failed =
        |line: &str| format!("s0 -> ScriptFailed(ScriptError {{ kind: Error, line: Some(2), message: \"{line}\" }})");
    let boom = failed("p0.lua:2: boom");
    let all = || to(vec![AudienceRule::default()]);
    let of = |on_error| vec![script(0, on_error), all(), all()];
    check(&["error('boom')"], of(OnError::Drop), BODY, "", vec![], &boom);
    check(&["error('boom')"], of(OnError::Next), BODY, "", vec![], &format!("{boom}; r -> acme: all"));
    // The same after it has waited, and where others have decided meanwhile.
    let waits = "lookup('q1') error('boom')";
    let answers = || vec![rows(&[])];
    check(&[waits], of(OnError::Drop), BODY, "1()", answers(), &boom);
    check(&[waits], of(OnError::Next), BODY, "1()", answers(), &format!("{boom}; r -> acme: all"));
    let routes = vec![goes_on(script(0, OnError::Next)), all()];
    check(&[waits], routes, BODY, "1()", answers(), &format!("{boom}; r -> acme: all"));
    // One that ends well decides.
    check(&["lookup('q1') to:user(1)"], of(OnError::Next), BODY, "1()", answers(), "s0 -> acme: users 1");
    // The next one may be a plugin too, and wait.
    let routes = vec![script(0, OnError::Next), script(1, OnError::Next), all()];
    let then = "to:users(lookup('q1')) to:users(lookup('q2'))";
    let answers = vec![rows(&[]), rows(&[Scalar::Int(7)])];
    check(&[waits, then], routes, BODY, "1() 2()", answers, &format!("{boom}; s1 -> acme: users 7"));
}

#[test]
fn a_query_that_has_no_answer_or_is_none_is_a_failure_at_the_line_that_asks() {
    let said = |plugin: &str, answers: Vec<Answer>, calls: &str| {
        let mut plugins = Plugins::routing(&[plugin]);
        let decided = decide(&mut plugins, vec![script(0, OnError::Drop)], BODY, answers);
        let (said_calls, said) = decided;
        assert_eq!(said_calls, calls);
        said
    };
    let failed = said("to:tenant()\nlookup('q1')", vec![down()], "1()");
    assert!(failed.contains("kind: Lookup") && failed.contains("p0.lua:3: lookup: `q1`: the database"), "{failed}");
    let failed = said("lookup('nope')", vec![], "");
    assert!(failed.contains("p0.lua:2: lookup: `nope`: ") && failed.contains("no query is named `nope`"), "{failed}");
    let said_calls = (0..256).map(|n| format!("1(n={n})")).collect::<Vec<_>>().join(" ");
    let answers = (0..256).map(|_| rows(&[])).collect();
    let failed = said("for n = 0, 300 do lookup('q1', { n = n }) end", answers, &said_calls);
    assert!(failed.contains("more than 256 questions"), "{failed}");
}

#[test]
fn where_a_plugin_fails_that_may_say_payloads_no_later_route_gives_more() {
    let all = || to(vec![AudienceRule::default()]);
    let silent = "if event.data.n then error('boom') end";
    let pays = "lookup('q1') if event.data.n then error('boom') end to:tenant() to:payload({ a = 1 })";
    let is_all = |said: &str| said.ends_with("; r -> acme: all");
    let of = |plugin: &str, on_error, go_on| {
        let routes = vec![Route { go_on, ..script(0, on_error) }, all()];
        let answers = vec![rows(&[])];
        decide(&mut Plugins::routing(&[plugin]), routes, BODY, answers).1
    };
    assert!(is_all(&of(silent, OnError::Drop, true)), "it says no payload");
    let said = of(pays, OnError::Drop, true);
    assert!(said.contains("; r -> ScriptFailed"), "{said}");
    // There the operator has said what is to happen.
    assert!(is_all(&of(pays, OnError::Next, false)) && is_all(&of(pays, OnError::Next, true)));
    // And what a plugin names is no exception where a query would have said it.
    let narrowed = AudienceRule { payload: Some(without(&["a"])), ..query(1, "{data.n}") };
    let routes = vec![goes_on(to(vec![narrowed])), script(0, OnError::Next)];
    let said = decide(&mut Plugins::routing(&["to:tenant()"]), routes, BODY, vec![down()]).1;
    assert!(said.contains("; s0 -> LookupFailed"), "{said}");
}

#[test]
fn a_payload_of_its_own_is_that_of_its_audience_alone() {
    let plugin = "to:user(1) to:payload({ a = 1 }) to:also() to:user(2) to:also() to:user(3) to:payload({ a = 1 })";
    let mut plugins = Plugins::routing(&[plugin]);
    let mut decoder = Decoder::new(shape());
    let table = RouteTable::compile(vec![script(0, OnError::Drop)], &plugins.compiled, &mut decoder);
    let event = decode(&decoder, BODY);
    let Plan::Decided(decision) = table.decide(event, &mut plugins) else { panic!("nothing is to be asked") };
    let (event, audiences) = decision.into_audiences();
    let payloads: Vec<_> = audiences[0].clauses().iter().map(|clause| &clause.payload).collect();
    let said: Vec<_> = payloads.iter().map(|payload| String::from_utf8(payload.of(&event).to_vec()).unwrap()).collect();
    assert_eq!(said, [r#"{"a":1}"#, r#"{"tenant":"acme","n":42}"#, r#"{"a":1}"#]);
    assert!(payloads[0].is_same(payloads[2]) && !payloads[0].is_same(payloads[1]));
}

#[test]
fn what_would_be_forgotten_should_a_plugin_fail_is_known_before() {
    let forget = |query| {
        let rule = ActionRule::Forget(ForgetRule { query: QueryId(query), with: Vec::new(), of_tenant: true });
        Route { to: RouteTarget::Act(vec![rule]), ..route("f", Vec::new()) }
    };
    let waits = "lookup('q1')";
    let foretold = |routes: Vec<Route>| {
        let mut plugins = Plugins::routing(&[waits, waits, "error('boom')"]);
        let mut decoder = Decoder::new(shape());
        let table = RouteTable::compile(routes, &plugins.compiled, &mut decoder);
        let plan = table.decide(decode(&decoder, BODY), &mut plugins);
        let of = |actions: &mut dyn Iterator<Item = &Action>| {
            actions
                .map(|action| match action {
                    Action::Forget(forget) => forget.query.0,
                    Action::Disconnect(_) => panic!("nobody is disconnected"),
                })
                .collect::<Vec<_>>()
        };
        (of(&mut plan.actions()), of(&mut plan.foretold().iter()))
    };
    let (next, drop) = (OnError::Next, OnError::Drop);
    assert_eq!(
        foretold(vec![script(0, next), goes_on(forget(5)), script(1, next), forget(6), forget(7)]),
        (vec![], vec![5, 6])
    );
    assert_eq!(foretold(vec![script(0, drop), forget(5)]), (vec![], vec![]));
    assert_eq!(foretold(vec![script(0, next), script(1, drop), forget(5)]), (vec![], vec![]));
    assert_eq!(foretold(vec![goes_on(script(0, next)), forget(5), forget(6)]), (vec![5], vec![]));
    assert_eq!(foretold(vec![goes_on(script(0, drop)), script(2, next), forget(5)]), (vec![5], vec![]));
}

#[test]
fn answers_that_are_known_are_used_and_what_comes_up_by_them_too() {
    let plugin = "to:users(lookup('q1')) lookup('q2') lookup('q3') lookup('q4')";
    let mut plugins = Plugins::routing(&[plugin]);
    let mut decoder = Decoder::new(shape());
    let table = RouteTable::compile(vec![script(0, OnError::Drop)], &plugins.compiled, &mut decoder);
    let plan = table.decide(decode(&decoder, BODY), &mut plugins);
    let known = |call: &Call| (call.query.0 != 3).then(|| rows(&[Scalar::Int(7)]));
    let Plan::Waits(mut pending) = table.with_known(plan, &mut plugins, known) else { panic!("one is not known") };
    let calls: Vec<_> = pending.take_calls().collect();
    assert_eq!(calls.iter().map(|(_, question)| query_of(question)).collect::<Vec<_>>(), [3]);
    assert!(pending.take_calls().next().is_none() && !pending.is_answered());
    table.answer(&mut pending, calls[0].0, &rows(&[]), &mut plugins);
    table.answer(&mut pending, calls[0].0, &down(), &mut plugins);
    assert_eq!(pending.take_calls().map(|(_, question)| query_of(&question)).collect::<Vec<_>>(), [4]);
    let said = format!("{:?}", pending.finish().decided());
    assert!(
        said.contains("ScriptFailed") && said.contains("was not answered"),
        "what was not answered has failed: {said}"
    );
    assert_eq!(plugins.runs.len(), 4);
}

#[test]
fn an_audience_rule_goes_beside_a_plugin() {
    let routes = vec![goes_on(to(vec![users(one("7"))])), script(0, OnError::Drop)];
    check(&["to:user(8)"], routes, BODY, "", vec![], "r -> acme: users 7; s0 -> acme: users 8");
}
