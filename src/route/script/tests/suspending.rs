//! `lookup`: a call that waits, and goes on with what it is answered.

use super::*;
use crate::event::{TenantId, UserId};
use crate::lookup::{LookupError, Rows};

#[expect(clippy::unnecessary_wraps, reason = "one of two kinds of answers")]
fn rows(columns: &[&str], rows: &[&[Scalar]]) -> Answer {
    Ok(Arc::new(Rows {
        columns: columns.iter().map(|name| CompactString::from(*name)).collect(),
        rows: rows.iter().map(|row| (*row).into()).collect(),
    }))
}

fn asks<T: fmt::Debug>(step: Step<T>) -> (Lookup, Suspended<T>) {
    match step {
        Step::Asks(lookup, suspended) => (lookup, suspended),
        Step::Done(result) => panic!("it has ended: {result:?}"),
    }
}

const BODY: &str = r#"{"data":{"tenant":"acme","record":9,"big":9007199254740993}}"#;

#[test]
fn a_call_goes_on_with_the_rows() {
    let stand = Stand::routing(
        "to:topic('a') to:users(lookup('people', { record = event.data.record, big = event.data.big })) log.info(#lookup('none'))",
    );
    let (lookup, suspended) = asks(stand.step(BODY));
    assert_eq!(lookup.query, "people");
    let binds = [("big", Scalar::Text("9007199254740993".into())), ("record", Scalar::Int(9))];
    assert_eq!(lookup.binds.to_vec(), binds.map(|(name, value)| (name.into(), value)));
    let step = suspended.resume(rows(&["user_id"], &[&[Scalar::Int(7)], &[Scalar::Text("ann".into())]]));
    let (lookup, suspended) = asks(step);
    assert_eq!((lookup.query.as_str(), lookup.binds.len()), ("none", 0));
    let routing = done(suspended.resume(rows(&[], &[]))).unwrap();
    assert_eq!(shown(&routing), "topic=a user=7 user=ann");
    assert_eq!(stand.log(), ["0"]);
}

#[test]
fn rows_are_tables_by_column_and_cannot_be_changed() {
    let stand = Stand::routing("local r = lookup('q') log.info(r[1].a, r[1].b, r[1].c, r[2].a) r[1].a = 1");
    let (_, suspended) = asks(stand.step(BODY));
    let step = suspended.resume(rows(
        &["a", "b", "c"],
        &[&[Scalar::Int(1 << 60), Scalar::Null, Scalar::Bool(true)], &[Scalar::Float(1.5), Scalar::Null, Scalar::Null]],
    ));
    assert!(done(step).unwrap_err().message.contains("readonly"));
    assert_eq!(stand.log(), ["1152921504606846976 nil true 1.5"]);
}

#[test]
fn calls_wait_side_by_side_and_do_not_touch_each_other() {
    let stand = Stand::routing("local mine = event.data.record to:user(mine) lookup('q') to:user(mine + 100)");
    let body = |id: u32| format!(r#"{{"data":{{"tenant":"t{id}","record":{id}}}}}"#);
    let waiting: Vec<_> = (1..=50).map(|id| (id, asks(stand.step(&body(id))).1)).collect();
    for (id, suspended) in waiting.into_iter().rev() {
        let routing = done(suspended.resume(rows(&[], &[]))).unwrap();
        assert_eq!(shown(&routing), format!("user={id} user={}", id + 100));
    }
}

#[test]
fn a_query_without_an_answer_is_an_error_that_the_script_may_catch() {
    let failed = || Err(LookupError::Unavailable("down".to_owned()));
    let stand = Stand::routing("to:tenant()\nlookup('people')");
    let error = done(asks(stand.step(BODY)).1.resume(failed())).unwrap_err();
    assert_eq!(error.kind, ScriptFailure::Lookup);
    assert_eq!(error.message, "p.lua:3: lookup: `people`: the database is unavailable: down");
    let stand = Stand::routing("local ok, why = pcall(lookup, 'people') log.info(ok, why) to:tenant()");
    let routing = done(asks(stand.step(BODY)).1.resume(failed())).unwrap();
    assert_eq!(shown(&routing), "tenant");
    assert_eq!(stand.log(), ["false lookup: `people`: the database is unavailable: down"]);
}

#[test]
fn what_a_client_names_amiss_is_no_row_for_a_subscription() {
    let unfit = || Err(LookupError::Unfit("no integer".to_owned()));
    let stand =
        Stand::new("return { authorize = function(session, topic) return #lookup('q', { id = topic }) > 0 end }");
    let (user, tenant) = (UserId::new("7").unwrap(), TenantId::new("acme").unwrap());
    let attributes = crate::auth::Attributes::default();
    let session = SessionView { user: &user, tenant: &tenant, attributes: &attributes };
    let step = stand.vm.authorize(0, &session, &Topic::new("deal:x").unwrap());
    assert_eq!(done(asks(step).1.resume(unfit())), Ok(false));
    let stand = Stand::routing("lookup('q')");
    assert_eq!(done(asks(stand.step(BODY)).1.resume(unfit())).unwrap_err().kind, ScriptFailure::Lookup);
}

#[test]
fn a_wrong_lookup_says_what_is_right() {
    for (body, said) in [
        ("lookup()", "p.lua:2: lookup: it takes the name of a query, and this is nil"),
        ("lookup(7, 'x')", "p.lua:2: lookup: it takes the name of a query, and this is the number 7"),
        ("lookup('q', 'x')", "p.lua:2: lookup: binds are a table of values by name, and this is the text \"x\""),
        ("lookup('q', { 1 })", "p.lua:2: lookup: binds have names, and this is the number 1"),
        ("lookup('q', { a = {} })", "p.lua:2: lookup: `a` is bound to one value, and this is a table"),
        ("lookup('q', { tenant = 'globex' })", "p.lua:2: lookup: `tenant` is always the event's or session's own"),
        ("lookup('q', { a = string.rep('x', 1e5) })", "p.lua:2: lookup: at most 64 binds of 65536 bytes each"),
        ("table.sort({ 2, 1 }, function() lookup('q') end)", "lookup waits, and cannot within table.sort"),
        (
            "local t = setmetatable({}, { __index = function() lookup('q') end }) return t.x",
            "lookup waits, and cannot within",
        ),
    ] {
        let error = done(Stand::routing(body).step(BODY)).unwrap_err();
        assert_eq!(error.kind, ScriptFailure::Error, "{body}: {error}");
        assert!(error.message.contains(said), "{body}: {error}");
        assert_eq!(error.line, Some(2), "{body}: {error}");
    }
}

#[test]
fn the_budget_is_one_for_all_legs() {
    let stand = Stand::routing("while true do for i = 1, 20000 do end lookup('q') end");
    let mut step = stand.step(BODY);
    let mut legs = 0;
    let error = loop {
        match step {
            Step::Asks(_, suspended) => step = suspended.resume(rows(&[], &[])),
            Step::Done(result) => break result.unwrap_err(),
        }
        legs += 1;
    };
    assert_eq!(error.kind, ScriptFailure::Budget);
    assert!((1..2000).contains(&legs), "{legs}");
}

#[test]
fn a_call_that_waits_may_be_dropped_and_outlives_a_spent_machine() {
    let mut stand =
        Stand::routing("if event.data.bad then local s = 'x' while true do s = s .. s end end lookup('q') to:tenant()");
    drop(asks(stand.step(BODY)));
    let (_, suspended) = asks(stand.step(BODY));
    assert_eq!(stand.route(r#"{"data":{"bad":true}}"#).unwrap_err().kind, ScriptFailure::Memory);
    assert!(stand.vm.is_spent());
    stand.replace();
    assert_eq!(shown(&done(suspended.resume(rows(&[], &[]))).unwrap()), "tenant");
}

#[test]
fn too_many_rows_are_no_answer() {
    let stand = Stand::routing("lookup('q')");
    let many: Vec<&[Scalar]> = vec![&[Scalar::Bool(true)]; 10_001];
    let error = done(asks(stand.step(BODY)).1.resume(rows(&["x"], &many))).unwrap_err();
    assert!(error.message.contains("10001 rows are too many: at most 10000"), "{error}");
    assert_eq!(error.kind, ScriptFailure::Lookup);
}
