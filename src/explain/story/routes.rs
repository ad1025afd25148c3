//! What became of an event by each route that was tried.

use compact_str::CompactString;

use crate::config::Way;
use crate::event::{Event, Scope};
use crate::explain::answers::shown_binds;
use crate::explain::audience::{self, Membership, Part};
use crate::explain::crowd::Person;
use crate::explain::rehearsal::{Asked, Rehearsal};
use crate::explain::told::{PartTold, RouteTold};
use crate::explain::{conditions, words};
use crate::lookup::Forget;
use crate::reload::Rulebook;
use crate::route::{Action, Decided, Outcome, RouteId, RouteKind, users_named};

/// A route that held for the event, and the parts of its audience.
pub(super) struct Held<'r> {
    pub(super) name: &'r str,
    pub(super) scope: Scope,
    pub(super) parts: Vec<Part>,
    /// The query of it that failed.
    pub(super) failed: Option<CompactString>,
    /// Its plugin has asked what nobody knows the answer to: whom it would name is not known either.
    pub(super) is_unknown: bool,
}

/// What is forgotten, as a person reads it: `users_with_access (record = 7)`.
pub(crate) fn shown_forget(rulebook: &Rulebook, forget: &Forget) -> String {
    let query = rulebook.queries.queries.get(usize::from(forget.query.0)).map_or("?", |query| query.name.as_str());
    match shown_binds(None, &forget.binds) {
        binds if binds.is_empty() => query.to_owned(),
        binds => format!("{query} ({binds})"),
    }
}

pub(super) fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Audience(_) => "audience",
        Outcome::Nobody => "nobody",
        Outcome::Dropped(_) => "dropped",
        Outcome::NoTenant => "no_tenant",
        Outcome::EveryoneOfATenant => "everyone_of_a_tenant",
        Outcome::Act(_) => "action",
        Outcome::LookupFailed(_) => "lookup_failed",
        Outcome::ScriptFailed(_) => "script_failed",
    }
}

pub(super) fn route(rulebook: &Rulebook, id: RouteId, event: &Event) -> RouteTold {
    let of = rulebook.routes.conditions(id).iter();
    let conditions: Vec<_> =
        of.map(|(slot, matcher)| conditions::condition(*slot, matcher, event, &rulebook.decoder)).collect();
    let (kind, plugin) = match rulebook.routes.kind(id) {
        RouteKind::Fast => (Way::FAST_PATH, None),
        RouteKind::Query => (Way::QUERY, None),
        RouteKind::Script(call, _) => {
            (Way::SCRIPT, Some(rulebook.plugins[usize::from(call.plugin.0)].name.to_string()))
        }
    };
    RouteTold {
        name: rulebook.routes.name(id).into(),
        kind,
        plugin,
        holds: conditions.iter().all(|condition| condition.holds),
        goes_on: rulebook.routes.goes_on(id),
        conditions,
        outcome: None,
        scope: None,
        says: None,
        parts: Vec::new(),
    }
}

impl<'r> Held<'r> {
    pub(super) fn of(rulebook: &'r Rulebook, rehearsal: &Rehearsal, decided: &Decided) -> Self {
        let (name, event) = (rulebook.routes.name(decided.route), rehearsal.decision.event());
        let tenant = || event.tenant().map_or(Scope::EveryTenant, |tenant| Scope::Tenant(tenant.clone()));
        let drafted = rulebook.routes.drafted(decided.route, event);
        let asked = |call: &_| rehearsal.asked_by(rulebook, call).cloned();
        let mut all = drafted.iter().filter_map(|one| asked(one.asks.as_ref()?));
        let failed = all.find(|asked| matches!(asked.answer, Some(Err(_)))).map(|asked| asked.query);
        let mut parts: Vec<Part> = Vec::new();
        let mut scope = tenant();
        match &decided.outcome {
            // Also where its query names nobody: the parts say so, and what does not depend on it.
            Outcome::Audience(_) | Outcome::Nobody if !drafted.is_empty() => {
                for one in drafted {
                    let (Some(mut clause), asked) = (one.clause, one.asks.as_ref().and_then(asked)) else { continue };
                    if let Some(Asked { answer: Some(Ok(rows)), .. }) = &asked {
                        clause.users = Some(users_named(rows));
                    }
                    parts.push(Part { clause, asked });
                }
            }
            Outcome::Audience(audience) => {
                scope = audience.scope().clone();
                parts.extend(audience.clauses().iter().map(|clause| Part { clause: clause.clone(), asked: None }));
            }
            _ => {}
        }
        let is_script = matches!(rulebook.routes.kind(decided.route), RouteKind::Script(..));
        let is_unknown = is_script && rehearsal.asked.iter().any(|asked| asked.answer.is_none());
        Self { name, scope, parts, failed, is_unknown }
    }

    pub(super) fn depends(&self) -> bool {
        self.is_unknown || self.parts.iter().any(Part::is_unknown)
    }

    /// Whether a session is in a part of the audience.
    pub(super) fn membership(&self, part: &Part, person: &Person) -> Membership {
        match &self.scope {
            Scope::Tenant(tenant) if *tenant != person.tenant => {
                Membership::Out(vec![format!("it is of tenant {}, and the event is of {tenant}", person.tenant)])
            }
            _ => part.membership(person),
        }
    }
}

/// What became of the event by a route that held.
pub(super) fn outcome(told: &mut RouteTold, rulebook: &Rulebook, held: &Held<'_>, outcome: &Outcome) {
    let depends = held.depends();
    told.scope = (!held.parts.is_empty() && !held.is_unknown).then(|| audience::scope(&held.scope));
    told.outcome = Some(if depends { "depends" } else { outcome_word(outcome) });
    told.says = Some(match outcome {
        _ if held.is_unknown => "whom the plugin names depends on what its queries answer".to_owned(),
        Outcome::Nobody if depends => audience::expression(&held.scope, &held.parts),
        Outcome::Audience(_) => audience::expression(&held.scope, &held.parts),
        Outcome::Nobody => "it names nobody".to_owned(),
        Outcome::Dropped(reason) => format!("the plugin drops the event: {reason}"),
        Outcome::NoTenant => "it is about a tenant's sessions, and the event names no tenant".to_owned(),
        Outcome::EveryoneOfATenant => {
            "it is for everyone, and the event names a tenant: `all_tenants: true` would allow that".to_owned()
        }
        Outcome::Act(actions) => {
            let actions: Vec<String> = actions.iter().map(|action| self::action(rulebook, action)).collect();
            format!("nobody gets it, and {}", words::all_of(&actions))
        }
        Outcome::LookupFailed(error) => {
            held.failed.as_ref().map_or_else(|| error.to_string(), |query| format!("{query}: {error}"))
        }
        Outcome::ScriptFailed(error) => format!("the plugin failed: {error}"),
    });
}

fn action(rulebook: &Rulebook, action: &Action) -> String {
    match action {
        Action::Forget(forget) => format!("what is kept of {} is forgotten", shown_forget(rulebook, forget)),
        Action::Disconnect(users) => format!("the sessions of {} are closed", audience::of_users(users)),
    }
}

pub(super) fn parts(rulebook: &Rulebook, id: RouteId, event: &Event, held: &Held<'_>) -> Vec<PartTold> {
    let drafted = rulebook.routes.drafted(id, event);
    let mut parts = held.parts.iter();
    if drafted.is_empty() {
        let told = |part: &Part| PartTold {
            says: part.says(),
            payload: part.payload(),
            missing: Vec::new(),
            names_somebody: true,
        };
        return parts.map(told).collect();
    }
    let each = drafted.iter().map(|one| {
        let missing: Vec<String> = one.missing.iter().map(|slot| rulebook.decoder.path(*slot).to_string()).collect();
        let part = one.clause.as_ref().and_then(|_| parts.next());
        PartTold {
            says: part.map_or_else(|| "nobody".to_owned(), Part::says),
            payload: part.and_then(Part::payload),
            missing,
            names_somebody: part.is_some_and(|part| part.is_unknown() || !part.names_nobody()),
        }
    });
    each.collect()
}
