//! A wish to subscribe, judged without a server.

use super::crowd::Person;
use super::machines::Machines;
use super::rehearsal::{Questions, Respond};
use crate::event::Topic;
use crate::lookup::LookupError;
use crate::reload::Rulebook;
use crate::route::script::ScriptError;
use crate::route::{Answer, Call, Held, Judgement, Progress, Scripts, SessionView, TopicRules};
use crate::shard::Verdict;

/// What became of a wish to subscribe.
#[derive(Debug)]
pub(crate) struct Wish {
    /// Whether the session may.
    pub(crate) verdict: Verdict,
    /// Why a plugin had no answer.
    pub(crate) error: Option<ScriptError>,
}

/// Whether this session may subscribe to a topic.
pub(crate) fn wish(rulebook: &Rulebook, person: &Person, topic: &Topic, respond: Respond<'_>) -> Wish {
    let session = SessionView { user: &person.user, tenant: &person.tenant, attributes: &person.attributes };
    let (mut machines, mut questions) = (Machines::new(rulebook), Questions::default());
    let unknown: Answer = Err(LookupError::Unavailable("its answer is not known".to_owned()));
    let mut ask = |call: &Call| questions.answer(rulebook, Some(&person.tenant), call, respond, &unknown);
    let mut error = None;
    let verdict = match rulebook.topics.judge(&session, topic) {
        Judgement::Verdict(verdict) => verdict,
        Judgement::Ask(call) => TopicRules::verdict(&ask(&call)),
        Judgement::Run(call) => {
            let mut step = machines.authorize(call, &session, topic);
            let said = loop {
                match step {
                    Progress::Done(said) => break said,
                    // Here all is run at once.
                    Progress::Away(errand) => {
                        step = machines.resume_authorize(call, &person.tenant, Held::Away(errand), unknown.clone());
                    }
                    Progress::Asks(lookup, held) => {
                        let answer = match machines.query(&lookup.query) {
                            Some(query) => ask(&Call { query, binds: lookup.binds }),
                            None => Err(LookupError::Failed(format!("no query is named `{}`", lookup.query))),
                        };
                        step = machines.resume_authorize(call, &person.tenant, held, answer);
                    }
                }
            };
            let verdict = TopicRules::verdict_of_script(&said);
            error = said.err();
            verdict
        }
    };
    Wish { verdict, error }
}
