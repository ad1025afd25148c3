//! What the routes of one event wait for, and what came of that.

use std::sync::Arc;

use super::script::Routing;
use super::{Answer, Call, Errand};

/// Questions of one event at most: a script that goes on asking gets no more answers.
pub(super) const CALLS: usize = 256;

/// Which question of a plan an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(usize);

/// What an event waits for.
#[derive(Clone, Debug)]
pub enum Question {
    /// An answer of the database.
    Query(Call),
    /// That somebody runs a plugin. Any answer says that it was done.
    Errand(Arc<Errand<Routing>>),
}

/// The questions of one event, each different query once.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<(Question, Option<Answer>)>,
    /// How many of them were given out to be asked, or need not be.
    taken: usize,
}

impl Calls {
    /// A query that somebody waits for.
    pub(super) fn add(&mut self, call: Call) -> CallId {
        let is_same = |question: &Question| matches!(question, Question::Query(other) if *other == call);
        let known = self.calls.iter().position(|(question, _)| is_same(question));
        known.map_or_else(|| self.push(Question::Query(call)), CallId)
    }

    /// A plugin's run that somebody waits for.
    pub(super) fn add_errand(&mut self, errand: Arc<Errand<Routing>>) -> CallId {
        self.push(Question::Errand(errand))
    }

    /// The query of this id.
    pub(super) fn get(&self, CallId(index): CallId) -> Option<&Call> {
        self.calls.get(index)?.0.query()
    }

    /// Whether there are as many queries as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.calls.iter().filter(|(question, _)| question.query().is_some()).count() >= CALLS
    }

    /// What a question was answered.
    pub(super) fn answer_of(&self, CallId(index): CallId) -> Option<&Answer> {
        self.calls.get(index)?.1.as_ref()
    }

    /// Takes an answer. `false` where there is one: only the first one counts.
    pub(super) fn answer(&mut self, CallId(index): CallId, answer: &Answer) -> bool {
        let Some((_, slot)) = self.calls.get_mut(index).filter(|(_, slot)| slot.is_none()) else { return false };
        *slot = Some(answer.clone());
        true
    }

    /// The query of this number, where it has no answer.
    pub(super) fn unanswered(&self, index: usize) -> Option<(CallId, Option<&Call>)> {
        let (question, answer) = self.calls.get(index)?;
        Some((CallId(index), question.query().filter(|_| answer.is_none())))
    }

    /// Whether each has its answer.
    pub(super) fn are_answered(&self) -> bool {
        self.calls.iter().all(|(_, answer)| answer.is_some())
    }

    /// Those without an answer that were not taken before.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (CallId, Question)> + '_ {
        let from = std::mem::replace(&mut self.taken, self.calls.len());
        let new = self.calls.iter().enumerate().skip(from);
        new.filter(|(_, (_, answer))| answer.is_none()).map(|(index, (question, _))| (CallId(index), question.clone()))
    }

    fn push(&mut self, question: Question) -> CallId {
        self.calls.push((question, None));
        CallId(self.calls.len() - 1)
    }
}

impl Question {
    /// The query, where it is one.
    pub fn query(&self) -> Option<&Call> {
        match self {
            Self::Query(call) => Some(call),
            Self::Errand(_) => None,
        }
    }
}
