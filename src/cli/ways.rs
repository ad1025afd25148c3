//! How each rule of a configuration decides, for `check`: as lines for people, as JSON for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::config::{Config, Way};

/// Columns that names may take before what is said of them.
const WIDEST: usize = 40;

/// What each rule is called, and how it decides. Providers of identities that are plugins go by their number in the list.
pub(super) struct Ways {
    routes: Vec<(Value, Shown)>,
    topics: Vec<(Value, Shown)>,
    providers: Vec<(Value, Shown)>,
}

/// How a rule decides.
struct Shown {
    word: &'static str,
    plugin: Option<String>,
    queries: Vec<String>,
}

impl Ways {
    pub(super) fn of(config: &Config) -> Self {
        let route = |route| Shown::of(config.way_of_route(route));
        let topic = |rule| Shown::of(config.way_of_topic(rule));
        let provider = |provider| config.way_of_provider(provider).map(Shown::of);
        let providers = (1..).zip(&config.auth.providers);
        Self {
            routes: config.routes.iter().map(|each| (each.name.as_str().into(), route(each))).collect(),
            topics: config.topics.iter().map(|each| (each.pattern.to_string().into(), topic(each))).collect(),
            providers: providers.filter_map(|(number, each)| Some((Value::from(number), provider(each)?))).collect(),
        }
    }

    pub(super) fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let all = [("routes", &self.routes), ("topics", &self.topics), ("providers", &self.providers)];
        let names = all.iter().flat_map(|(_, rules)| rules.iter()).map(|(name, _)| plain(name).chars().count());
        let width = names.max().unwrap_or_default().min(WIDEST);
        for (title, rules) in all {
            if !rules.is_empty() {
                writeln!(out, "{title}:")?;
            }
            for (name, shown) in rules {
                writeln!(out, "  {:width$}  {}", printable(&plain(name)), shown.text())?;
            }
        }
        Ok(())
    }

    /// `routes`, `topics` and `providers`, for a verdict.
    pub(super) fn add_to(&self, verdict: &mut Value) {
        let list = |key: &str, rules: &[(Value, Shown)]| -> Value {
            rules
                .iter()
                .map(|(name, Shown { word, plugin, queries })| {
                    json!({ key: name, "way": word, "script": plugin, "queries": queries })
                })
                .collect()
        };
        verdict["routes"] = list("name", &self.routes);
        verdict["topics"] = list("match", &self.topics);
        verdict["providers"] = list("number", &self.providers);
    }
}

impl Shown {
    fn of(way: Way<'_>) -> Self {
        let word = way.word();
        let (plugin, queries) = match way {
            Way::FastPath => (None, Vec::new()),
            Way::Queries(names) => (None, names.into_iter().map(str::to_owned).collect()),
            Way::Script { plugin, queries } => (Some(plugin.to_owned()), queries),
        };
        Self { word, plugin, queries }
    }

    fn text(&self) -> String {
        let queries = self.queries.join(", ");
        let word = self.word.replace('_', " ");
        let text = match (&self.plugin, self.queries.as_slice()) {
            (Some(plugin), []) => format!("{word} {plugin}"),
            (Some(plugin), _) => format!("{word} {plugin}, which asks {queries}"),
            (None, []) => word,
            (None, _) => format!("{word} {queries}"),
        };
        printable(&text)
    }
}

/// What a rule is called: a text as it is, a number by its digits.
fn plain(name: &Value) -> String {
    name.as_str().map_or_else(|| name.to_string(), str::to_owned)
}

/// A text without what a terminal takes for commands.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
