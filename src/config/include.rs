//! Several files made one: `include`.
//!
//! Invariant: nothing is given twice. Lists of rules are joined in the order of the files, maps of names and sections
//! are merged, and whatever else stands in two files is an error that names both places.

use super::diagnostics::Diagnostics;
use super::files::{Files, plain};
use super::node::{Key, Kind, Map, Node};
use super::raw::{self, At, Field, Text};
use super::variables::{self, Environment};
use super::yaml;

/// Lists that are joined.
const LISTS: [&str; 4] = ["routes", "topics", "amqp.exchanges", "amqp.queues"];
/// Maps that are merged, beside the whole file. What they hold is given once.
const MAPS: [&str; 13] = [
    "admin",
    "amqp",
    "database",
    "database.pool",
    "database.queries",
    "event",
    "auth",
    "ping",
    "limits",
    "limits.outbox",
    "plugins",
    "plugins.breaker",
    "reload",
];

/// Reads what `root` includes, and merges it in. `false` where a part could not be read, so that what is missing from
/// the whole may stand there.
pub(super) fn include(
    root: &mut Node,
    files: &mut Files,
    environment: &Environment<'_>,
    diagnostics: &mut Diagnostics,
) -> bool {
    let Kind::Map(map) = &root.kind else { return true };
    let Some((_, patterns)) = map.get("include").filter(|(_, patterns)| !patterns.is_null()) else { return true };
    let errors = diagnostics.errors();
    // What is wrong with the list itself is said when the merged whole is read.
    let Field::Given(patterns) = Field::<Vec<At<Text>>>::read(patterns, &mut Diagnostics::default()) else {
        return false;
    };
    let main = plain(root.place.source().path());
    let Kind::Map(whole) = &mut root.kind else { return true };
    for pattern in &patterns.value {
        for file in files.read_matching(pattern, diagnostics) {
            if plain(file.path()) == main {
                let message = format!("`{}` includes itself", pattern.shown());
                diagnostics.error(&pattern.place, message).help("name the other files, or put them into a folder");
                continue;
            }
            let Some(mut part) = yaml::parse(&file, diagnostics) else { continue };
            variables::expand(&mut part, environment, diagnostics);
            if part.is_null() {
                continue;
            }
            let Kind::Map(mut map) = part.kind else {
                let message = format!("expected a map of sections, found {}", part.what());
                diagnostics.error(&part.place, message);
                raw::hide(&part, diagnostics);
                continue;
            };
            refuse_nested(&mut map, diagnostics);
            merge(whole, map, "", diagnostics);
        }
    }
    diagnostics.errors() == errors
}

fn refuse_nested(map: &mut Map, diagnostics: &mut Diagnostics) {
    map.entries.retain(|(key, _)| {
        let nested = key.text == "include";
        if nested {
            let message = "an included file cannot include others";
            diagnostics.error(&key.place, message).help("name them in the main file");
        }
        !nested
    });
}

/// Merges `part` into `whole`, both of which stand at `path`.
fn merge(whole: &mut Map, part: Map, path: &str, diagnostics: &mut Diagnostics) {
    whole.duplicates.extend(part.duplicates);
    for (key, value) in part.entries {
        let Some((known_key, known)) = whole.entries.iter_mut().find(|(known, _)| known.text == key.text) else {
            whole.entries.push((key, value));
            continue;
        };
        let here = if path.is_empty() { key.text.clone() } else { format!("{path}.{}", key.text) };
        match (&mut known.kind, value.kind) {
            (Kind::List(known), Kind::List(items)) if LISTS.contains(&here.as_str()) => known.extend(items),
            (Kind::Map(known), Kind::Map(map)) if MAPS.contains(&here.as_str()) => {
                merge(known, map, &here, diagnostics);
            }
            (_, kind) => {
                raw::hide(&Node { place: value.place, kind }, diagnostics);
                given_twice(&here, &key, known_key, diagnostics);
            }
        }
    }
}

fn given_twice(path: &str, key: &Key, first: &Key, diagnostics: &mut Diagnostics) {
    let help = format!("first given at {}", first.place);
    diagnostics.error(&key.place, format!("`{path}` is given in two files")).help(help);
}
