//! One audience of a route, compiled: field paths have become slots of the decoder.

use std::sync::Arc;

use compact_str::CompactString;
use smallvec::SmallVec;

use super::Call;
use super::calls::{CallId, Calls};
use crate::config::{AudienceRule, ListRule, QueryCall, UsersRule};
use crate::event::{
    AttributeMatch, Clause, Event, Matcher, Path, Payload, PayloadFilter, Scalar, Slot, Template, Topic, UserId, Value,
};
use crate::lookup::Binds;

/// What an audience rule says.
#[derive(Debug)]
pub(super) struct CompiledAudience {
    pub(super) users: Option<Users>,
    pub(super) topics: Option<List>,
    pub(super) attributes: Attributes,
    pub(super) except: Box<[Template<Slot>]>,
    payload: Payload,
}

/// The payload filters of a table, each different one once, so that an event is encoded once for all that get the same.
#[derive(Debug, Default)]
pub(super) struct Filters(Vec<Arc<PayloadFilter>>);

impl Filters {
    fn share(&mut self, filter: PayloadFilter) -> Arc<PayloadFilter> {
        let known = self.0.iter().find(|known| ***known == filter).cloned();
        known.unwrap_or_else(|| {
            let filter = Arc::new(filter);
            self.0.push(Arc::clone(&filter));
            filter
        })
    }
}

#[derive(Debug)]
pub(super) enum Users {
    List(List),
    Query(QueryCall<Slot>),
}

/// Texts that a rule names.
#[derive(Debug)]
pub(super) enum List {
    Each(Box<[Template<Slot>]>),
    Field(Slot),
}

#[derive(Debug)]
pub(super) enum Attributes {
    /// Nothing is asked of them.
    Any,
    /// The same for each event.
    Fixed(Arc<[AttributeMatch]>),
    /// With templates, which each event fills.
    Filled(Box<[(CompactString, Matcher<Slot>)]>),
}

impl CompiledAudience {
    /// Compiles a rule; `slot` answers the slot of a path.
    pub(super) fn compile(rule: AudienceRule, slot: &mut impl FnMut(Path) -> Slot, filters: &mut Filters) -> Self {
        Self {
            payload: rule.payload.map_or(Payload::Whole, |filter| Payload::Part(filters.share(filter))),
            topics: rule.topics.map(|list| List::compile(list, slot)),
            users: rule.users.map(|users| match users {
                UsersRule::List(list) => Users::List(List::compile(list, slot)),
                UsersRule::Query(QueryCall { query, with }) => {
                    let with = with.into_iter().map(|(name, template)| (name, template.map(&mut *slot))).collect();
                    Users::Query(QueryCall { query, with })
                }
            }),
            attributes: Attributes::compile(rule.attributes, slot),
            except: rule.except.into_iter().map(|template| template.map(&mut *slot)).collect(),
        }
    }

    /// The clause for one event, and the call whose rows are its users. `None` where it names nobody.
    pub(super) fn draft(&self, event: &Event, calls: &mut Calls) -> Option<(Clause, Option<CallId>)> {
        let mut clause = Clause { payload: self.payload.clone(), ..Clause::default() };
        if let Some(list) = &self.topics {
            clause.topics = Some(list.read(event, topic)?);
        }
        clause.attributes = match &self.attributes {
            Attributes::Any => None,
            Attributes::Fixed(shared) => Some(Arc::clone(shared)),
            Attributes::Filled(conditions) => Some(fill(conditions, event)?),
        };
        clause.except = self.except.iter().filter_map(|template| user(filled(template, event)?)).collect();
        // Last, so that nothing is asked for an audience that names nobody anyway.
        let users = match &self.users {
            None => None,
            Some(Users::List(list)) => {
                clause.users = Some(list.read(event, user)?);
                None
            }
            Some(Users::Query(call)) => Some(calls.add(Call { query: call.query, binds: binds(call, event)? })),
        };
        Some((clause, users))
    }
}

impl List {
    pub(super) fn compile(list: ListRule, slot: &mut impl FnMut(Path) -> Slot) -> Self {
        match list {
            ListRule::Each(templates) => {
                Self::Each(templates.into_iter().map(|template| template.map(&mut *slot)).collect())
            }
            ListRule::Field(path) => Self::Field(slot(path)),
        }
    }

    /// What the list names for this event. `None` where that is nothing.
    pub(super) fn read<T>(&self, event: &Event, name: impl Fn(Scalar) -> Option<T>) -> Option<SmallVec<[T; 1]>> {
        let names: SmallVec<[T; 1]> = match self {
            Self::Each(templates) => {
                templates.iter().filter_map(|template| filled(template, event)).filter_map(name).collect()
            }
            Self::Field(slot) => match event.field(*slot) {
                Value::List(items) => items.iter().cloned().filter_map(name).collect(),
                value => name(value.to_scalar()).into_iter().collect(),
            },
        };
        (!names.is_empty()).then_some(names)
    }
}

impl Attributes {
    fn compile(conditions: Vec<(CompactString, Matcher<Path>)>, slot: &mut impl FnMut(Path) -> Slot) -> Self {
        if conditions.is_empty() {
            return Self::Any;
        }
        let fixed: Option<Arc<[AttributeMatch]>> = conditions
            .iter()
            .filter(|(_, matcher)| matcher.places().is_empty())
            .map(|(name, matcher)| filled_condition(name, matcher, &mut |_| Value::Absent))
            .collect();
        match fixed {
            Some(fixed) if fixed.len() == conditions.len() => Self::Fixed(fixed),
            _ => Self::Filled(conditions.into_iter().map(|(name, matcher)| (name, matcher.map(slot))).collect()),
        }
    }
}

fn fill(conditions: &[(CompactString, Matcher<Slot>)], event: &Event) -> Option<Arc<[AttributeMatch]>> {
    let mut resolve = |slot: &Slot| event.field(*slot);
    conditions.iter().map(|(name, matcher)| filled_condition(name, matcher, &mut resolve)).collect()
}

fn filled_condition<'v, R>(
    name: &CompactString,
    matcher: &Matcher<R>,
    resolve: &mut impl FnMut(&R) -> Value<'v>,
) -> Option<AttributeMatch> {
    Some(AttributeMatch { name: name.clone(), matcher: matcher.fill(resolve)? })
}

/// The binds of a call, or `None` where one cannot be filled.
fn binds(call: &QueryCall<Slot>, event: &Event) -> Option<Binds> {
    call.with.iter().map(|(name, template)| Some((name.clone(), filled(template, event)?))).collect()
}

pub(super) fn filled(template: &Template<Slot>, event: &Event) -> Option<Scalar> {
    template.scalar(|slot| event.field(*slot))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of `topic`, which keeps the text that it is given")]
pub(super) fn user(id: Scalar) -> Option<UserId> {
    UserId::from_scalar(&id)
}

fn topic(name: Scalar) -> Option<Topic> {
    let text = match name {
        Scalar::Text(text) => text,
        other => other.as_value().text()?.into(),
    };
    Topic::new(text).ok()
}
