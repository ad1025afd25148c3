//! Whom an audience holds: evaluated over the indexes, from the one that finds the fewest.

use super::{Session, Sessions, narrow};
use crate::event::{AttributeMatch, Audience, Clause, Scope};

/// How many subscribers are few enough to hold each against a list of users.
const FEW: usize = 8;

/// By which index a session was found, and what therefore need not be asked again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FoundBy {
    Tenant,
    User,
    Topic,
}

impl Sessions {
    /// Calls `reach` for each session that is in one of `audiences`, once each: with its connection, and the number of the
    /// first clause that holds it. The clauses of all audiences are numbered in one row.
    pub fn deliver(&mut self, audiences: &[Audience], mut reach: impl FnMut(u32, usize)) {
        self.delivery += 1;
        let mut first = 0;
        for audience in audiences {
            match audience.scope() {
                Scope::Tenant(name) => {
                    if let Some(&tenant) = self.by_name.get(name) {
                        self.deliver_to(tenant, audience.clauses(), first, &mut reach);
                    }
                }
                Scope::EveryTenant => {
                    let tenants: Vec<u32> = self.tenants.iter().map(|(index, _)| narrow(index)).collect();
                    for tenant in tenants {
                        self.deliver_to(tenant, audience.clauses(), first, &mut reach);
                    }
                }
            }
            first += audience.clauses().len();
        }
    }

    fn deliver_to(&mut self, tenant: u32, clauses: &[Clause], first: usize, reach: &mut impl FnMut(u32, usize)) {
        let tenant = &self.tenants[tenant as usize];
        let sessions = &mut self.all;
        let delivery = self.delivery;
        for (number, clause) in (first..).zip(clauses) {
            let topics = clause.topics.as_ref().map(|topics| tenant.named(topics, &self.hasher));
            let topics = topics.as_deref();
            let mut offer = |index: u32, found_by: FoundBy| {
                let session = &mut sessions[index as usize];
                if session.reached_by != delivery && session.is_in(clause, topics, found_by) {
                    session.reached_by = delivery;
                    reach(session.connection, number);
                }
            };
            match (&clause.users, topics) {
                // Many users may look at a topic that few do: those who look are asked whether they may.
                (users, Some(topics)) if users.is_none() || tenant.subscribers(topics) <= FEW => {
                    for subscriber in topics.iter().flat_map(|topic| &tenant.topics[*topic as usize].subscribers) {
                        offer(subscriber.session, FoundBy::Topic);
                    }
                }
                (Some(users), _) => {
                    for session in users.iter().filter_map(|user| tenant.users.get(user)).flatten() {
                        offer(*session, FoundBy::User);
                    }
                }
                (None, _) => tenant.sessions.iter().for_each(|session| offer(*session, FoundBy::Tenant)),
            }
        }
    }
}

impl Session {
    /// Whether a clause, whose topics are these entries in ascending order, holds this session.
    fn is_in(&self, clause: &Clause, topics: Option<&[u32]>, found_by: FoundBy) -> bool {
        let looks_at = |topics: &[u32]| self.subscriptions.iter().any(|own| topics.binary_search(&own.topic).is_ok());
        let matches = |wanted: &AttributeMatch| wanted.matcher.holds(self.attributes.get(&wanted.name));
        !clause.except.contains(&self.user)
            && (found_by == FoundBy::Topic || topics.is_none_or(looks_at))
            && (found_by == FoundBy::User || clause.users.as_ref().is_none_or(|users| users.contains(&self.user)))
            && clause.attributes.as_ref().is_none_or(|wanted| wanted.iter().all(matches))
    }
}
