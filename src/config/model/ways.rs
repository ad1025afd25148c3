//! How a rule decides: by what was compiled, by a query, or by a plugin.

use super::{Config, Provider, QueryId, Route, RouteTarget, ScriptCall, TopicAllow, TopicRule, UsersRule};
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
        /// The queries that it asks, as far as its text and what it is handed tell.
        queries: Vec<String>,
    },
}

impl Way<'_> {
    /// [`FastPath`](Self::FastPath), as programs read it. People read a space for the `_`.
    pub const FAST_PATH: &'static str = "fast_path";
    /// [`Queries`](Self::Queries), likewise.
    pub const QUERY: &'static str = "query";
    /// [`Script`](Self::Script), likewise.
    pub const SCRIPT: &'static str = "script";

    /// It in a word, as programs read it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::FastPath => Self::FAST_PATH,
            Self::Queries(_) => Self::QUERY,
            Self::Script { .. } => Self::SCRIPT,
        }
    }
}

impl Config {
    /// How one of its routes decides.
    pub fn way_of_route(&self, route: &Route) -> Way<'_> {
        match &route.to {
            RouteTarget::Everyone | RouteTarget::Act(_) => Way::FastPath,
            RouteTarget::Script(call, _) => self.by_script(*call),
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
            TopicAllow::Script(call) => self.by_script(*call),
        }
    }

    /// How one of its providers of identities decides, where that is a plugin.
    pub fn way_of_provider(&self, provider: &Provider) -> Option<Way<'_>> {
        match provider {
            Provider::Script(script) => Some(self.by_script(script.call)),
            Provider::Tokens(_) | Provider::Sql(_) | Provider::Http(_) | Provider::Jwt(_) => None,
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

    fn by_script(&self, call: ScriptCall) -> Way<'_> {
        let file = &self.plugins.files[usize::from(call.plugin.0)];
        let lua::Lookups { named, others } = lua::lookups(file.text());
        let known = self.database.as_ref().map_or(&[][..], |database| &database.queries);
        let handed =
            file.sites[call.site].texts().filter(|text| others && known.iter().any(|query| query.name == **text));
        let mut queries: Vec<String> = Vec::new();
        for name in named.into_iter().map(|lookup| lookup.name).chain(handed.map(str::to_owned)) {
            if !queries.contains(&name) {
                queries.push(name);
            }
        }
        Way::Script { plugin: &file.name, queries }
    }
}
