//! Topic rules, compiled: who may subscribe to what. The first that matches decides; where none does, nobody may.

use std::sync::Arc;

use crate::auth::Attributes;
use crate::config::{QueryId, ScriptCall, TopicAllow, TopicPlace, TopicRule};
use crate::event::{TenantId, Topic, TopicPattern, UserId, Value};
use crate::lookup::{Binds, LookupError};
use crate::shard::Verdict;

use super::script::{Asks, Plugin, ScriptError, ScriptFailure};
use super::{Answer, Call};

/// The compiled topic rules.
#[derive(Debug)]
pub struct TopicRules {
    rules: Box<[TopicRule]>,
    /// The plugins that they may call, by [`PluginId`](crate::config::PluginId).
    plugins: Box<[Arc<Plugin>]>,
}

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
    /// A plugin has to be asked first; [`TopicRules::verdict_of_script`] makes a verdict of what it says.
    Run(ScriptCall),
}

impl TopicRules {
    /// Compiles the rules, which call some of these plugins.
    pub fn compile(rules: Vec<TopicRule>, plugins: &[Arc<Plugin>]) -> Self {
        Self { rules: rules.into(), plugins: plugins.into() }
    }

    /// Whether `session` may subscribe to `topic`, or what has to be asked to know.
    pub fn judge(&self, session: &SessionView<'_>, topic: &Topic) -> Judgement {
        self.rules
            .iter()
            .find_map(|rule| Some(judge(&rule.allow, session, &rule.pattern.matches(topic)?)))
            .unwrap_or(Judgement::Verdict(Verdict::Denied))
    }

    /// The pattern of the rule that decides about a topic. `None` where none matches.
    pub fn deciding(&self, topic: &Topic) -> Option<&TopicPattern> {
        self.rules.iter().map(|rule| &rule.pattern).find(|pattern| pattern.matches(topic).is_some())
    }

    /// The patterns of the rules that ask this query, of this name, or whose plugin may ask it: who is subscribed to a
    /// topic of another pattern is there by another rule.
    pub fn asking(&self, query: QueryId, name: &str) -> Vec<TopicPattern> {
        let asks = |rule: &&TopicRule| match &rule.allow {
            TopicAllow::Query(call) => call.query == query,
            TopicAllow::Script(call) => self.may_ask(*call, name),
            TopicAllow::Always | TopicAllow::Never | TopicAllow::When(_) => false,
        };
        self.rules.iter().filter(asks).map(|rule| rule.pattern.clone()).collect()
    }

    /// Whether the plugin of this call may ask the query of this name.
    pub fn may_ask(&self, call: ScriptCall, name: &str) -> bool {
        let plugin = self.plugins.get(usize::from(call.plugin.0));
        plugin.is_none_or(|plugin| match plugin.asks() {
            Asks::Nothing => false,
            Asks::Named(names) => names.iter().any(|known| known == name),
            Asks::Any => true,
        })
    }

    /// All patterns that there are rules for.
    pub fn patterns(&self) -> impl Iterator<Item = &TopicPattern> {
        self.rules.iter().map(|rule| &rule.pattern)
    }

    /// The calls of plugins that the rules make.
    pub fn script_calls(&self) -> impl Iterator<Item = ScriptCall> {
        self.rules.iter().filter_map(|rule| match &rule.allow {
            TopicAllow::Script(call) => Some(*call),
            _ => None,
        })
    }

    /// The verdict that a plugin's word means. One that failed allows nothing.
    pub fn verdict_of_script(said: &Result<bool, ScriptError>) -> Verdict {
        match said {
            Ok(allowed) => allowed_if(*allowed),
            // It will have an answer when it is back, or when the database is.
            Err(ScriptError { kind: ScriptFailure::Lookup | ScriptFailure::Breaker, .. }) => Verdict::Unavailable,
            Err(_) => Verdict::Denied,
        }
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
