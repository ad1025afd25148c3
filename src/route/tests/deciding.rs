use std::fmt::Write as _;
use std::sync::Arc;

use super::scripting::Plugins;
use super::*;
use crate::config::{QueryCall, QueryId, UsersRule};
use crate::event::{Audience, Keep, Payload, PayloadFilter, Scope};
use crate::lookup::{LookupError, Rows};

#[expect(clippy::unnecessary_wraps, reason = "one of two kinds of answers")]
pub(super) fn rows(ids: &[Scalar]) -> Answer {
    let rows = ids.iter().map(|id| Box::from([id.clone()])).collect();
    Ok(Arc::new(Rows { columns: Arc::from(["user_id".into()]), rows }))
}

pub(super) fn down() -> Answer {
    Err(LookupError::Unavailable("down".to_owned()))
}

fn say_audience(audience: &Audience) -> String {
    let clauses = audience.clauses().iter().map(|clause| {
        let mut said = String::new();
        if let Some(users) = &clause.users {
            write!(said, " users {}", users.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")).unwrap();
        }
        if let Some(topics) = &clause.topics {
            write!(said, " topics {}", topics.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")).unwrap();
        }
        for condition in clause.attributes.iter().flat_map(|shared| shared.iter()) {
            write!(said, " where {}: {:?}", condition.name, condition.matcher).unwrap();
        }
        for user in &clause.except {
            write!(said, " except {user}").unwrap();
        }
        if said.is_empty() { " all".to_owned() } else { said }
    });
    let clauses = clauses.collect::<Vec<_>>().join(" or");
    match audience.scope() {
        Scope::Tenant(tenant) => format!("{tenant}:{clauses}"),
        Scope::EveryTenant => format!("everyone:{clauses}"),
    }
}

pub(super) fn say(table: &RouteTable, decision: &Decision) -> String {
    let said = decision.decided().iter().map(|Decided { route, outcome }| {
        let outcome = match outcome {
            Outcome::Audience(audience) => say_audience(audience),
            other => format!("{other:?}"),
        };
        format!("{} -> {outcome}", table.name(*route))
    });
    said.collect::<Vec<_>>().join("; ")
}

/// What `routes` make of a body, once the queries that they ask (`expected_calls`) are answered.
#[track_caller]
fn check_asking(routes: Vec<Route>, body: &str, expected_calls: &str, answers: Vec<Answer>, expected: &str) {
    check_with(&mut Plugins::new(&[]), routes, body, expected_calls, answers, expected);
}

/// As [`check_asking`], with these plugins. They are answered too, in the order in which questions come up.
#[track_caller]
pub(super) fn check_with(
    plugins: &mut Plugins,
    routes: Vec<Route>,
    body: &str,
    expected_calls: &str,
    answers: Vec<Answer>,
    expected: &str,
) {
    let (calls, said) = decide(plugins, routes, body, answers);
    assert_eq!(calls, expected_calls, "calls for {body}");
    assert_eq!(said, expected, "{body}");
}

/// The calls that these routes make, and what they decide.
pub(super) fn decide(plugins: &mut Plugins, routes: Vec<Route>, body: &str, answers: Vec<Answer>) -> (String, String) {
    let mut decoder = Decoder::new(shape());
    let table = RouteTable::compile(routes, &plugins.compiled, &mut decoder);
    let (mut said_calls, mut answers) = (Vec::new(), answers.into_iter());
    let decision = match table.decide(decode(&decoder, body), plugins) {
        Plan::Decided(decision) => decision,
        Plan::Waits(mut pending) => {
            while !pending.is_answered() {
                let calls: Vec<(CallId, Question)> = pending.take_calls().collect();
                assert!(!calls.is_empty(), "it waits for what it does not ask");
                for (id, question) in calls {
                    let call = match question {
                        Question::Query(call) => call,
                        Question::Errand(errand) => {
                            plugins.run(&errand);
                            table.answer(&mut pending, id, &Ok(Arc::default()), plugins);
                            continue;
                        }
                    };
                    let binds: Vec<String> = call.binds.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    said_calls.push(format!("{}({})", call.query.0, binds.join(",")));
                    table.answer(&mut pending, id, &answers.next().expect("an answer"), plugins);
                }
            }
            pending.finish()
        }
    };
    (said_calls.join(" "), say(&table, &decision))
}

#[track_caller]
fn check(routes: Vec<Route>, body: &str, expected: &str) {
    check_asking(routes, body, "", Vec::new(), expected);
}

pub(super) fn to(audiences: Vec<AudienceRule>) -> Route {
    Route { to: RouteTarget::Audiences(audiences), ..route("r", Vec::new()) }
}

fn everyone(all_tenants: bool) -> Route {
    Route { to: RouteTarget::Everyone, all_tenants, ..route("r", Vec::new()) }
}

/// A list of one text.
pub(super) fn one(text: &str) -> ListRule {
    each(&[text])
}

pub(super) fn users(list: ListRule) -> AudienceRule {
    AudienceRule { users: Some(UsersRule::List(list)), ..AudienceRule::default() }
}

fn topics(list: ListRule) -> AudienceRule {
    AudienceRule { topics: Some(list), ..AudienceRule::default() }
}

pub(super) fn query(id: u16, bind: &str) -> AudienceRule {
    let with = vec![("record".into(), template(bind))];
    AudienceRule { users: Some(UsersRule::Query(QueryCall { query: QueryId(id), with })), ..AudienceRule::default() }
}

fn having(name: &str, value: &str) -> AudienceRule {
    let matcher = Matcher::Template(template(value));
    AudienceRule { attributes: vec![(name.into(), matcher)], ..AudienceRule::default() }
}

const BODY: &str = r#"{"kind":"deal.moved","data":{"tenant":"acme","n":42,"s":"x","list":[7,"8",null,true,1.5,{"a":1}],
    "bad":"a::b","no":null,"yes":true,"obj":{}}}"#;

#[test]
fn the_first_route_that_holds_decides_unless_it_says_continue() {
    let named = |name: &str, kind: &str, go_on| Route { go_on, ..route(name, vec![is("kind", kind)]) };
    check(
        vec![named("a", "task.*", false), named("b", "deal.*", false), named("c", "*", false)],
        BODY,
        "b -> acme: all",
    );
    check(
        vec![
            named("a", "deal.*", true),
            named("b", "deal.moved", true),
            named("c", "x", false),
            named("d", "*", false),
        ],
        BODY,
        "a -> acme: all; b -> acme: all; d -> acme: all",
    );
    check(vec![named("a", "deal.*", true)], BODY, "a -> acme: all");
    check(vec![named("a", "task.*", false)], BODY, "");
    check(Vec::new(), BODY, "");
}

#[test]
fn all_conditions_of_a_route_must_hold() {
    let both = |second: &str| route("r", vec![is("kind", "deal.*"), is("data.s", second)]);
    check(vec![both("x")], BODY, "r -> acme: all");
    check(vec![both("y")], BODY, "");
    let same = |field: &str, other: &str| route("r", vec![(path(field), Matcher::Template(template(other)))]);
    check(vec![same("data.n", "4{two}")], r#"{"two":2,"data":{"tenant":"acme","n":42}}"#, "r -> acme: all");
    check(vec![same("data.n", "4{two}")], BODY, "");
}

#[test]
fn audiences_name_people_by_fields_of_the_event() {
    for (rule, expected) in [
        (AudienceRule::default(), "acme: all"),
        (users(each(&["{data.n}", "u{data.s}"])), "acme: users 42,ux"),
        (users(ListRule::Field(path("data.list"))), "acme: users 7,8"),
        (users(ListRule::Field(path("data.n"))), "acme: users 42"),
        (topics(each(&["deal:{data.n}", "board:{data.s}"])), "acme: topics deal:42,board:x"),
        (topics(ListRule::Field(path("data.list"))), "acme: topics 7,8,true,1.5"),
        (
            AudienceRule { topics: Some(each(&["deal:{data.n}"])), ..users(each(&["{data.s}"])) },
            "acme: users x topics deal:42",
        ),
        (
            AudienceRule { except: vec![template("{data.n}"), template("{data.s}")], ..AudienceRule::default() },
            "acme: except 42 except x",
        ),
        (having("team", "{data.s}"), "acme: where team: Equals(Text(\"x\"))"),
        (having("role", "manager"), "acme: where role: Equals(Text(\"manager\"))"),
    ] {
        check(vec![to(vec![rule])], BODY, &format!("r -> {expected}"));
    }
    check(vec![to(vec![users(each(&["1"])), topics(each(&["t"]))])], BODY, "r -> acme: users 1 or topics t");
}

#[test]
fn what_cannot_be_filled_names_nobody_and_excepts_nobody() {
    for nobody in [
        users(each(&["{data.missing}"])),
        users(each(&["{data.yes}", "{data.obj}"])),
        users(ListRule::Field(path("data.missing"))),
        users(ListRule::Field(path("data.obj"))),
        users(each(&[])),
        topics(each(&["deal:{data.no}"])),
        topics(each(&["deal:{data.bad}"])),
        topics(ListRule::Field(path("data.obj"))),
        having("team", "{data.missing}"),
        query(0, "{data.missing}"),
        AudienceRule { topics: Some(each(&["deal:{data.no}"])), ..query(0, "{data.n}") },
    ] {
        let said = format!("{nobody:?}");
        let mut decoder = Decoder::new(shape());
        let table = RouteTable::compile(vec![to(vec![nobody])], &[], &mut decoder);
        let plan = table.decide(decode(&decoder, BODY), &mut NoScripts);
        assert!(matches!(&plan, Plan::Decided(decision) if say(&table, decision) == "r -> Nobody"), "{said}: {plan:?}");
    }
    let some = users(each(&["{data.missing}", "7"]));
    check(vec![to(vec![topics(each(&["deal:{data.no}"])), some])], BODY, "r -> acme: users 7");
    let except = vec![template("{data.missing}"), template("7")];
    check(vec![to(vec![AudienceRule { except, ..AudienceRule::default() }])], BODY, "r -> acme: except 7");
    check(vec![to(Vec::new())], BODY, "r -> Nobody");
}

#[test]
fn tenants_are_kept_apart() {
    let none = r#"{"kind":"x","data":{}}"#;
    check(vec![everyone(false)], none, "r -> everyone: all");
    check(vec![everyone(false)], BODY, "r -> EveryoneOfATenant");
    check(vec![everyone(true)], BODY, "r -> everyone: all");
    check(vec![to(vec![users(each(&["7"]))])], none, "r -> NoTenant");
    check(vec![to(vec![query(0, "7")])], none, "r -> NoTenant");
    check(vec![to(Vec::new())], none, "r -> Nobody");
    let first = Route { go_on: true, name: "a".into(), ..everyone(false) };
    check(vec![first, to(vec![AudienceRule::default()])], BODY, "a -> EveryoneOfATenant; r -> acme: all");
}

#[test]
fn rows_name_users_by_their_first_column() {
    let ids = [Scalar::Int(7), text("8"), Scalar::Null, Scalar::Bool(true), Scalar::Float(1.5), text("")];
    let with_access = || vec![to(vec![query(3, "{data.n}")])];
    check_asking(with_access(), BODY, "3(record=42)", vec![rows(&ids)], "r -> acme: users 7,8");
    check_asking(with_access(), BODY, "3(record=42)", vec![rows(&[])], "r -> Nobody");
    let narrowed = AudienceRule { topics: Some(each(&["deal:{data.n}"])), ..query(3, "{data.n}") };
    check_asking(
        vec![to(vec![narrowed])],
        BODY,
        "3(record=42)",
        vec![rows(&ids)],
        "r -> acme: users 7,8 topics deal:42",
    );
    let owner_too = || vec![to(vec![query(3, "{data.n}"), users(each(&["1"]))])];
    check_asking(owner_too(), BODY, "3(record=42)", vec![rows(&[])], "r -> acme: users 1");
}

#[test]
fn the_same_question_is_asked_once() {
    let first = Route { go_on: true, name: "a".into(), ..to(vec![query(3, "{data.n}"), query(3, "{data.s}")]) };
    let routes = vec![first, to(vec![query(3, "42"), query(3, "{data.n}")])];
    let answers = vec![rows(&[Scalar::Int(1)]), rows(&[Scalar::Int(2)]), rows(&[Scalar::Int(3)])];
    let expected = "a -> acme: users 1 or users 2; r -> acme: users 3 or users 1";
    // `42` as written is a text, and `{data.n}` keeps its type.
    check_asking(routes, BODY, "3(record=42) 3(record=x) 3(record=42)", answers, expected);
}

#[test]
fn a_failed_lookup_costs_its_route_alone() {
    let failing = || Route { go_on: true, name: "a".into(), ..to(vec![query(0, "{data.n}"), users(each(&["1"]))]) };
    let routes = vec![failing(), to(vec![query(1, "{data.n}")])];
    let answers = vec![down(), rows(&[Scalar::Int(7)])];
    let expected = "a -> LookupFailed(Unavailable(\"down\")); r -> acme: users 7";
    check_asking(routes, BODY, "0(record=42) 1(record=42)", answers, expected);
}

pub(super) fn without(names: &[&str]) -> PayloadFilter {
    let mut filter = PayloadFilter::new(Keep::Without);
    for name in names {
        filter.name(name).unwrap();
    }
    filter
}

#[test]
fn what_a_failed_lookup_would_have_narrowed_later_routes_do_not_give_whole() {
    let going_on = |rule: AudienceRule| Route { go_on: true, name: "a".into(), ..to(vec![rule]) };
    let narrowing = || AudienceRule { payload: Some(without(&["price"])), ..query(0, "{data.n}") };
    let routes = || vec![going_on(users(each(&["1"]))), going_on(narrowing()), to(vec![AudienceRule::default()])];
    let expected =
        "a -> acme: users 1; a -> LookupFailed(Unavailable(\"down\")); r -> LookupFailed(Unavailable(\"down\"))";
    check_asking(routes(), BODY, "0(record=42)", vec![down()], expected);
    let expected = "a -> acme: users 1; a -> Nobody; r -> acme: all";
    check_asking(routes(), BODY, "0(record=42)", vec![rows(&[])], expected);
}

#[test]
fn audiences_that_get_the_same_of_the_payload_share_it() {
    let some = |user: &str, names| AudienceRule { payload: Some(without(names)), ..users(each(&[user])) };
    let first = Route { go_on: true, ..to(vec![some("1", &["a", "b.c"]), some("2", &["a"])]) };
    let mut decoder = Decoder::new(shape());
    let table =
        RouteTable::compile(vec![first, to(vec![users(each(&["3"])), some("4", &["b.c", "a"])])], &[], &mut decoder);
    let Plan::Decided(decision) = table.decide(decode(&decoder, BODY), &mut NoScripts) else {
        panic!("nothing to ask")
    };
    let (_, audiences) = decision.into_audiences();
    let filters: Vec<_> = audiences.iter().flat_map(Audience::clauses).map(|clause| &clause.payload).collect();
    let [Payload::Part(one), Payload::Part(other), Payload::Whole, Payload::Part(same)] = filters[..] else {
        panic!("{filters:?}")
    };
    assert!(Arc::ptr_eq(one, same) && !Arc::ptr_eq(one, other));
}

#[test]
fn only_the_first_answer_to_a_call_counts_and_none_counts_as_failed() {
    let mut decoder = Decoder::new(shape());
    let table = RouteTable::compile(vec![to(vec![query(0, "{data.n}")])], &[], &mut decoder);
    let ask = || match table.decide(decode(&decoder, BODY), &mut NoScripts) {
        Plan::Waits(pending) => pending,
        Plan::Decided(decision) => panic!("{decision:?}"),
    };
    let mut twice = ask();
    let (id, _) = twice.take_calls().next().unwrap();
    table.answer(&mut twice, id, &rows(&[Scalar::Int(1)]), &mut NoScripts);
    table.answer(&mut twice, id, &down(), &mut NoScripts);
    assert_eq!(say(&table, &twice.finish()), "r -> acme: users 1");
    assert!(!ask().is_answered());
    assert!(matches!(ask().finish().decided(), [Decided { outcome: Outcome::LookupFailed(_), .. }]));
}
