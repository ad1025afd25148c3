//! What is in force, for programs that ask.

use serde_json::{Value, json};

use super::history::seconds;
use super::reloader::InForce;
use crate::observe::Metrics;

impl InForce {
    /// For programs. `metrics` has counted what routes decided.
    pub fn to_json(&self, metrics: &Metrics) -> Value {
        let ready = &self.ready;
        let config = &ready.config;
        let files = ready.sources.files().map(
            |(path, hash)| json!({ "path": path.display().to_string(), "hash": hash.map(|hash| hash.to_string()) }),
        );
        let routes = config.routes.iter().map(|route| {
            let decisions = metrics.decisions(&route.name).get();
            json!({ "name": route.name.as_str(), "kind": config.way_of_route(route).word(), "decisions": decisions })
        });
        let topics = config
            .topics
            .iter()
            .map(|topic| json!({ "match": topic.pattern.to_string(), "kind": config.way_of_topic(topic).word() }));
        let plugins = config.plugins.files.iter().map(|plugin| {
            let hooks: Vec<_> = plugin.sites.iter().map(|site| site.hook.name()).collect();
            json!({ "name": plugin.name.as_str(), "path": plugin.path().display().to_string(), "hooks": hooks })
        });
        json!({
            "generation": ready.rulebook.generation.0,
            "loaded_at": seconds(self.since),
            "hash": *ready.hash,
            "files": files.collect::<Vec<_>>(),
            "routes": routes.collect::<Vec<_>>(),
            "topics": topics.collect::<Vec<_>>(),
            "plugins": plugins.collect::<Vec<_>>(),
            "tests_passed": ready.proof.passed(),
            "warnings": ready.warnings.to_json(),
        })
    }
}
