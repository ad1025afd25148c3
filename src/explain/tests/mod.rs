mod agreeing;
mod telling;

use super::*;
use crate::config::{self, Config, ConfigFile, Given, Provider, ReadTests, RuleTest, Situation, situation};
use crate::reload::{Generation, Queries, Rulebook, Rules};

/// What files come to.
pub(crate) struct Made {
    pub(crate) rulebook: Rulebook,
    pub(crate) providers: Vec<Provider>,
    pub(crate) tests: Vec<RuleTest>,
}

/// The rulebook of `pointsman.yaml` among these files, and whoever is there.
pub(crate) fn read(files: &[(&str, &str)], sessions: &str, queries: &str) -> (Made, Situation) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let main = ConfigFile::Disk(folder.path().join("pointsman.yaml"));
    let loaded = match config::attempt(&main, "test", &|_| None, ReadTests::Always).result {
        Ok(loaded) => loaded,
        Err(config::LoadError::Invalid(diagnostics)) => panic!("{}", diagnostics.to_json()),
        Err(error) => panic!("{error}"),
    };
    let given = |name: &str, text: &str| vec![Given { name: name.to_owned(), text: text.to_owned() }];
    let situation = situation(&given("sessions", sessions), &given("queries", queries), &loaded.config);
    let situation = situation.unwrap_or_else(|diagnostics| panic!("{}", diagnostics.to_json()));
    let Config { event, routes, topics, plugins, auth, database, .. } = loaded.config;
    let queries = Queries { queries: database.map_or_else(Vec::new, |it| it.queries).into(), ..Queries::default() };
    let rules = Rules { event, largest_event: usize::MAX, routes, topics, plugins };
    let compiled = Rulebook::compile(Generation(1), rules, queries.into());
    let rulebook = compiled.unwrap_or_else(|diagnostics| panic!("{}", diagnostics.to_json()));
    (Made { rulebook, providers: auth.providers, tests: loaded.tests }, situation)
}

fn people(situation: &Situation) -> Vec<Person> {
    situation.sessions.iter().map(Person::from).collect()
}

fn published(body: &str) -> Published {
    Published { body: body.to_owned().into(), ..Published::default() }
}
