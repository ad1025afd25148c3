//! What somebody tells beside an event, to have it explained: who is there, and what the database would say. In the
//! words of a rule test.

use std::path::PathBuf;

use super::diagnostics::Diagnostics;
use super::model::{Config, MockQuery, TestSession};
use super::node::{Kind, Node};
use super::place::SourceFile;
use super::raw::{At, Entries, Field, FromNode, RawMock, RawTestSession};
use super::validate::{Known, identity, mocks, topic};
use super::yaml;

/// A text that was given, in YAML or JSON.
#[derive(Clone, Debug)]
pub struct Given {
    /// What it is called in messages: a file's name, or `--session`.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// Who is there, and what the database would say.
#[derive(Clone, Debug, Default)]
pub struct Situation {
    /// Who is there. A session that has no name of its own is called `user 7 of acme`.
    pub sessions: Vec<TestSession>,
    /// What the database would say.
    pub queries: Vec<MockQuery>,
}

/// Reads what was given. A text about sessions holds one (`{ user: 7, tenant: acme, topics: ["deal:42"] }`), a list of
/// them, or several by name; one about queries holds rows by query, as a rule test does. All that is wrong is said.
pub fn situation(sessions: &[Given], queries: &[Given], config: &Config) -> Result<Situation, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let mut found = Situation::default();
    for given in sessions {
        if let Some(node) = parse(given, &mut diagnostics) {
            found.sessions.extend(read_sessions(&node, &mut diagnostics));
        }
    }
    for given in queries {
        let Some(node) = parse(given, &mut diagnostics) else { continue };
        let field = Field::<Entries<RawMock>>::read(&node, &mut diagnostics);
        found.queries.extend(mocks(&field, &Known(Some(config)), &mut diagnostics).unwrap_or_default());
    }
    let diagnostics = diagnostics.finish();
    if diagnostics.errors() > 0 { Err(diagnostics) } else { Ok(found) }
}

fn parse(given: &Given, diagnostics: &mut Diagnostics) -> Option<Node> {
    let source = SourceFile::new(PathBuf::from(&given.name), given.name.clone(), given.text.clone());
    yaml::parse(&source, diagnostics).filter(|node| !node.is_null())
}

fn read_sessions(node: &Node, diagnostics: &mut Diagnostics) -> Vec<TestSession> {
    match &node.kind {
        Kind::List(items) => items.iter().filter_map(|item| read_session(None, item, diagnostics)).collect(),
        Kind::Map(map)
            if !map.entries.is_empty() && map.entries.iter().all(|(_, value)| matches!(value.kind, Kind::Map(_))) =>
        {
            map.entries.iter().filter_map(|(key, value)| read_session(Some(&key.text), value, diagnostics)).collect()
        }
        _ => read_session(None, node, diagnostics).into_iter().collect(),
    }
}

fn read_session(name: Option<&str>, node: &Node, diagnostics: &mut Diagnostics) -> Option<TestSession> {
    let raw = At::<RawTestSession>::read(node, diagnostics)?;
    let identity = identity(&raw.value, diagnostics);
    let topics = match &raw.value.topics {
        Field::Missing => Some(Vec::new()),
        Field::Faulty => None,
        Field::Given(topics) => topics.value.0.iter().map(|at| topic(at, diagnostics)).collect(),
    };
    let identity = identity?;
    let name = name.map_or_else(|| format!("user {} of {}", identity.user, identity.tenant), str::to_owned);
    Some(TestSession { name: name.into(), place: raw.place, identity, topics: topics? })
}
