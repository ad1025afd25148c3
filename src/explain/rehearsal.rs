//! An event's way without a server: decoded, decided, its queries answered by whoever rehearses.

use std::time::{Duration, Instant};

use bytes::Bytes;
use compact_str::CompactString;

use crate::event::{Audience, DecodeError, Envelope, Scalar, TenantId};
use crate::lookup::Binds;
use crate::reload::Rulebook;
use crate::route::{Answer, Call, Decision, Outcome, Plan};

/// What a back end publishes.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The body.
    pub body: Bytes,
    /// The routing key that it comes with, where it comes by AMQP.
    pub routing_key: Option<String>,
    /// The headers that it comes with.
    pub headers: Vec<(CompactString, Scalar)>,
}

/// A query that was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Its name.
    pub(crate) query: CompactString,
    /// What was bound as `:tenant`.
    pub(crate) tenant: Option<TenantId>,
    /// What else was bound.
    pub(crate) binds: Binds,
    /// What was answered. `None` where whoever rehearses does not know.
    pub(crate) answer: Option<Answer>,
}

/// A line that a plugin wrote to the log.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) plugin: CompactString,
    pub(crate) line: Option<usize>,
    pub(crate) is_warning: bool,
    pub(crate) text: String,
}

/// What an event came to.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    /// What the routes made of it.
    pub(crate) decision: Decision,
    /// What was asked, in order, each different question once.
    pub(crate) asked: Vec<Asked>,
    /// What plugins wrote to the log, in order.
    pub(crate) log: Vec<Logged>,
    /// From bytes to decision.
    pub(crate) took: Duration,
}

impl Rehearsal {
    /// Lets an event go its way. `respond` says what is known of a query's answer; what is not known is taken for
    /// `otherwise`.
    pub(crate) fn of(
        rulebook: &Rulebook,
        published: &Published,
        respond: &mut dyn FnMut(&str, Option<&TenantId>, &Binds) -> Option<Answer>,
        otherwise: &Answer,
    ) -> Result<Self, DecodeError> {
        #[expect(clippy::disallowed_methods, reason = "how long it takes is a part of what is told")]
        let start = Instant::now();
        let header = |name: &str| {
            let header = published.headers.iter().find(|(known, _)| known == name);
            header.map_or(Scalar::Null, |(_, value)| value.clone())
        };
        let envelope = Envelope { routing_key: published.routing_key.as_deref(), header: &header };
        let event = rulebook.decoder.decode(published.body.clone(), envelope, start)?;
        let tenant = event.tenant().cloned();
        let mut asked: Vec<Asked> = Vec::new();
        let mut answer = |call: &Call| {
            let query = query_name(rulebook, call);
            let known = asked.iter().find(|one| one.query == query && one.binds == call.binds);
            let answer = match known {
                Some(asked) => asked.answer.clone(),
                None => {
                    let answer = respond(&query, tenant.as_ref(), &call.binds);
                    let (tenant, binds) = (tenant.clone(), call.binds.clone());
                    asked.push(Asked { query, tenant, binds, answer: answer.clone() });
                    answer
                }
            };
            answer.unwrap_or_else(|| otherwise.clone())
        };
        let decision = match rulebook.routes.decide(event) {
            Plan::Decided(decision) => decision,
            Plan::Waits(mut pending) => {
                for (id, call) in pending.take_calls() {
                    pending.answer(id, answer(&call));
                }
                pending.finish()
            }
        };
        Ok(Self { decision, asked, log: Vec::new(), took: start.elapsed() })
    }

    /// Who shall get the event: the union of these.
    pub(crate) fn audiences(&self) -> Vec<Audience> {
        let audiences = self.decision.decided().iter().filter_map(|decided| match &decided.outcome {
            Outcome::Audience(audience) => Some(audience.clone()),
            _ => None,
        });
        audiences.collect()
    }

    /// What was asked by this call.
    pub(crate) fn asked_by(&self, rulebook: &Rulebook, call: &Call) -> Option<&Asked> {
        let query = query_name(rulebook, call);
        self.asked.iter().find(|asked| asked.query == query && asked.binds == call.binds)
    }
}

fn query_name(rulebook: &Rulebook, call: &Call) -> CompactString {
    let query = rulebook.queries.queries.get(usize::from(call.query.0));
    query.map_or_else(|| "?".into(), |query| query.name.clone())
}
