//! A rule and its twin in Lua decide alike: routes are made up, and for each the plugin that says the same.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::deciding::{decide, rows};
use super::scripting::{Plugins, script_at};
use super::*;
use crate::config::{OnError, QueryCall, QueryId, UsersRule};
use crate::event::{Comparison, Glob};

/// Beyond this, integers reach plugins as texts.
const LARGE: &str = "9007199254740993";
/// Fields that rules read. `data.large` holds no number that can be compared by size.
const FIELDS: [&str; 4] = ["data.a", "data.b", "data.o.c", "data.large"];
const TEMPLATES: [&str; 8] =
    ["{data.a}", "{data.b}", "{data.o.c}", "x", "{data.a}:{data.b}", "t:{data.large}", "{data.list}", "{data.none}"];

/// What plugins say and rules mean.
const PRELUDE: &str = r##"
local function get(event, ...)
    local value = event
    for _, name in { ... } do
        if type(value) ~= "table" then return nil end
        value = value[name]
    end
    return value
end
local function is_whole(value)
    return type(value) == "number" and value == math.floor(value)
end
-- What a template writes, and what ids are compared by.
local function shown(value)
    if is_whole(value) then return string.format("%d", value) end
    if type(value) == "table" or value == nil then return nil end
    return tostring(value)
end
local function id(value)
    if type(value) == "string" or is_whole(value) then return shown(value) end
end
local function equal(value, other)
    if type(other) == "number" and not is_whole(other) then return value == other end
    if value ~= nil and id(other) ~= nil then return id(value) == id(other) end
    return value == other
end
local function filled(...)
    local text = ""
    for index = 1, select("#", ...) do
        local part = shown((select(index, ...)))
        if part == nil then return nil end
        text ..= part
    end
    return text
end
-- Of values, those that can be a name: whether they are one, the program says.
local function scalars(values)
    local found = {}
    for _, value in values do
        if type(value) ~= "table" then table.insert(found, value) end
    end
    return found
end
-- Whether a value is a topic.
local function is_topic(value)
    local name = shown(value)
    if not name or #name > 255 or name:find("%c") or (":" .. name .. ":"):find("::", 1, true) then return false end
    return name == "*" or not name:gsub(":%*$", ""):find("*", 1, true)
end
local function has_topic(values)
    for _, value in values do
        if is_topic(value) then return true end
    end
    return false
end
-- One value, or those of a list.
local function each(value)
    if type(value) == "table" then return #value > 0 and value or {} end
    return { value }
end
local routes = {}
"##;

/// A template, and what it is in Lua: an expression that is nil where it cannot be filled.
fn lua_template(text: &str) -> String {
    let whole = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).filter(|path| !path.contains('{'));
    if let Some(path) = whole {
        return lua_field(path);
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((literal, more)) = rest.split_once('{') {
        let (path, after) = more.split_once('}').unwrap();
        parts.extend([format!("{literal:?}"), lua_field(path)]);
        rest = after;
    }
    parts.push(format!("{rest:?}"));
    format!("filled({})", parts.join(", "))
}

fn lua_field(path: &str) -> String {
    let names: Vec<String> = path.split('.').map(|name| format!("{name:?}")).collect();
    format!("get(event, {})", names.join(", "))
}

fn lua_scalar(value: &Scalar) -> String {
    match value {
        Scalar::Null => "nil".to_owned(),
        Scalar::Text(text) => format!("{text:?}"),
        Scalar::Int(number) if number.to_string() == LARGE => format!("{LARGE:?}"),
        other => other.to_string(),
    }
}

/// The condition that a matcher is of this expression.
fn lua_matcher(matcher: &Matcher<Path>, value: &str) -> String {
    let all = |matchers: &[Matcher<Path>], word: &str, none: &str| {
        let each: Vec<String> = matchers.iter().map(|matcher| lua_matcher(matcher, value)).collect();
        if each.is_empty() { none.to_owned() } else { format!("({})", each.join(word)) }
    };
    let text = format!("(id({value}) or \"\\0\")");
    match matcher {
        Matcher::Equals(expected) => format!("equal({value}, {})", lua_scalar(expected)),
        Matcher::Template(template) => {
            let filled = format!("shown({})", lua_template(&template.to_string()));
            format!("({value} ~= nil and {filled} ~= nil and equal({value}, {filled}))")
        }
        Matcher::Glob(glob) => {
            let mut pattern = "^".to_owned();
            for c in glob.as_str().chars() {
                match c {
                    '*' => pattern.push_str(".*"),
                    '?' => pattern.push_str("[^\\128-\\191][\\128-\\191]*"),
                    c if c.is_ascii_punctuation() => write!(pattern, "%{c}").unwrap(),
                    c => pattern.push(c),
                }
            }
            format!("(id({value}) ~= nil and {text}:find(\"{pattern}$\") ~= nil)")
        }
        Matcher::Prefix(prefix) => format!("(id({value}) ~= nil and {text}:sub(1, {}) == {prefix:?})", prefix.len()),
        Matcher::Any(matchers) => all(matchers, " or ", "false"),
        Matcher::All(matchers) => all(matchers, " and ", "true"),
        Matcher::Exists(expected) => format!("(({value} ~= nil) == {expected})"),
        Matcher::Not(matcher) => format!("not {}", lua_matcher(matcher, value)),
        Matcher::Compare(comparison, bound) => {
            let sign = match comparison {
                Comparison::Greater => ">",
                Comparison::GreaterOrEqual => ">=",
                Comparison::Less => "<",
                Comparison::LessOrEqual => "<=",
            };
            format!("(type({value}) == \"number\" and {value} {sign} {bound})")
        }
    }
}

fn lua_list(list: &ListRule) -> String {
    match list {
        // Each by itself: a table of them would end at the first that is nil.
        ListRule::Each(templates) => {
            let each: Vec<String> = templates.iter().map(|template| lua_template(&template.to_string())).collect();
            let each: Vec<String> = each.iter().map(|template| format!("add({template})")).collect();
            format!(
                "(function() local all = {{}} local function add(v) if v ~= nil then table.insert(all, v) end end {} return scalars(all) end)()",
                each.join(" ")
            )
        }
        ListRule::Field(path) => format!("scalars(each({}))", lua_field(&path.to_string())),
    }
}

fn lua_condition(matcher: &Matcher<Path>) -> String {
    match matcher {
        Matcher::Equals(value) => lua_scalar(value),
        Matcher::Template(template) => format!("shown({})", lua_template(&template.to_string())),
        Matcher::Prefix(prefix) => format!("{{ prefix = {prefix:?} }}"),
        Matcher::Exists(expected) => format!("{{ exists = {expected} }}"),
        Matcher::Any(values) => {
            let values: Vec<String> = values.iter().map(lua_condition).collect();
            format!("{{ {} }}", values.join(", "))
        }
        other => panic!("{other:?} is not made up"),
    }
}

/// The same in Lua. A query is asked last, and only if everything else names somebody.
fn lua_audience(rule: &AudienceRule) -> String {
    let mut lua = "do\nlocal is_somebody, is_named = true, false\n".to_owned();
    if let Some(list) = &rule.topics {
        writeln!(lua, "local topics = {}", lua_list(list)).unwrap();
        if matches!(rule.users, Some(UsersRule::Query(_))) {
            lua.push_str("if not has_topic(topics) then is_somebody = false end\n");
        }
    }
    for (index, (_, matcher)) in rule.attributes.iter().enumerate() {
        writeln!(
            lua,
            "local condition{index} = {}\nif condition{index} == nil then is_somebody = false end",
            lua_condition(matcher)
        )
        .unwrap();
    }
    match &rule.users {
        None => {}
        Some(UsersRule::List(list)) => {
            writeln!(lua, "local users = {}", lua_list(list)).unwrap();
        }
        Some(UsersRule::Query(QueryCall { query, with })) => {
            let bind = lua_template(&with[0].1.to_string());
            writeln!(lua, "local bind = {bind}\nif bind == nil or type(bind) == 'table' then is_somebody = false end")
                .unwrap();
            writeln!(lua, "local users = is_somebody and lookup('q{}', {{ record = bind }})", query.0).unwrap();
        }
    }
    lua.push_str("if is_somebody then\n");
    if rule.topics.is_some() {
        lua.push_str("to:topics(topics) is_named = true\n");
    }
    for (index, (name, _)) in rule.attributes.iter().enumerate() {
        writeln!(lua, "to:where({{ {name} = condition{index} }}) is_named = true").unwrap();
    }
    if rule.users.is_some() {
        lua.push_str("to:users(users) is_named = true\n");
    }
    lua.push_str("if not is_named then to:tenant() end\n");
    for except in &rule.except {
        let except = lua_template(&except.to_string());
        writeln!(lua, "if type({except}) ~= 'table' then to:except_user({except}) end").unwrap();
    }
    lua.push_str("to:also()\nend\nend\n");
    lua
}

fn lua_route(number: usize, route: &Route) -> String {
    let RouteTarget::Audiences(audiences) = &route.to else { panic!("no other is made up") };
    let mut lua = format!("routes[{number}] = function(event, to)\n");
    for (path, matcher) in &route.when {
        let condition = lua_matcher(matcher, &lua_field(&path.to_string()));
        writeln!(lua, "if not ({condition}) then error('does not hold') end").unwrap();
    }
    for audience in audiences {
        lua.push_str(&lua_audience(audience));
    }
    lua.push_str("end\n");
    lua
}

fn lua_plugin(routes: &[Route], declares: bool) -> String {
    let mut lua = PRELUDE.to_owned();
    routes.iter().enumerate().for_each(|(number, route)| lua.push_str(&lua_route(number, route)));
    let fields = if declares { "fields = { 'data.a', 'data.b', 'data.o', 'data.large', 'data.list' },\n" } else { "" };
    writeln!(lua, "return {{ {fields} route = function(event, to, params) routes[params.n](event, to) end }}").unwrap();
    lua
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        1 => Just(Scalar::Null),
        2 => any::<bool>().prop_map(Scalar::Bool),
        3 => (-1_i64..3).prop_map(Scalar::Int),
        1 => Just(Scalar::Float(1.5)),
        6 => "[ab]{0,2}".prop_map(|value| Scalar::Text(value.into())),
        2 => prop::sample::select(&["true", "1", "1.5", "a:b", "ü", ":"]).prop_map(text),
    ]
}

/// Values that topics and users are named by. Conditions on attributes are not filled from them: plugins say globs there.
fn name() -> impl Strategy<Value = Scalar> {
    let odd = prop::sample::select(&["*", "a*", "a:*", "*:a", "a::b", "a\nb", "\u{7f}"]).prop_map(text);
    prop_oneof![4 => scalar(), 1 => odd]
}

fn large() -> impl Strategy<Value = Scalar> {
    prop_oneof![Just(Scalar::Int(LARGE.parse().unwrap())), Just(text(LARGE)), Just(text("9"))]
}

fn equality(values: impl Strategy<Value = Scalar> + Clone) -> impl Strategy<Value = Matcher<Path>> {
    prop_oneof![
        4 => values.clone().prop_map(Matcher::Equals),
        2 => "[ab9]{0,1}[*?][ab]{0,1}".prop_map(|pattern| Matcher::Glob(Glob::new(pattern))),
        1 => "[ab9]{0,2}".prop_map(|prefix| Matcher::Prefix(prefix.into())),
        1 => any::<bool>().prop_map(Matcher::Exists),
        1 => prop::sample::select(&TEMPLATES).prop_map(|text| Matcher::Template(template(text))),
    ]
}

fn matcher(leaf: impl Strategy<Value = Matcher<Path>> + 'static) -> impl Strategy<Value = Matcher<Path>> {
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 0..3).prop_map(Matcher::Any),
            2 => prop::collection::vec(inner.clone(), 0..3).prop_map(Matcher::All),
            2 => inner.prop_map(|inner| Matcher::Not(Box::new(inner))),
        ]
    })
}

fn condition() -> impl Strategy<Value = (Path, Matcher<Path>)> {
    let comparison = prop::sample::select(&[
        Comparison::Greater,
        Comparison::GreaterOrEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
    ]);
    let compare =
        (comparison, prop::sample::select(&[0.0, 1.0, 1.25])).prop_map(|(side, bound)| Matcher::Compare(side, bound));
    let small = (0..3_usize, matcher(prop_oneof![5 => equality(scalar().boxed()), 1 => compare]));
    let large = (Just(3_usize), matcher(equality(large().boxed())));
    prop_oneof![4 => small, 1 => large].prop_map(|(field, matcher)| (path(FIELDS[field]), matcher))
}

fn list() -> impl Strategy<Value = ListRule> {
    prop_oneof![
        2 => prop::collection::vec(prop::sample::select(&TEMPLATES), 0..3).prop_map(|texts| each(&texts)),
        1 => prop::sample::select(&["data.list", "data.a", "data.o", "data.large"]).prop_map(|field| ListRule::Field(path(field))),
    ]
}

fn audience() -> impl Strategy<Value = AudienceRule> {
    let query = (0..2_u16, prop::sample::select(&TEMPLATES)).prop_map(|(query, bind)| {
        UsersRule::Query(QueryCall { query: QueryId(query), with: vec![("record".into(), template(bind))] })
    });
    let users = prop_oneof![2 => list().prop_map(UsersRule::List), 1 => query];
    let attribute = prop_oneof![
        "[ab]{0,2}".prop_map(|value| Matcher::Equals(Scalar::Text(value.into()))),
        (0_i64..3).prop_map(|value| Matcher::Equals(Scalar::Int(value))),
        any::<bool>().prop_map(Matcher::Exists),
        "[ab]{0,2}".prop_map(|prefix| Matcher::Prefix(prefix.into())),
        prop::collection::vec("[ab]{0,2}", 1..3).prop_map(|values| Matcher::Any(
            values.into_iter().map(|value| Matcher::Equals(Scalar::Text(value.into()))).collect()
        )),
        prop::sample::select(&["{data.a}", "{data.none}", "{data.o.c}"])
            .prop_map(|text| Matcher::Template(template(text))),
    ];
    let attributes = prop::option::of(attribute)
        .prop_map(|matcher| matcher.map(|matcher| ("role".into(), matcher)).into_iter().collect());
    let except = prop::collection::vec(prop::sample::select(&TEMPLATES).prop_map(template), 0..2);
    (prop::option::of(users), prop::option::of(list()), attributes, except).prop_map(
        |(users, topics, attributes, except)| AudienceRule { users, topics, attributes, except, payload: None },
    )
}

fn fast_route() -> impl Strategy<Value = Route> {
    let when = prop::collection::vec(condition(), 0..3);
    (when, prop::collection::vec(audience(), 1..3), any::<bool>()).prop_map(|(when, audiences, go_on)| Route {
        to: RouteTarget::Audiences(audiences),
        go_on,
        ..route("r", when)
    })
}

fn json(value: &Scalar) -> String {
    match value {
        Scalar::Text(text) => serde_json::to_string(text.as_str()).unwrap(),
        other => other.to_string(),
    }
}

fn body() -> impl Strategy<Value = String> {
    let field = |scalar: BoxedStrategy<Scalar>| {
        let list = prop::collection::vec(
            scalar.clone().prop_filter("a list of Lua ends at nil", |value| *value != Scalar::Null),
            0..3,
        );
        let list = list.prop_map(|items| format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")));
        prop_oneof![6 => scalar.clone().prop_map(|value| json(&value)), 1 => list, 1 => scalar.prop_map(|value| format!(r#"{{"c":{}}}"#, json(&value)))]
    };
    let plain = || prop::option::weighted(0.8, field(scalar().boxed()));
    let odd = || prop::option::weighted(0.8, field(name().boxed()));
    ([plain(), odd(), plain(), odd()], large()).prop_map(|(fields, large)| {
        let fields = ["a", "b", "o", "list"].into_iter().zip(fields);
        let fields = fields.filter_map(|(name, value)| Some(format!(",{name:?}:{}", value?)));
        let fields: Vec<String> = fields.collect();
        format!(r#"{{"data":{{"tenant":"acme","large":{}{}}}}}"#, json(&large), fields.concat())
    })
}

/// What is decided, without the plugins' word that they do not hold, and the calls that are made for it.
fn decided(plugins: &mut Plugins, routes: Vec<Route>, body: &str) -> (Vec<String>, BTreeSet<String>) {
    let name = |(number, route): (usize, Route)| Route { name: format!("r{number}").into(), ..route };
    let routes = routes.into_iter().enumerate().map(name).collect();
    let answers = vec![rows(&[Scalar::Int(7), text("b")]); 64];
    let (calls, said) = decide(plugins, routes, body, answers);
    let said = said.split("; ").filter(|said| !said.is_empty() && !said.contains("does not hold"));
    (said.map(ToOwned::to_owned).collect(), calls.split(' ').map(ToOwned::to_owned).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn a_rule_and_its_twin_in_lua_decide_alike(
        fast in prop::collection::vec(fast_route(), 1..5),
        declares in any::<bool>(),
        bodies in prop::collection::vec(body(), 1..16),
    ) {
        let lua = lua_plugin(&fast, declares);
        let mut plugins = Plugins::with_sites(&lua, (0..fast.len()).map(|n| serde_json::json!({ "n": n })));
        for body in bodies {
            let twin = |(site, route): (usize, &Route)| Route { go_on: route.go_on, ..script_at(0, site, OnError::Next) };
            let expected = decided(&mut Plugins::new(&[]), fast.clone(), &body);
            let came = decided(&mut plugins, fast.iter().enumerate().map(twin).collect(), &body);
            prop_assert_eq!(came, expected, "{}\n{}", body, lua);
        }
    }
}
