//! What sessions have, after a change of the rules: tenant by tenant, judged by the rules that are in force now.
//!
//! No event waits for it: what a session has by rules that were in force until now is no secret that it learns.
//!
//! Invariant: so many tenants are under way at once, and no more; each ends in its time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::review::{About, Before, Reviews, widen};
use super::state::Effect;
use crate::event::TenantId;
use crate::reload::Rulebook;

/// Tenants of one lane whose sessions are looked at at once.
pub const SWAP_TENANTS: usize = 8;

/// A change of the rules that is being gone through.
#[derive(Debug)]
pub(super) struct Swap {
    pub(super) reviews: Reviews,
    /// Those whose turn has not come.
    tenants: VecDeque<TenantId>,
    /// By which rules they have what they have, and by which they are judged.
    rules: Option<(Before, Arc<Rulebook>)>,
}

impl Default for Swap {
    fn default() -> Self {
        Self { reviews: Reviews::of_swaps(), tenants: VecDeque::new(), rules: None }
    }
}

impl Swap {
    /// Whether nobody is under way, and nobody's turn is to come.
    pub(super) fn is_idle(&self) -> bool {
        self.tenants.is_empty() && self.reviews.is_idle()
    }

    /// Takes up a change to this rulebook, for these tenants. What was under way is widened by it.
    pub(super) fn begin(&mut self, before: Arc<Rulebook>, rulebook: &Arc<Rulebook>, tenants: Vec<TenantId>) {
        let mut all = Some(vec![before]);
        if let Some((earlier, _)) = self.rules.take().filter(|_| !self.is_idle()) {
            widen(&mut all, earlier);
        }
        self.tenants = tenants.into();
        self.rules = Some((all, Arc::clone(rulebook)));
    }

    /// Begins with as many as there is room for.
    pub(super) fn go_on(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        while self.reviews.len() < SWAP_TENANTS {
            let (Some((before, rulebook)), Some(tenant)) = (&self.rules, self.tenants.pop_front()) else { break };
            self.reviews.add(&tenant, About::Swapped(before.clone()), rulebook, now, effects);
        }
        if self.is_idle() {
            self.rules = None;
        }
    }

    /// A tenant's review has ended.
    pub(super) fn end(&mut self, tenant: &TenantId, now: Instant, effects: &mut Vec<Effect>) {
        self.reviews.end(tenant, now, effects);
        self.go_on(now, effects);
    }
}
