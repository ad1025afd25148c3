//! What routes do beside sending an event, compiled.

use compact_str::CompactString;
use smallvec::SmallVec;

use super::Outcome;
use super::audience::{List, filled};
use crate::config::{ActionRule, ForgetRule, QueryId};
use crate::event::{Event, Path, Slot, Template, UserId};
use crate::lookup::Forget;

/// What an event leads to beside being sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// What a query has answered is no longer good.
    Forget(Forget),
    /// The connections of these users of the event's tenant are to be closed.
    Disconnect(SmallVec<[UserId; 1]>),
}

/// What an action rule says.
#[derive(Debug)]
pub(super) enum CompiledAction {
    Forget { query: QueryId, with: Box<[(CompactString, Template<Slot>)]>, of_tenant: bool },
    Disconnect(List),
}

impl CompiledAction {
    /// Compiles a rule; `slot` answers the slot of a path.
    pub(super) fn compile(rule: ActionRule, slot: &mut impl FnMut(Path) -> Slot) -> Self {
        match rule {
            ActionRule::Forget(ForgetRule { query, with, of_tenant }) => {
                let with = with.into_iter().map(|(name, template)| (name, template.map(&mut *slot))).collect();
                Self::Forget { query, with, of_tenant }
            }
            ActionRule::Disconnect(list) => Self::Disconnect(List::compile(list, slot)),
        }
    }

    fn needs_tenant(&self) -> bool {
        match self {
            Self::Forget { of_tenant, .. } => *of_tenant,
            Self::Disconnect(_) => true,
        }
    }

    /// The action for one event. `None` where there is nobody whom it names.
    fn draft(&self, event: &Event) -> Option<Action> {
        match self {
            Self::Forget { query, with, .. } => {
                // A bind that cannot be filled narrows nothing: rather too much is forgotten than too little.
                let binds = with.iter().filter_map(|(name, template)| Some((name.clone(), filled(template, event)?)));
                Some(Action::Forget(Forget { query: *query, binds: binds.collect() }))
            }
            Self::Disconnect(list) => list.read(event).map(Action::Disconnect),
        }
    }
}

/// What these actions come to for an event: all of them, or none where it lacks the tenant that one of them needs.
pub(super) fn outcome(actions: &[CompiledAction], event: &Event) -> Outcome {
    if event.tenant().is_none() && actions.iter().any(CompiledAction::needs_tenant) {
        return Outcome::NoTenant;
    }
    let actions: Vec<Action> = actions.iter().filter_map(|action| action.draft(event)).collect();
    if actions.is_empty() { Outcome::Nobody } else { Outcome::Act(actions) }
}
