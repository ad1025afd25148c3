//! What routing makes of one event: a decision, or first some questions and then a decision.
//!
//! Invariant: plan and decision own their event, so that an audience cannot be made of another one's tenant. A
//! decision is reached from answers alone: what was not answered counts as failed.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Action, RouteId};
use crate::config::QueryId;
use crate::event::{Audience, Clause, Event, Scalar, UserId};
use crate::lookup::{Binds, LookupError, Rows};

/// What a query call was answered.
pub type Answer = Result<Arc<Rows>, LookupError>;

/// One question to the database, beside `:tenant`, which is the event's or the session's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Which query.
    pub query: QueryId,
    /// What is bound.
    pub binds: Binds,
}

/// Which call of a plan an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(usize);

/// The first step of routing.
#[derive(Debug)]
pub enum Plan {
    /// Nothing had to be asked.
    Decided(Decision),
    /// Queries have to be answered first.
    Waits(Pending),
}

/// An event whose routes wait for answers.
#[derive(Debug)]
pub struct Pending {
    event: Event,
    parts: SmallVec<[Part; 1]>,
    calls: Vec<(CallId, Call)>,
    answers: Vec<Option<Answer>>,
}

/// What the routes made of an event.
#[derive(Debug)]
pub struct Decision {
    event: Event,
    decided: SmallVec<[Decided; 1]>,
}

/// What one route made of an event.
#[derive(Debug)]
pub struct Decided {
    /// The route, whose condition held.
    pub route: RouteId,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a route whose condition held.
#[derive(Debug)]
pub enum Outcome {
    /// The event goes to these sessions.
    Audience(Audience),
    /// The route names nobody: its list is empty, or the fields that it names people by are.
    Nobody,
    /// The route is about sessions of the event's tenant, and the event names none.
    NoTenant,
    /// The route is about everyone, and the event names a tenant.
    EveryoneOfATenant,
    /// The event goes to nobody, and leads to these.
    Act(SmallVec<[Action; 1]>),
    /// A query had no answer that the route needs, or one before it that says who gets a part of the payload alone.
    LookupFailed(LookupError),
}

/// A route that held, and what is known of its outcome.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) route: RouteId,
    pub(super) draft: Draft,
}

/// An outcome, or what it will be made of.
#[derive(Debug)]
pub(super) enum Draft {
    Done(Outcome),
    Open(SmallVec<[OpenClause; 1]>),
}

/// A clause, and the call whose rows are its users.
#[derive(Debug)]
pub(super) struct OpenClause {
    pub(super) clause: Clause,
    pub(super) users: Option<CallId>,
}

/// The calls of one event, each different one once.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

impl OpenClause {
    pub(super) fn is_open(&self) -> bool {
        self.users.is_some()
    }
}

impl Draft {
    /// Whether it leads to something else than that somebody gets the event.
    fn acts(&self) -> bool {
        matches!(self, Self::Done(Outcome::Act(_)))
    }

    /// Whether some of whom it is about would get a part of the payload alone.
    fn says_payload(&self) -> bool {
        match self {
            Self::Done(_) => false,
            Self::Open(clauses) => clauses.iter().any(|open| open.clause.payload.is_some()),
        }
    }
}

impl Calls {
    /// The call of this id.
    pub(super) fn get(&self, id: CallId) -> &Call {
        &self.0[id.0]
    }

    pub(super) fn add(&mut self, call: Call) -> CallId {
        let known = self.0.iter().position(|other| *other == call);
        CallId(known.unwrap_or_else(|| {
            self.0.push(call);
            self.0.len() - 1
        }))
    }
}

impl Plan {
    pub(super) fn new(event: Event, parts: SmallVec<[Part; 1]>, calls: Calls) -> Self {
        let answers = vec![None; calls.0.len()];
        let calls = calls.0.into_iter().enumerate().map(|(index, call)| (CallId(index), call)).collect();
        let pending = Pending { event, parts, calls, answers };
        Self::of(pending)
    }

    fn of(pending: Pending) -> Self {
        if pending.is_answered() { Self::Decided(pending.finish()) } else { Self::Waits(pending) }
    }

    /// What the event leads to beside being sent, known before its routes have all that they wait for.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        let (decided, parts) = match self {
            Self::Decided(decision) => (decision.decided.as_slice(), &[][..]),
            Self::Waits(pending) => (&[][..], pending.parts.as_slice()),
        };
        let parts = parts.iter().filter_map(|part| match &part.draft {
            Draft::Done(outcome) => Some(outcome),
            Draft::Open(_) => None,
        });
        decided.iter().map(|decided| &decided.outcome).chain(parts).flat_map(Outcome::actions)
    }

    /// The same plan with those calls answered whose answer `known` has.
    #[must_use]
    pub fn with_known(self, mut known: impl FnMut(&Call) -> Option<Answer>) -> Self {
        let Self::Waits(mut pending) = self else { return self };
        let Pending { calls, answers, .. } = &mut pending;
        calls.retain(|(CallId(index), call)| {
            answers[*index] = known(call);
            answers[*index].is_none()
        });
        Self::of(pending)
    }
}

impl Pending {
    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// What has to be asked. Taken once: the next time there is nothing.
    pub fn take_calls(&mut self) -> impl ExactSizeIterator<Item = (CallId, Call)> + use<> {
        std::mem::take(&mut self.calls).into_iter()
    }

    /// Takes the answer to a call. Only the first one counts.
    pub fn answer(&mut self, call: CallId, answer: Answer) {
        if let Some(slot) = self.answers.get_mut(call.0) {
            slot.get_or_insert(answer);
        }
    }

    /// Whether every call has its answer.
    pub fn is_answered(&self) -> bool {
        self.answers.iter().all(Option::is_some)
    }

    /// The decision. A call without an answer counts as failed, and with it the routes after one that narrows payloads.
    pub fn finish(self) -> Decision {
        let Self { event, parts, answers, .. } = self;
        // A route that would have said what its sessions get of the payload, had it been answered. Those that follow it
        // are not to give the same sessions more.
        let mut unanswered: Option<LookupError> = None;
        let decided = parts.into_iter().map(|Part { route, draft }| {
            let says_payload = draft.says_payload();
            // By one that acts nobody gets anything.
            let unknown = unanswered.as_ref().filter(|_| !draft.acts());
            let outcome = match (draft, unknown) {
                (_, Some(error)) => Outcome::LookupFailed(error.clone()),
                (Draft::Done(outcome), None) => outcome,
                (Draft::Open(clauses), None) => close(&event, clauses, &answers),
            };
            if let (Outcome::LookupFailed(error), true) = (&outcome, says_payload) {
                unanswered.get_or_insert_with(|| error.clone());
            }
            Decided { route, outcome }
        });
        let decided = decided.collect();
        Decision { event, decided }
    }
}

/// The outcome of a route whose queries were answered.
fn close(event: &Event, clauses: SmallVec<[OpenClause; 1]>, answers: &[Option<Answer>]) -> Outcome {
    let mut closed = SmallVec::new();
    for OpenClause { mut clause, users } in clauses {
        if let Some(CallId(index)) = users {
            let rows = match answers.get(index).and_then(Option::as_ref) {
                Some(Ok(rows)) => rows,
                Some(Err(error)) => return Outcome::LookupFailed(error.clone()),
                None => return Outcome::LookupFailed(LookupError::Unavailable("it was not asked".to_owned())),
            };
            let users: SmallVec<[UserId; 1]> = users_of(rows).collect();
            if users.is_empty() {
                continue;
            }
            clause.users = Some(users);
        }
        closed.push(clause);
    }
    Outcome::of_tenant(event, closed)
}

/// The users that a query's rows name: their first column.
fn users_of(rows: &Rows) -> impl Iterator<Item = UserId> + '_ {
    rows.rows.iter().filter_map(|row| UserId::from_scalar(row.first().unwrap_or(&Scalar::Null)))
}

impl Outcome {
    /// What it leads to beside the event's being sent.
    pub fn actions(&self) -> &[Action] {
        match self {
            Self::Act(actions) => actions,
            _ => &[],
        }
    }

    pub(super) fn of_tenant(event: &Event, clauses: SmallVec<[Clause; 1]>) -> Self {
        if clauses.is_empty() {
            return Self::Nobody;
        }
        Audience::of_tenant(event, clauses).map_or(Self::NoTenant, Self::Audience)
    }
}

impl Decision {
    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// What each route that held made of it, in order. Empty: no route held.
    pub fn decided(&self) -> &[Decided] {
        &self.decided
    }

    /// What the event leads to beside being sent.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.decided.iter().flat_map(|decided| decided.outcome.actions())
    }

    /// Whether somebody may get the event.
    pub fn has_audience(&self) -> bool {
        self.decided.iter().any(|decided| matches!(decided.outcome, Outcome::Audience(_)))
    }

    /// The event, and who shall get it: the union of these.
    pub fn into_audiences(self) -> (Event, SmallVec<[Audience; 1]>) {
        let audiences = self.decided.into_iter().filter_map(|decided| match decided.outcome {
            Outcome::Audience(audience) => Some(audience),
            _ => None,
        });
        (self.event, audiences.collect())
    }
}
