//! What routing makes of one event: a decision, or first some questions and then a decision.
//!
//! Invariant: plan and decision own their event, so that an audience cannot be made of another one's tenant. A
//! decision is reached from answers alone: what was not answered counts as failed.

use std::sync::Arc;

use compact_str::CompactString;
use smallvec::{SmallVec, smallvec};

use super::calls::{CallId, Calls};
use super::script::{Routing, ScriptError, ScriptFailure};
use super::{Action, Held, Question, RouteId};
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

/// The first step of routing.
#[derive(Debug)]
pub enum Plan {
    /// Nothing had to be asked.
    Decided(Decision),
    /// Queries have to be answered first. [`RouteTable::answer`](super::RouteTable::answer) takes the answers.
    Waits(Pending),
}

/// An event whose routes wait for answers.
#[derive(Debug)]
pub struct Pending {
    pub(super) event: Event,
    pub(super) parts: SmallVec<[Part; 1]>,
    pub(super) calls: Calls,
    /// What routes do that hold, but are tried only should a script fail that has not ended.
    pub(super) foretold: Vec<Action>,
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
    /// The route's script says that nobody gets the event, for this reason.
    Dropped(CompactString),
    /// The route is about sessions of the event's tenant, and the event names none.
    NoTenant,
    /// The route is about everyone, and the event names a tenant.
    EveryoneOfATenant,
    /// The event goes to nobody, and leads to these.
    Act(Vec<Action>),
    /// A query had no answer that the route needs, or one before it that says who gets a part of the payload alone.
    LookupFailed(LookupError),
    /// The route's script failed, or one before it that may say who gets another payload.
    ScriptFailed(ScriptError),
}

/// A route that held, and what is known of its outcome.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) route: RouteId,
    pub(super) draft: Draft,
    /// Where it fails, nobody knows who would have got another payload by it: those that follow are not to give the same
    /// sessions more.
    pub(super) says_payload: bool,
}

/// An outcome, or what it will be made of.
#[derive(Debug)]
pub(super) enum Draft {
    Done(Outcome),
    Open(Vec<Clause>, Box<[Asked]>),
    Runs(Box<Running>),
}

/// That the rows of a call are the users of a clause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Its position among the clauses.
    pub(super) clause: usize,
    pub(super) call: CallId,
}

/// A script that waits for an answer.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) held: Held<Routing>,
    pub(super) waits_for: CallId,
}

impl Draft {
    /// Whether it leads to something else than that somebody gets the event.
    fn acts(&self) -> bool {
        matches!(self, Self::Done(Outcome::Act(_)))
    }

    /// Takes the script out that waits for this.
    pub(super) fn take_running(&mut self, call: CallId) -> Option<Running> {
        if !matches!(self, Self::Runs(running) if running.waits_for == call) {
            return None;
        }
        match std::mem::replace(self, Self::Open(Vec::new(), Box::default())) {
            Self::Runs(running) => Some(*running),
            Self::Done(_) | Self::Open(..) => None,
        }
    }
}

impl Plan {
    pub(super) fn of(pending: Pending) -> Self {
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
            Draft::Open(..) | Draft::Runs(_) => None,
        });
        decided.iter().map(|decided| &decided.outcome).chain(parts).flat_map(Outcome::actions)
    }

    /// What the event leads to should a script fail, beside [`actions`](Self::actions).
    pub fn foretold(&self) -> &[Action] {
        match self {
            Self::Decided(_) => &[],
            Self::Waits(pending) => &pending.foretold,
        }
    }
}

impl Pending {
    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// What has to be asked. Each is taken once: the next time there is what has come up since, as scripts went on.
    pub fn take_calls(&mut self) -> impl Iterator<Item = (CallId, Question)> + '_ {
        self.calls.take()
    }

    /// Whether every call has its answer.
    pub fn is_answered(&self) -> bool {
        // A script that has not ended waits for one of them.
        self.calls.are_answered()
    }

    /// The decision. A call without an answer counts as failed, and with it the routes after one that narrows payloads.
    pub fn finish(self) -> Decision {
        let Self { event, parts, calls, .. } = self;
        let mut unknown: Option<Failure> = None;
        let decided = parts.into_iter().map(|Part { route, draft, says_payload }| {
            // By one that acts nobody gets anything.
            let outcome = match (draft, &unknown) {
                (draft, Some(failure)) if !draft.acts() => failure.outcome(),
                (Draft::Done(outcome), _) => outcome,
                (Draft::Open(clauses, asked), _) => close(&event, clauses, &asked, &calls),
                (Draft::Runs(_), _) => Outcome::ScriptFailed(never_answered()),
            };
            if says_payload && unknown.is_none() {
                unknown = Failure::of(&outcome);
            }
            Decided { route, outcome }
        });
        let decided = decided.collect();
        Decision { event, decided }
    }
}

/// What a route lacked.
enum Failure {
    Lookup(LookupError),
    Script(ScriptError),
}

impl Failure {
    fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::LookupFailed(error) => Some(Self::Lookup(error.clone())),
            Outcome::ScriptFailed(error) => Some(Self::Script(error.clone())),
            _ => None,
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Lookup(error) => Outcome::LookupFailed(error.clone()),
            Self::Script(error) => Outcome::ScriptFailed(error.clone()),
        }
    }
}

/// The outcome of a route whose queries were answered.
fn close(event: &Event, mut clauses: Vec<Clause>, asked: &[Asked], calls: &Calls) -> Outcome {
    for Asked { clause, call } in asked {
        let rows = match calls.answer_of(*call) {
            Some(Ok(rows)) => rows,
            Some(Err(error)) => return Outcome::LookupFailed(error.clone()),
            None => return Outcome::LookupFailed(LookupError::Unavailable("it was not asked".to_owned())),
        };
        clauses[*clause].users = Some(users_of(rows).collect());
    }
    clauses.retain(|clause| !clause.users.as_ref().is_some_and(SmallVec::is_empty));
    Outcome::of_tenant(event, clauses)
}

fn never_answered() -> ScriptError {
    let message = "what the plugin asks for was not answered".to_owned();
    ScriptError { kind: ScriptFailure::Lookup, line: None, message }
}

/// The users that a query's rows name: their first column.
pub(super) fn users_of(rows: &Rows) -> impl Iterator<Item = UserId> + '_ {
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

    pub(super) fn of_tenant(event: &Event, clauses: Vec<Clause>) -> Self {
        if clauses.is_empty() {
            return Self::Nobody;
        }
        Audience::of_tenant(event, clauses).map_or(Self::NoTenant, Self::Audience)
    }

    /// The outcome of a script for this event: whatever it names is of the event's tenant.
    pub(super) fn of_script(event: &Event, said: Result<Routing, ScriptError>) -> Self {
        let Routing { clauses, dropped } = match said {
            Ok(routing) => routing,
            Err(error) => return Self::ScriptFailed(error),
        };
        if let Some(reason) = dropped {
            return Self::Dropped(reason);
        }
        Self::of_tenant(event, clauses)
    }
}

impl Decision {
    /// That one route alone decided.
    pub(super) fn new(event: Event, decided: Decided) -> Self {
        Self { event, decided: smallvec![decided] }
    }

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
