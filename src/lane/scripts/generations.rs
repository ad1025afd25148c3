//! What is kept for each plugin of each rulebook that somebody holds.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::config::PluginId;
use crate::reload::Rulebook;
use crate::route::script::Plugin;

/// How often it is looked whether generations have gone.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What is kept for the plugins of each rulebook.
#[derive(Debug)]
pub(crate) struct Generations<M> {
    /// One, and for a short time after a change two or three.
    of: Vec<OfRulebook<M>>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct OfRulebook<M> {
    rulebook: Weak<Rulebook>,
    /// By [`PluginId`]: of those that were called, or prepared.
    plugins: Box<[Option<M>]>,
}

impl<M> Generations<M> {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { of: Vec::new(), swept: None }
    }

    /// Something is done at this time: from now on there may be something to let go of.
    pub(crate) fn stir(&mut self, now: Instant) {
        self.swept.get_or_insert(now);
    }

    /// What is kept for a plugin, made where nothing is. `None` where the rulebook has no such plugin.
    pub(crate) fn get(
        &mut self,
        rulebook: &Arc<Rulebook>,
        id: PluginId,
        make: impl FnOnce(&Arc<Plugin>) -> M,
    ) -> Option<&mut M> {
        let known = self.of.iter().position(|of| std::ptr::eq(of.rulebook.as_ptr(), Arc::as_ptr(rulebook)));
        let at = known.unwrap_or_else(|| {
            let plugins = rulebook.plugins.iter().map(|_| None).collect();
            self.of.push(OfRulebook { rulebook: Arc::downgrade(rulebook), plugins });
            self.of.len() - 1
        });
        let slot = self.of[at].plugins.get_mut(usize::from(id.0))?;
        let plugin = rulebook.plugins.get(usize::from(id.0))?;
        Some(slot.get_or_insert_with(|| make(plugin)))
    }

    /// When to look whether generations have gone that are not in force.
    pub(crate) fn due(&self, in_force: &Weak<Rulebook>) -> Option<Instant> {
        let is_letting_go = self.of.iter().any(OfRulebook::is_gone);
        let wait = if is_letting_go { Duration::ZERO } else { SWEEP_EVERY };
        let is_former = |of: &OfRulebook<M>| !Weak::ptr_eq(&of.rulebook, in_force);
        (is_letting_go || self.of.iter().any(is_former)).then_some(self.swept? + wait)
    }

    /// Lets go of what is kept for a plugin of a rulebook that nobody holds any more. Of one at a time: events go on
    /// between.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if let Some(at) = self.of.iter().position(OfRulebook::is_gone) {
            let plugins = &mut self.of[at].plugins;
            drop(plugins.iter_mut().find_map(Option::take));
            if plugins.iter().all(Option::is_none) {
                self.of.remove(at);
            }
        }
        self.swept = Some(now);
    }

    /// Lets go of everything.
    pub(crate) fn clear(&mut self) {
        self.of.clear();
    }

    /// Of how many rulebooks something is kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }
}

impl<M> OfRulebook<M> {
    fn is_gone(&self) -> bool {
        self.rulebook.strong_count() == 0
    }
}
