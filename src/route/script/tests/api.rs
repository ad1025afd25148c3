//! The script API: what each call leads to, and what is said of a wrong one.

use super::*;
use crate::auth::Attributes;
use crate::event::{TenantId, UserId};

const BODY: &str = r#"{"kind":"x","data":{"tenant":"acme","deal_id":42,"big":9007199254740993,"none":null,"list":[1,"b",{"x":[]}],
    "owner":{"name":"Ann \"A\" \u00fc"},"price":1.5,"empty":[],"end":-3,"a-b":"c"}}"#;

#[test]
fn each_call_narrows_or_widens() {
    for (body, expected) in [
        ("", ""),
        ("to:topic('deal:' .. event.data.deal_id)", "topic=deal:42"),
        ("to:topic('a') to:topic('b')", "topic=a topic=b"),
        ("to:topics({ 'a', 'b:*' })", "topic=a topic=b:*"),
        ("to:topics({})", ""),
        ("to:topic(7) to:topic(true) to:topics({ 1.5 })", "topic=7 topic=true topic=1.5"),
        // A name that cannot be names nobody, as in a rule.
        ("to:topic('')", ""),
        ("to:topic('board:Q1*')", ""),
        ("to:topic('a::b') to:topic('c')", "topic=c"),
        ("to:topic(string.rep('x', 256)) to:also() to:user(7)", "user=7"),
        ("to:topics({ 'a', 'b\\n', '*c', 'd' })", "topic=a topic=d"),
        ("to:topic('a') to:user('')", ""),
        ("to:user(1.5) to:user(true) to:user(-0.0) to:user(8)", "user=8"),
        ("to:users({ '', 7, false, { user_id = 1.5 }, {} })", "user=7"),
        ("to:tenant() to:except_user('') to:except_user(true)", "tenant"),
        ("to:user(7)", "user=7"),
        ("to:user('7')", "user=7"),
        ("to:user(event.data.big)", "user=9007199254740993"),
        ("to:users({ 7, 'ann', { user_id = 8 } })", "user=7 user=ann user=8"),
        ("to:users({})", ""),
        ("to:users({}) to:topic('a')", ""),
        ("to:users({}) to:also() to:topic('a')", "topic=a"),
        ("to:tenant()", "tenant"),
        ("to:tenant() to:except_user(7)", "not=7"),
        ("to:topic('a') to:except_user(nil)", "topic=a"),
        ("to:topic('a'):user(7):except_user(8)", "topic=a user=7 not=8"),
        ("to:topic('a') to:also() to:user(7)", "topic=a | user=7"),
        ("to:also() to:user(7) to:also() to:also()", "user=7"),
        ("to:where({ role = 'manager' })", "role~Equals(Text(\"manager\"))"),
        ("to:where({ role = 'man*' })", "role~Glob(Glob(\"man*\"))"),
        (
            "to:where({ role = { 'a', 7, true } })",
            "role~Any([Equals(Text(\"a\")), Equals(Int(7)), Equals(Bool(true))])",
        ),
        ("to:where({ b = 1.5, a = 1 })", "a~Equals(Int(1)) b~Equals(Float(1.5))"),
        ("to:where({ a = 1 }) to:where({ a = 2 })", "a~Equals(Int(1)) a~Equals(Int(2))"),
        ("to:where({ a = { exists = true } })", "a~Exists(true)"),
        ("to:where({ a = { ['not'] = { 1, 2 } } })", "a~Not(Any([Equals(Int(1)), Equals(Int(2))]))"),
        ("to:where({ a = { prefix = 'x' } })", "a~Prefix(\"x\")"),
        ("to:where({ a = { gte = 1.5 } })", "a~Compare(GreaterOrEqual, 1.5)"),
        (
            "to:tenant() to:payload({ deal = event.data.deal_id, tags = event.data.empty })",
            r#"payload={"deal":42,"tags":[]}"#,
        ),
        ("to:tenant() to:payload(event.data.owner)", r#"payload={"name":"Ann \"A\" ü"}"#),
        ("to:tenant() to:payload(false)", "payload=false"),
        ("to:user(1) to:payload(1) to:also() to:user(2)", "user=1 payload=1 | user=2"),
        ("to:user(1) to:drop('not now')", "drop not now"),
        ("to:drop()", "drop"),
        ("to:topic('level:' .. params.level)", "topic=level:5"),
        ("to:topic('a') return 'nonsense'", "topic=a"),
    ] {
        let routing = Stand::routing(body).route(BODY).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(shown(&routing), expected, "{body}");
    }
}

#[test]
fn a_wrong_call_names_the_method_and_what_would_be_right() {
    for (body, said) in [
        ("to:topic(nil)", "to:topic: a topic is a text, and this is nil"),
        ("to:topic({})", "to:topic: a topic is a text, and this is a table"),
        ("to:topic('\\255')", "to:topic: a topic is a text, and this is a text that is not UTF-8"),
        ("to:topic('a', 'b')", "to:topic: it takes one value at most"),
        ("to:topics('a')", "to:topics: a list is needed, and this is the text \"a\""),
        ("to:topics({ a = 'b' })", "to:topics: a list is needed, and this is a table with names"),
        ("to:topics({ 'a', {} })", "to:topics: a topic is a text, and this is a table"),
        ("to:user(nil)", "to:user: an id is a text or an integer, and this is nil"),
        ("to:user(2^53 + 2)", "to:user: an id beyond 2^53 is a text"),
        ("to:user(string.rep('7', 256))", "to:user: an id is at most 255 bytes long, and this is a text of 256 bytes"),
        ("to:user('\\255')", "to:user: an id is a text or an integer, and this is a text that is not UTF-8"),
        ("to:user('7', nil, 7) to:user(7, '7')", "to:user: it takes one value at most"),
        ("to:user({})", "to:user: an id is a text or an integer, and this is a table"),
        ("to:users(7)", "to:users: a list is needed, and this is the number 7"),
        ("to:users({ { a = 1, b = 2 } })", "to:users: a list of users has ids, or rows of one column each"),
        ("to:tenant(true)", "to:tenant: it takes nothing, and this is `true`"),
        ("to:where('manager')", "to:where: it takes attributes by name, as { role = \"manager\" }"),
        ("to:where({})", "to:where: there is no condition here"),
        ("to:where({ role = { like = 1 } })", "to:where: `role`: `like` is no condition"),
        ("to:where({ role = { gt = 'x' } })", "to:where: `role`: `gt` takes a number"),
        ("to:where({ role = print })", "to:where: there is no condition here"),
        (
            "to:where({ role = pcall })",
            "to:where: `role`: it compares with a value or a list of them, and this is a function",
        ),
        ("to:except_user({})", "to:except_user: an id is a text or an integer"),
        (
            "to:except_user(7)",
            "`route`: it says of nobody that they get the event; to:tenant() is everyone of the tenant",
        ),
        ("to:payload({})", "`route`: it says of nobody"),
        ("to:tenant() to:payload(nil)", "to:payload: it takes what these sessions get instead"),
        ("to:tenant() to:payload(pcall)", "to:payload: a function has no JSON"),
        ("to:tenant() to:payload({ x = 0/0 })", "to:payload: the number NaN has no JSON"),
        ("to:tenant() to:payload('\\255')", "to:payload: a text that is not UTF-8 has no JSON"),
        ("to:drop(string.rep('x', 2000))", "to:drop: a reason is a text of at most 1024 bytes"),
        ("to.topic('a')", "to:topic: it is called with a colon, on the `to` that the present call"),
        ("to:topc('a')", "did you mean `topic`?"),
        ("event.data.owner.x.y = 1", "attempt to index nil with 'y'"),
        ("log.info(json.decode('{'))", "json.decode: EOF while parsing"),
        ("json.decode('\"\\\\ud800\"')", "json.decode: a text holds one half of a surrogate pair"),
        ("json.decode('[{\"\\\\udc00x\":1}]')", "json.decode: a text holds one half of a surrogate pair"),
        ("json.encode({ x = pcall })", "json.encode: a function has no JSON"),
        ("error('so it is')", "so it is"),
        ("error({ code = 42 })", "an error was raised that is no text: {\"code\":42}"),
        ("error(nil)", "an error was raised that is no text: null"),
        ("error()", "an error was raised that is no text: null"),
        ("error(pcall)", "an error was raised that is no text: a function"),
        ("error('x\\255y')", "x"),
        ("table.sort({ 2, 1 }, function() to:user({}) end)", "to:user: an id is"),
        ("('x'):match('[')", "p.lua:2: malformed pattern"),
        ("table.concat({ {} })", "p.lua:2: invalid value (table) at index 1 in table for 'concat'"),
    ] {
        let error = Stand::routing(body).route(BODY).unwrap_err();
        assert_eq!(error.kind, ScriptFailure::Error, "{body}: {error}");
        assert!(error.message.contains(said), "{body}: {error}");
        assert!(error.message.starts_with("p.lua"), "{body}: {error}");
        if !said.starts_with("`route`") {
            assert_eq!(error.line, Some(2), "{body}: {error}");
            assert!(error.message.starts_with("p.lua:2: "), "{body}: {error}");
        }
    }
}

#[test]
fn a_kept_to_is_dead() {
    for call in ["kept:tenant()", "kept:topic('a')", "kept:topic(7)", "kept:user('a')", "kept:user(7)"] {
        let stand = Stand::new(&format!(
            "local kept return {{ route = function(event, to) if kept then {call} end kept = to to:user(1) end }}"
        ));
        assert_eq!(shown(&stand.route(BODY).unwrap()), "user=1", "{call}");
        let error = stand.route(BODY).unwrap_err();
        assert!(error.message.contains("that the present call of the hook was handed"), "{call}: {error}");
    }
}

#[test]
fn an_event_is_handed_over_as_it_is() {
    for (fields, expression, expected) in [
        ("", "event.kind .. event.data.tenant", "xacme"),
        ("", "event.data.deal_id, event.data.big, event.data.none, event.data.price", "42 9007199254740993 nil 1.5"),
        ("", "type(event.data.deal_id), type(event.data.big)", "number string"),
        ("", "#event.data.list, event.data.list[2], #event.data.list[3].x", "3 b 0"),
        ("", "event.data.owner.name", "Ann \"A\" ü"),
        ("", "event.amqp.routing_key, event.amqp.headers.source, event.amqp.headers.x", "deal.moved crm nil"),
        ("'data.deal_id'", "event.data.deal_id, event.kind, event.data.price", "42 nil nil"),
        ("'data.deal_id', 'data.owner.name'", "event.data.deal_id, event.data.owner.name", "42 Ann \"A\" ü"),
        ("'data.owner', 'data.owner.name'", "event.data.owner.name", "Ann \"A\" ü"),
        ("'data.owner.name', 'data'", "event.data.owner.name, event.data.price", "Ann \"A\" ü 1.5"),
        (
            "'data.big', 'data.none', 'data.missing.x'",
            "event.data.big, event.data.none, event.data.missing.x",
            "9007199254740993 nil nil",
        ),
        ("'data.list.0', 'data.list.2.x'", "event.data.list[1], #event.data.list[3].x", "1 0"),
        ("'data.list'", "event.data.list[2]", "b"),
        ("'data.end', 'data.a-b', 'data.price'", "event.data['end'], event.data['a-b'], event.data.price", "-3 c 1.5"),
        (
            "'amqp.routing_key', 'amqp.headers.source'",
            "event.amqp.routing_key, event.amqp.headers.source",
            "deal.moved crm",
        ),
        ("'.'", "event.data.price", "1.5"),
        ("'kind'", "event.kind", "x"),
    ] {
        let fields = if fields.is_empty() { String::new() } else { format!("fields = {{ {fields} }},") };
        let stand =
            Stand::new(&format!("return {{ {fields} route = function(event, to) log.info({expression}) end }}"));
        stand.route(BODY).unwrap_or_else(|error| panic!("{fields} {expression}: {error}"));
        assert_eq!(stand.log(), [expected], "{fields} {expression}");
    }
}

#[test]
fn an_event_larger_than_the_memory_fails_alone() {
    let body = format!(r#"{{"data":{{"tenant":"a","list":[{}1]}}}}"#, "{},".repeat(300_000));
    let mut stand = Stand::routing("to:tenant()");
    assert_eq!(stand.route(&body).unwrap_err().kind, ScriptFailure::Memory);
    assert!(stand.vm.is_spent());
    stand.replace();
    assert_eq!(shown(&stand.route(BODY).unwrap()), "tenant");
    let deep = format!(r#"{{"data":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let event = r#"{"data":1}"#;
    assert!(stand.route(event).is_ok());
    assert!(stand.route(&deep).unwrap_err().message.contains("nested deeper than 128"), "{:?}", stand.route(&deep));
}

#[test]
fn log_lines_know_their_place() {
    let stand = Stand::routing(
        "log.info('a', 7, true, nil, { x = 1 })\nlog.warn(1.5)\nlocal function f() log.info('in f') end f()",
    );
    stand.route(BODY).unwrap();
    let line = |is_warning, line, text: &str| LogLine { is_warning, line: Some(line), text: text.to_owned() };
    let expected = [line(false, 2, "a 7 true nil {\"x\":1}"), line(true, 3, "1.5"), line(false, 4, "in f")];
    assert_eq!(*stand.logged.borrow(), expected);
}

#[test]
fn a_line_is_one_line_and_no_command_to_a_terminal() {
    let stand = Stand::routing(r"log.info('a\n2026 ERROR b\27[31m', 'ü')");
    stand.route(BODY).unwrap();
    assert_eq!(stand.log(), [r"a\n2026 ERROR b\u{1b}[31m ü"]);
}

#[test]
fn a_flood_of_lines_is_cut() {
    let stand = Stand::routing("for i = 1, 200 do log.info(i) end");
    stand.route(BODY).unwrap();
    let log = stand.log();
    assert_eq!((log.len(), log[100].as_str()), (101, "this call has logged 100 lines: the others are left out"));
}

fn authorize(body: &str) -> Result<bool, ScriptError> {
    let stand = Stand::new(&format!("return {{ authorize = function(session, topic, params)\n{body}\nend }}"));
    let attributes: Attributes = [("role", Scalar::Text("manager".into())), ("level", Scalar::Int(7))]
        .map(|(name, value)| (name.into(), value))
        .into_iter()
        .collect();
    let (user, tenant) = (UserId::new("7").unwrap(), TenantId::new("acme").unwrap());
    let session = SessionView { user: &user, tenant: &tenant, attributes: &attributes };
    done(stand.vm.authorize(0, &session, &Topic::new("report:9").unwrap()))
}

#[test]
fn sessions_are_judged() {
    for (body, expected) in [
        ("return session.role == 'manager' and session.level > params.level", Ok(true)),
        ("return session.user == '7' and session.tenant == 'acme' and topic == 'report:9'", Ok(true)),
        ("return session.missing ~= nil", Ok(false)),
        ("", Ok(false)),
        ("return nil", Ok(false)),
        ("return 'yes'", Err("p.lua: `authorize` answers true or false, and this is the text \"yes\"")),
        ("session.role = 'x'", Err("p.lua:2: attempt to modify a readonly table")),
        ("to:user(1)", Err("p.lua:2: attempt to index nil with 'user'")),
    ] {
        match (authorize(body), expected) {
            (Ok(answer), Ok(expected)) => assert_eq!(answer, expected, "{body}"),
            (Err(error), Err(said)) => assert!(error.message.starts_with(said), "{body}: {error}"),
            (answer, _) => panic!("{body}: {answer:?}"),
        }
    }
}

#[test]
fn tokens_are_known_or_not() {
    let authenticate = |body: &str| {
        let stand = Stand::new(&format!("return {{ authenticate = function(token, request, params)\n{body}\nend }}"));
        done(stand.vm.authenticate(0, "secret", "192.0.2.1"))
    };
    let known = authenticate(
        "return { user = 7, tenant = token, from = request.remote_addr, level = params.level, ok = true }",
    );
    let expected = [
        ("from", Scalar::Text("192.0.2.1".into())),
        ("level", Scalar::Int(5)),
        ("ok", Scalar::Bool(true)),
        ("tenant", Scalar::Text("secret".into())),
        ("user", Scalar::Int(7)),
    ];
    assert_eq!(known, Ok(Some(expected.map(|(name, value)| (name.into(), value)).to_vec())));
    for body in ["", "return nil", "return false"] {
        assert_eq!(authenticate(body), Ok(None), "{body}");
    }
    for (body, said) in [
        ("return true", "`authenticate` answers a table or nil, and this is `true`"),
        ("return { user = {} }", "`authenticate`: `user` is a text, a number, true or false, and this is a table"),
        (
            "return { name = string.rep('x', 1e5) }",
            "`authenticate`: what is known of a user has 65536 bytes each at most",
        ),
        ("return { 7 }", "`authenticate`: what is known of a user has a name, and this is the number 1"),
    ] {
        let error = authenticate(body).unwrap_err();
        assert!(error.message.contains(said), "{body}: {error}");
    }
}
