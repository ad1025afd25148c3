//! Plugins: which file a rule means, what it hands to it, and what cannot be.

use std::time::Duration;

use serde_json::json;

use super::*;

const PLUGIN: &str = "return { route = function() end }";

/// A configuration whose one route calls a plugin.
fn calling(script: &str, more: &str) -> String {
    BASE.replace("to: { tenant: true }", script) + more
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = config(BASE);
    assert!(config.plugins.files.is_empty());
    assert_eq!((config.plugins.budget, config.plugins.memory), (Duration::from_millis(10), 8 << 20));
    assert_eq!(config.plugins.breaker, Breaker { failures: 20, retry: Duration::from_secs(10) });
    assert_eq!(config.reload, Reload { watch: true, tests: true });
}

#[test]
fn what_is_given_counts() {
    let config = config(&format!(
        "{BASE}plugins: {{ budget: 5ms, memory: 1MiB, breaker: {{ failures: 3, retry: 1m }} }}\n\
         reload: {{ watch: false, tests: false }}\n"
    ));
    assert_eq!((config.plugins.budget, config.plugins.memory), (Duration::from_millis(5), 1 << 20));
    assert_eq!(config.plugins.breaker, Breaker { failures: 3, retry: Duration::from_mins(1) });
    assert_eq!(config.reload, Reload { watch: false, tests: false });
}

#[test]
fn where_no_route_follows_on_error_next_is_warned_of() {
    let to = "{ name: z, when: { x: 2 }, to: { tenant: true } }";
    let script = |name: &str, more: &str| format!("{{ name: {name}, when: {{ x: 1 }}, script: a.lua{more} }}");
    for (routes, line) in [
        (vec![script("a", ", on_error: next")], Some(4)),
        (vec![to.to_owned(), script("a", ", on_error: next, continue: true")], Some(5)),
        (vec![script("a", ", on_error: next"), script("b", ", on_error: next")], Some(5)),
        (vec![script("a", ", on_error: next"), to.to_owned()], None),
        (vec![script("a", ", on_error: drop")], None),
        (vec![script("a", "")], None),
    ] {
        let text = BASE.replace("[{ name: all, to: { tenant: true } }]", &format!("\n  - {}", routes.join("\n  - ")));
        let (_folder, loaded) = load_files(&[("c.yaml", &text), ("a.lua", PLUGIN)]);
        let warnings = loaded.unwrap().warnings;
        let lines: Vec<_> = warnings.iter().map(|warning| warning.place.line()).collect();
        assert_eq!(lines, Vec::from_iter(line), "{text}\n{}", warnings.to_json());
        assert!(warnings.iter().all(|warning| warning.message.starts_with("no route follows")));
    }
}

#[test]
fn a_script_is_relative_to_the_file_that_names_it_or_to_the_folder_of_plugins() {
    let part = "topics: [{ match: a, script: b.lua }]\n";
    for (dir, plugins) in [
        ("", ["a.lua", "sub/b.lua"]),
        ("plugins: { dir: plugins }\n", ["plugins/a.lua", "plugins/b.lua"]),
        ("plugins: { dir: ./x/../plugins }\n", ["plugins/a.lua", "plugins/b.lua"]),
    ] {
        let main = calling("script: a.lua", &format!("include: [sub/part.yaml]\n{dir}"));
        let files = [
            ("c.yaml", main.as_str()),
            ("sub/part.yaml", part),
            ("x/y", ""),
            (plugins[0], PLUGIN),
            (plugins[1], PLUGIN),
        ];
        let (folder, loaded) = load_files(&files);
        let loaded = loaded.unwrap();
        let names: Vec<_> = loaded.config.plugins.files.iter().map(|file| file.name.as_str()).collect();
        // Topics are read before routes.
        assert_eq!(names, ["b.lua", "a.lua"], "{dir}");
        let read = |name: &&str| {
            loaded
                .files
                .iter()
                .any(|file| file.path.canonicalize().unwrap() == folder.path().canonicalize().unwrap().join(name))
        };
        assert!(plugins.iter().all(read), "{dir}: {:?}", loaded.files);
    }
}

#[test]
fn the_folder_of_plugins_is_relative_to_the_file_it_stands_in() {
    let main = calling("script: a.lua", "include: [sub/part.yaml]\n");
    let files = [("c.yaml", main.as_str()), ("sub/part.yaml", "plugins: { dir: ../lua }\n"), ("lua/a.lua", PLUGIN)];
    let (folder, loaded) = load_files(&files);
    assert_eq!(loaded.unwrap().config.plugins.files[0].path(), folder.path().join("sub/../lua/a.lua"));
}

#[test]
fn a_file_is_read_once_and_each_rule_has_its_site() {
    let text = "\
event: { payload: data, tenant: data.tenant_id }
auth:
  providers:
    - script: a.lua
    - script: { plugin: ./a.lua, with: { key: \"${SECRET}\" }, cache: 30s }
topics:
  - { match: \"a:{id}\", script: sub/../a.lua }
routes:
  - { name: one, when: { a: 1 }, script: a.lua, on_error: next }
  - { name: two, script: a.lua, with: { roles: [manager, 7], deep: { x: null }, text: \"7\", on: true } }
";
    let (_folder, loaded) = load_files(&[("c.yaml", text), ("a.lua", PLUGIN)]);
    let loaded = loaded.unwrap();
    let [file] = loaded.config.plugins.files.as_slice() else { panic!("{:?}", loaded.config.plugins) };
    assert_eq!((file.name.as_str(), file.text()), ("a.lua", PLUGIN));
    let sites: Vec<_> = file.sites.iter().map(|site| (site.hook, site.with.clone(), site.place.line())).collect();
    let expected = [
        (Hook::Authenticate, json!({}), 4),
        (Hook::Authenticate, json!({ "key": "hunter2" }), 5),
        (Hook::Authorize, json!({}), 7),
        (Hook::Route, json!({}), 9),
        (Hook::Route, json!({ "roles": ["manager", 7], "deep": { "x": null }, "text": "7", "on": true }), 10),
    ];
    assert_eq!(sites, expected);
    let call = |site| ScriptCall { plugin: PluginId(0), site };
    let [Provider::Script(plain), Provider::Script(cached)] = loaded.config.auth.providers.as_slice() else { panic!() };
    assert_eq!((plain.call, plain.cache), (call(0), None));
    assert_eq!((cached.call, cached.cache), (call(1), Some(Duration::from_secs(30))));
    assert!(matches!(loaded.config.topics[0].allow, TopicAllow::Script(found) if found == call(2)));
    assert!(matches!(loaded.config.routes[0].to, RouteTarget::Script(found, OnError::Next) if found == call(3)));
    assert!(matches!(loaded.config.routes[1].to, RouteTarget::Script(found, OnError::Drop) if found == call(4)));
    // What comes from the environment is not shown.
    assert!(!format!("{:?}", loaded.config.plugins).contains("hunter2"));
    assert_eq!(loaded.files.iter().filter(|file| file.path.ends_with("a.lua")).count(), 1);
}

#[test]
fn two_files_of_one_name_are_told_apart() {
    let main = calling("script: a.lua", "include: [sub/part.yaml]\n");
    let part = "topics: [{ match: a, script: a.lua }]\n";
    let (folder, loaded) =
        load_files(&[("c.yaml", &main), ("sub/part.yaml", part), ("a.lua", PLUGIN), ("sub/a.lua", PLUGIN)]);
    let plugins = loaded.unwrap().config.plugins.files;
    let other = folder.path().join("a.lua");
    assert_eq!([plugins[0].name.as_str(), &plugins[1].name], ["a.lua", other.to_str().unwrap()]);
}

#[test]
fn rules_of_plugins_that_cannot_be() {
    insta::assert_snapshot!(said(&[
        (
            "x.yaml",
            "\
event: { payload: data, tenant: data.tenant_id }
auth:
  providers:
    - script: s3cret
    - { script: a.lua, tokens: { t0ken: { user: 1, tenant: acme } } }
    - script: { plugin: a.lua, with: s3cret, cache: 30 }
    - script: { plugn: a.lua }
    - script: { with: { a: 1 } }
topics:
  - { match: \"a:{id}\", script: a.lua, allow: true }
  - { match: \"b:{id}\", allow: true, with: { a: 1 } }
  - { match: \"c:{id}\", script: none.lua }
  - { match: \"d:{id}\", script: none.lua }
  - { match: \"e:{id}\", script: \"\" }
  - { match: \"f:{id}\", script: 7 }
routes:
  - { name: a, when: { x: 1 }, to: { tenant: true }, script: a.lua }
  - { name: b, when: { x: 1 }, do: { disconnect: { user: 1 } }, script: a.lua }
  - { name: c, when: { x: 1 }, to: { tenant: true }, with: { a: 1 }, on_error: next }
  - { name: d, when: { x: 1 }, script: a.lua, with: [1], on_error: nxt }
  - { name: e, when: { x: 1 }, script: a.lua, with: { a: 1, a: 2 } }
  - { name: f, when: { x: 1 }, script: sub, all_tenants: true }
  - { name: g, when: { x: 1 }, script: a.lua, with: { user: {data.user_id} }, all_tenants: true }
  - { name: h, when: { x: 1 }, script: \"${SECRET}\" }
"
        ),
        ("a.lua", PLUGIN),
        ("sub/a.lua", PLUGIN),
    ]));
}

#[test]
fn sections_of_plugins_that_cannot_be() {
    let more = "plugins: { dr: x, budget: 1m, memory: 1KiB, breaker: { failures: 0, retry: soon } }\n\
                reload: { watch: yes, test: true }\n";
    // Where plugins are nobody can tell, so that nobody looks for them.
    insta::assert_snapshot!(said(&[("x.yaml", &calling("script: none.lua", more))]));
}

#[test]
fn a_long_budget_is_worth_a_word() {
    let text = calling("script: a.lua", "plugins: { budget: 200ms }\n");
    insta::assert_snapshot!(said(&[("x.yaml", &text), ("a.lua", PLUGIN)]));
}

#[test]
fn what_plugins_ask_is_held_against_the_queries() {
    insta::assert_snapshot!(said(&[
        (
            "x.yaml",
            "\
event: { payload: data, tenant: data.tenant_id }
auth: { providers: [{ script: auth.lua }] }
database:
  url: \"sqlite::memory:\"
  queries:
    safe: { sql: \"SELECT user_id FROM access WHERE tenant_id = :tenant\" }
    leaky: { sql: \"SELECT user_id FROM access\" }
topics: [{ match: \"a:{id}\", script: handed.lua, with: { query: leaky, other: safe, word: hello } }]
routes: [{ name: a, script: route.lua }]
"
        ),
        (
            "route.lua",
            "return { route = function(event, to)\n  to:users(lookup(\"leaky\", {}))\n  to:users(lookup('safe'))\n  lookup('lekay')\nend }"
        ),
        ("handed.lua", "return { authorize = function(s, t, params) return #lookup(params.query) > 0 end }"),
        ("auth.lua", "return { authenticate = function() return lookup(\"leaky\")[1] or lookup(\"safe\")[1] end }"),
    ]));
}

#[test]
fn rules_say_how_they_decide() {
    let text = "\
event: { payload: data, tenant: data.tenant_id }
auth: { providers: [{ tokens: { t0ken: { user: 1, tenant: acme } } }] }
database:
  url: \"sqlite::memory:\"
  queries: { q: { sql: \"SELECT 1 WHERE 1 = :tenant\" }, r: { sql: \"SELECT 1 WHERE 1 = :tenant\" } }
topics:
  - { match: a, allow: true }
  - { match: b, allow: { query: q } }
  - { match: c, script: a.lua }
  - { match: d, script: b.lua, with: { query: r, of: [q], word: hello } }
routes:
  - { name: a, when: { x: 1 }, to: [{ users: { query: q } }, { users: { query: r } }, { users: { query: q } }, { user: 1 }] }
  - { name: b, when: { x: 2 }, to: { tenant: true } }
  - { name: c, when: { x: 3 }, do: { disconnect: { user: 1 } } }
  - { name: d, script: a.lua }
";
    let (_folder, loaded) =
        load_files(&[("c.yaml", text), ("a.lua", "lookup('q') lookup('r') lookup('q')"), ("b.lua", "lookup(p.query)")]);
    let config = loaded.unwrap().config;
    let script = || Way::Script { plugin: "a.lua", queries: vec!["q".to_owned(), "r".to_owned()] };
    let routes: Vec<_> = config.routes.iter().map(|route| config.way_of_route(route)).collect();
    assert_eq!(routes, [Way::Queries(vec!["q", "r"]), Way::FastPath, Way::FastPath, script()]);
    let topics: Vec<_> = config.topics.iter().map(|rule| config.way_of_topic(rule)).collect();
    let handed = Way::Script { plugin: "b.lua", queries: vec!["r".to_owned()] };
    assert_eq!(topics, [Way::FastPath, Way::Queries(vec!["q"]), script(), handed]);
}

#[test]
fn what_is_called_by_a_hook_is_the_same_or_not() {
    let text = "\
event: { payload: data, tenant: data.tenant_id }
auth: { providers: [{ script: auth.lua }] }
topics: [{ match: a, script: both.lua, with: { a: 1 } }]
routes: [{ name: a, script: both.lua, with: { b: 1 } }]
plugins: { budget: 10ms }
";
    let read = |changed: &str, old: &str, new: &str| {
        let files = [("c.yaml", text), ("auth.lua", "return { a = 1 }"), ("both.lua", "return { b = 1 }")];
        let files =
            files.map(|(name, text)| (name, if name == changed { text.replace(old, new) } else { text.to_owned() }));
        load_files(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).1.unwrap().config.plugins
    };
    let before = read("", "", "");
    let hooks = [Hook::Route, Hook::Authorize, Hook::Authenticate];
    for (changed, old, new, expected) in [
        ("", "", "", [true, true, true]),
        ("c.yaml", "a: 1", "a: 2", [true, false, true]),
        ("c.yaml", "b: 1", "b: 2", [false, true, true]),
        ("c.yaml", "10ms", "20ms", [false, false, false]),
        ("auth.lua", "1", "2", [true, true, false]),
        ("both.lua", "1", "2", [false, false, true]),
    ] {
        let after = read(changed, old, new);
        assert_eq!(hooks.map(|hook| before.same(&after, hook)), expected, "{changed}: {old} -> {new}");
    }
}
