//! Which sessions get an event, and why each does or does not.

use super::raw;
use super::routes::Held;
use crate::event::Topic;
use crate::explain::audience::Membership;
use crate::explain::crowd::{Crowd, Person};
use crate::explain::rehearsal::{Rehearsal, Respond};
use crate::explain::subscribing;
use crate::explain::told::{Reaches, SessionTold};
use crate::reload::Rulebook;
use crate::shard::Verdict;

pub(super) fn sessions(
    rulebook: &Rulebook,
    people: &[Person],
    respond: Respond<'_>,
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
fn notes(rulebook: &Rulebook, person: &Person, respond: Respond<'_>) -> Vec<String> {
    let denied = |topic: &&Topic| {
        let wish = subscribing::wish(rulebook, person, topic, respond);
        wish.verdict == Verdict::Denied && wish.error.is_none()
    };
    let note = |topic| format!("the topic rules would not let it subscribe to {topic}");
    person.topics.iter().filter(denied).map(note).collect()
}
