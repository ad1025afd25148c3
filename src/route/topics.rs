//! Topic rules, compiled: who may subscribe to what. The first that matches decides; where none does, nobody may.

use crate::auth::Attributes;
use crate::config::{QueryId, ScriptCall, TopicAllow, TopicPlace, TopicRule};
use crate::event::{TenantId, Topic, TopicPattern, UserId, Value};
use crate::lookup::{Binds, LookupError};
use crate::shard::Verdict;

use super::{Answer, Call};

/// The compiled topic rules.
#[derive(Debug)]
pub struct TopicRules(Box<[TopicRule]>);

/// What the rules see of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionView<'s> {
    /// Whose it is.
    pub user: &'s UserId,
    /// Of which tenant.
    pub tenant: &'s TenantId,
    /// What else is known of the user.
    pub attributes: &'s Attributes,
}

/// What the rules make of a wish to subscribe.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// That was all.
    Verdict(Verdict),
    /// This has to be asked first; [`TopicRules::verdict`] makes a verdict of the answer.
    Ask(Call),
    /// A plugin has to be asked first.
    Run(ScriptCall),
}

impl TopicRules {
    /// Compiles the rules.
    pub fn compile(rules: Vec<TopicRule>) -> Self {
        Self(rules.into())
    }

    /// Whether `session` may subscribe to `topic`, or what has to be asked to know.
    pub fn judge(&self, session: &SessionView<'_>, topic: &Topic) -> Judgement {
        self.0
            .iter()
            .find_map(|rule| Some(judge(&rule.allow, session, &rule.pattern.matches(topic)?)))
            .unwrap_or(Judgement::Verdict(Verdict::Denied))
    }

    /// The pattern of the rule that decides about a topic. `None` where none matches.
    pub fn deciding(&self, topic: &Topic) -> Option<&TopicPattern> {
        self.0.iter().map(|rule| &rule.pattern).find(|pattern| pattern.matches(topic).is_some())
    }

    /// The patterns of the rules that ask this query: who is subscribed to a topic of another pattern is there by
    /// another rule.
    pub fn asking(&self, query: QueryId) -> Vec<TopicPattern> {
        let asks = |rule: &&TopicRule| matches!(&rule.allow, TopicAllow::Query(call) if call.query == query);
        self.0.iter().filter(asks).map(|rule| rule.pattern.clone()).collect()
    }

    /// The verdict that an answer to [`Judgement::Ask`] means: any row allows.
    pub fn verdict(answer: &Answer) -> Verdict {
        match answer {
            Ok(rows) => allowed_if(!rows.rows.is_empty()),
            // The topic names what cannot be.
            Err(LookupError::Unfit(_)) => Verdict::Denied,
            Err(_) => Verdict::Unavailable,
        }
    }
}

fn judge(allow: &TopicAllow, session: &SessionView<'_>, caught: &[&str]) -> Judgement {
    let mut resolve = |place: &TopicPlace| match place {
        TopicPlace::Capture(index) => caught.get(*index).map_or(Value::Absent, |text| Value::Text(text)),
        TopicPlace::User => Value::Text(session.user.as_str()),
        TopicPlace::Tenant => Value::Text(session.tenant.as_str()),
        TopicPlace::Attribute(name) => session.attributes.get(name),
    };
    let verdict = match allow {
        TopicAllow::Always => Verdict::Allowed,
        TopicAllow::Never => Verdict::Denied,
        TopicAllow::When(conditions) => allowed_if(conditions.iter().all(|(place, matcher)| {
            let value = resolve(place);
            matcher.matches(value, &mut resolve)
        })),
        TopicAllow::Script(call) => return Judgement::Run(*call),
        TopicAllow::Query(call) => {
            let binds: Option<Binds> =
                call.with.iter().map(|(name, template)| Some((name.clone(), template.scalar(&mut resolve)?))).collect();
            match binds {
                Some(binds) => return Judgement::Ask(Call { query: call.query, binds }),
                // What the query would be asked about is not there: there can be no row for it.
                None => Verdict::Denied,
            }
        }
    };
    Judgement::Verdict(verdict)
}

fn allowed_if(allowed: bool) -> Verdict {
    if allowed { Verdict::Allowed } else { Verdict::Denied }
}
