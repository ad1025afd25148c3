//! How a rule decides: by what was compiled, by a query, or by a plugin.

use super::{Config, PluginId, QueryId, Route, RouteTarget, TopicAllow, TopicRule, UsersRule};
use crate::config::lua;

/// How a rule decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way<'c> {
    /// By what was compiled alone.
    FastPath,
    /// By these queries' answers too, by name.
    Queries(Vec<&'c str>),
    /// By a plugin.
    Script {
        /// Its name.
        plugin: &'c str,
        /// The queries that it asks, those whose names it writes out.
        queries: Vec<String>,
    },
}

impl Config {
    /// How one of its routes decides.
    pub fn way_of_route(&self, route: &Route) -> Way<'_> {
        match &route.to {
            RouteTarget::Everyone | RouteTarget::Act(_) => Way::FastPath,
            RouteTarget::Script(call, _) => self.by_script(call.plugin),
            RouteTarget::Audiences(audiences) => {
                self.by_queries(audiences.iter().filter_map(|audience| match &audience.users {
                    Some(UsersRule::Query(call)) => Some(call.query),
                    Some(UsersRule::List(_)) | None => None,
                }))
            }
        }
    }

    /// How one of its topic rules decides.
    pub fn way_of_topic(&self, rule: &TopicRule) -> Way<'_> {
        match &rule.allow {
            TopicAllow::Always | TopicAllow::Never | TopicAllow::When(_) => Way::FastPath,
            TopicAllow::Query(call) => self.by_queries(std::iter::once(call.query)),
            TopicAllow::Script(call) => self.by_script(call.plugin),
        }
    }

    fn by_queries(&self, ids: impl Iterator<Item = QueryId>) -> Way<'_> {
        let all = self.database.as_ref().map_or(&[][..], |database| &database.queries);
        let mut names: Vec<&str> = Vec::new();
        for query in ids.filter_map(|id| all.get(usize::from(id.0))) {
            if !names.contains(&query.name.as_str()) {
                names.push(&query.name);
            }
        }
        if names.is_empty() { Way::FastPath } else { Way::Queries(names) }
    }

    fn by_script(&self, plugin: PluginId) -> Way<'_> {
        let Some(file) = self.plugins.files.get(usize::from(plugin.0)) else { return Way::FastPath };
        let mut queries: Vec<String> = Vec::new();
        for lookup in lua::lookups(file.text()).named {
            if !queries.contains(&lookup.name) {
                queries.push(lookup.name);
            }
        }
        Way::Script { plugin: &file.name, queries }
    }
}
