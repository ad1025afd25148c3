//! The story of one event: what live code decided, and why.

mod queries;
mod routes;
mod sessions;

use std::sync::Arc;

use compact_str::CompactString;
use serde_json::value::RawValue;

use self::queries::{log, query};
use self::routes::{Held, outcome, outcome_word, parts, route};
use self::sessions::sessions;
use super::answers::Mocks;
use super::crowd::Person;
use super::rehearsal::{Published, Rehearsal};
use super::told::{DecisionTold, EventTold, Explanation, Reaches, SessionTold};
use super::words;
use crate::config::{MockQuery, OnError};
use crate::event::{DecodeError, Scalar, TenantId};
use crate::lookup::Rows;
use crate::reload::Rulebook;
use crate::route::{Answer, Decided, Outcome, RouteKind};

pub(crate) use self::routes::shown_forget;

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

fn raw(json: &[u8]) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(json.to_vec()).ok()?).ok()
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}
