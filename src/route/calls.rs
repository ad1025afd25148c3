//! The questions that the routes of one event have, and their answers.

use super::{Answer, Call};

/// Questions of one event at most: a script that goes on asking gets no more answers.
pub(super) const CALLS: usize = 256;

/// Which call of a plan an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(usize);

/// The calls of one event, each different one once.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<(Call, Option<Answer>)>,
    /// How many of them were given out to be asked, or need not be.
    taken: usize,
}

impl Calls {
    /// A call that somebody waits for.
    pub(super) fn add(&mut self, call: Call) -> CallId {
        let known = self.calls.iter().position(|(other, _)| *other == call);
        CallId(known.unwrap_or_else(|| {
            self.calls.push((call, None));
            self.calls.len() - 1
        }))
    }

    /// The call of this id.
    pub(super) fn get(&self, CallId(index): CallId) -> &Call {
        &self.calls[index].0
    }

    /// Whether there are as many as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.calls.len() >= CALLS
    }

    /// What a call was answered.
    pub(super) fn answer_of(&self, CallId(index): CallId) -> Option<&Answer> {
        self.calls.get(index)?.1.as_ref()
    }

    /// Takes an answer. `false` where there is one: only the first one counts.
    pub(super) fn answer(&mut self, CallId(index): CallId, answer: &Answer) -> bool {
        let Some((_, slot)) = self.calls.get_mut(index).filter(|(_, slot)| slot.is_none()) else { return false };
        *slot = Some(answer.clone());
        true
    }

    /// The call of this number, where it has no answer.
    pub(super) fn unanswered(&self, index: usize) -> Option<(CallId, Option<&Call>)> {
        let (call, answer) = self.calls.get(index)?;
        Some((CallId(index), answer.is_none().then_some(call)))
    }

    /// Whether each has its answer.
    pub(super) fn are_answered(&self) -> bool {
        self.calls.iter().all(|(_, answer)| answer.is_some())
    }

    /// Those without an answer that were not taken before.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (CallId, Call)> + '_ {
        let from = std::mem::replace(&mut self.taken, self.calls.len());
        let new = self.calls.iter().enumerate().skip(from);
        new.filter(|(_, (_, answer))| answer.is_none()).map(|(index, (call, _))| (CallId(index), call.clone()))
    }
}
