//! How each rule of a configuration decides, for `check`: as lines for people, as JSON for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::config::{Config, Way};

/// Columns that names may take before what is said of them.
const WIDEST: usize = 40;

/// What each rule is called, and how it decides.
pub(super) struct Ways {
    routes: Vec<(String, Shown)>,
    topics: Vec<(String, Shown)>,
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
        Self {
            routes: config.routes.iter().map(|each| (each.name.to_string(), route(each))).collect(),
            topics: config.topics.iter().map(|each| (each.pattern.to_string(), topic(each))).collect(),
        }
    }

    pub(super) fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let names = self.routes.iter().chain(&self.topics).map(|(name, _)| name.chars().count());
        let width = names.max().unwrap_or_default().min(WIDEST);
        for (title, rules) in [("routes", &self.routes), ("topics", &self.topics)] {
            if !rules.is_empty() {
                writeln!(out, "{title}:")?;
            }
            for (name, shown) in rules {
                writeln!(out, "  {:width$}  {}", printable(name), shown.text())?;
            }
        }
        Ok(())
    }

    /// `routes` and `topics`, for a verdict.
    pub(super) fn add_to(&self, verdict: &mut Value) {
        let list = |key: &str, rules: &[(String, Shown)]| -> Value {
            rules
                .iter()
                .map(|(name, Shown { word, plugin, queries })| {
                    json!({ key: name, "way": word.replace(' ', "_"), "script": plugin, "queries": queries })
                })
                .collect()
        };
        verdict["routes"] = list("name", &self.routes);
        verdict["topics"] = list("match", &self.topics);
    }
}

impl Shown {
    fn of(way: Way<'_>) -> Self {
        match way {
            Way::FastPath => Self { word: "fast path", plugin: None, queries: Vec::new() },
            Way::Queries(names) => {
                Self { word: "query", plugin: None, queries: names.into_iter().map(str::to_owned).collect() }
            }
            Way::Script { plugin, queries } => Self { word: "script", plugin: Some(plugin.to_owned()), queries },
        }
    }

    fn text(&self) -> String {
        let queries = self.queries.join(", ");
        let text = match (&self.plugin, self.queries.as_slice()) {
            (Some(plugin), []) => format!("script {plugin}"),
            (Some(plugin), _) => format!("script {plugin}, which asks {queries}"),
            (None, []) => self.word.to_owned(),
            (None, _) => format!("{} {queries}", self.word),
        };
        printable(&text)
    }
}

/// A text without what a terminal takes for commands.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
