//! What routes do beside sending events.

use super::routes::{Scope, list, one};
use super::templates;
use crate::config::diagnostics::Diagnostics;
use crate::config::model::{ActionRule, ForgetRule, ListRule};
use crate::config::raw::{At, Field, RawAction, RawDisconnect};

const EXAMPLE: &str = "write { forget: QUERY, with: { ... } } or { disconnect: { user: \"...\" } }";

/// The actions of one `do`, in order.
pub(super) fn actions(
    raw: &[At<RawAction>],
    scope: &Scope<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<ActionRule>> {
    let mut all = Vec::new();
    for raw in raw {
        let RawAction { forget: query, with, disconnect: users } = &raw.value;
        if query.is_missing()
            && let Some(with) = with.given()
        {
            diagnostics.error(&with.place, "`with` belongs to `forget`, and there is none");
            all.push(None);
        } else if query.is_missing() && users.is_missing() {
            diagnostics.error(&raw.place, "this does nothing").help(EXAMPLE);
            all.push(None);
        }
        if !query.is_missing() {
            all.push(forget(&raw.value, scope, diagnostics).map(ActionRule::Forget));
        }
        match users {
            Field::Missing => {}
            Field::Faulty => all.push(None),
            Field::Given(raw) => all.push(disconnect(raw, scope, diagnostics).map(ActionRule::Disconnect)),
        }
    }
    all.into_iter().collect()
}

fn forget(raw: &RawAction, scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Option<ForgetRule> {
    let name = raw.forget.given()?;
    for at in raw.with.value().iter().flat_map(|with| &with.0).filter_map(|(_, value)| value.given()) {
        templates::warn_of_bare_path(at, &scope.roots, diagnostics);
    }
    let rule = scope.queries.forget(name, &raw.with, &|name| scope.field(name), diagnostics)?;
    if !scope.queries.is_cached(rule.query) && !scope.asked_for_topics.contains(&rule.query) {
        let message = format!("nothing is kept of the query `{}` that could be forgotten", name.shown());
        diagnostics.warning(&name.place, message).help("it has no `cache`, and no topic rule asks it");
    }
    Some(rule)
}

fn disconnect(raw: &At<RawDisconnect>, scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Option<ListRule> {
    if let (Some(_), Some(users)) = (raw.value.user.given(), raw.value.users.given()) {
        diagnostics.error(&users.place, "`disconnect` has either `user` or `users`").help("put all into `users`");
        return None;
    }
    match (&raw.value.user, &raw.value.users) {
        (Field::Given(user), _) => one(user, scope, diagnostics),
        (_, Field::Given(users)) => list(&users.value, scope, diagnostics),
        (Field::Missing, Field::Missing) => {
            diagnostics.error(&raw.place, "`disconnect` names nobody").help(EXAMPLE);
            None
        }
        _ => None,
    }
}
