//! One topic that a session wants, or has: how far its judgement has come.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::answers::Answers;
use super::ledger::Ledger;
use super::scripts::Machines;
use super::state::Owner;
use crate::auth::Attributes;
use crate::config::ScriptCall;
use crate::event::{TenantId, Topic, UserId};
use crate::lookup::{Forgotten, LookupError};
use crate::reload::Rulebook;
use crate::route::script::Lookup;
use crate::route::{Answer, Call, Errand, Held, Judgement, Progress, Scripts, SessionView, TopicRules};
use crate::shard::Verdict;

/// Questions of a plugin about one topic at most.
const QUESTIONS: usize = 64;

/// What topics are judged with.
pub(super) struct Means<'l> {
    pub(super) answers: &'l mut Answers,
    pub(super) machines: &'l mut Machines,
    pub(super) ledger: &'l mut Ledger,
    pub(super) now: Instant,
}

/// Whose topics they are, and by which rules they are judged.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) tenant: TenantId,
    pub(super) user: UserId,
    pub(super) attributes: Arc<Attributes>,
    pub(super) rulebook: Arc<Rulebook>,
}

/// A topic.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) topic: Topic,
    /// What has no verdict yet stands as unavailable.
    pub(super) verdict: Verdict,
    by: By,
    pub(super) stage: Stage,
    /// The how manieth time it is judged: see [`forget`](Self::forget).
    pub(super) attempt: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its [`question`](Wanted::question) has to be asked.
    Waiting,
    UnderWay,
    Done,
}

/// What a topic waits for.
#[derive(Clone, Debug)]
pub(super) enum TopicQuestion {
    Query(Call),
    Errand(Arc<Errand<bool>>),
}

/// What it rests on, beside the rules.
enum By {
    Rules,
    Query(Call),
    Script {
        script: ScriptCall,
        /// All that it asked. The last one is the one that it waits for, unless that is an errand.
        asked: SmallVec<[Call; 1]>,
        held: Option<Held<bool>>,
    },
}

impl Subject {
    /// What rules see of it.
    pub(super) fn view(&self) -> SessionView<'_> {
        SessionView { user: &self.user, tenant: &self.tenant, attributes: &self.attributes }
    }

    fn owner(&self) -> Owner {
        Owner(Some(self.tenant.clone()))
    }
}

impl Wanted {
    /// A topic, judged as far as that goes without asking.
    pub(super) fn new(topic: Topic, judgement: Judgement, of: &Subject, means: &mut Means<'_>) -> Self {
        let mut wanted = Self { topic, verdict: Verdict::Unavailable, by: By::Rules, stage: Stage::Done, attempt: 0 };
        match judgement {
            Judgement::Verdict(verdict) => wanted.verdict = verdict,
            Judgement::Ask(call) => {
                wanted.stage = Stage::Waiting;
                let known = means.answers.known(&of.rulebook.queries, &of.owner(), &call, means.now);
                wanted.by = By::Query(call);
                if let Some(answer) = known {
                    wanted.answered(&answer, of, means);
                }
            }
            Judgement::Run(script) => {
                wanted.by = By::Script { script, asked: SmallVec::new(), held: None };
                wanted.run(of, means);
            }
        }
        wanted
    }

    /// What has to be asked.
    pub(super) fn question(&self) -> Option<TopicQuestion> {
        match &self.by {
            By::Rules => None,
            By::Query(call) => Some(TopicQuestion::Query(call.clone())),
            By::Script { held: Some(Held::Away(errand)), .. } => Some(TopicQuestion::Errand(Arc::clone(errand))),
            By::Script { asked, .. } => asked.last().cloned().map(TopicQuestion::Query),
        }
    }

    /// Nobody can be asked: it stays unavailable.
    pub(super) fn give_up(&mut self) {
        (self.stage, self.verdict, self.by) = (Stage::Done, Verdict::Unavailable, By::Rules);
    }

    /// Takes the answer to its question.
    pub(super) fn answered(&mut self, answer: &Answer, of: &Subject, means: &mut Means<'_>) {
        match &mut self.by {
            By::Rules => {}
            By::Query(_) => (self.stage, self.verdict) = (Stage::Done, TopicRules::verdict(answer)),
            By::Script { script, held, .. } => {
                let Some(held) = held.take() else { return };
                let mut scripts = means.machines.at(&of.rulebook, means.now);
                let step = scripts.resume_authorize(*script, &of.tenant, held, answer.clone());
                self.follow(step, of, means);
            }
        }
    }

    /// What was answered is no longer good. Where that concerns what it rests on, it is judged anew, `attempts` times at
    /// most. `false` where it does not.
    pub(super) fn forget(&mut self, forgotten: &Forgotten, attempts: u8, of: &Subject, means: &mut Means<'_>) -> bool {
        let concerns = |call: &Call| forgotten.concerns(&of.rulebook.queries.queries, call.query, &call.binds);
        let is_away = matches!(&self.by, By::Script { held: Some(Held::Away(_)), .. });
        let is_asked = usize::from(self.stage == Stage::Waiting && !is_away);
        let is_concerned = match &self.by {
            By::Rules => false,
            By::Query(call) => is_asked == 0 && concerns(call),
            By::Script { asked, .. } => asked.iter().rev().skip(is_asked).any(concerns),
        };
        if !is_concerned {
            return false;
        }
        self.attempt += 1;
        if self.attempt == attempts {
            self.give_up();
            return true;
        }
        (self.stage, self.verdict) = (Stage::Waiting, Verdict::Unavailable);
        if let By::Script { .. } = &self.by {
            self.run(of, means);
        }
        true
    }

    /// Has the plugin judge it from the start.
    fn run(&mut self, of: &Subject, means: &mut Means<'_>) {
        let By::Script { script, asked, held } = &mut self.by else { return };
        (*held, *asked) = (None, SmallVec::new());
        let step = means.machines.at(&of.rulebook, means.now).authorize(*script, &of.view(), &self.topic);
        self.follow(step, of, means);
    }

    /// Follows the plugin until it has ended, or waits for an answer that is not there.
    fn follow(&mut self, mut step: Progress<bool>, of: &Subject, means: &mut Means<'_>) {
        let By::Script { script, asked, held } = &mut self.by else { return };
        let rulebook = &of.rulebook;
        loop {
            let (Lookup { query, binds }, waits) = match step {
                Progress::Asks(lookup, waits) => (lookup, waits),
                Progress::Away(errand) => {
                    (self.stage, *held) = (Stage::Waiting, Some(Held::Away(errand)));
                    return;
                }
                Progress::Done(said) => {
                    self.stage = Stage::Done;
                    self.verdict = TopicRules::verdict_of_script(&said);
                    if let Err(error) = &said {
                        let plugin = rulebook.plugins.get(usize::from(script.plugin.0));
                        let plugin = plugin.map_or("?", |plugin| &plugin.name);
                        means.ledger.script_failed(&of.tenant, &self.topic, plugin, error, means.now);
                    }
                    return;
                }
            };
            let failed = |why| Err(LookupError::Failed(why));
            let answer = match rulebook.queries.by_name(&query) {
                None => failed(format!("no query is named `{query}`")),
                Some(_) if asked.len() == QUESTIONS => {
                    failed(format!("it asks more than {QUESTIONS} questions about one topic"))
                }
                Some(query) => {
                    let call = Call { query, binds };
                    let known = means.answers.known(&rulebook.queries, &of.owner(), &call, means.now);
                    asked.push(call);
                    let Some(answer) = known else {
                        (self.stage, *held) = (Stage::Waiting, Some(waits));
                        return;
                    };
                    answer
                }
            };
            step = means.machines.at(rulebook, means.now).resume_authorize(*script, &of.tenant, waits, answer);
        }
    }
}

impl std::fmt::Debug for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rules => f.write_str("Rules"),
            Self::Query(call) => f.debug_tuple("Query").field(call).finish(),
            Self::Script { script, asked, .. } => f.debug_tuple("Script").field(script).field(asked).finish(),
        }
    }
}
