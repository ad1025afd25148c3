use super::*;
use crate::config::{ActionRule, ForgetRule, QueryCall, QueryId, UsersRule};
use crate::event::{Keep, PayloadFilter};
use crate::lookup::LookupError;

fn forget(query: u16, with: &[(&str, &str)], of_tenant: bool) -> ActionRule {
    let with = with.iter().map(|(name, text)| ((*name).into(), template(text))).collect();
    ActionRule::Forget(ForgetRule { query: QueryId(query), with, of_tenant })
}

fn disconnect(users: ListRule) -> ActionRule {
    ActionRule::Disconnect(users)
}

fn acting(rules: Vec<ActionRule>) -> Route {
    Route { to: RouteTarget::Act(rules), ..route("r", Vec::new()) }
}

fn say(action: &Action) -> String {
    match action {
        Action::Forget(forget) => {
            let binds: Vec<String> = forget.binds.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            format!("forget {}({})", forget.query.0, binds.join(","))
        }
        Action::Disconnect(users) => {
            format!("disconnect {}", users.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        }
    }
}

/// What a route with these actions makes of a body.
#[track_caller]
fn check(rules: Vec<ActionRule>, body: &str, expected: &str) {
    let mut decoder = Decoder::new(shape());
    let table = RouteTable::compile(vec![acting(rules)], &[], &mut decoder);
    let Plan::Decided(decision) = table.decide(decode(&decoder, body), &mut NoScripts) else {
        panic!("nothing is to be asked")
    };
    let said = match &decision.decided()[0].outcome {
        Outcome::Act(actions) => actions.iter().map(say).collect::<Vec<_>>().join("; "),
        other => format!("{other:?}"),
    };
    assert_eq!((said.as_str(), decision.has_audience()), (expected, false), "{body}");
}

const BODY: &str = r#"{"data":{"tenant":"acme","n":42,"s":"x","list":[7,"8",null]}}"#;
const NOBODYS: &str = r#"{"data":{"n":42}}"#;

#[test]
fn actions_are_filled_from_the_event() {
    check(vec![forget(1, &[], true)], BODY, "forget 1()");
    check(vec![forget(1, &[("a", "{data.n}"), ("b", "x{data.s}")], true)], BODY, "forget 1(a=Int(42),b=Text(\"xx\"))");
    // What cannot be filled narrows nothing.
    check(vec![forget(1, &[("a", "{data.n}"), ("b", "{data.no}")], true)], BODY, "forget 1(a=Int(42))");
    check(vec![disconnect(each(&["{data.n}", "{data.no}"]))], BODY, "disconnect 42");
    check(vec![disconnect(ListRule::Field(path("data.list")))], BODY, "disconnect 7,8");
    check(vec![disconnect(each(&["{data.no}"]))], BODY, "Nobody");
    check(
        vec![forget(1, &[], true), disconnect(each(&["7"])), forget(2, &[], false)],
        BODY,
        "forget 1(); disconnect 7; forget 2()",
    );
}

#[test]
fn what_is_a_tenants_needs_one() {
    check(vec![forget(1, &[("a", "{data.n}")], false)], NOBODYS, "forget 1(a=Int(42))");
    check(vec![forget(1, &[], true)], NOBODYS, "NoTenant");
    check(vec![disconnect(each(&["7"]))], NOBODYS, "NoTenant");
    check(vec![forget(1, &[], false), disconnect(each(&["7"]))], NOBODYS, "NoTenant");
}

#[test]
fn actions_are_known_before_other_routes_have_their_answers_and_whatever_these_are() {
    let mut narrowed = PayloadFilter::new(Keep::Without);
    narrowed.name("price").unwrap();
    let users = UsersRule::Query(QueryCall { query: QueryId(3), with: Vec::new() });
    let asking = AudienceRule { users: Some(users), payload: Some(narrowed), ..AudienceRule::default() };
    let first = Route { to: RouteTarget::Audiences(vec![asking]), go_on: true, ..route("a", Vec::new()) };
    let mut decoder = Decoder::new(shape());
    let table = RouteTable::compile(
        vec![first, acting(vec![forget(1, &[], true), disconnect(each(&["7"]))])],
        &[],
        &mut decoder,
    );
    let plan = table.decide(decode(&decoder, BODY), &mut NoScripts);
    let expected = ["forget 1()", "disconnect 7"];
    assert_eq!(plan.actions().map(say).collect::<Vec<_>>(), expected);
    let Plan::Waits(mut pending) = plan else { panic!("the first route asks") };
    let (id, _) = pending.take_calls().next().unwrap();
    table.answer(&mut pending, id, &Err(LookupError::Unavailable("down".to_owned())), &mut NoScripts);
    assert_eq!(pending.finish().actions().map(say).collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_known_is_not_asked() {
    let query = |id: u16| {
        let users = UsersRule::Query(QueryCall { query: QueryId(id), with: Vec::new() });
        AudienceRule { users: Some(users), ..AudienceRule::default() }
    };
    let route = Route { to: RouteTarget::Audiences(vec![query(1), query(2)]), ..route("a", Vec::new()) };
    let mut decoder = Decoder::new(shape());
    let table = RouteTable::compile(vec![route], &[], &mut decoder);
    let down = || Err(LookupError::Unavailable("down".to_owned()));
    let plan = || table.decide(decode(&decoder, BODY), &mut NoScripts);
    let Plan::Waits(mut pending) =
        table.with_known(plan(), &mut NoScripts, |call| (call.query == QueryId(1)).then(down))
    else {
        panic!("one is missing")
    };
    let left: Vec<u16> = pending.take_calls().map(|(_, question)| query_of(&question)).collect();
    assert_eq!((left, pending.is_answered()), (vec![2], false));
    assert!(matches!(table.with_known(plan(), &mut NoScripts, |_| Some(down())), Plan::Decided(_)));
}
