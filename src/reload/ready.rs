//! From files to what can come into force: read → parse → validate → compile → prove → pools and providers.
//!
//! Invariant: nothing that runs is touched here, and the world outside of the files only when the rules are proven.

use std::sync::Arc;
use std::time::Duration;

use super::{Generation, Queries, Refusal, Rulebook, Rules, Sources};
use crate::auth::{Authenticator, Foundation};
use crate::config::{
    self, Attempt, Config, ConfigFile, Database, Diagnostics, Hook, LoadError, Loaded, ReadTests, RuleTest, Sections,
    Watch,
};
use crate::lookup::Lookups;
use crate::observe::Metrics;
use crate::prove::{Proof, prove};

/// How often the files are read until two readings agree.
const READINGS: u32 = 5;
/// How long to wait between two that do not.
const APART: Duration = Duration::from_millis(50);

/// Where a configuration comes from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The main file.
    pub file: ConfigFile,
    /// What `{instance}` stands for.
    pub instance: Arc<str>,
    /// What `${NAME}` holds.
    pub environment: fn(&str) -> Option<String>,
}

/// A configuration whose rules are compiled. Its queries are answered by no database.
#[derive(Debug)]
pub struct Compiled {
    /// What the files say.
    pub config: Arc<Config>,
    /// The rules.
    pub rulebook: Rulebook,
    /// Their tests.
    pub tests: Vec<RuleTest>,
    /// Tells the content of the files from others: 16 hexadecimal digits.
    pub hash: String,
    /// Tells its sections from those of another reading.
    pub sections: Sections,
    /// What is probably not meant so.
    pub warnings: Diagnostics,
}

/// What files come to: a rulebook that is proven, and nothing that is open yet.
#[derive(Debug)]
pub(super) struct Draft {
    config: Arc<Config>,
    rulebook: Rulebook,
    sources: Sources,
    sections: Sections,
    hash: String,
    warnings: Diagnostics,
    proof: Proof,
}

/// All that is needed to come into force.
#[derive(Clone, Debug)]
pub struct Ready {
    /// What the files say.
    pub config: Arc<Config>,
    /// The rules, compiled and proven.
    pub rulebook: Arc<Rulebook>,
    /// The providers of identities.
    pub authenticator: Arc<Authenticator>,
    /// The files.
    pub sources: Arc<Sources>,
    /// Tells their sections from those of another reading.
    pub sections: Arc<Sections>,
    /// Tells their content from others: 16 hexadecimal digits.
    pub hash: Arc<str>,
    /// What is probably not meant so.
    pub warnings: Diagnostics,
    /// What the rule tests came to.
    pub proof: Proof,
}

impl Origin {
    /// Reads the files and compiles the rules: what `check`, the rule tests and the server all do. Nothing but files is
    /// touched, and nothing is open yet.
    pub fn compile(&self, tests: ReadTests) -> Result<Compiled, Refusal> {
        Compiled::of(self.load(tests).0?, Generation(1), None)
    }

    /// What the files come to; `None` where they hold what is in force, and with `only_news` where they hold what they
    /// did when they were read last. Blocks: for a thread that may wait. `known` are the sources as they were known
    /// before, if they were, and become those of now, whatever is wrong with them.
    pub(super) fn draft(
        &self,
        generation: Generation,
        before: Option<&Ready>,
        known: &mut Sources,
        only_news: bool,
    ) -> Result<Option<Draft>, Refusal> {
        let last = known.clone();
        let loaded = self.read(known)?;
        if only_news && last.hold_the_same(known) {
            return Ok(None);
        }
        let loaded = loaded?;
        if before.is_some_and(|before| before.sources.hold_the_same(known)) {
            return Ok(None);
        }
        let compiled = Compiled::of(loaded, generation, before)?;
        let proof = prove(&compiled.rulebook, &compiled.config.auth.providers, &compiled.tests);
        if !proof.holds() {
            return Err(Refusal::Tests(proof));
        }
        let Compiled { config, rulebook, hash, sections, warnings, .. } = compiled;
        Ok(Some(Draft { config, rulebook, sources: known.clone(), sections, hash, warnings, proof }))
    }

    /// Reads until what is on the disk afterwards is what was there before: so nothing is half of one state and half of
    /// another. Where that does not come about, `known` is something else than what was there last, so that whoever
    /// compares sees that there is something to take up. If the system is short of descriptors, `known` stays as it is.
    fn read(&self, known: &mut Sources) -> Result<Result<Loaded, Refusal>, Refusal> {
        let last = known.clone();
        let read = self.read_steadily(known);
        if read.as_ref().is_err_and(Refusal::is_shortage) {
            *known = last;
        }
        read
    }

    fn read_steadily(&self, known: &mut Sources) -> Result<Result<Loaded, Refusal>, Refusal> {
        for reading in 1..=READINGS {
            let before = known.look_again()?;
            let (loaded, watch) = self.load(ReadTests::AsConfigured);
            let loaded = match loaded.map_err(Refusal::from) {
                Err(refusal) if refusal.is_shortage() => return Err(refusal),
                loaded => loaded,
            };
            *known = Sources::look(&watch)?;
            if before == *known {
                return Ok(loaded);
            }
            if before.are_of(&watch) {
                if reading == READINGS {
                    *known = before;
                    break;
                }
                // Somebody is writing.
                #[expect(
                    clippy::disallowed_methods,
                    reason = "this thread may wait, and there is no fact to wait for"
                )]
                std::thread::sleep(APART);
            }
        }
        Err(Refusal::Unsteady)
    }

    fn load(&self, tests: ReadTests) -> (Result<Loaded, LoadError>, Watch) {
        let Attempt { result, watch, .. } = config::attempt(&self.file, &self.instance, &self.environment, tests);
        (result, if self.is_on_disk() { watch } else { Watch::default() })
    }

    /// Whether it can change.
    pub(super) fn is_on_disk(&self) -> bool {
        self.file != ConfigFile::Embedded
    }
}

impl Compiled {
    fn of(loaded: Loaded, generation: Generation, before: Option<&Ready>) -> Result<Self, Refusal> {
        let Loaded { config, warnings, hash, sections, tests, .. } = loaded;
        let rulebook = compile(&config, generation, before)?;
        Ok(Self { config: Arc::new(config), rulebook, tests, hash, sections, warnings })
    }
}

/// The rules of a configuration, compiled. Queries of the same database are the same ones, opened already.
fn compile(config: &Config, generation: Generation, before: Option<&Ready>) -> Result<Rulebook, Refusal> {
    let known = before.map(|before| (&before.config.database, &before.rulebook.queries));
    let queries = match (&config.database, known) {
        (None, Some((None, queries))) => Arc::clone(queries),
        (Some(database), Some((Some(old), queries))) if old.is_same(database) => Arc::clone(queries),
        (database, known) => Arc::new(new_queries(database.as_ref(), known)),
    };
    let plugins = before.map(|before| (&before.config.plugins, &*before.rulebook.plugins));
    Rulebook::compile_after(plugins, generation, Rules::of(config), queries).map_err(Refusal::Plugins)
}

/// Those of a database, where this one and these queries were known before.
fn new_queries(database: Option<&Database>, known: Option<(&Option<Database>, &Arc<Queries>)>) -> Queries {
    let epoch = known.map_or(0, |(_, queries)| queries.epoch) + 1;
    let same = known.filter(|(old, _)| old.as_ref().zip(database).is_some_and(|(old, new)| old.is_same_place(new)));
    Queries {
        epoch,
        database: same.map_or(epoch, |(_, queries)| queries.database),
        queries: database.map_or(&[][..], |database| &database.queries).into(),
        lookups: None,
    }
}

impl Draft {
    /// A draft of a configuration that has been in force.
    pub(super) fn again(former: Former, generation: Generation, before: &Ready) -> Result<Self, Refusal> {
        let Former { config, sources, sections, hash, warnings, proof } = former;
        let rulebook = compile(&config, generation, Some(before))?;
        let (sources, sections) = (Sources::clone(&sources), Sections::clone(&sections));
        Ok(Self { rulebook, config, sources, sections, hash: hash.to_string(), warnings, proof })
    }

    /// Opens what is not open yet. What did not change since `before` goes on.
    pub(super) async fn make_ready(self, before: Option<&Ready>, metrics: &Arc<Metrics>) -> Result<Ready, Refusal> {
        let Self { config, mut rulebook, sources, sections, hash, warnings, proof } = self;
        let is_new = before.is_none_or(|before| !Arc::ptr_eq(&before.rulebook.queries, &rulebook.queries));
        if let (true, Some(database)) = (is_new, &config.database) {
            let lookups = Lookups::open(database, metrics).await.map_err(Refusal::Database)?;
            rulebook.queries = Arc::new(Queries { lookups: Some(lookups), ..Queries::clone(&rulebook.queries) });
        }
        let made_of = Foundation {
            auth: config.auth.clone(),
            queries: Arc::clone(&rulebook.queries),
            files: config.plugins.clone(),
            plugins: rulebook.plugins.iter().cloned().collect(),
        };
        let authenticator = Authenticator::new(made_of, before.map(|before| &before.authenticator), metrics);
        let authenticator = authenticator.map_err(Refusal::Provider)?;
        let (rulebook, sources, sections) = (Arc::new(rulebook), Arc::new(sources), Arc::new(sections));
        Ok(Ready { config, rulebook, authenticator, sources, sections, hash: hash.into(), warnings, proof })
    }
}

/// What is kept of a generation that is no longer in force, to bring it back.
#[derive(Clone, Debug)]
pub(super) struct Former {
    config: Arc<Config>,
    sources: Arc<Sources>,
    sections: Arc<Sections>,
    hash: Arc<str>,
    warnings: Diagnostics,
    proof: Proof,
}

impl Ready {
    /// Whether topics are allowed by the same, and so what sessions have.
    pub(super) fn allows_as(&self, before: &Self) -> bool {
        self.sections.same(&before.sections, "topics")
            && self.config.plugins.same(&before.config.plugins, Hook::Authorize)
            && Arc::ptr_eq(&self.rulebook.queries, &before.rulebook.queries)
    }

    /// What is kept of it when it is no longer in force. It holds nothing open.
    pub(super) fn former(&self) -> Former {
        let Self { config, sources, sections, hash, warnings, proof, .. } = self.clone();
        Former { config, sources, sections, hash, warnings, proof }
    }

    /// The first change: nothing is in force yet, and the metrics are new. Blocks at first, then opens what there is to open.
    pub async fn first(origin: &Origin, metrics: &Arc<Metrics>) -> Result<Self, Refusal> {
        let own = origin.clone();
        let draft =
            tokio::task::spawn_blocking(move || own.draft(Generation(1), None, &mut Sources::default(), false)).await;
        let draft = draft.map_err(|error| Refusal::Broken(error.to_string()))??;
        // Where nothing is in force, it is never that.
        draft.ok_or(Refusal::Unsteady)?.make_ready(None, metrics).await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static FILE: OnceLock<PathBuf> = OnceLock::new();
    static READINGS_SO_FAR: AtomicUsize = AtomicUsize::new(0);

    /// Whoever reads the file finds that it is written meanwhile.
    #[expect(clippy::unnecessary_wraps, reason = "the shape of what answers for the environment")]
    fn writes(_: &str) -> Option<String> {
        let reading = READINGS_SO_FAR.fetch_add(1, Ordering::Relaxed);
        fs::write(FILE.get().unwrap(), format!("listen: ${{ADDRESS}}\nshards: {reading}\n")).unwrap();
        Some("127.0.0.1:0".to_owned())
    }

    #[test]
    fn what_was_written_last_while_it_was_read_in_vain_is_seen_as_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = FILE.get_or_init(|| folder.path().join("pointsman.yaml"));
        writes("");
        let origin = Origin { file: ConfigFile::Disk(path.clone()), instance: "i".into(), environment: writes };
        let mut known = Sources::default();
        assert!(matches!(origin.read(&mut known), Err(Refusal::Unsteady)));
        assert_ne!(known.look_again().unwrap(), known, "nobody would take it up");
    }
}
