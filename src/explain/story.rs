//! The story of one event: what live code decided, and why.

use std::sync::Arc;

use compact_str::CompactString;
use serde_json::value::RawValue;

use super::answers::{Mocks, shown_binds};
use super::audience::{self, Membership, Part};
use super::crowd::{Crowd, Person};
use super::rehearsal::{Asked, Published, Rehearsal};
use super::told::{
    DecisionTold, EventTold, Explanation, LogTold, PartTold, QueryTold, Reaches, RouteTold, SessionTold,
};
use super::{conditions, subscribing, words};
use crate::config::{MockQuery, OnError, Way};
use crate::event::{DecodeError, Event, Scalar, Scope, TenantId, Topic};
use crate::lookup::{Forget, Rows};
use crate::reload::Rulebook;
use crate::route::{Action, Answer, Decided, Outcome, RouteId, RouteKind, users_named};
use crate::shard::Verdict;

/// Rows of an answer that are shown to people.
const SHOWN_ROWS: usize = 5;

/// A route that held for the event, and the parts of its audience.
struct Held<'r> {
    name: &'r str,
    scope: Scope,
    parts: Vec<Part>,
    /// The query of it that failed.
    failed: Option<CompactString>,
    /// Its plugin has asked what nobody knows the answer to: whom it would name is not known either.
    is_unknown: bool,
}

/// What the rules make of one event, with these sessions there, and these answers of queries. What is not among them
/// is not known, and who gets the event may depend on it.
pub fn explain(
    rulebook: &Rulebook,
    published: &Published,
    people: &[Person],
    queries: &[MockQuery],
) -> Result<Explanation, DecodeError> {
    let mocks = Mocks(queries);
    let respond = |query: &str, tenant: Option<&TenantId>, binds: &_| mocks.answer(query, tenant, binds);
    // What is not known is once answered by nothing, and once by whomever there is: what is the same both times does not
    // depend on it.
    let least = Rehearsal::of(rulebook, published, &respond, &Ok(Arc::default()))?;
    let is_open = least.asked.iter().any(|asked| asked.answer.is_none());
    let most = if is_open { Some(Rehearsal::of(rulebook, published, &respond, &whoever(people))?) } else { None };

    let event = least.decision.event();
    let last = least.decision.decided().last().filter(|decided| ends(rulebook, decided));
    let tried = last.map_or(rulebook.routes.ids().len(), |decided| decided.route.index() + 1);
    let (mut routes, mut held) = (Vec::new(), Vec::new());
    for id in rulebook.routes.ids().take(tried) {
        let mut told = route(rulebook, id, event);
        if let Some(decided) = least.decision.decided().iter().find(|decided| decided.route == id) {
            let one = Held::of(rulebook, &least, decided);
            outcome(&mut told, rulebook, &one, &decided.outcome);
            // Of one that came to nothing, or nobody knows to what, there is no expression.
            if matches!(decided.outcome, Outcome::Audience(_) | Outcome::Nobody) && !one.is_unknown {
                told.parts.extend(parts(rulebook, id, event, &one));
            }
            held.push(one);
        }
        routes.push(told);
    }
    let sessions = sessions(rulebook, people, &respond, &held, &least, most.as_ref());
    Ok(Explanation {
        event: EventTold {
            tenant: event.tenant().map(ToString::to_string),
            id: event.id().and_then(|id| raw(id.as_json().as_bytes())),
            kind: event.kind().map(str::to_owned),
            payload: raw(event.payload()).unwrap_or_else(null),
        },
        decision: decision(rulebook, &least, &held, &sessions),
        routes,
        not_tried: rulebook.routes.names().skip(tried).map(str::to_owned).collect(),
        queries: least.asked.iter().map(query).collect(),
        log: least.log.iter().map(log).collect(),
        sessions,
        took_us: least.took.as_micros(),
    })
}

/// Why nobody gets an event, in one word: as metrics name it, or the reason that a plugin gave. `None` where somebody
/// may get it, or the route that held did what it says.
pub(crate) fn cause(rehearsal: &Rehearsal) -> Option<String> {
    let decided = rehearsal.decision.decided();
    if rehearsal.decision.has_audience() {
        return None;
    }
    if decided.is_empty() {
        return Some("no_route".to_owned());
    }
    decided.iter().find_map(|decided| match &decided.outcome {
        Outcome::Dropped(reason) => Some(reason.to_string()),
        Outcome::Audience(_) | Outcome::Nobody | Outcome::Act(_) => None,
        failed => Some(outcome_word(failed).to_owned()),
    })
}

/// What is forgotten, as a person reads it: `users_with_access (record = 7)`.
pub(crate) fn shown_forget(rulebook: &Rulebook, forget: &Forget) -> String {
    let query = rulebook.queries.queries.get(usize::from(forget.query.0)).map_or("?", |query| query.name.as_str());
    match shown_binds(None, &forget.binds) {
        binds if binds.is_empty() => query.to_owned(),
        binds => format!("{query} ({binds})"),
    }
}

fn outcome_word(outcome: &Outcome) -> &'static str {
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

/// Whether no route after this one is tried.
fn ends(rulebook: &Rulebook, decided: &Decided) -> bool {
    let falls_through = matches!(rulebook.routes.kind(decided.route), RouteKind::Script(_, OnError::Next))
        && matches!(decided.outcome, Outcome::ScriptFailed(_));
    !rulebook.routes.goes_on(decided.route) && !falls_through
}

/// An answer that names everyone who is there.
#[expect(clippy::unnecessary_wraps, reason = "an answer is one that may fail")]
fn whoever(people: &[Person]) -> Answer {
    let rows = people.iter().map(|person| Box::from([Scalar::Text(person.user.as_str().into())])).collect();
    Ok(Arc::new(Rows { columns: Arc::from([CompactString::const_new("user_id")]), rows }))
}

fn route(rulebook: &Rulebook, id: RouteId, event: &Event) -> RouteTold {
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
    fn of(rulebook: &'r Rulebook, rehearsal: &Rehearsal, decided: &Decided) -> Self {
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

    fn depends(&self) -> bool {
        self.is_unknown || self.parts.iter().any(Part::is_unknown)
    }

    /// Whether a session is in a part of the audience.
    fn membership(&self, part: &Part, person: &Person) -> Membership {
        match &self.scope {
            Scope::Tenant(tenant) if *tenant != person.tenant => {
                Membership::Out(vec![format!("it is of tenant {}, and the event is of {tenant}", person.tenant)])
            }
            _ => part.membership(person),
        }
    }
}

/// What became of the event by a route that held.
fn outcome(told: &mut RouteTold, rulebook: &Rulebook, held: &Held<'_>, outcome: &Outcome) {
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

fn parts(rulebook: &Rulebook, id: RouteId, event: &Event, held: &Held<'_>) -> Vec<PartTold> {
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

fn sessions(
    rulebook: &Rulebook,
    people: &[Person],
    respond: super::rehearsal::Respond<'_>,
    held: &[Held<'_>],
    least: &Rehearsal,
    most: Option<&Rehearsal>,
) -> Vec<SessionTold> {
    let event = least.decision.event();
    let mut crowd = Crowd::new(people);
    let surely = crowd.reached(&least.audiences(), event);
    let perhaps = most.map(|most| crowd.reached(&most.audiences(), event));
    let is_unknown = held.iter().any(|held| held.is_unknown);
    let each = people.iter().enumerate().map(|(number, person)| {
        let (sure, other) = (surely.get(&number), perhaps.as_ref().map(|perhaps| perhaps.get(&number)));
        let is_of_tenant = event.tenant().is_none_or(|tenant| *tenant == person.tenant);
        let gets_it = match (sure, other) {
            (None, None | Some(None)) if !(is_unknown && is_of_tenant) => Reaches::No,
            (Some(_), None | Some(Some(_))) if !is_unknown => Reaches::Yes,
            _ => Reaches::Depends,
        };
        let (route, because) = because(held, person, gets_it);
        let mut notes = notes(rulebook, person, respond);
        if gets_it == Reaches::Yes && other.flatten().is_some_and(|other| Some(other) != sure) {
            notes.push("what it gets of the payload depends on what the queries answer".to_owned());
        }
        let by_words = by_words(held, person, is_unknown && is_of_tenant);
        if by_words != gets_it {
            notes.push("these words are not what live delivery does: that is a fault of Pointsman".to_owned());
        }
        SessionTold {
            name: person.name.to_string(),
            user: person.user.to_string(),
            tenant: person.tenant.to_string(),
            gets_it,
            route: route.map(str::to_owned),
            because,
            payload: sure.filter(|_| gets_it == Reaches::Yes).and_then(|payload| raw(payload)),
            notes,
            by_words,
        }
    });
    each.collect()
}

/// Whether a session gets the event by the expressions as they are told.
fn by_words(held: &[Held<'_>], person: &Person, may_be_named: bool) -> Reaches {
    let parts =
        held.iter().filter(|held| !held.is_unknown).flat_map(|held| held.parts.iter().map(move |part| (held, part)));
    let memberships: Vec<Membership> = parts.map(|(held, part)| held.membership(part, person)).collect();
    if memberships.contains(&Membership::In) && !may_be_named {
        Reaches::Yes
    } else if may_be_named || memberships.iter().any(|membership| matches!(membership, Membership::If(_))) {
        Reaches::Depends
    } else {
        Reaches::No
    }
}

/// By which part of which route a session gets the event, or which parts it fails.
fn because<'r>(held: &[Held<'r>], person: &Person, gets_it: Reaches) -> (Option<&'r str>, Vec<String>) {
    let all = || held.iter().flat_map(|held| held.parts.iter().map(move |part| (held, part)));
    match gets_it {
        Reaches::Yes => {
            let first = all().find(|(held, part)| held.membership(part, person) == Membership::In);
            first.map_or((None, Vec::new()), |(held, part)| (Some(held.name), vec![part.fits(person)]))
        }
        Reaches::No => {
            let lacks = all().filter_map(|(held, part)| match held.membership(part, person) {
                Membership::Out(lacks) => Some(lacks.join(", and ")),
                Membership::In | Membership::If(_) => None,
            });
            let mut because: Vec<String> = Vec::new();
            for lack in lacks {
                if !because.contains(&lack) {
                    because.push(lack);
                }
            }
            (None, because)
        }
        Reaches::Depends => {
            let mut ifs: Vec<String> = held.iter().filter(|held| held.is_unknown).map(unknown).collect();
            for (held, part) in all() {
                if let Membership::If(on) = held.membership(part, person)
                    && !ifs.contains(&on)
                {
                    ifs.push(on);
                }
            }
            (None, ifs)
        }
    }
}

fn unknown(held: &Held<'_>) -> String {
    format!("if the plugin of route {} names it, which depends on what its queries answer", held.name)
}

/// What is odd about a session: topics that no client of its kind would be subscribed to.
fn notes(rulebook: &Rulebook, person: &Person, respond: super::rehearsal::Respond<'_>) -> Vec<String> {
    let denied = |topic: &&Topic| {
        let wish = subscribing::wish(rulebook, person, topic, respond);
        wish.verdict == Verdict::Denied && wish.error.is_none()
    };
    let note = |topic| format!("the topic rules would not let it subscribe to {topic}");
    person.topics.iter().filter(denied).map(note).collect()
}

fn decision(rulebook: &Rulebook, rehearsal: &Rehearsal, held: &[Held<'_>], sessions: &[SessionTold]) -> DecisionTold {
    let decided = rehearsal.decision.decided();
    let routes: Vec<String> = decided.iter().map(|decided| rulebook.routes.name(decided.route).into()).collect();
    let depends = held.iter().any(Held::depends);
    let cause = if depends { None } else { cause(rehearsal) };
    let named: Vec<String> = routes.iter().map(|route| format!("`{route}`")).collect();
    let by = words::all_of(&named);
    let has = |is: fn(&Outcome) -> bool| decided.iter().any(|decided| is(&decided.outcome));
    let (outcome, says) = if depends {
        ("depends", format!("{by} decides, and who gets it depends on queries whose answer was not given"))
    } else if rehearsal.decision.has_audience() {
        let get = sessions.iter().filter(|session| session.gets_it == Reaches::Yes).count();
        let of = match sessions.len() {
            0 => "the sessions named above".to_owned(),
            all => format!("{get} of the {} given", words::counted(all, "session", "sessions")),
        };
        ("sent", format!("{by} {} it to {of}", if named.len() == 1 { "sends" } else { "send" }))
    } else if decided.is_empty() {
        ("dropped", "no route holds for it: nobody gets it".to_owned())
    } else if has(|outcome| matches!(outcome, Outcome::Act(_))) {
        ("acted", format!("{by} does what it says, and nobody gets the event"))
    } else if has(|outcome| matches!(outcome, Outcome::Nobody)) {
        ("nobody", format!("{by} decides, and names nobody: nobody gets it"))
    } else {
        let cause = cause.as_deref().unwrap_or_default();
        ("dropped", format!("{by} decides, and the event is dropped ({cause}): nobody gets it"))
    };
    let cause = cause.filter(|_| outcome == "dropped");
    DecisionTold { outcome, cause, routes, says }
}

fn query(asked: &Asked) -> QueryTold {
    let json = |value: &Scalar| match value {
        Scalar::Null => serde_json::Value::Null,
        Scalar::Bool(value) => (*value).into(),
        Scalar::Int(value) => (*value).into(),
        Scalar::Float(value) => (*value).into(),
        Scalar::Text(text) => text.as_str().into(),
    };
    let mut binds: serde_json::Map<_, _> =
        asked.binds.iter().map(|(name, value)| (name.to_string(), json(value))).collect();
    if let Some(tenant) = &asked.tenant {
        binds.insert("tenant".to_owned(), tenant.as_str().into());
    }
    let (rows, error) = match &asked.answer {
        None => (None, None),
        Some(Err(error)) => (None, Some(error.to_string())),
        Some(Ok(rows)) => {
            let names = || rows.columns.iter().map(ToString::to_string);
            let row = |row: &[Scalar]| names().zip(row.iter().map(json)).collect();
            (Some(rows.rows.iter().map(|cells| row(cells)).collect()), None)
        }
    };
    let shown = format!("{} ({})", asked.query, shown_binds(asked.tenant.as_ref(), &asked.binds));
    let says = match &asked.answer {
        None => format!("would ask {shown}"),
        Some(Err(error)) => format!("{shown}: {error}"),
        Some(Ok(rows)) => format!("{shown}: {}", shown_rows(rows)),
    };
    QueryTold { query: asked.query.to_string(), binds, rows, error, answered: asked.answer.is_some(), says }
}

fn shown_rows(rows: &Rows) -> String {
    let row = |row: &[Scalar]| {
        let cells = rows.columns.iter().zip(row).map(|(column, value)| format!("{column} = {value}"));
        cells.collect::<Vec<_>>().join(", ")
    };
    let shown: Vec<String> = rows.rows.iter().take(SHOWN_ROWS).map(|cells| row(cells)).collect();
    let count = words::counted(rows.rows.len(), "row", "rows");
    match rows.rows.len() {
        0 => "no rows".to_owned(),
        many if many > SHOWN_ROWS => format!("{count} ({}; ...)", shown.join("; ")),
        _ => format!("{count} ({})", shown.join("; ")),
    }
}

fn log(logged: &super::Logged) -> LogTold {
    LogTold {
        level: if logged.line.is_warning { "warn" } else { "info" },
        plugin: logged.plugin.to_string(),
        line: logged.line.line,
        text: logged.line.text.clone(),
    }
}

fn raw(json: &[u8]) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(json.to_vec()).ok()?).ok()
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}
