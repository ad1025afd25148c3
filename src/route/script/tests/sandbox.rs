//! What scripts can reach, and what they cannot.

use super::*;

#[test]
fn what_is_not_for_plugins_is_not_there() {
    for name in [
        "_G",
        "collectgarbage",
        "coroutine",
        "debug",
        "dofile",
        "gcinfo",
        "getfenv",
        "io",
        "load",
        "loadfile",
        "loadstring",
        "newproxy",
        "os",
        "package",
        "print",
        "require",
        "setfenv",
        "buffer",
        "vector",
        "table.foreach",
        "table.foreachi",
        "table.getn",
        "table.maxn",
        "string.dump",
        "math.huge.x",
        "host",
        "yield",
    ] {
        let stand = Stand::routing(&format!(
            "local ok, value = pcall(function() return {name} end) log.info(ok and value or nil)"
        ));
        stand.route(r#"{"data":{}}"#).unwrap();
        assert_eq!(stand.log(), ["nil"], "{name}");
    }
}

#[test]
fn what_is_shared_cannot_be_changed() {
    for attempt in [
        "string.format = nil",
        "string.x = 1",
        "table.insert = nil",
        "math.pi = 3",
        "log.info = nil",
        "json.x = 1",
        "pcall = nil",
        "new_global = 1",
        "rawset(string, 'x', 1)",
        "setmetatable(string, {})",
        "getmetatable('').__index = {}",
        "rawset(getmetatable(''), '__index', {})",
        "setmetatable(event, {})",
        "event.x = 1",
        "event.data.x = 1",
        "event.data.list[1] = 2",
        "event.amqp.headers.x = 1",
        "table.insert(event.data.list, 1)",
        "table.clear(event.data)",
        "rawset(event, 'x', 1)",
        "params.level = 6",
        "setmetatable(to, {})",
        "to.topic = nil",
        "rawset(getmetatable(to), 'topic', nil)",
        "setmetatable(event.data.list, nil)",
    ] {
        let stand = Stand::routing(attempt);
        let error = stand.route(r#"{"data":{"list":[1]}}"#).unwrap_err();
        assert_eq!(error.kind, ScriptFailure::Error, "{attempt}: {error}");
        assert!(error.message.starts_with("p.lua:2: "), "{attempt}: {error}");
    }
    let error = Stand::routing("count = 1").route(r#"{"data":{}}"#).unwrap_err();
    assert_eq!(
        error.message,
        "p.lua:2: attempt to modify a readonly table: globals, libraries and what a hook is handed stay as they are; keep things in a local"
    );
}

#[test]
fn lua_s_own_is_there() {
    for (expression, expected) in [
        ("string.format('%d %s', 7, 'x')", "7 x"),
        ("('a,b'):split(',')[2]", "b"),
        ("('abc'):find('b', 1, true)", "2 2"),
        ("('abc'):find('c$')", "3 3"),
        ("('abc'):gsub('b', 'x')", "axc 1"),
        ("('abab'):gsub('b', 'x', 1)", "axab 1"),
        ("('a1'):match('(%a)(%d)')", "a 1"),
        ("('a1b2'):match('%d', 3)", "2"),
        ("(function() local all = '' for w in ('a b'):gmatch('%a') do all = all .. w end return all end)()", "ab"),
        ("table.concat({ 1, 2, 3 }, ',', 2, 3)", "2,3"),
        ("table.concat({ 'a', 'b' })", "ab"),
        ("table.find({ 'a', 'b' }, 'b')", "2"),
        ("table.find({ 'a', 'b', 'a' }, 'a', 2)", "3"),
        ("(function() local t = {} return table.find({ {}, t }, t) end)()", "2"),
        ("table.find({ {}, nil, {} }, {})", "nil"),
        ("table.concat({ 'a', 'b' }, '-')", "a-b"),
        ("#table.move({ 1, 2, 3 }, 1, 3, 2)", "4"),
        ("#table.move({ 1, 2, 3 }, 1, 3, 1, {})", "3"),
        ("(function() local t = { 3, 1, 2 } table.sort(t) return t[1] .. t[3] end)()", "13"),
        ("(function() local t = { 3, 1, 2 } table.sort(t, function(a, b) return a > b end) return t[1] end)()", "3"),
        ("math.floor(1.5)", "1"),
        ("utf8.len('ü')", "1"),
        ("bit32.band(6, 3)", "2"),
        ("tostring(7)", "7"),
        ("select(2, pcall(error, 'x', 0))", "x"),
        ("select(2, pcall(error, { 7 }))[1]", "7"),
        ("type(now())", "number"),
        ("now() > 1.7e9 and now() < 1e10", "true"),
        (
            "json.encode({ b = { 1, 2.5, 'x' }, a = true, c = {}, d = json.array({}) })",
            r#"{"a":true,"b":[1,2.5,"x"],"c":{},"d":[]}"#,
        ),
        (
            "json.encode(json.decode('{\"a\":[],\"b\":{},\"c\":[1,null],\"d\":\"\\\\u00fc\\\\n\"}'))",
            r#"{"a":[],"b":{},"c":[1],"d":"ü\n"}"#,
        ),
        (
            "json.encode(json.decode('[9007199254740993, 9007199254740992, 1e3, -7]'))",
            r#"["9007199254740993",9007199254740992,1000,-7]"#,
        ),
        ("json.encode({ [1] = 'a', [3] = 'b' })", r#"{"1":"a","3":"b"}"#),
    ] {
        let stand = Stand::routing(&format!("log.info({expression})"));
        stand.route(r#"{"data":{}}"#).unwrap();
        assert_eq!(stand.log(), [expected], "{expression}");
    }
}

#[test]
fn plugins_do_not_see_each_other_and_keep_what_they_keep() {
    let text =
        "local seen = 0 shared = 'mine' return { route = function() seen = seen + 1 log.info(seen, shared) end }";
    let (first, second) = (Stand::new(text), Stand::new("return { route = function() log.info(shared) end }"));
    for _ in 0..2 {
        first.route(r#"{"data":{}}"#).unwrap();
        second.route(r#"{"data":{}}"#).unwrap();
    }
    assert_eq!(first.log(), ["1 mine", "2 mine"]);
    assert_eq!(second.log(), ["nil", "nil"]);
}
