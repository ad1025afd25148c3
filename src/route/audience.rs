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

/// What lists name.
pub(super) trait Name: Sized {
    /// What this value names.
    fn of_value(value: Value<'_>) -> Option<Self>;
    /// The same of a text, which it keeps.
    fn of_text(text: CompactString) -> Option<Self>;
}

impl Name for UserId {
    fn of_value(value: Value<'_>) -> Option<Self> {
        Self::from_value(value)
    }

    fn of_text(text: CompactString) -> Option<Self> {
        Self::new(text)
    }
}

impl Name for Topic {
    fn of_value(value: Value<'_>) -> Option<Self> {
        Self::new(value.text()?).ok()
    }

    fn of_text(text: CompactString) -> Option<Self> {
        Self::new(text).ok()
    }
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
        let (mut clause, mut asked) = (Clause::default(), None);
        self.draft_in(&mut clause, &mut asked, event, calls)?;
        Some((clause, asked))
    }

    /// As [`draft`](Self::draft), but makes it of an empty clause, where that stands: to move one from hand to hand takes
    /// as long as to make it.
    pub(super) fn draft_in(
        &self,
        clause: &mut Clause,
        asked: &mut Option<CallId>,
        event: &Event,
        calls: &mut Calls,
    ) -> Option<()> {
        if let Some(list) = &self.topics {
            clause.topics = Some(list.read(event)?);
        }
        clause.attributes = match &self.attributes {
            Attributes::Any => None,
            Attributes::Fixed(shared) => Some(Arc::clone(shared)),
            Attributes::Filled(conditions) => Some(fill(conditions, event)?),
        };
        for template in &self.except {
            if let Some(user) = named(template, event) {
                clause.except.push(user);
            }
        }
        // Last, so that nothing is asked for an audience that names nobody anyway.
        match &self.users {
            None => {}
            Some(Users::List(list)) => clause.users = Some(list.read(event)?),
            Some(Users::Query(call)) => {
                *asked = Some(calls.add(Call { query: call.query, binds: binds(call, event)? }));
            }
        }
        clause.payload = self.payload.clone();
        Some(())
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
    pub(super) fn read<T: Name>(&self, event: &Event) -> Option<SmallVec<[T; 1]>> {
        let mut names = SmallVec::<[T; 1]>::new();
        match self {
            Self::Each(templates) => {
                for template in templates {
                    if let Some(name) = named(template, event) {
                        names.push(name);
                    }
                }
            }
            Self::Field(slot) => match event.field(*slot) {
                Value::List(items) => names.extend(items.iter().filter_map(|item| T::of_value(item.as_value()))),
                value => names.extend(T::of_value(value)),
            },
        }
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

/// What a template names for an event.
#[inline]
fn named<T: Name>(template: &Template<Slot>, event: &Event) -> Option<T> {
    match template.as_place() {
        Some(slot) => T::of_value(event.field(*slot)),
        None => T::of_text(template.render(|slot| event.field(*slot))?),
    }
}
