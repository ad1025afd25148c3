//! What is a plugin, and what is none and why.

use super::*;

#[test]
fn what_is_no_plugin_says_why_and_where() {
    let long = format!("-- {}", "x".repeat(1 << 20));
    let cases: [(&str, Option<usize>, &str, &str); 19] = [
        (
            "local function f()\n if x then\n  y()\nend\nreturn {}",
            Some(5),
            "did you forget to close 'then' at line 2",
            "",
        ),
        ("local x = = 1", Some(1), "Expected identifier", ""),
        ("\u{1b}Lua", Some(1), "Expected identifier", ""),
        ("return {}\n-- \0", Some(2), "this is no text: it holds a NUL", ""),
        (&long, None, "larger than 1024 KiB", ""),
        ("", None, "a plugin returns a table of hooks, and this one returns nil", "end the file with"),
        ("return 7", None, "this one returns the number 7", ""),
        (
            "return {\n  rout = function() end }",
            Some(2),
            "`rout` is nothing that a plugin has",
            "did you mean `route`?",
        ),
        ("return { xyz = 1 }", Some(1), "`xyz` is nothing", "a plugin returns `route`, `authorize`"),
        ("return { 7 }", None, "a plugin's table has names, and this is the number 1", ""),
        ("return {\n  route = 'x' }", Some(2), "`route` is a function, and this is the text \"x\"", ""),
        (
            "return {\n  fields = 'data.x',\n  route = function() end }",
            Some(2),
            "a list is needed, and this is the text",
            "no `fields` at all",
        ),
        ("return {\n  fields = { 'data.x',\n 'a..b' } }", Some(3), "a field path has no empty parts: `a..b`", ""),
        ("return {\n  fields = { 7 } }", Some(2), "a field is the text of a path, and this is the number 7", ""),
        (
            "local x\nreturn { fields = { x.y } }",
            Some(2),
            "the plugin cannot be loaded: attempt to index nil with 'y'",
            "",
        ),
        ("\nerror('so it is')", Some(2), "the plugin cannot be loaded: so it is", ""),
        ("\nerror({ code = 42 })", Some(2), "cannot be loaded: an error was raised that is no text: {\"code\":42}", ""),
        ("\npcall(error, {})\nerror()", Some(3), "cannot be loaded: an error was raised that is no text: null", ""),
        ("\nlookup('x')", Some(2), "a plugin can ask within a hook, and not while it is loaded", ""),
    ];
    for (text, line, said, help) in cases {
        let faults = Plugin::compile(&file(text), LIMITS).unwrap_err();
        let fault = &faults[0];
        let shown = &text[..text.len().min(80)];
        assert_eq!(fault.line, line, "{shown}: {fault:?}");
        assert!(fault.message.contains(said), "{shown}: {fault:?}");
        assert!(fault.help.as_deref().unwrap_or_default().contains(help), "{shown}: {fault:?}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let mut file = PluginFile::of_text("p.lua", "return { fields = { 'a..b', 'c.' }, rute = 1, authorise = 2 }");
    file.call(Hook::Authorize, serde_json::Value::Null);
    let faults = Plugin::compile(&file, LIMITS).unwrap_err();
    let messages: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "a field path has no empty parts: `a..b`",
            "a field path has no empty parts: `c.`",
            "`authorise` is nothing that a plugin has",
            "`rute` is nothing that a plugin has",
            "the plugin has no `authorize`, which is asked of it at p.lua:1:1",
        ]
    );
}

#[test]
fn a_mark_of_the_encoding_is_no_part_of_a_plugin() {
    compiled("\u{feff}return { route = function() end }");
}

#[test]
fn a_plugin_is_shared_by_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let plugin = compiled("return { route = function(event, to) lookup('a') end }");
    shared(&plugin);
    assert_eq!(plugin.asks(), &Asks::Named(["a".into()].into()));
}

#[test]
fn the_types_for_editors_are_those_of_the_code() {
    let types = include_str!("../../../../plugins/pointsman.d.lua");
    let declared = |prefix: &str| {
        let names = types.lines().filter_map(|line| line.strip_prefix(prefix)?.split('(').next());
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        names
    };
    let mut methods: Vec<&str> = host::method_names().collect();
    methods.sort_unstable();
    assert_eq!(declared("function To:"), methods);
    assert_eq!(declared("function log."), ["info", "warn"]);
    assert_eq!(declared("function json."), ["array", "decode", "encode"]);
    assert_eq!(declared("function "), {
        let mut all: Vec<String> = methods.iter().map(|name| format!("To:{name}")).collect();
        all.extend(
            ["log.info", "log.warn", "json.array", "json.decode", "json.encode", "lookup", "now"].map(str::to_owned),
        );
        all.sort_unstable();
        all
    });
    // And the code has each of these globals, and no others beside Lua's own.
    let prelude = include_str!("../prelude.lua");
    for global in ["function lookup(", "log = {", "json = {", "now = "] {
        assert!(prelude.lines().any(|line| line.starts_with(global)), "{global}");
    }
    for hook in compile::HOOKS {
        assert!(types.contains(&format!("---@field {}? fun(", hook.name())), "{}", hook.name());
    }
}
