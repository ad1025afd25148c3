//! An event's way without a server: decoded, decided, its queries answered by whoever rehearses.

use std::time::{Duration, Instant};

use bytes::Bytes;
use compact_str::CompactString;

use super::answers::unbound;
use super::machines::{Logged, Machines};
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

/// What is known of a query's answer: its name, `:tenant`, what else is bound.
pub(crate) type Respond<'r> = &'r dyn Fn(&str, Option<&TenantId>, &Binds) -> Option<Answer>;

/// What was asked so far, each different question once.
#[derive(Debug, Default)]
pub(super) struct Questions(pub(super) Vec<Asked>);

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

impl Questions {
    /// The answer to a call. What is not known is taken for `otherwise`.
    pub(super) fn answer(
        &mut self,
        rulebook: &Rulebook,
        tenant: Option<&TenantId>,
        call: &Call,
        respond: Respond<'_>,
        otherwise: &Answer,
    ) -> Answer {
        let query = query_name(rulebook, call);
        let known = self.0.iter().find(|one| one.query == query && one.binds == call.binds);
        let answer = if let Some(asked) = known {
            asked.answer.clone()
        } else {
            let asked = rulebook.queries.queries.get(usize::from(call.query.0));
            let unbound = asked.and_then(|asked| unbound(asked, tenant, &call.binds));
            let answer = unbound.or_else(|| respond(&query, tenant, &call.binds));
            let (tenant, binds) = (tenant.cloned(), call.binds.clone());
            self.0.push(Asked { query, tenant, binds, answer: answer.clone() });
            answer
        };
        answer.unwrap_or_else(|| otherwise.clone())
    }
}

impl Rehearsal {
    /// Lets an event go its way. What `respond` does not know is taken for `otherwise`.
    pub(crate) fn of(
        rulebook: &Rulebook,
        published: &Published,
        respond: Respond<'_>,
        otherwise: &Answer,
    ) -> Result<Self, DecodeError> {
        #[expect(clippy::disallowed_methods, reason = "how long it takes is a part of what is told")]
        let start = Instant::now();
        let header = |name: &str| {
            let header = published.headers.iter().find(|(known, _)| known == name);
            header.map_or(Scalar::Null, |(_, value)| value.clone())
        };
        let headers = || published.headers.iter().cloned().collect();
        let envelope = Envelope { routing_key: published.routing_key.as_deref(), header: &header, headers: &headers };
        let event = rulebook.decoder.decode(published.body.clone(), envelope, start)?;
        let tenant = event.tenant().cloned();
        let (mut machines, mut questions) = (Machines::new(rulebook), Questions::default());
        let plan = rulebook.routes.decide(event, &mut machines);
        let plan = rulebook.routes.with_known(plan, &mut machines, |call| {
            Some(questions.answer(rulebook, tenant.as_ref(), call, respond, otherwise))
        });
        let decision = match plan {
            Plan::Decided(decision) => decision,
            Plan::Waits(pending) => pending.finish(),
        };
        let took = start.elapsed();
        Ok(Self { decision, asked: questions.0, log: machines.take_log(), took })
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
    pub(super) fn asked_by(&self, rulebook: &Rulebook, call: &Call) -> Option<&Asked> {
        let query = query_name(rulebook, call);
        self.asked.iter().find(|asked| asked.query == query && asked.binds == call.binds)
    }
}

fn query_name(rulebook: &Rulebook, call: &Call) -> CompactString {
    let query = rulebook.queries.queries.get(usize::from(call.query.0));
    query.map_or_else(|| "?".into(), |query| query.name.clone())
}
