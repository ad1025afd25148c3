//! The rulebook: everything that decides, compiled, immutable, numbered.

use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;

use crate::config::{
    Breaker, Config, Diagnostics, PluginFile, PluginId, Plugins, Query, QueryId, Route, ScriptCall, TopicRule,
};
use crate::event::{Decoder, Shape, TopicPattern};
use crate::lookup::{Forgotten, Lookups};
use crate::route::script::{Asks, Plugin, ScriptLimits};
use crate::route::{Judgement, RouteTable, TopicRules};
use crate::runtime::let_pass;

/// The number of a rulebook. The first one in force is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a configuration says of how to decide.
#[derive(Debug)]
pub struct Rules {
    /// Where things stand in a body.
    pub event: Shape,
    /// Bytes that a body may have.
    pub largest_event: usize,
    /// Which event goes to whom.
    pub routes: Vec<Route>,
    /// Who may subscribe to what.
    pub topics: Vec<TopicRule>,
    /// What routes, topic rules and providers of identities call.
    pub plugins: Plugins,
}

impl Rules {
    /// What this configuration says.
    pub fn of(config: &Config) -> Self {
        Self {
            event: config.event.clone(),
            largest_event: config.limits.event,
            routes: config.routes.clone(),
            topics: config.topics.clone(),
            plugins: config.plugins.clone(),
        }
    }
}

/// Named queries, and the database that answers them. Generations whose `database` section is the same share one.
#[derive(Clone, Debug, Default)]
pub struct Queries {
    /// Tells these from any others of this process: a [`QueryId`] means something within one epoch alone, and so does
    /// what is kept of answers.
    pub epoch: u64,
    /// Tells where answers come from, from any other database of this process.
    pub database: u64,
    /// By [`QueryId`].
    pub queries: Arc<[Query]>,
    /// Who answers them, where there is a database.
    pub lookups: Option<Lookups>,
}

impl Queries {
    /// Whether a query's answers are a tenant's own.
    pub fn is_of_tenant(&self, query: QueryId) -> bool {
        self.queries.get(usize::from(query.0)).is_none_or(Query::binds_tenant)
    }

    /// The query of this name.
    pub fn by_name(&self, name: &str) -> Option<QueryId> {
        let index = self.queries.iter().position(|query| query.name == name)?;
        u16::try_from(index).ok().map(QueryId)
    }

    /// Whether a query answers what that one of others does, however long either may take and be kept.
    fn answers_as(&self, query: QueryId, others: &Self, other: QueryId) -> bool {
        if self.epoch == others.epoch {
            return query == other;
        }
        let sql = |of: &Self, query: QueryId| of.queries.get(usize::from(query.0)).map(|query| query.sql.clone());
        let (own, other) = (sql(self, query), sql(others, other));
        self.database == others.database && own.is_some() && own == other
    }
}

/// Everything that decides: field paths, routes, topic rules, plugins, queries.
#[derive(Debug)]
pub struct Rulebook {
    /// Its number.
    pub generation: Generation,
    /// Reads the fields that the routes name.
    pub decoder: Decoder,
    /// Which event goes to whom.
    pub routes: RouteTable,
    /// Who may subscribe to what.
    pub topics: TopicRules,
    /// The plugins, by [`PluginId`].
    pub plugins: Box<[Arc<Plugin>]>,
    /// When one of them that fails is put aside.
    pub breaker: Breaker,
    /// The named queries.
    pub queries: Arc<Queries>,
}

impl Rulebook {
    /// Compiles what decides. All that is wrong with plugins is said at once.
    pub fn compile(generation: Generation, rules: Rules, queries: Arc<Queries>) -> Result<Self, Diagnostics> {
        Self::compile_after(None, generation, rules, queries)
    }

    /// As [`compile`](Self::compile), where this is in force. A plugin that did not change is the same one, and is known by
    /// that.
    pub(super) fn compile_after(
        before: Option<(&Plugins, &[Arc<Plugin>])>,
        generation: Generation,
        rules: Rules,
        queries: Arc<Queries>,
    ) -> Result<Self, Diagnostics> {
        let Rules { event, largest_event, routes, topics, plugins } = rules;
        let breaker = plugins.breaker;
        let plugins = compile_plugins(&plugins, before)?;
        let mut decoder = Decoder::new(event);
        decoder.limit(largest_event);
        let routes = RouteTable::compile(routes, &plugins, &mut decoder);
        let topics = TopicRules::compile(topics, &plugins);
        Ok(Self { generation, decoder, routes, topics, plugins, breaker, queries })
    }

    /// The plugins that its routes and topic rules call.
    pub fn plugins_of_lanes(&self) -> Vec<PluginId> {
        let calls = self.routes.script_calls().chain(self.topics.script_calls());
        let mut plugins: Vec<PluginId> = calls.map(|call| call.plugin).collect();
        plugins.sort_unstable();
        plugins.dedup();
        plugins
    }

    /// The patterns of the topic rules that may ask what is no longer good.
    pub fn asking(&self, word: &Forgotten) -> Vec<TopicPattern> {
        let query = self.queries.by_name(&word.query);
        query.map_or_else(Vec::new, |query| self.topics.asking(query, &word.query))
    }

    /// Whether a topic's judgement may have come about by what is no longer good.
    pub fn may_rest_on(&self, judgement: &Judgement, word: &Forgotten) -> bool {
        match judgement {
            Judgement::Verdict(_) => false,
            Judgement::Ask(call) => word.concerns(&self.queries.queries, call.query, &call.binds),
            Judgement::Run(call) => {
                self.queries.by_name(&word.query).is_some() && self.topics.may_ask(*call, &word.query)
            }
        }
    }

    /// Whether a topic that this one judges like this comes to the same by another one, which judges it like that: the
    /// same is asked, of the same.
    pub fn judges_alike(&self, own: &Judgement, other: &Self, others: &Judgement) -> bool {
        match (own, others) {
            (Judgement::Verdict(one), Judgement::Verdict(two)) => one == two,
            (Judgement::Ask(one), Judgement::Ask(two)) => {
                one.binds == two.binds && self.queries.answers_as(one.query, &other.queries, two.query)
            }
            (Judgement::Run(one), Judgement::Run(two)) => {
                let plugin = |of: &Self, call: &ScriptCall| of.plugins.get(usize::from(call.plugin.0)).cloned();
                let both = plugin(self, one).zip(plugin(other, two)).filter(|(one, two)| Arc::ptr_eq(one, two));
                one.site == two.site && both.is_some_and(|(plugin, _)| self.answer_alike(other, plugin.asks()))
            }
            _ => false,
        }
    }

    /// Whether a plugin that asks these is answered the same by both.
    fn answer_alike(&self, other: &Self, asks: &Asks) -> bool {
        let alike = |name: &CompactString| match (self.queries.by_name(name), other.queries.by_name(name)) {
            (Some(one), Some(two)) => self.queries.answers_as(one, &other.queries, two),
            (None, None) => true,
            _ => false,
        };
        match asks {
            Asks::Nothing => true,
            Asks::Named(names) => names.iter().all(alike),
            Asks::Any => self.queries.epoch == other.queries.epoch,
        }
    }
}

/// All plugins, or all that is wrong with them, each at its line.
fn compile_plugins(
    plugins: &Plugins,
    before: Option<(&Plugins, &[Arc<Plugin>])>,
) -> Result<Box<[Arc<Plugin>]>, Diagnostics> {
    let limits = ScriptLimits { budget: plugins.budget, memory: plugins.memory };
    let before = before.filter(|(old, _)| (old.budget, old.memory) == (plugins.budget, plugins.memory));
    let known = |file: &PluginFile| {
        let (old, compiled) = before?;
        let at = old.files.iter().position(|old| old.is_same(file))?;
        compiled.get(at).cloned()
    };
    let mut diagnostics = Diagnostics::default();
    let compile = |file: &PluginFile| {
        let_pass();
        match known(file).map_or_else(|| Plugin::compile(file, limits).map(Arc::new), Ok) {
            Ok(plugin) => Some(plugin),
            Err(faults) => {
                for fault in faults {
                    let said = diagnostics.error(&file.line(fault.line.unwrap_or(1)), fault.message);
                    said.help = fault.help;
                }
                None
            }
        }
    };
    let compiled = plugins.files.iter().filter_map(compile).collect();
    if diagnostics.errors() > 0 { Err(diagnostics.finish()) } else { Ok(compiled) }
}
