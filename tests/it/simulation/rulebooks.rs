//! Generations of rules that lead to the same deliveries: by what is compiled in, by a plugin, and by one that has bad
//! days.

use std::sync::Arc;
use std::time::Duration;

use pointsman::config::{Hook, OnError, PluginFile, PluginId, RouteTarget, ScriptCall, TopicAllow};
use pointsman::reload::{Generation, Queries, Rulebook, Rules};

use crate::support::config;

const RULES: &str = r#"
event: { payload: data, tenant: data.tenant }
database:
  url: "sqlite::memory:"
  queries:
    members:
      sql: "SELECT id FROM members WHERE tenant = :tenant AND group_id = :group"
      cache: { ttl: 1h }
auth: { providers: [{ tokens: { t: { user: 1, tenant: t0 } } }] }
topics: [{ match: "deal:{id}", allow: { query: members, with: { group: "{id}" } } }, { match: "*", allow: true }]
routes:
  - { name: everyone, when: { data.kind: everyone }, to: everyone }
  - { name: tenant, when: { data.kind: tenant }, to: { tenant: true } }
  - { name: group, when: { data.kind: group }, to: { users: { query: members, with: { group: "{data.n}" } } } }
  - { name: topic, when: { data.kind: topic }, to: [{ topic: "deal:{data.n}" }, { user: "{data.n}", payload: { without: [n] } }] }
"#;

const PLUGIN: &str = r#"
local function give(event, to, generation)
    local data = event.data
    to:payload({ number = data.number, kind = data.kind, tenant = data.tenant, g = data.g, by = generation })
end
return {
    fields = { "data.number", "data.kind", "data.tenant", "data.n", "data.g" },
    route = function(event, to, params)
        local data = event.data
        -- At times it takes so long that it is run beside the lane for a while.
        if data.number % 64 < 2 then for _ = 1, 100000 do end end
        if data.kind == "tenant" then
            to:tenant()
        elseif data.kind == "group" then
            to:users(lookup("members", { group = data.n }))
        else
            if params.bad_days and data.number % 5 == 0 then error("a bad day") end
            to:topic("deal:" .. data.n)
            give(event, to, params.generation)
            to:also()
            to:user(data.n)
        end
        give(event, to, params.generation)
    end,
    authorize = function(session, topic, params)
        local id = topic:match("^deal:(%d+)$")
        if params.bad_days and id == "1" then return false end
        return #lookup("members", { group = id }) > 0
    end,
}
"#;

/// Whether a plugin decides in this generation.
pub(super) fn is_scripted(generation: u64) -> bool {
    !generation.is_multiple_of(3)
}

/// Whether nobody may look at `deal:1` in this generation, and some events fail.
pub(super) fn has_bad_days(generation: u64) -> bool {
    generation % 3 == 2
}

/// The rules of this generation, which asks these queries.
pub(super) fn rulebook(generation: u64, queries: &Arc<Queries>) -> Arc<Rulebook> {
    let mut config = config(RULES);
    if is_scripted(generation) {
        let with = || serde_json::json!({ "generation": generation, "bad_days": has_bad_days(generation) });
        let mut file = PluginFile::of_text("world.lua", PLUGIN);
        let mut call = |hook| ScriptCall { plugin: PluginId(0), site: file.call(hook, with()) };
        let (route, authorize) = (call(Hook::Route), call(Hook::Authorize));
        for other in config.routes.iter_mut().filter(|route| route.name != "everyone") {
            other.to = RouteTarget::Script(route, OnError::Drop);
        }
        config.topics[0].allow = TopicAllow::Script(authorize);
        config.plugins.files = vec![file];
        config.plugins.budget = Duration::from_secs(5);
    }
    let rules = Rules::of(&config);
    Arc::new(Rulebook::compile(Generation(generation), rules, Arc::clone(queries)).unwrap())
}

/// Queries of a database of their own.
pub(super) fn queries(epoch: u64) -> Arc<Queries> {
    Arc::new(Queries { epoch, database: epoch, queries: config(RULES).database.unwrap().queries.into(), lookups: None })
}
